"""SavedModel folders, read without running what a stranger put into the graph.

A TensorFlow graph is a program: some operators read and write files, load libraries or call
Python. So the graph is parsed first, and refused if it holds an operator that is not in the list
of harmless ones here. A folder that `tf_keras` wrote also tells its layers: it is rebuilt from
them, and its graph is not used at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras as keras
from tensorflow.core.protobuf import saved_model_pb2
from tf_keras.protobuf import saved_metadata_pb2

from hsi.errors import ModelError

SIGNATURE = "serving_default"

_HARMLESS = """
    Abs Acos Acosh Add AddN AddV2 AdjustContrastv2 AdjustHue AdjustSaturation All Any
    ApproximateEqual ArgMax ArgMin Asin Asinh Assert AssignAddVariableOp AssignSubVariableOp
    AssignVariableOp Atan Atan2 Atanh AvgPool AvgPool3D BatchMatMul BatchMatMulV2 BatchMatMulV3
    BatchToSpace BatchToSpaceND BiasAdd BiasAddV1 Bincount Bitcast BroadcastArgs
    BroadcastGradientArgs BroadcastTo Bucketize Case Cast Ceil CheckNumerics ClipByValue Concat
    ConcatOffset ConcatV2 Const Conv Conv2D Conv2DBackpropFilter Conv2DBackpropInput Conv3D
    Conv3DBackpropFilterV2 Conv3DBackpropInputV2 Cos Cosh CropAndResize Cross Cumprod Cumsum
    DataFormatDimMap DataFormatVecPermute DenseBincount DepthToSpace DepthwiseConv2dNative
    DepthwiseConv2dNativeBackpropFilter DepthwiseConv2dNativeBackpropInput Dequantize Diag
    DiagPart Dilation2D DisableCopyOnRead Div DivNoNan Einsum Elu EluGrad EmptyTensorList
    EnsureShape Enter Equal Erf Erfc Erfinv EuclideanNorm Exit Exp ExpandDims Expm1
    ExtractImagePatches ExtractVolumePatches FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars
    FakeQuantWithMinMaxVarsPerChannel Fill Floor FloorDiv FloorMod FusedBatchNorm
    FusedBatchNormV2 FusedBatchNormV3 Gather GatherNd GatherV2 Greater GreaterEqual HSVToRGB
    Identity IdentityN If ImageProjectiveTransformV2 ImageProjectiveTransformV3 Inv
    InvertPermutation IsFinite IsInf IsNan L2Loss LRN LeakyRelu LeakyReluGrad Less LessEqual
    Lgamma LinSpace Log Log1p LogSoftmax LogicalAnd LogicalNot LogicalOr LoopCond MatMul
    MatrixBandPart MatrixDiagV3 Max MaxPool MaxPool3D MaxPoolV2 MaxPoolWithArgmax Maximum Mean
    Merge Min Minimum MirrorPad Mod Mul MulNoNan Neg NextIteration NoOp NotEqual OneHot OnesLike
    Pack Pad PadV2 PartitionedCall Placeholder PlaceholderWithDefault Pow PreventGradient Prod
    QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 QuantizeAndDequantizeV4 QuantizeV2 RGBToHSV
    RandomShuffle RandomStandardNormal RandomUniform RandomUniformInt Range Rank ReadVariableOp
    RealDiv Reciprocal Relu Relu6 ReluGrad Reshape ResizeArea ResizeBicubic ResizeBilinear
    ResizeNearestNeighbor ResourceGather Reverse ReverseV2 Rint RngReadAndSkip RngSkip Round
    Rsqrt RsqrtGrad ScaleAndTranslate ScatterNd SegmentMax SegmentMean SegmentMin SegmentSum
    Select SelectV2 Selu SeluGrad Shape ShapeN Sigmoid SigmoidGrad Sign Sin Sinh Size Slice
    Snapshot Softmax Softplus SoftplusGrad Softsign SpaceToBatch SpaceToBatchND SpaceToDepth
    Split SplitV Sqrt SqrtGrad Square SquaredDifference Squeeze StatefulPartitionedCall
    StatefulStandardNormalV2 StatefulTruncatedNormal StatefulUniform StatefulUniformFullInt
    StatefulUniformInt StatelessCase StatelessIf StatelessRandomGetAlg
    StatelessRandomGetKeyCounter StatelessRandomGetKeyCounterAlg StatelessRandomNormal
    StatelessRandomNormalV2 StatelessRandomUniform StatelessRandomUniformFullInt
    StatelessRandomUniformFullIntV2 StatelessRandomUniformInt StatelessRandomUniformIntV2
    StatelessRandomUniformV2 StatelessTruncatedNormal StatelessTruncatedNormalV2 StatelessWhile
    StopGradient StridedSlice StridedSliceGrad Sub Sum Switch Tan Tanh TanhGrad
    TensorListElementShape TensorListFromTensor TensorListGetItem TensorListLength
    TensorListPopBack TensorListPushBack TensorListReserve TensorListSetItem TensorListStack
    TensorScatterUpdate Tile TopK TopKV2 Transpose TruncateDiv TruncateMod TruncatedNormal
    Unpack UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum
    VarHandleOp VarIsInitializedOp VariableShape Where While Xdivy Xlogy ZerosLike
"""
HARMLESS = frozenset(_HARMLESS.split())
"""Operators that compute, hold variables or call functions of the same graph, and no more.

Stateless is not enough to be here: `ReadFile` and `DecodeProto` are stateless.
"""

SAVING = frozenset(
    (
        "MergeV2Checkpoints",
        "RegexReplace",
        "RestoreV2",
        "SaveV2",
        "ShardedFilename",
        "StaticRegexFullMatch",
        "StringJoin",
    )
)
"""Operators that write and read checkpoints.

Every SavedModel has them, in two functions that nothing else calls and that are not run here.
"""


class SavedGraph:
    """The graph of a SavedModel as a differentiable function; it shows no layers.

    Args:
        root: what TensorFlow loaded; it keeps the variables alive.
        function: the concrete function of the signature.

    Attributes:
        input_shape: (None, ...) of a batch, None where free.
        output_shape: (None, classes).
        dtype: of the inputs.

    Raises:
        ModelError: not one input of floating point and one output of (samples, classes).
    """

    def __init__(self, root: Any, function: Any) -> None:
        inputs = function.structured_input_signature[1]
        outputs = function.structured_outputs
        if len(inputs) != 1 or len(outputs) != 1:
            raise ModelError(
                f"expected a signature of one input and one output, {SIGNATURE} has "
                f"{len(inputs)} and {len(outputs)}."
            )
        self._input, taken = next(iter(inputs.items()))
        self._output, given = next(iter(outputs.items()))
        if taken.shape.rank is None or given.shape.rank != 2 or given.shape[1] is None:
            raise ModelError(
                f"expected a signature from samples to (samples, classes), {SIGNATURE} goes from "
                f"{taken.shape} to {given.shape}."
            )
        if taken.shape[0] is not None:
            raise ModelError(
                f"expected a signature for any number of samples, {SIGNATURE} takes "
                f"{taken.shape[0]}."
            )
        if not taken.dtype.is_floating:
            raise ModelError(
                f"expected floating point input, {SIGNATURE} takes {taken.dtype.name}."
            )
        self._root, self._function = root, function
        self.input_shape: tuple[int | None, ...] = tuple(taken.shape)
        self.output_shape: tuple[int | None, int] = (None, int(given.shape[1]))
        self.dtype: str = taken.dtype.name

    def __call__(self, inputs: Any, training: bool = False) -> Any:
        """(n, ...) -> (n, classes) as the graph answers; `training` is there for Keras' sake."""
        batch = tf.cast(tf.convert_to_tensor(inputs), self.dtype)
        return self._function(**{self._input: batch})[self._output]


def refuse_operators(folder: Path) -> None:
    """Refuse a graph that could do more than compute, before TensorFlow sees it.

    Raises:
        ModelError: an operator that is not known as harmless (named), or a damaged file.
    """
    for graph in _parsed(folder).meta_graphs:
        strange = _strange(graph)
        if strange:
            raise ModelError(
                f"the graph holds {', '.join(sorted(strange)[:5])}, which is not known as "
                "harmless (a graph can read and write files); it is not loaded. If you know its "
                "author, --trust loads and runs it."
            )


def _strange(graph: Any) -> set[str]:
    """Operators of a graph that are not known as harmless where they stand."""
    functions = {f.signature.name: f.node_def for f in graph.graph_def.library.function}
    nodes, objects = graph.graph_def.node, graph.object_graph_def
    found = {node.op for held in (nodes, *functions.values()) for node in held}
    strange = found - HARMLESS - SAVING
    if any(entry.saveable_objects for entry in objects.nodes):
        strange.add("a way of its own to restore objects")
    ends = {graph.saver_def.save_tensor_name, graph.saver_def.restore_op_name}
    ends = {name.partition(":")[0] for name in ends}
    others = [node for node in nodes if node.name not in ends]
    named = {*objects.concrete_functions, *_called(others)}
    for entry in objects.nodes:
        named |= {entry.bare_concrete_function.concrete_function_name}
        named |= set(entry.function.concrete_functions)
    saving = _reached(_called(n for n in nodes if n.name in ends), functions)
    runnable = _reached(named | (functions.keys() - saving), functions)
    within = [node for name in runnable for node in functions.get(name, ())]
    return strange | {n.op for n in (*others, *within) if n.op in SAVING}


def _reached(names: Iterable[str], functions: Mapping[str, Any]) -> set[str]:
    """These functions, and all that they call."""
    reached, waiting = set(), set(names)
    while waiting:
        name = waiting.pop()
        reached.add(name)
        waiting |= _called(functions.get(name, ())) - reached
    return reached


def _called(nodes: Iterable[Any]) -> set[str]:
    """Names of the functions that these nodes call."""
    names = set()
    for node in nodes:
        for value in node.attr.values():
            names |= {value.func.name, *(f.name for f in value.list.func)}
    return names - {""}


def keras_config(folder: Path) -> dict[str, Any] | None:
    """The configuration of the model that `tf_keras` stored beside the graph.

    None where there is none, or where it tells no layers (a subclassed model).

    Raises:
        ModelError: a damaged file.
    """
    file = folder / "keras_metadata.pb"
    if not file.is_file():
        return None
    stored = saved_metadata_pb2.SavedMetadata()
    try:
        stored.ParseFromString(file.read_bytes())
        root = next((json.loads(n.metadata) for n in stored.nodes if n.node_path == "root"), None)
    except Exception as error:  # protobuf's DecodeError has no base of its own; JSON's is another
        raise ModelError("keras_metadata.pb is damaged.") from error
    if not isinstance(root, dict) or not isinstance(root.get("config"), dict):
        return None
    if root.get("class_name") not in ("Functional", "Sequential") or "layers" not in root["config"]:
        return None
    return {"class_name": root["class_name"], "config": root["config"]}


def load_keras(folder: Path, config: Mapping[str, Any]) -> keras.Model:
    """The model of this configuration with the folder's weights.

    Raises:
        ModelError: weights that are missing or do not fit.
    """
    model = keras.models.model_from_config(json.loads(json.dumps(config), object_hook=_decoded))
    weights = folder / "variables" / "variables"
    if not weights.with_suffix(".index").is_file():
        raise ModelError("variables/variables.index is missing: no weights.")
    status = model.load_weights(str(weights))
    status.expect_partial()  # the optimizer's state
    try:
        status.assert_existing_objects_matched()
    except AssertionError as error:
        raise ModelError("the weights in variables/ do not belong to the layers.") from error
    return model


def _decoded(value: dict[str, Any]) -> Any:
    """What JSON cannot say, as `tf_keras` writes it into the metadata."""
    if value.get("class_name") == "__tuple__":
        return tuple(value["items"])
    return ... if value.get("class_name") == "__ellipsis__" else value


def load_graph(folder: Path) -> SavedGraph:
    """The graph itself, by its signature `serving_default`.

    Call `refuse_operators` first, unless the folder's author is trusted.

    Raises:
        ModelError: no such signature, or see `SavedGraph`.
    """
    if not any(g.HasField("object_graph_def") for g in _parsed(folder).meta_graphs):
        raise ModelError("expected a SavedModel of TensorFlow 2, this one has no objects.")
    root = tf.saved_model.load(str(folder))
    if SIGNATURE not in root.signatures:
        known = ", ".join(root.signatures) or "none"
        raise ModelError(f"expected a signature {SIGNATURE}, the SavedModel has {known}.")
    return SavedGraph(root, root.signatures[SIGNATURE])


def _parsed(folder: Path) -> Any:
    content = saved_model_pb2.SavedModel()
    try:
        content.ParseFromString((folder / "saved_model.pb").read_bytes())
    except Exception as error:  # protobuf's DecodeError has no base of its own
        raise ModelError("saved_model.pb is damaged.") from error
    if not content.meta_graphs:
        raise ModelError("saved_model.pb holds no graph.")
    return content

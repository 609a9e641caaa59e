"""What ai-edge-quantizer quantizes: a float32 `.tflite` file in, another one out.

It needs neither Keras nor a SavedModel, so files of others can be quantized too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hsi.compress.quantize.biases import keep_biases
from hsi.deploy.differentiable.flatbuffer import parse
from hsi.deploy.differentiable.kinds import kind_of
from hsi.errors import ModelError, one_of
from hsi.quiet import quiet

EDGE = ("int4", "int16x8")
"""Modes that are made here."""

_FOUR_BITS = ("CONV_2D", "FULLY_CONNECTED")
_EIGHT_BITS = ("DEPTHWISE_CONV_2D", "CONV_2D_TRANSPOSE")
"""The names of operators whose kernels are int4, and of those that have no int4 kernels."""


def quantize_file(content: bytes, mode: str, *, calibration: np.ndarray) -> bytes:
    """Quantize a float32 `.tflite` file.

    int4 holds the weights of convolutions and dense layers in 4 bits with a scale per output
    channel, those of depthwise and transposed convolutions in 8, and computes in float: what runs
    is the float network with rounded weights. int16x8 has activations in 16 and weights in 8
    bits; operators that have no such form stay in float (`hsi.deploy.islands` finds them).

    Args:
        content: bytes of a file with one input.
        mode: int4 or int16x8.
        calibration: (n, ...) float32 *training* samples; int16x8 takes from them the smallest and
            the largest value of every activation, as the converter does.

    Raises:
        SettingsError: another mode.
        ModelError: no calibration samples, no float file, or one that cannot be quantized.
    """
    one_of(mode, EDGE, what="quantization of a file")
    if mode == "int16x8" and not len(calibration):
        raise ModelError(f"quantization {mode}: expected training samples to calibrate with.")
    kind = kind_of(parse(content))
    if kind != "float32":
        raise ModelError(f"quantization {mode}: expected a float32 file, got {kind}.")
    try:
        with quiet():
            return _int4(content) if mode == "int4" else _int16x8(content, calibration)
    except Exception as error:  # the library raises whatever its own steps do, all undocumented
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"quantization {mode}: the file cannot be quantized: {first}") from error


def _int4(content: bytes) -> bytes:
    from ai_edge_quantizer import qtyping, quantizer

    # Of the library's choices of a scale (largest weight, OCTAV, MSE) the first was as near the
    # float network as any; its dynamic int4 is no faster, and differs from its own arithmetic by
    # 1 % of the range between kernels.
    work = quantizer.Quantizer(bytearray(content))
    for bits, names in ((8, _EIGHT_BITS), (4, _FOUR_BITS)):
        for name in names:
            work.add_weight_only_config(".*", qtyping.TFLOperationName[name], bits)
    return _written(work, None)


def _int16x8(content: bytes, calibration: np.ndarray) -> bytes:
    from ai_edge_quantizer import calibrator, qtyping, quantizer, recipe, recipe_manager
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.utils import qsv_utils

    rules = recipe_manager.RecipeManager()
    rules.load_quantization_recipe(recipe.static_wi8_ai16())
    ends = qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT
    for end in ends:
        rules.add_quantization_config(".*", end, algorithm_key=AlgorithmName.NO_QUANTIZE)
    # by default it averages the ranges of samples, which clips the largest values
    ranges = calibrator.Calibrator(content, num_threads=1, qsv_update_func=qsv_utils.min_max_update)
    key, name = _signature(content)
    ranges.calibrate({key: _one_by_one(calibration, name)}, rules)
    work = quantizer.Quantizer(bytearray(content))
    work.load_quantization_recipe(rules.get_quantization_recipe())
    with np.errstate(invalid="ignore"):  # a bias that does not fit is stored again
        result = _written(work, ranges.get_model_qsvs())
    return keep_biases(result, content)


def _written(work: Any, ranges: Any) -> bytes:
    result = work.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model)


def _signature(content: bytes) -> tuple[str, str]:
    """The file's signature and what that calls its input."""
    from ai_edge_litert.interpreter import Interpreter

    signatures = Interpreter(model_content=content).get_signature_list()
    if len(signatures) != 1:
        raise ModelError(f"expected a file with one signature, got {len(signatures)}.")
    ((key, ends),) = signatures.items()
    if len(ends["inputs"]) != 1:
        raise ModelError(f"expected a file with one input, got {len(ends['inputs'])}.")
    return key, ends["inputs"][0]


def _one_by_one(samples: np.ndarray, name: str) -> list[dict[str, np.ndarray]]:
    # a list, since the library wants to count them first
    return [{name: sample[None]} for sample in samples]

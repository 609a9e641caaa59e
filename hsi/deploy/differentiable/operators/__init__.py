"""The operators, in one visible table: the builtin's name in the schema -> a function of a `Call`.

Adding one: a function that takes a `Call` and returns the output's value, and a row here.
"""

from __future__ import annotations

import tensorflow as tf

from hsi.deploy.differentiable.call import Function
from hsi.deploy.differentiable.operators import (
    activation,
    arithmetic,
    convolution,
    dense,
    pooling,
    quantize,
    shape,
)
from hsi.deploy.differentiable.operators.arithmetic import binary, comparison, unary
from hsi.deploy.differentiable.operators.pooling import reduction

OPERATORS: dict[str, Function] = {
    # sums of products
    "CONV_2D": convolution.conv_2d,
    "CONV_3D": convolution.conv_3d,
    "DEPTHWISE_CONV_2D": convolution.depthwise_conv_2d,
    "TRANSPOSE_CONV": convolution.transpose_conv,
    "FULLY_CONNECTED": dense.fully_connected,
    "BATCH_MATMUL": dense.batch_matmul,
    # pooling and reductions
    "MAX_POOL_2D": pooling.max_pool_2d,
    "AVERAGE_POOL_2D": pooling.average_pool_2d,
    "L2_POOL_2D": pooling.l2_pool_2d,
    "MEAN": pooling.mean,
    "SUM": reduction(tf.reduce_sum),
    "REDUCE_MAX": reduction(tf.reduce_max),
    "REDUCE_MIN": reduction(tf.reduce_min),
    "REDUCE_PROD": reduction(tf.reduce_prod),
    # activations
    "RELU": activation.relu("RELU"),
    "RELU6": activation.relu("RELU6"),
    "RELU_0_TO_1": activation.relu("RELU_0_TO_1"),
    "RELU_N1_TO_1": activation.relu("RELU_N1_TO_1"),
    "LEAKY_RELU": activation.leaky_relu,
    "PRELU": activation.prelu,
    "ELU": activation.elu,
    "GELU": activation.gelu,
    "HARD_SWISH": activation.hard_swish,
    "LOGISTIC": activation.logistic,
    "TANH": activation.tanh,
    "SOFTMAX": activation.softmax,
    "LOG_SOFTMAX": activation.log_softmax,
    "L2_NORMALIZATION": activation.l2_normalization,
    # arithmetic
    "ADD": arithmetic.add,
    "ADD_N": arithmetic.add_n,
    "SUB": arithmetic.sub,
    "MUL": arithmetic.mul,
    "DIV": binary(tf.divide),
    "POW": binary(tf.pow),
    "MAXIMUM": binary(tf.maximum),
    "MINIMUM": binary(tf.minimum),
    "SQUARED_DIFFERENCE": binary(tf.math.squared_difference),
    "ABS": unary(tf.abs),
    "COS": unary(tf.cos),
    "EXP": unary(tf.exp),
    "LOG": unary(tf.math.log),
    "NEG": unary(tf.negative),
    "RSQRT": unary(tf.math.rsqrt),
    "SIN": unary(tf.sin),
    "SQRT": unary(tf.sqrt),
    "SQUARE": unary(tf.square),
    "SELECT": arithmetic.select,
    "SELECT_V2": arithmetic.select,
    "EQUAL": comparison(tf.equal),
    "GREATER": comparison(tf.greater),
    "GREATER_EQUAL": comparison(tf.greater_equal),
    "LESS": comparison(tf.less),
    "LESS_EQUAL": comparison(tf.less_equal),
    "NOT_EQUAL": comparison(tf.not_equal),
    # shapes
    "RESHAPE": shape.reshape,
    "SQUEEZE": shape.squeeze,
    "EXPAND_DIMS": shape.expand_dims,
    "TRANSPOSE": shape.transpose,
    "CONCATENATION": shape.concatenation,
    "PACK": shape.pack,
    "UNPACK": shape.unpack,
    "SPLIT": shape.split,
    "SPLIT_V": shape.split_v,
    "PAD": shape.pad,
    "PADV2": shape.pad,
    "MIRROR_PAD": shape.mirror_pad,
    "SHAPE": shape.shape_of,
    "STRIDED_SLICE": shape.strided_slice,
    "SLICE": shape.slice_of,
    "GATHER": shape.gather,
    "FILL": shape.fill,
    "BROADCAST_TO": shape.broadcast_to,
    "TILE": shape.tile,
    "REVERSE_V2": shape.reverse,
    "SPACE_TO_BATCH_ND": shape.space_to_batch,
    "BATCH_TO_SPACE_ND": shape.batch_to_space,
    "SPACE_TO_DEPTH": shape.space_to_depth,
    "DEPTH_TO_SPACE": shape.depth_to_space,
    "RESIZE_BILINEAR": shape.resize_bilinear,
    "RESIZE_NEAREST_NEIGHBOR": shape.resize_nearest,
    # number formats
    "QUANTIZE": quantize.quantize,
    "DEQUANTIZE": quantize.dequantize,
    "CAST": quantize.cast,
    "DENSIFY": quantize.densify,
}

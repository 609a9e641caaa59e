"""TFLite's whole-number arithmetic, for the kernels whose own rounding is coarser than a grid step.

All of it runs in 64-bit integers and has no gradient: it gives the value, the real function beside
it the slope (`rounding.straight_through`). After `kernels/internal/common.h` of TensorFlow Lite
and gemmlowp's fixed-point rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

LUT_STEPS = 512


def multiplier(ratio: float) -> tuple[int, int]:
    """`ratio` as (31-bit mantissa, exponent): ratio = mantissa / 2^31 * 2^exponent."""
    if ratio <= 0:
        return 0, 0
    fraction, exponent = math.frexp(ratio)
    whole = int(fraction * 2**31 + 0.5)
    return (whole // 2, exponent + 1) if whole == 2**31 else (whole, exponent)


def factor(ratio: float, *, bits: int) -> float:
    """`ratio` with a mantissa of 31 bits, or of the 15 that 64-bit sums are multiplied with."""
    whole, exponent = multiplier(ratio)
    if bits == 15:
        whole = (whole + 2**15) >> 16 if whole < 0x7FFF0000 else 2**15 - 1
    return math.ldexp(whole, exponent - bits)


def rescale(x: tf.Tensor, ratio: float) -> tf.Tensor:
    """int64 x times `ratio`, rounded twice as `MultiplyByQuantizedMultiplier` does."""
    return _twice_rounded(x, *multiplier(ratio))


def rescale_mean(total: tf.Tensor, ratio: float, count: int) -> tf.Tensor:
    """int64 sum of `count` numbers times `ratio` / count, as QuantizedMeanOrSum does."""
    mantissa, exponent = multiplier(ratio)
    shift = max(0, min(count.bit_length() - 1, 32, 31 + exponent))
    return _twice_rounded(total, (mantissa << shift) // count, exponent - shift)


def _twice_rounded(x: tf.Tensor, mantissa: int, exponent: int) -> tf.Tensor:
    product = (x * 2 ** max(exponent, 0)) * mantissa
    nudge = tf.where(product >= 0, tf.constant(2**30, tf.int64), tf.constant(1 - 2**30, tf.int64))
    high = tf.truncatediv(product + nudge, 2**31)
    return divide_by_power(high, max(-exponent, 0))


def rescale_once(x: tf.Tensor, ratio: float) -> tf.Tensor:
    """int64 x times `ratio`, rounded once, half upwards."""
    mantissa, exponent = multiplier(ratio)
    shift = 31 - exponent
    if mantissa == 0 or shift > 62:
        return x * 0
    half = tf.constant(2 ** (shift - 1), tf.int64)
    return tf.bitwise.right_shift(x * mantissa + half, tf.constant(shift, tf.int64))


def divide_by_power(x: tf.Tensor, exponent: int) -> tf.Tensor:
    """int64 x / 2^exponent, rounded half away from zero."""
    if exponent == 0:
        return x
    half = tf.constant(2 ** (exponent - 1), tf.int64)
    return tf.sign(x) * tf.bitwise.right_shift(tf.abs(x) + half, tf.constant(exponent, tf.int64))


def table(
    function: Callable[[np.ndarray], np.ndarray], low: float, high: float, out: float
) -> np.ndarray:
    """513 samples of a function over [low, high] as 16-bit numbers of scale `out`.

    Each sample is shifted by half of the error that interpolation makes at the middle.
    """
    step = np.float32((high - low) / LUT_STEPS)
    at = np.float32(low) + np.arange(LUT_STEPS, dtype=np.float32) * step
    per_unit = np.float32(65536 / (out * 65535))

    def sample(x: np.ndarray) -> np.ndarray:
        return function(x.astype(np.float32)).astype(np.float32) * per_unit

    value, middle, following = _away(sample(at)), _away(sample(at + step / 2)), sample(at + step)
    error = _away((following + value) / 2) - middle
    last = _away(sample(np.array([high], np.float32)))
    entries = np.concatenate([value - _away(error / 2), last])
    return np.clip(entries, -32768, 32767).astype(np.int64)


def lookup(x: tf.Tensor, entries: np.ndarray) -> tf.Tensor:
    """A 16-bit x (as int64) in such a table, interpolated."""
    lut = tf.constant(entries)
    index = 256 + tf.bitwise.right_shift(x, tf.constant(7, tf.int64))
    offset = tf.bitwise.bitwise_and(x, tf.constant(127, tf.int64))
    base, following = tf.gather(lut, index), tf.gather(lut, index + 1)
    delta = tf.bitwise.right_shift((following - base) * offset + 64, tf.constant(7, tf.int64))
    return base + delta


def softmax_int16(levels: tf.Tensor, scale: float) -> tf.Tensor:
    """Levels of the softmax (scale 1 / 32768) from int64 levels of logits times beta.

    exp over [-10, 0] and 1 / (1 + x) over [0, 1] come from tables, so the kernel is a few of its
    own steps away from the real function.
    """
    exp = table(np.exp, -10.0, 0.0, 2.0 / 65535)
    inverse = table(lambda x: 1 / (1 + x), 0.0, 1.0, 2.0 / 65535)
    below = levels - tf.reduce_max(levels, -1, keepdims=True)
    at = tf.clip_by_value(
        rescale(below, scale / (10.0 / 65535.0)) + 32767,
        tf.constant(-32768, tf.int64),
        tf.constant(32767, tf.int64),
    )
    powers = lookup(at, exp)
    total = tf.reduce_sum(powers, -1, keepdims=True)
    # leading zeros of the 32-bit sum
    bits = tf.cast(
        tf.floor(tf.math.log(tf.cast(total, tf.float64) + 0.5) / math.log(2.0)), tf.int64
    )
    zeros = 31 - bits
    shifted = tf.bitwise.right_shift(
        tf.bitwise.left_shift(total, zeros - 1) + 2**13, tf.constant(14, tf.int64)
    )
    place = tf.clip_by_value(
        shifted - (2**15 + 2**16), tf.constant(-32768, tf.int64), tf.constant(32767, tf.int64)
    )
    right = 31 - zeros
    half = tf.bitwise.left_shift(tf.ones_like(right), right - 1)
    found = tf.bitwise.right_shift(powers * lookup(place, inverse) + half, right)
    return tf.clip_by_value(found, tf.constant(0, tf.int64), tf.constant(32767, tf.int64))


def sigmoid_int16(levels: tf.Tensor, scale: float) -> tf.Tensor:
    """Levels of the sigmoid (scale 1 / 32768) from int64 levels of x."""
    x, result = _interpolated_sigmoid(levels, scale * 4096 * 3, bits=9)
    upper = result + 2**9
    lower = 2**25 - result + 2**9 - 1
    return tf.bitwise.right_shift(tf.where(x >= 0, upper, lower), tf.constant(10, tf.int64))


def tanh_int16(levels: tf.Tensor, scale: float) -> tf.Tensor:
    """Levels of tanh (scale 1 / 32768) from int64 levels of x: 2 sigmoid(2 x) - 1."""
    x, result = _interpolated_sigmoid(levels, scale * 4096 * 3, bits=8)
    upper = result - 2**23 + 2**7
    lower = -result + 2**23 + 2**7 - 1
    return tf.bitwise.right_shift(tf.where(x >= 0, upper, lower), tf.constant(8, tf.int64))


def _interpolated_sigmoid(
    levels: tf.Tensor, factor: float, bits: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """x in steps of 2^-bits / 24, and the table's sigmoid of |x| times 2^(16 + bits)."""
    shift = 0
    while factor <= 32767 / 2 and shift <= 30:
        shift, factor = shift + 1, factor * 2
    half = 2 ** (shift - 1) if shift else 0
    x = tf.bitwise.right_shift(levels * int(factor) + half, tf.constant(shift, tf.int64))
    at = np.arange(256)
    value, middle, following = (65536 / (1 + np.exp(-(at + d) / 24)) for d in (0, 0.5, 1))
    # raised by half of what interpolation misses at the middle
    entries = np.round(value + (middle - (value + following) / 2) / 2)
    lut = tf.constant(np.minimum(entries, 65535).astype(np.int64))
    size = tf.abs(x)
    index = tf.bitwise.right_shift(size, tf.constant(bits, tf.int64))
    inner = tf.minimum(index, tf.constant(254, tf.int64))
    low, high = tf.gather(lut, inner), tf.gather(lut, inner + 1)
    between = tf.bitwise.bitwise_and(size, tf.constant(2**bits - 1, tf.int64))
    inside = low * 2**bits + between * (high - low)
    full = tf.constant(0x7FFF * 2 ** (bits + 1) if bits == 9 else 0xFFFF * 2**bits, tf.int64)
    return x, tf.where(index >= 255, full, inside)


def interpolation(size: int, out: int, *, align: bool, centres: bool) -> np.ndarray:
    """(out, size) weights of a bilinear resize along one axis, in 1/1024 as the kernels have it."""
    step = (1024 * size + out // 2) // out
    if align and out > 1:
        step = (1024 * (size - 1) + (out - 1) // 2) // (out - 1)
    weights = np.zeros((out, size))
    for i in range(out):
        at = i * step + (step // 2 - 512 if centres else 0)
        low = max(int(at / 1024), 0)
        high = min(int((at + 1023) / 1024), size - 1)
        weights[i, low] += 1024 - (at - 1024 * low)
        weights[i, high] += at - 1024 * low
    return weights


def _away(x: np.ndarray) -> np.ndarray:
    return np.sign(x) * np.floor(np.abs(x) + x.dtype.type(0.5))

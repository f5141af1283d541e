"""What the compiled engine does number by number. LLVM makes vectors of these loops.

Arguments are arrays, places in them and plain numbers: a field of a record would be read again in each step of a
loop, and no vectors be made.
"""

from __future__ import annotations

import math

import numpy as np

from aeattn.generation.fast.kernels import compiled, double_of_bits, float_of_bits

EPSILON = np.float32(1e-6)  # RMSNorm
LAYER_EPSILON = np.float32(1e-5)  # LayerNorm
QK_EPSILON = np.float32(np.finfo(np.float32).eps)
LOWEST = np.float32(-3.0e38)


@compiled
def exponential(x):
    """exp in float32, within 2e-7, for x <= 88 (Cephes: reduction by ln 2, then a polynomial)."""
    x = max(x, np.float32(-87.0))
    whole = np.floor(x * np.float32(1.44269504088896341) + np.float32(0.5))
    rest = x - whole * np.float32(0.693359375) + whole * np.float32(2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * rest + np.float32(1.3981999507e-3)
    p = p * rest + np.float32(8.3334519073e-3)
    p = p * rest + np.float32(4.1665795894e-2)
    p = p * rest + np.float32(1.6666665459e-1)
    p = p * rest + np.float32(5.0000001201e-1)
    p = p * rest * rest + rest + np.float32(1.0)
    return p * float_of_bits(np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)))


@compiled
def exponential_double(x):
    """exp in float64, within 1e-15, for x <= 0; below -708 it is that of -708 (Taylor to the 13th power)."""
    x = max(x, -708.0)
    whole = np.floor(x * 1.4426950408889634 + 0.5)
    rest = x - whole * 0.693147180369123816490 - whole * 1.90821492927058770002e-10
    p = 1.0 / 6227020800.0
    p = p * rest + 1.0 / 479001600.0
    p = p * rest + 1.0 / 39916800.0
    p = p * rest + 1.0 / 3628800.0
    p = p * rest + 1.0 / 362880.0
    p = p * rest + 1.0 / 40320.0
    p = p * rest + 1.0 / 5040.0
    p = p * rest + 1.0 / 720.0
    p = p * rest + 1.0 / 120.0
    p = p * rest + 1.0 / 24.0
    p = p * rest + 1.0 / 6.0
    p = p * rest + 0.5
    p = p * rest + 1.0
    p = p * rest + 1.0
    return p * double_of_bits((np.int64(whole) + np.int64(1023)) << np.int64(52))


@compiled
def gelu(x, at, n):
    """x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3), in place: GELU by the hyperbolic tangent."""
    x = x[at : at + n]
    for i in range(n):
        v = x[i]
        u = np.float32(-1.5957691216057308) * (v + np.float32(0.044715) * v * v * v)
        x[i] = v / (np.float32(1.0) + exponential(min(u, np.float32(87.0))))


@compiled
def normalise(x, at, y, y_at, n, weights, gain, layer_norm):
    """RMSNorm, or LayerNorm without a bias, of one row."""
    x, y, gains = x[at : at + n], y[y_at : y_at + n], weights[gain : gain + n]
    mean = np.float32(0.0)
    if layer_norm:
        for i in range(n):
            mean += x[i]
        mean /= np.float32(n)
    squares = np.float32(0.0)
    for i in range(n):
        squares += (x[i] - mean) * (x[i] - mean)
    epsilon = LAYER_EPSILON if layer_norm else EPSILON
    factor = np.float32(1.0) / np.float32(math.sqrt(squares / np.float32(n) + epsilon))
    for i in range(n):
        y[i] = (x[i] - mean) * factor * gains[i]


@compiled
def inverse_rms(x, at, n):
    x = x[at : at + n]
    squares = np.float32(0.0)
    for i in range(n):
        squares += x[i] * x[i]
    return np.float32(1.0) / np.float32(math.sqrt(squares / np.float32(n) + QK_EPSILON))


@compiled
def add(x, at, y, y_at, n):
    """x += y"""
    x, y = x[at : at + n], y[y_at : y_at + n]
    for i in range(n):
        x[i] += y[i]


@compiled
def add_product(x, at, y, y_at, w, w_at, n):
    """x += y w, number by number."""
    x, y, w = x[at : at + n], y[y_at : y_at + n], w[w_at : w_at + n]
    for i in range(n):
        x[i] += y[i] * w[i]


@compiled
def multiply(x, at, y, y_at, n):
    """x *= y, number by number."""
    x, y = x[at : at + n], y[y_at : y_at + n]
    for i in range(n):
        x[i] *= y[i]


@compiled
def scale(x, at, n, factor):
    x = x[at : at + n]
    for i in range(n):
        x[i] *= factor


@compiled
def copy(x, at, y, y_at, n):
    """y = x"""
    x, y = x[at : at + n], y[y_at : y_at + n]
    for i in range(n):
        y[i] = x[i]


@compiled
def relu2(x, at, n):
    """Squared ReLU, in place."""
    x = x[at : at + n]
    for i in range(n):
        v = max(x[i], np.float32(0.0))
        x[i] = v * v


@compiled
def lower(x, at, n, slope):
    """Take slope times distance from scores whose last has distance 0 (ALiBi)."""
    x = x[at : at + n]
    last = np.int32(n - 1)
    for t in range(n):
        x[t] += slope * np.float32(np.int32(t) - last)


@compiled
def exponentials(x, at, n, highest):
    """exp(x - highest), in place; returns the sum. What is below exp(-60) is 0: it is lost in rounding anyway, and
    numbers at the end of what float32 can hold are slow."""
    x = x[at : at + n]
    total = np.float32(0.0)
    for t in range(n):
        rest = x[t] - highest
        v = exponential(rest) if rest > np.float32(-60.0) else np.float32(0.0)
        x[t] = v
        total += v
    return total

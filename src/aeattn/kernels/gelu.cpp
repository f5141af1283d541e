// GELU in its tanh form, x / (1 + 2^-(A x + B x^3)), and its derivative, in float32 or bf16 (BF16 as 0 or 1).
//
// Rows of x stand `stride` numbers apart. The columns of a row are cut into parts, each a multiple of 16 wide; on the
// other side every part is a tensor of its own, without gaps.

#include "numbers.h"

#include <cmath>

static const float CUBE = 0.044715f;
static const float SLOPE = 1.59576912f;  // 2 sqrt(2 / pi)
static const int64_t WORTH_THREADS = 1 << 14;

// GELU is x g(x) with g(x) = (1 + tanh y) / 2, and d(x) is its derivative. Both are f with f(-x) = 1 - f(x).
template <typename X, typename Exp2>
static inline X gate(X x, const Exp2& exp2) {
    return 1.0f / (1.0f + exp2(-LOG2E * SLOPE * x * (1.0f + CUBE * x * x)));
}

template <typename X>
static inline X slope(X x, X open) {
    return open * (1.0f + (1.0f - open) * x * (SLOPE + 3.0f * SLOPE * CUBE * x * x));
}

#if BF16

// f(-a) for a >= 0 by a cubic for each sixth, and 0 from 31 / 6 on: absolute error 4e-7, with neither an exponential nor
// a division
struct Cubics {
    static const int PIECES = 32, POINTS = 4;
    static constexpr float DENSITY = 6.0f;
    float power[POINTS][PIECES] = {};

    template <typename F>
    explicit Cubics(const F& f) {
        for (int piece = 0; piece < PIECES - 1; piece++) {
            double at[POINTS], y[POINTS], whole[POINTS] = {};
            for (int k = 0; k < POINTS; k++) {  // Chebyshev's points
                at[k] = (1.0 + std::cos(M_PI * (2 * k + 1) / (2 * POINTS))) / 2.0;
                y[k] = f(-(piece + at[k]) / DENSITY);
            }
            for (int order = 1; order < POINTS; order++)  // Newton's divided differences
                for (int k = POINTS - 1; k >= order; k--) y[k] = (y[k] - y[k - 1]) / (at[k] - at[k - order]);
            for (int k = POINTS - 1; k >= 0; k--) {  // whole * (x - at[k]) + y[k]
                for (int p = POINTS - 1; p > 0; p--) whole[p] = whole[p - 1] - at[k] * whole[p];
                whole[0] = y[k] - at[k] * whole[0];
            }
            for (int p = 0; p < POINTS; p++) power[p][piece] = whole[p];
        }
    }

    vec operator()(vec a) const {
        const __m512 place = _mm512_min_ps(_mm512_set1_ps(PIECES - 1), a * DENSITY);  // what is no number stays none
        const __m512i piece = _mm512_cvttps_epi32(place);
        const vec rest = (vec)place - (vec)_mm512_cvtepi32_ps(piece);
        vec y = of(POINTS - 1, piece);
        for (int p = POINTS - 2; p >= 0; p--) y = y * rest + of(p, piece);
        return y;
    }

    vec of(int p, __m512i piece) const {
        return (vec)_mm512_permutex2var_ps(_mm512_loadu_ps(power[p]), piece, _mm512_loadu_ps(power[p] + 16));
    }
};

static const auto EXP2 = [](double x) { return std::exp2(x); };
static const Cubics GATE([](double x) { return gate(x, EXP2); });
static const Cubics DERIVATIVE([](double x) { return slope(x, gate(x, EXP2)); });

static inline vec magnitude(vec x) { return (vec)_mm512_abs_ps((__m512)x); }

static inline vec value(vec x) {
    const vec a = magnitude(x), bounded = a < 6.0f ? a : spread(6.0f);
    return (x < 0.0f ? vec{} : x) - bounded * GATE(a);
}

static inline vec derivative(vec x) {
    const vec y = DERIVATIVE(magnitude(x));
    return x > 0.0f ? 1.0f - y : y;
}

#else

static const float FAR = 8.0f;  // beyond it, the gate is 0 or 1 to a float

static inline vec near(vec x) { return greatest(spread(-FAR), least(spread(FAR), x)); }  // what is no number stays none

static inline vec value(vec x) { return x * gate(near(x), exp2_near); }

static inline vec derivative(vec x) { return slope(near(x), gate(near(x), exp2_near)); }

#endif

// work(row, part, its width, where it begins in a row) for every row of every part
template <typename Work>
static void over_rows(const int64_t* widths, int64_t n, int64_t rows, int threads, const Work& work) {
    int64_t total = 0;
    for (int64_t p = 0; p < n; p++) total += widths[p];
#pragma omp parallel for num_threads(threads) if (rows * total > WORTH_THREADS)
    for (int64_t row = 0; row < rows; row++)
        for (int64_t p = 0, at = 0; p < n; at += widths[p++]) work(row, p, widths[p], at);
}

extern "C" void gelu_forward(const number* x, int64_t stride, number* const* parts, const int64_t* widths, int64_t n,
                             int64_t rows, int threads) {
    over_rows(widths, n, rows, threads, [=](int64_t row, int64_t p, int64_t width, int64_t at) {
        const number* from = x + row * stride + at;
        number* to = parts[p] + row * width;
        for (int64_t c = 0; c < width; c += LANES) store(to + c, value(load(from + c)));
    });
}

// d_x has no gaps
extern "C" void gelu_backward(const number* x, int64_t stride, number* const* d_parts, const int64_t* widths, int64_t n,
                              number* d_x, int64_t width, int64_t rows, int threads) {
    over_rows(widths, n, rows, threads, [=](int64_t row, int64_t p, int64_t wide, int64_t at) {
        const number *from = x + row * stride + at, *reach = d_parts[p] + row * wide;
        number* to = d_x + row * width + at;
        for (int64_t c = 0; c < wide; c += LANES) store(to + c, load(reach + c) * derivative(load(from + c)));
    });
}

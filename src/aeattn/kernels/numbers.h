// Numbers for kernels: vectors of LANES floats, read from and written to float32 or, with BF16, bf16; products of words;
// powers of two.

#pragma once

#ifdef __x86_64__
#include <immintrin.h>
#endif

#include <cstdint>

#ifdef __AVX512F__
static const int LANES = 16, REGISTERS = 32;
#else
static const int LANES = 8, REGISTERS = 16;
#endif

typedef float vec __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int32_t ints __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

static inline vec spread(float x) { return x - vec{}; }

static inline vec load(const float* x) { return *(const vec*)x; }
static inline void store(float* to, vec x) { *(vec*)to = x; }

#ifdef __AVX512F__
static inline float sum(vec x) { return _mm512_reduce_add_ps((__m512)x); }
static inline float highest(vec x) { return _mm512_reduce_max_ps((__m512)x); }
#else
static inline float sum(vec x) {
    float total = 0;
    for (int i = 0; i < LANES; i++) total += x[i];
    return total;
}

static inline float highest(vec x) {
    float most = x[0];
    for (int i = 1; i < LANES; i++) most = x[i] > most ? x[i] : most;
    return most;
}
#endif

#if BF16

typedef uint16_t number;
typedef uint32_t word;
static const int PACK = 2;
// 2^x on [-1/2, 1/2]: relative error 4e-6
static const int DEGREE = 4;
static const float EXP[] = {1.0f, 0.693147180f, 0.240226507f, 0.0555041087f, 0.00961812911f};
typedef word words __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

static inline vec multiply(vec total, words a, words b) {
    return (vec)_mm512_dpbf16_ps((__m512)total, (__m512bh)a, (__m512bh)b);
}

static inline vec load(const number* x) {
    const __m256i narrow = _mm256_loadu_si256((const __m256i*)x);
    return (vec)_mm512_slli_epi32(_mm512_cvtepu16_epi32(narrow), 16);
}

static inline __m256i rounded(vec x) { return (__m256i)_mm512_cvtneps_pbh((__m512)x); }

static inline void store(number* to, vec x) { _mm256_storeu_si256((__m256i*)to, rounded(x)); }

// words of PACK rows
static inline words join(const vec* x) {
    return (words)_mm512_or_si512(_mm512_cvtepu16_epi32(rounded(x[0])),
                                  _mm512_slli_epi32(_mm512_cvtepu16_epi32(rounded(x[1])), 16));
}

#else

typedef float number;
typedef float word;
static const int PACK = 1;
// 2^x on [-1/2, 1/2]: relative error 2e-8
static const int DEGREE = 6;
static const float EXP[] = {1.0f,           0.693147181f,   0.240226507f,  0.0555041087f,
                            0.00961812911f, 0.00133335581f, 0.000154035304f};
typedef vec words;

static inline vec multiply(vec total, words a, words b) { return total + a * b; }
static inline words join(const vec* x) { return x[0]; }

#endif

static const float LOG2E = 1.44269504088896f;
// 2^x for x up to 126: the whole part goes into the exponent, a polynomial does the rest; exactly 0 below 2^-126
static inline vec exp2_fast(vec x) {
#ifdef __AVX512F__
    const vec whole = (vec)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const vec rest = x - whole;
#else
    const vec bounded = x < -126.0f ? spread(-126.0f) : x;
    const vec shifted = bounded + 12582912.0f;  // 1.5 * 2^23: adding it rounds to whole numbers
    const vec rest = bounded - (shifted - 12582912.0f);
#endif
    vec y = spread(EXP[DEGREE]);
    for (int i = DEGREE - 1; i >= 0; i--) y = y * rest + EXP[i];
#ifdef __AVX512F__
    const __mmask16 above = _mm512_cmp_ps_mask((__m512)x, _mm512_set1_ps(-126.0f), _CMP_NLT_UQ);  // or no number
    return (vec)_mm512_maskz_scalef_ps(above, (__m512)y, (__m512)whole);
#else
    const vec scaled = (vec)((ints)y + ((ints)shifted << 23));
    return x < -126.0f ? vec{} : scaled;
#endif
}

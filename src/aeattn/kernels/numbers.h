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

// the lesser and the greater of both; y where y is no number
#if defined(__AVX512F__)
static inline vec least(vec x, vec y) { return (vec)_mm512_min_ps((__m512)x, (__m512)y); }
static inline vec greatest(vec x, vec y) { return (vec)_mm512_max_ps((__m512)x, (__m512)y); }
#elif defined(__AVX2__)
static inline vec least(vec x, vec y) { return (vec)_mm256_min_ps((__m256)x, (__m256)y); }
static inline vec greatest(vec x, vec y) { return (vec)_mm256_max_ps((__m256)x, (__m256)y); }
#else
static inline vec least(vec x, vec y) { return x < y ? x : y; }
static inline vec greatest(vec x, vec y) { return x > y ? x : y; }
#endif

// 2^x on [-1/2, 1/2]
static inline vec exp2_part(vec x) {
    vec y = spread(EXP[DEGREE]);
    for (int i = DEGREE - 1; i >= 0; i--) y = y * x + EXP[i];
    return y;
}

#ifdef __AVX512F__

static inline vec whole_of(vec x) {
    return (vec)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

// 2^x for x from -126 to 126: the whole part goes into the exponent, a polynomial does the rest
static inline vec exp2_near(vec x) {
    const vec whole = whole_of(x);
    return (vec)_mm512_scalef_ps((__m512)exp2_part(x - whole), (__m512)whole);
}

// the same for any x up to 126; exactly 0 below 2^-126
static inline vec exp2_fast(vec x) {
    const vec whole = whole_of(x);
    const __mmask16 above = _mm512_cmp_ps_mask((__m512)x, _mm512_set1_ps(-126.0f), _CMP_NLT_UQ);  // or no number
    return (vec)_mm512_maskz_scalef_ps(above, (__m512)exp2_part(x - whole), (__m512)whole);
}

#else

static inline vec exp2_near(vec x) {
    const vec shifted = x + 12582912.0f;  // 1.5 * 2^23: adding it rounds to whole numbers
    const vec y = exp2_part(x - (shifted - 12582912.0f));
    return (vec)((ints)y + ((ints)shifted << 23));
}

static inline vec exp2_fast(vec x) {
    const vec y = exp2_near(greatest(spread(-126.0f), x));
    return x < -126.0f ? vec{} : y;
}

#endif

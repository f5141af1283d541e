// Causal attention in bf16 that never writes its scores to memory, forward and backward, for processors with
// AVX512-BF16. One sequence's head is one task: its keys and values are packed once, queries pass in blocks of ROWS,
// and a block's scores stay in the level-2 cache (the idea of Dao et al. 2022, FlashAttention; whole rows here, so
// that a softmax needs no correction).
//
// Products take pairs of bf16 numbers: `vdpbf16ps` adds a[2i] b[2i] + a[2i+1] b[2i+1] to a float32. Two packings
// serve all seven products:
//     columns   (C/2, T) pairs along features of one row: for products over features, such as scores
//     rows      (T/2, C) pairs of two rows: for products over time, such as weights times values
//
// Tensors are (B, T, H, C) with any strides but the last, which is 1; C is WIDTH, a multiple of 16, defined when this
// is compiled. Scores get slope * (key - query) added.

#include <immintrin.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <new>

typedef uint16_t bf16;
typedef uint32_t pair;

static const int LANES = 16;
static const int ROWS = 32;  // queries a block

struct Tensor {
    bf16* data;
    int64_t batch, time, head;  // strides, in elements

    bf16* at(int64_t b, int64_t t, int64_t h) const { return data + b * batch + t * time + h * head; }
};

struct Shape {
    int64_t batch, time, heads;
    int64_t padded() const { return (time + ROWS - 1) / ROWS * ROWS; }
};

// -- numbers ---------------------------------------------------------------------------------------------------

static inline __m512 multiply_pairs(__m512 sum, __m512i a, __m512i b) {
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}

static inline __m256i to_bf16(__m512 x) { return (__m256i)_mm512_cvtneps_pbh(x); }

static inline __m512 to_float(__m256i x) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
}

static inline __m512i join(__m256i even, __m256i odd) {
    return _mm512_or_si512(_mm512_cvtepu16_epi32(even), _mm512_slli_epi32(_mm512_cvtepu16_epi32(odd), 16));
}

// 2^x: the whole part goes into the exponent, a polynomial (minimax on [-1/2, 1/2], relative error 4e-6) does the rest
static inline __m512 exp2_fast(__m512 x) {
    const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 rest = _mm512_sub_ps(x, whole);
    __m512 y = _mm512_set1_ps(0.009618129107628f);
    y = _mm512_fmadd_ps(y, rest, _mm512_set1_ps(0.055504108664821f));
    y = _mm512_fmadd_ps(y, rest, _mm512_set1_ps(0.240226506959101f));
    y = _mm512_fmadd_ps(y, rest, _mm512_set1_ps(0.693147180559945f));
    y = _mm512_fmadd_ps(y, rest, _mm512_set1_ps(1.0f));
    const __mmask16 above_zero = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-126.0f), _CMP_NLT_UQ);  // and what is no number
    return _mm512_maskz_scalef_ps(above_zero, y, whole);
}

static const float LOG2E = 1.44269504088896f;

static inline __m512 count_from(int64_t start) {
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return _mm512_cvtepi32_ps(_mm512_add_epi32(lanes, _mm512_set1_epi32((int)start)));
}

// -- packing ---------------------------------------------------------------------------------------------------

// `columns` of rows [0, n) of x: out[c][t] = (x[t][2c], x[t][2c+1]), rows up to `padded` zero
template <int C>
static void pack_columns(const bf16* x, int64_t stride, int64_t n, int64_t padded, pair* out) {
    for (int64_t start = 0; start < n; start += LANES) {  // whole cache lines at once
        const int64_t end = start + LANES < n ? start + LANES : n;
#pragma GCC unroll 1
        for (int c = 0; c < C / 2; c++)
#pragma GCC unroll 1
            for (int64_t t = start; t < end; t++) out[c * padded + t] = ((const pair*)(x + t * stride))[c];
    }
    for (int c = 0; c < C / 2; c++)
        for (int64_t t = n; t < padded; t++) out[c * padded + t] = 0;
}

// `rows` of rows [0, n) of x: out[t][c] = (x[2t][c], x[2t+1][c]), rows up to `padded` zero
template <int C>
static void pack_rows(const bf16* x, int64_t stride, int64_t n, int64_t padded, pair* out) {
    for (int64_t t = 0; t < padded; t += 2)
        for (int c = 0; c < C; c += LANES) {
            const __m256i zero = _mm256_setzero_si256();
            const __m256i even = t < n ? _mm256_loadu_si256((const __m256i*)(x + t * stride + c)) : zero;
            const __m256i odd = t + 1 < n ? _mm256_loadu_si256((const __m256i*)(x + (t + 1) * stride + c)) : zero;
            _mm512_storeu_si512(out + t / 2 * C + c, join(even, odd));
        }
}

// -- products --------------------------------------------------------------------------------------------------

// sums[r][v] = x[r] . columns[j + 16 v ...] over all features
template <int C, int R, int V>
static inline void product_over_features(
    const bf16* const* x, const pair* columns, int64_t padded, int64_t j, __m512 sums[R][V]) {
    for (int r = 0; r < R; r++)
        for (int v = 0; v < V; v++) sums[r][v] = _mm512_setzero_ps();
#pragma GCC unroll 4
    for (int c = 0; c < C / 2; c++) {
        __m512i b[V];
        for (int v = 0; v < V; v++) b[v] = _mm512_loadu_si512(columns + c * padded + j + v * LANES);
        for (int r = 0; r < R; r++) {
            const __m512i a = _mm512_set1_epi32(((const int*)x[r])[c]);
            for (int v = 0; v < V; v++) sums[r][v] = multiply_pairs(sums[r][v], a, b[v]);
        }
    }
}

// sums[r][v] += sum over t of a[r * row + t * step] rows[t][16 v ...], t counting pairs
template <int C, int R>
static inline void product_over_time(
    const pair* a, int64_t row, int64_t step, const pair* rows, int64_t n_pairs, __m512 sums[R][C / LANES]) {
    for (int64_t t = 0; t < n_pairs; t++) {
        __m512i b[C / LANES];
        for (int v = 0; v < C / LANES; v++) b[v] = _mm512_loadu_si512(rows + t * C + v * LANES);
        for (int r = 0; r < R; r++) {
            const __m512i w = _mm512_set1_epi32((int)a[r * row + t * step]);
            for (int v = 0; v < C / LANES; v++) sums[r][v] = multiply_pairs(sums[r][v], w, b[v]);
        }
    }
}

template <int C>
struct Tile {  // as many rows as leave registers for everything
    static const int ROWS_OVER_TIME = C <= 32 ? 8 : C <= 64 ? 4 : 2;
};

// -- memory ----------------------------------------------------------------------------------------------------

struct Scratch {  // one thread's memory, cut into pieces
    char* start;
    char* next;

    explicit Scratch(size_t bytes) : start((char*)std::aligned_alloc(64, (bytes + 63) / 64 * 64)), next(start) {
        if (!start) throw std::bad_alloc();
    }
    ~Scratch() { std::free(start); }

    template <typename T>
    T* take(int64_t n) {
        T* piece = (T*)next;
        next += (n * sizeof(T) + 63) / 64 * 64;
        return piece;
    }
};

// -- forward ---------------------------------------------------------------------------------------------------

template <int C>
struct Forward {
    Shape shape;
    Tensor q, k, v, out;
    const float* slopes;  // (H,) or null
    float* log_sums;      // (B, H, T)

    size_t scratch_bytes() const {
        const int64_t padded = shape.padded();
        return padded * C * 4 + ROWS * padded * 6 + ROWS * 4 + 6 * 64;
    }

    void head(int64_t b, int64_t h, Scratch& memory) const {
        memory.next = memory.start;
        const int64_t padded = shape.padded();
        pair* keys = memory.take<pair>(C / 2 * padded);
        pair* values = memory.take<pair>(padded / 2 * C);
        float* scores = memory.take<float>(ROWS * padded);
        bf16* weights = memory.take<bf16>(ROWS * padded);
        pack_columns<C>(k.at(b, 0, h), k.time, shape.time, padded, keys);
        pack_rows<C>(v.at(b, 0, h), v.time, shape.time, padded, values);
        const float slope = slopes ? slopes[h] : 0.0f;
        for (int64_t i = 0; i < shape.time; i += ROWS) {
            const int64_t n = i + ROWS;  // keys that this block may see
            float sums[ROWS];
            make_scores(b, h, i, n, slope, keys, padded, scores);
            for (int r = 0; r < ROWS; r++)
                sums[r] = softmax(scores + r * n, weights + r * n, n, i + r, log_sums + (b * shape.heads + h) * shape.time);
            mix(b, h, i, n, weights, values, sums);
        }
    }

    void make_scores(int64_t b, int64_t h, int64_t i, int64_t n, float slope, const pair* keys, int64_t padded,
                     float* scores) const {
        const int R = 8, V = 2;
        for (int r = 0; r < ROWS; r += R) {
            const bf16* x[R];
            for (int s = 0; s < R; s++) x[s] = q.at(b, row(i + r + s), h);
            for (int64_t j = 0; j < n; j += V * LANES) {
                __m512 sums[R][V];
                product_over_features<C, R, V>(x, keys, padded, j, sums);
                for (int v = 0; v < V; v++) {
                    const __m512 place = count_from(j + v * LANES);
                    for (int s = 0; s < R; s++) {
                        const __m512 here = _mm512_set1_ps((float)(i + r + s));
                        __m512 y = _mm512_fmadd_ps(_mm512_sub_ps(place, here), _mm512_set1_ps(slope), sums[s][v]);
                        const __mmask16 future = _mm512_cmp_ps_mask(place, here, _CMP_GT_OQ);
                        y = _mm512_mask_mov_ps(y, future, _mm512_set1_ps(-INFINITY));
                        _mm512_storeu_ps(scores + (r + s) * n + j + v * LANES, y);
                    }
                }
            }
        }
    }

    // exp(scores - maximum) as bf16; the sum of them, whose logarithm plus the maximum is kept
    float softmax(const float* scores, bf16* weights, int64_t n, int64_t i, float* kept) const {
        __m512 most = _mm512_loadu_ps(scores);
        for (int64_t j = LANES; j < n; j += LANES) most = _mm512_max_ps(most, _mm512_loadu_ps(scores + j));
        const float maximum = _mm512_reduce_max_ps(most);
        const __m512 shift = _mm512_set1_ps(-maximum * LOG2E), scale = _mm512_set1_ps(LOG2E);
        __m512 total = _mm512_setzero_ps();
        for (int64_t j = 0; j < n; j += LANES) {
            const __m512 w = exp2_fast(_mm512_fmadd_ps(_mm512_loadu_ps(scores + j), scale, shift));
            total = _mm512_add_ps(total, w);
            _mm256_storeu_si256((__m256i*)(weights + j), to_bf16(w));
        }
        const float sum = _mm512_reduce_add_ps(total);
        if (i < shape.time) kept[i] = maximum + std::log(sum);
        return sum;
    }

    void mix(int64_t b, int64_t h, int64_t i, int64_t n, const bf16* weights, const pair* values,
             const float* sums) const {
        const int R = Tile<C>::ROWS_OVER_TIME;
        for (int r = 0; r < ROWS && i + r < shape.time; r += R) {
            __m512 mixed[R][C / LANES] = {};
            product_over_time<C, R>((const pair*)(weights + r * n), n / 2, 1, values, n / 2, mixed);
            for (int s = 0; s < R && i + r + s < shape.time; s++)
                for (int c = 0; c < C / LANES; c++) {
                    const __m512 y = _mm512_div_ps(mixed[s][c], _mm512_set1_ps(sums[r + s]));
                    _mm256_storeu_si256((__m256i*)(out.at(b, i + r + s, h) + c * LANES), to_bf16(y));
                }
        }
    }

    int64_t row(int64_t i) const { return i < shape.time ? i : shape.time - 1; }  // rows beyond the end: any
};

// -- backward --------------------------------------------------------------------------------------------------

template <int C>
struct Backward {
    Shape shape;
    Tensor q, k, v, out, d_out, d_q, d_k, d_v;
    const float* slopes;    // (H,) or null
    const float* log_sums;  // (B, H, T)
    float* d_slopes;        // (B, H) or null

    size_t scratch_bytes() const {
        const int64_t padded = shape.padded();
        return padded * C * (3 * 2 + 2 * 4) + ROWS * C * 4 + ROWS * padded * 6 + 12 * 64;
    }

    void head(int64_t b, int64_t h, Scratch& memory) const {
        memory.next = memory.start;
        const int64_t padded = shape.padded();
        pair* key_columns = memory.take<pair>(C / 2 * padded);
        pair* key_rows = memory.take<pair>(padded / 2 * C);
        pair* value_columns = memory.take<pair>(C / 2 * padded);
        float* key_sums = memory.take<float>(padded * C);
        float* value_sums = memory.take<float>(padded * C);
        pair* query_rows = memory.take<pair>(ROWS / 2 * C);
        pair* d_out_rows = memory.take<pair>(ROWS / 2 * C);
        bf16* d_scores = memory.take<bf16>(ROWS * padded);
        pair* d_score_rows = memory.take<pair>(ROWS / 2 * padded);
        pair* weight_rows = memory.take<pair>(ROWS / 2 * padded);
        pack_columns<C>(k.at(b, 0, h), k.time, shape.time, padded, key_columns);
        pack_rows<C>(k.at(b, 0, h), k.time, shape.time, padded, key_rows);
        pack_columns<C>(v.at(b, 0, h), v.time, shape.time, padded, value_columns);
        for (int64_t x = 0; x < padded * C; x += LANES) {
            _mm512_storeu_ps(key_sums + x, _mm512_setzero_ps());
            _mm512_storeu_ps(value_sums + x, _mm512_setzero_ps());
        }
        __m512 d_slope = _mm512_setzero_ps();
        for (int64_t i = 0; i < shape.time; i += ROWS) {
            const int64_t n = i + ROWS, left = shape.time - i < ROWS ? shape.time - i : ROWS;
            pack_rows<C>(q.at(b, i, h), q.time, left, ROWS, query_rows);
            pack_rows<C>(d_out.at(b, i, h), d_out.time, left, ROWS, d_out_rows);
            d_slope = _mm512_add_ps(d_slope, through_softmax(b, h, i, n, key_columns, value_columns, padded,
                                                             d_scores, d_score_rows, weight_rows));
            queries(b, h, i, n, d_scores, key_rows);
            add_over_queries(weight_rows, n, d_out_rows, value_sums);
            add_over_queries(d_score_rows, n, query_rows, key_sums);
        }
        store(key_sums, d_k, b, h);
        store(value_sums, d_v, b, h);
        if (d_slopes) d_slopes[b * shape.heads + h] = _mm512_reduce_add_ps(d_slope);
    }

    // weights w = exp(score - log sum) and what reaches the scores, w (d_out . v - d_out . out), of a block;
    // returns the sum of the latter times slope's factor
    __m512 through_softmax(int64_t b, int64_t h, int64_t i, int64_t n, const pair* key_columns,
                           const pair* value_columns, int64_t padded, bf16* d_scores, pair* d_score_rows,
                           pair* weight_rows) const {
        const int R = 4, V = 2;
        const __m512 slope = _mm512_set1_ps(slopes ? slopes[h] : 0.0f);
        __m512 d_slope = _mm512_setzero_ps();
        for (int r = 0; r < ROWS; r += R) {
            const bf16 *queries[R], *gradients[R];
            float from_sum[R], log_sum[R];
            for (int s = 0; s < R; s++) {
                const bool there = i + r + s < shape.time;
                const int64_t t = there ? i + r + s : shape.time - 1;
                queries[s] = q.at(b, t, h);
                gradients[s] = d_out.at(b, t, h);
                from_sum[s] = inner(gradients[s], out.at(b, t, h));
                log_sum[s] = there ? log_sums[(b * shape.heads + h) * shape.time + t] : INFINITY;
            }
            for (int64_t j = 0; j < n; j += V * LANES) {
                __m512 scores[R][V], reach[R][V];
                product_over_features<C, R, V>(queries, key_columns, padded, j, scores);
                product_over_features<C, R, V>(gradients, value_columns, padded, j, reach);
                for (int v = 0; v < V; v++) {
                    const __m512 place = count_from(j + v * LANES);
                    __m256i weights[R], d[R];
                    for (int s = 0; s < R; s++) {
                        const __m512 here = _mm512_set1_ps((float)(i + r + s));
                        const __m512 distance = _mm512_sub_ps(place, here);
                        const __m512 y = _mm512_sub_ps(_mm512_fmadd_ps(distance, slope, scores[s][v]),
                                                       _mm512_set1_ps(log_sum[s]));
                        const __mmask16 past = _mm512_cmp_ps_mask(place, here, _CMP_LE_OQ);
                        const __m512 w = _mm512_maskz_mov_ps(
                            past, exp2_fast(_mm512_mul_ps(y, _mm512_set1_ps(LOG2E))));
                        const __m512 g = _mm512_mul_ps(w, _mm512_sub_ps(reach[s][v], _mm512_set1_ps(from_sum[s])));
                        d_slope = _mm512_fmadd_ps(g, distance, d_slope);
                        weights[s] = to_bf16(w);
                        d[s] = to_bf16(g);
                        _mm256_storeu_si256((__m256i*)(d_scores + (r + s) * n + j + v * LANES), d[s]);
                    }
                    for (int s = 0; s < R; s += 2) {
                        const int64_t to = (r + s) / 2 * n + j + v * LANES;
                        _mm512_storeu_si512(weight_rows + to, join(weights[s], weights[s + 1]));
                        _mm512_storeu_si512(d_score_rows + to, join(d[s], d[s + 1]));
                    }
                }
            }
        }
        return d_slope;
    }

    static float inner(const bf16* x, const bf16* y) {
        __m512 sum = _mm512_setzero_ps();
        for (int c = 0; c < C; c += LANES)
            sum = _mm512_fmadd_ps(to_float(_mm256_loadu_si256((const __m256i*)(x + c))),
                                  to_float(_mm256_loadu_si256((const __m256i*)(y + c))), sum);
        return _mm512_reduce_add_ps(sum);
    }

    void queries(int64_t b, int64_t h, int64_t i, int64_t n, const bf16* d_scores, const pair* key_rows) const {
        const int R = Tile<C>::ROWS_OVER_TIME;
        for (int r = 0; r < ROWS && i + r < shape.time; r += R) {
            __m512 sums[R][C / LANES] = {};
            product_over_time<C, R>((const pair*)(d_scores + r * n), n / 2, 1, key_rows, n / 2, sums);
            for (int s = 0; s < R && i + r + s < shape.time; s++)
                for (int c = 0; c < C / LANES; c++)
                    _mm256_storeu_si256((__m256i*)(d_q.at(b, i + r + s, h) + c * LANES), to_bf16(sums[s][c]));
        }
    }

    // sums[j] += sum over the block's queries of a[query][j] rows[query]
    static void add_over_queries(const pair* a, int64_t n, const pair* rows, float* sums) {
        const int R = Tile<C>::ROWS_OVER_TIME;
        for (int64_t j = 0; j < n; j += R) {
            __m512 s[R][C / LANES];
            for (int r = 0; r < R; r++)
                for (int c = 0; c < C / LANES; c++) s[r][c] = _mm512_loadu_ps(sums + (j + r) * C + c * LANES);
            product_over_time<C, R>(a + j, 1, n, rows, ROWS / 2, s);
            for (int r = 0; r < R; r++)
                for (int c = 0; c < C / LANES; c++) _mm512_storeu_ps(sums + (j + r) * C + c * LANES, s[r][c]);
        }
    }

    void store(const float* sums, const Tensor& to, int64_t b, int64_t h) const {
        for (int64_t t = 0; t < shape.time; t++)
            for (int c = 0; c < C; c += LANES)
                _mm256_storeu_si256((__m256i*)(to.at(b, t, h) + c), to_bf16(_mm512_loadu_ps(sums + t * C + c)));
    }
};

// -- entry -----------------------------------------------------------------------------------------------------

template <typename Pass>
static void over_heads(const Pass& pass, int threads) {
    const int64_t heads = pass.shape.batch * pass.shape.heads;
#pragma omp parallel num_threads(threads)
    {
        Scratch memory(pass.scratch_bytes());
#pragma omp for schedule(dynamic)
        for (int64_t x = 0; x < heads; x++) pass.head(x / pass.shape.heads, x % pass.shape.heads, memory);
    }
}

static void tensors(void** data, const int64_t* strides, int n, Tensor* out) {
    for (int i = 0; i < n; i++, strides += 3) out[i] = {(bf16*)data[i], strides[0], strides[1], strides[2]};
}

// Tensors in the order q, k, v, out; strides (batch, time, head) of each.
extern "C" void attend_forward(void** x, const int64_t* strides, const float* slopes, float* log_sums, int64_t batch,
                               int64_t time, int64_t heads, int threads) {
    Tensor t[4];
    tensors(x, strides, 4, t);
    over_heads(Forward<WIDTH>{{batch, time, heads}, t[0], t[1], t[2], t[3], slopes, log_sums}, threads);
}

// Tensors in the order q, k, v, out, d_out, d_q, d_k, d_v; d_slopes is (B, H), or null as slopes is.
extern "C" void attend_backward(void** x, const int64_t* strides, const float* slopes, const float* log_sums,
                                float* d_slopes, int64_t batch, int64_t time, int64_t heads, int threads) {
    Tensor t[8];
    tensors(x, strides, 8, t);
    over_heads(Backward<WIDTH>{{batch, time, heads}, t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], slopes,
                               log_sums, d_slopes}, threads);
}

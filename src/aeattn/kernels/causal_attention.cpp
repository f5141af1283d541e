// Causal attention that never writes its scores to memory, forward and backward, in float32 or bf16. One sequence's
// head of keys and values is one task: its keys and values are packed once, queries pass in blocks of ROWS, and a block's scores stay in
// the level-2 cache (the idea of Dao et al. 2022, FlashAttention; whole rows here, so that a softmax needs no
// correction).
//
// Compiled with WIDTH, the head width C, a multiple of 16, and BF16 as 0 or 1. Tensors are (B, T, H, C), of keys and
// values (B, T, G, C), with any strides but the last, which is 1: H / G heads share one of keys and values. Scores get
// slope * (key - query) added.
//
// Products work on words: one float32, or, with AVX512-BF16, a pair of bf16 numbers, of which `vdpbf16ps` adds
// a[2i] b[2i] + a[2i+1] b[2i+1] to a float32. Two packings serve all seven products:
//     columns   (C / PACK, T) words along features of one row: for products over features, such as scores
//     rows      (T / PACK, C) words of PACK rows: for products over time, such as weights times values

#include "numbers.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>

static const int ROWS = 32;  // queries a block
static const int C = WIDTH;

// start, start + 1, ...
static inline vec count_from(int64_t start) {
    static const float NUMBERS[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return load(NUMBERS) + (float)start;
}

// -- memory ----------------------------------------------------------------------------------------------------

struct Tensor {
    number* data;
    int64_t batch, time, head;  // strides, in elements

    number* at(int64_t b, int64_t t, int64_t h) const { return data + b * batch + t * time + h * head; }
};

struct Shape {
    int64_t batch, time, heads, groups;

    int64_t padded() const { return (time + ROWS - 1) / ROWS * ROWS; }
    int64_t tasks() const { return batch * groups; }
    int64_t shared() const { return heads / groups; }  // heads of queries for one of keys and values
};

struct Scratch {  // one thread's memory, cut into pieces
    char *start, *next;

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

// `columns` of rows [0, n) of x: out[c][t] = word c of row t; rows up to `padded` are zero
static void pack_columns(const number* x, int64_t stride, int64_t n, int64_t padded, word* out) {
    for (int64_t start = 0; start < n; start += 16) {  // whole cache lines at once
        const int64_t end = start + 16 < n ? start + 16 : n;
#pragma GCC unroll 1
        for (int c = 0; c < C / PACK; c++)
#pragma GCC unroll 1
            for (int64_t t = start; t < end; t++) out[c * padded + t] = ((const word*)(x + t * stride))[c];
    }
    for (int c = 0; c < C / PACK; c++)
        for (int64_t t = n; t < padded; t++) out[c * padded + t] = 0;
}

// `rows` of rows [0, n) of x: out[t][c] = x[PACK t ...][c]; rows up to `padded` are zero
static void pack_rows(const number* x, int64_t stride, int64_t n, int64_t padded, word* out) {
    for (int64_t t = 0; t < padded; t += PACK)
        for (int c = 0; c < C; c += LANES) {
            vec rows[PACK];
            for (int p = 0; p < PACK; p++) rows[p] = t + p < n ? load(x + (t + p) * stride + c) : vec{};
            *(words*)(out + t / PACK * C + c) = join(rows);
        }
}

// -- products --------------------------------------------------------------------------------------------------

// sums[r][v] = x[r] . columns[j + LANES v ...] over all features
template <int R, int V>
static inline void over_features(const number* const* x, const word* columns, int64_t padded, int64_t j,
                                 vec sums[R][V]) {
    for (int r = 0; r < R; r++)
        for (int v = 0; v < V; v++) sums[r][v] = vec{};
#pragma GCC unroll 4
    for (int c = 0; c < C / PACK; c++) {
        words b[V];
        for (int v = 0; v < V; v++) b[v] = *(const words*)(columns + c * padded + j + v * LANES);
        for (int r = 0; r < R; r++) {
            const words a = ((const word*)x[r])[c] - words{};
            for (int v = 0; v < V; v++) sums[r][v] = multiply(sums[r][v], a, b[v]);
        }
    }
}

static const int VECTORS = C / LANES;  // of one row

constexpr int tall(int rows) { return rows > 1 && rows * VECTORS > REGISTERS / 2 ? tall(rows / 2) : rows; }
static const int TALL = tall(8);  // rows of a tile of sums that leave registers for the rest

// sums[r] += sum over t of a[r * row + t * step] rows[t]
static inline void over_time(const word* a, int64_t row, int64_t step, const word* rows, int64_t n,
                             vec sums[TALL][VECTORS]) {
    for (int64_t t = 0; t < n; t++) {
        words b[VECTORS];
        for (int v = 0; v < VECTORS; v++) b[v] = *(const words*)(rows + t * C + v * LANES);
        for (int r = 0; r < TALL; r++) {
            const words w = a[r * row + t * step] - words{};
            for (int v = 0; v < VECTORS; v++) sums[r][v] = multiply(sums[r][v], w, b[v]);
        }
    }
}

// -- forward ---------------------------------------------------------------------------------------------------

struct Forward {
    Shape shape;
    Tensor q, k, v, out;
    const float* slopes;  // (H,) or null
    float* log_sums;      // (B, H, T)

    size_t scratch_bytes() const {
        const int64_t padded = shape.padded();
        return padded * C * 2 * sizeof(number) + ROWS * padded * (4 + sizeof(number)) + 4 * 64;
    }

    void group(int64_t b, int64_t g, Scratch& memory) const {
        const int64_t padded = shape.padded();
        word* keys = memory.take<word>(padded * C / PACK);
        word* values = memory.take<word>(padded * C / PACK);
        float* scores = memory.take<float>(ROWS * padded);
        number* weights = memory.take<number>(ROWS * padded);
        pack_columns(k.at(b, 0, g), k.time, shape.time, padded, keys);
        pack_rows(v.at(b, 0, g), v.time, shape.time, padded, values);
        for (int64_t h = g * shape.shared(); h < (g + 1) * shape.shared(); h++)
            head(b, h, keys, values, scores, weights);
    }

    void head(int64_t b, int64_t h, const word* keys, const word* values, float* scores, number* weights) const {
        for (int64_t i = 0; i < shape.time; i += ROWS) {
            const int64_t n = i + ROWS;  // keys that this block may see
            float sums[ROWS];
            make_scores(b, h, i, n, keys, scores);
            for (int r = 0; r < ROWS; r++) {
                float* kept = log_sums + (b * shape.heads + h) * shape.time + i + r;
                sums[r] = softmax(scores + r * n, weights + r * n, n, i + r < shape.time ? kept : nullptr);
            }
            mix(b, h, i, n, weights, values, sums);
        }
    }

    void make_scores(int64_t b, int64_t h, int64_t i, int64_t n, const word* keys, float* scores) const {
        const int R = REGISTERS / 4, V = 2;
        const float slope = slopes ? slopes[h] : 0.0f;
        for (int r = 0; r < ROWS; r += R) {
            const number* x[R];
            for (int s = 0; s < R; s++) x[s] = q.at(b, i + r + s < shape.time ? i + r + s : shape.time - 1, h);
            for (int64_t j = 0; j < n; j += V * LANES) {
                vec sums[R][V];
                over_features<R, V>(x, keys, shape.padded(), j, sums);
                for (int v = 0; v < V; v++)
                    for (int s = 0; s < R; s++) {
                        const vec distance = count_from(j + v * LANES - (i + r + s));
                        const vec score = sums[s][v] + distance * slope;
                        store(scores + (r + s) * n + j + v * LANES, distance > 0 ? spread(-INFINITY) : score);
                    }
            }
        }
    }

    // weights = exp(scores - maximum); returns their sum, and keeps its logarithm plus the maximum
    static float softmax(const float* scores, number* weights, int64_t n, float* kept) {
        vec most = load(scores);
        for (int64_t j = LANES; j < n; j += LANES) {
            const vec x = load(scores + j);
            most = most > x ? most : x;
        }
        const float maximum = highest(most);
        vec total = {};
        for (int64_t j = 0; j < n; j += LANES) {
            const vec w = exp2_fast(load(scores + j) * LOG2E - maximum * LOG2E);
            total += w;
            store(weights + j, w);
        }
        const float whole = sum(total);
        if (kept) *kept = maximum + std::log(whole);
        return whole;
    }

    void mix(int64_t b, int64_t h, int64_t i, int64_t n, const number* weights, const word* values,
             const float* sums) const {
        for (int r = 0; r < ROWS && i + r < shape.time; r += TALL) {
            vec mixed[TALL][VECTORS] = {};
            over_time((const word*)(weights + r * n), n / PACK, 1, values, n / PACK, mixed);
            for (int s = 0; s < TALL && i + r + s < shape.time; s++)
                for (int v = 0; v < VECTORS; v++)
                    store(out.at(b, i + r + s, h) + v * LANES, mixed[s][v] / sums[r + s]);
        }
    }
};

// -- backward --------------------------------------------------------------------------------------------------

struct Backward {
    Shape shape;
    Tensor q, k, v, out, d_out, d_q, d_k, d_v;
    const float* slopes;    // (H,) or null
    const float* log_sums;  // (B, H, T)
    float* d_slopes;        // (B, H) or null

    struct Block {  // of queries: weights and what reaches the scores, packed as the products want them
        number* d_scores;
        word *d_score_rows, *weight_rows;
    };

    size_t scratch_bytes() const {
        const int64_t padded = shape.padded();
        return padded * C * (3 * sizeof(number) + 2 * 4) + 2 * ROWS * C * sizeof(number)
               + 3 * ROWS * padded * sizeof(number) + 10 * 64;
    }

    struct Packed {  // one head of keys and values, and the sums of what reaches them
        word *key_columns, *key_rows, *value_columns;
        float *key_sums, *value_sums;
    };

    void group(int64_t b, int64_t g, Scratch& memory) const {
        const int64_t padded = shape.padded();
        word* key_columns = memory.take<word>(padded * C / PACK);
        word* key_rows = memory.take<word>(padded * C / PACK);
        word* value_columns = memory.take<word>(padded * C / PACK);
        float* key_sums = memory.take<float>(padded * C);
        float* value_sums = memory.take<float>(padded * C);
        word* query_rows = memory.take<word>(ROWS * C / PACK);
        word* d_out_rows = memory.take<word>(ROWS * C / PACK);
        const Block block = {memory.take<number>(ROWS * padded), memory.take<word>(ROWS / PACK * padded),
                             memory.take<word>(ROWS / PACK * padded)};
        pack_columns(k.at(b, 0, g), k.time, shape.time, padded, key_columns);
        pack_rows(k.at(b, 0, g), k.time, shape.time, padded, key_rows);
        pack_columns(v.at(b, 0, g), v.time, shape.time, padded, value_columns);
        std::memset(key_sums, 0, padded * C * sizeof(float));
        std::memset(value_sums, 0, padded * C * sizeof(float));
        const Packed packed = {key_columns, key_rows, value_columns, key_sums, value_sums};
        for (int64_t h = g * shape.shared(); h < (g + 1) * shape.shared(); h++)
            head(b, h, packed, query_rows, d_out_rows, block);
        round(key_sums, d_k, b, g);
        round(value_sums, d_v, b, g);
    }

    void head(int64_t b, int64_t h, const Packed& packed, word* query_rows, word* d_out_rows,
              const Block& block) const {
        vec d_slope = {};
        for (int64_t i = 0; i < shape.time; i += ROWS) {
            const int64_t n = i + ROWS, left = shape.time - i < ROWS ? shape.time - i : ROWS;
            pack_rows(q.at(b, i, h), q.time, left, ROWS, query_rows);
            pack_rows(d_out.at(b, i, h), d_out.time, left, ROWS, d_out_rows);
            d_slope += through_softmax(b, h, i, n, packed.key_columns, packed.value_columns, block);
            queries(b, h, i, n, block.d_scores, packed.key_rows);
            add_over_queries(block.weight_rows, n, d_out_rows, packed.value_sums);
            add_over_queries(block.d_score_rows, n, query_rows, packed.key_sums);
        }
        if (d_slopes) d_slopes[b * shape.heads + h] = sum(d_slope);
    }

    // of a block of queries, weights w = exp(score - log sum) and what reaches the scores, w (d_out . v - d_out . out);
    // returns what of that reaches the slope
    vec through_softmax(int64_t b, int64_t h, int64_t i, int64_t n, const word* key_columns,
                        const word* value_columns, const Block& block) const {
        const int R = REGISTERS / 8, V = 2;
        const float slope = slopes ? slopes[h] : 0.0f;
        vec d_slope = {};
        for (int r = 0; r < ROWS; r += R) {
            const number *queries[R], *gradients[R];
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
                vec scores[R][V], reach[R][V];
                over_features<R, V>(queries, key_columns, shape.padded(), j, scores);
                over_features<R, V>(gradients, value_columns, shape.padded(), j, reach);
                for (int v = 0; v < V; v++) {
                    vec weights[R], d[R];
                    for (int s = 0; s < R; s++) {
                        const vec distance = count_from(j + v * LANES - (i + r + s));
                        const vec w = exp2_fast((scores[s][v] + distance * slope) * LOG2E - log_sum[s] * LOG2E);
                        weights[s] = distance > 0 ? vec{} : w;
                        d[s] = weights[s] * (reach[s][v] - from_sum[s]);
                        d_slope += d[s] * distance;
                        store(block.d_scores + (r + s) * n + j + v * LANES, d[s]);
                    }
                    for (int s = 0; s < R; s += PACK) {
                        const int64_t to = (r + s) / PACK * n + j + v * LANES;
                        *(words*)(block.weight_rows + to) = join(weights + s);
                        *(words*)(block.d_score_rows + to) = join(d + s);
                    }
                }
            }
        }
        return d_slope;
    }

    static float inner(const number* x, const number* y) {
        vec total = {};
        for (int c = 0; c < C; c += LANES) total += load(x + c) * load(y + c);
        return sum(total);
    }

    void queries(int64_t b, int64_t h, int64_t i, int64_t n, const number* d_scores, const word* key_rows) const {
        for (int r = 0; r < ROWS && i + r < shape.time; r += TALL) {
            vec sums[TALL][VECTORS] = {};
            over_time((const word*)(d_scores + r * n), n / PACK, 1, key_rows, n / PACK, sums);
            for (int s = 0; s < TALL && i + r + s < shape.time; s++)
                for (int v = 0; v < VECTORS; v++) store(d_q.at(b, i + r + s, h) + v * LANES, sums[s][v]);
        }
    }

    // sums[j] += sum over the block's queries of a[query][j] rows[query]
    static void add_over_queries(const word* a, int64_t n, const word* rows, float* sums) {
        for (int64_t j = 0; j < n; j += TALL) {
            vec s[TALL][VECTORS];
            for (int r = 0; r < TALL; r++)
                for (int v = 0; v < VECTORS; v++) s[r][v] = load(sums + (j + r) * C + v * LANES);
            over_time(a + j, 1, n, rows, ROWS / PACK, s);
            for (int r = 0; r < TALL; r++)
                for (int v = 0; v < VECTORS; v++) store(sums + (j + r) * C + v * LANES, s[r][v]);
        }
    }

    void round(const float* sums, const Tensor& to, int64_t b, int64_t h) const {
        for (int64_t t = 0; t < shape.time; t++)
            for (int c = 0; c < C; c += LANES) store(to.at(b, t, h) + c, load(sums + t * C + c));
    }
};

// -- entry -----------------------------------------------------------------------------------------------------

template <typename Pass>
static void over_groups(const Pass& pass, int threads) {
#pragma omp parallel num_threads(threads)
    {
        Scratch memory(pass.scratch_bytes());
#pragma omp for schedule(dynamic)
        for (int64_t x = 0; x < pass.shape.tasks(); x++) {
            memory.next = memory.start;
            pass.group(x / pass.shape.groups, x % pass.shape.groups, memory);
        }
    }
}

static void tensors(void** data, const int64_t* strides, int n, Tensor* out) {
    for (int i = 0; i < n; i++, strides += 3) out[i] = {(number*)data[i], strides[0], strides[1], strides[2]};
}

// Tensors in the order q, k, v, out; strides (batch, time, head) of each.
extern "C" void attend_forward(void** x, const int64_t* strides, const float* slopes, float* log_sums, int64_t batch,
                               int64_t time, int64_t heads, int64_t groups, int threads) {
    Tensor t[4];
    tensors(x, strides, 4, t);
    over_groups(Forward{{batch, time, heads, groups}, t[0], t[1], t[2], t[3], slopes, log_sums}, threads);
}

// Tensors in the order q, k, v, out, d_out, d_q, d_k, d_v; d_slopes is (B, H), or null as slopes is.
extern "C" void attend_backward(void** x, const int64_t* strides, const float* slopes, const float* log_sums,
                                float* d_slopes, int64_t batch, int64_t time, int64_t heads, int64_t groups, int threads) {
    Tensor t[8];
    tensors(x, strides, 8, t);
    over_groups(Backward{{batch, time, heads, groups}, t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], slopes, log_sums,
                        d_slopes}, threads);
}

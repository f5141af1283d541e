// Causal attention that never writes its scores to memory, forward and backward, in float32 or bf16. One
// sequence's head of keys and values is one task: its keys and values are packed once, queries pass in blocks of
// ROWS, and a block's scores stay in the level-2 cache (the idea of Dao et al. 2022, FlashAttention; whole rows
// here, so that a softmax needs no correction).
//
// Compiled with WIDTH, the head width C, a multiple of 16, and BF16 as 0 or 1. Tensors are (B, T, H, C), of keys
// and values (B, T, G, C), with any strides but the last, which is 1: H / G heads share one of keys and values.
// Scores get slope * (key - query) added.
//
// Products work on words: one float32, or, with AVX512-BF16, a pair of bf16 numbers, of which `vdpbf16ps` adds
// a[2i] b[2i] + a[2i+1] b[2i+1] to a float32. Two packings serve all seven products:
//     panels  (T / ROWS, C / PACK, ROWS) words along features of a row: for products over features, as scores are
//     rows    (T / PACK, C) words of PACK rows: for products over time, such as weights times values
// Every product is made in tiles whose sums fill the registers, from pieces of both factors that the level-1 cache
// holds (Goto and van de Geijn 2008).

#include "numbers.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>

static const int C = WIDTH;
static const int VECTORS = C / LANES;  // of one row
static const int NEAR = 96;            // rows of keys or values that stay in the level-1 cache

// a tile of sums over features: queries, and vectors of keys
static const int HIGH = REGISTERS == 32 ? 8 : 4, SPAN = REGISTERS == 32 ? 2 : 3;
static const int ROWS = SPAN * LANES;  // queries of a block, and keys of a panel

// a tile of sums over time: rows, and vectors of features
constexpr int divisor(int n, int most) { return n % most ? divisor(n, most - 1) : most; }
static const int WIDE = divisor(VECTORS, REGISTERS == 32 ? 4 : 2);
static const int TALL = divisor(ROWS, REGISTERS == 32 ? (WIDE > 2 ? 4 : 8) : 12 / WIDE);
static_assert(ROWS % HIGH == 0 && ROWS % PACK == 0 && TALL % PACK == 0 && NEAR % ROWS == 0);

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

// panels of rows [0, n) of x: out[t / ROWS][c][t % ROWS] = word c of row t; rows up to `padded` are zero
static void pack_panels(const number* x, int64_t stride, int64_t n, int64_t padded, word* out) {
    for (int64_t start = 0; start < padded; start += ROWS, out += C / PACK * ROWS) {
        const int64_t there = n - start < ROWS ? n - start : ROWS;
#pragma GCC unroll 1
        for (int c = 0; c < C / PACK; c++)
#pragma GCC unroll 1
            for (int64_t t = 0; t < there; t++) out[c * ROWS + t] = ((const word*)(x + (start + t) * stride))[c];
        if (there < ROWS)
            for (int c = 0; c < C / PACK; c++)
                for (int64_t t = there; t < ROWS; t++) out[c * ROWS + t] = 0;
    }
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

// sums[r][v] = x[r] . panel[LANES v ...] over all features
template <int R>
static inline void over_features(const number* const* x, const word* panel, vec sums[R][SPAN]) {
    for (int r = 0; r < R; r++)
        for (int v = 0; v < SPAN; v++) sums[r][v] = vec{};
#pragma GCC unroll 4
    for (int c = 0; c < C / PACK; c++) {
        words b[SPAN];
        for (int v = 0; v < SPAN; v++) b[v] = *(const words*)(panel + c * ROWS + v * LANES);
        for (int r = 0; r < R; r++) {
            const words a = ((const word*)x[r])[c] - words{};
            for (int v = 0; v < SPAN; v++) sums[r][v] = multiply(sums[r][v], a, b[v]);
        }
    }
}

// to[r] += sum over t of a[r * row + t * step] rows[t], for TALL rows of C features
static inline void over_time(const word* a, int64_t row, int64_t step, const word* rows, int64_t n, float* to) {
    for (int c = 0; c < C; c += WIDE * LANES) {
        vec sums[TALL][WIDE];
        for (int r = 0; r < TALL; r++)
            for (int v = 0; v < WIDE; v++) sums[r][v] = load(to + r * C + c + v * LANES);
        for (int64_t t = 0; t < n; t++) {
            words b[WIDE];
            for (int v = 0; v < WIDE; v++) b[v] = *(const words*)(rows + t * C + c + v * LANES);
            for (int r = 0; r < TALL; r++) {
                const words w = a[r * row + t * step] - words{};
                for (int v = 0; v < WIDE; v++) sums[r][v] = multiply(sums[r][v], w, b[v]);
            }
        }
        for (int r = 0; r < TALL; r++)
            for (int v = 0; v < WIDE; v++) store(to + r * C + c + v * LANES, sums[r][v]);
    }
}

// to[r] = sum over keys t of a[r][t] rows[t], for the ROWS queries of the block that starts at i
static void over_keys(const number* a, int64_t i, const word* rows, float* to) {
    const int64_t n = i + ROWS;
    std::memset(to, 0, ROWS * C * sizeof(float));
    for (int64_t start = 0; start < n; start += NEAR)
        for (int r = 0; r < ROWS; r += TALL) {
            const int64_t seen = i + r + TALL, end = start + NEAR < seen ? start + NEAR : seen;
            if (end <= start) continue;
            const word* weights = (const word*)(a + r * n + start);
            over_time(weights, n / PACK, 1, rows + start / PACK * C, (end - start) / PACK, to + r * C);
        }
}

// to[t] += sum over the block's queries r of a[r][t] rows[r], for all keys that its queries see
static void over_queries(const word* a, int64_t i, const word* rows, float* to) {
    const int64_t n = i + ROWS;
    for (int64_t j = 0; j < n; j += TALL) {
        const int64_t first = j > i ? (j - i) / PACK : 0;  // queries before it do not see these keys
        over_time(a + first * n + j, 1, n, rows + first * C, ROWS / PACK - first, to + j * C);
    }
}

// -- forward ---------------------------------------------------------------------------------------------------

struct Forward {
    Shape shape;
    Tensor q, k, v, out;
    const float* slopes;  // (H,) or null
    float* log_sums;      // (B, H, T)

    struct Block {
        float* scores;
        number* weights;
        float* mixed;
    };

    size_t scratch_bytes() const {
        const int64_t padded = shape.padded();
        return padded * C * 2 * sizeof(number) + ROWS * padded * (4 + sizeof(number)) + ROWS * C * 4 + 5 * 64;
    }

    void group(int64_t b, int64_t g, Scratch& memory) const {
        const int64_t padded = shape.padded();
        word* keys = memory.take<word>(padded * C / PACK);
        word* values = memory.take<word>(padded * C / PACK);
        const Block block = {memory.take<float>(ROWS * padded), memory.take<number>(ROWS * padded),
                             memory.take<float>(ROWS * C)};
        pack_panels(k.at(b, 0, g), k.time, shape.time, padded, keys);
        pack_rows(v.at(b, 0, g), v.time, shape.time, padded, values);
        for (int64_t h = g * shape.shared(); h < (g + 1) * shape.shared(); h++) head(b, h, keys, values, block);
    }

    void head(int64_t b, int64_t h, const word* keys, const word* values, const Block& block) const {
        const float slope = slopes ? slopes[h] : 0.0f;
        float* kept = log_sums + (b * shape.heads + h) * shape.time;
        for (int64_t i = 0; i < shape.time; i += ROWS) {
            const int64_t n = i + ROWS;  // keys that this block may see
            const int left = shape.time - i < ROWS ? shape.time - i : ROWS;
            const number* queries[ROWS];
            vec most[ROWS];
            for (int r = 0; r < ROWS; r++) {
                queries[r] = q.at(b, r < left ? i + r : shape.time - 1, h);
                most[r] = spread(-INFINITY);
            }
            for (int64_t j = 0; j < i; j += ROWS) make_scores<false>(queries, keys, slope, i, j, block, most);
            make_scores<true>(queries, keys, slope, i, i, block, most);
            float sums[ROWS];
            for (int r = 0; r < ROWS; r++) {
                const float maximum = highest(most[r]);
                sums[r] = softmax(block.scores + r * n, block.weights + r * n, n, maximum);
                if (r < left) kept[i + r] = maximum + std::log(sums[r]);
            }
            over_keys(block.weights, i, values, block.mixed);
            for (int r = 0; r < left; r++)
                for (int c = 0; c < C; c += LANES)
                    store(out.at(b, i + r, h) + c, load(block.mixed + r * C + c) / sums[r]);
        }
    }

    // scores of the queries of block i and the keys of panel j; `most`: each query's highest so far
    template <bool DIAGONAL>
    static void make_scores(const number* const* queries, const word* keys, float slope, int64_t i, int64_t j,
                            const Block& block, vec* most) {
        const int64_t n = i + ROWS;
        for (int r = 0; r < ROWS; r += HIGH) {
            vec sums[HIGH][SPAN];
            over_features<HIGH>(queries + r, keys + j * C / PACK, sums);
            for (int s = 0; s < HIGH; s++)
                for (int v = 0; v < SPAN; v++) {
                    const vec distance = count_from(j + v * LANES - (i + r + s));
                    vec score = sums[s][v] + distance * slope;
                    if (DIAGONAL) score = distance > 0 ? spread(-INFINITY) : score;
                    most[r + s] = most[r + s] > score ? most[r + s] : score;
                    store(block.scores + (r + s) * n + j + v * LANES, score);
                }
        }
    }

    // weights = exp(scores - maximum); returns their sum
    static float softmax(const float* scores, number* weights, int64_t n, float maximum) {
        vec total = {};
        for (int64_t j = 0; j < n; j += LANES) {
            const vec w = exp2_fast(load(scores + j) * LOG2E - maximum * LOG2E);
            total += w;
            store(weights + j, w);
        }
        return sum(total);
    }
};

// -- backward --------------------------------------------------------------------------------------------------

struct Backward {
    Shape shape;
    Tensor q, k, v, out, d_out, d_q, d_k, d_v;
    const float* slopes;    // (H,) or null
    const float* log_sums;  // (B, H, T)
    float* d_slopes;        // (B, H) or null

    struct Packed {  // one head of keys and values, and the sums of what reaches them
        word *key_panels, *key_rows, *value_panels;
        float *key_sums, *value_sums;
    };

    struct Block {  // of queries; weights and what reaches the scores, packed as the products want them
        word *query_rows, *d_out_rows;
        number* d_scores;
        word *d_score_rows, *weight_rows;
        float* query_sums;
    };

    struct Queries {  // of a block
        const number *rows[ROWS], *d_out[ROWS];
        float log_sum[ROWS], from_sum[ROWS];  // the latter: d_out . out
    };

    size_t scratch_bytes() const {
        const int64_t padded = shape.padded();
        return padded * C * (3 * sizeof(number) + 2 * 4) + ROWS * C * (2 * sizeof(number) + 4)
               + 3 * ROWS * padded * sizeof(number) + 11 * 64;
    }

    void group(int64_t b, int64_t g, Scratch& memory) const {
        const int64_t padded = shape.padded();
        word* key_panels = memory.take<word>(padded * C / PACK);
        word* key_rows = memory.take<word>(padded * C / PACK);
        word* value_panels = memory.take<word>(padded * C / PACK);
        float* key_sums = memory.take<float>(padded * C);
        float* value_sums = memory.take<float>(padded * C);
        word* query_rows = memory.take<word>(ROWS * C / PACK);
        word* d_out_rows = memory.take<word>(ROWS * C / PACK);
        number* d_scores = memory.take<number>(ROWS * padded);
        word* d_score_rows = PACK == 1 ? (word*)d_scores : memory.take<word>(ROWS / PACK * padded);
        word* weight_rows = memory.take<word>(ROWS / PACK * padded);
        float* query_sums = memory.take<float>(ROWS * C);
        const Block block = {query_rows, d_out_rows, d_scores, d_score_rows, weight_rows, query_sums};
        pack_panels(k.at(b, 0, g), k.time, shape.time, padded, key_panels);
        pack_rows(k.at(b, 0, g), k.time, shape.time, padded, key_rows);
        pack_panels(v.at(b, 0, g), v.time, shape.time, padded, value_panels);
        std::memset(key_sums, 0, padded * C * sizeof(float));
        std::memset(value_sums, 0, padded * C * sizeof(float));
        const Packed packed = {key_panels, key_rows, value_panels, key_sums, value_sums};
        for (int64_t h = g * shape.shared(); h < (g + 1) * shape.shared(); h++) head(b, h, packed, block);
        round(key_sums, shape.time, d_k.at(b, 0, g), d_k.time);
        round(value_sums, shape.time, d_v.at(b, 0, g), d_v.time);
    }

    void head(int64_t b, int64_t h, const Packed& packed, const Block& block) const {
        const float slope = slopes ? slopes[h] : 0.0f;
        vec d_slope = {};
        for (int64_t i = 0; i < shape.time; i += ROWS) {
            const int64_t left = shape.time - i < ROWS ? shape.time - i : ROWS;
            const Queries queries = block_of(b, h, i);
            pack_rows(q.at(b, i, h), q.time, left, ROWS, block.query_rows);
            pack_rows(d_out.at(b, i, h), d_out.time, left, ROWS, block.d_out_rows);
            for (int64_t j = 0; j < i; j += ROWS)
                d_slope += through_softmax<false>(queries, packed, slope, i, j, block);
            d_slope += through_softmax<true>(queries, packed, slope, i, i, block);
            over_keys(block.d_scores, i, packed.key_rows, block.query_sums);
            round(block.query_sums, left, d_q.at(b, i, h), d_q.time);
            over_queries(block.weight_rows, i, block.d_out_rows, packed.value_sums);
            over_queries(block.d_score_rows, i, block.query_rows, packed.key_sums);
        }
        if (d_slopes) d_slopes[b * shape.heads + h] = sum(d_slope);
    }

    Queries block_of(int64_t b, int64_t h, int64_t i) const {
        Queries block;
        for (int r = 0; r < ROWS; r++) {
            const bool there = i + r < shape.time;
            const int64_t t = there ? i + r : shape.time - 1;
            block.rows[r] = q.at(b, t, h);
            block.d_out[r] = d_out.at(b, t, h);
            block.from_sum[r] = inner(block.d_out[r], out.at(b, t, h));
            block.log_sum[r] = there ? log_sums[(b * shape.heads + h) * shape.time + t] : INFINITY;
        }
        return block;
    }

    // of a block of queries and a panel of keys, weights w = exp(score - log sum) and what reaches the scores,
    // w (d_out . v - d_out . out); returns what of that reaches the slope
    template <bool DIAGONAL>
    static vec through_softmax(const Queries& queries, const Packed& packed, float slope, int64_t i, int64_t j,
                               const Block& block) {
        const int R = 4;
        const int64_t n = i + ROWS;
        vec d_slope = {};
        for (int r = 0; r < ROWS; r += R) {
            vec scores[R][SPAN], reach[R][SPAN];
            over_features<R>(queries.rows + r, packed.key_panels + j * C / PACK, scores);
            over_features<R>(queries.d_out + r, packed.value_panels + j * C / PACK, reach);
            for (int v = 0; v < SPAN; v++) {
                vec weights[R], d[R];
                for (int s = 0; s < R; s++) {
                    const vec distance = count_from(j - i + v * LANES - (r + s));
                    const vec score = scores[s][v] + distance * slope;
                    weights[s] = exp2_fast(score * LOG2E - queries.log_sum[r + s] * LOG2E);
                    if (DIAGONAL) weights[s] = distance > 0 ? vec{} : weights[s];
                    d[s] = weights[s] * (reach[s][v] - queries.from_sum[r + s]);
                    d_slope += d[s] * distance;
                    if (PACK > 1) store(block.d_scores + (r + s) * n + j + v * LANES, d[s]);
                }
                for (int s = 0; s < R; s += PACK) {
                    const int64_t to = (r + s) / PACK * n + j + v * LANES;
                    *(words*)(block.weight_rows + to) = join(weights + s);
                    *(words*)(block.d_score_rows + to) = join(d + s);
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

    static void round(const float* sums, int64_t n, number* to, int64_t stride) {
        for (int64_t t = 0; t < n; t++)
            for (int c = 0; c < C; c += LANES) store(to + t * stride + c, load(sums + t * C + c));
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
                                float* d_slopes, int64_t batch, int64_t time, int64_t heads, int64_t groups,
                                int threads) {
    Tensor t[8];
    tensors(x, strides, 8, t);
    over_groups(Backward{{batch, time, heads, groups}, t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7], slopes, log_sums,
                        d_slopes}, threads);
}

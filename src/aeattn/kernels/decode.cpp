// The decoding loop of the compiled engine: sample, append, forget half of a full context, read on. Float32, one thread
// a call; sequences do not depend on each other.
//
// A pass takes up to ROWS characters through all layers. Each is one row: of sequence `sequence[r]`, at `position[r]`.
// Rows of one sequence come in order, so a prompt and one new character of many sequences are the same to the code.
// All rows are written into the cache before any attends; a row sees positions up to its own.
//
// Decoders are absorbed (`generation/layout.py`): `read` maps the query's code to what is multiplied with kept keys or
// their codes, `output` maps mixed values or codes to the residual stream.
//
// Matrices to the right (n_in, n_out) lie in panels of 32 columns (the last may have 16), each row after row: read from
// front to back. Caches lie likewise: keys in panels of 32 characters (width, 32), values in panels of 32 features
// (context, 32).

#include "numbers.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <initializer_list>

#include "decode_layout.h"

static const int ROWS = 32;              // characters that one pass takes at most
static const int PANEL = 2 * LANES, FILL = 16;  // columns of a panel; widths are filled up to a multiple of FILL
static const float LOWEST = -3.0e38f;
static const float RMS_EPSILON = 1e-6f, LAYER_EPSILON = 1e-5f;

static inline int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// Rows of numbers, `stride` apart.
struct Rows {
    float* data;
    int64_t stride;

    float* operator[](int64_t r) const { return data + r * stride; }
    Rows from(int64_t column) const { return {data + column, stride}; }
};

// -- products --------------------------------------------------------------------------------------------------

static const int COLUMNS = 16;  // that are summed at once, where a panel of a cache is read across
static const int AHEAD = 512;  // numbers: how far ahead of its use memory is asked for

// y[r] = sum over i of x[r][i] w[i] for R rows and a panel of V vectors
template <int R, int V>
static void tile(Rows x, const float* w, int64_t n_in, Rows y) {
    vec sums[R][V];
    for (int r = 0; r < R; r++)
        for (int v = 0; v < V; v++) sums[r][v] = vec{};
    for (int64_t i = 0; i < n_in; i++) {
        __builtin_prefetch(w + i * V * LANES + AHEAD);
        vec b[V];
        for (int v = 0; v < V; v++) b[v] = load(w + (i * V + v) * LANES);
        for (int r = 0; r < R; r++) {
            const vec a = spread(x[r][i]);
            for (int v = 0; v < V; v++) sums[r][v] += a * b[v];
        }
    }
    for (int r = 0; r < R; r++)
        for (int v = 0; v < V; v++) store(y[r] + v * LANES, sums[r][v]);
}

// The same for one row in parts, so that sums wait less for each other. With `which`,
// x holds only some numbers, those of rows which[i] of w.
template <int V>
static void one_row(const float* x, const int32_t* which, const float* w, int64_t n_in, float* y) {
    const int PARTS = 8 / V;
    vec sums[PARTS][V] = {};
    const auto row = [=](int64_t i) { return w + (which ? which[i] : i) * V * LANES; };
    int64_t i = 0;
    for (; i + PARTS <= n_in; i += PARTS)
        for (int p = 0; p < PARTS; p++) {
            if (!which) __builtin_prefetch(row(i + p) + AHEAD);
            for (int v = 0; v < V; v++) sums[p][v] += spread(x[i + p]) * load(row(i + p) + v * LANES);
        }
    for (; i < n_in; i++)
        for (int v = 0; v < V; v++) sums[0][v] += spread(x[i]) * load(row(i) + v * LANES);
    for (int p = 1; p < PARTS; p++)
        for (int v = 0; v < V; v++) sums[0][v] += sums[p][v];
    for (int v = 0; v < V; v++) store(y + v * LANES, sums[0][v]);
}

static const int TALL = REGISTERS == 32 ? 8 : 6;  // rows of a tile: their sums must fit the registers

// y = x w for one panel of V vectors of columns
template <int V>
static void panel(Rows x, int64_t n_rows, const float* w, int64_t n_in, Rows y) {
    int64_t r = 0;
    for (; r + TALL <= n_rows; r += TALL) tile<TALL, V>({x[r], x.stride}, w, n_in, {y[r], y.stride});
    for (; r + 4 <= n_rows; r += 4) tile<4, V>({x[r], x.stride}, w, n_in, {y[r], y.stride});
    for (; r < n_rows; r++) one_row<V>(x[r], nullptr, w, n_in, y[r]);
}

// y = x w, (rows, n_in) times (n_in, n_out) in panels; columns up to a multiple of FILL are written
static void product(Rows x, int64_t n_rows, const float* w, int64_t n_in, int64_t n_out, Rows y) {
    int64_t at = 0;
    for (; at + FILL < n_out; at += PANEL) panel<PANEL / LANES>(x, n_rows, w + at * n_in, n_in, y.from(at));
    if (at < n_out) panel<FILL / LANES>(x, n_rows, w + at * n_in, n_in, y.from(at));
}

// The same for one row of which only `n_some` numbers are not 0
static void sparse_product(const float* x, const int32_t* which, int64_t n_some, const float* w, int64_t n_in,
                           int64_t n_out, float* y) {
    int64_t at = 0;
    for (; at + FILL < n_out; at += PANEL) one_row<PANEL / LANES>(x, which, w + at * n_in, n_some, y + at);
    if (at < n_out) one_row<FILL / LANES>(x, which, w + at * n_in, n_some, y + at);
}

// y[r][c] = sum over t of x[r][t] keys[c][t] for R rows and some columns of keys as they lie in a cache: (panels,
// width, 32). A panel of keys is read once for all rows, in the order in which it lies.
template <int R>
static void columns_across(Rows x, const float* keys, int64_t width, int64_t columns, int64_t panels, Rows y) {
    vec sums[COLUMNS][R] = {};
    for (int64_t p = 0; p < panels; p++, keys += width * PANEL)
        for (int64_t c = 0; c < columns; c++) {
            __builtin_prefetch(keys + c * PANEL + width * PANEL);
            for (int r = 0; r < R; r++)
                for (int v = 0; v < PANEL; v += LANES)
                    sums[c][r] += load(x[r] + p * PANEL + v) * load(keys + c * PANEL + v);
        }
    for (int64_t c = 0; c < columns; c++)
        for (int r = 0; r < R; r++) y[r][c] = sum(sums[c][r]);
}

static void product_across(Rows x, int64_t n_rows, const float* keys, int64_t width, int64_t panels, Rows y) {
    for (int64_t c = 0; c < width; c += COLUMNS) {
        const float* here = keys + c * PANEL;
        const int64_t columns = least(COLUMNS, width - c);
        int64_t r = 0;
        for (; r + 4 <= n_rows; r += 4)
            columns_across<4>({x[r], x.stride}, here, width, columns, panels, {y[r] + c, y.stride});
        for (; r < n_rows; r++)
            columns_across<1>({x[r], x.stride}, here, width, columns, panels, {y[r] + c, y.stride});
    }
}

// The squares of those of n numbers that are more than 0, and which they are; returns how many. Room for LANES more.
static int64_t squeeze(const float* x, int64_t n, float* squares, int32_t* which) {
    int64_t count = 0;
#ifdef __AVX512F__
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (int64_t i = 0; i < n; i += LANES) {  // n is a multiple of FILL
        const __m512 numbers = _mm512_loadu_ps(x + i);
        const __mmask16 some = _mm512_cmp_ps_mask(numbers, _mm512_setzero_ps(), _CMP_GT_OQ);
        _mm512_storeu_ps(squares + count, _mm512_maskz_compress_ps(some, _mm512_mul_ps(numbers, numbers)));
        const __m512i places = _mm512_add_epi32(lanes, _mm512_set1_epi32((int)i));
        _mm512_storeu_si512(which + count, _mm512_maskz_compress_epi32(some, places));
        count += __builtin_popcount(some);
    }
#else
    for (int64_t i = 0; i < n; i++) {
        squares[count] = x[i] * x[i];
        which[count] = (int32_t)i;
        int32_t bits;  // of a float: positive as it is, and compared without a jump
        memcpy(&bits, x + i, sizeof bits);
        count += bits > 0;
    }
#endif
    return count;
}

// -- number by number ------------------------------------------------------------------------------------------

// exp within 2e-7, for x up to 87; below -87 it is that of -87 (Cephes: reduction by ln 2, then a polynomial)
static inline vec exponential(vec x) {
    static const float P[] = {1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                              4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
    const vec bounded = x < -87.0f ? spread(-87.0f) : x;
    const vec shifted = bounded * LOG2E + 12582912.0f;  // 1.5 * 2^23: adding it rounds to whole numbers
    const vec whole = shifted - 12582912.0f;
    const vec rest = bounded - whole * 0.693359375f + whole * 2.12194440e-4f;
    vec y = spread(P[0]);
    for (int i = 1; i < 6; i++) y = y * rest + P[i];
    y = y * rest * rest + rest + 1.0f;
    return (vec)((ints)y + ((ints)shifted << 23));
}

// exp within 3e-15, for x up to 0; below -708 it is that of -708 (Taylor to the 13th power)
static const double FACTORIALS[] = {479001600.0, 39916800.0, 3628800.0, 362880.0, 40320.0, 5040.0, 720.0,
                                    120.0,       24.0,       6.0,       2.0,      1.0,     1.0};
static inline double exponential_double(double x) {
    x = x > -708.0 ? x : -708.0;
    const double shifted = x * 1.4426950408889634 + 6755399441055744.0;  // 1.5 * 2^52
    const double whole = shifted - 6755399441055744.0;
    const double rest = x - whole * 0.693147180369123816490 - whole * 1.90821492927058770002e-10;
    double y = 1.0 / 6227020800.0;
    for (double factorial : FACTORIALS) y = y * rest + 1.0 / factorial;
    int64_t bits, exponent;
    memcpy(&bits, &y, 8);
    memcpy(&exponent, &shifted, 8);
    bits += exponent << 52;
    memcpy(&y, &bits, 8);
    return y;
}

static inline vec gelu(vec x) {  // x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3)
    const vec u = -1.5957691216057308f * (x + 0.044715f * x * x * x);
    return x / (1.0f + exponential(u > 87.0f ? spread(87.0f) : u));
}

static void gelu(float* x, int64_t n) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) store(x + i, gelu(load(x + i)));
    float rest[LANES] = {};
    memcpy(rest, x + i, (n - i) * sizeof(float));
    store(rest, gelu(load(rest)));
    memcpy(x + i, rest, (n - i) * sizeof(float));
}

static void relu2(float* x, int64_t n) {  // squared ReLU of whole vectors, up to a multiple of FILL
    for (int64_t i = 0; i < n; i += LANES) {
        const vec positive = load(x + i) > 0.0f ? load(x + i) : vec{};
        store(x + i, positive * positive);
    }
}

static void add(float* x, const float* y, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) x[i] += y[i];
}

static void add_product(float* x, const float* y, const float* z, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) x[i] += y[i] * z[i];
}

static void multiply(float* x, const float* y, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) x[i] *= y[i];
}

static void scale(float* x, int64_t n, float factor) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) x[i] *= factor;
}

static void copy(const float* x, float* y, int64_t n) { memcpy(y, x, n * sizeof(float)); }

static float inverse_rms(const float* x, int64_t n, double epsilon, float mean = 0.0f) {
    float squares = 0.0f;
#pragma omp simd reduction(+ : squares)
    for (int64_t i = 0; i < n; i++) squares += (x[i] - mean) * (x[i] - mean);
    return 1.0f / std::sqrt(squares / (float)n + (float)epsilon);
}

// RMSNorm, or LayerNorm without a bias
static void normalise(const float* x, float* y, int64_t n, const float* gain, bool layer_norm) {
    float total = 0.0f;
    if (layer_norm)
#pragma omp simd reduction(+ : total)
        for (int64_t i = 0; i < n; i++) total += x[i];
    const float mean = total / (float)n;
    const float factor = inverse_rms(x, n, layer_norm ? LAYER_EPSILON : RMS_EPSILON, mean);
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * factor * gain[i];
}

// Scores of a head to weights that sum to 1, in place. n is a multiple of PANEL. Weights below exp(-60) are 0: they are
// lost in rounding anyway, and numbers at the end of what float32 can hold are slow.
static void softmax(float* x, int64_t n) {
    vec most = load(x), total = {};
    for (int64_t t = LANES; t < n; t += LANES) most = most > load(x + t) ? most : load(x + t);
    const float maximum = highest(most);
    for (int64_t t = 0; t < n; t += LANES) {
        const vec rest = load(x + t) - maximum, weights = rest > -60.0f ? exponential(rest) : vec{};
        total += weights;
        store(x + t, weights);
    }
    scale(x, n, 1.0f / sum(total));
}

// -- one pass --------------------------------------------------------------------------------------------------

struct Batch {  // the characters of a pass
    int64_t n;
    int32_t ids[ROWS];
    int64_t sequence[ROWS], position[ROWS];
};

struct Engine {
    const Model& m;
    const Layer* layers;
    const float* weights;
    float* caches;
    int64_t time, head_stride;                                           // characters, head width, filled up
    Rows x, seen, out, encoded, middle, reading, decoded, mixed, hidden, logits;  // one row a character
    Rows scores, rotary_scores;                                          // one row a head
    float* squares;
    int32_t* which;
    double* chances;
    int64_t* order;
    int64_t work_numbers;

    Engine(const Model* model, const Layer* layers, const float* weights, float* caches, float* work)
        : m(*model), layers(layers), weights(weights), caches(caches) {
        time = round_up(m.context, PANEL), head_stride = round_up(m.head_width, FILL);
        int64_t code = 0, n_encoded = 0, key_stride = 0, value_stride = 0;
        for (const Layer* l = layers; l < layers + m.layers; l++) {
            for (const Code& c : {l->query, l->key, l->value}) code = code > c.stride ? code : c.stride;
            n_encoded = n_encoded > l->n_encoded ? n_encoded : l->n_encoded;
            key_stride = key_stride > l->keys.stride ? key_stride : l->keys.stride;
            value_stride = value_stride > l->values.stride ? value_stride : l->values.stride;
        }
        float* next = work;
        const auto take = [&](int64_t rows, int64_t width) {  // products write whole panels: room for one more
            const Rows taken{next, round_up(width, FILL)};
            next += round_up(rows * taken.stride + PANEL, FILL);
            return taken;
        };
        x = take(ROWS, m.width), seen = take(ROWS, m.width), out = take(ROWS, m.width);
        encoded = take(ROWS, n_encoded), middle = take(ROWS, code + FILL);
        reading = take(ROWS, m.heads * key_stride), mixed = take(ROWS, m.heads * value_stride);
        decoded = take(ROWS, m.heads * head_stride), hidden = take(ROWS, m.hidden);
        logits = take(ROWS, m.vocabulary);
        scores = take(m.heads, time), rotary_scores = take(m.heads, time);
        squares = take(1, m.hidden).data, which = (int32_t*)take(1, m.hidden).data;
        chances = (double*)take(2, m.vocabulary).data, order = (int64_t*)take(2, m.vocabulary).data;
        work_numbers = next - work;
    }

    float* cache(int64_t sequence) const { return caches + sequence * m.cache_numbers; }

    // The residual stream of all characters of a batch, into x
    void forward(const Batch& batch) const {
        embed(batch);
        for (const Layer* layer = layers; layer < layers + m.layers; layer++) {
            normalise_rows(layer->attention_gain, batch.n);
            if (layer->conv.width) convolve(layer->conv, batch);
            product(seen, batch.n, weights + layer->encoders, m.width, layer->n_encoded, encoded);
            make_code(layer->query, batch.n), make_code(layer->key, batch.n);
            if (layer->value.at != layer->key.at) make_code(layer->value, batch.n);
            make_queries(*layer, batch), keep_keys(*layer, batch), keep_values(*layer, batch);
            for (int64_t r = 0; r < batch.n; r++) attend(*layer, batch, r);
            if (layer->gate >= 0) pass_gates(*layer, batch.n);
            const int64_t n_mixed = m.heads * layer->values.stride;
            product(mixed, batch.n, weights + layer->output, n_mixed, m.width, out);
            add_out(batch.n);
            normalise_rows(layer->hidden_gain, batch.n);
            if (layer->conv_ff.width) convolve(layer->conv_ff, batch);
            feed_forward(*layer, batch.n);
            add_out(batch.n);
        }
    }

    // Logits of the first n rows of x
    void read_out(int64_t n) const {
        normalise_rows(m.gain, n);
        product(seen, n, weights + m.head, m.width, m.vocabulary, logits);
    }

    void embed(const Batch& batch) const {
        for (int64_t r = 0; r < batch.n; r++) {
            copy(weights + m.embedding + batch.ids[r] * m.width, x[r], m.width);
            if (m.positions >= 0) add(x[r], weights + m.positions + batch.position[r] * m.width, m.width);
        }
    }

    void normalise_rows(int64_t gain, int64_t n) const {
        for (int64_t r = 0; r < n; r++) normalise(x[r], seen[r], m.width, weights + gain, m.layer_norm);
    }

    void add_out(int64_t n) const {
        for (int64_t r = 0; r < n; r++) add(x[r], out[r], m.width);
    }

    // Add the short convolution to its inputs, and move its memory of past ones on
    void convolve(const Conv& conv, const Batch& batch) const {
        const int64_t d = m.width, past = conv.width - 1;
        const float* taps = weights + conv.taps;
        for (int64_t r = 0; r < batch.n; r++) {
            float* inputs = cache(batch.sequence[r]) + conv.inputs;
            copy(seen[r], out[r], d);
            add_product(out[r], seen[r], taps, d);
            for (int64_t tap = 1; tap <= past; tap++) add_product(out[r], inputs + (past - tap) * d, taps + tap * d, d);
            if (past > 0) {
                memmove(inputs, inputs + d, (past - 1) * d * sizeof(float));
                copy(seen[r], inputs + (past - 1) * d, d);
            }
            copy(out[r], seen[r], d);
        }
    }

    // From the encoder's product to the code, in place
    void make_code(const Code& code, int64_t n) const {
        if (code.gelu)
            for (int64_t r = 0; r < n; r++) gelu(encoded[r] + code.at, code.parts * code.stride);
        const int64_t width = code.width / code.parts;
        if (code.middle >= 0) multiply_parts(code, code.middle, code.hidden, true, n);
        if (code.narrow >= 0) multiply_parts(code, code.narrow, width, false, n);
        if (code.gain < 0) return;
        for (int64_t r = 0; r < n; r++)
            for (int64_t part = 0; part < code.parts; part++) {
                float* here = encoded[r] + code.at + part * width;
                scale(here, width, inverse_rms(here, width, code.epsilon));
                multiply(here, weights + code.gain + part * width, width);
            }
    }

    // Each part of a code, `hidden` wide, times a matrix of its own, in place; parts of the code itself lie without gaps
    void multiply_parts(const Code& code, int64_t matrix, int64_t n_out, bool then_gelu, int64_t n) const {
        const int64_t size = code.hidden * round_up(n_out, FILL);
        const int64_t step = then_gelu ? code.stride : n_out;
        for (int64_t part = 0; part < code.parts; part++) {
            const Rows here = encoded.from(code.at + part * code.stride), there = encoded.from(code.at + part * step);
            product(here, n, weights + matrix + part * size, code.hidden, n_out, middle);
            for (int64_t r = 0; r < n; r++) {
                if (then_gelu) gelu(middle[r], n_out);
                copy(middle[r], there[r], n_out);
            }
        }
    }

    // What each head has mixed, times its gate
    void pass_gates(const Layer& layer, int64_t n) const {
        const int64_t width = layer.values.stride;
        for (int64_t r = 0; r < n; r++)
            for (int64_t h = 0; h < m.heads; h++)
                scale(mixed[r] + h * width, width, 1.0f / (1.0f + std::exp(-encoded[r][layer.gate + h])));
    }

    // From a code to a vector for each of `heads`, `stride` apart, by one matrix or one a block
    void by_heads(const Code& code, int64_t matrix, int64_t heads, int64_t stride, Rows y, int64_t n) const {
        const int64_t n_in = code.width / code.blocks, n_out = heads * stride / code.blocks;
        for (int64_t block = 0; block < code.blocks; block++) {
            const float* w = weights + matrix + block * n_in * n_out;
            product(encoded.from(code.at + block * n_in), n, w, n_in, n_out, y.from(block * n_out));
        }
    }

    // What is multiplied with kept keys, one vector a head, into `reading`
    void make_queries(const Layer& layer, const Batch& batch) const {
        by_heads(layer.query, layer.read, m.heads, layer.keys.stride, reading, batch.n);
        Rows normed = encoded.from(layer.query.at);  // the queries themselves, where they are normalised
        int64_t step = m.head_width;
        if (layer.query.decoder >= 0) {
            by_heads(layer.query, layer.query.decoder, m.heads, head_stride, decoded, batch.n);
            normed = decoded, step = head_stride;
        }
        for (int64_t r = 0; r < batch.n; r++)
            for (int64_t h = 0; h < m.heads; h++) {
                float* query = reading[r] + h * layer.keys.stride;
                const float* plain = normed[r] + h * step;
                if (m.qk_norm)
                    scale(query, layer.keys.width, inverse_rms(plain, m.head_width, layer.query_epsilon));
                if (layer.rotate) rotate(query, batch.position[r]);
                float* part = encoded[r] + layer.rotary_query + h * layer.rotary_width;
                if (layer.rotary_width) rotate(part, batch.position[r]);
            }
    }

    // Rotary embedding of one vector, in place
    void rotate(float* x, int64_t position) const {
        const int64_t half = m.rotated / 2;
        const float *cosines = weights + m.cosines + position * half, *sines = weights + m.sines + position * half;
        for (int64_t i = 0; i < half; i++) {
            const float left = x[i], right = x[half + i];
            x[i] = left * cosines[i] - right * sines[i];
            x[half + i] = left * sines[i] + right * cosines[i];
        }
    }

    // Keys, or their codes and norms, and the shared rotary part, into the cache
    void keep_keys(const Layer& layer, const Batch& batch) const {
        const int64_t width = layer.keys.width, step = layer.keys.decoded ? head_stride : width;
        if (layer.key.decoder >= 0)
            by_heads(layer.key, layer.key.decoder, m.kv_heads, head_stride, decoded, batch.n);
        const Rows source = layer.keys.decoded ? decoded : encoded.from(layer.key.at);
        for (int64_t r = 0; r < batch.n; r++) {
            const int64_t position = batch.position[r];
            float* here = cache(batch.sequence[r]);
            for (int64_t g = 0; g < m.kv_heads && layer.norms >= 0; g++)
                here[layer.norms + g * time + position] =
                    inverse_rms(decoded[r] + g * head_stride, m.head_width, layer.key_epsilon);
            for (int64_t g = 0; g < layer.keys.groups; g++) {
                float* key = source[r] + g * step;
                if (m.qk_norm && layer.norms < 0) scale(key, width, inverse_rms(key, width, layer.key_epsilon));
                if (layer.rotate) rotate(key, position);
                put_in_panels(key, width, here + layer.keys.cache + g * width * time, position);
            }
            if (layer.rotary_width) {
                rotate(encoded[r] + layer.rotary_key, position);
                put_in_panels(encoded[r] + layer.rotary_key, layer.rotary_width, here + layer.rotary_cache, position);
            }
        }
    }

    // One character's vector as a column of a cache in panels of characters
    static void put_in_panels(const float* x, int64_t n, float* cache, int64_t position) {
        float* column = cache + position / PANEL * n * PANEL + position % PANEL;
        for (int64_t i = 0; i < n; i++) column[i * PANEL] = x[i];
    }

    // Values, or their codes, into the cache
    void keep_values(const Layer& layer, const Batch& batch) const {
        if (layer.value_shared) return;
        const Kept& kept = layer.values;
        if (kept.decoded) by_heads(layer.value, layer.value.decoder, m.kv_heads, head_stride, decoded, batch.n);
        const Rows source = kept.decoded ? decoded : encoded.from(layer.value.at);
        const int64_t step = kept.decoded ? head_stride : kept.width;
        for (int64_t r = 0; layer.value_table >= 0 && r < batch.n; r++)
            for (int64_t g = 0; g < kept.groups; g++) {
                const int64_t row = batch.ids[r] * kept.groups + g;
                add(source[r] + g * step, weights + layer.value_table + row * kept.width, kept.width);
            }
        for (int64_t r = 0; r < batch.n; r++)
            for (int64_t g = 0; g < kept.groups; g++)
                for (int64_t start = 0; start < kept.width; start += PANEL) {
                    const int64_t columns = least(PANEL, kept.stride - start);
                    float* panel = cache(batch.sequence[r]) + kept.cache + (g * kept.stride + start) * m.context;
                    copy(source[r] + g * step + start, panel + batch.position[r] * columns,
                         least(columns, kept.width - start));
                }
    }

    // One character's attention to its sequence up to itself: mixed values of all heads, into `mixed`
    void attend(const Layer& layer, const Batch& batch, int64_t r) const {
        const float* here = cache(batch.sequence[r]);
        const int64_t n = batch.position[r] + 1, panels = round_up(n, PANEL) / PANEL;
        const Rows queries{reading[r], layer.keys.stride};
        const int64_t sharing = m.heads / layer.keys.groups;  // heads that read the same keys
        for (int64_t g = 0; g < layer.keys.groups; g++) {
            const float* keys = here + layer.keys.cache + g * layer.keys.width * time;
            product({queries[g * sharing], queries.stride}, sharing, keys, layer.keys.width, panels * PANEL,
                    {scores[g * sharing], time});
        }
        if (layer.rotary_width)
            product({encoded[r] + layer.rotary_query, layer.rotary_width}, m.heads, here + layer.rotary_cache,
                    layer.rotary_width, panels * PANEL, rotary_scores);
        for (int64_t h = 0; h < m.heads; h++) make_weights(layer, here, h, n);
        mix(layer, here, n, {mixed[r], layer.values.stride});
    }

    // Scores of one head to weights, in place; 0 from the next character to the end of the panel
    void make_weights(const Layer& layer, const float* here, int64_t h, int64_t n) const {
        float* x = scores[h];
        if (layer.norms >= 0) multiply(x, here + layer.norms + h / (m.heads / m.kv_heads) * time, n);
        if (layer.rotary_width) add(x, rotary_scores[h], n);
        if (layer.slopes >= 0) {
            const float slope = weights[layer.slopes + h];
            const int32_t last = (int32_t)n - 1;
#pragma omp simd
            for (int32_t t = 0; t <= last; t++) x[t] += slope * (float)(t - last);
        }
        for (int64_t t = n; t < round_up(n, PANEL); t++) x[t] = LOWEST;
        softmax(x, round_up(n, PANEL));
    }

    void mix(const Layer& layer, const float* here, int64_t n, Rows y) const {
        if (layer.value_shared) {
            const int64_t sharing = m.heads / layer.keys.groups, width = layer.keys.width;
            for (int64_t g = 0; g < layer.keys.groups; g++)
                product_across({scores[g * sharing], time}, sharing, here + layer.keys.cache + g * width * time, width,
                               round_up(n, PANEL) / PANEL, {y[g * sharing], y.stride});
            return;
        }
        const int64_t sharing = m.heads / layer.values.groups;
        for (int64_t g = 0; g < layer.values.groups; g++)
            for (int64_t start = 0; start < layer.values.stride; start += PANEL) {
                const float* values = here + layer.values.cache + (g * layer.values.stride + start) * m.context;
                product({scores[g * sharing], time}, sharing, values, n, least(PANEL, layer.values.stride - start),
                        {y[g * sharing] + start, y.stride});
            }
    }

    // Into `out`. Squared ReLU leaves most numbers 0: for one row, only the others are multiplied
    void feed_forward(const Layer& layer, int64_t n) const {
        product(seen, n, weights + layer.up, m.width, m.hidden, hidden);
        if (n == 1 && !m.gelu) {
            const int64_t some = squeeze(hidden.data, hidden.stride, squares, which);
            sparse_product(squares, which, some, weights + layer.down, m.hidden, m.width, out.data);
            return;
        }
        for (int64_t r = 0; r < n; r++) m.gelu ? gelu(hidden[r], m.hidden) : relu2(hidden[r], m.hidden);
        product(hidden, n, weights + layer.down, m.hidden, m.width, out);
    }
};

// -- sampling --------------------------------------------------------------------------------------------------

struct Sampling {
    double temperature, top_p;  // top_p and top_k of 0 keep all
    int64_t top_k;
};

// Bring the likeliest of order[start:n] to places `start` to `stop`, in order; the others stay in theirs
static void select(const double* chances, int64_t* order, int64_t n, int64_t start, int64_t stop) {
    for (int64_t rank = start; rank < stop; rank++) {
        int64_t best = rank;
        for (int64_t i = rank + 1; i < n; i++)
            if (chances[order[i]] > chances[order[best]]) best = i;
        const int64_t chosen = order[best];
        memmove(order + rank + 1, order + rank, (best - rank) * sizeof(int64_t));
        order[rank] = chosen;
    }
}

// Set all but the `top_k` likeliest, and of these all beyond the mass `top_p`, to 0. Ties: the lower id
static void keep_likeliest(double* chances, int64_t* order, int64_t n, const Sampling& sampling) {
    const int64_t limit = sampling.top_k > 0 ? least(sampling.top_k, n) : n;
    for (int64_t i = 0; i < n; i++) order[i] = i;
    if (limit < n) select(chances, order, n, 0, limit);
    int64_t kept = limit;
    if (sampling.top_p > 0.0) {
        double mass = 0.0, before = 0.0;
        for (int64_t rank = 0; rank < limit; rank++) mass += chances[order[rank]];
        for (kept = 0; kept < limit && before < sampling.top_p * mass; kept++) {
            if (limit == n) select(chances, order, n, kept, kept + 1);
            before += chances[order[kept]];
        }
    }
    for (int64_t rank = kept; rank < n; rank++) chances[order[rank]] = 0.0;
}

// -- sampling from large vocabularies: no sorting of all, nothing read twice that need not be ---------------------

static const int64_t LARGE = 512;  // logits: up to here the plain way below is as fast
static const int MOST_BLOCKS = 1024, BINS = 1024;
static const double BINS_A_NAT = 16.0;

// n numbers in blocks of `size`
struct Blocks {
    int64_t n, size, count;

    explicit Blocks(int64_t n) : n(n), size(round_up((n + MOST_BLOCKS - 1) / MOST_BLOCKS, 64)) {
        count = (n + size - 1) / size;
    }
    int64_t begin(int64_t block) const { return block * size; }
    int64_t end(int64_t block) const { return least(n, (block + 1) * size); }
};

struct Likelier {  // in order of chances; ties: the lower id
    const double* chances;
    bool operator()(int64_t a, int64_t b) const {
        return chances[a] != chances[b] ? chances[a] > chances[b] : a < b;
    }
};

// Whether all logits are finite numbers
static bool find_maxima(const float* logits, const Blocks& blocks, float* maxima) {
    float nothing = 0.0f;
    for (int64_t block = 0; block < blocks.count; block++) {
        float most = logits[blocks.begin(block)];
#pragma omp simd reduction(max : most) reduction(+ : nothing)
        for (int64_t i = blocks.begin(block); i < blocks.end(block); i++) {
            most = logits[i] > most ? logits[i] : most;
            nothing += logits[i] * 0.0f;
        }
        maxima[block] = most;
    }
    return nothing == 0.0f;
}

typedef double wide __attribute__((vector_size(LANES * 4), aligned(8), may_alias));
typedef int64_t wide_ints __attribute__((vector_size(LANES * 4), aligned(8), may_alias));
typedef float half __attribute__((vector_size(LANES * 2), aligned(4), may_alias));
static const int WIDE = LANES / 2;

// `exponential_double`, several at once
static inline wide exponential_wide(wide x) {
    x = x > -708.0 ? x : wide{} - 708.0;
    const wide shifted = x * 1.4426950408889634 + 6755399441055744.0, whole = shifted - 6755399441055744.0;
    const wide rest = x - whole * 0.693147180369123816490 - whole * 1.90821492927058770002e-10;
    wide y = wide{} + 1.0 / 6227020800.0;
    for (double factorial : FACTORIALS) y = y * rest + 1.0 / factorial;
    return (wide)((wide_ints)y + ((wide_ints)shifted << 52));
}

// What (logit - highest) is multiplied with; finite, so that 0 stays 0
static double inverse(double temperature) { return std::min(1.0 / temperature, 1e300); }

// Chances from logits, the sum of each block, and of all
static double exponentiate(const float* logits, double highest, double temperature, const Blocks& blocks,
                           double* chances, double* sums) {
    const double scale = inverse(temperature);
    double total = 0.0;
    for (int64_t block = 0; block < blocks.count; block++) {
        wide parts = {};
        int64_t i = blocks.begin(block);
        for (; i + WIDE <= blocks.end(block); i += WIDE) {
            const wide found = exponential_wide((__builtin_convertvector(*(const half*)(logits + i), wide) - highest) * scale);
            *(wide*)(chances + i) = found, parts += found;
        }
        double part = 0.0;
        for (int lane = 0; lane < WIDE; lane++) part += parts[lane];
        for (; i < blocks.end(block); i++) part += chances[i] = exponential_double((logits[i] - highest) * scale);
        sums[block] = part, total += part;
    }
    return total;
}

static double add_up(const double* chances, const Blocks& blocks, double* sums) {
    double total = 0.0;
    for (int64_t block = 0; block < blocks.count; block++) {
        double part = 0.0;
#pragma omp simd reduction(+ : part)
        for (int64_t i = blocks.begin(block); i < blocks.end(block); i++) part += chances[i];
        sums[block] = part, total += part;
    }
    return total;
}

// The ids, ascending, of the `limit` likeliest, and of these up to the mass `top_p`; returns how many. Chances of more
// than these are computed: of all logits that can be among them, if equal chances are ties
static int64_t likeliest(const float* logits, const Blocks& blocks, const float* maxima, double highest,
                         const Sampling& sampling, double* chances, int64_t* order) {
    const int64_t limit = sampling.top_k;
    float* copied = (float*)chances;  // room for twice as many
    const int64_t among = limit <= blocks.count ? blocks.count : blocks.n;  // as many maxima are at least as high
    copy(among == blocks.n ? logits : maxima, copied, among);
    std::nth_element(copied, copied + limit - 1, copied + among, [](float a, float b) { return a > b; });
    double lowest = (copied[limit - 1] - highest) / sampling.temperature;
    lowest = lowest < -700.0 ? -1e300 : lowest - 1e-9;
    int64_t count = 0;
    for (int64_t block = 0; block < blocks.count; block++) {
        if ((maxima[block] - highest) / sampling.temperature < lowest) continue;
        for (int64_t i = blocks.begin(block); i < blocks.end(block); i++)
            if ((logits[i] - highest) / sampling.temperature >= lowest) order[count++] = i;
    }
    for (int64_t j = 0; j < count; j++)
        chances[order[j]] = exponential_double((logits[order[j]] - highest) / sampling.temperature);
    if (limit < count) std::nth_element(order, order + limit - 1, order + count, Likelier{chances});
    int64_t kept = limit;
    if (sampling.top_p > 0.0) {
        std::sort(order, order + limit, Likelier{chances});
        double mass = 0.0, before = 0.0;
        for (int64_t rank = 0; rank < limit; rank++) mass += chances[order[rank]];
        for (kept = 0; kept < limit && before < sampling.top_p * mass; kept++) before += chances[order[kept]];
    }
    std::sort(order, order + kept);
    return kept;
}

// Set the chances of all but the likeliest that make up `top_p` of the total to 0: whole bins, and one that is sorted
static void keep_nucleus(const float* logits, int64_t n, double highest, double total, const Sampling& sampling,
                         double* chances, int64_t* order) {
    const double scale = std::min(inverse(sampling.temperature) * BINS_A_NAT, 1e300);
    double masses[BINS] = {};
    for (int64_t i = 0; i < n; i++) {
        const double place = (highest - logits[i]) * scale;  // the likeliest in the first bin, all from the last on there
        masses[(int)(place < BINS - 1.0 ? place : BINS - 1.0)] += chances[i];
    }
    int64_t last = 0, count = 0;
    double before = 0.0;
    while (last < BINS - 1 && before + masses[last] < sampling.top_p * total) before += masses[last++];
    const double next = last == BINS - 1 ? INFINITY : last + 1.0;
    for (int64_t i = 0; i < n; i++) {
        const double place = (highest - logits[i]) * scale;
        if (place >= next)
            chances[i] = 0.0;
        else if (place >= last)
            order[count++] = i;
    }
    std::sort(order, order + count, Likelier{chances});
    int64_t kept = 0;
    for (; kept < count && before < sampling.top_p * total; kept++) before += chances[order[kept]];
    for (; kept < count; kept++) chances[order[kept]] = 0.0;
}

// The id at which the running sum of chances passes `target`
static int64_t walk(const double* chances, const double* sums, const Blocks& blocks, double target) {
    double passed = 0.0;
    int64_t block = 0, chosen = -1;
    while (block < blocks.count - 1 && passed + sums[block] <= target) passed += sums[block++];
    for (int64_t i = blocks.begin(block); i < blocks.n && passed <= target; i++) {
        if (chances[i] > 0.0) chosen = i;
        passed += chances[i];
    }
    for (int64_t i = blocks.begin(block); i > 0 && chosen < 0; i--)  // rounding must never pick one of chance 0
        if (chances[i - 1] > 0.0) chosen = i - 1;
    return chosen;
}

static int64_t draw_of_many(const float* logits, int64_t n, const Sampling& sampling, double uniform, double* chances,
                            int64_t* order) {
    const Blocks blocks(n);
    float maxima[MOST_BLOCKS];
    double sums[MOST_BLOCKS];
    if (!find_maxima(logits, blocks, maxima)) return std::max_element(logits, logits + n) - logits;
    const float most = *std::max_element(maxima, maxima + blocks.count);
    const int64_t best = std::find(logits, logits + n, most) - logits;
    if (sampling.temperature == 0.0) return best;
    const double highest = most;
    if (sampling.top_k > 0 && sampling.top_k < n) {
        const int64_t kept = likeliest(logits, blocks, maxima, highest, sampling, chances, order);
        double total = 0.0, passed = 0.0;
        for (int64_t j = 0; j < kept; j++) total += chances[order[j]];
        int64_t chosen = best;
        for (int64_t j = 0; j < kept && passed <= uniform * total; j++) {
            if (chances[order[j]] > 0.0) chosen = order[j];
            passed += chances[order[j]];
        }
        return chosen;
    }
    double total = exponentiate(logits, highest, sampling.temperature, blocks, chances, sums);
    if (sampling.top_p > 0.0) {
        keep_nucleus(logits, n, highest, total, sampling, chances, order);
        total = add_up(chances, blocks, sums);
    }
    return walk(chances, sums, blocks, uniform * total);
}

// The next id from n logits, by a uniform number: `probabilities` and `choose` of generation/torch_engine.py for one row
static int64_t draw(const float* logits, int64_t n, const Sampling& sampling, double uniform, double* chances,
                    int64_t* order) {
    if (n > LARGE) return draw_of_many(logits, n, sampling, uniform, chances, order);
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (logits[i] > logits[best]) best = i;
    if (sampling.temperature == 0.0) return best;
    const double highest = logits[best];
#pragma omp simd
    for (int64_t i = 0; i < n; i++) chances[i] = exponential_double((logits[i] - highest) / sampling.temperature);
    if (sampling.top_k > 0 || sampling.top_p > 0.0) keep_likeliest(chances, order, n, sampling);
    double total = 0.0, passed = 0.0;
    for (int64_t i = 0; i < n; i++) total += chances[i];
    int64_t chosen = best;
    for (int64_t i = 0; i < n && passed <= uniform * total; i++) {
        if (chances[i] > 0.0) chosen = i;
        passed += chances[i];
    }
    return chosen;
}

// -- the loop --------------------------------------------------------------------------------------------------

struct Sequences {
    int32_t* windows;  // (B, context), the characters that are seen
    int64_t* lengths;  // (B,), how many
    float* logits;     // (B, vocabulary), of what comes next
};

// Read the window of one sequence anew: its cache, and the logits after it
static void read_window(const Engine& engine, const Sequences& all, int64_t row) {
    const Model& m = engine.m;
    memset(engine.cache(row), 0, m.cache_numbers * sizeof(float));
    Batch batch;
    for (int64_t start = 0; start < all.lengths[row]; start += ROWS) {
        batch.n = least(ROWS, all.lengths[row] - start);
        for (int64_t r = 0; r < batch.n; r++) {
            batch.ids[r] = all.windows[row * m.context + start + r];
            batch.sequence[r] = row, batch.position[r] = start + r;
        }
        engine.forward(batch);
    }
    copy(engine.x[batch.n - 1], engine.x[0], m.width);
    engine.read_out(1);
    copy(engine.logits[0], all.logits + row * m.vocabulary, m.vocabulary);
}

// Take a character into a window. True where the window was full, and must be read again
static bool append(const Sequences& all, int64_t row, int64_t context, int32_t id) {
    int32_t* window = all.windows + row * context;
    const bool full = all.lengths[row] == context;
    if (full) {
        all.lengths[row] = context / 2;
        memmove(window, window + context - context / 2, context / 2 * sizeof(int32_t));
    }
    window[all.lengths[row]++] = id;
    return full;
}

static void read_batch(const Engine& engine, const Sequences& all, Batch& batch) {
    engine.forward(batch);
    engine.read_out(batch.n);
    const int64_t n = engine.m.vocabulary;
    for (int64_t r = 0; r < batch.n; r++) copy(engine.logits[r], all.logits + batch.sequence[r] * n, n);
    batch.n = 0;
}

extern "C" int64_t panel_width() { return PANEL; }

// Numbers of work space that `generate` needs
extern "C" int64_t work_numbers(const Model* model, const Layer* layers) {
    return Engine(model, layers, nullptr, nullptr, nullptr).work_numbers;
}

// Draw `steps` new ids, (B, steps), for sequences `first` to below `last` by `uniforms` of the same shape, and go on to
// the logits after them; where they are `fresh`, read their windows first
extern "C" void generate(const Model* model, const Layer* layers, const float* weights, float* caches, float* work,
                         int32_t* windows, int64_t* lengths, float* logits, const double* uniforms, int32_t* out,
                         int64_t steps, int64_t first, int64_t last, int64_t fresh, double temperature, int64_t top_k,
                         double top_p) {
    const Engine engine(model, layers, weights, caches, work);
    const Sequences all{windows, lengths, logits};
    const Sampling sampling{temperature, top_p, top_k};
    for (int64_t row = first; fresh && row < last; row++) read_window(engine, all, row);
    Batch batch;
    batch.n = 0;
    for (int64_t step = 0; step < steps; step++)
        for (int64_t row = first; row < last; row++) {
            const float* here = logits + row * model->vocabulary;
            const double uniform = uniforms[row * steps + step];
            const int32_t id = draw(here, model->vocabulary, sampling, uniform, engine.chances, engine.order);
            out[row * steps + step] = id;
            if (append(all, row, model->context, id)) {
                read_window(engine, all, row);
            } else {
                batch.ids[batch.n] = id, batch.sequence[batch.n] = row, batch.position[batch.n] = lengths[row] - 1;
                batch.n++;
            }
            if (batch.n == ROWS || (row == last - 1 && batch.n > 0)) read_batch(engine, all, batch);
        }
}

// For tests
extern "C" int64_t draw_one(const float* logits, int64_t n, double* chances, int64_t* order, double temperature,
                            int64_t top_k, double top_p, double uniform) {
    return draw(logits, n, {temperature, top_p, top_k}, uniform, chances, order);
}
extern "C" float exp_float(float x) { return exponential(spread(x))[0]; }
extern "C" double exp_double(double x) { return exponential_double(x); }

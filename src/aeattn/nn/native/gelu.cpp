// GELU in its tanh form, x / (1 + 2^-(A x + B x^3)), and its derivative, in float32 or bf16 (BF16 as 0 or 1).
//
// Rows of x stand `stride` numbers apart. The columns of a row are cut into parts, each a multiple of 16 wide; on the
// other side every part is a tensor of its own, without gaps.

#include "numbers.h"

static const float CUBE = 0.044715f;
static const float SLOPE = 1.59576912f;  // 2 sqrt(2 / pi)
static const float FAR = 8.0f;           // beyond it, the gate is 0 or 1 to a float
static const int64_t WORTH_THREADS = 1 << 14;

static inline vec near(vec x) {
    const vec below = x > FAR ? spread(FAR) : x;  // what is no number stays none
    return below < -FAR ? spread(-FAR) : below;
}

// (1 + tanh y) / 2 for the y of GELU
static inline vec gate(vec x) { return 1.0f / (1.0f + exp2_fast(-LOG2E * SLOPE * x * (1.0f + CUBE * x * x))); }

static inline vec value(vec x) { return x * gate(near(x)); }

static inline vec derivative(vec x) {
    const vec n = near(x), open = gate(n);
    return open * (1.0f + (1.0f - open) * n * (SLOPE + 3.0f * SLOPE * CUBE * n * n));
}

struct Parts {
    number* const* data;
    const int64_t* widths;
    int64_t n;

    int64_t width() const {
        int64_t total = 0;
        for (int64_t p = 0; p < n; p++) total += widths[p];
        return total;
    }
};

// work(at, part) for every LANES numbers: their place in a row of x, and where they stand in their part
template <typename Work>
static void over_rows(const Parts& parts, int64_t rows, int threads, const Work& work) {
#pragma omp parallel for num_threads(threads) if (rows * parts.width() > WORTH_THREADS)
    for (int64_t row = 0; row < rows; row++) {
        int64_t at = 0;
        for (int64_t p = 0; p < parts.n; p++) {
            number* part = parts.data[p] + row * parts.widths[p];
            for (int64_t c = 0; c < parts.widths[p]; c += LANES) work(row, at + c, part + c);
            at += parts.widths[p];
        }
    }
}

extern "C" void gelu_forward(const number* x, int64_t stride, number* const* parts, const int64_t* widths, int64_t n,
                             int64_t rows, int threads) {
    over_rows({parts, widths, n}, rows, threads,
              [=](int64_t row, int64_t at, number* part) { store(part, value(load(x + row * stride + at))); });
}

// d_x has no gaps
extern "C" void gelu_backward(const number* x, int64_t stride, number* const* d_parts, const int64_t* widths, int64_t n,
                              number* d_x, int64_t rows, int threads) {
    const Parts parts{d_parts, widths, n};
    const int64_t width = parts.width();
    over_rows(parts, rows, threads, [=](int64_t row, int64_t at, number* d_part) {
        store(d_x + row * width + at, load(d_part) * derivative(load(x + row * stride + at)));
    });
}

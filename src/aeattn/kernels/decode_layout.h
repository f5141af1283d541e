// Where a model's weights, a sequence's cache and what a layer keeps in it lie. `generation/layout.py` reads these
// declarations and fills the records; all fields take 64 bits. A place is an offset in numbers; -1: there is none.

struct Model {
    int64_t layers, width, heads, kv_heads, head_width, vocabulary, context, hidden;
    int64_t layer_norm, gelu, qk_norm, rotated;  // choices: 0 or 1, width that is rotated
    int64_t embedding, positions, gain, head, cosines, sines;
    int64_t cache_numbers;  // that one sequence takes
};

// One projection: where its part of the encoders' product begins, how wide its code is, in how many blocks of its own for
// each head, and the matrices after it. The code is made in `parts` that lie `stride` apart until it is: of `hidden`
// numbers each whether GELU follows, a matrix to as many and GELU again, a matrix to the code, and a norm with a gain.
struct Code {
    int64_t at, width, blocks, parts, stride, hidden, gelu, middle, narrow, gain, decoder;
    double epsilon;  // of that norm
};

// Keys or values in the cache: `groups` of heads that read the same, each `width` numbers a character, filled up to
// `stride` where heads lie side by side; `decoded` says whether they are vectors made by the decoder.
struct Kept {
    int64_t groups, width, stride, decoded, cache;
};

// A short convolution: how many taps, the taps themselves, and where its last inputs lie in the cache.
struct Conv {
    int64_t width, taps, inputs;
};

struct Layer {
    int64_t attention_gain, encoders, n_encoded, read, output, hidden_gain, up, down;
    Conv conv, conv_ff;
    Code query, key, value;
    Kept keys, values;
    double query_epsilon, key_epsilon;                                // of the norms of queries and keys
    int64_t norms, value_shared;                                      // in the cache; whether values are the keys' codes
    int64_t slopes, rotate;                                           // ALiBi; rotary on whole keys
    int64_t rotary_query, rotary_key, rotary_width, rotary_cache;     // decoupled rotary part
    int64_t gate;                                                     // in the encoders' product, one number a head
    int64_t value_table;                                              // added to decoded values: a row a token
};

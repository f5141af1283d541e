// Loops over the bytes of texts. Their slow twins are in NumPy: `hashes_of` in data/rows.py, `ByteTable`
// in data/lookup.py, `_squeezed` and `Wanted.likely` in data/shingles.py, which say what is computed.
#include <cstdint>
#include <cstring>
#include <initializer_list>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

namespace {

constexpr uint64_t MULTIPLIER = 0x9E3779B97F4A7C15u;
constexpr int LANES = 32;      // sums of a row's hash side by side
constexpr int SHINGLE = 64;    // codes of a passage
constexpr int PLACES = 1024;   // at once, which stay in the nearest cache

uint64_t scrambled(uint64_t value) {
    value += MULTIPLIER;
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9u;
    value = (value ^ (value >> 27)) * 0x94D049BB133111EBu;
    return value ^ (value >> 31);
}

uint64_t eight(const uint8_t* codes) {
    uint64_t found;
    std::memcpy(&found, codes, sizeof found);
    return found;
}

}  // namespace

extern "C" {

// The hash of data[ends[i]:ends[i + 1]] for each of `rows` rows: the sum of data[i] * M**i, from the last LANES bytes
// to the first.
void row_hashes(const uint8_t* data, const int64_t* ends, int64_t rows, uint64_t* hashes) {
    uint64_t powers[LANES], step = 1;
    for (uint64_t& power : powers) power = step, step *= MULTIPLIER;
    for (int64_t row = 0; row < rows; ++row) {
        const uint8_t* begin = data + ends[row];
        const int64_t length = ends[row + 1] - ends[row], rest = length % LANES;
        const uint8_t* last = begin + length - rest;
        uint64_t sums[LANES] = {};
        if (data + ends[rows] - last >= LANES) {  // reads on into the next rows, without a loop of another length each
            uint8_t read[LANES];
            std::memcpy(read, last, LANES);
            for (int lane = 0; lane < LANES; ++lane) sums[lane] = lane < rest ? read[lane] : 0;
        } else {
            for (int64_t i = 0; i < rest; ++i) sums[i] = last[i];
        }
        for (int64_t at = length - rest - LANES; at >= 0; at -= LANES)
            for (int lane = 0; lane < LANES; ++lane) sums[lane] = sums[lane] * step + begin[at + lane];
        uint64_t sum = 0;
        for (int lane = 0; lane < LANES; ++lane) sum += sums[lane] * powers[lane];
        hashes[row] = scrambled(sum ^ scrambled(static_cast<uint64_t>(length)));
    }
}

// table[content[i]] for each byte; `table` has 256.
void looked_up(const uint8_t* content, int64_t count, const uint8_t* table, uint8_t* found) {
    int64_t i = 0;
#ifdef __AVX512VBMI__
    const __m512i a = _mm512_loadu_si512(table), b = _mm512_loadu_si512(table + 64);
    const __m512i c = _mm512_loadu_si512(table + 128), d = _mm512_loadu_si512(table + 192);
    for (; i + 64 <= count; i += 64) {
        const __m512i bytes = _mm512_loadu_si512(content + i);
        const __m512i low = _mm512_permutex2var_epi8(a, bytes, b), high = _mm512_permutex2var_epi8(c, bytes, d);
        _mm512_storeu_si512(found + i, _mm512_mask_blend_epi8(_mm512_movepi8_mask(bytes), low, high));
    }
#endif
    for (; i < count; ++i) found[i] = table[content[i]];
}

// The codes without each `space` that follows one; returns how many are left. `kept` has room for all.
int64_t squeezed(const uint8_t* codes, int64_t count, int64_t space, int64_t after_space, uint8_t* kept) {
    int64_t i = 0, left = 0;
    uint64_t after = after_space;
#ifdef __AVX512VBMI2__
    for (; i + 64 <= count; i += 64) {  // what is written too much is written over, or lies before `count`
        const __m512i here = _mm512_loadu_si512(codes + i);
        const uint64_t spaces = _mm512_cmpeq_epi8_mask(here, _mm512_set1_epi8(static_cast<char>(space)));
        const uint64_t stay = ~(spaces & (spaces << 1 | after));
        _mm512_storeu_si512(kept + left, _mm512_maskz_compress_epi8(stay, here));
        left += __builtin_popcountll(stay);
        after = spaces >> 63;
    }
#endif
    for (; i < count; ++i) {
        const bool is_space = codes[i] == space;
        kept[left] = codes[i];
        left += !(is_space && after);
        after = is_space;
    }
    return left;
}

// Where passages begin that are looked at, whose polynomial modulo 256 is below `bound`, and whose bit in `near`, of
// 2**bits, is set; returns how many. 5 has the order 64 modulo 256: with each code divided by 5**place, the
// polynomial is a sum over 64 neighbours, times 5**(63 + place), and these powers recur.
int64_t likely(
    const uint8_t* codes, int64_t count, int64_t bound, const uint8_t* near, int64_t bits, int64_t* places
) {
    static_assert(SHINGLE == 64 && PLACES % SHINGLE == 0);
    uint8_t up[SHINGLE], down[SHINGLE], sums[PLACES + SHINGLE], low[PLACES];
    for (int i = 0, power = 1; i < SHINGLE; ++i, power = 5 * power % 256)
        up[(i + 1) % SHINGLE] = down[(SHINGLE - i) % SHINGLE] = power;
    int64_t found = 0;
    const int64_t end = count - SHINGLE + 1;
    for (int64_t first = 0; first < end; first += PLACES) {
        const int64_t here = end - first < PLACES ? end - first : PLACES, read = here + SHINGLE - 1;
        std::memset(sums, 0, sizeof sums);
        std::memcpy(sums, codes + first, read);
        for (int at = 0; at < PLACES + SHINGLE; at += SHINGLE)
            for (int i = 0; i < SHINGLE; ++i) sums[at + i] *= down[i];
        for (int length = 1; length < SHINGLE; length *= 2)
            for (int i = 0; i < PLACES + SHINGLE - length; ++i) sums[i] += sums[i + length];
        for (int at = 0; at < PLACES; at += SHINGLE)
            for (int i = 0; i < SHINGLE; ++i) low[at + i] = static_cast<uint8_t>(sums[at + i] * up[i]) < bound;
        for (int64_t at = 0; at < here; at += 8) {
            uint64_t set = eight(low + at);
            for (; set; set &= set - 1) {
                const int64_t i = at + __builtin_ctzll(set) / 8;
                if (i >= here) break;
                uint64_t mixed = 0;
                for (int part : {0, SHINGLE / 2 - 4, SHINGLE - 8})
                    mixed = (mixed ^ eight(codes + first + i + part)) * MULTIPLIER;
                places[found] = first + i;
                mixed >>= 64 - bits;
                found += near[mixed / 8] >> mixed % 8 & 1;
            }
        }
    }
    return found;
}

}  // extern "C"

// The forward pass once more by matrix tiles, for processors with AMX (Intel since Sapphire Rapids).
//
// One instruction multiplies a tile of 16 rows of up to 32 bfloat16 numbers with one of 16 columns. The
// layouts of attention_bf16.h are what tiles need: a tile row holds pairs along the summed dimension. What
// is left for vectors are the powers of 2 between the two products.

#include <sys/syscall.h>
#include <unistd.h>

namespace {

constexpr int kTile = 16; // rows of a tile: queries at a time, and keys or pairs of keys
constexpr int kBytes = 64; // of a whole tile row
constexpr int kQueryBytes = kDim * sizeof(Half);

// Linux hands out the tiles' state on demand only (Documentation/arch/x86/xstate.rst).
inline bool has_tiles() {
  constexpr int kRequest = 0x1023, kTileData = 18;
  static const bool granted = syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
  return granted;
}

struct alignas(64) TileConfig {
  uint8_t palette, first_row, reserved[14];
  uint16_t bytes[16];
  uint8_t rows[16];
};

// Shapes of the tiles used here, for as long as this lives; whoever shares the thread gets theirs back.
// 0 to 3: sums [16][16]. 4: 16 rows of 16 numbers, 5: 8 pairs of rows. 6: 16 rows of 32, 7: 16 pairs.
class Tiles {
public:
  Tiles() {
    _tile_storeconfig(&before);
    TileConfig own = {};
    own.palette = 1;
    for (int t = 0; t < 8; ++t) own.bytes[t] = kBytes, own.rows[t] = kTile;
    own.bytes[4] = kQueryBytes;
    own.rows[5] = kPairs;
    _tile_loadconfig(&own);
  }
  ~Tiles() {
    if (before.palette)
      _tile_loadconfig(&before);
    else
      _tile_release();
  }

private:
  TileConfig before;
};

// Scores of the 16 keys from the j-th on, by way of a tile for sums. (Tiles can only be named by literals.)
#define SCORE_TILE(tile, j)                  \
  do {                                       \
    _tile_zero(tile);                        \
    _tile_loadd(5, keys + (j), stride);      \
    _tile_dpbf16ps(tile, 4, 5);              \
    _tile_stored(tile, scores + (j), stride); \
  } while (false)

// Scores [16][n] of 16 queries, from q [16][16] and keys in pairs along the width [8][n].
inline void score_tiles(const Row *q, const uint32_t *keys, int n, float *scores) {
  const int64_t stride = n * sizeof(float);
  _tile_loadd(4, q, kQueryBytes);
  int j = 0;
  for (; j + 4 * kTile <= n; j += 4 * kTile) {
    SCORE_TILE(0, j);
    SCORE_TILE(1, j + kTile);
    SCORE_TILE(2, j + 2 * kTile);
    SCORE_TILE(3, j + 3 * kTile);
  }
  for (; j < n; j += kTile) SCORE_TILE(0, j);
}

// 2^x for x <= 0 as a bfloat16 number needs it: see exp2_negative; relative error below 8e-5.
inline Vec exp2_short(Vec x) {
  Vec magic = splat(12582912.0f);
  Vec y = (Vec)_mm512_max_ps((__m512)x, (__m512)splat(-126.0f));
  Vec shifted = y + magic, r = y - (shifted - magic);
  Vec p = 5.5171661e-2f * r + 2.4261118e-1f;
  p = p * r + 6.9326099e-1f;
  p = p * r + 9.9992807e-1f;
  return reinterpret_cast<Vec>(reinterpret_cast<IntVec>(p) +
                               (reinterpret_cast<IntVec>(shifted) << 23));
}

// Powers of 2 of four rows of scores, rounded, at once: no row waits for its own sums.
inline void weigh_rows(float *scores, Half *weights, int length, int n, float *tops, float *sums) {
  constexpr int kRows = 4;
  const auto past = static_cast<__mmask16>(0xffff << (kLanes - (n - length)));
  Vec top[kRows], sum[kRows] = {};
  for (int r = 0; r < kRows; ++r) { // scores past the end count for nothing
    Vec &last = at(scores + r * n + n - kLanes);
    last = (Vec)_mm512_mask_mov_ps((__m512)last, past, (__m512)splat(-INFINITY));
    top[r] = last;
  }
  for (int j = 0; j < n - kLanes; j += kLanes)
    for (int r = 0; r < kRows; ++r)
      top[r] = (Vec)_mm512_max_ps((__m512)top[r], (__m512)at(scores + r * n + j));
  for (int r = 0; r < kRows; ++r) tops[r] = _mm512_reduce_max_ps((__m512)top[r]);
  for (int j = 0; j < n; j += kLanes)
    for (int r = 0; r < kRows; ++r) {
      Vec p = exp2_short(at(scores + r * n + j) - tops[r]);
      sum[r] += p;
      halves(weights + r * n + j) = rounded(p);
    }
  for (int r = 0; r < kRows; ++r) sums[r] = _mm512_reduce_add_ps((__m512)sum[r]);
}

// Sums [16][16] of values, in pairs along keys [n / 2][16], weighed by weights [16][n].
inline void mix_tiles(const Half *weights, const uint32_t *values, int n, float *mixed) {
  const int64_t stride = n * sizeof(Half);
  _tile_zero(0);
  int j = 0;
  for (; j + 2 * kTile <= n; j += 2 * kTile) {
    _tile_loadd(6, weights + j, stride);
    _tile_loadd(7, values + j / 2 * kDim, kBytes);
    _tile_dpbf16ps(0, 6, 7);
  }
  if (j < n) {
    _tile_loadd(4, weights + j, stride);
    _tile_loadd(5, values + j / 2 * kDim, kBytes);
    _tile_dpbf16ps(0, 4, 5);
  }
  _tile_stored(0, mixed, kBytes);
}

void tile_forward_head(const Head<Half> &h, const Tables &rotary, float scale, Half *out, float *lse,
                       float *scratch) {
  const int n = h.padded;
  auto *keys = reinterpret_cast<uint32_t *>(scratch), *values = keys + kPairs * n;
  float *scores = scratch + 2 * kPairs * n;
  Half *weights = reinterpret_cast<Half *>(scores + kTile * n);
  pair_up(h, 1, &rotary, keys, nullptr);
  pair_up(h, 2, nullptr, nullptr, values);
  Tiles shaped;
  for (int i = 0; i < h.length; i += kTile) {
    Row q[kTile];
    float tops[kTile], sums[kTile];
    alignas(64) float mixed[kTile][kDim];
    const int rows = h.length - i < kTile ? h.length - i : kTile;
    for (int r = 0; r < kTile; ++r) q[r] = half_row(h, i + r, 0, &rotary, scale * kLog2E);
    score_tiles(q, keys, n, scores);
    for (int r = 0; r < kTile; r += 4)
      weigh_rows(scores + r * n, weights + r * n, h.length, n, tops + r, sums + r);
    mix_tiles(weights, values, n, mixed[0]);
    for (int r = 0; r < rows; ++r) {
      const int64_t row = static_cast<int64_t>(i + r) * h.heads + h.head;
      lse[row] = tops[r] + std::log2(sums[r]);
      _mm256_storeu_si256(reinterpret_cast<__m256i *>(out + row * kDim),
                          rounded(at(mixed[r]) * (1.0f / sums[r])));
    }
  }
}

} // namespace

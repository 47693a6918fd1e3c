// The same for bfloat16 by matrix tiles, for processors with AMX (Intel since Sapphire Rapids).
//
// One instruction multiplies a tile of 16 rows of up to 32 bfloat16 numbers with one of 16 columns. A tile
// on the right holds pairs of rows along the summed dimension. What is left for vectors are the powers of 2
// between the products: of one block of keys at a time, so that scores are read back from the first-level
// cache while tiles work on the next.

#pragma once

#include <sys/syscall.h>
#include <unistd.h>

#include <immintrin.h>

#include <type_traits>

#include "attention.h"

namespace {

typedef uint32_t PairVec __attribute__((vector_size(64))); // 16 pairs of bfloat16

constexpr int kPairs = kDim / 2;

inline Vec dot(Vec sum, PairVec a, PairVec b) {
  return (Vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
}
inline PairVec &at(uint32_t *p) { return *reinterpret_cast<PairVec *>(p); }
inline PairVec splat(uint32_t pair) { return PairVec{} + pair; }
inline uint32_t pair_at(const Half *p) {
  uint32_t pair;
  std::memcpy(&pair, p, 4);
  return pair;
}
inline __m256i &halves(Half *p) { return *reinterpret_cast<__m256i *>(p); }
inline __m256i rounded(Vec x) { return (__m256i)_mm512_cvtneps_pbh((__m512)x); }
inline PairVec interleaved(__m256i low, __m256i high) {
  return (PairVec)_mm512_cvtepu16_epi32(low) | (PairVec)_mm512_cvtepu16_epi32(high) << 16;
}

inline Vec twice(const float *p) { // 8 numbers, and again
  return (Vec)_mm512_broadcast_f32x8(_mm256_loadu_ps(p));
}

struct Row {
  alignas(32) Half x[kDim];
};

// A row of q, k or v as it enters products: rotated if asked, scaled, rounded; zero past the end.
inline Row half_row(const Head<Half> &h, int token, int part, const Tables *rotary, float scale) {
  Row row = {};
  if (token >= h.length) return row;
  const __m256i loaded = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(h.row(token, part)));
  halves(row.x) = loaded;
  if (!rotary) return row;
  const Vec x = (Vec)_mm512_slli_epi32(_mm512_cvtepu16_epi32(loaded), 16);
  const Vec other = (Vec)_mm512_shuffle_f32x4((__m512)x, (__m512)x, 0x4e); // d for d + 8, and back
  const Vec sine = twice(rotary->sine + token * kHalf);
  const Vec turned = (Vec)_mm512_mask_sub_ps((__m512)sine, 0x00ff, _mm512_setzero_ps(), (__m512)sine);
  halves(row.x) = rounded((x * twice(rotary->cosine + token * kHalf) + other * turned) * scale);
  return row;
}

// Rows of a part in pairs along the width, columns[d][j], and along the tokens, rows[j / 2][d].
inline void pair_up(const Head<Half> &h, int part, const Tables *rotary, uint32_t *columns,
                    uint32_t *rows) {
  for (int j = 0; j < h.padded; j += 2) {
    Row two[2];
    for (int u = 0; u < 2; ++u) {
      two[u] = half_row(h, j + u, part, rotary, 1.0f);
      if (columns)
        for (int d = 0; d < kPairs; ++d) columns[d * h.padded + j + u] = pair_at(two[u].x + 2 * d);
    }
    if (rows) at(rows + j / 2 * kDim) = interleaved(halves(two[0].x), halves(two[1].x));
  }
}


constexpr int kTile = 16; // rows of a tile
constexpr int kBytes = 64; // of a whole tile row
constexpr int kQueryBytes = kDim * sizeof(Half);
constexpr int kKeys = kBlockKeys; // keys at a time: two tiles of scores, one of weights
constexpr float kSafeBound = 50.0f;

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

// Products [16][16] of the rows in tile 4 and 16 columns of pairs, into a row-major [..][kKeys] buffer.
// (Tiles can only be named by literals.)
#define PRODUCT_TILE(sums, columns, stride, to)              \
  do {                                                       \
    _tile_zero(sums);                                        \
    _tile_loadd(5, columns, stride);                         \
    _tile_dpbf16ps(sums, 4, 5);                              \
    _tile_stored(sums, to, kKeys * sizeof(float));           \
  } while (false)

// 2^x as a bfloat16 number needs it: 2^floor(x) times a polynomial for 2 to the rest; relative error below
// 8e-5.
inline Vec exp2_short(Vec x) {
  constexpr int kFloor = 1;
  Vec r = (Vec)_mm512_reduce_ps((__m512)x, kFloor);
  Vec p = 0.078024468f * r + 0.2260673f;
  p = p * r + 0.69583345f;
  p = p * r + 0.99992523f;
  return (Vec)_mm512_scalef_ps((__m512)p, (__m512)x);
}

// A whole tile row at once, so that the tile can take it from the store before it reaches the cache.
inline void store_rounded(Half *p, Vec first, Vec second) {
  _mm512_store_si512(p, (__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first));
}

inline float norm(const Row &row) {
  const Vec x = load(row.x);
  return std::sqrt(_mm512_reduce_add_ps((__m512)(x * x)));
}

// Norm of the longest of n rows, from pairs along the width [8][n].
inline float longest_of(uint32_t *columns, int n) {
  Vec most = {};
  for (int j = 0; j < n; j += kLanes) {
    Vec square = {};
    for (int d = 0; d < kPairs; ++d) square = dot(square, at(columns + d * n + j), at(columns + d * n + j));
    most = max(most, square);
  }
  return std::sqrt(_mm512_reduce_max_ps((__m512)most));
}

// Columns past the end of a block of keys, of a row-major [16][kKeys] buffer, become -infinity.
inline void close_rows(float *scores, int left) {
  for (int r = 0; r < kTile; ++r)
    for (int j = left > 0 ? left : 0; j < kKeys; ++j) scores[r * kKeys + j] = -INFINITY;
}

// Highest score of each of 16 queries: needed where the bound on scores is too loose to shift by.
inline void highest_scores(const Row *q, const uint32_t *keys, int length, int n, float *tops) {
  alignas(64) float scores[kTile * kKeys];
  Vec top[kTile];
  for (int r = 0; r < kTile; ++r) top[r] = splat(-INFINITY);
  _tile_loadd(4, q, kQueryBytes);
  for (int j = 0; j < n; j += kKeys) {
    PRODUCT_TILE(0, keys + j, n * sizeof(float), scores);
    PRODUCT_TILE(1, keys + j + kTile, n * sizeof(float), scores + kTile);
    if (j + kKeys > length) close_rows(scores, length - j);
    for (int r = 0; r < kTile; ++r)
      top[r] = max(top[r], max(at(scores + r * kKeys), at(scores + r * kKeys + kLanes)));
  }
  for (int r = 0; r < kTile; ++r) tops[r] = _mm512_reduce_max_ps((__m512)top[r]);
}

// Rows [first, first + kRows) of a block: powers of 2 of the scores, rounded to bfloat16, and their sums.
template <int kRows>
inline void weigh_rows(float *scores, const float *shifts, Half *weights, Vec *sums, int first) {
  for (int r = first; r < first + kRows; ++r) {
    Vec a = exp2_short(at(scores + r * kKeys) - shifts[r]);
    Vec b = exp2_short(at(scores + r * kKeys + kLanes) - shifts[r]);
    sums[r] += a + b;
    store_rounded(weights + r * kKeys, a, b);
  }
}

// Any shift that keeps the powers of 2 within float32 gives the same softmax. |q| |k| bounds a score
// (Cauchy-Schwarz) and costs no pass over the scores; where that is too far above them, their maximum.
inline void shifts_of(const Row *q, const uint32_t *keys, float longest_key, int length, int n,
                      float *shifts) {
  float widest = 0.0f;
  for (int r = 0; r < kTile; ++r) {
    shifts[r] = norm(q[r]) * longest_key;
    widest = shifts[r] > widest ? shifts[r] : widest;
  }
  if (!(widest <= kSafeBound)) highest_scores(q, keys, length, n, shifts);
}

void tile_forward_head(const Head<Half> &h, const Tables &rotary, float scale, Half *out, float *lse,
                       float *scratch) {
  const int n = h.padded;
  const int64_t stride = n * sizeof(float);
  auto *keys = reinterpret_cast<uint32_t *>(scratch), *values = keys + kPairs * n;
  pair_up(h, 1, &rotary, keys, nullptr);
  pair_up(h, 2, nullptr, nullptr, values);
  const float longest_key = longest_of(keys, n);
  Tiles shaped;
  for (int i = 0; i < h.length; i += kTile) {
    Row q[kTile];
    alignas(64) float scores[kTile * kKeys], mixed[kTile][kDim];
    alignas(64) Half weights[kTile * kKeys];
    float shifts[kTile];
    Vec sums[kTile] = {};
    for (int r = 0; r < kTile; ++r) q[r] = half_row(h, i + r, 0, &rotary, scale * kLog2E);
    shifts_of(q, keys, longest_key, h.length, n, shifts);
    _tile_loadd(4, q, kQueryBytes);
    _tile_zero(2);
    for (int j = 0; j < n; j += kKeys) {
      PRODUCT_TILE(0, keys + j, stride, scores);
      PRODUCT_TILE(1, keys + j + kTile, stride, scores + kTile);
      if (j + kKeys > h.length) close_rows(scores, h.length - j);
      weigh_rows<kTile>(scores, shifts, weights, sums, 0);
      _tile_loadd(6, weights, kBytes);
      _tile_loadd(7, values + j / 2 * kDim, kBytes);
      _tile_dpbf16ps(2, 6, 7);
    }
    _tile_stored(2, mixed[0], kBytes);
    for (int r = 0; r < kTile && i + r < h.length; ++r) {
      const int64_t row = static_cast<int64_t>(i + r) * h.heads + h.head;
      const float sum = _mm512_reduce_add_ps((__m512)sums[r]);
      if (lse) lse[row] = shifts[r] + std::log2(sum);
      store(out + row * kDim, at(mixed[r]) * (1.0f / sum));
    }
  }
}

inline void unrotated(Half *place, float *x, const Tables &rotary, int token) {
  rotate(x, rotary.cosine + token * kHalf, rotary.sine + token * kHalf, -1.0f);
  store_row(place, x);
}

inline Half *grad_row(const Head<Half> &h, Half *grad_qkv, int token, int part) {
  return grad_qkv + (static_cast<int64_t>(token) * 3 + part) * h.heads * kDim + h.head * kDim;
}

// Gradients of keys and values, from columns [16][n].
inline void store_key_gradients(const Head<Half> &h, const Tables &rotary, const float *grad_k,
                                const float *grad_v, Half *grad_qkv) {
  const __m512i places =
      _mm512_mullo_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
                         _mm512_set1_epi32(h.padded));
  for (int j = 0; j < h.length; ++j) {
    alignas(64) float k[kDim];
    at(k) = (Vec)_mm512_i32gather_ps(places, grad_k + j, 4) * (1.0f / kLog2E);
    unrotated(grad_row(h, grad_qkv, j, 1), k, rotary, j);
    store(grad_row(h, grad_qkv, j, 2), (Vec)_mm512_i32gather_ps(places, grad_v + j, 4));
  }
}

constexpr int kQueries = 2 * kTile; // at a time in backward: as many as one product sums over

// Rows of a block of queries as left and as right tiles.
struct alignas(64) TileQueries {
  Row q[kQueries], g[kQueries];             // as rows
  uint32_t q_columns[kDim][kTile], g_columns[kDim][kTile]; // transposed: [width][pairs of queries]
  float lse[kQueries], delta[kQueries];
};

inline void load_queries(const Head<Half> &h, int i, const Tables &rotary, float scale, const Half *out,
                         const Half *grad_out, const float *lse, TileQueries &b) {
  for (int r = 0; r < kQueries; ++r) {
    b.q[r] = half_row(h, i + r, 0, &rotary, scale * kLog2E);
    b.g[r] = Row{};
    b.lse[r] = b.delta[r] = 0.0f;
    if (i + r >= h.length) continue; // zero in all products
    const int64_t row = static_cast<int64_t>(i + r) * h.heads + h.head;
    std::memcpy(b.g[r].x, grad_out + row * kDim, sizeof b.g[r].x);
    b.delta[r] = _mm512_reduce_add_ps((__m512)(load(grad_out + row * kDim) * load(out + row * kDim)));
    b.lse[r] = lse[row];
  }
  const __m512i places = _mm512_mullo_epi32(
      _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), _mm512_set1_epi32(kTile));
  for (int r = 0; r < kQueries; r += 2) {
    _mm512_i32scatter_epi32(b.q_columns[0] + r / 2, places,
                            (__m512i)interleaved(halves(b.q[r].x), halves(b.q[r + 1].x)), 4);
    _mm512_i32scatter_epi32(b.g_columns[0] + r / 2, places,
                            (__m512i)interleaved(halves(b.g[r].x), halves(b.g[r + 1].x)), 4);
  }
}

// Numbers of two queries side by side: 16 pairs.
inline PairVec paired(Vec low, Vec high) {
  const PairVec a = (PairVec)low + 0x8000, b = (PairVec)high + 0x8000; // half up, not to even
  return (a >> 16) | (b & 0xffff0000);
}

// Between the products of one block of queries and keys: probabilities, and gradients of scores.
struct alignas(64) GradientBlock {
  float scores[kQueries * kKeys], slopes[kQueries * kKeys]; // of probabilities: g v
  uint32_t weights[kTile * kKeys], grad_s[kTile * kKeys];   // in pairs along queries
  Half grad_s_rows[kQueries * kKeys];
};

inline void fill_block(const TileQueries &b, GradientBlock &x) {
  for (int r = 0; r < kQueries; r += 2) {
    Vec d[2][2];
    for (int c = 0; c < 2; ++c) {
      const int low = r * kKeys + c * kLanes, high = low + kKeys, pair = r / 2 * kKeys + c * kLanes;
      const Vec p = exp2_short(at(x.scores + low) - b.lse[r]);
      const Vec p1 = exp2_short(at(x.scores + high) - b.lse[r + 1]);
      d[0][c] = p * (at(x.slopes + low) - b.delta[r]);
      d[1][c] = p1 * (at(x.slopes + high) - b.delta[r + 1]);
      at(x.weights + pair) = paired(p, p1);
      at(x.grad_s + pair) = paired(d[0][c], d[1][c]);
    }
    for (int u = 0; u < 2; ++u) store_rounded(x.grad_s_rows + (r + u) * kKeys, d[u][0], d[u][1]);
  }
}

// Add the products of a left tile and pairs [16][kKeys] to 16 columns of sums [16][n].
#define ADD_TILE(sums, left, pairs, to, stride)        \
  do {                                                 \
    _tile_loadd(sums, to, stride);                     \
    _tile_loadd(7, pairs, kKeys * sizeof(uint32_t));   \
    _tile_dpbf16ps(sums, left, 7);                     \
    _tile_stored(sums, to, stride);                    \
  } while (false)

// Scores and slopes of 16 of the queries with one block of keys.
inline void product_tiles(const Row *rows, const uint32_t *columns, int64_t stride, float *to) {
  _tile_loadd(4, rows, kQueryBytes);
  PRODUCT_TILE(0, columns, stride, to);
  PRODUCT_TILE(1, columns + kTile, stride, to + kTile);
}

void tile_backward_head(const Head<Half> &h, const Tables &rotary, float scale, const Half *out,
                        const Half *grad_out, const float *lse, Half *grad_qkv, float *scratch) {
  const int n = h.padded;
  const int64_t stride = n * sizeof(float);
  float *grad_k = scratch, *grad_v = grad_k + kDim * n; // [width][n]
  auto *keys = reinterpret_cast<uint32_t *>(grad_v + kDim * n), *values = keys + kPairs * n;
  uint32_t *key_rows = values + kPairs * n;
  pair_up(h, 1, &rotary, keys, key_rows);
  pair_up(h, 2, nullptr, values, nullptr);
  std::memset(grad_k, 0, sizeof(float) * 2 * kDim * n);
  Tiles shaped;
  TileQueries b;
  GradientBlock x;
  alignas(64) float grad_q[kQueries][kDim];
  for (int i = 0; i < h.length; i += kQueries) {
    load_queries(h, i, rotary, scale, out, grad_out, lse, b);
    _tile_zero(2);
    _tile_zero(3);
    for (int j = 0; j < n; j += kKeys) {
      for (int half = 0; half < kQueries; half += kTile) {
        product_tiles(b.q + half, keys + j, stride, x.scores + half * kKeys);
        product_tiles(b.g + half, values + j, stride, x.slopes + half * kKeys);
      }
      if (j + kKeys > h.length) // or 2^(0 - lse) is infinite where all scores are far below 0
        for (int half = 0; half < kQueries; half += kTile)
          close_rows(x.scores + half * kKeys, h.length - j);
      fill_block(b, x);
      _tile_loadd(7, key_rows + j / 2 * kDim, kBytes);
      _tile_loadd(6, x.grad_s_rows, kBytes);
      _tile_dpbf16ps(2, 6, 7);
      _tile_loadd(6, x.grad_s_rows + kTile * kKeys, kBytes);
      _tile_dpbf16ps(3, 6, 7);
      _tile_loadd(6, b.q_columns, kBytes);
      ADD_TILE(0, 6, x.grad_s, grad_k + j, stride);
      ADD_TILE(1, 6, x.grad_s + kTile, grad_k + j + kTile, stride);
      _tile_loadd(6, b.g_columns, kBytes);
      ADD_TILE(0, 6, x.weights, grad_v + j, stride);
      ADD_TILE(1, 6, x.weights + kTile, grad_v + j + kTile, stride);
    }
    _tile_stored(2, grad_q[0], kBytes);
    _tile_stored(3, grad_q[kTile], kBytes);
    for (int r = 0; r < kQueries && i + r < h.length; ++r) {
      at(grad_q[r]) *= scale;
      unrotated(grad_row(h, grad_qkv, i + r, 0), grad_q[r], rotary, i + r);
    }
  }
  store_key_gradients(h, rotary, grad_k, grad_v, grad_qkv);
}

} // namespace

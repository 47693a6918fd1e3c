// The same attention by bfloat16 dot products, for processors with AVX512-BF16 (half the instructions).
//
// One instruction multiplies 32 pairs of bfloat16 numbers and adds neighbours into 16 float32 sums, so
// every operand lies in pairs along the dimension that is summed over: rotated queries and keys along
// the head's width, probabilities and values along keys, and in backward also along queries. Scores,
// softmax and sums stay in float32; operands are rounded once, as bfloat16 autocast on a GPU does.
// Rows past the end of a sequence are zero; what they add is zero.

#include <immintrin.h>

#include <type_traits>

namespace {

typedef uint32_t PairVec __attribute__((vector_size(64))); // 16 pairs of bfloat16
typedef uint16_t Half;

constexpr int kPairs = kDim / 2;
constexpr int kBlock = 8; // queries at a time

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

// Call tile(j, number of 16-wide columns) over all of them, two at a time.
template <typename Tile> inline void tiles(int padded, Tile tile) {
  int j = 0;
  for (; j + 2 * kLanes <= padded; j += 2 * kLanes) tile(j, std::integral_constant<int, 2>{});
  if (j < padded) tile(j, std::integral_constant<int, 1>{});
}

template <int kColumns>
inline void half_score_tile(const Row *q, uint32_t *keys, int padded, int j, float *scores) {
  Vec tile[kBlock][kColumns] = {};
  for (int d = 0; d < kPairs; ++d)
    for (int c = 0; c < kColumns; ++c) {
      PairVec k = at(keys + d * padded + j + c * kLanes);
      for (int r = 0; r < kBlock; ++r)
        tile[r][c] = dot(tile[r][c], k, splat(pair_at(q[r].x + 2 * d)));
    }
  for (int r = 0; r < kBlock; ++r)
    for (int c = 0; c < kColumns; ++c) at(scores + r * padded + j + c * kLanes) = tile[r][c];
}

void forward_head(const Head<Half> &h, const Tables &rotary, float scale, Half *out, float *lse,
                  float *scratch) {
  const int n = h.padded;
  auto *keys = reinterpret_cast<uint32_t *>(scratch), *values = keys + kPairs * n;
  float *scores = scratch + 2 * kPairs * n;
  Half *weights = reinterpret_cast<Half *>(scores + kBlock * n);
  pair_up(h, 1, &rotary, keys, nullptr);
  pair_up(h, 2, nullptr, nullptr, values);
  for (int i = 0; i < h.length; i += kBlock) {
    Row q[kBlock];
    float sums[kBlock], row_lse;
    for (int r = 0; r < kBlock; ++r) q[r] = half_row(h, i + r, 0, &rotary, scale * kLog2E);
    tiles(n, [&](int j, auto c) { half_score_tile<c.value>(q, keys, n, j, scores); });
    for (int r = 0; r < kBlock; ++r) {
      auto keep = [&](int j, Vec p) { halves(weights + r * n + j) = rounded(p); };
      sums[r] = softmax_row(scores + r * n, h.length, n, &row_lse, keep);
      if (i + r < h.length) lse[static_cast<int64_t>(i + r) * h.heads + h.head] = row_lse;
    }
    Vec mixed[kBlock][2] = {};
    for (int j = 0; j < n; j += 4)
      for (int u = 0; u < 2; ++u) {
        PairVec v = at(values + (j / 2 + u) * kDim);
        for (int r = 0; r < kBlock; ++r)
          mixed[r][u] = dot(mixed[r][u], v, splat(pair_at(weights + r * n + j + 2 * u)));
      }
    for (int r = 0; r < kBlock && i + r < h.length; ++r)
      _mm256_storeu_si256(reinterpret_cast<__m256i *>(
                              out + (static_cast<int64_t>(i + r) * h.heads + h.head) * kDim),
                          rounded((mixed[r][0] + mixed[r][1]) * (1.0f / sums[r])));
  }
}

// What a block of queries needs in backward: rows, gradients of their outputs, and sums over keys.
struct Queries {
  Row q[kBlock], g[kBlock];
  float lse[kBlock], delta[kBlock];
};

inline void load_block(const Head<Half> &h, int i, const Tables &rotary, float scale, const Half *out,
                       const Half *grad_out, const float *lse, Queries &b) {
  for (int r = 0; r < kBlock; ++r) {
    b.q[r] = half_row(h, i + r, 0, &rotary, scale * kLog2E);
    b.g[r] = Row{};
    b.lse[r] = b.delta[r] = 0.0f;
    if (i + r >= h.length) continue; // zero in all products
    const int64_t row = static_cast<int64_t>(i + r) * h.heads + h.head;
    float g[kDim], y[kDim];
    load(grad_out + row * kDim, g);
    load(out + row * kDim, y);
    std::memcpy(b.g[r].x, grad_out + row * kDim, sizeof b.g[r].x);
    for (int d = 0; d < kDim; ++d) b.delta[r] += g[d] * y[d];
    b.lse[r] = lse[row];
  }
}

// Probabilities and gradients of scores of four queries, in pairs along queries and along keys.
template <int kColumns>
inline void gradient_tile(const Queries &b, int first, uint32_t *keys, uint32_t *values, int n, int j,
                          uint32_t *weights, uint32_t *grad_s, Half *grad_s_rows) {
  constexpr int kRows = 4;
  Vec s[kRows][kColumns], gp[kRows][kColumns];
  for (int r = 0; r < kRows; ++r)
    for (int c = 0; c < kColumns; ++c)
      s[r][c] = splat(-b.lse[first + r]), gp[r][c] = splat(-b.delta[first + r]);
  for (int d = 0; d < kPairs; ++d)
    for (int c = 0; c < kColumns; ++c) {
      const int place = d * n + j + c * kLanes;
      PairVec k = at(keys + place), v = at(values + place);
      for (int r = 0; r < kRows; ++r) {
        s[r][c] = dot(s[r][c], k, splat(pair_at(b.q[first + r].x + 2 * d)));
        gp[r][c] = dot(gp[r][c], v, splat(pair_at(b.g[first + r].x + 2 * d)));
      }
    }
  for (int c = 0; c < kColumns; ++c)
    for (int r = 0; r < kRows; r += 2) {
      __m256i w[2], gs[2];
      for (int u = 0; u < 2; ++u) {
        Vec p = exp2_negative(negative(s[r + u][c]));
        w[u] = rounded(p), gs[u] = rounded(p * gp[r + u][c]);
        halves(grad_s_rows + (first + r + u) * n + j + c * kLanes) = gs[u];
      }
      const int place = (first + r) / 2 * n + j + c * kLanes;
      at(weights + place) = interleaved(w[0], w[1]);
      at(grad_s + place) = interleaved(gs[0], gs[1]);
    }
}

// Add a block's share to the gradients of keys and values, kept as columns[d][j].
template <int kColumns>
inline void key_value_tile(const uint32_t (*q)[kDim], const uint32_t (*g)[kDim], uint32_t *weights,
                           uint32_t *grad_s, int n, int j, float *grad_k, float *grad_v) {
  PairVec w[kBlock / 2][kColumns], gs[kBlock / 2][kColumns];
  for (int r = 0; r < kBlock / 2; ++r)
    for (int c = 0; c < kColumns; ++c) {
      w[r][c] = at(weights + r * n + j + c * kLanes);
      gs[r][c] = at(grad_s + r * n + j + c * kLanes);
    }
  for (int d = 0; d < kDim; ++d)
    for (int c = 0; c < kColumns; ++c) {
      const int place = d * n + j + c * kLanes;
      Vec k = at(grad_k + place), v = at(grad_v + place);
      for (int r = 0; r < kBlock / 2; ++r)
        k = dot(k, gs[r][c], splat(q[r][d])), v = dot(v, w[r][c], splat(g[r][d]));
      at(grad_k + place) = k, at(grad_v + place) = v;
    }
}

inline void unrotated(Half *place, float *x, const Tables &rotary, int token) {
  rotate(x, rotary.cosine + token * kHalf, rotary.sine + token * kHalf, -1.0f);
  store(place, x);
}

void backward_head(const Head<Half> &h, const Tables &rotary, float scale, const Half *out,
                   const Half *grad_out, const float *lse, Half *grad_qkv, float *scratch) {
  const int n = h.padded;
  float *grad_k = scratch, *grad_v = grad_k + kDim * n;
  auto *keys = reinterpret_cast<uint32_t *>(grad_v + kDim * n), *values = keys + kPairs * n;
  uint32_t *key_rows = values + kPairs * n, *weights = key_rows + kPairs * n;
  uint32_t *grad_s = weights + kBlock / 2 * n;
  Half *grad_s_rows = reinterpret_cast<Half *>(grad_s + kBlock / 2 * n);
  pair_up(h, 1, &rotary, keys, key_rows);
  pair_up(h, 2, nullptr, values, nullptr);
  std::memset(grad_k, 0, sizeof(float) * 2 * kDim * n);
  auto place = [&](int token, int part) {
    return grad_qkv + (static_cast<int64_t>(token) * 3 + part) * h.heads * kDim + h.head * kDim;
  };
  for (int i = 0; i < h.length; i += kBlock) {
    Queries b;
    load_block(h, i, rotary, scale, out, grad_out, lse, b);
    for (int first = 0; first < kBlock; first += 4)
      tiles(n, [&](int j, auto c) {
        gradient_tile<c.value>(b, first, keys, values, n, j, weights, grad_s, grad_s_rows);
      });
    alignas(64) uint32_t q[kBlock / 2][kDim], g[kBlock / 2][kDim];
    for (int r = 0; r < kBlock; r += 2) {
      at(q[r / 2]) = interleaved(halves(b.q[r].x), halves(b.q[r + 1].x));
      at(g[r / 2]) = interleaved(halves(b.g[r].x), halves(b.g[r + 1].x));
    }
    tiles(n, [&](int j, auto c) {
      key_value_tile<c.value>(q, g, weights, grad_s, n, j, grad_k, grad_v);
    });
    Vec grad_q[kBlock][2] = {};
    for (int j = 0; j < n; j += 4)
      for (int u = 0; u < 2; ++u) {
        PairVec k = at(key_rows + (j / 2 + u) * kDim);
        for (int r = 0; r < kBlock; ++r)
          grad_q[r][u] = dot(grad_q[r][u], k, splat(pair_at(grad_s_rows + r * n + j + 2 * u)));
      }
    for (int r = 0; r < kBlock && i + r < h.length; ++r) {
      alignas(64) float x[kDim];
      at(x) = (grad_q[r][0] + grad_q[r][1]) * scale;
      unrotated(place(i + r, 0), x, rotary, i + r);
    }
  }
  for (int j = 0; j < h.length; ++j) {
    float k[kDim], v[kDim];
    for (int d = 0; d < kDim; ++d) k[d] = grad_k[d * n + j] / kLog2E, v[d] = grad_v[d * n + j];
    unrotated(place(j, 1), k, rotary, j);
    store(place(j, 2), v);
  }
}

} // namespace

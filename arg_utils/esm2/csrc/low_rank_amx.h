// Gradients of low-rank factors (low_rank.h) for bfloat16 by matrix tiles, see attention_amx.h.

#pragma once

#include "attention_amx.h"
#include "low_rank.h"

namespace {

constexpr int kTokens = 4 * kTile; // rows of x and g at a time

inline bool fits_tiles(int64_t rows, LowRank shape) { return rows % kTokens == 0 && shape.rank <= kTile; }

// A factor, element (d, r) at d * wide + r * deep, in pairs along the width: [width / 2][16 ranks].
inline void pair_factor(const float *factor, int wide, int deep, int width, int rank, uint32_t *pairs) {
  std::memset(pairs, 0, sizeof(uint32_t) * width / 2 * kTile);
  for (int d = 0; d < width; ++d)
    for (int r = 0; r < rank; ++r)
      pairs[d / 2 * kTile + r] |= static_cast<uint32_t>(to_bfloat(factor[d * wide + r * deep])) << d % 2 * 16;
}

// Products of kTokens rows with the factor, rounded and transposed: [16 ranks][kTokens].
inline void tile_project(const Half *rows, int64_t stride, const uint32_t *pairs, int width, Half *products) {
  alignas(64) float sums[2 * kTile][kTile];
  for (int first = 0; first < kTokens; first += 2 * kTile) {
    const Half *low = rows + first * stride, *high = low + kTile * stride;
    _tile_zero(0);
    _tile_zero(1);
    for (int d = 0; d < width; d += 2 * kTile) {
      _tile_loadd(7, pairs + d / 2 * kTile, kBytes);
      _tile_loadd(2, low + d, stride * sizeof(Half));
      _tile_loadd(3, high + d, stride * sizeof(Half));
      _tile_dpbf16ps(0, 2, 7);
      _tile_dpbf16ps(1, 3, 7);
    }
    _tile_stored(0, sums[0], kBytes);
    _tile_stored(1, sums[kTile], kBytes);
    for (int r = 0; r < kTile; ++r)
      for (int i = 0; i < 2 * kTile; ++i) products[r * kTokens + first + i] = to_bfloat(sums[i][r]);
  }
}

// sums[r] += products[r][row] * row, over kTokens rows: [16 ranks][width].
inline void tile_gather(const Half *rows, int64_t stride, const Half *products, int width, float *sums) {
  alignas(64) uint32_t pairs[2][kTile * kTile];
  auto near = [&](int row, int d) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(rows + row * stride + d));
  };
  _tile_loadd(2, products, kTokens * sizeof(Half));
  _tile_loadd(3, products + kTokens / 2, kTokens * sizeof(Half));
  for (int d = 0; d < width; d += kTile) {
    for (int p = 0; p < kTile; ++p)
      for (int half = 0; half < 2; ++half) {
        const int row = half * kTokens / 2 + 2 * p;
        at(pairs[half] + p * kTile) = interleaved(near(row, d), near(row + 1, d));
      }
    _tile_loadd(0, sums + d, width * sizeof(float));
    _tile_loadd(6, pairs[0], kBytes);
    _tile_dpbf16ps(0, 2, 6);
    _tile_loadd(7, pairs[1], kBytes);
    _tile_dpbf16ps(0, 3, 7);
    _tile_stored(0, sums + d, width * sizeof(float));
  }
}

// See low_rank_gradients; for what `fits_tiles`.
int tile_low_rank_gradients(const Half *x, const Half *grad, const float *down, const float *up,
                            float *grad_down, float *grad_up, int64_t rows, int64_t stride, LowRank shape) {
  const auto [in, out, rank] = shape;
  const int both = in + out;
  const size_t bytes = sizeof(float) * kTile * (both + both / 2);
  auto *sums = static_cast<float *>(std::aligned_alloc(64, bytes));
  if (!sums) return 1;
  std::memset(sums, 0, bytes);
  float *sums_b = sums + kTile * in;
  auto *a = reinterpret_cast<uint32_t *>(sums_b + kTile * out), *b = a + kTile * in / 2;
  pair_factor(down, 1, in, in, rank, a);
  pair_factor(up, rank, 1, out, rank, b);
  alignas(64) Half xa[kTile * kTokens], gb[kTile * kTokens];
  Tiles shaped;
  for (int64_t i = 0; i < rows; i += kTokens) {
    tile_project(x + i * in, in, a, in, xa);
    tile_project(grad + i * stride, stride, b, out, gb);
    tile_gather(x + i * in, in, gb, in, sums);
    tile_gather(grad + i * stride, stride, xa, out, sums_b);
  }
  std::memcpy(grad_down, sums, sizeof(float) * rank * in);
  for (int d = 0; d < out; ++d)
    for (int r = 0; r < rank; ++r) grad_up[d * rank + r] = sums_b[r * out + d];
  std::free(sums);
  return 0;
}

} // namespace

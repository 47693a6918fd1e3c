// Gradients of the two factors of a low-rank update, y += (x A^T) B^T with A [rank, in] and B [out, rank]:
// from the gradient g of y, those of A, (g B)^T x, and of B, g^T (x A^T).
//
// As four thin products they would read x and g twice each and leave most of every vector idle, since a
// rank is about 8. Here some rows of x and g at a time are used for all four while they are in a near cache.
// Sums are float32; x and g are of type T, float or bfloat16, their widths multiples of 32.

#pragma once

#include <algorithm>

#include "vectors.h"

namespace {

constexpr int kRanks = kLanes == 16 ? 8 : 4; // at a time: twice as many sums stay in registers
constexpr int kRowsNear = 16;                // of x and g that are used while they are near

// products[row][r] = row . factor[r] for kRanks rows of a factor [..][width].
template <typename T>
inline void project(const T *rows, int64_t stride, int count, const float *factor, int width, int ranks,
                    float *products) {
  for (int i = 0; i < count; i += 2) {
    const T *first = rows + i * stride, *second = i + 1 < count ? first + stride : first;
    Vec sums[kRanks][2] = {};
    for (int d = 0; d < width; d += kLanes) {
      Vec a = load(first + d), b = load(second + d);
      for (int r = 0; r < kRanks; ++r) {
        Vec f = load(factor + r * width + d);
        sums[r][0] += a * f;
        sums[r][1] += b * f;
      }
    }
    for (int r = 0; r < kRanks; ++r)
      for (int u = 0; u < 2; ++u) products[(i + u) * ranks + r] = total(sums[r][u]);
  }
}

// sums[r] += products[row][r] * row, over all rows, for kRanks rows of sums [..][width].
template <typename T>
inline void gather(const T *rows, int64_t stride, int count, const float *products, int width, int ranks,
                   float *sums) {
  for (int d = 0; d < width; d += 2 * kLanes) {
    Vec own[kRanks][2];
    for (int r = 0; r < kRanks; ++r)
      for (int u = 0; u < 2; ++u) own[r][u] = load(sums + r * width + d + u * kLanes);
    for (int i = 0; i < count; ++i) {
      Vec a = load(rows + i * stride + d), b = load(rows + i * stride + d + kLanes);
      __builtin_prefetch(rows + (i + count) * stride + d);
      if (sizeof(T) * 2 * kLanes > 64) __builtin_prefetch(rows + (i + count) * stride + d + kLanes);
      for (int r = 0; r < kRanks; ++r) {
        own[r][0] += products[i * ranks + r] * a;
        own[r][1] += products[i * ranks + r] * b;
      }
    }
    for (int r = 0; r < kRanks; ++r)
      for (int u = 0; u < 2; ++u) store(sums + r * width + d + u * kLanes, own[r][u]);
  }
}

struct LowRank {
  int in, out, rank; // widths of x and g, and of what lies between them
};

// `grad`'s rows lie `stride` numbers apart. Returns 1 when scratch memory could not be had, else 0.
template <typename T>
int low_rank_gradients(const T *x, const T *grad, const float *down, const float *up, float *grad_down,
                       float *grad_up, int64_t rows, int64_t stride, LowRank shape) {
  const auto [in, out, rank] = shape;
  const int ranks = (rank + kRanks - 1) / kRanks * kRanks; // the rest are zeros
  const size_t size = static_cast<size_t>(ranks) * (2 * (in + out) + 2 * kRowsNear);
  auto *scratch = static_cast<float *>(std::calloc(size, sizeof(float)));
  if (!scratch) return 1;
  float *a = scratch, *b = a + ranks * in, *sums_a = b + ranks * out, *sums_b = sums_a + ranks * in;
  float *xa = sums_b + ranks * out, *gb = xa + ranks * kRowsNear;
  std::memcpy(a, down, sizeof(float) * rank * in);
  for (int d = 0; d < out; ++d)
    for (int r = 0; r < rank; ++r) b[r * out + d] = up[d * rank + r];
  for (int64_t i = 0; i < rows; i += kRowsNear) {
    const int count = static_cast<int>(std::min<int64_t>(kRowsNear, rows - i));
    const T *own = x + i * in, *slope = grad + i * stride;
    for (int r = 0; r < ranks; r += kRanks) {
      project(own, in, count, a + r * in, in, ranks, xa + r);
      project(slope, stride, count, b + r * out, out, ranks, gb + r);
      gather(own, in, count, gb + r, in, ranks, sums_a + r * in);
      gather(slope, stride, count, xa + r, out, ranks, sums_b + r * out);
    }
  }
  std::memcpy(grad_down, sums_a, sizeof(float) * rank * in);
  for (int d = 0; d < out; ++d)
    for (int r = 0; r < rank; ++r) grad_up[d * rank + r] = sums_b[r * out + d];
  std::free(scratch);
  return 0;
}

} // namespace

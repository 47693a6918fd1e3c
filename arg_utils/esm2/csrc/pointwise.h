// What lies between the products of a transformer block, each in one pass over memory: the residual sum
// with the normalisation of it, and the GELU; forward and backward.
//
// Rows are [width], width a multiple of 16. The residual stream and its gradient are float32; what enters
// or leaves a product is of type T, float or bfloat16.

#pragma once

#include "vectors.h"

namespace {

// after = hidden + update, where `after` may be `hidden`; normed = (after - mean) / deviation * gain + bias.
// Keeps mean and 1 / deviation of each row in `moments` [rows, 2] where it is given.
template <typename T>
void add_norm_rows(const float *hidden, const T *update, const float *gain, const float *bias,
                   float *after, T *normed, float *moments, int64_t rows, int width, float epsilon) {
  for (int64_t i = 0; i < rows; ++i) {
    float *x = after + i * width;
    Vec sum = {}, squares = {};
    for (int d = 0; d < width; d += kLanes) {
      Vec value = load(hidden + i * width + d) + load(update + i * width + d);
      store(x + d, value);
      sum += value;
    }
    const float mean = total(sum) / width;
    for (int d = 0; d < width; d += kLanes) {
      Vec centred = load(x + d) - mean;
      squares += centred * centred;
    }
    const float scale = 1.0f / std::sqrt(total(squares) / width + epsilon);
    for (int d = 0; d < width; d += kLanes)
      store(normed + i * width + d, (load(x + d) - mean) * scale * load(gain + d) + load(bias + d));
    if (moments) moments[2 * i] = mean, moments[2 * i + 1] = scale;
  }
}

// grad_hidden = grad_after + the gradient that comes through the normalisation; grad_update: that as T.
template <typename T>
void add_norm_backward_rows(const float *after, const float *moments, const float *gain,
                            const float *grad_after, const T *grad_normed, float *grad_hidden,
                            T *grad_update, int64_t rows, int width) {
  for (int64_t i = 0; i < rows; ++i) {
    const float mean = moments[2 * i], scale = moments[2 * i + 1];
    const float *x = after + i * width;
    const T *g = grad_normed + i * width;
    Vec sum = {}, product = {};
    for (int d = 0; d < width; d += kLanes) {
      Vec slope = load(g + d) * load(gain + d);
      sum += slope;
      product += slope * (load(x + d) - mean);
    }
    const float shift = total(sum) / width, tilt = total(product) / width * scale * scale;
    for (int d = 0; d < width; d += kLanes) {
      Vec slope = load(g + d) * load(gain + d) - shift - (load(x + d) - mean) * tilt;
      Vec value = load(grad_after + i * width + d) + slope * scale;
      store(grad_hidden + i * width + d, value);
      store(grad_update + i * width + d, value);
    }
  }
}

// Tail of the normal distribution, 1 - Phi(x), for x >= 0: 2 to the power of a polynomial, fitted to
// log2(1 - Phi) on [0, 6]; x times its absolute error stays below 6e-8.
inline Vec normal_tail(Vec x) {
  Vec y = min(x, splat(6.0f));
  Vec p = -1.8003961e-6f * y + 2.6637481e-5f;
  p = p * y - 1.2341513e-4f;
  p = p * y - 2.9613086e-4f;
  p = p * y + 7.2861961e-3f;
  p = p * y - 5.2667107e-2f;
  p = p * y - 4.5914131e-1f;
  p = p * y - 1.1511164f;
  p = p * y - 0.99999952f;
  return exp2_negative(p);
}

// x Phi(x), since Phi(-x) = 1 - Phi(x).
inline Vec gelu(Vec x) {
  Vec size = magnitude(x);
  return max(x, Vec{}) - size * normal_tail(size);
}

inline Vec gelu_slope(Vec x) { // Phi(x) + x phi(x)
  Vec tail = normal_tail(magnitude(x)), zero = {};
  Vec density = 0.39894228f * exp2_negative(x * x * (-0.5f * kLog2E));
  return (x > zero ? 1.0f - tail : tail) + x * density;
}

template <typename T> void gelu_all(const T *x, T *y, int64_t count) {
  for (int64_t i = 0; i < count; i += kLanes) store(y + i, gelu(load(x + i)));
}

template <typename T> void gelu_backward_all(const T *x, const T *grad, T *out, int64_t count) {
  for (int64_t i = 0; i < count; i += kLanes) store(out + i, load(grad + i) * gelu_slope(load(x + i)));
}

} // namespace

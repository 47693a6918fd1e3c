// What Python calls (through ctypes), one form of it a compilation: see arg_utils/esm2/kernel.py for the forms.
//
// Nothing here starts threads. A call takes tasks (heads of sequences) off a counter until none is left,
// so several threads that call with the same counter share the work, and none waits for another.

#include <type_traits>

#include "attention.h"
#include "low_rank.h"
#include "pointwise.h"

#if defined(__AMX_BF16__) && defined(__AVX512BF16__) && defined(__linux__)
#define ATTENTION_TILES
#include "low_rank_amx.h"
#endif

namespace {

// Run `body` for the heads of sequences that the counter gives, with `rows` padded rows of scratch.
template <typename T, typename Body>
int for_each_head(const T *qkv, const int64_t *starts, int sequences, int heads, int longest, int rows,
                  int64_t *next, Body body) {
  const int64_t padded = (longest + kBlockKeys - 1) / kBlockKeys * kBlockKeys;
  auto *scratch = static_cast<float *>(std::aligned_alloc(64, sizeof(float) * rows * padded));
  if (!scratch) return 1;
  constexpr int64_t kAtOnce = 4;
  const int64_t tasks = static_cast<int64_t>(sequences) * heads;
  for (int64_t task; (task = __atomic_fetch_add(next, kAtOnce, __ATOMIC_RELAXED)) < tasks;)
    for (int64_t end = task + kAtOnce; task < end && task < tasks; ++task) {
      const int64_t first = starts[task / heads];
      const int length = static_cast<int>(starts[task / heads + 1] - first);
      const int own = (length + kBlockKeys - 1) / kBlockKeys * kBlockKeys;
      const int head = static_cast<int>(task % heads);
      body(Head<T>{qkv + first * 3 * heads * kDim, length, own, heads, head}, first, scratch);
    }
  std::free(scratch);
  return 0;
}

constexpr int kForwardScratch = 2 * kDim + 12; // rows of scratch that any of them needs
constexpr int kBackwardScratch = 5 * kDim + 12;

template <typename T>
int forward(const void *qkv, void *out, float *lse, Tables rotary, const int64_t *starts, int sequences,
            int heads, float scale, int longest, int64_t *next) {
  return for_each_head(
      static_cast<const T *>(qkv), starts, sequences, heads, longest, kForwardScratch, next,
      [&](const Head<T> &h, int64_t first, float *scratch) {
        T *place = static_cast<T *>(out) + first * heads * kDim;
#ifdef ATTENTION_TILES
        if constexpr (std::is_same_v<T, Half>)
          if (has_tiles()) return tile_forward_head(h, rotary, scale, place, lse ? lse + first * heads : nullptr, scratch);
#endif
        forward_head(h, rotary, scale, place, lse ? lse + first * heads : nullptr, scratch);
      });
}

template <typename T>
int backward(const void *qkv, const void *out, const void *grad_out, const float *lse, void *grad_qkv,
             Tables rotary, const int64_t *starts, int sequences, int heads, float scale, int longest,
             int64_t *next) {
  return for_each_head(
      static_cast<const T *>(qkv), starts, sequences, heads, longest, kBackwardScratch, next,
      [&](const Head<T> &h, int64_t first, float *scratch) {
        const int64_t offset = first * heads * kDim;
        const T *y = static_cast<const T *>(out) + offset, *g = static_cast<const T *>(grad_out) + offset;
        T *place = static_cast<T *>(grad_qkv) + 3 * offset;
        const float *sums = lse + first * heads;
#ifdef ATTENTION_TILES
        if constexpr (std::is_same_v<T, Half>)
          if (has_tiles()) return tile_backward_head(h, rotary, scale, y, g, sums, place, scratch);
#endif
        backward_head(h, rotary, scale, y, g, sums, place, scratch);
      });
}

} // namespace

// All pointers to numbers of the type that `is_bfloat` tells, unless they are float* here. Those that return
// an int return 0, or 1 when scratch memory could not be had (the outputs are then undefined).
extern "C" {

int attention_forward(const void *qkv, void *out, float *lse, const float *cosine, const float *sine,
                      const int64_t *starts, int64_t *next, int sequences, int heads, float scale,
                      int longest, int is_bfloat) {
  auto run = is_bfloat ? forward<Half> : forward<float>;
  return run(qkv, out, lse, Tables{cosine, sine}, starts, sequences, heads, scale, longest, next);
}

int attention_backward(const void *qkv, const void *out, const void *grad_out, const float *lse,
                       void *grad_qkv, const float *cosine, const float *sine, const int64_t *starts,
                       int64_t *next, int sequences, int heads, float scale, int longest,
                       int is_bfloat) {
  auto run = is_bfloat ? backward<Half> : backward<float>;
  return run(qkv, out, grad_out, lse, grad_qkv, Tables{cosine, sine}, starts, sequences, heads, scale,
             longest, next);
}

void add_norm_forward(const float *hidden, const void *update, const float *gain, const float *bias,
                      float *after, void *normed, float *moments, int64_t rows, int width,
                      float epsilon, int is_bfloat) {
  auto run = [&](auto *as) {
    using T = std::remove_pointer_t<decltype(as)>;
    add_norm_rows(hidden, static_cast<const T *>(update), gain, bias, after, static_cast<T *>(normed),
                  moments, rows, width, epsilon);
  };
  is_bfloat ? run(static_cast<Half *>(nullptr)) : run(static_cast<float *>(nullptr));
}

void add_norm_backward(const float *after, const float *moments, const float *gain,
                       const float *grad_after, const void *grad_normed, float *grad_hidden,
                       void *grad_update, int64_t rows, int width, int is_bfloat) {
  auto run = [&](auto *as) {
    using T = std::remove_pointer_t<decltype(as)>;
    add_norm_backward_rows(after, moments, gain, grad_after, static_cast<const T *>(grad_normed),
                           grad_hidden, static_cast<T *>(grad_update), rows, width);
  };
  is_bfloat ? run(static_cast<Half *>(nullptr)) : run(static_cast<float *>(nullptr));
}

void gelu_forward(const void *x, void *y, int64_t count, int is_bfloat) {
  auto run = [&](auto *as) {
    using T = std::remove_pointer_t<decltype(as)>;
    gelu_all(static_cast<const T *>(x), static_cast<T *>(y), count);
  };
  is_bfloat ? run(static_cast<Half *>(nullptr)) : run(static_cast<float *>(nullptr));
}

void gelu_backward(const void *x, const void *grad, void *out, int64_t count, int is_bfloat) {
  auto run = [&](auto *as) {
    using T = std::remove_pointer_t<decltype(as)>;
    gelu_backward_all(static_cast<const T *>(x), static_cast<const T *>(grad), static_cast<T *>(out),
                      count);
  };
  is_bfloat ? run(static_cast<Half *>(nullptr)) : run(static_cast<float *>(nullptr));
}

int lora_gradients(const void *x, const void *grad, const float *down, const float *up, float *grad_down,
                   float *grad_up, int64_t rows, int64_t stride, int in, int out, int rank, int is_bfloat) {
  auto run = [&](auto *as) {
    using T = std::remove_pointer_t<decltype(as)>;
    const auto *own = static_cast<const T *>(x), *slope = static_cast<const T *>(grad);
    const LowRank shape{in, out, rank};
#ifdef ATTENTION_TILES
    if constexpr (std::is_same_v<T, Half>)
      if (has_tiles() && fits_tiles(rows, shape))
        return tile_low_rank_gradients(own, slope, down, up, grad_down, grad_up, rows, stride, shape);
#endif
    return low_rank_gradients(own, slope, down, up, grad_down, grad_up, rows, stride, shape);
  };
  return is_bfloat ? run(static_cast<Half *>(nullptr)) : run(static_cast<float *>(nullptr));
}

} // extern "C"

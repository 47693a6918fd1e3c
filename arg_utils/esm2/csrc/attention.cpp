// Self-attention over packed sequences for heads that are 16 wide, as in ESM-2 8M: forward and backward.
//
// Why: a 16-wide head leaves library kernels little work per score, so they spend their time on moving
// scores. Here one 512-bit vector is one head row, queries are taken six (backward: four) at a time
// against all keys of one sequence, and scores never leave the first-level cache. Rotary embedding is
// applied while rows are loaded, so no rotated copy of q or k is written. The online form is not needed:
// a row of scores (up to some thousand keys) fits the cache. Backward recomputes scores from the saved
// log-sum-exp, as in FlashAttention (Dao et al. 2022, arXiv:2205.14135).
//
// Layout: qkv is [tokens, 3, heads, 16] and out is [tokens, heads, 16], both row-major, float32 or
// bfloat16. Sequence b is rows starts[b] .. starts[b+1]. Arithmetic is float32 here, in GCC's and Clang's
// vector extensions, which the compiler maps to AVX-512, AVX2 or NEON; where the processor has bfloat16 dot
// products, attention_bf16.h takes over what comes in bfloat16, and attention_amx.h where it has tiles.

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

namespace {

constexpr int kDim = 16;   // width of a head
constexpr int kHalf = 8;   // rotary rotates dimension d with d + 8
constexpr int kLanes = 16; // floats in a vector
constexpr float kLog2E = 1.44269504f; // scores are kept in units of log 2

typedef float Vec __attribute__((vector_size(64)));
typedef int32_t IntVec __attribute__((vector_size(64)));

inline Vec splat(float value) { return Vec{} + value; }
inline Vec &at(float *p) { return *reinterpret_cast<Vec *>(p); }

inline float to_float(uint16_t half) {
  uint32_t bits = static_cast<uint32_t>(half) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

inline uint16_t to_bfloat(float value) { // round to nearest even
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

inline void load(const float *p, float *x) { std::memcpy(x, p, kDim * sizeof(float)); }
inline void load(const uint16_t *p, float *x) {
  for (int d = 0; d < kDim; ++d) x[d] = to_float(p[d]);
}
inline void store(float *p, const float *x) { std::memcpy(p, x, kDim * sizeof(float)); }
inline void store(uint16_t *p, const float *x) {
  for (int d = 0; d < kDim; ++d) p[d] = to_bfloat(x[d]);
}

// Rotary embedding of one row; sign = -1 undoes it.
inline void rotate(float *x, const float *cosine, const float *sine, float sign) {
  for (int d = 0; d < kHalf; ++d) {
    float a = x[d], b = x[d + kHalf], s = sign * sine[d];
    x[d] = a * cosine[d] - b * s;
    x[d + kHalf] = b * cosine[d] + a * s;
  }
}

// 2^x for x <= 0: 2^n times a polynomial for 2^r, |r| <= 1/2; relative error below 3e-7.
// Adding 1.5 * 2^23 rounds to the nearest n and leaves it in the lowest bits.
inline Vec exp2_negative(Vec x) {
  Vec lowest = splat(-126.0f), magic = splat(12582912.0f);
  Vec y = x > lowest ? x : lowest;
  Vec shifted = y + magic, r = y - (shifted - magic);
  Vec p = 1.3333558e-3f * r + 9.6181291e-3f;
  p = p * r + 5.5504109e-2f;
  p = p * r + 2.4022651e-1f;
  p = p * r + 6.9314718e-1f;
  p = p * r + 1.0f;
  return reinterpret_cast<Vec>(reinterpret_cast<IntVec>(p) +
                               (reinterpret_cast<IntVec>(shifted) << 23));
}

inline Vec negative(Vec x) { // recomputed scores may lie above their log-sum by rounding
  Vec zero = {};
  return x < zero ? x : zero;
}

inline float highest(Vec v) {
  float m = v[0];
  for (int i = 1; i < kLanes; ++i) m = v[i] > m ? v[i] : m;
  return m;
}

inline float total(Vec v) {
  float s = v[0];
  for (int i = 1; i < kLanes; ++i) s += v[i];
  return s;
}

struct Tables {
  const float *cosine, *sine; // [longest, 8]
};

// One head of one sequence: where its rows lie, and how many there are.
template <typename T> struct Head {
  const T *qkv;
  int length, padded, heads, head;
  const T *row(int token, int part) const {
    return qkv + (static_cast<int64_t>(token) * 3 + part) * heads * kDim + head * kDim;
  }
};

// Rows of part `part` as columns: out[d * padded + j]; rows past the end are zero.
template <typename T>
void load_columns(const Head<T> &h, int part, const Tables *rotary, float *columns, float *rows) {
  float x[kDim];
  for (int j = 0; j < h.padded; ++j) {
    if (j < h.length) {
      load(h.row(j, part), x);
      if (rotary) rotate(x, rotary->cosine + j * kHalf, rotary->sine + j * kHalf, 1.0f);
    } else {
      std::memset(x, 0, sizeof x);
    }
    if (columns)
      for (int d = 0; d < kDim; ++d) columns[d * h.padded + j] = x[d];
    if (rows) std::memcpy(rows + j * kDim, x, sizeof x);
  }
}

template <typename T>
inline void load_query(const Head<T> &h, int i, const Tables &rotary, float scale, float *q) {
  int token = i < h.length ? i : h.length - 1; // the last block repeats its last row; not stored
  load(h.row(token, 0), q);
  rotate(q, rotary.cosine + token * kHalf, rotary.sine + token * kHalf, 1.0f);
  for (int d = 0; d < kDim; ++d) q[d] *= scale * kLog2E;
}

constexpr int kForwardRows = 6;

template <int kColumns>
inline void score_tile(const float (*q)[kDim], float *keys, int padded, int j, float *scores) {
  Vec tile[kForwardRows][kColumns] = {};
  for (int d = 0; d < kDim; ++d)
    for (int c = 0; c < kColumns; ++c) {
      Vec k = at(keys + d * padded + j + c * kLanes);
      for (int r = 0; r < kForwardRows; ++r) tile[r][c] += q[r][d] * k;
    }
  for (int r = 0; r < kForwardRows; ++r)
    for (int c = 0; c < kColumns; ++c) at(scores + r * padded + j + c * kLanes) = tile[r][c];
}

// Powers of 2 of scores go to keep(j, 16 of them); returns their sum, sets its log (base 2).
template <typename Keep>
inline float softmax_row(float *row, int length, int padded, float *lse, Keep keep) {
  for (int j = length; j < padded; ++j) row[j] = -INFINITY;
  Vec top = at(row), sum = {};
  for (int j = kLanes; j < padded; j += kLanes) top = at(row + j) > top ? at(row + j) : top;
  const float shift = highest(top);
  for (int j = 0; j < padded; j += kLanes) {
    Vec p = exp2_negative(at(row + j) - shift);
    sum += p;
    keep(j, p); // 2^-126 past the end: nothing in a sum
  }
  const float z = total(sum);
  *lse = shift + std::log2(z);
  return z;
}

template <typename T>
void forward_head(const Head<T> &h, const Tables &rotary, float scale, T *out, float *lse,
                  float *scratch) {
  float *keys = scratch, *values = keys + kDim * h.padded, *scores = values + kDim * h.padded;
  load_columns(h, 1, &rotary, keys, nullptr);
  load_columns(h, 2, nullptr, nullptr, values);
  for (int i = 0; i < h.length; i += kForwardRows) {
    float q[kForwardRows][kDim], sums[kForwardRows], row_lse;
    for (int r = 0; r < kForwardRows; ++r) load_query(h, i + r, rotary, scale, q[r]);
    int j = 0;
    for (; j + 2 * kLanes <= h.padded; j += 2 * kLanes) score_tile<2>(q, keys, h.padded, j, scores);
    if (j < h.padded) score_tile<1>(q, keys, h.padded, j, scores);
    for (int r = 0; r < kForwardRows; ++r) {
      float *row = scores + r * h.padded;
      sums[r] = softmax_row(row, h.length, h.padded, &row_lse, [&](int j, Vec p) { at(row + j) = p; });
      if (i + r < h.length) lse[static_cast<int64_t>(i + r) * h.heads + h.head] = row_lse;
    }
    Vec mixed[kForwardRows][4] = {};
    for (j = 0; j < h.padded; j += 4)
      for (int u = 0; u < 4; ++u) {
        Vec v = at(values + (j + u) * kDim);
        for (int r = 0; r < kForwardRows; ++r) mixed[r][u] += scores[r * h.padded + j + u] * v;
      }
    for (int r = 0; r < kForwardRows && i + r < h.length; ++r) {
      Vec y = ((mixed[r][0] + mixed[r][1]) + (mixed[r][2] + mixed[r][3])) * (1.0f / sums[r]);
      store(out + (static_cast<int64_t>(i + r) * h.heads + h.head) * kDim,
            reinterpret_cast<float *>(&y));
    }
  }
}

constexpr int kBackwardRows = 4;

template <typename T>
void backward_head(const Head<T> &h, const Tables &rotary, float scale, const T *out,
                   const T *grad_out, const float *lse, T *grad_qkv, float *scratch) {
  const int n = h.padded, R = kBackwardRows;
  float *keys = scratch, *values = keys + kDim * n, *key_rows = values + kDim * n;
  float *grad_k = key_rows + kDim * n, *grad_v = grad_k + kDim * n;
  float *weights = grad_v + kDim * n, *grad_s = weights + R * n;
  load_columns(h, 1, &rotary, keys, key_rows);
  load_columns(h, 2, nullptr, values, nullptr);
  std::memset(grad_k, 0, sizeof(float) * 2 * kDim * n);
  auto grad_row = [&](int token, int part) {
    return grad_qkv + (static_cast<int64_t>(token) * 3 + part) * h.heads * kDim + h.head * kDim;
  };
  for (int i = 0; i < h.length; i += R) {
    alignas(64) float q[kBackwardRows][kDim], g[kBackwardRows][kDim];
    float y[kDim], delta[kBackwardRows], shift[kBackwardRows];
    for (int r = 0; r < R; ++r) {
      load_query(h, i + r, rotary, scale, q[r]);
      int token = i + r < h.length ? i + r : h.length - 1;
      int64_t row = static_cast<int64_t>(token) * h.heads + h.head;
      load(grad_out + row * kDim, g[r]);
      load(out + row * kDim, y);
      shift[r] = lse[row];
      delta[r] = 0.0f;
      if (i + r >= h.length) std::memset(g[r], 0, sizeof g[r]); // a repeated row gives no gradient
      for (int d = 0; d < kDim; ++d) delta[r] += g[r][d] * y[d];
    }
    for (int j = 0; j < n; j += kLanes) {
      Vec s[kBackwardRows] = {}, gp[kBackwardRows] = {};
      for (int d = 0; d < kDim; ++d) {
        Vec k = at(keys + d * n + j), v = at(values + d * n + j);
        for (int r = 0; r < R; ++r) s[r] += q[r][d] * k, gp[r] += g[r][d] * v;
      }
      for (int r = 0; r < R; ++r) {
        Vec p = exp2_negative(negative(s[r] - shift[r])), zero = {};
        at(weights + r * n + j) = i + r < h.length ? p : zero;
        at(grad_s + r * n + j) = p * (gp[r] - delta[r]);
      }
    }
    Vec grad_q[kBackwardRows] = {};
    for (int j = 0; j < h.length; ++j) {
      Vec k = at(key_rows + j * kDim), gk = at(grad_k + j * kDim), gv = at(grad_v + j * kDim);
      for (int r = 0; r < R; ++r) {
        float gs = grad_s[r * n + j];
        grad_q[r] += gs * k;
        gk += gs * *reinterpret_cast<Vec *>(q[r]);
        gv += weights[r * n + j] * *reinterpret_cast<Vec *>(g[r]);
      }
      at(grad_k + j * kDim) = gk;
      at(grad_v + j * kDim) = gv;
    }
    for (int r = 0; r < R && i + r < h.length; ++r) {
      Vec gq = grad_q[r] * scale;
      float *x = reinterpret_cast<float *>(&gq);
      rotate(x, rotary.cosine + (i + r) * kHalf, rotary.sine + (i + r) * kHalf, -1.0f);
      store(grad_row(i + r, 0), x);
    }
  }
  for (int j = 0; j < h.length; ++j) {
    at(grad_k + j * kDim) *= 1.0f / kLog2E;
    rotate(grad_k + j * kDim, rotary.cosine + j * kHalf, rotary.sine + j * kHalf, -1.0f);
    store(grad_row(j, 1), grad_k + j * kDim);
    store(grad_row(j, 2), grad_v + j * kDim);
  }
}

} // namespace

#ifdef __AVX512BF16__
#include "attention_bf16.h" // overloads for bfloat16 of the two functions above
#endif
#if defined(__AMX_BF16__) && defined(__AVX512BF16__) && defined(__linux__)
#define ATTENTION_TILES
#include "attention_amx.h" // and another forward for bfloat16
#endif

namespace {

// Run `body` for every head of every sequence, each thread with its own scratch of `rows` padded rows.
template <typename T, typename Body>
int for_each_head(const T *qkv, const int64_t *starts, int sequences, int heads, int longest, int rows,
                  Body body) {
  const int padded = (longest + kLanes - 1) / kLanes * kLanes;
  int failed = 0;
#pragma omp parallel reduction(| : failed)
  {
    auto *scratch = static_cast<float *>(std::aligned_alloc(64, sizeof(float) * rows * padded));
    failed = scratch == nullptr;
#pragma omp for schedule(dynamic, 4)
    for (int task = 0; task < sequences * heads; ++task) {
      if (failed) continue;
      const int64_t first = starts[task / heads];
      const int length = static_cast<int>(starts[task / heads + 1] - first);
      const int own = (length + kLanes - 1) / kLanes * kLanes;
      body(Head<T>{qkv + first * 3 * heads * kDim, length, own, heads, task % heads}, first, scratch);
    }
    std::free(scratch);
  }
  return failed;
}

constexpr int kForwardScratch = 2 * kDim + 8; // rows of scratch that any of them needs
constexpr int kBackwardScratch = 5 * kDim + 12;

template <typename T>
int forward(const void *qkv, void *out, float *lse, Tables rotary, const int64_t *starts, int sequences,
            int heads, float scale, int longest) {
  return for_each_head(
      static_cast<const T *>(qkv), starts, sequences, heads, longest, kForwardScratch,
      [&](const Head<T> &h, int64_t first, float *scratch) {
        T *place = static_cast<T *>(out) + first * heads * kDim;
#ifdef ATTENTION_TILES
        if constexpr (std::is_same_v<T, Half>)
          if (has_tiles()) return tile_forward_head(h, rotary, scale, place, lse + first * heads, scratch);
#endif
        forward_head(h, rotary, scale, place, lse + first * heads, scratch);
      });
}

template <typename T>
int backward(const void *qkv, const void *out, const void *grad_out, const float *lse, void *grad_qkv,
             Tables rotary, const int64_t *starts, int sequences, int heads, float scale, int longest) {
  return for_each_head(
      static_cast<const T *>(qkv), starts, sequences, heads, longest, kBackwardScratch,
      [&](const Head<T> &h, int64_t first, float *scratch) {
        const int64_t offset = first * heads * kDim;
        backward_head(h, rotary, scale, static_cast<const T *>(out) + offset,
                      static_cast<const T *>(grad_out) + offset, lse + first * heads,
                      static_cast<T *>(grad_qkv) + 3 * offset, scratch);
      });
}

} // namespace

// Both return 0, or 1 when scratch memory could not be had (the outputs are then undefined).
extern "C" int attention_forward(const void *qkv, void *out, float *lse, const float *cosine,
                                 const float *sine, const int64_t *starts, int sequences, int heads,
                                 float scale, int longest, int is_bfloat) {
  auto run = is_bfloat ? forward<uint16_t> : forward<float>;
  return run(qkv, out, lse, Tables{cosine, sine}, starts, sequences, heads, scale, longest);
}

extern "C" int attention_backward(const void *qkv, const void *out, const void *grad_out,
                                  const float *lse, void *grad_qkv, const float *cosine,
                                  const float *sine, const int64_t *starts, int sequences, int heads,
                                  float scale, int longest, int is_bfloat) {
  auto run = is_bfloat ? backward<uint16_t> : backward<float>;
  return run(qkv, out, grad_out, lse, grad_qkv, Tables{cosine, sine}, starts, sequences, heads, scale,
             longest);
}

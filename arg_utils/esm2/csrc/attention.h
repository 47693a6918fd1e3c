// Self-attention over packed sequences for heads that are 16 wide, as in ESM-2 8M: forward and backward.
//
// Why: a 16-wide head leaves library kernels little work per score, so they spend their time on moving
// scores. Here queries are taken six (backward: four) at a time against all keys of one sequence, and
// scores stay in the nearest caches. Rotary embedding is applied while rows are loaded, so no rotated copy
// of q or k is written. The online form is not needed: a row of scores (up to some thousand keys) fits the
// cache. Backward recomputes scores from the saved log-sum-exp, as in FlashAttention (Dao et al. 2022,
// arXiv:2205.14135).
//
// Layout: qkv is [tokens, 3, heads, 16] and out is [tokens, heads, 16], both row-major, float32 or
// bfloat16. Sequence b is rows starts[b] .. starts[b+1]. Arithmetic here is float32 in either case, for any
// processor: dot products of bfloat16 numbers (AVX512-BF16) were tried and are no faster, since a 16-wide
// head leaves as many instructions to pair numbers as it saves. attention_amx.h takes over where there are
// tiles.

#pragma once

#include "vectors.h"

namespace {

constexpr int kDim = 16;             // width of a head
constexpr int kHalf = 8;             // rotary rotates dimension d with d + 8
constexpr int kParts = kDim / kLanes; // vectors in a head row
constexpr int kBlockKeys = 32;       // sequences are padded to a multiple of this many keys
constexpr int kColumns = kLanes == 4 ? 4 : 2; // vectors of keys at a time: all sums stay in registers
constexpr int kTileKeys = kColumns * kLanes;

struct Tables {
  const float *cosine, *sine; // [longest, 8]
};

template <typename T> inline void load_row(const T *p, float *x) {
  __builtin_prefetch(p + kDim); // the next head's
  for (int d = 0; d < kDim; d += kLanes) store(x + d, load(p + d));
}
template <typename T> inline void store_row(T *p, const float *x) {
  for (int d = 0; d < kDim; d += kLanes) store(p + d, load(x + d));
}

// One head of one sequence: where its rows lie, and how many there are.
template <typename T> struct Head {
  const T *qkv;
  int length, padded, heads, head;
  const T *row(int token, int part) const {
    return qkv + (static_cast<int64_t>(token) * 3 + part) * heads * kDim + head * kDim;
  }
};

// Rotary embedding of one row; sign = -1 undoes it.
inline void rotate(float *x, const float *cosine, const float *sine, float sign) {
  for (int d = 0; d < kHalf; ++d) {
    float a = x[d], b = x[d + kHalf], s = sign * sine[d];
    x[d] = a * cosine[d] - b * s;
    x[d + kHalf] = b * cosine[d] + a * s;
  }
}

inline Vec negative(Vec x) { return min(x, Vec{}); } // recomputed scores may lie above their log-sum

// Where dimension d of key j lies among columns: those of kTileKeys keys lie together, since columns of a
// whole sequence would fall on the same sets of the nearest cache.
inline int64_t column(int d, int j) { return (j / kTileKeys * kDim + d) * kTileKeys + j % kTileKeys; }

// Queries, keys or values (`which`: 0 to 2) as columns, and as rows, where wanted; zero past the end. Rows
// lie in parts of a vector each, rows[part][j]: what a loop over keys reads is all that it brings near.
template <typename T>
void load_columns(const Head<T> &h, int which, const Tables *rotary, float *columns, float *rows) {
  float x[kDim];
  for (int j = 0; j < h.padded; ++j) {
    if (j < h.length) {
      load_row(h.row(j, which), x);
      if (rotary) rotate(x, rotary->cosine + j * kHalf, rotary->sine + j * kHalf, 1.0f);
    } else {
      std::memset(x, 0, sizeof x);
    }
    if (columns)
      for (int d = 0; d < kDim; ++d) columns[column(d, j)] = x[d];
    if (rows)
      for (int part = 0; part < kParts; ++part)
        store(rows + (part * h.padded + j) * kLanes, load(x + part * kLanes));
  }
}

template <typename T>
inline void load_query(const Head<T> &h, int i, const Tables &rotary, float scale, float *q) {
  int token = i < h.length ? i : h.length - 1; // the last block repeats its last row; not stored
  load_row(h.row(token, 0), q);
  rotate(q, rotary.cosine + token * kHalf, rotary.sine + token * kHalf, 1.0f);
  for (int d = 0; d < kDim; ++d) q[d] *= scale * kLog2E;
}

constexpr int kForwardRows = 6;
constexpr int kUnroll = kLanes == 16 ? 4 : 1;  // sums of one output: hide latency
constexpr int kAtOnce = kParts < 2 ? 1 : 2;    // vectors of an output: as many sums as there are registers

// Products of rows with kTileKeys columns from key j on: scores[row * padded + j ..].
template <int Rows>
inline void score_tile(const float (*rows)[kDim], float *keys, int padded, int j, float *scores) {
  Vec tile[Rows][kColumns] = {};
  for (int d = 0; d < kDim; ++d) {
    Vec k[kColumns];
    for (int c = 0; c < kColumns; ++c) k[c] = at(keys + column(d, j) + c * kLanes);
    for (int r = 0; r < Rows; ++r) // keys inside: one number of a row at a time takes a register
      for (int c = 0; c < kColumns; ++c) tile[r][c] += rows[r][d] * k[c];
  }
  for (int r = 0; r < Rows; ++r)
    for (int c = 0; c < kColumns; ++c) at(scores + r * padded + j + c * kLanes) = tile[r][c];
}

// A row of scores becomes powers of 2 of what they are above the highest; returns the sum of those.
inline float softmax_row(float *row, int length, int padded, float *highest_score) {
  for (int j = length; j < padded; ++j) row[j] = -INFINITY;
  Vec tops[2] = {at(row), at(row)}, sum = {}; // two: hide latency
  for (int j = 0; j < padded; j += 2 * kLanes)
    for (int u = 0; u < 2; ++u) tops[u] = max(at(row + j + u * kLanes), tops[u]);
  const float shift = *highest_score = highest(max(tops[0], tops[1]));
  for (int j = 0; j < padded; j += kLanes) {
    Vec p = exp2_negative(at(row + j) - shift);
    sum += p;
    at(row + j) = p; // at most 2^-126 past the end: nothing in a sum
  }
  return total(sum);
}

template <typename T>
void forward_head(const Head<T> &h, const Tables &rotary, float scale, T *out, float *lse,
                  float *scratch) {
  float *keys = scratch, *values = keys + kDim * h.padded, *scores = values + kDim * h.padded;
  load_columns(h, 1, &rotary, keys, nullptr);
  load_columns(h, 2, nullptr, nullptr, values);
  for (int i = 0; i < h.length; i += kForwardRows) {
    float q[kForwardRows][kDim], sums[kForwardRows], shift;
    for (int r = 0; r < kForwardRows; ++r) load_query(h, i + r, rotary, scale, q[r]);
    for (int j = 0; j < h.padded; j += kTileKeys) score_tile<kForwardRows>(q, keys, h.padded, j, scores);
    for (int r = 0; r < kForwardRows; ++r) {
      float *row = scores + r * h.padded;
      sums[r] = softmax_row(row, h.length, h.padded, &shift);
      if (lse && i + r < h.length)
        lse[static_cast<int64_t>(i + r) * h.heads + h.head] = shift + std::log2(sums[r]);
    }
    for (int part = 0; part < kParts; part += kAtOnce) {
      Vec mixed[kForwardRows][kAtOnce][kUnroll] = {};
      for (int j = 0; j < h.padded; j += kUnroll)
        for (int u = 0; u < kUnroll; ++u) {
          Vec v[kAtOnce];
          for (int a = 0; a < kAtOnce; ++a) v[a] = at(values + ((part + a) * h.padded + j + u) * kLanes);
          for (int r = 0; r < kForwardRows; ++r)
            for (int a = 0; a < kAtOnce; ++a) mixed[r][a][u] += scores[r * h.padded + j + u] * v[a];
        }
      for (int r = 0; r < kForwardRows && i + r < h.length; ++r)
        for (int a = 0; a < kAtOnce; ++a) {
          Vec y = mixed[r][a][0];
          for (int u = 1; u < kUnroll; ++u) y += mixed[r][a][u];
          store(out + (static_cast<int64_t>(i + r) * h.heads + h.head) * kDim + (part + a) * kLanes,
                y * (1.0f / sums[r]));
        }
    }
  }
}

constexpr int kBackwardRows = 4;

// What a block of queries needs in backward: rows, gradients of their outputs, and sums over keys.
struct QueryBlock {
  alignas(64) float q[kBackwardRows][kDim], g[kBackwardRows][kDim];
  float shift[kBackwardRows], delta[kBackwardRows];
};

template <typename T>
inline void load_block(const Head<T> &h, int i, const Tables &rotary, float scale, const T *out,
                       const T *grad_out, const float *lse, QueryBlock &b) {
  for (int r = 0; r < kBackwardRows; ++r) {
    load_query(h, i + r, rotary, scale, b.q[r]);
    int token = i + r < h.length ? i + r : h.length - 1;
    int64_t row = static_cast<int64_t>(token) * h.heads + h.head;
    float y[kDim];
    load_row(grad_out + row * kDim, b.g[r]);
    load_row(out + row * kDim, y);
    b.shift[r] = lse[row];
    b.delta[r] = 0.0f;
    if (i + r >= h.length) std::memset(b.g[r], 0, sizeof b.g[r]); // a repeated row gives no gradient
    for (int d = 0; d < kDim; ++d) b.delta[r] += b.g[r][d] * y[d];
  }
}

// Probabilities, and gradients of scores, of a block of queries with all keys: [kBackwardRows][n] each.
inline void gradient_rows(const QueryBlock &b, int rows, float *keys, float *values, int n,
                          float *weights, float *grad_s) {
  for (int j = 0; j < n; j += kTileKeys) {
    score_tile<kBackwardRows>(b.q, keys, n, j, weights);
    score_tile<kBackwardRows>(b.g, values, n, j, grad_s);
    for (int r = 0; r < kBackwardRows; ++r)
      for (int i = r * n + j; i < r * n + j + kTileKeys; i += kLanes) {
        Vec p = exp2_negative(negative(at(weights + i) - b.shift[r]));
        at(weights + i) = r < rows ? p : Vec{};
        at(grad_s + i) = p * (at(grad_s + i) - b.delta[r]);
      }
  }
}

template <typename T>
void backward_head(const Head<T> &h, const Tables &rotary, float scale, const T *out,
                   const T *grad_out, const float *lse, T *grad_qkv, float *scratch) {
  const int n = h.padded;
  constexpr int R = kBackwardRows;
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
    const int rows = h.length - i < R ? h.length - i : R;
    QueryBlock b;
    load_block(h, i, rotary, scale, out, grad_out, lse, b);
    gradient_rows(b, rows, keys, values, n, weights, grad_s);
    float grad_q[R][kDim];
    for (int part = 0; part < kParts; ++part) { // see forward_head
      Vec sums[R] = {};
      for (int j = 0; j < h.length; ++j) {
        const int place = (part * n + j) * kLanes;
        Vec k = at(key_rows + place), gk = at(grad_k + place), gv = at(grad_v + place);
        for (int r = 0; r < R; ++r) {
          Vec gs = splat(grad_s[r * n + j]);
          sums[r] += gs * k;
          gk += gs * at(b.q[r] + part * kLanes);
          gv += weights[r * n + j] * at(b.g[r] + part * kLanes);
        }
        at(grad_k + place) = gk;
        at(grad_v + place) = gv;
      }
      for (int r = 0; r < R; ++r) store(grad_q[r] + part * kLanes, sums[r] * scale);
    }
    for (int r = 0; r < rows; ++r) {
      rotate(grad_q[r], rotary.cosine + (i + r) * kHalf, rotary.sine + (i + r) * kHalf, -1.0f);
      store_row(grad_row(i + r, 0), grad_q[r]);
    }
  }
  for (int j = 0; j < h.length; ++j) {
    float k[kDim];
    for (int part = 0; part < kParts; ++part) {
      const int place = (part * n + j) * kLanes;
      store(k + part * kLanes, at(grad_k + place) * (1.0f / kLog2E));
      store(grad_row(j, 2) + part * kLanes, at(grad_v + place));
    }
    rotate(k, rotary.cosine + j * kHalf, rotary.sine + j * kHalf, -1.0f);
    store_row(grad_row(j, 1), k);
  }
}

} // namespace

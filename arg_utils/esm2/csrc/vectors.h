// Vectors of float32 as wide as the processor's registers, and the few functions of them that are needed.
//
// Written in GCC's and Clang's vector extensions: 16 numbers where there is AVX-512, 8 where there is AVX,
// else 4 (NEON, SSE2). A vector wider than a register is never used: compilers lower those badly.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#ifdef __AVX__
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16; // floats in a vector
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float Vec __attribute__((vector_size(kLanes * 4)));
typedef int32_t IntVec __attribute__((vector_size(kLanes * 4)));
typedef uint16_t Half; // bfloat16: the upper half of a float32

constexpr float kLog2E = 1.44269504f;

inline Vec splat(float value) { return value - Vec{}; } // not a sum: -0 + 0 is 0, which takes an addition
inline Vec &at(float *p) { return *reinterpret_cast<Vec *>(p); }
#if defined(__AVX__) && !defined(__AVX512F__) // what compilers do not always see in a comparison
inline Vec max(Vec a, Vec b) { return (Vec)_mm256_max_ps((__m256)a, (__m256)b); }
inline Vec min(Vec a, Vec b) { return (Vec)_mm256_min_ps((__m256)a, (__m256)b); }
#else
inline Vec max(Vec a, Vec b) { return a > b ? a : b; }
inline Vec min(Vec a, Vec b) { return a < b ? a : b; }
#endif
inline Vec magnitude(Vec x) { return (Vec)((IntVec)x & 0x7fffffff); }

inline float to_float(Half half) {
  uint32_t bits = static_cast<uint32_t>(half) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

inline Half to_bfloat(float value) { // round to nearest even
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return static_cast<Half>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// Unaligned, and converted on the way where memory holds bfloat16.
inline Vec load(const float *p) {
  Vec x;
  std::memcpy(&x, p, sizeof x);
  return x;
}
inline Vec load(const Half *p) {
  typedef Half Halves __attribute__((vector_size(kLanes * 2)));
  Halves h;
  std::memcpy(&h, p, sizeof h);
  return (Vec)(__builtin_convertvector(h, IntVec) << 16);
}
inline void store(float *p, Vec x) { std::memcpy(p, &x, sizeof x); }
#ifdef __AVX512BF16__
inline void store(Half *p, Vec x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i *>(p), (__m256i)_mm512_cvtneps_pbh((__m512)x));
}
#else
inline void store(Half *p, Vec x) {
  typedef uint32_t Bits __attribute__((vector_size(kLanes * 4)));
  typedef Half Halves __attribute__((vector_size(kLanes * 2)));
  Bits bits = (Bits)x;
  bits = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  Halves h = __builtin_convertvector(bits, Halves);
  std::memcpy(p, &h, sizeof h);
}
#endif

// By halves, so that the order of additions depends on the width of a vector alone.
template <typename Merge> inline float reduce(Vec v, Merge merge) {
  float x[kLanes];
  std::memcpy(x, &v, sizeof x);
  for (int width = kLanes / 2; width; width /= 2)
    for (int i = 0; i < width; ++i) x[i] = merge(x[i], x[i + width]);
  return x[0];
}
inline float highest(Vec v) {
  return reduce(v, [](float a, float b) { return a > b ? a : b; });
}
inline float total(Vec v) {
  return reduce(v, [](float a, float b) { return a + b; });
}

// 2^x for x <= 0, relative error below 4e-7.
#ifdef __AVX512DQ__
inline Vec exp2_negative(Vec x) { // 2^floor(x) times a polynomial for 2 to the rest
  constexpr int kFloor = 1;
  Vec r = (Vec)_mm512_reduce_ps((__m512)x, kFloor);
  Vec p = 0.0018775766f * r + 0.0089893405f;
  p = p * r + 0.055826317f;
  p = p * r + 0.24015362f;
  p = p * r + 0.69315307f;
  p = p * r + 0.99999993f;
  return (Vec)_mm512_scalef_ps((__m512)p, (__m512)x);
}
#else
inline Vec exp2_negative(Vec x) { // 2^n times a polynomial for 2^r, |r| <= 1/2
  Vec magic = splat(12582912.0f); // 1.5 * 2^23: the sum is rounded to an integer, in the lowest bits
  Vec y = max(x, splat(-126.0f));
  Vec shifted = y + magic, r = y - (shifted - magic);
  Vec p = 1.3264727e-3f * r + 9.6715128e-3f;
  p = p * r + 5.5507337e-2f;
  p = p * r + 2.4022242e-1f;
  p = p * r + 6.9314698e-1f;
  p = p * r + 1.0f;
  return (Vec)((IntVec)p + ((IntVec)shifted << 23));
}
#endif

} // namespace

// Calls the kernel on numbers from a file, for processors that Python does not run on here.
//
// In: int32 is_bfloat, sequences, heads, longest, rows, width, count; int64 starts[sequences + 1]; then the
// arrays in the order in which they are read below. Out: the results in the order in which they are written.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

extern "C" {
int attention_forward(const void *, void *, float *, const float *, const float *, const int64_t *, int64_t *,
                      int, int, float, int, int);
int attention_backward(const void *, const void *, const void *, const float *, void *, const float *,
                       const float *, const int64_t *, int64_t *, int, int, float, int, int);
void add_norm_forward(const float *, const void *, const float *, const float *, float *, void *, float *,
                      int64_t, int, float, int);
void add_norm_backward(const float *, const float *, const float *, const float *, const void *, float *,
                       void *, int64_t, int, int);
void gelu_forward(const void *, void *, int64_t, int);
void gelu_backward(const void *, const void *, void *, int64_t, int);
int lora_gradients(const void *, const void *, const float *, const float *, float *, float *, int64_t, int64_t,
                   int, int, int, int);
}

template <typename T> std::vector<T> read(FILE *file, int64_t count) {
  std::vector<T> values(count);
  if (std::fread(values.data(), sizeof(T), count, file) != static_cast<size_t>(count)) std::exit(2);
  return values;
}

template <typename T> void write(FILE *file, const std::vector<T> &values) {
  if (std::fwrite(values.data(), sizeof(T), values.size(), file) != values.size()) std::exit(3);
}

int main(int, char **names) {
  FILE *in = std::fopen(names[1], "rb"), *out = std::fopen(names[2], "wb");
  if (!in || !out) return 1;
  const auto head = read<int32_t>(in, 7);
  const int bfloat = head[0], sequences = head[1], heads = head[2], longest = head[3], rows = head[4],
            width = head[5], count = head[6], bytes = bfloat ? 2 : 4;
  const auto starts = read<int64_t>(in, sequences + 1);
  const int64_t numbers = starts.back() * heads * 16;
  const auto cosine = read<float>(in, longest * 8), sine = read<float>(in, longest * 8);
  const auto qkv = read<char>(in, 3 * numbers * bytes), grad = read<char>(in, numbers * bytes);
  std::vector<char> mixed(numbers * bytes), grad_qkv(3 * numbers * bytes);
  std::vector<float> lse(starts.back() * heads);
  int64_t next = 0;
  if (attention_forward(qkv.data(), mixed.data(), lse.data(), cosine.data(), sine.data(), starts.data(), &next,
                        sequences, heads, 0.25f, longest, bfloat))
    return 4;
  next = 0;
  if (attention_backward(qkv.data(), mixed.data(), grad.data(), lse.data(), grad_qkv.data(), cosine.data(),
                         sine.data(), starts.data(), &next, sequences, heads, 0.25f, longest, bfloat))
    return 5;
  write(out, mixed);
  write(out, grad_qkv);

  const int64_t all = static_cast<int64_t>(rows) * width;
  const auto hidden = read<float>(in, all);
  const auto update = read<char>(in, all * bytes);
  const auto gain = read<float>(in, width), bias = read<float>(in, width), grad_after = read<float>(in, all);
  const auto grad_normed = read<char>(in, all * bytes);
  std::vector<float> after(all), moments(2 * rows), grad_hidden(all);
  std::vector<char> normed(all * bytes), grad_update(all * bytes);
  add_norm_forward(hidden.data(), update.data(), gain.data(), bias.data(), after.data(), normed.data(),
                   moments.data(), rows, width, 1e-5f, bfloat);
  add_norm_backward(after.data(), moments.data(), gain.data(), grad_after.data(), grad_normed.data(),
                    grad_hidden.data(), grad_update.data(), rows, width, bfloat);
  write(out, after);
  write(out, normed);
  write(out, grad_hidden);
  write(out, grad_update);

  const auto x = read<char>(in, count * bytes), slope = read<char>(in, count * bytes);
  std::vector<char> y(count * bytes), grad_x(count * bytes);
  gelu_forward(x.data(), y.data(), count, bfloat);
  gelu_backward(x.data(), slope.data(), grad_x.data(), count, bfloat);
  write(out, y);
  write(out, grad_x);

  const int rank = 5; // of an update to a layer as wide as it is long; its input and gradient are above
  const auto down = read<float>(in, rank * width), up = read<float>(in, rank * width);
  std::vector<float> grad_down(rank * width), grad_up(rank * width);
  if (lora_gradients(update.data(), grad_normed.data(), down.data(), up.data(), grad_down.data(), grad_up.data(),
                     rows, width, width, width, rank, bfloat))
    return 6;
  write(out, grad_down);
  write(out, grad_up);
  return std::fclose(out);
}

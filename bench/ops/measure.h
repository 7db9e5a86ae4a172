#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>
#include <functional>
#include <string>

#include "tensor/arena.h"
#include "tensor/stream.h"

/// What the micro-benchmarks of the operations share: tensors of random numbers, the best time of many calls, and the
/// two limits of this machine to compare with (measured in the same process).
namespace primus::bench {

Stream& stream();

/// Owns its memory; standard normal numbers (never zeros: hardware is faster with them).
class Data {
 public:
  Data(DType dtype, std::int64_t rows, std::int64_t columns, std::int64_t row_stride = 0);
  const Tensor& matrix() const { return tensor_; }
  Tensor vector() const { return tensor_.as_vector(); }
  operator const Tensor&() const { return tensor_; }  // NOLINT: an operation's argument

 private:
  Arena arena_;
  Tensor tensor_;
};

/// GFLOP/s of the library's product 2048³, and GB/s of a copy of 64 MiB (bytes read and written).
double gemm_limit(DType dtype);
double memory_limit();

/// Times `call` and reports the best time (other work on the machine only ever adds) with its rate.
void measure_flops(benchmark::State& state, DType dtype, double flops, const std::function<void()>& call);
void measure_bytes(benchmark::State& state, double bytes, const std::function<void()>& call);

}  // namespace primus::bench

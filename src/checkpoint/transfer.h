#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "checkpoint/safetensors_writer.h"
#include "model/parameter.h"
#include "tensor/stream.h"
#include "tensor/tensor.h"

namespace primus::checkpoint {

/// Converts `count` adjacent elements, on all cores when there are many. Addresses need no alignment; f32, bf16, f16.
/// Rounds to nearest even. Returns false when a finite value became infinite (f32 or bf16 to f16).
[[nodiscard]] bool convert_elements(const std::byte* source, DType source_dtype, std::byte* target, DType target_dtype,
                                    std::int64_t count);

/// Moves tensors between a device and host memory in blocks of some MiB, converting on the host.
class Transfer {
 public:
  explicit Transfer(Stream& stream);
  ~Transfer();
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  /// Fills `target`, which may have a row stride, from its elements in row-major order. Returns what convert_elements
  /// returns.
  [[nodiscard]] bool write(const Tensor& target, std::span<const std::byte> elements, DType dtype);

  /// Hands the elements of `source` in row-major order, as `dtype`, to `sink`.
  void read(const Tensor& source, DType dtype, const ByteSink& sink);

  Stream& stream() { return stream_; }

 private:
  std::byte* host_memory(std::size_t bytes);
  std::byte* scratch(const Tensor& block);

  Stream& stream_;
  std::vector<std::byte> host_;
  std::vector<std::byte> converted_;
  // on devices whose memory the host cannot address: rows with a stride pass through here
  void* device_scratch_ = nullptr;
  std::size_t device_scratch_bytes_ = 0;
};

/// Fills every copy of a parameter: `master` with the elements themselves, `weight` with their rounding to the compute
/// type, and LoRA's `published`. `where` begins the message of the Error for values that the type cannot hold.
void set_values(Transfer& transfer, model::Parameter& parameter, std::span<const std::byte> elements, DType dtype,
                const std::string& where);

/// LoRA's B: the columns beside the base weight become publish_scale · B. Nothing to do for other parameters.
void publish(Stream& stream, const model::Parameter& parameter);

/// The parameter's shape as files have it: (columns) for vectors, (rows, columns) for matrices.
std::vector<std::int64_t> file_shape(const model::Parameter& parameter);

/// "….lora_A.weight", "….lora_B.weight": not in base checkpoints
bool is_adapter(const model::Parameter& parameter);

}  // namespace primus::checkpoint

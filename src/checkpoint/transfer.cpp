#include "checkpoint/transfer.h"

#include <algorithm>
#include <string_view>

#include "base/error.h"
#include "ops/elementwise.h"

namespace primus::checkpoint {
namespace {

constexpr std::int64_t kBlockBytes = kStageBytes;

/// Blocks of a tensor: ranges of rows of a matrix, of elements of a vector.
struct Blocks {
  explicit Blocks(const Tensor& tensor)
      : units(tensor.rank() == 1 ? tensor.columns() : tensor.rows()),
        elements_per_unit(tensor.rank() == 1 ? 1 : tensor.columns()),
        units_per_block(std::max<std::int64_t>(1, kBlockBytes / (std::max<std::int64_t>(1, elements_per_unit) *
                                                                 static_cast<std::int64_t>(sizeof(float))))) {}

  std::int64_t units;
  std::int64_t elements_per_unit;
  std::int64_t units_per_block;
};

bool is_host(const Tensor& tensor) { return tensor.device().type == DeviceType::kCpu; }

void grow(std::vector<std::byte>& buffer, std::size_t bytes) {
  if (buffer.size() < bytes) buffer.resize(bytes);
}

}  // namespace

Transfer::Transfer(Stream& stream) : stream_(stream) {}

Transfer::~Transfer() {
  if (device_scratch_ == nullptr) return;
  try {
    stream_.synchronize();
    stream_.backend().deallocate(stream_.device().index, device_scratch_, device_scratch_bytes_);
  } catch (...) {  // a destructor has nobody to tell: the device is lost, and the next use of it says so
  }
}

std::byte* Transfer::host_memory(std::size_t bytes) {
  // while the device reads one block out of the stream's memory, the next is converted into it
  std::byte* staged = bytes <= kStageBytes ? stream_.stage(bytes) : nullptr;
  if (staged != nullptr) return staged;
  grow(host_, bytes);
  return host_.data();
}

std::byte* Transfer::scratch(const Tensor& block) {
  if (device_scratch_bytes_ < block.bytes()) {
    const Backend& backend = stream_.backend();
    const int index = stream_.device().index;
    if (device_scratch_ != nullptr) {
      stream_.synchronize();
      backend.deallocate(index, device_scratch_, device_scratch_bytes_);
      device_scratch_ = nullptr;
    }
    device_scratch_bytes_ = std::max(block.bytes(), static_cast<std::size_t>(kBlockBytes));
    device_scratch_ = backend.allocate(index, device_scratch_bytes_);
  }
  return static_cast<std::byte*>(device_scratch_);
}

bool Transfer::write(const Tensor& target, std::span<const std::byte> elements, DType dtype) {
  const auto count = static_cast<std::size_t>(target.numel());
  PRIMUS_CHECK(elements.size() == count * size_of(dtype), elements.size(), target.describe(), name_of(dtype));
  const Blocks blocks(target);
  bool fits = true;
  for (std::int64_t begin = 0; begin < blocks.units; begin += blocks.units_per_block) {
    const Tensor block = target.slice(begin, std::min(blocks.units, begin + blocks.units_per_block));
    const std::byte* from =
        elements.data() + static_cast<std::size_t>(begin * blocks.elements_per_unit) * size_of(dtype);
    if (is_host(target) && target.is_contiguous()) {
      fits &= convert_elements(from, dtype, static_cast<std::byte*>(block.data()), block.dtype(), block.numel());
      continue;
    }
    std::byte* host = host_memory(block.bytes());
    fits &= convert_elements(from, dtype, host, block.dtype(), block.numel());
    if (block.is_contiguous()) {
      stream_.copy_to_device(block, host);
    } else if (is_host(target)) {
      const std::size_t row_bytes = static_cast<std::size_t>(block.columns()) * size_of(block.dtype());
      for (std::int64_t row = 0; row < block.rows(); ++row) {
        stream_.copy_to_device(block.slice(row, row + 1), host + static_cast<std::size_t>(row) * row_bytes);
      }
    } else {
      const Tensor packed(scratch(block), block.dtype(), block.device(), block.rows(), block.columns(),
                          block.columns());
      stream_.copy_to_device(packed, host);
      ops::convert(stream_, {.in = packed, .out = block});
    }
  }
  return fits;
}

void Transfer::read(const Tensor& source, DType dtype, const ByteSink& sink) {
  const Blocks blocks(source);
  for (std::int64_t begin = 0; begin < blocks.units; begin += blocks.units_per_block) {
    const Tensor block = source.slice(begin, std::min(blocks.units, begin + blocks.units_per_block));
    const std::byte* elements = static_cast<const std::byte*>(block.data());
    if (!is_host(source) || !block.is_contiguous()) {
      grow(host_, block.bytes());
      elements = host_.data();
      if (block.is_contiguous()) {
        stream_.copy_to_host(host_.data(), block);
      } else if (is_host(source)) {
        const std::size_t row_bytes = static_cast<std::size_t>(block.columns()) * size_of(block.dtype());
        for (std::int64_t row = 0; row < block.rows(); ++row) {
          stream_.copy_to_host(host_.data() + static_cast<std::size_t>(row) * row_bytes, block.slice(row, row + 1));
        }
      } else {
        const Tensor packed(scratch(block), block.dtype(), block.device(), block.rows(), block.columns(),
                            block.columns());
        ops::convert(stream_, {.in = block, .out = packed});
        stream_.copy_to_host(host_.data(), packed);
      }
    }
    const std::size_t bytes = static_cast<std::size_t>(block.numel()) * size_of(dtype);
    if (dtype != block.dtype()) {
      grow(converted_, bytes);
      if (!convert_elements(elements, block.dtype(), converted_.data(), dtype, block.numel())) {
        throw run_failed("a value is too large for {}; write bf16 or f32", name_of(dtype));
      }
      elements = converted_.data();
    }
    sink({elements, bytes});
  }
}

void set_values(Transfer& transfer, model::Parameter& parameter, std::span<const std::byte> elements, DType dtype,
                const std::string& where) {
  const auto fill = [&](const Tensor& target) {
    if (transfer.write(target, elements, dtype)) return;
    throw bad_input("{}: {}: a value is too large for {}; train in bf16 or f32", where, parameter.name,
                    name_of(target.dtype()));
  };
  const bool shared = parameter.master && parameter.weight && parameter.master.data() == parameter.weight.data();
  if (parameter.master) fill(parameter.master);
  if (parameter.weight && !shared) fill(parameter.weight);
  publish(transfer.stream(), parameter);
}

void publish(Stream& stream, const model::Parameter& parameter) {
  if (!parameter.published) return;
  ops::convert(stream, {.in = parameter.master, .out = parameter.published, .scale = parameter.publish_scale});
}

std::vector<std::int64_t> file_shape(const model::Parameter& parameter) {
  if (parameter.rank == 1) return {parameter.columns};
  return {parameter.rows, parameter.columns};
}

bool is_adapter(const model::Parameter& parameter) {
  const std::string_view name = parameter.name;
  return name.ends_with(".lora_A.weight") || name.ends_with(".lora_B.weight");
}

}  // namespace primus::checkpoint

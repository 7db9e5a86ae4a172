#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tensor/backend.h"
#include "tensor/tensor.h"

namespace primus {

/// What memory is for; the lines of a memory plan.
enum class MemoryKind : std::uint8_t {
  kWeights,
  kGradients,
  kOptimizer,
  kActivations,
  kLossHead,
  kWorkspace,
  kCommunication,
};
constexpr int kMemoryKinds = 7;
const char* name_of(MemoryKind kind);

/// All device memory of a run in one block. The code that builds a run asks an Arena for every tensor; it runs once
/// with a measuring Arena, which only counts, and once with a real one of exactly that size. Nothing is given back
/// before the Arena goes, except through rewind().
class Arena {
 public:
  struct Entry {
    MemoryKind kind;
    std::string name;
    std::size_t bytes;  // as taken, alignment included
  };

  /// Counts; its tensors have addresses near null and must not be touched.
  static Arena measuring(Device device);
  /// Owns `bytes` on `device`. Throws Error (kHostLacks) when the device has not got them.
  static Arena allocate(Device device, std::size_t bytes);

  ~Arena();
  Arena(Arena&& other) noexcept;
  Arena& operator=(Arena&&) = delete;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// A vector (size), or a matrix (rows, columns); aligned to 256 bytes.
  Tensor vector(MemoryKind kind, const std::string& name, DType dtype, std::int64_t size);
  Tensor matrix(MemoryKind kind, const std::string& name, DType dtype, std::int64_t rows, std::int64_t columns);

  /// Memory that is used one after the other: everything taken since `mark` may be taken again after `rewind(mark)`.
  /// The plan counts the highest mark.
  std::size_t mark() const { return used_; }
  void rewind(std::size_t mark);

  bool is_measuring() const { return base_ == nullptr; }
  Device device() const { return device_; }
  /// Highest number of bytes in use at a time.
  std::size_t peak() const { return peak_; }
  /// Everything taken, in order. What was taken after a rewind is listed too.
  const std::vector<Entry>& entries() const { return entries_; }
  /// Bytes by kind at the peak.
  std::map<MemoryKind, std::size_t> peak_by_kind() const { return peak_by_kind_; }

 private:
  Arena(Device device, void* base, std::size_t capacity);
  void* take(MemoryKind kind, const std::string& name, std::size_t bytes);

  Device device_;
  void* base_ = nullptr;
  std::size_t capacity_ = 0;
  std::size_t used_ = 0;
  std::size_t peak_ = 0;
  struct Live {
    std::size_t end;
    MemoryKind kind;
    std::size_t bytes;
  };
  std::vector<Live> live_;
  std::map<MemoryKind, std::size_t> used_by_kind_;
  std::map<MemoryKind, std::size_t> peak_by_kind_;
  std::vector<Entry> entries_;
};

}  // namespace primus

#include "base/error.h"
#include "checkpoint/safetensors.h"
#include "fuzz_input.h"

/// A safetensors file.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace primus;
  const fuzz::MemoryFile file(data, size);
  try {
    const checkpoint::SafetensorsFile opened(file.path());
    unsigned sum = 0;
    for (const checkpoint::StoredTensor& tensor : opened.tensors()) {
      fuzz::require(opened.find(tensor.name) == &tensor && tensor.numel() >= 0);
      for (const std::byte byte : tensor.data) sum += std::to_integer<unsigned>(byte);
    }
    fuzz::require(opened.header().size() <= size && sum <= 255U * size);
  } catch (const Error&) {
  }
  return 0;
}

#include "ops/cpu/gemm.h"

#include <cstdint>
#include <functional>
#include <mutex>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>
#include <utility>

#include "base/error.h"

namespace primus::ops::cpu {
namespace {

using dnnl::memory;

/// Everything that a primitive depends on.
struct Key {
  Index m, n, k;
  Index a_row, a_column, b_row, b_column, ldc;
  DType type, c_type;
  bool has_bias, accumulate;
  float scale;

  bool operator==(const Key&) const = default;
};

struct HashOfKey {
  std::size_t operator()(const Key& key) const {
    std::size_t hash = 0;
    for (const Index value : {key.m, key.n, key.k, key.a_row, key.a_column, key.b_row, key.b_column, key.ldc,
                              Index{static_cast<int>(key.type)} * 64 + static_cast<int>(key.c_type) * 8 +
                                  (key.has_bias ? 2 : 0) + (key.accumulate ? 1 : 0)}) {
      hash = (hash ^ static_cast<std::size_t>(value)) * 0x9E3779B97F4A7C15ULL;
      hash ^= hash >> 29;
    }
    return hash ^ std::hash<float>{}(key.scale);
  }
};

struct Primitive {
  dnnl::matmul matmul;
  memory::desc a, b, c, bias;
  std::uint64_t last_use = 0;
};

memory::data_type type_of(DType dtype) {
  PRIMUS_CHECK(dtype == DType::kF32 || dtype == DType::kBF16, name_of(dtype));
  return dtype == DType::kF32 ? memory::data_type::f32 : memory::data_type::bf16;
}

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

Primitive create(const Key& key) {
  Primitive made;
  made.a = {{key.m, key.k}, type_of(key.type), memory::dims{key.a_row, key.a_column}};
  made.b = {{key.k, key.n}, type_of(key.type), memory::dims{key.b_row, key.b_column}};
  made.c = {{key.m, key.n}, type_of(key.c_type), memory::dims{key.ldc, 1}};
  if (key.has_bias) made.bias = {{1, key.n}, type_of(key.type), memory::dims{key.n, 1}};
  dnnl::primitive_attr attributes;
  if (key.scale != 1.0F) attributes.set_output_scales(0, {key.scale});
  if (key.accumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1.0F);
    attributes.set_post_ops(sum);
  }
  const dnnl::matmul::desc description =
      key.has_bias ? dnnl::matmul::desc(made.a, made.b, made.bias, made.c) : dnnl::matmul::desc(made.a, made.b, made.c);
  made.matmul = dnnl::matmul(dnnl::matmul::primitive_desc(description, attributes, engine()));
  return made;
}

/// Primitives by shape: making one generates code. Shapes recur (token counts are padded), so that a few hundred
/// places are plenty; the one that was not used for the longest time makes room.
class Cache {
 public:
  /// A copy: primitives are handles, and another thread may push this one out.
  Primitive find(const Key& key) {
    const std::lock_guard lock(mutex_);
    auto found = primitives_.find(key);
    if (found == primitives_.end()) {
      if (primitives_.size() >= kCapacity) drop_oldest();
      found = primitives_.emplace(key, create(key)).first;
    }
    found->second.last_use = ++uses_;
    return found->second;
  }

 private:
  static constexpr std::size_t kCapacity = 512;

  void drop_oldest() {
    auto oldest = primitives_.begin();
    for (auto it = primitives_.begin(); it != primitives_.end(); ++it) {
      if (it->second.last_use < oldest->second.last_use) oldest = it;
    }
    primitives_.erase(oldest);
  }

  std::mutex mutex_;
  std::unordered_map<Key, Primitive, HashOfKey> primitives_;
  std::uint64_t uses_ = 0;
};

Cache& cache() {
  static Cache primitives;
  return primitives;
}

}  // namespace

void gemm(const Gemm& args) {
  const Key key = {args.m,
                   args.n,
                   args.k,
                   args.a.row_stride,
                   args.a.column_stride,
                   args.b.row_stride,
                   args.b.column_stride,
                   args.ldc,
                   args.a.dtype,
                   args.c_dtype,
                   args.bias != nullptr,
                   args.accumulate,
                   args.scale};
  PRIMUS_CHECK(args.a.dtype == args.b.dtype, name_of(args.a.dtype), name_of(args.b.dtype));
  try {
    const Primitive found = cache().find(key);
    thread_local dnnl::stream stream(engine());
    std::unordered_map<int, memory> operands = {
        {DNNL_ARG_SRC, memory(found.a, engine(), const_cast<void*>(args.a.data))},
        {DNNL_ARG_WEIGHTS, memory(found.b, engine(), const_cast<void*>(args.b.data))},
        {DNNL_ARG_DST, memory(found.c, engine(), args.c)}};
    if (args.bias != nullptr) {
      operands.emplace(DNNL_ARG_BIAS, memory(found.bias, engine(), const_cast<void*>(args.bias)));
    }
    found.matmul.execute(stream, operands);
    stream.wait();
  } catch (const dnnl::error& error) {
    PRIMUS_CHECK(false, error.what(), args.m, args.n, args.k, name_of(args.a.dtype), name_of(args.c_dtype));
  }
}

bool gemm_takes_bf16() {
  static const bool takes = [] {
    const auto isa = dnnl::get_effective_cpu_isa();
    return isa != dnnl::cpu_isa::all &&
           (static_cast<unsigned>(isa) & static_cast<unsigned>(dnnl::cpu_isa::avx512_core)) ==
               static_cast<unsigned>(dnnl::cpu_isa::avx512_core);
  }();
  return takes;
}

}  // namespace primus::ops::cpu

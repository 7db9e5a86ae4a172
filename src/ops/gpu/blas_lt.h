#pragma once

#include <cublasLt.h>

#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "ops/gpu/gemm.h"
#include "ops/gpu/gemm_cache.h"

namespace primus::ops::gpu {

/// Matrix products through cuBLASLt on one stream. The algorithm of a product is chosen once: the library's own
/// candidates are timed (small products take the first), and the choice is kept for later runs (gemm_cache.h). A
/// deterministic stream takes the first always: the choice is then a function of the shape alone.
/// Algorithms that add partial sums in any order are left out.
class BlasLt {
 public:
  explicit BlasLt(const Stream& stream);
  ~BlasLt();
  BlasLt(const BlasLt&) = delete;
  BlasLt& operator=(const BlasLt&) = delete;

  /// Returns false when the library has no algorithm for this product.
  bool multiply(const Stream& stream, const GemmShape& shape, const GemmOperands& operands);

 private:
  struct Plan;

  Plan& plan_of(const Stream& stream, const GemmShape& shape, const GemmOperands& operands);
  void choose(const Stream& stream, Plan& plan, const GemmShape& shape, const GemmOperands& operands);
  /// Up to `most` (kCandidates at most), the library's favourite first.
  std::vector<cublasLtMatmulAlgo_t> candidates(const Plan& plan, const GemmShape& shape, std::size_t workspace,
                                               int most) const;
  cublasStatus_t run(const Stream& stream, const Plan& plan, const cublasLtMatmulAlgo_t& algorithm,
                     const GemmOperands& operands, void* d) const;
  /// Seconds of one run, or infinity when it fails.
  double time(const Stream& stream, const Plan& plan, const cublasLtMatmulAlgo_t& algorithm,
              const GemmOperands& operands, void* d, double best) const;

  struct Handle {
    Handle();
    ~Handle();
    cublasLtHandle_t value = nullptr;
  };
  Handle handle_;
  GemmCache cache_;
  std::unordered_map<GemmShape, std::unique_ptr<Plan>, GemmShapeHash> plans_;
};

}  // namespace primus::ops::gpu

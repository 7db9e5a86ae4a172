#include "base/error.h"
#include "ops/gpu/runtime.h"
#include "ops/gpu/table.h"

namespace primus::ops::gpu {

void linear_forward(Stream&, const LinearForward&) { throw BugError("placeholder: linear_forward"); }
void linear_backward_input(Stream&, const LinearBackwardInput&) {
  throw BugError("placeholder: linear_backward_input");
}
void linear_backward_weight(Stream&, const LinearBackwardWeight&) {
  throw BugError("placeholder: linear_backward_weight");
}

}  // namespace primus::ops::gpu

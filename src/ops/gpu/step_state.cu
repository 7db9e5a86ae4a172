#include "base/error.h"
#include "ops/gpu/runtime.h"
#include "ops/gpu/table.h"

namespace primus::ops::gpu {

void begin_step(Stream&, const Tensor&) { throw BugError("placeholder: begin_step"); }
void add_loss(Stream&, const Tensor&, const Tensor&) { throw BugError("placeholder: add_loss"); }
void add_squared_norm(Stream&, const Tensor&, const Tensor&) { throw BugError("placeholder: add_squared_norm"); }
void decide_step(Stream&, const DecideStep&) { throw BugError("placeholder: decide_step"); }

}  // namespace primus::ops::gpu

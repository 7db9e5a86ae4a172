#include "base/error.h"
#include "ops/gpu/runtime.h"
#include "ops/gpu/table.h"

namespace primus::ops::gpu {

void rope_forward(Stream&, const RopeForward&) { throw BugError("placeholder: rope_forward"); }
void rope_backward(Stream&, const RopeBackward&) { throw BugError("placeholder: rope_backward"); }

}  // namespace primus::ops::gpu

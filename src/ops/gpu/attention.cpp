#include "base/error.h"
#include "ops/gpu/runtime.h"
#include "ops/gpu/table.h"

namespace primus::ops::gpu {

void attention_forward(Stream&, const AttentionForward&) { throw BugError("placeholder: attention_forward"); }
void attention_backward(Stream&, const AttentionBackward&) { throw BugError("placeholder: attention_backward"); }
std::size_t attention_backward_workspace(Device, const AttentionShape&, std::int64_t) {
  throw BugError("placeholder: attention_backward_workspace");
}
void attention_decode(Stream&, const AttentionDecode&) { throw BugError("placeholder: attention_decode"); }

}  // namespace primus::ops::gpu

#include "base/error.h"
#include "ops/gpu/runtime.h"
#include "ops/gpu/table.h"

namespace primus::ops::gpu {

void embedding_forward(Stream&, const EmbeddingForward&) { throw BugError("placeholder: embedding_forward"); }
void embedding_backward(Stream&, const EmbeddingBackward&) { throw BugError("placeholder: embedding_backward"); }

}  // namespace primus::ops::gpu

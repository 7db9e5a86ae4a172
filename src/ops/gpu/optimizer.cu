#include "base/error.h"
#include "ops/gpu/runtime.h"
#include "ops/gpu/table.h"

namespace primus::ops::gpu {

void adamw(Stream&, const AdamW&) { throw BugError("placeholder: adamw"); }

}  // namespace primus::ops::gpu

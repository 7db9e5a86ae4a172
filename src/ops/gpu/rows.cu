#include "base/error.h"
#include "ops/gpu/runtime.h"
#include "ops/gpu/table.h"

namespace primus::ops::gpu {

void gather_rows(Stream&, const GatherRows&) { throw BugError("placeholder: gather_rows"); }
void scatter_rows(Stream&, const ScatterRows&) { throw BugError("placeholder: scatter_rows"); }

}  // namespace primus::ops::gpu

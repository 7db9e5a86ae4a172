#include "base/error.h"

namespace primus::detail {

void check_failed(const char* expression, const std::string& values, std::source_location where) {
  throw BugError(fmt::format("{}:{}: check failed: {}{}{}", where.file_name(), where.line(), expression,
                             values.empty() ? "" : " with values ", values));
}

}  // namespace primus::detail

#pragma once

#include <map>
#include <string_view>

#include "tokenizer/jinja/runtime.h"

namespace primus::tokenizer::jinja {

using Method = Value (*)(Interpreter&, const Value& self, const Arguments&);

/// What Python's str has, by name.
const std::map<std::string_view, Method>& string_methods();

}  // namespace primus::tokenizer::jinja

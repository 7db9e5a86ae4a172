#pragma once

#include <string_view>

#include "tokenizer/jinja/runtime.h"

namespace primus::tokenizer::jinja {

using Filter = Value (*)(Interpreter&, const Value&, const Arguments&);

struct NamedFilter {
  std::string_view name;
  Filter filter;
};

/// "a.b.0" of a value; a number is an index.
Value member_at_path(Interpreter& interpreter, const Value& value, const Value& path);

/// Filters that take lists.
namespace list_filters {
Value attr(Interpreter&, const Value&, const Arguments&);
Value batch(Interpreter&, const Value&, const Arguments&);
Value dictsort(Interpreter&, const Value&, const Arguments&);
Value first(Interpreter&, const Value&, const Arguments&);
Value groupby(Interpreter&, const Value&, const Arguments&);
Value items(Interpreter&, const Value&, const Arguments&);
Value last(Interpreter&, const Value&, const Arguments&);
Value list(Interpreter&, const Value&, const Arguments&);
Value map(Interpreter&, const Value&, const Arguments&);
Value max(Interpreter&, const Value&, const Arguments&);
Value min(Interpreter&, const Value&, const Arguments&);
Value reject(Interpreter&, const Value&, const Arguments&);
Value rejectattr(Interpreter&, const Value&, const Arguments&);
Value reverse(Interpreter&, const Value&, const Arguments&);
Value select(Interpreter&, const Value&, const Arguments&);
Value selectattr(Interpreter&, const Value&, const Arguments&);
Value slice(Interpreter&, const Value&, const Arguments&);
Value sort(Interpreter&, const Value&, const Arguments&);
Value sum(Interpreter&, const Value&, const Arguments&);
Value unique(Interpreter&, const Value&, const Arguments&);
}  // namespace list_filters

}  // namespace primus::tokenizer::jinja

#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/value.h"

namespace primus::tokenizer::jinja {

struct Token {
  enum class Kind {
    kText,        // text between tags, white space control applied
    kPrintBegin,  // {{
    kPrintEnd,
    kTagBegin,  // {%
    kTagEnd,
    kName,
    kString,    // text: escapes resolved
    kInteger,   // value
    kFloat,     // value
    kOperator,  // text
    kEnd,
  };
  Kind kind = Kind::kEnd;
  int line = 0;
  std::string text;
  Value value;

  bool is(std::string_view op) const { return kind == Kind::kOperator && text == op; }
  bool is_name(std::string_view name) const { return kind == Kind::kName && text == name; }
};

/// Cuts a template with trim_blocks and lstrip_blocks. Throws Error with `name` and the line.
std::vector<Token> tokenize(std::string_view source, const std::string& name);

}  // namespace primus::tokenizer::jinja

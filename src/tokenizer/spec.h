#pragma once

#include <string>
#include <string_view>

#include "tokenizer/regex.h"
#include "tokenizer/value.h"

/// Reading small parts of tokenizer.json with errors that name the file and the key.
namespace primus::tokenizer::spec {

bool flag(const Value& spec, std::string_view key, bool otherwise, const std::string& where);
std::string text(const Value& spec, std::string_view key, const std::string& where);
std::string text_or(const Value& spec, std::string_view key, const std::string& otherwise, const std::string& where);
std::int64_t integer_or(const Value& spec, std::string_view key, std::int64_t otherwise, const std::string& where);
/// The member `key`, which must be a list.
const List& list(const Value& spec, std::string_view key, const std::string& where);
/// "type" of a component, which must be a dict.
std::string type(const Value& spec, const std::string& where);
/// {"Regex": …} or {"String": …}
Regex pattern(const Value& spec, const std::string& where);

}  // namespace primus::tokenizer::spec

#include "tokenizer/post_processor.h"

#include <limits>

#include "base/error.h"
#include "tokenizer/spec.h"

namespace primus::tokenizer {
namespace {

TokenId id_of(const Value& value, const std::string& where) {
  if (!value.is_int() || value.as_int() < 0 || value.as_int() > std::numeric_limits<TokenId>::max()) {
    throw bad_input("{}: a token id must be an integer from 0, found {}", where, value.kind_name());
  }
  return static_cast<TokenId>(value.as_int());
}

PostProcessor make_template(const Value& spec, const std::string& where) {
  PostProcessor made;
  const Value* known = spec.find("special_tokens");
  bool text_seen = false;
  for (const Value& item : spec::list(spec, "single", where)) {
    if (item.find("Sequence") != nullptr) {
      if (text_seen) throw bad_input("{}: \"single\" holds the text twice", where);
      text_seen = true;
      continue;
    }
    const Value* special = item.find("SpecialToken");
    if (special == nullptr) throw bad_input("{}: \"single\" holds neither a SpecialToken nor a Sequence", where);
    const std::string name = spec::text(*special, "id", where);
    const Value* entry = known == nullptr ? nullptr : known->find(name);
    if (entry == nullptr) throw bad_input("{}: \"special_tokens\" does not hold {}", where, name);
    for (const Value& id : spec::list(*entry, "ids", where)) {
      (text_seen ? made.after : made.before).push_back(id_of(id, where));
    }
  }
  return made;
}

}  // namespace

PostProcessor make_post_processor(const Value& spec, const std::string& where) {
  if (spec.is_null()) return {};
  const std::string type = spec::type(spec, where);
  if (type == "ByteLevel") return {};  // it only trims offsets
  if (type == "TemplateProcessing") return make_template(spec, where);
  if (type == "BertProcessing" || type == "RobertaProcessing") {
    const auto id = [&](std::string_view key) {
      const List& pair = spec::list(spec, key, where);
      if (pair.size() != 2) throw bad_input("{}: \"{}\" must be [token, id]", where, key);
      return id_of(pair[1], where);
    };
    return {{id("cls")}, {id("sep")}};
  }
  if (type == "Sequence") {
    PostProcessor whole;
    for (const Value& member : spec::list(spec, "processors", where)) {
      const PostProcessor step = make_post_processor(member, where);
      whole.before.insert(whole.before.begin(), step.before.begin(), step.before.end());
      whole.after.insert(whole.after.end(), step.after.begin(), step.after.end());
    }
    return whole;
  }
  throw bad_input(
      "{}: the post-processor {} is not supported (TemplateProcessing, ByteLevel, BertProcessing, RobertaProcessing "
      "and "
      "Sequence are)",
      where, type);
}

}  // namespace primus::tokenizer

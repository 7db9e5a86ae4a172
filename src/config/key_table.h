#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "config/emit.h"
#include "config/read_value.h"
#include "config/schema.h"

/// How schema_keys.cpp writes the list of keys: one call a key, the field's type deciding how it is read and shown.
namespace primus::config {

template <typename Value>
Value& field_of(RunConfig& config, Value RunConfig::*member) {
  return config.*member;
}
template <typename Value>
Value& field_of(RunConfig& config, Value DatasetConfig::*member) {
  return config.dataset.*member;
}
template <typename Value>
const Value& field_of(const RunConfig& config, Value RunConfig::*member) {
  return config.*member;
}
template <typename Value>
const Value& field_of(const RunConfig& config, Value DatasetConfig::*member) {
  return config.dataset.*member;
}

class KeyTable {
 public:
  /// The place and heading of the keys that follow.
  void section(Place place, std::string heading) {
    place_ = place;
    section_ = std::move(heading);
  }

  template <typename Owner>
  KeySpec& truth(std::string name, bool Owner::*member, std::string meaning) {
    KeySpec& key = add<bool>(name, Kind::kTruth, "true or false", member, std::move(meaning));
    key.set = [member, name](RunConfig& config, const YamlNode& node) {
      field_of(config, member) = read_truth(node, name);
    };
    key.show = [member](const RunConfig& config) { return field_of(config, member) ? "true" : "false"; };
    return finish(key);
  }

  template <typename Owner, typename Value>
  KeySpec& integer(std::string name, Value Owner::*member, Range range, std::string meaning) {
    KeySpec& key = add<Value>(name, Kind::kInteger, "integer" + range.text(), member, std::move(meaning));
    key.set = [member, name, range](RunConfig& config, const YamlNode& node) {
      const std::int64_t value = read_integer(node, name, range);
      if (!std::in_range<Value>(value)) throw bad_input("{}: {} is too large: {}", node.mark.text(), name, value);
      field_of(config, member) = static_cast<Value>(value);
    };
    key.show = [member](const RunConfig& config) { return fmt::format("{}", field_of(config, member)); };
    return finish(key);
  }

  template <typename Owner>
  KeySpec& number(std::string name, double Owner::*member, Range range, std::string meaning) {
    KeySpec& key = add<double>(name, Kind::kNumber, "number" + range.text(), member, std::move(meaning));
    key.set = [member, name, range](RunConfig& config, const YamlNode& node) {
      field_of(config, member) = read_number(node, name, range);
    };
    key.show = [member](const RunConfig& config) { return emit_number(field_of(config, member)); };
    return finish(key);
  }

  /// An empty text shows as null.
  template <typename Owner>
  KeySpec& text(std::string name, std::string Owner::*member, std::string meaning) {
    KeySpec& key = add<std::string>(name, Kind::kText, "text", member, std::move(meaning));
    key.set = [member, name](RunConfig& config, const YamlNode& node) {
      std::string value = read_text_value(node, name);
      if (value.empty()) throw bad_input("{}: {} is empty", node.mark.text(), name);
      field_of(config, member) = std::move(value);
    };
    key.show = [member](const RunConfig& config) {
      const std::string& value = field_of(config, member);
      return value.empty() ? "null" : emit_text(value);
    };
    return finish(key);
  }

  KeySpec& folder_name(const std::string& name, std::string RunConfig::*member, std::string meaning) {
    KeySpec& key = text(name, member, std::move(meaning));
    key.type = "folder name";
    key.set = [member, name](RunConfig& config, const YamlNode& node) {
      config.*member = read_folder_name(node, name);
    };
    return key;
  }

  template <typename Owner, typename Value>
  KeySpec& choice(std::string name, Value Owner::*member, std::vector<std::pair<std::string, Value>> values,
                  std::string meaning) {
    std::vector<std::string> names;
    names.reserve(values.size());
    for (const auto& [value_name, value] : values) names.push_back(value_name);
    KeySpec& key =
        add<Value>(name, Kind::kChoice, fmt::format("{}", fmt::join(names, ", ")), member, std::move(meaning));
    key.set = [member, name, names, values](RunConfig& config, const YamlNode& node) {
      field_of(config, member) = values[read_choice(node, name, names)].second;
    };
    key.show = [member, values](const RunConfig& config) -> std::string {
      for (const auto& [value_name, value] : values) {
        if (value == field_of(config, member)) return emit_text(value_name);
      }
      return "null";  // an unset choice: no name stands for it
    };
    return finish(key);
  }

  /// An empty list shows as null.
  template <typename Owner>
  KeySpec& text_list(std::string name, std::vector<std::string> Owner::*member, std::string meaning) {
    KeySpec& key = add<std::vector<std::string>>(name, Kind::kTextList, "list of texts", member, std::move(meaning));
    key.set = [member, name](RunConfig& config, const YamlNode& node) {
      field_of(config, member) = read_text_list(node, name);
    };
    key.show = [member](const RunConfig& config) {
      const auto& list = field_of(config, member);
      return list.empty() ? std::string("null") : emit_text_list(list);
    };
    return finish(key);
  }

  template <typename Owner>
  KeySpec& number_list(std::string name, std::vector<double> Owner::*member, Range range, std::string meaning) {
    KeySpec& key =
        add<std::vector<double>>(name, Kind::kNumberList, "list of numbers" + range.text(), member, std::move(meaning));
    key.set = [member, name, range](RunConfig& config, const YamlNode& node) {
      field_of(config, member) = read_number_list(node, name, range);
    };
    key.show = [member](const RunConfig& config) {
      const auto& list = field_of(config, member);
      return list.empty() ? std::string("null") : emit_number_list(list);
    };
    return finish(key);
  }

  /// A key with readers of its own: the caller sets type, set, reset and show.
  KeySpec& custom(std::string name, Kind kind, std::string type, std::string meaning) {
    KeySpec key;
    key.name = std::move(name);
    key.place = place_;
    key.kind = kind;
    key.section = section_;
    key.type = std::move(type);
    key.meaning = std::move(meaning);
    keys_.push_back(std::move(key));
    return keys_.back();
  }

  std::vector<KeySpec> take() { return std::move(keys_); }

 private:
  template <typename Value, typename Owner>
  KeySpec& add(std::string name, Kind kind, std::string type, Value Owner::*member, std::string meaning) {
    KeySpec& key = custom(std::move(name), kind, std::move(type), std::move(meaning));
    key.reset = [member](RunConfig& config) { field_of(config, member) = field_of(std::as_const(defaults_), member); };
    return key;
  }

  static KeySpec& finish(KeySpec& key) {
    key.default_text = key.show(defaults_);
    return key;
  }

  inline static const RunConfig defaults_;
  Place place_ = Place::kRun;
  std::string section_;
  std::vector<KeySpec> keys_;
};

}  // namespace primus::config

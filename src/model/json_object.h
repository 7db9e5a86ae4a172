#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

/// For .cpp files that read JSON which nobody vouches for: every error names the file, the key, what was found and what
/// would do.
namespace primus::model {

/// Text as JSON. `where` (a path) begins each message. Throws Error for text that is not JSON or not an object, is
/// larger than 64 MiB or nested deeper than 64.
nlohmann::json parse_json_object(std::string_view text, const std::string& where);

/// Typed access to the members of a JSON object that outlives this. A member that is null counts as absent, except
/// where said.
class JsonObject {
 public:
  JsonObject(const nlohmann::json& object, std::string where);

  const std::string& where() const { return where_; }
  /// There, and not null.
  bool has(const char* key) const { return find(key) != nullptr; }
  /// There, and null.
  bool is_null(const char* key) const;
  /// nullptr when absent or null.
  const nlohmann::json* find(const char* key) const;

  std::int64_t integer(const char* key, std::int64_t low, std::int64_t high) const;
  std::int64_t integer(const char* key, std::int64_t fallback, std::int64_t low, std::int64_t high) const;
  double number(const char* key, double low, double high) const;
  double number(const char* key, double fallback, double low, double high) const;
  bool boolean(const char* key, bool fallback) const;
  std::string string(const char* key) const;
  std::string string(const char* key, const std::string& fallback) const;
  /// A list of strings; empty when absent.
  std::vector<std::string> strings(const char* key) const;
  /// One integer or a list of them; empty when absent.
  std::vector<std::int64_t> integers(const char* key) const;
  JsonObject object(const char* key) const;

  /// The value as it stands in the file, shortened, for messages; "nothing" when there is none.
  std::string show(const char* key) const;
  /// Throws "<where>: `key` is <found>; <what_would_do>".
  [[noreturn]] void refuse(const char* key, const std::string& what_would_do) const;

 private:
  const nlohmann::json& require(const char* key, const char* kind) const;

  const nlohmann::json* object_;
  std::string where_;
};

}  // namespace primus::model

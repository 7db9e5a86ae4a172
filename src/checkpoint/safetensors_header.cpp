#include "checkpoint/safetensors_header.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <utility>

#include "base/error.h"

namespace primus::checkpoint {
namespace {

constexpr std::size_t kMaxRank = 16;
constexpr std::size_t kMaxNameBytes = 4096;

/// Names come from the file: messages show them short and without control characters.
std::string shown(std::string_view name) {
  constexpr std::size_t kLongest = 120;
  std::string text(name.substr(0, kLongest));
  for (char& letter : text) {
    if (static_cast<unsigned char>(letter) < 0x20) letter = '?';
  }
  return name.size() > kLongest ? text + "…" : text;
}

/// Takes the header apart while it is parsed: nothing that the format has not got is ever stored, and a name that comes
/// twice is seen (a parsed tree would keep one of them).
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderReader(std::string where) : where_(std::move(where)) {}

  SafetensorsHeader take() { return std::move(header_); }

  bool start_object(std::size_t) override {
    if (depth_ == 0 || (depth_ == 1 && !name_.empty())) {
      ++depth_;
      if (depth_ == 2 && !in_metadata()) entry_ = HeaderEntry{.name = name_};
      return true;
    }
    unexpected("an object");
  }

  bool end_object() override {
    if (--depth_ == 1 && !in_metadata()) finish_entry();
    return true;
  }

  bool key(std::string& text) override {
    if (depth_ == 1) {
      if (text.empty() || text.size() > kMaxNameBytes) fail(fmt::format("a name of {} bytes", text.size()));
      name_ = text;
      if (!names_.insert(text).second) fail(fmt::format("tensor {} comes twice", shown(text)));
      seen_.clear();
    } else {
      if (!seen_.insert(text).second) fail(fmt::format("{}: `{}` comes twice", shown(name_), shown(text)));
      if (!in_metadata() && text != "dtype" && text != "shape" && text != "data_offsets") {
        fail(fmt::format("{}: unknown key `{}`", shown(name_), shown(text)));
      }
      key_ = text;
    }
    return true;
  }

  bool start_array(std::size_t) override {
    if (depth_ != 2 || in_metadata() || in_array_ || key_ == "dtype") unexpected("a list");
    in_array_ = true;
    numbers_.clear();
    return true;
  }

  bool end_array() override {
    in_array_ = false;
    if (key_ == "shape") {
      for (const std::uint64_t size : numbers_) entry_.shape.push_back(static_cast<std::int64_t>(size));
    } else {
      if (numbers_.size() != 2) fail(fmt::format("{}: `data_offsets` must be two numbers", shown(name_)));
      entry_.begin = numbers_[0];
      entry_.end = numbers_[1];
    }
    return true;
  }

  bool number_unsigned(std::uint64_t value) override {
    if (!in_array_) unexpected("a number");
    if (value > static_cast<std::uint64_t>(INT64_MAX)) fail(fmt::format("{}: {} is too large", shown(name_), value));
    if (numbers_.size() >= kMaxRank) fail(fmt::format("{}: more than {} dimensions", shown(name_), kMaxRank));
    numbers_.push_back(value);
    return true;
  }

  bool string(std::string& value) override {
    if (depth_ == 2 && in_metadata()) {
      header_.metadata[key_] = value;
      return true;
    }
    if (depth_ != 2 || key_ != "dtype" || in_array_) unexpected("a string");
    entry_.dtype = value;
    return true;
  }

  bool number_integer(std::int64_t) override { unexpected("a negative number"); }
  bool number_float(double, const std::string&) override { unexpected("a fraction"); }
  bool boolean(bool) override { unexpected("true or false"); }
  bool null() override { unexpected("null"); }
  bool binary(nlohmann::json::binary_t&) override { unexpected("bytes"); }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    fail(fmt::format("the header is not valid JSON at byte {}", position));
  }

 private:
  bool in_metadata() const { return name_ == "__metadata__"; }

  [[noreturn]] void fail(const std::string& what) const {
    throw bad_input("{}: {}; the file is damaged or no safetensors file", where_, what);
  }
  [[noreturn]] void unexpected(const char* what) const {
    fail(name_.empty() ? fmt::format("{} where the header's object should begin", what)
                       : fmt::format("{}: {} is not expected there", shown(name_), what));
  }

  void finish_entry() {
    if (seen_.size() != 3) fail(fmt::format("{}: needs dtype, shape and data_offsets", shown(name_)));
    header_.entries.push_back(std::move(entry_));
  }

  std::string where_;
  SafetensorsHeader header_;
  int depth_ = 0;
  bool in_array_ = false;
  std::string name_;
  std::string key_;
  std::unordered_set<std::string> names_;
  std::unordered_set<std::string> seen_;
  std::vector<std::uint64_t> numbers_;
  HeaderEntry entry_;
};

void check_size(const HeaderEntry& entry, const std::string& where) {
  const std::optional<std::uint64_t> element = element_bytes(entry.dtype);
  if (!element) return;
  std::uint64_t bytes = *element;
  bool overflows = false;
  for (const std::int64_t size : entry.shape) {
    overflows = overflows || __builtin_mul_overflow(bytes, static_cast<std::uint64_t>(size), &bytes);
  }
  if (overflows) throw bad_input("{}: {}: its shape has more elements than can be counted", where, shown(entry.name));
  if (bytes != entry.end - entry.begin) {
    throw bad_input("{}: {}: its shape takes {} bytes of {}, its data_offsets give {}", where, shown(entry.name), bytes,
                    shown(entry.dtype), entry.end - entry.begin);
  }
}

}  // namespace

std::optional<std::uint64_t> element_bytes(std::string_view dtype) {
  for (const char* one : {"BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"}) {
    if (dtype == one) return 1;
  }
  for (const char* two : {"I16", "U16", "F16", "BF16"}) {
    if (dtype == two) return 2;
  }
  for (const char* four : {"I32", "U32", "F32"}) {
    if (dtype == four) return 4;
  }
  for (const char* eight : {"I64", "U64", "F64", "C64"}) {
    if (dtype == eight) return 8;
  }
  return std::nullopt;
}

SafetensorsHeader parse_safetensors_header(std::string_view json, std::uint64_t data_bytes, const std::string& where) {
  HeaderReader reader(where);
  nlohmann::json::sax_parse(json.begin(), json.end(), &reader);
  SafetensorsHeader header = reader.take();
  std::sort(header.entries.begin(), header.entries.end(), [](const HeaderEntry& a, const HeaderEntry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  std::uint64_t reached = 0;
  for (const HeaderEntry& entry : header.entries) {
    if (entry.begin > entry.end) {
      throw bad_input("{}: {}: data_offsets {} to {} run backwards", where, shown(entry.name), entry.begin, entry.end);
    }
    if (entry.end > data_bytes) {
      throw bad_input("{}: {}: its bytes end at {} but the file's data end at {}; the file is cut off or damaged",
                      where, shown(entry.name), entry.end, data_bytes);
    }
    if (entry.begin != reached) {
      throw bad_input("{}: {}: its bytes begin at {}, {} the end of the tensor before at {}; the file is damaged",
                      where, shown(entry.name), entry.begin, entry.begin < reached ? "before" : "beyond", reached);
    }
    check_size(entry, where);
    reached = entry.end;
  }
  if (reached != data_bytes) {
    throw bad_input("{}: {} bytes after the last tensor; the file is damaged", where, data_bytes - reached);
  }
  return header;
}

}  // namespace primus::checkpoint

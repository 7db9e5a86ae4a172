#include "tokenizer/regex.h"

#include "base/error.h"
#include "tokenizer/oniguruma.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace primus::tokenizer {
namespace {

constexpr std::size_t kMaxPattern = 64 << 10;

std::string message_of(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof buffer);
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

struct Regex::Code {
  pcre2_code* code = nullptr;
  bool jit = false;
  std::string where;

  Code() = default;
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;
  ~Code() { pcre2_code_free(code); }
};

Regex::Regex(const std::string& pattern, const std::string& where) {
  if (pattern.size() > kMaxPattern) {
    throw bad_input("{}: a pattern of {} bytes; {} are supported", where, pattern.size(), kMaxPattern);
  }
  const std::string translated = from_oniguruma(pattern, where);
  auto code = std::make_shared<Code>();
  code->where = where;
  int error = 0;
  PCRE2_SIZE at = 0;
  code->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                             PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &at, nullptr);
  if (code->code == nullptr) {
    throw bad_input("{}: the pattern {} does not compile: {} (at byte {})", where, pattern, message_of(error), at);
  }
  code->jit = pcre2_jit_compile(code->code, PCRE2_JIT_COMPLETE) == 0;
  code_ = std::move(code);
}

std::string Regex::escape(std::string_view literal) {
  std::string out;
  for (const char c : literal) {
    if (static_cast<unsigned char>(c) < 0x80 &&
        std::string_view("\\^$.|?*+()[]{}-#&").find(c) != std::string_view::npos) {
      out += '\\';
    }
    out += c;
  }
  return out;
}

struct Regex::Matcher::State {
  std::shared_ptr<const Code> code;
  pcre2_match_data* data = nullptr;
  pcre2_match_context* context = nullptr;
  pcre2_jit_stack* stack = nullptr;

  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
};

Regex::Matcher::Matcher(const Regex& regex) : state_(std::make_unique<State>()) {
  state_->code = regex.code_;
  state_->data = pcre2_match_data_create(1, nullptr);
  if (state_->data == nullptr) throw std::bad_alloc();
}

Regex::Matcher::~Matcher() = default;

bool Regex::Matcher::find(std::string_view text, std::size_t from, ByteSpan& match) {
  State& state = *state_;
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const auto run = [&] {
    return state.code->jit ? pcre2_jit_match(state.code->code, subject, text.size(), from, 0, state.data, state.context)
                           : pcre2_match(state.code->code, subject, text.size(), from, PCRE2_NO_UTF_CHECK, state.data,
                                         state.context);
  };
  int found = run();
  if (found == PCRE2_ERROR_JIT_STACKLIMIT && state.stack == nullptr) {
    constexpr std::size_t kFirstStack = 64 << 10, kLargestStack = 64 << 20;
    state.context = pcre2_match_context_create(nullptr);
    state.stack = pcre2_jit_stack_create(kFirstStack, kLargestStack, nullptr);
    if (state.context == nullptr || state.stack == nullptr) throw std::bad_alloc();
    pcre2_jit_stack_assign(state.context, nullptr, state.stack);
    found = run();
  }
  if (found == PCRE2_ERROR_NOMATCH) return false;
  if (found < 0) {
    throw bad_input("{}: matching the pattern failed near byte {} of the text: {}", state.code->where, from,
                    message_of(found));
  }
  const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(state.data);
  match = {ends[0], ends[1]};
  return true;
}

}  // namespace primus::tokenizer

#include "base/error.h"
#include "tokenizer/jinja/parser.h"

namespace primus::tokenizer::jinja {
namespace {

using Type = Token::Kind;

constexpr int kMaxDepth = 200;  // of nested parentheses and blocks

}  // namespace

const Token& TokenStream::next() {
  const Token& token = tokens_[at_];
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}

bool TokenStream::skip(std::string_view op) {
  if (!current().is(op)) return false;
  next();
  return true;
}

bool TokenStream::skip_name(std::string_view name) {
  if (!current().is_name(name)) return false;
  next();
  return true;
}

void TokenStream::expect(std::string_view op) {
  if (!skip(op)) fail_expected(fmt::format("'{}'", op));
}

void TokenStream::expect_name(std::string_view name) {
  if (!skip_name(name)) fail_expected(fmt::format("'{}'", name));
}

std::string TokenStream::expect_any_name(std::string_view what) {
  if (current().kind != Type::kName) fail_expected(what);
  return next().text;
}

void TokenStream::fail(const std::string& what) const {
  throw bad_input("{}: line {}: {}", name_, current().line, what);
}

void TokenStream::fail_expected(std::string_view what) const {
  std::string found;
  switch (current().kind) {
    case Type::kEnd:
      found = "the end of the template";
      break;
    case Type::kTagEnd:
    case Type::kPrintEnd:
      found = "the end of the tag";
      break;
    case Type::kText:
      found = "text";
      break;
    default:
      found = fmt::format("'{}'", current().text);
  }
  fail(fmt::format("expected {}, found {}", what, found));
}

TokenStream::Level::Level(TokenStream& stream) : stream_(stream) {
  if (++stream_.depth_ > kMaxDepth) {
    --stream_.depth_;
    stream_.fail("nested too deep");
  }
}

}  // namespace primus::tokenizer::jinja

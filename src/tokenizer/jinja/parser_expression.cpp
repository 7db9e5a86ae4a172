#include <algorithm>
#include <array>

#include "base/error.h"
#include "tokenizer/jinja/builtins.h"
#include "tokenizer/jinja/parser.h"

namespace primus::tokenizer::jinja {
namespace {

using Kind = Expr::Kind;
using Op = Expr::Op;
using Type = Token::Kind;

constexpr int kMaxDepth = 200;    // of nested parentheses and blocks
constexpr int kMaxHeight = 1000;  // of chains such as a + b + c + …

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

ExprPtr ExpressionParser::make(Kind kind) const {
  auto expr = std::make_unique<Expr>();
  expr->kind = kind;
  expr->line = stream_.current().line;
  return expr;
}

ExprPtr ExpressionParser::checked(ExprPtr expr) const {
  int height = 0;
  for (const ExprPtr& item : expr->items) height = std::max(height, item ? item->height : 0);
  for (const Keyword& keyword : expr->keywords) height = std::max(height, keyword.value->height);
  expr->height = height + 1;
  if (expr->height > kMaxHeight) stream_.fail("the expression is too long");
  return expr;
}

ExprPtr ExpressionParser::binary(Op op, ExprPtr left, ExprPtr right) const {
  auto expr = make(Kind::kBinary);
  expr->line = left->line;
  expr->op = op;
  expr->items.push_back(std::move(left));
  expr->items.push_back(std::move(right));
  return checked(std::move(expr));
}

ExprPtr ExpressionParser::make_name(const std::string& name, int line) {
  auto expr = make(Kind::kName);
  expr->line = line;
  expr->name = name;
  if (name == "true" || name == "True" || name == "false" || name == "False") {
    expr->kind = Kind::kConstant;
    expr->constant = Value(name[0] == 't' || name[0] == 'T');
  } else if (name == "none" || name == "None") {
    expr->kind = Kind::kConstant;
  } else {
    expr->symbol = out_.intern(name);
    expr->constant = Value::undefined(fmt::format("'{}' is undefined", name));
  }
  return expr;
}

ExprPtr ExpressionParser::parse_expression(bool with_condition) {
  const TokenStream::Level level(stream_);
  return with_condition ? parse_condition() : parse_or();
}

ExprPtr ExpressionParser::parse_condition() {
  ExprPtr value = parse_or();
  while (stream_.skip_name("if")) {
    auto expr = make(Kind::kCondition);
    expr->items.push_back(std::move(value));
    expr->items.push_back(parse_or());
    expr->items.push_back(stream_.skip_name("else") ? parse_expression() : nullptr);
    value = checked(std::move(expr));
  }
  return value;
}

ExprPtr ExpressionParser::parse_or() {
  ExprPtr left = parse_and();
  while (stream_.skip_name("or")) {
    auto expr = make(Kind::kOr);
    expr->items.push_back(std::move(left));
    expr->items.push_back(parse_and());
    left = checked(std::move(expr));
  }
  return left;
}

ExprPtr ExpressionParser::parse_and() {
  ExprPtr left = parse_not();
  while (stream_.skip_name("and")) {
    auto expr = make(Kind::kAnd);
    expr->items.push_back(std::move(left));
    expr->items.push_back(parse_not());
    left = checked(std::move(expr));
  }
  return left;
}

ExprPtr ExpressionParser::parse_not() {
  if (!stream_.current().is_name("not")) return parse_compare();
  const TokenStream::Level level(stream_);
  auto expr = make(Kind::kNot);
  stream_.next();
  expr->items.push_back(parse_not());
  return checked(std::move(expr));
}

ExprPtr ExpressionParser::parse_compare() {
  ExprPtr first = parse_sum();
  ExprPtr expr;
  const auto add = [&](Op op) {
    if (!expr) {
      expr = make(Kind::kCompare);
      expr->items.push_back(std::move(first));
    }
    expr->ops.push_back(op);
    expr->items.push_back(parse_sum());
  };
  constexpr std::array<std::pair<std::string_view, Op>, 6> kOps = {
      {{"==", Op::kEq}, {"!=", Op::kNe}, {"<", Op::kLt}, {"<=", Op::kLe}, {">", Op::kGt}, {">=", Op::kGe}}};
  while (true) {
    const Token& token = stream_.current();
    const auto op = std::find_if(kOps.begin(), kOps.end(), [&](const auto& known) { return token.is(known.first); });
    if (op != kOps.end()) {
      stream_.next();
      add(op->second);
    } else if (stream_.skip_name("in")) {
      add(Op::kIn);
    } else if (token.is_name("not") && stream_.ahead().is_name("in")) {
      stream_.next();
      stream_.next();
      add(Op::kNotIn);
    } else {
      return expr ? checked(std::move(expr)) : std::move(first);
    }
  }
}

ExprPtr ExpressionParser::parse_sum() {
  ExprPtr left = parse_concat();
  while (stream_.current().is("+") || stream_.current().is("-")) {
    const Op op = stream_.next().text == "+" ? Op::kAdd : Op::kSub;
    left = binary(op, std::move(left), parse_concat());
  }
  return left;
}

ExprPtr ExpressionParser::parse_concat() {
  ExprPtr first = parse_product();
  if (!stream_.current().is("~")) return first;
  auto expr = make(Kind::kConcat);
  expr->items.push_back(std::move(first));
  while (stream_.skip("~")) expr->items.push_back(parse_product());
  return checked(std::move(expr));
}

ExprPtr ExpressionParser::parse_product() {
  ExprPtr left = parse_power();
  while (true) {
    const Token& token = stream_.current();
    Op op;
    if (token.is("*")) {
      op = Op::kMul;
    } else if (token.is("/")) {
      op = Op::kDiv;
    } else if (token.is("//")) {
      op = Op::kFloorDiv;
    } else if (token.is("%")) {
      op = Op::kMod;
    } else {
      return left;
    }
    stream_.next();
    left = binary(op, std::move(left), parse_power());
  }
}

ExprPtr ExpressionParser::parse_power() {
  ExprPtr left = parse_unary(true);
  while (stream_.skip("**")) left = binary(Op::kPow, std::move(left), parse_unary(true));
  return left;
}

ExprPtr ExpressionParser::parse_unary(bool with_filters) {
  const TokenStream::Level level(stream_);
  ExprPtr value;
  if (stream_.current().is("-") || stream_.current().is("+")) {
    value = make(stream_.current().is("-") ? Kind::kNegate : Kind::kPositive);
    stream_.next();
    value->items.push_back(parse_unary(false));
    value = checked(std::move(value));
  } else {
    value = parse_primary();
  }
  value = parse_postfix(std::move(value));
  return with_filters ? parse_filters_and_tests(std::move(value)) : std::move(value);
}

ExprPtr ExpressionParser::parse_primary() {
  const Token& token = stream_.current();
  switch (token.kind) {
    case Type::kName:
      stream_.next();
      return make_name(token.text, token.line);
    case Type::kString: {
      auto expr = make(Kind::kConstant);
      std::string text;
      while (stream_.current().kind == Type::kString) text += stream_.next().text;
      expr->constant = Value(std::move(text));
      return expr;
    }
    case Type::kInteger:
    case Type::kFloat: {
      auto expr = make(Kind::kConstant);
      expr->constant = stream_.next().value;
      return expr;
    }
    default:
      if (token.is("(")) return parse_parenthesis();
      if (token.is("[")) return parse_list();
      if (token.is("{")) return parse_dict();
      stream_.fail_expected("a value");
  }
}

bool ExpressionParser::at_tuple_end() const {
  const Token& token = stream_.current();
  return token.kind == Type::kTagEnd || token.kind == Type::kPrintEnd || token.kind == Type::kEnd || token.is(")");
}

ExprPtr ExpressionParser::parse_tuple(bool with_condition) {
  ExprPtr first = parse_expression(with_condition);
  if (!stream_.current().is(",")) return first;
  auto expr = make(Kind::kTuple);
  expr->items.push_back(std::move(first));
  while (stream_.skip(",")) {
    if (at_tuple_end()) break;
    expr->items.push_back(parse_expression(with_condition));
  }
  return checked(std::move(expr));
}

ExprPtr ExpressionParser::parse_parenthesis() {
  auto empty = make(Kind::kTuple);
  stream_.expect("(");
  if (stream_.skip(")")) return empty;
  ExprPtr value = parse_tuple();
  stream_.expect(")");
  return value;
}

ExprPtr ExpressionParser::parse_list() {
  auto expr = make(Kind::kList);
  stream_.expect("[");
  while (!stream_.current().is("]")) {
    if (!expr->items.empty()) stream_.expect(",");
    if (stream_.current().is("]")) break;
    expr->items.push_back(parse_expression());
  }
  stream_.expect("]");
  return checked(std::move(expr));
}

ExprPtr ExpressionParser::parse_dict() {
  auto expr = make(Kind::kDict);
  stream_.expect("{");
  while (!stream_.current().is("}")) {
    if (!expr->items.empty()) stream_.expect(",");
    if (stream_.current().is("}")) break;
    expr->items.push_back(parse_expression());
    stream_.expect(":");
    expr->items.push_back(parse_expression());
  }
  stream_.expect("}");
  return checked(std::move(expr));
}

ExprPtr ExpressionParser::parse_postfix(ExprPtr value) {
  while (true) {
    if (stream_.current().is(".") || stream_.current().is("[")) {
      value = parse_subscript(std::move(value));
    } else if (stream_.current().is("(")) {
      value = parse_call(std::move(value));
    } else {
      return value;
    }
  }
}

ExprPtr ExpressionParser::parse_subscript(ExprPtr value) {
  auto expr = make(Kind::kItem);
  if (stream_.skip(".")) {
    const Token& token = stream_.next();
    expr->items.push_back(std::move(value));
    if (token.kind == Type::kName) {
      expr->kind = Kind::kAttribute;
      expr->name = token.text;
      expr->constant = Value::undefined(fmt::format("the value has no attribute '{}'", token.text));
    } else if (token.kind == Type::kInteger) {
      auto index = make(Kind::kConstant);
      index->constant = token.value;
      expr->items.push_back(std::move(index));
    } else {
      stream_.fail("expected a name or a number behind '.'");
    }
    return checked(std::move(expr));
  }
  stream_.expect("[");
  expr->items.push_back(std::move(value));
  ExprPtr first = stream_.current().is(":") ? nullptr : parse_expression();
  if (stream_.current().is(":")) {
    expr->kind = Kind::kSlice;
    expr->items.push_back(std::move(first));
    for (int i = 0; i < 2; ++i) {
      const bool more = stream_.skip(":");
      const bool bound = more && !stream_.current().is(":") && !stream_.current().is("]");
      expr->items.push_back(bound ? parse_expression() : nullptr);
    }
  } else {
    expr->items.push_back(std::move(first));
  }
  stream_.expect("]");
  return checked(std::move(expr));
}

void ExpressionParser::parse_arguments(Expr& call) {
  stream_.expect("(");
  bool first = true;
  while (!stream_.current().is(")")) {
    if (!first) stream_.expect(",");
    first = false;
    if (stream_.current().is(")")) break;
    if (stream_.current().is("*") || stream_.current().is("**")) {
      stream_.fail("* and ** in a call are not supported");
    }
    if (stream_.current().kind == Type::kName && stream_.ahead().is("=")) {
      std::string name = stream_.next().text;
      stream_.next();
      call.keywords.push_back({std::move(name), parse_expression()});
    } else {
      if (!call.keywords.empty()) stream_.fail("a positional argument behind a named one");
      call.items.push_back(parse_expression());
    }
  }
  stream_.expect(")");
}

ExprPtr ExpressionParser::parse_call(ExprPtr callee) {
  auto expr = make(Kind::kCall);
  expr->items.push_back(std::move(callee));
  parse_arguments(*expr);
  return checked(std::move(expr));
}

ExprPtr ExpressionParser::parse_filters_and_tests(ExprPtr value) {
  while (true) {
    if (stream_.current().is("|")) {
      value = parse_filter(std::move(value));
    } else if (stream_.current().is_name("is")) {
      value = parse_test(std::move(value));
    } else if (stream_.current().is("(")) {
      value = parse_call(std::move(value));
    } else {
      return value;
    }
  }
}

ExprPtr ExpressionParser::parse_filters(ExprPtr value) {
  while (stream_.current().is("|")) value = parse_filter(std::move(value));
  return value;
}

ExprPtr ExpressionParser::parse_filter(ExprPtr value) {
  stream_.expect("|");
  return parse_first_filter(std::move(value));
}

ExprPtr ExpressionParser::parse_first_filter(ExprPtr value) {
  auto expr = make(Kind::kFilter);
  expr->name = stream_.expect_any_name("the name of a filter");
  expr->function = find_filter(expr->name);
  if (expr->function < 0) {
    stream_.fail(fmt::format("there is no filter '{}'; known are: {}", expr->name, filter_names()));
  }
  expr->items.push_back(std::move(value));
  if (stream_.current().is("(")) parse_arguments(*expr);
  return checked(std::move(expr));
}

ExprPtr ExpressionParser::parse_test(ExprPtr value) {
  auto expr = make(Kind::kTest);
  stream_.expect_name("is");
  const bool negated = stream_.skip_name("not");
  expr->name = stream_.expect_any_name("the name of a test");
  expr->function = find_test(expr->name);
  if (expr->function < 0) {
    stream_.fail(fmt::format("there is no test '{}'; known are: {}", expr->name, test_names()));
  }
  expr->items.push_back(std::move(value));
  const Token& token = stream_.current();
  if (token.is_name("is")) stream_.fail("one test after another ('is … is …') is not possible");
  const bool is_value = token.kind == Type::kString || token.kind == Type::kInteger || token.kind == Type::kFloat ||
                        token.is("[") || token.is("{") ||
                        (token.kind == Type::kName && !token.is_name("else") && !token.is_name("or") &&
                         !token.is_name("and") && !token.is_name("if"));
  if (token.is("(")) {
    parse_arguments(*expr);
  } else if (is_value) {
    expr->items.push_back(parse_postfix(parse_primary()));
  }
  expr = checked(std::move(expr));
  if (!negated) return expr;
  auto inverse = make(Kind::kNot);
  inverse->line = expr->line;
  inverse->items.push_back(std::move(expr));
  return checked(std::move(inverse));
}

}  // namespace primus::tokenizer::jinja

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

constexpr int kMaxHeight = 1000;  // of chains such as a + b + c + …

}  // namespace

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

}  // namespace primus::tokenizer::jinja

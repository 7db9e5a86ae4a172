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

}  // namespace

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

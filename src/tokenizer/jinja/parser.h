#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/jinja/ast.h"
#include "tokenizer/jinja/lexer.h"

namespace primus::tokenizer::jinja {

/// Throws Error with `name` and the line; filters and tests must be built-in ones, which the message then lists.
Template parse(std::string_view source, const std::string& name);

/// Tokens one after the other, with what both halves of the parser need.
class TokenStream {
 public:
  TokenStream(std::vector<Token> tokens, const std::string& name) : tokens_(std::move(tokens)), name_(name) {}

  const Token& current() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  const Token& next();
  bool skip(std::string_view op);
  bool skip_name(std::string_view name);
  void expect(std::string_view op);
  void expect_name(std::string_view name);
  std::string expect_any_name(std::string_view what);
  [[noreturn]] void fail(const std::string& what) const;
  [[noreturn]] void fail_expected(std::string_view what) const;

  /// Nesting bound; each level of the recursive descent holds one.
  class Level {
   public:
    explicit Level(TokenStream& stream);
    ~Level() { --stream_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    TokenStream& stream_;
  };

 private:
  std::vector<Token> tokens_;
  const std::string& name_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

class ExpressionParser {
 public:
  ExpressionParser(TokenStream& stream, Template& out) : stream_(stream), out_(out) {}

  ExprPtr parse_expression(bool with_condition = true);
  /// One expression, or several with commas between as a tuple.
  ExprPtr parse_tuple(bool with_condition = true);
  /// `value` | filter | filter …, from the current token on.
  ExprPtr parse_filters(ExprPtr value);
  /// The first of a {% filter %} tag, which no | leads.
  ExprPtr parse_first_filter(ExprPtr value);
  ExprPtr parse_postfix(ExprPtr value);
  ExprPtr parse_primary();
  ExprPtr make_name(const std::string& name, int line);

 private:
  ExprPtr parse_condition();
  ExprPtr parse_or();
  ExprPtr parse_and();
  ExprPtr parse_not();
  ExprPtr parse_compare();
  ExprPtr parse_sum();
  ExprPtr parse_concat();
  ExprPtr parse_product();
  ExprPtr parse_power();
  ExprPtr parse_unary(bool with_filters);
  ExprPtr parse_filters_and_tests(ExprPtr value);
  ExprPtr parse_filter(ExprPtr value);
  ExprPtr parse_test(ExprPtr value);
  ExprPtr parse_subscript(ExprPtr value);
  ExprPtr parse_call(ExprPtr callee);
  ExprPtr parse_list();
  ExprPtr parse_dict();
  ExprPtr parse_parenthesis();
  void parse_arguments(Expr& call);
  bool at_tuple_end() const;
  ExprPtr make(Expr::Kind kind) const;
  /// Notes the height of a finished expression and refuses a tree that is too high to walk.
  ExprPtr checked(ExprPtr expr) const;
  ExprPtr binary(Expr::Op op, ExprPtr left, ExprPtr right) const;

  TokenStream& stream_;
  Template& out_;
};

}  // namespace primus::tokenizer::jinja

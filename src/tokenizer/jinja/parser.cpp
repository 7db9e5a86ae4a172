#include "tokenizer/jinja/parser.h"

#include <algorithm>

#include "base/error.h"

namespace primus::tokenizer::jinja {
namespace {

using Kind = Stmt::Kind;
using Type = Token::Kind;

class Parser {
 public:
  Parser(std::vector<Token> tokens, const std::string& name)
      : stream_(std::move(tokens), name), expressions_(stream_, out_) {}

  Template run() {
    out_.intern("loop");
    out_.body = parse_block({});
    return std::move(out_);
  }

 private:
  std::unique_ptr<Stmt> make(Kind kind) const {
    auto stmt = std::make_unique<Stmt>();
    stmt->kind = kind;
    stmt->line = stream_.current().line;
    return stmt;
  }

  /// Statements up to a tag that begins with one of `ends`, whose name is then the current token. With no `ends`, up to
  /// the end of the template.
  Block parse_block(std::initializer_list<std::string_view> ends) {
    const TokenStream::Level level(stream_);
    Block block;
    while (true) {
      const Token& token = stream_.current();
      if (token.kind == Type::kEnd) {
        if (ends.size() == 0) return block;
        stream_.fail(fmt::format("the template ends where {{% {} %}} is missing", *(ends.end() - 1)));
      }
      if (token.kind == Type::kText) {
        block.push_back(make(Kind::kText));
        block.back()->text = stream_.next().text;
      } else if (token.kind == Type::kPrintBegin) {
        block.push_back(make(Kind::kPrint));
        stream_.next();
        block.back()->expr = expressions_.parse_tuple();
        if (stream_.current().kind != Type::kPrintEnd) stream_.fail_expected("'}}'");
        stream_.next();
      } else {
        stream_.next();  // {%
        const Token& tag = stream_.current();
        for (const std::string_view end : ends) {
          if (tag.is_name(end)) return block;
        }
        if (tag.kind != Type::kName) stream_.fail_expected("the name of a tag");
        block.push_back(parse_statement());
      }
    }
  }

  void end_tag() {
    if (stream_.current().kind != Type::kTagEnd) stream_.fail_expected("'%}'");
    stream_.next();
  }

  /// The body of a tag and its closing tag.
  Block parse_body(std::string_view end) {
    end_tag();
    Block body = parse_block({end});
    stream_.next();
    end_tag();
    return body;
  }

  std::unique_ptr<Stmt> parse_statement() {
    const std::string tag = stream_.current().text;
    if (tag == "if") return parse_if();
    if (tag == "for") return parse_for();
    if (tag == "set") return parse_set();
    if (tag == "macro") return parse_macro();
    if (tag == "call") return parse_call();
    if (tag == "filter") return parse_filter();
    if (tag == "with") return parse_with();
    if (tag == "generation") return parse_generation();
    if (tag == "break" || tag == "continue") {
      if (loops_ == 0) stream_.fail(fmt::format("'{}' outside of a loop", tag));
      auto stmt = make(tag == "break" ? Kind::kBreak : Kind::kContinue);
      stream_.next();
      end_tag();
      return stmt;
    }
    for (const char* known : {"include", "import", "from", "extends", "block", "autoescape", "do"}) {
      if (tag == known) stream_.fail(fmt::format("{{% {} %}} is not supported in chat templates", tag));
    }
    stream_.fail(fmt::format("unknown or misplaced tag '{}'", tag));
  }

  std::unique_ptr<Stmt> parse_if() {
    auto stmt = make(Kind::kIf);
    while (true) {
      const bool is_else = stream_.current().is_name("else");
      stream_.next();
      Stmt::Branch branch;
      if (!is_else) branch.condition = expressions_.parse_tuple(false);
      end_tag();
      branch.body = is_else ? parse_block({"endif"}) : parse_block({"elif", "else", "endif"});
      stmt->branches.push_back(std::move(branch));
      if (stream_.skip_name("endif")) break;
    }
    end_tag();
    return stmt;
  }

  Target parse_one_target() {
    Target target;
    if (stream_.skip("(")) {
      target = parse_target();
      stream_.expect(")");
      return target;
    }
    target.name = stream_.expect_any_name("a name to assign to");
    for (const char* constant : {"true", "True", "false", "False", "none", "None"}) {
      if (target.name == constant) stream_.fail(fmt::format("'{}' cannot be assigned to", target.name));
    }
    target.symbol = out_.intern(target.name);
    return target;
  }

  Target parse_target() {
    Target first = parse_one_target();
    if (!stream_.current().is(",")) return first;
    Target whole;
    whole.parts.push_back(std::move(first));
    while (stream_.skip(",")) {
      if (stream_.current().is_name("in") || stream_.current().is("=") || stream_.current().is(")")) break;
      whole.parts.push_back(parse_one_target());
    }
    return whole;
  }

  std::unique_ptr<Stmt> parse_for() {
    auto stmt = make(Kind::kFor);
    stream_.next();
    stmt->target = parse_target();
    if (stmt->target.name == "loop") stream_.fail("'loop' cannot be the variable of a loop");
    stream_.expect_name("in");
    stmt->expr = expressions_.parse_tuple(false);
    if (stream_.skip_name("if")) stmt->condition = expressions_.parse_expression();
    stmt->recursive = stream_.skip_name("recursive");
    end_tag();
    ++loops_;
    stmt->body = parse_block({"else", "endfor"});
    --loops_;
    if (stream_.skip_name("else")) {
      end_tag();
      stmt->otherwise = parse_block({"endfor"});
    }
    stream_.expect_name("endfor");
    end_tag();
    return stmt;
  }

  std::unique_ptr<Stmt> parse_set() {
    auto stmt = make(Kind::kSet);
    stream_.next();
    stmt->target = parse_target();
    if (stmt->target.parts.empty() && stream_.skip(".")) {
      stmt->target.attribute = stream_.expect_any_name("the name of an attribute");
    }
    if (stream_.skip("=")) {
      stmt->expr = expressions_.parse_tuple();
      end_tag();
      return stmt;
    }
    stmt->kind = Kind::kSetBlock;
    stmt->expr = expressions_.parse_filters(expressions_.make_name(kBlockText, stmt->line));
    stmt->body = parse_body("endset");
    return stmt;
  }

  std::vector<Parameter> parse_parameters() {
    std::vector<Parameter> parameters;
    stream_.expect("(");
    while (!stream_.current().is(")")) {
      if (!parameters.empty()) stream_.expect(",");
      if (stream_.current().is(")")) break;
      Parameter parameter;
      parameter.name = stream_.expect_any_name("the name of a parameter");
      parameter.symbol = out_.intern(parameter.name);
      if (stream_.skip("=")) {
        parameter.otherwise = expressions_.parse_expression();
      } else if (!parameters.empty() && parameters.back().otherwise) {
        stream_.fail("a parameter without a default behind one with");
      }
      parameters.push_back(std::move(parameter));
    }
    stream_.expect(")");
    return parameters;
  }

  std::unique_ptr<Stmt> parse_macro() {
    auto stmt = make(Kind::kMacro);
    stream_.next();
    stmt->target.name = stream_.expect_any_name("the name of a macro");
    stmt->target.symbol = out_.intern(stmt->target.name);
    stmt->parameters = parse_parameters();
    const int outer = std::exchange(loops_, 0);
    stmt->body = parse_body("endmacro");
    loops_ = outer;
    return stmt;
  }

  std::unique_ptr<Stmt> parse_call() {
    auto stmt = make(Kind::kCallBlock);
    stream_.next();
    if (stream_.current().is("(")) stmt->parameters = parse_parameters();
    stmt->expr = expressions_.parse_expression();
    if (stmt->expr->kind != Expr::Kind::kCall) stream_.fail("expected a call");
    const int outer = std::exchange(loops_, 0);
    stmt->body = parse_body("endcall");
    loops_ = outer;
    return stmt;
  }

  std::unique_ptr<Stmt> parse_filter() {
    auto stmt = make(Kind::kFilterBlock);
    stream_.next();
    // {% filter upper | trim %}: the first filter has no | before it
    stmt->expr =
        expressions_.parse_filters(expressions_.parse_first_filter(expressions_.make_name(kBlockText, stmt->line)));
    stmt->body = parse_body("endfilter");
    return stmt;
  }

  std::unique_ptr<Stmt> parse_with() {
    auto stmt = make(Kind::kWith);
    stream_.next();
    while (stream_.current().kind != Type::kTagEnd) {
      if (!stmt->bindings.empty()) stream_.expect(",");
      Stmt::Binding binding;
      binding.target = parse_one_target();
      stream_.expect("=");
      binding.value = expressions_.parse_expression();
      stmt->bindings.push_back(std::move(binding));
    }
    stmt->body = parse_body("endwith");
    return stmt;
  }

  std::unique_ptr<Stmt> parse_generation() {
    auto stmt = make(Kind::kGeneration);
    stream_.next();
    out_.has_generation = true;
    const int outer = std::exchange(loops_, 0);
    stmt->body = parse_body("endgeneration");
    loops_ = outer;
    return stmt;
  }

  Template out_;
  TokenStream stream_;
  ExpressionParser expressions_;
  int loops_ = 0;
};

}  // namespace

Symbol Template::intern(const std::string& name) {
  const auto [place, fresh] = symbol_index.emplace(name, static_cast<Symbol>(symbols.size()));
  if (fresh) symbols.push_back(name);
  return place->second;
}

Symbol Template::find(const std::string& name) const {
  const auto found = symbol_index.find(name);
  return found == symbol_index.end() ? -1 : found->second;
}

Template parse(std::string_view source, const std::string& name) { return Parser(tokenize(source, name), name).run(); }

}  // namespace primus::tokenizer::jinja

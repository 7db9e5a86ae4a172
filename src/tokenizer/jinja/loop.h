#pragma once

#include <string>
#include <vector>

#include "tokenizer/jinja/interpreter.h"

namespace primus::tokenizer::jinja {

/// The variable `loop`; calling it runs a recursive loop over another list.
class Loop : public RuntimeObject {
 public:
  Loop(const Stmt& stmt, Interpreter::Scope* scope, List values, int nesting)
      : items(std::move(values)), depth(nesting), stmt_(stmt), scope_(scope) {}

  std::string_view type_name() const override { return "a loop"; }
  std::optional<Value> attribute(std::string_view name) const override;
  std::optional<Value> call_method(Interpreter& interpreter, std::string_view name,
                                   const Arguments& arguments) override;
  bool callable() const override { return true; }
  Value call(Interpreter& interpreter, const Arguments& arguments) override;
  void release() override;

  List items;
  std::size_t index = 0;
  int depth = 0;

 private:
  const Stmt& stmt_;
  Interpreter::Scope* scope_;
  std::optional<Value> last_;  // what `changed` saw
};

/// A macro, or the block of a {% call %}, with the scope that it was written in.
class Macro : public RuntimeObject {
 public:
  Macro(const Stmt& stmt, Interpreter::Scope* scope) : stmt_(stmt), scope_(scope) {}

  std::string_view type_name() const override { return "a macro"; }
  std::optional<Value> attribute(std::string_view name) const override;
  bool callable() const override { return true; }
  Value call(Interpreter& interpreter, const Arguments& arguments) override;
  const Stmt& stmt() const { return stmt_; }
  Interpreter::Scope* scope() const { return scope_; }

 private:
  const Stmt& stmt_;
  Interpreter::Scope* scope_;
};

/// A method that is a value: {% set f = text.upper %}.
class BoundMethod : public RuntimeObject {
 public:
  BoundMethod(Value self, std::string name) : self_(std::move(self)), name_(std::move(name)) {}

  std::string_view type_name() const override { return "a method"; }
  bool callable() const override { return true; }
  Value call(Interpreter& interpreter, const Arguments& arguments) override;
  void release() override { self_ = Value(); }

 private:
  Value self_;
  std::string name_;
};

}  // namespace primus::tokenizer::jinja

#include "tokenizer/jinja/interpreter.h"

#include <algorithm>

#include "base/error.h"
#include "tokenizer/jinja/loop.h"

namespace primus::tokenizer::jinja {

using Kind = Stmt::Kind;

Interpreter::Level::Level(Interpreter& interpreter) : interpreter_(interpreter) {
  constexpr int kFramesPerLevel = 10;
  if (++interpreter_.depth_ > interpreter_.limits_.depth * kFramesPerLevel) {
    --interpreter_.depth_;
    throw Fault("the template nests too deep");
  }
  interpreter_.count_steps(1);
}

Interpreter::Interpreter(const Template& program, const RenderLimits& limits, std::time_t now, const Value& messages)
    : program_(program), limits_(limits), now_(now), messages_(messages) {
  scope_ = enter(nullptr);
  if (!messages_.is_list()) return;
  const List& list = messages_.as_list();
  written_.resize(list.size());
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (list[i].is_dict()) message_index_.emplace(&list[i].as_dict(), static_cast<int>(i));
  }
}

Interpreter::~Interpreter() {
  for (const auto& object : objects_) object->release();
}

void Interpreter::define(const std::string& name, Value value) {
  if (const Symbol symbol = program_.find(name); symbol >= 0) set(symbol, std::move(value));
}

void Interpreter::run() {
  scope_ = enter(scope_);
  run_block(program_.body);
}

void Interpreter::count_steps(std::size_t steps) {
  steps_ += steps;
  if (steps_ > limits_.steps) throw Fault(fmt::format("the template takes more than {} steps", limits_.steps));
}

void Interpreter::check_size(std::size_t size, std::size_t count) const {
  if (size != 0 && count > limits_.output / size) {
    throw Fault(fmt::format("the template makes a text of more than {} bytes", limits_.output));
  }
}

Interpreter::Scope* Interpreter::enter(Scope* parent) {
  Scope* scope = nullptr;
  if (free_scopes_.empty()) {
    scope = &scopes_.emplace_back();
  } else {
    scope = free_scopes_.back();
    free_scopes_.pop_back();
  }
  scope->parent = parent;
  return scope;
}

void Interpreter::leave(Scope* scope, Scope* back) {
  scope_ = back;
  if (scope->captured) return;  // a macro may still look into it
  scope->values.clear();
  free_scopes_.push_back(scope);
}

void Interpreter::capture_scopes() {
  for (Scope* scope = scope_; scope != nullptr && !scope->captured; scope = scope->parent) scope->captured = true;
}

void Interpreter::set(Symbol symbol, Value value) {
  for (auto& [known, place] : scope_->values) {
    if (known == symbol) {
      place = std::move(value);
      return;
    }
  }
  scope_->values.emplace_back(symbol, std::move(value));
}

Value Interpreter::lookup(const Expr& expr) {
  for (const Scope* scope = scope_; scope != nullptr; scope = scope->parent) {
    for (const auto& [symbol, value] : scope->values) {
      if (symbol == expr.symbol) return value;
    }
  }
  Value global = find_global(*this, expr.name);
  return global.is_undefined() ? expr.constant : global;
}

void Interpreter::write(std::string_view text) {
  if (text.size() > limits_.output - std::min(limits_.output, output_->size())) {
    throw Fault(fmt::format("the template writes more than {} bytes", limits_.output));
  }
  *output_ += text;
}

Interpreter::Flow Interpreter::run_block(const Block& block) {
  for (const auto& stmt : block) {
    const Flow flow = run_statement(*stmt);
    if (flow != Flow::kNormal) return flow;
  }
  return Flow::kNormal;
}

Interpreter::Flow Interpreter::run_statement(const Stmt& stmt) {
  const Level level(*this);
  line_ = stmt.line;
  switch (stmt.kind) {
    case Kind::kText:
      write(stmt.text);
      break;
    case Kind::kPrint: {
      std::string storage;
      const Value value = eval(*stmt.expr);
      write(text_view(value, storage));
      break;
    }
    case Kind::kIf:
      return run_if(stmt);
    case Kind::kFor:
      run_for(stmt, eval(*stmt.expr), 0);
      break;
    case Kind::kSet:
      assign(stmt.target, eval(*stmt.expr));
      break;
    case Kind::kSetBlock:
      run_set_block(stmt);
      break;
    case Kind::kMacro:
      capture_scopes();
      set(stmt.target.symbol, make_object<Macro>(stmt, scope_));
      break;
    case Kind::kCallBlock:
      run_call_block(stmt);
      break;
    case Kind::kFilterBlock: {
      Scope* const outer = scope_;
      scope_ = enter(outer);
      std::string text = captured_block(stmt.body);
      scope_->values.clear();
      set(program_.find(kBlockText), Value(std::move(text)));
      const Value filtered = eval(*stmt.expr);
      leave(scope_, outer);
      std::string storage;
      write(text_view(filtered, storage));
      break;
    }
    case Kind::kWith: {
      Scope* const outer = scope_;
      List values;
      for (const auto& binding : stmt.bindings) values.push_back(eval(*binding.value));
      scope_ = enter(outer);
      for (std::size_t i = 0; i < values.size(); ++i) assign(stmt.bindings[i].target, values[i]);
      const Flow flow = run_block(stmt.body);
      leave(scope_, outer);
      return flow;
    }
    case Kind::kGeneration:
      run_generation(stmt);
      break;
    case Kind::kBreak:
      return Flow::kBreak;
    case Kind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNormal;
}

Interpreter::Flow Interpreter::run_if(const Stmt& stmt) {
  for (const auto& branch : stmt.branches) {
    if (!branch.condition || truthy(eval(*branch.condition))) return run_block(branch.body);
  }
  return Flow::kNormal;
}

void Interpreter::run_for(const Stmt& stmt, const Value& iterable, int depth) {
  const Level level(*this);
  Scope* const outer = scope_;
  if (stmt.recursive) capture_scopes();
  List items = iterate(iterable);
  count_steps(items.size());
  if (stmt.condition) {
    List kept;
    for (const Value& value : items) {
      scope_ = enter(outer);
      assign(stmt.target, value);
      const bool wanted = truthy(eval(*stmt.condition));
      leave(scope_, outer);
      if (wanted) kept.push_back(value);
    }
    items = std::move(kept);
  }
  if (items.empty()) {
    scope_ = enter(outer);
    run_block(stmt.otherwise);
    leave(scope_, outer);
    return;
  }
  const Value loop_value = make_object<Loop>(stmt, outer, std::move(items), depth);
  Loop& loop = static_cast<Loop&>(object_of(loop_value));
  const Symbol loop_symbol = 0;  // the parser names `loop` first
  const int outer_message = current_message_;
  for (; loop.index < loop.items.size(); ++loop.index) {
    const Value value = loop.items[loop.index];
    scope_ = enter(outer);
    scope_->values.emplace_back(loop_symbol, loop_value);
    assign(stmt.target, value);
    const int message = output_ == &main_output_ ? message_of(value) : -1;
    const std::size_t begin = main_output_.size();
    if (message >= 0) current_message_ = message;
    const Flow flow = run_block(stmt.body);
    if (message >= 0) note_written(message, begin);
    current_message_ = outer_message;
    leave(scope_, outer);
    if (flow == Flow::kBreak) break;
  }
}

int Interpreter::message_of(const Value& value) const {
  if (!value.is_dict()) return -1;
  const auto found = message_index_.find(&value.as_dict());
  return found == message_index_.end() ? -1 : found->second;
}

void Interpreter::note_written(int message, std::size_t begin) {
  const std::string_view text = std::string_view(main_output_).substr(begin);
  const bool blank = text.find_first_not_of(" \t\r\n") == std::string_view::npos;
  ByteSpan& span = written_[static_cast<std::size_t>(message)];
  if (!blank && text.size() > span.end - span.begin) span = {begin, main_output_.size()};
}

std::string Interpreter::captured_block(const Block& block) {
  std::string text;
  std::string* const before = std::exchange(output_, &text);
  try {
    run_block(block);
  } catch (...) {
    output_ = before;
    throw;
  }
  output_ = before;
  return text;
}

void Interpreter::run_set_block(const Stmt& stmt) {
  Scope* const outer = scope_;
  scope_ = enter(outer);
  std::string text = captured_block(stmt.body);
  leave(scope_, outer);
  scope_ = enter(outer);
  set(program_.find(kBlockText), Value(std::move(text)));
  const Value value = eval(*stmt.expr);
  leave(scope_, outer);
  assign(stmt.target, value);
}

void Interpreter::run_call_block(const Stmt& stmt) {
  const Expr& call_expr = *stmt.expr;
  capture_scopes();
  Arguments arguments = eval_arguments(call_expr);
  arguments.named.emplace_back("caller", make_object<Macro>(stmt, scope_));
  const Value result = call(eval(*call_expr.items[0]), arguments);
  std::string storage;
  write(text_view(result, storage));
}

void Interpreter::run_generation(const Stmt& stmt) {
  Scope* const outer = scope_;
  scope_ = enter(outer);
  const std::size_t begin = main_output_.size();
  run_block(stmt.body);
  leave(scope_, outer);
  if (output_ != &main_output_) {
    generated_elsewhere_ = true;
  } else if (main_output_.size() > begin) {
    generated_.push_back({begin, main_output_.size(), current_message_});
  }
}

Value Interpreter::run_macro(const Macro& macro, const Arguments& arguments) {
  const Level level(*this);
  const Stmt& stmt = macro.stmt();
  const int line = line_;
  Scope* const outer = scope_;
  scope_ = enter(macro.scope());
  const std::size_t taken = std::min(arguments.positional.size(), stmt.parameters.size());
  const Symbol rest = program_.find("varargs"), named_rest = program_.find("kwargs");
  if (arguments.positional.size() > taken && rest < 0) {
    throw Fault(fmt::format("macro '{}' takes at most {} arguments", stmt.target.name, stmt.parameters.size()));
  }
  if (rest >= 0) {
    set(rest, Value::tuple(
                  List(arguments.positional.begin() + static_cast<std::ptrdiff_t>(taken), arguments.positional.end())));
  }
  for (std::size_t i = 0; i < taken; ++i) set(stmt.parameters[i].symbol, arguments.positional[i]);
  std::vector<bool> given(stmt.parameters.size(), false);
  Dict extra;
  for (const auto& [name, value] : arguments.named) {
    const auto place = std::find_if(stmt.parameters.begin(), stmt.parameters.end(),
                                    [&name = name](const Parameter& parameter) { return parameter.name == name; });
    if (place != stmt.parameters.end()) {
      const auto index = static_cast<std::size_t>(place - stmt.parameters.begin());
      if (index < taken) throw Fault(fmt::format("macro '{}' got '{}' twice", stmt.target.name, name));
      given[index] = true;
      set(place->symbol, value);
    } else if (name == "caller") {
      if (const Symbol symbol = program_.find("caller"); symbol >= 0) set(symbol, value);
    } else if (named_rest >= 0) {
      extra.set(name, value);
    } else {
      throw Fault(fmt::format("macro '{}' has no parameter '{}'", stmt.target.name, name));
    }
  }
  if (named_rest >= 0) set(named_rest, Value(std::move(extra)));
  for (std::size_t i = taken; i < stmt.parameters.size(); ++i) {
    const Parameter& parameter = stmt.parameters[i];
    if (given[i]) continue;
    set(parameter.symbol, parameter.otherwise
                              ? eval(*parameter.otherwise)
                              : Value::undefined(fmt::format("parameter '{}' was not provided", parameter.name)));
  }
  std::string text = captured_block(stmt.body);
  leave(scope_, outer);
  line_ = line;
  return Value(std::move(text));
}

void Interpreter::assign(const Target& target, const Value& value) {
  if (!target.parts.empty()) {
    const List parts = iterate(value);
    if (parts.size() != target.parts.size()) {
      throw Fault(fmt::format("cannot take {} values apart into {} names", parts.size(), target.parts.size()));
    }
    for (std::size_t i = 0; i < parts.size(); ++i) assign(target.parts[i], parts[i]);
    return;
  }
  if (target.attribute.empty()) {
    set(target.symbol, value);
    return;
  }
  Expr name;
  name.kind = Expr::Kind::kName;
  name.symbol = target.symbol;
  name.name = target.name;
  const Value object = lookup(name);
  auto* names = object.is_object() ? dynamic_cast<Namespace*>(object.as_object().get()) : nullptr;
  if (names == nullptr)
    throw Fault(
        fmt::format("'{}' is not a namespace, so '{}.{}' cannot be set", target.name, target.name, target.attribute));
  if (target.attribute.starts_with('_')) throw Fault("a namespace holds no names that begin with '_'");
  names->set(target.attribute, value);
}

}  // namespace primus::tokenizer::jinja

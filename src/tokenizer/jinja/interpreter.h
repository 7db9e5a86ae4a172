#pragma once

#include <ctime>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tokenizer/chat_template.h"
#include "tokenizer/jinja/ast.h"
#include "tokenizer/jinja/runtime.h"

namespace primus::tokenizer::jinja {

/// Runs a template once. Has no access to anything but the values it is given and the clock's reading `now`.
class Interpreter {
 public:
  /// `messages`: the list whose members' output is traced (null: none).
  Interpreter(const Template& program, const RenderLimits& limits, std::time_t now, const Value& messages);
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  void define(const std::string& name, Value value);
  /// Throws Fault; line() then tells where.
  void run();
  int line() const { return line_; }

  std::string take_output() { return std::move(main_output_); }
  /// Bytes that {% generation %} blocks wrote.
  const std::vector<TrainedSpan>& generated() const { return generated_; }
  /// A {% generation %} block ran inside a macro or a set block, where its place in the output is not known.
  bool generated_elsewhere() const { return generated_elsewhere_; }
  /// For each message, the bytes that the loop over the messages wrote for it; empty when it wrote none.
  const std::vector<ByteSpan>& written() const { return written_; }

  // For the built-ins:
  void count_steps(std::size_t steps);
  /// Fault when `size` times `count` is more than an output may have.
  void check_size(std::size_t size, std::size_t count) const;
  std::time_t now() const { return now_; }
  Value call(const Value& callee, const Arguments& arguments);
  Value attribute(const Value& value, std::string_view name, const Value& missing);
  template <typename T, typename... Args>
  Value make_object(Args&&... args) {
    auto object = std::make_shared<T>(std::forward<Args>(args)...);
    objects_.push_back(object);
    return Value(std::shared_ptr<Object>(std::move(object)));
  }

 private:
  friend class Macro;
  friend class Loop;

  struct Scope {
    Scope* parent = nullptr;
    bool captured = false;  // a macro refers to it
    std::vector<std::pair<Symbol, Value>> values;
  };
  /// Counts what the C++ stack holds, and the step.
  class Level {
   public:
    explicit Level(Interpreter& interpreter);
    ~Level() { --interpreter_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Interpreter& interpreter_;
  };
  enum class Flow { kNormal, kBreak, kContinue };

  Flow run_block(const Block& block);
  Flow run_statement(const Stmt& stmt);
  Flow run_if(const Stmt& stmt);
  void run_for(const Stmt& stmt, const Value& iterable, int depth);
  void run_set_block(const Stmt& stmt);
  void run_call_block(const Stmt& stmt);
  void run_generation(const Stmt& stmt);
  Value run_macro(const class Macro& macro, const Arguments& arguments);
  std::string captured_block(const Block& block);

  Value eval(const Expr& expr);
  Value eval_call(const Expr& expr);
  Value eval_compare(const Expr& expr);
  Value eval_dict(const Expr& expr);
  Arguments eval_arguments(const Expr& expr);
  bool compare(Expr::Op op, const Value& a, const Value& b);
  Value lookup(const Expr& expr);
  void assign(const Target& target, const Value& value);
  void set(Symbol symbol, Value value);
  void write(std::string_view text);
  int message_of(const Value& value) const;
  void note_written(int message, std::size_t begin);

  Scope* enter(Scope* parent);
  void leave(Scope* scope, Scope* back);
  /// The scopes around here outlive their blocks: a macro or a recursive loop may come back to them.
  void capture_scopes();

  const Template& program_;
  const RenderLimits limits_;
  const std::time_t now_;
  Value messages_;
  std::unordered_map<const Dict*, int> message_index_;
  std::vector<ByteSpan> written_;
  std::vector<TrainedSpan> generated_;
  bool generated_elsewhere_ = false;
  int current_message_ = -1;

  std::string main_output_;
  std::string* output_ = &main_output_;
  std::deque<Scope> scopes_;
  std::vector<Scope*> free_scopes_;
  Scope* scope_ = nullptr;
  std::vector<std::shared_ptr<RuntimeObject>> objects_;
  std::size_t steps_ = 0;
  int depth_ = 0;
  int line_ = 0;
};

}  // namespace primus::tokenizer::jinja

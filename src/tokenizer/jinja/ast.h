#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tokenizer/value.h"

/// The Jinja that Hugging Face chat templates are written in (https://jinja.palletsprojects.com/en/stable/templates/).
namespace primus::tokenizer::jinja {

/// A variable's number within one template.
using Symbol = int;

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

struct Keyword {
  std::string name;
  ExprPtr value;
};

struct Expr {
  enum class Kind {
    kConstant,   // constant
    kName,       // symbol; constant: what it is when nothing defines it
    kList,       // items
    kTuple,      // items
    kDict,       // items: key, value, key, value, …
    kAttribute,  // items[0].name; constant: what it is when it does not exist
    kItem,       // items[0][items[1]]
    kSlice,      // items[0][items[1]:items[2]:items[3]], each bound may be null
    kCall,       // items[0](items[1], …, keywords)
    kFilter,     // items[0] | name(items[1], …, keywords)
    kTest,       // items[0] is name(items[1], …, keywords)
    kNot,
    kNegate,
    kPositive,
    kAnd,
    kOr,
    kBinary,     // items[0] op items[1]
    kCompare,    // items[0] ops[0] items[1] ops[1] items[2] …
    kConcat,     // items joined as texts
    kCondition,  // items[0] if items[1] else items[2], which may be null
  };
  enum class Op { kAdd, kSub, kMul, kDiv, kFloorDiv, kMod, kPow, kEq, kNe, kLt, kLe, kGt, kGe, kIn, kNotIn };

  Kind kind;
  int line = 0;
  int height = 0;  // of the tree below
  Op op = Op::kAdd;
  Symbol symbol = -1;
  int function = -1;  // kFilter, kTest: index of the built-in
  std::string name;
  Value constant;
  std::vector<ExprPtr> items;
  std::vector<Op> ops;
  std::vector<Keyword> keywords;
};

/// Where a value goes: a name, a member of a namespace, or several names that take a list apart.
struct Target {
  Symbol symbol = -1;
  std::string name;
  std::string attribute;      // of the namespace `symbol`
  std::vector<Target> parts;  // not empty: unpack
};

struct Parameter {
  Symbol symbol = -1;
  std::string name;
  ExprPtr otherwise;  // null: undefined
};

struct Stmt;
using Block = std::vector<std::unique_ptr<Stmt>>;

struct Stmt {
  enum class Kind {
    kText,         // text
    kPrint,        // expr
    kIf,           // branches in order; a null condition is else
    kFor,          // target in expr [if condition] [recursive]: body, otherwise
    kSet,          // target = expr
    kSetBlock,     // target = body | filters (expr over a placeholder)
    kMacro,        // symbol, parameters, body
    kCallBlock,    // expr is the call; parameters, body
    kFilterBlock,  // body | filters
    kWith,         // targets and expressions in `bindings`, body
    kGeneration,   // body
    kBreak,
    kContinue,
  };
  struct Branch {
    ExprPtr condition;
    Block body;
  };
  struct Binding {
    Target target;
    ExprPtr value;
  };

  Kind kind;
  int line = 0;
  std::string text;
  ExprPtr expr;
  ExprPtr condition;
  Target target;
  bool recursive = false;
  bool uses_loop = false;  // kFor: the body names `loop`
  std::vector<Branch> branches;
  std::vector<Parameter> parameters;
  std::vector<Binding> bindings;
  Block body;
  Block otherwise;
};

struct Template {
  Block body;
  std::vector<std::string> symbols;
  std::unordered_map<std::string, Symbol> symbol_index;
  bool has_generation = false;

  Symbol intern(const std::string& name);
  Symbol find(const std::string& name) const;  // -1: the template never names it
};

/// The variable that stands for the block's text in the filters of set and filter blocks.
inline constexpr char kBlockText[] = " block";

}  // namespace primus::tokenizer::jinja

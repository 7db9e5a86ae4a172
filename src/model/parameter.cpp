#include "model/parameter.h"

#include <utility>

namespace primus::model {

Parameter& ParameterRegistry::add(Parameter parameter) {
  const bool is_new = index_.emplace(parameter.name, parameters_.size()).second;
  PRIMUS_CHECK(is_new, parameter.name);
  parameters_.push_back(std::move(parameter));
  return parameters_.back();
}

Parameter* ParameterRegistry::find(std::string_view name) {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? nullptr : &parameters_[found->second];
}

const Parameter* ParameterRegistry::find(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? nullptr : &parameters_[found->second];
}

std::int64_t ParameterRegistry::count() const {
  std::int64_t total = 0;
  for (const Parameter& parameter : parameters_) total += parameter.numel();
  return total;
}

std::int64_t ParameterRegistry::trainable_count() const {
  std::int64_t total = 0;
  for (const Parameter& parameter : parameters_) total += parameter.trainable ? parameter.numel() : 0;
  return total;
}

}  // namespace primus::model

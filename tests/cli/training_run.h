#pragma once

#include <string>
#include <vector>

#include "run_primus.h"

namespace primus::cli_test {

/// A small run of a reference model: its YAML in a scratch folder, which is its workspace too.
class TrainingRun {
 public:
  explicit TrainingRun(const std::string& model = "qwen3");

  /// The YAML's overrides, "key: value" lines; replaced when the key is there already.
  void set(const std::string& key, const std::string& value);
  /// A line as it is, at the indentation of the overrides.
  void add_line(const std::string& line);

  std::string config() const;
  Outcome train(const std::vector<std::string>& more = {}, const RunOptions& options = {}) const;
  std::filesystem::path directory() const { return scratch_.path() / "out/team/user/run"; }
  const Scratch& scratch() const { return scratch_; }
  /// The training rows of metrics.jsonl without what depends on the clock.
  std::vector<std::string> steps() const;

 private:
  Scratch scratch_;
  std::vector<std::pair<std::string, std::string>> settings_;
  std::vector<std::string> lines_;
};

}  // namespace primus::cli_test

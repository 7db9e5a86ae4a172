#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "config/load.h"

namespace primus::config {

/// A folder of its own for each test, removed at the end, with a run file and an environment that only the test sets.
class ConfigTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() / (std::string("primus_config_") + info->test_suite_name() + "_" +
                                                        info->name() + "_" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
    variables_["PRIMUS_ROOT"] = PRIMUS_SOURCE_DIR;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path write(const std::string& name, std::string_view text) {
    const auto path = folder_ / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
    return path;
  }

  /// A run file with these lines as its overrides, which begin at line 5, column 7.
  std::filesystem::path write_run(const std::vector<std::string>& overrides, const std::string& module = "{}") {
    std::string text = "modules:\n  post_trainer:\n    " +
                       (module == "{}" ? std::string("model: qwen3_8b.yaml") : module) + "\n    overrides:\n";
    for (const std::string& line : overrides) text += "      " + line + "\n";
    return write("run.yaml", text);
  }

  Environment environment() const {
    return [this](const std::string& name) -> std::optional<std::string> {
      const auto found = variables_.find(name);
      if (found == variables_.end()) return std::nullopt;
      return found->second;
    };
  }

  Resolved load_file(const std::filesystem::path& file, const std::vector<Override>& overrides = {}) const {
    return load({file, overrides, environment()});
  }
  Resolved load_run(const std::vector<std::string>& overrides, const std::vector<Override>& command_line = {}) {
    return load_file(write_run(overrides), command_line);
  }

  /// The message without the test's folder, so that it can be compared whole.
  std::string without_folder(std::string message) const {
    const std::string prefix = folder_.string() + "/";
    for (auto at = message.find(prefix); at != std::string::npos; at = message.find(prefix)) {
      message.erase(at, prefix.size());
    }
    return message;
  }

  template <typename Action>
  std::string error_of(Action action) const {
    try {
      action();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::kBadInput);
      return without_folder(error.what());
    }
    return "no error";
  }
  std::string run_error(const std::vector<std::string>& overrides, const std::vector<Override>& command_line = {}) {
    return error_of([&] { load_run(overrides, command_line); });
  }

  std::filesystem::path folder_;
  std::map<std::string, std::string> variables_;
};

}  // namespace primus::config

#include <gtest/gtest.h>

#include <algorithm>

#include "run_primus.h"

namespace primus::cli_test {
namespace {

TEST(Help, EveryCommandExplainsItself) {
  const Outcome general = run_primus({"--help"});
  EXPECT_EQ(general.status, 0);
  for (const char* command :
       {"train posttrain", "config show", "config reference", "data preview", "tokenize", "eval", "generate", "merge",
        "export", "benchmark train", "benchmark gemm", "benchmark attention"}) {
    EXPECT_NE(general.out.find(command), std::string::npos) << command;
    std::vector<std::string> words{"direct"};
    std::string rest = command;
    for (std::size_t space = 0; (space = rest.find(' ')) != std::string::npos; rest = rest.substr(space + 1)) {
      words.push_back(rest.substr(0, space));
    }
    words.push_back(rest);
    words.emplace_back("--help");
    const Outcome one = run_primus(words);
    EXPECT_EQ(one.status, 0) << command;
    EXPECT_NE(one.out.find(std::string("primus-cli ") + command), std::string::npos) << one.out;
  }
}

TEST(Help, IsQuick) {
  // what the process itself takes: the wall clock also counts whatever else the machine does while tests run
  double best = 1.0;
  for (int i = 0; i < 20; ++i) best = std::min(best, run_primus({"--help"}).cpu_seconds);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  EXPECT_LT(best, 2.0);
#else
  EXPECT_LT(best, 0.020);
#endif
}

TEST(Help, VersionIsOneLine) {
  const Outcome outcome = run_primus({"--version"});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.out.rfind("primus ", 0), 0U);
  EXPECT_EQ(lines_of(outcome.out).size(), 1U);
}

TEST(Help, TheReferencePageIsWhatTheCommandPrints) {
  const Outcome outcome = run_primus({"config", "reference"});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.out, read(std::filesystem::path(PRIMUS_SOURCE_DIR) / "docs/reference-config.md"))
      << "run: primus-cli config reference > docs/reference-config.md";
}

TEST(WrongCommandLine, NamesTheNearestCommandAndOption) {
  const Outcome command = run_primus({"direct", "trian", "posttrain"});
  EXPECT_EQ(command.status, 2);
  EXPECT_NE(command.err.find("did you mean 'train posttrain'?"), std::string::npos) << command.err;

  const Outcome option = run_primus({"merge", "--modle", "x"});
  EXPECT_EQ(option.status, 2);
  EXPECT_NE(option.err.find("did you mean"), std::string::npos) << option.err;

  const Outcome mode = run_primus({"--loud", "direct", "eval"});
  EXPECT_EQ(mode.status, 2);
  EXPECT_NE(mode.err.find("--loud"), std::string::npos);
}

TEST(WrongCommandLine, SaysWhatIsMissing) {
  const Outcome config = run_primus({"direct", "train", "posttrain"});
  EXPECT_EQ(config.status, 2);
  EXPECT_NE(config.err.find("--config"), std::string::npos) << config.err;

  const Outcome value = run_primus({"merge", "--model"});
  EXPECT_EQ(value.status, 2);
  EXPECT_NE(value.err.find("needs a value"), std::string::npos) << value.err;

  const Outcome twice = run_primus({"merge", "--model", "a", "--model", "b"});
  EXPECT_EQ(twice.status, 2);
  EXPECT_NE(twice.err.find("twice"), std::string::npos) << twice.err;

  const Outcome nothing = run_primus({});
  EXPECT_EQ(nothing.status, 2);
  EXPECT_NE(nothing.out.find("Commands:"), std::string::npos);
}

}  // namespace
}  // namespace primus::cli_test

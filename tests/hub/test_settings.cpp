#include <gtest/gtest.h>

#include <cstdlib>

#include "base/error.h"
#include "base/file.h"
#include "hub/hub.h"

namespace primus::hub {
namespace {

class HubSettings : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"HF_ENDPOINT", "HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE",
                             "HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"}) {
      ::unsetenv(name);
    }
    ::setenv("HOME", "/home/someone", 1);
  }
};

TEST_F(HubSettings, AreHuggingFacesByDefault) {
  const Settings settings = settings_from_environment();
  EXPECT_EQ(settings.endpoint, "https://huggingface.co");
  EXPECT_EQ(settings.cache, "/home/someone/.cache/huggingface/hub");
  EXPECT_EQ(settings.token, "");
  EXPECT_FALSE(settings.offline);
}

TEST_F(HubSettings, FollowTheEnvironment) {
  ::setenv("XDG_CACHE_HOME", "/xdg", 1);
  EXPECT_EQ(settings_from_environment().cache, "/xdg/huggingface/hub");
  ::setenv("HF_HOME", "/hf", 1);
  EXPECT_EQ(settings_from_environment().cache, "/hf/hub");
  ::setenv("HF_HUB_CACHE", "/cache", 1);
  ::setenv("HF_ENDPOINT", "https://mirror.example/", 1);
  ::setenv("HF_TOKEN", " hf_abc\n", 1);
  const Settings settings = settings_from_environment();
  EXPECT_EQ(settings.cache, "/cache");
  EXPECT_EQ(settings.endpoint, "https://mirror.example");
  EXPECT_EQ(settings.token, "hf_abc");
  for (const char* word : {"1", "true", "YES", "on"}) {
    ::setenv("HF_HUB_OFFLINE", word, 1);
    EXPECT_TRUE(settings_from_environment().offline) << word;
  }
  ::setenv("HF_HUB_OFFLINE", "0", 1);
  EXPECT_FALSE(settings_from_environment().offline);
}

TEST_F(HubSettings, ReadTheTokenThatALoginLeft) {
  const std::string home = ::testing::TempDir() + "primus_hf_home";
  make_directories(home);
  write_text(home + "/token", "hf_file\n");
  ::setenv("HF_HOME", home.c_str(), 1);
  EXPECT_EQ(settings_from_environment().token, "hf_file");
  ::setenv("HF_TOKEN", "hf_variable", 1);
  EXPECT_EQ(settings_from_environment().token, "hf_variable");
}

TEST_F(HubSettings, RefuseWhatCannotBe) {
  ::setenv("HF_ENDPOINT", "ftp://x", 1);
  EXPECT_THROW(settings_from_environment(), Error);
  ::setenv("HF_ENDPOINT", "", 1);
  ::setenv("HF_TOKEN", "hf_a\r\nX-Evil: 1", 1);
  try {
    settings_from_environment();
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find("Evil"), std::string::npos) << "a token is never shown";
  }
}

}  // namespace
}  // namespace primus::hub

#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "fake_hub.h"
#include "hub/hub.h"

namespace primus::hub::testing {

/// Some bytes that are no text, `size` of them.
inline std::string noise(std::size_t size) {
  std::string bytes(size, '\0');
  std::uint32_t state = 12345;
  for (char& byte : bytes) {
    state = state * 1664525U + 1013904223U;
    byte = static_cast<char>(state >> 24);
  }
  return bytes;
}

/// A hub with a small model, and an empty cache.
class HubTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = std::filesystem::path(::testing::TempDir()) / "primus_hub_XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    hub_.add_small("config.json", "{}\n");
    hub_.add_small("extra/deep file+.json", "[1]\n");
    hub_.add_small("README.md", "not wanted");
    hub_.add_large("model.safetensors", noise(300'000));
    settings_ = {.endpoint = hub_.address(),
                 .cache = folder_ / "hub",
                 .attempts = 3,
                 .first_wait = std::chrono::milliseconds(1),
                 .stall = std::chrono::seconds(1)};
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path fetch() { return snapshot(repository_, wanted_, settings_); }
  std::filesystem::path folder() const { return settings_.cache / "models--org--model"; }
  std::filesystem::path partial(const std::string& path) const {
    return folder() / "blobs" / (hub_.etag(path) + ".incomplete");
  }

  void expect_whole(const std::filesystem::path& snapshot) {
    for (const char* path : {"config.json", "extra/deep file+.json", "model.safetensors"}) {
      EXPECT_EQ(read_text(snapshot / path), hub_.content(path)) << path;
      EXPECT_FALSE(std::filesystem::exists(partial(path))) << path;
    }
    EXPECT_FALSE(std::filesystem::exists(snapshot / "README.md"));
  }

  /// The Error of a fetch; a failure when there is none.
  Error refused() {
    try {
      fetch();
    } catch (const Error& error) {
      return error;
    }
    ADD_FAILURE() << "no error was thrown";
    return Error("");
  }
  void expect_refused(ExitCode code, const std::vector<std::string>& says) {
    const Error error = refused();
    EXPECT_EQ(error.code(), code) << error.what();
    for (const std::string& text : says) {
      EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << text << "\nin: " << error.what();
    }
    EXPECT_TRUE(!std::filesystem::exists(folder() / "snapshots")) << "nothing may look like a whole snapshot";
  }

  FakeHub hub_;
  std::filesystem::path folder_;
  Settings settings_;
  Repository repository_{.kind = Kind::kModel, .name = "org/model"};
  Wanted wanted_{
      .choose =
          [](const std::vector<std::string>& paths) {
            std::vector<std::string> chosen;
            for (const std::string& path : paths) {
              if (path != "README.md") chosen.push_back(path);
            }
            return chosen;
          },
      .suffices =
          [](const std::filesystem::path& snapshot) { return std::filesystem::exists(snapshot / "config.json"); }};
};

}  // namespace primus::hub::testing

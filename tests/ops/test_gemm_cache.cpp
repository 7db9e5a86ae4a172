#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "ops/gpu/gemm_cache.h"

namespace primus::ops::gpu {
namespace {

class GemmCacheFile : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path path() const { return folder_ / "sub" / "gemm.txt"; }

 private:
  std::filesystem::path folder_ = testing::TempDir() + "primus_gemm_cache";
};

constexpr GemmCache::Algorithm kOne = {1, 0xFFFFFFFFFFFFFFFF, 3, 0, 0, 0, 0, 8};
constexpr GemmCache::Algorithm kTwo = {2, 2, 2, 2, 2, 2, 2, 2};

TEST_F(GemmCacheFile, KeepsWhatWasPut) {
  GemmCache cache(path());
  EXPECT_FALSE(cache.find("a"));
  cache.put("a", kOne, 1e-3);
  cache.save();
  EXPECT_EQ(GemmCache(path()).find("a"), kOne);
  EXPECT_FALSE(GemmCache(path()).find("b"));
}

TEST_F(GemmCacheFile, JoinsWhatOthersWroteMeanwhile) {
  GemmCache cache(path()), other(path());
  cache.put("a", kOne, 1e-3);
  other.put("b", kTwo, 1e-3);
  cache.save();
  other.save();
  EXPECT_EQ(GemmCache(path()).find("a"), kOne);
  EXPECT_EQ(GemmCache(path()).find("b"), kTwo);
}

TEST_F(GemmCacheFile, BrokenLinesAreLeftOut) {
  {
    GemmCache cache(path());
    cache.put("a", kOne, 1e-3);
    cache.save();
  }
  write_text(path(), "b 1 2\n\nc x y z\n" + read_text(path()) + "d 1 2 3 4 5 6 7 8 -1\ne 1 2 3");
  const GemmCache cache(path());
  EXPECT_EQ(cache.find("a"), kOne);
  for (const char* key : {"b", "c", "d", "e"}) EXPECT_FALSE(cache.find(key)) << key;
}

TEST_F(GemmCacheFile, AFolderThatCannotBeWrittenCostsOnlyTheCache) {
  write_text(path().parent_path().parent_path() / "sub", "a file where the folder should be");
  GemmCache cache(path());
  cache.put("a", kOne, 1e-3);
  EXPECT_NO_THROW(cache.save());
  EXPECT_EQ(cache.find("a"), kOne);
}

}  // namespace
}  // namespace primus::ops::gpu

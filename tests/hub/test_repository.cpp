#include <gtest/gtest.h>

#include "hub/http.h"
#include "hub/repository.h"

namespace primus::hub {
namespace {

TEST(RepositoryName, IsTwoNamesAndMaybeARevision) {
  const auto plain = parse_repository("Qwen/Qwen3-0.6B", Kind::kModel);
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->name, "Qwen/Qwen3-0.6B");
  EXPECT_EQ(plain->revision, "main");
  const auto pinned = parse_repository("org/name@v1.0", Kind::kModel);
  ASSERT_TRUE(pinned);
  EXPECT_EQ(pinned->name, "org/name");
  EXPECT_EQ(pinned->revision, "v1.0");
  for (const char* text : {"", "name", "/name", "org/", "./name", "../name", "org/..", "org/na me", "a/b/c",
                           "org/name@", "org/name@../x", "-a/b", "a/.b", "org@x/name", "~/models"}) {
    EXPECT_FALSE(parse_repository(text, Kind::kModel)) << text;
  }
}

TEST(RepositoryName, OfADataSetMayHaveAPath) {
  std::string path;
  const auto file = parse_repository("org/rows@abc/data/train.jsonl", Kind::kDataset, &path);
  ASSERT_TRUE(file);
  EXPECT_EQ(file->name, "org/rows");
  EXPECT_EQ(file->revision, "abc");
  EXPECT_EQ(path, "data/train.jsonl");
  ASSERT_TRUE(parse_repository("org/rows", Kind::kDataset, &path));
  EXPECT_EQ(path, "");
  EXPECT_FALSE(parse_repository("org/rows/../x", Kind::kDataset, &path));
  EXPECT_FALSE(parse_repository("/abs/rows/x.jsonl", Kind::kDataset, &path));
}

TEST(SafePath, StaysWithinItsFolder) {
  for (const char* path : {"a", "a/b.json", ".gitattributes", "a b/c+d"}) EXPECT_TRUE(is_safe_path(path)) << path;
  for (const char* path : {"", "/a", "a/", "..", "a/../b", "./a", "a//b", "a\nb", "a\\b"}) {
    EXPECT_FALSE(is_safe_path(path)) << path;
  }
}

TEST(UrlPath, EscapesWhatNamesMayHold) { EXPECT_EQ(url_path("a b/ü+%?.json"), "a%20b/%C3%BC%2B%25%3F.json"); }

}  // namespace
}  // namespace primus::hub

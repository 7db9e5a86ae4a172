#include <gtest/gtest.h>

#include "base/error.h"
#include "config/yaml_tree.h"

namespace primus::config {
namespace {

std::string error_of(const std::string& text) {
  try {
    parse_yaml(text, "f.yaml");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(YamlTree, KeepsPlacesAndText) {
  const YamlNode root = parse_yaml("a: 1\nb:\n  - x\n  - 'y z'\nc: {d: 012}\n", "f.yaml");
  ASSERT_EQ(root.kind, YamlNode::Kind::kMap);
  ASSERT_EQ(root.entries.size(), 3U);
  EXPECT_EQ(root.entries[1].mark.text(), "f.yaml:2:1");
  const YamlNode& list = root.entries[1].value;
  ASSERT_EQ(list.items.size(), 2U);
  EXPECT_EQ(list.items[1].mark.text(), "f.yaml:4:5");
  EXPECT_EQ(list.items[1].text, "y z");
  EXPECT_TRUE(list.items[1].quoted);
  EXPECT_FALSE(list.items[0].quoted);
  EXPECT_EQ(root.find("c")->find("d")->text, "012");
  EXPECT_EQ(root.find("c")->find("d")->mark.text(), "f.yaml:5:8");
  EXPECT_EQ(root.find("e"), nullptr);
}

TEST(YamlTree, KnowsNullFromText) {
  const YamlNode root = parse_yaml("a:\nb: null\nc: ~\nd: 'null'\ne: ''\nf: !!str null\n", "f.yaml");
  EXPECT_EQ(root.find("a")->kind, YamlNode::Kind::kNull);
  EXPECT_EQ(root.find("b")->kind, YamlNode::Kind::kNull);
  EXPECT_EQ(root.find("c")->kind, YamlNode::Kind::kNull);
  EXPECT_EQ(root.find("d")->kind, YamlNode::Kind::kScalar);
  EXPECT_EQ(root.find("e")->kind, YamlNode::Kind::kScalar);
  EXPECT_EQ(root.find("f")->text, "null");
  EXPECT_TRUE(root.find("f")->quoted);
}

TEST(YamlTree, CopiesAliases) {
  const YamlNode root = parse_yaml("a: &x {k: 1}\nb: *x\nc: &s text\nd: [*s, *s]\n", "f.yaml");
  EXPECT_EQ(root.find("b")->find("k")->text, "1");
  EXPECT_EQ(root.find("d")->items[1].text, "text");
}

TEST(YamlTree, EmptyTextIsNull) {
  EXPECT_EQ(parse_yaml("", "f.yaml").kind, YamlNode::Kind::kNull);
  EXPECT_EQ(parse_yaml("# only a comment\n", "f.yaml").kind, YamlNode::Kind::kNull);
}

TEST(YamlTree, RefusesDoubledKeys) {
  EXPECT_EQ(error_of("a: 1\nb: 2\na: 3\n"),
            "f.yaml:3:1: the key 'a' is doubled; it was given before at line 1, column 1");
  EXPECT_EQ(error_of("m: {x: 1, 'x': 2}\n"),
            "f.yaml:1:11: the key 'x' is doubled; it was given before at line 1, column 5");
}

TEST(YamlTree, RefusesWhatItCannotMean) {
  EXPECT_EQ(error_of("a: &x {k: 1}\nb:\n  <<: *x\n"),
            "f.yaml:3:3: merge keys ('<<') are not supported; use 'extends: [file]' or write the keys out");
  EXPECT_EQ(error_of("? [a, b]\n: 1\n"), "f.yaml:1:3: a key must be plain text");
  EXPECT_EQ(error_of("a: &x [1]\n*x : 2\n"), "f.yaml:2:1: a key must be plain text");
  EXPECT_EQ(error_of("a: !!int 3\n"),
            "f.yaml:1:4: the tag 'tag:yaml.org,2002:int' has no meaning here; write the plain value");
  EXPECT_EQ(error_of("a: !mine {}\n"), "f.yaml:1:4: the tag '!mine' has no meaning here; write the plain value");
  EXPECT_EQ(error_of("a: &x [*x]\n"), "f.yaml:1:8: this alias stands inside the node that it names");
  EXPECT_EQ(error_of("a: 1\n---\nb: 2\n"),
            "f.yaml:3:1: this does not belong to what stands above it (wrong indentation, or a second YAML document)");
}

TEST(YamlTree, BrokenYamlNamesThePlace) {
  EXPECT_TRUE(error_of("a: [1, 2\nb: 3\n").starts_with("f.yaml:2:")) << error_of("a: [1, 2\nb: 3\n");
  EXPECT_TRUE(error_of("a: 1\n  b: 2\n").starts_with("f.yaml:2:")) << error_of("a: 1\n  b: 2\n");
  EXPECT_TRUE(error_of("a: *nothing\n").starts_with("f.yaml:1:4: not valid YAML")) << error_of("a: *nothing\n");
  EXPECT_EQ(error_of("a: \"open\n"), "f.yaml:1:4: not valid YAML: this quote is never closed");
  EXPECT_EQ(error_of("a: \"open \\\"\nb: 1\n"), "f.yaml:1:4: not valid YAML: this quote is never closed");
  EXPECT_EQ(error_of("b: 'it''s'\na: 'open ''\n"), "f.yaml:2:4: not valid YAML: this quote is never closed");
  EXPECT_EQ(error_of("a: \"one \\\" two\"\nb: 1\n"), "no error");
}

TEST(YamlTree, DepthAndSizeAreBounded) {
  EXPECT_EQ(error_of("a: " + std::string(64, '[') + std::string(64, ']')), "f.yaml:1:67: nested deeper than 64 levels");
  std::string laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 9; ++i) {
    laughs +=
        fmt::format("a{0}: &a{0} [*a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}, *a{1}]\n", i, i - 1);
  }
  EXPECT_NE(error_of(laughs).find("more than 100000 values"), std::string::npos) << error_of(laughs);
}

}  // namespace
}  // namespace primus::config

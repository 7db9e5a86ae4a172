#include "config/document.h"
#include "config/nearest.h"
#include "support.h"

namespace primus::config {
namespace {

using DocumentTest = ConfigTest;

TEST_F(DocumentTest, SubstitutesVariables) {
  variables_["NAME"] = "value";
  variables_["EMPTY"] = "";
  const auto replaced = [&](std::string_view text) { return substitute(text, environment(), "f:1:1"); };
  EXPECT_EQ(replaced("${NAME}"), "value");
  EXPECT_EQ(replaced("a${NAME}b${NAME}"), "avaluebvalue");
  EXPECT_EQ(replaced("${OTHER:./output}"), "./output");
  EXPECT_EQ(replaced("${OTHER:a:b}"), "a:b");
  EXPECT_EQ(replaced("${OTHER:}"), "");
  EXPECT_EQ(replaced("${NAME:default}"), "value");
  EXPECT_EQ(replaced("${EMPTY:default}"), "");
  EXPECT_EQ(replaced("$NAME $ {NAME} 5$"), "$NAME $ {NAME} 5$");
  EXPECT_EQ(replaced("$${NAME}"), "${NAME}");
  EXPECT_EQ(replaced("$$${NAME}"), "$${NAME}");
}

TEST_F(DocumentTest, RefusesBadVariables) {
  const auto error = [&](std::string_view text) { return error_of([&] { substitute(text, environment(), "f:1:1"); }); };
  EXPECT_EQ(error("${NOT_SET}"),
            "f:1:1: the environment variable NOT_SET is not set; set it, or write ${NOT_SET:default}");
  EXPECT_EQ(error("${1A:x}"),
            "f:1:1: '${1A:x}' does not name an environment variable; write ${NAME} or ${NAME:default}");
  EXPECT_EQ(error("${}"), "f:1:1: '${}' does not name an environment variable; write ${NAME} or ${NAME:default}");
  EXPECT_EQ(error("x${OPEN"), "f:1:1: '${OPEN' has no closing brace; write $${ for the characters themselves");
}

TEST_F(DocumentTest, VariablesTakeTheirTypeFromTheirValue) {
  variables_["ITERS"] = "25";
  variables_["NOTHING"] = "null";
  const Resolved resolved = load_run({"train_iters: ${ITERS}", "global_batch_size: \"${SIZE:16}\"",
                                      "lr_decay_iters: ${NOTHING}", "seq_length: ${LENGTH:4096}"});
  EXPECT_EQ(resolved.config.train_iters, 25);
  EXPECT_EQ(resolved.config.global_batch_size, 16);
  EXPECT_EQ(resolved.config.lr_decay_iters, 25);
  EXPECT_EQ(resolved.config.seq_length, 4096);
}

TEST_F(DocumentTest, UnsetVariableNamesThePlace) {
  EXPECT_EQ(run_error({"train_iters: 5", "seq_length: ${LENGTH}"}),
            "run.yaml:6:19: the environment variable LENGTH is not set; set it, or write ${LENGTH:default}");
}

TEST_F(DocumentTest, ExtendsMergesLaterOverEarlier) {
  write("base/one.yaml", "a: 1\nm: {x: 1, y: 1}\nlist: [1, 2]\n");
  write("base/two.yaml", "extends: three.yaml\nb: 2\nm: {y: 2}\n");
  write("base/three.yaml", "a: 3\nc: 3\n");
  const auto file = write("top.yaml", "extends: [base/one.yaml, base/two.yaml]\nm: {z: 4}\nlist: [9]\n");
  const YamlNode document = read_document(file, environment());
  EXPECT_EQ(document.find("a")->text, "3");
  EXPECT_EQ(document.find("b")->text, "2");
  EXPECT_EQ(document.find("c")->text, "3");
  EXPECT_EQ(document.find("m")->find("x")->text, "1");
  EXPECT_EQ(document.find("m")->find("y")->text, "2");
  EXPECT_EQ(document.find("m")->find("z")->text, "4");
  ASSERT_EQ(document.find("list")->items.size(), 1U);
  EXPECT_EQ(document.find("extends"), nullptr);
  EXPECT_EQ(without_folder(document.find("b")->mark.text()), "base/two.yaml:2:4");
}

TEST_F(DocumentTest, ExtendsRefusesCirclesAndMissingFiles) {
  const auto a = write("a.yaml", "extends: [b.yaml]\n");
  write("b.yaml", "x: 1\nextends: [a.yaml]\n");
  EXPECT_EQ(error_of([&] { read_document(a, environment()); }),
            "b.yaml:2:11: extends goes round in a circle: a.yaml -> b.yaml -> a.yaml");
  const auto missing = write("c.yaml", "extends: gone.yaml\n");
  EXPECT_EQ(error_of([&] { read_document(missing, environment()); }),
            "c.yaml:1:10: extends names 'gone.yaml', and there is no file gone.yaml");
  const auto wrong = write("d.yaml", "extends: {a: b}\n");
  EXPECT_EQ(error_of([&] { read_document(wrong, environment()); }),
            "d.yaml:1:10: extends takes a file or a list of files");
}

TEST_F(DocumentTest, RunFilesCanExtend) {
  write("common.yaml",
        "work_group: team\nmodules:\n  post_trainer:\n    model: qwen3_8b\n    overrides:\n      seed: 7\n      lr: "
        "1e-3\n");
  const auto file =
      write("run.yaml", "extends: [common.yaml]\nmodules:\n  post_trainer:\n    overrides:\n      finetune_lr: 2e-3\n");
  const Resolved resolved = load_file(file);
  EXPECT_EQ(resolved.config.work_group, "team");
  EXPECT_EQ(resolved.config.seed, 7U);
  EXPECT_EQ(resolved.config.finetune_lr, 2e-3);  // another name of lr, in a later file
  EXPECT_EQ(without_folder(resolved.source_of("seed").where), "common.yaml:6:13");
}

TEST_F(DocumentTest, RefusesFilesThatAreNoConfiguration) {
  const auto list = write("list.yaml", "- 1\n");
  EXPECT_EQ(error_of([&] { read_document(list, environment()); }),
            "list.yaml:1:1: a configuration is a map of keys and values");
  const auto large = write("large.yaml", std::string(5 << 20, '#'));
  EXPECT_EQ(error_of([&] { read_document(large, environment()); }),
            "large.yaml: 5242880 bytes is too large for a configuration");
  EXPECT_NE(error_of([&] { read_document(folder_ / "gone.yaml", environment()); }).find("gone.yaml"),
            std::string::npos);
}

TEST(Nearest, CountsEdits) {
  EXPECT_EQ(edit_distance("", "abc"), 3);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
  EXPECT_EQ(edit_distance("itres", "iters"), 1);  // neighbours swapped
  EXPECT_EQ(edit_distance("same", "same"), 0);
}

TEST(Nearest, NamesOnlyWhatIsNear) {
  const std::vector<std::string> names = {"train_iters", "eval_iters", "seed"};
  EXPECT_EQ(nearest_name("train_itres", names), "train_iters");
  EXPECT_EQ(nearest_name("seeed", names), "seed");
  EXPECT_EQ(nearest_name("something_else", names), "");
  EXPECT_EQ(did_you_mean("evl_iters", names), "; did you mean 'eval_iters'?");
}

}  // namespace
}  // namespace primus::config

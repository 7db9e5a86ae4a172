#include <limits>

#include "helpers.h"

namespace primus::tokenizer {
namespace {

TEST(Json, ReadsAndWritesAsPython) {
  const std::string text =
      R"({"a": [1, -2.5, 1e+16, 1e-05, true, null], "b": {"c": "é\n\"\\\u001f😀"}, "big": 123456789012345678901234567890})";
  EXPECT_EQ(to_json(parse_json(text)), text);
  EXPECT_EQ(to_json(parse_json("  [ ]\n")), "[]");
  EXPECT_EQ(to_json(parse_json(R"({"k":1,"k":2})")), R"({"k": 2})");
  EXPECT_EQ(parse_json(R"("\ud83d\ude00")").as_string(), "😀");
  EXPECT_EQ(to_json(parse_json("[NaN, -Infinity, 1E400, -0, -0.0]")), "[NaN, -Infinity, Infinity, 0, -0.0]");
}

TEST(Json, SaysWhatIsWrongAndWhere) {
  const auto error = [](const std::string& text) { return error_of([&] { parse_json(text, "row 7"); }); };
  EXPECT_EQ(error("{\"a\": 1,\n \"b\" 2}"), "row 7: line 2, column 6: expected ':'");
  EXPECT_NE(error("").find("expected a value"), std::string::npos);
  EXPECT_NE(error("[1,]").find("expected a value"), std::string::npos);
  EXPECT_NE(error("\"a\nb\"").find("control character"), std::string::npos);
  EXPECT_NE(error("\"\\ud800x\"").find("surrogate"), std::string::npos);
  EXPECT_NE(error("\"\\q\"").find("escape"), std::string::npos);
  EXPECT_NE(error("\"\xFF\"").find("UTF-8"), std::string::npos);
  EXPECT_NE(error("1 2").find("end of the text"), std::string::npos);
  EXPECT_NE(error("01").find("number"), std::string::npos);
  EXPECT_NE(error(std::string(100'000, '[')).find("200 deep"), std::string::npos);
  for (const char* cut : {"{", "{\"a", "{\"a\"", "{\"a\":", "[1", "tru", "-", "1.", "1e", "\"\\u12"}) {
    EXPECT_THROW(parse_json(cut), Error) << cut;
  }
}

TEST(Values, DictsKeepTheirOrderAndFindManyKeys) {
  Dict dict;
  for (int i = 0; i < 1000; ++i) dict.set(std::to_string(i % 500), Value(i));
  EXPECT_EQ(dict.size(), 500U);
  EXPECT_EQ(dict.begin()->first, "0");
  EXPECT_EQ(dict.find("499")->as_int(), 999);
  EXPECT_EQ(dict.find("500"), nullptr);
  EXPECT_ERROR(Value("x").as_int(), "expected an integer, found a string");
}

ChatTemplate compiled(const std::string& source) { return ChatTemplate(source, "t.jinja"); }

std::string run_error(const std::string& source, const RenderLimits& limits = {}) {
  ChatTemplate made = compiled(source);
  made.set_limits(limits);
  return error_of([&] { made.render_text(List{message("user", "hi")}); });
}

TEST(Sandbox, ErrorsNameTheLine) {
  EXPECT_EQ(run_error("a\n\n{{ 1 / 0 }}"), "t.jinja: line 3: division by zero");
  EXPECT_EQ(run_error("\n{% for m in messages %}\n{{ raise_exception('role ' + m.role) }}\n{% endfor %}"),
            "t.jinja: line 3: the template refuses this chat: role user");
  EXPECT_ERROR(compiled("\n\n{% if x %}"), "t.jinja: line 3: the template ends where {% endif %} is missing");
  EXPECT_ERROR(compiled("{{ x|nope }}"), "there is no filter 'nope'; known are: abs");
  EXPECT_ERROR(compiled("{% include 'a' %}"), "{% include %} is not supported");
  EXPECT_ERROR(compiled("{{ f(*a) }}"), "* and ** in a call are not supported");
  EXPECT_ERROR(compiled("\xFF"), "not valid UTF-8");
}

TEST(Sandbox, BoundsStepsDepthAndOutput) {
  RenderLimits limits;
  limits.steps = 100'000;
  limits.output = 1 << 20;
  EXPECT_NE(
      run_error("{% for a in range(1000) %}{% for b in range(1000) %}{% endfor %}{% endfor %}", limits).find("steps"),
      std::string::npos);
  EXPECT_NE(run_error("{{ 'x' * 10 ** 12 }}", limits).find("bytes"), std::string::npos);
  EXPECT_NE(run_error("{% set ns = namespace(s='x') %}{% for i in range(64) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
                      limits)
                .find("bytes"),
            std::string::npos);
  EXPECT_NE(run_error("{% set ns = namespace(s='x') %}{% for i in range(64) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
                      limits)
                .find("bytes"),
            std::string::npos);
  EXPECT_NE(run_error("{% set ns = namespace(s=[1]) %}{% for i in range(64) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
                      limits)
                .find("steps"),
            std::string::npos);
  EXPECT_NE(run_error("{{ [0] * 10 ** 12 }}", limits).find("bytes"), std::string::npos);
  EXPECT_NE(run_error("{{ 'x'.rjust(10 ** 12) }}", limits).find("bytes"), std::string::npos);
  EXPECT_NE(run_error("{{ 'abc'.replace('', 'y' * 1000000) }}", limits).find("bytes"), std::string::npos);
  EXPECT_NE(run_error("{{ '%999999999d' % 1 }}", limits).find("wider"), std::string::npos);
  EXPECT_NE(run_error("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}").find("deep"), std::string::npos);
  EXPECT_NE(run_error("{% set ns = namespace(l=[]) %}{% for i in range(5000) %}{% set ns.l = [ns.l] %}{% endfor %}")
                .find("nested"),
            std::string::npos);
}

TEST(Sandbox, DeepSourcesAreRefusedAndRingsAreFreed) {
  EXPECT_ERROR(compiled("{{ " + std::string(100'000, '(') + "1" + std::string(100'000, ')') + " }}"), "too deep");
  std::string chain = "{{ 1";
  for (int i = 0; i < 100'000; ++i) chain += " + 1";
  EXPECT_ERROR(compiled(chain + " }}"), "too long");
  std::string blocks;
  for (int i = 0; i < 10'000; ++i) blocks += "{% if x %}";
  EXPECT_ERROR(compiled(blocks), "too deep");
  EXPECT_EQ(compiled("{% set a = namespace() %}{% set b = namespace(a=a) %}{% set a.b = b %}ok").render_text(List{}),
            "ok");
  EXPECT_EQ(
      compiled("{% set ns = namespace() %}{% for i in range(20000) %}{% set ns.n = namespace(p=ns.n) %}{% endfor %}ok")
          .render_text(List{}),
      "ok");
}

TEST(ChatTemplates, WrongChatsAndNames) {
  const ChatTemplate chatml = ChatTemplate::built_in("chatml");
  EXPECT_ERROR(chatml.render_text(Value("hi")), "messages must be a list");
  EXPECT_ERROR(chatml.render_text(List{Value(1)}), "message 0 must be an object");
  EXPECT_ERROR(ChatTemplate::built_in("nope"), "there are: chatml, llama3, mistral");
  const Tokenizer tokenizer = Tokenizer::load(kData + "qwen");
  EXPECT_ERROR(ChatTemplate::of(tokenizer),
               "the checkpoint has no chat template; name a file or a built-in one (chatml");
  EXPECT_ERROR(ChatTemplate::of(tokenizer, "/no/such/file"), "neither a file nor a built-in one");
  EXPECT_ERROR(ChatTemplate::built_in("mistral").render_text(List{message("tool", "x")}), "not tool");
}

}  // namespace
}  // namespace primus::tokenizer

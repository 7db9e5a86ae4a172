#include "base/error.h"
#include "fuzz_input.h"
#include "tokenizer/chat_template.h"

/// A chat template, and the messages for it as JSON.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace primus;
  using tokenizer::Dict;
  using tokenizer::Value;
  static const Value kMessages = tokenizer::parse_json(
      R"([{"role": "system", "content": "S"}, {"role": "user", "content": "a\nb"},
          {"role": "assistant", "content": "c", "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1.5}}}]},
          {"role": "tool", "content": "4"}, {"role": "assistant", "content": "é日"}])");
  static const Value kSpecials(Dict{{"bos_token", Value("<s>")}, {"eos_token", Value("</s>")}});
  const auto [source, json] = fuzz::two_texts(data, size);
  try {
    tokenizer::ChatTemplate chat(std::string(source), "template", kSpecials, {"</s>"});
    chat.set_limits({.steps = 20'000, .output = 1u << 20, .depth = 100});
    const Value messages = json.empty() ? kMessages : tokenizer::parse_json(json);
    chat.render_text(messages, messages, true);
    const tokenizer::RenderedChat rendered = chat.render(messages);
    std::size_t done = 0;
    for (const tokenizer::TrainedSpan& span : rendered.trained) {
      fuzz::require(span.begin >= done && span.begin <= span.end && span.end <= rendered.text.size());
      done = span.end;
    }
  } catch (const Error&) {
  }
  return 0;
}

#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "checkpoint/safetensors_writer.h"
#include "cli/commands.h"
#include "cli/common.h"
#include "data/messages.h"
#include "data/row_format.h"
#include "data/row_reader.h"
#include "tokenizer/chat_template.h"
#include "train/open_model.h"
#include "train/setup.h"

namespace primus::cli {
namespace {

using Json = nlohmann::ordered_json;

/// One prompt and, when it comes from a row with an answer, what should follow.
struct Prompt {
  std::string shown;  // the last user message, or the text
  std::vector<std::int32_t> ids;
  std::optional<std::string> expected;
};

/// Turns texts and chats into prompts of the model.
class Prompter {
 public:
  Prompter(const tokenizer::Tokenizer& tokenizer, bool raw) : tokenizer_(&tokenizer) {
    if (!raw && !tokenizer.chat_templates().empty()) template_.emplace(tokenizer::ChatTemplate::of(tokenizer));
  }

  Prompt of_text(const std::string& text, const std::string& system) const {
    if (!template_) return {.shown = text, .ids = tokenizer_->encode(text, /*add_special=*/true), .expected = {}};
    tokenizer::List messages;
    if (!system.empty()) messages.push_back(data::make_message("system", system));
    messages.push_back(data::make_message("user", text));
    return of_messages(messages, {}, text, {});
  }

  Prompt of_row(const data::Example& row, const std::string& place) const {
    if (row.format == data::RowFormat::kInputIds) {
      throw bad_input("{}: generate reads chats, pairs and texts, not token ids", place);
    }
    if (row.format == data::RowFormat::kText) return of_text(row.text, "");
    if (!template_ && row.is_plain_pair) {
      Prompt prompt = of_text(row.prompt, "");
      prompt.expected = row.text;
      return prompt;
    }
    if (!template_) throw bad_input("{}: a chat needs a chat template, and the model's folder has none", place);
    tokenizer::List messages = row.messages;
    std::optional<std::string> expected;
    if (!messages.empty() && role(messages.back()) == "assistant") {
      const tokenizer::Value* content = messages.back().find("content");
      if (content != nullptr && content->is_string()) expected = content->as_string();
      messages.pop_back();
    }
    if (messages.empty()) throw bad_input("{}: there is nothing before the answer to generate from", place);
    const tokenizer::Value* content = messages.back().find("content");
    return of_messages(messages, row.tools, content != nullptr && content->is_string() ? content->as_string() : "",
                       expected);
  }

 private:
  static std::string role(const tokenizer::Value& message) {
    const tokenizer::Value* value = message.find("role");
    return value != nullptr && value->is_string() ? value->as_string() : "";
  }

  Prompt of_messages(const tokenizer::List& messages, const tokenizer::Value& tools, const std::string& shown,
                     const std::optional<std::string>& expected) const {
    const std::string text = template_->render_text(tokenizer::Value(messages), tools, /*add_generation_prompt=*/true);
    return {.shown = shown, .ids = tokenizer_->encode(text), .expected = expected};
  }

  const tokenizer::Tokenizer* tokenizer_;
  std::optional<tokenizer::ChatTemplate> template_;
};

std::vector<Prompt> read_prompts(const std::string& path, const Prompter& prompter) {
  std::vector<Prompt> prompts;
  for (const auto& file : data::data_files(path)) {
    data::RowReader reader(file);
    std::optional<data::RowFormat> format;
    for (data::RowText text; reader.next(text);) {
      const std::string place = fmt::format("{}:{}", file.string(), text.line);
      const tokenizer::Value row = tokenizer::parse_json(text.text, place);
      if (!format) format = data::find_format(row, {}, place);
      prompts.push_back(prompter.of_row(data::read_example(row, *format, {}, 0, place), place));
    }
  }
  if (prompts.empty()) throw bad_input("{}: there are no rows", path);
  return prompts;
}

/// Tokens that end an answer: the model's end-of-sequence ids and the tokenizer's.
std::vector<std::int32_t> stop_tokens(const model::ModelConfig& model, const tokenizer::Tokenizer& tokenizer) {
  std::vector<std::int32_t> stops;
  stops.reserve(model.eos_token_ids.size() + 1);
  for (const std::int64_t id : model.eos_token_ids) stops.push_back(static_cast<std::int32_t>(id));
  if (tokenizer.eos_id()) stops.push_back(*tokenizer.eos_id());
  return stops;
}

void print_answer(const Prompt& prompt, const std::string& answer, bool json) {
  if (json) {
    Json line;
    line["prompt"] = prompt.shown;
    line["answer"] = answer;
    if (prompt.expected) {
      line["expected"] = *prompt.expected;
      line["match"] = answer == *prompt.expected;
    }
    fmt::print("{}\n", line.dump(-1, ' ', false, Json::error_handler_t::replace));
    return;
  }
  fmt::print("> {}\n{}\n", prompt.shown, answer);
  if (prompt.expected && answer != *prompt.expected) fmt::print("  (expected: {})\n", *prompt.expected);
}

config::DeviceChoice device_choice(const std::string& name) {
  if (name == "auto") return config::DeviceChoice::kAuto;
  if (name == "cpu") return config::DeviceChoice::kCpu;
  if (name == "cuda") return config::DeviceChoice::kCuda;
  if (name == "hip") return config::DeviceChoice::kHip;
  throw bad_input("--device: '{}' is none of auto, cpu, cuda, hip", name);
}

void write_logits(const std::string& path, train::OpenModel& model, const std::vector<Prompt>& prompts) {
  const std::vector<std::int32_t>& ids = prompts.front().ids;
  const std::vector<float> logits = model.generator().prompt_logits(model.stream(), ids);
  const std::int64_t vocab = model.config().vocab_size;
  checkpoint::SafetensorsWriter writer(path, {{"input_ids", DType::kI32, {static_cast<std::int64_t>(ids.size())}},
                                              {"logits", DType::kF32, {static_cast<std::int64_t>(ids.size()), vocab}}});
  for (const checkpoint::TensorSpec& tensor : writer.tensors()) {
    writer.write(tensor.name == "logits" ? std::as_bytes(std::span(logits)) : std::as_bytes(std::span(ids)));
  }
  writer.finish();
  log::info("wrote the logits of the first prompt to {}", path);
}

int run(const Arguments& arguments) {
  if (arguments.has("prompt") == arguments.has("input")) {
    throw bad_input("generate: give either --prompt TEXT or --input FILE");
  }
  const std::filesystem::path folder = train::resolve_checkpoint(arguments.text("model"));
  train::ModelSource source{.base = folder, .adapter = arguments.text("adapter"), .state = {}};
  const model::ModelConfig config = model::load_model_config(folder);
  const auto tokenizer = tokenizer::Tokenizer::load(folder);
  const Prompter prompter(tokenizer, arguments.has("raw"));

  std::vector<Prompt> prompts;
  if (arguments.has("prompt")) {
    std::string text = arguments.text("prompt");
    if (text == "-") text.assign(std::istreambuf_iterator<char>(std::cin), {});
    prompts.push_back(prompter.of_text(text, arguments.text("system")));
  } else {
    prompts = read_prompts(arguments.text("input"), prompter);
  }

  model::SamplingSettings settings{.max_new_tokens = arguments.integer("max-new-tokens", 256, 1),
                                   .temperature = arguments.number("temperature", 0.0),
                                   .top_k = arguments.integer("top-k", 0),
                                   .top_p = arguments.number("top-p", 1.0),
                                   .seed = static_cast<std::uint64_t>(arguments.integer("seed", 0)),
                                   .stop_tokens = stop_tokens(config, tokenizer)};
  std::size_t longest = 0;
  for (const Prompt& prompt : prompts) {
    if (prompt.ids.empty()) throw bad_input("generate: the prompt is empty");
    longest = std::max(longest, prompt.ids.size());
  }
  const std::int64_t room = config.max_position_embeddings - static_cast<std::int64_t>(longest);
  if (room < 1) {
    throw bad_input("generate: a prompt has {} tokens and the model has {} positions", longest,
                    config.max_position_embeddings);
  }
  settings.max_new_tokens = std::min(settings.max_new_tokens, room);
  const std::int64_t capacity = static_cast<std::int64_t>(longest) + settings.max_new_tokens;
  const auto batch =
      std::min<std::int64_t>(arguments.integer("batch-size", 32, 1), static_cast<std::int64_t>(prompts.size()));
  if (arguments.dry_run) {
    fmt::print("would answer {} prompts, {} at a time, up to {} tokens each\n", prompts.size(), batch,
               settings.max_new_tokens);
    return 0;
  }

  const std::string precision = arguments.text("precision", "bf16");
  if (precision != "bf16" && precision != "fp32")
    throw bad_input("--precision: '{}' is neither bf16 nor fp32", precision);
  const Device device = train::choose_device(device_choice(arguments.text("device", "auto")));
  train::OpenModel model(source,
                         {.device = device,
                          .compute_dtype = train::choose_compute_dtype(
                              precision == "fp32" ? config::Precision::kFp32 : config::Precision::kBf16Mixed, device),
                          .max_tokens = std::max<std::int64_t>(static_cast<std::int64_t>(longest), std::int64_t{2048}),
                          .max_positions = std::max<std::int64_t>(capacity, 64),
                          .sequences = batch,
                          .capacity = capacity});
  if (arguments.has("logits")) write_logits(arguments.text("logits"), model, prompts);

  const bool json = arguments.has("json");
  const bool streams = prompts.size() == 1 && !json && ::isatty(STDOUT_FILENO) != 0;
  std::size_t with_answer = 0;
  std::size_t matches = 0;
  for (std::size_t first = 0; first < prompts.size(); first += static_cast<std::size_t>(batch)) {
    const std::size_t last = std::min(first + static_cast<std::size_t>(batch), prompts.size());
    std::vector<std::vector<std::int32_t>> ids;
    for (std::size_t i = first; i < last; ++i) ids.push_back(prompts[i].ids);
    tokenizer::StreamDecoder decoder(tokenizer);
    model::Generator::OnToken on_token;
    if (streams) {
      on_token = [&](std::size_t, std::int32_t token) {
        fmt::print("{}", decoder.push(token));
        std::fflush(stdout);
      };
    }
    const auto answers = model.generator().generate(model.stream(), ids, settings, on_token);
    if (streams) {
      fmt::print("{}\n", decoder.finish());
      return 0;
    }
    for (std::size_t i = first; i < last; ++i) {
      const std::string answer = tokenizer.decode(answers[i - first], /*skip_special=*/true);
      if (prompts[i].expected) {
        ++with_answer;
        if (answer == *prompts[i].expected) ++matches;
      }
      if (arguments.has("prompt") && !json) {
        fmt::print("{}\n", answer);
      } else {
        print_answer(prompts[i], answer, json);
      }
    }
  }
  if (with_answer == 0) return 0;
  const double share = static_cast<double>(matches) / static_cast<double>(with_answer);
  if (json) {
    Json line;
    line["rows"] = with_answer;
    line["matches"] = matches;
    line["exact_match"] = share;
    fmt::print("{}\n", line.dump());
  } else {
    fmt::print("{} of {} answers match exactly ({:.1f} %)\n", matches, with_answer, 100.0 * share);
  }
  return 0;
}

}  // namespace

Command generate_command() {
  return {
      .name = "generate",
      .summary = "Answer a prompt, or every row of a file, with a model and an adapter",
      .details =
          "A prompt becomes a user's message in the model's chat template when it has one. With --input, each row is\n"
          "prompted up to its last assistant turn, and the answer is compared with that turn.",
      .options = {{"model", "DIR", "the model: a folder, or a hub id in the local cache", true},
                  {"adapter", "DIR", "a PEFT adapter over it"},
                  {"prompt", "TEXT", "what to answer; - reads standard input"},
                  {"system", "TEXT", "a system message before the prompt"},
                  {"raw", "", "continue the text itself, without the chat template"},
                  {"input", "FILE", "rows to answer, in any format that training reads"},
                  {"max-new-tokens", "N", "longest answer in tokens (256)"},
                  {"temperature", "T", "0 takes the most likely token always (0)"},
                  {"top-k", "K", "draw among the K likeliest tokens only (0: all)"},
                  {"top-p", "P", "draw among the likeliest tokens that have this share (1)"},
                  {"seed", "S", "of the draws (0)"},
                  {"batch-size", "B", "rows answered at a time (32)"},
                  {"precision", "P", "bf16 or fp32 (bf16)"},
                  {"device", "D", "auto, cpu, cuda or hip (auto)"},
                  {"logits", "FILE", "also write the first prompt's ids and logits as safetensors"},
                  {"json", "", "print one line of JSON a row, and a last one with the share that matches"}},
      .run = run};
}

}  // namespace primus::cli

#include <unistd.h>

#include <algorithm>
#include <cmath>
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
  std::string place = "generate";  // what messages begin with: "rows.jsonl:3"
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
      prompts.back().place = place;
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

/// What the options ask for, checked; nothing is loaded yet.
model::SamplingSettings sampling(const Arguments& arguments) {
  model::SamplingSettings settings{.max_new_tokens = arguments.integer("max-new-tokens", 256, 1),
                                   .temperature = arguments.number("temperature", 0.0),
                                   .top_k = arguments.integer("top-k", 0),
                                   .top_p = arguments.number("top-p", 1.0),
                                   .seed = static_cast<std::uint64_t>(arguments.integer("seed", 0)),
                                   .stop_tokens = {}};
  if (!(settings.temperature >= 0.0) || std::isinf(settings.temperature)) {
    throw bad_input("--temperature: {} is not a number of at least 0", settings.temperature);
  }
  if (!(settings.top_p > 0.0 && settings.top_p <= 1.0)) {
    throw bad_input("--top-p: {} is not above 0 and at most 1", settings.top_p);
  }
  return settings;
}

config::Precision precision(const std::string& name) {
  if (name == "bf16") return config::Precision::kBf16Mixed;
  if (name == "fp32") return config::Precision::kFp32;
  throw bad_input("--precision: '{}' is neither bf16 nor fp32", name);
}

std::vector<Prompt> take_prompts(const Arguments& arguments, const tokenizer::Tokenizer& tokenizer) {
  const Prompter prompter(tokenizer, arguments.has("raw"));
  if (arguments.has("input")) return read_prompts(arguments.text("input"), prompter);
  std::string text = arguments.text("prompt");
  if (text == "-") text.assign(std::istreambuf_iterator<char>(std::cin), {});
  return {prompter.of_text(text, arguments.text("system"))};
}

/// The longest prompt in tokens. Throws Error for a prompt that is empty or leaves no room for an answer.
std::int64_t longest_prompt(const std::vector<Prompt>& prompts, std::int64_t positions) {
  std::int64_t longest = 0;
  for (const Prompt& prompt : prompts) {
    const auto length = static_cast<std::int64_t>(prompt.ids.size());
    if (length == 0) throw bad_input("{}: the prompt is empty", prompt.place);
    if (length >= positions) {
      throw bad_input("{}: the prompt has {} tokens and the model takes {} with the answer: shorten it", prompt.place,
                      length, positions);
    }
    longest = std::max(longest, length);
  }
  return longest;
}

/// Positions over which attention is what the model was trained with: here it is over everything before a token.
std::int64_t usable_positions(const model::ModelConfig& config) {
  if (config.sliding_window == 0) return config.max_position_embeddings;
  return std::min(config.max_position_embeddings, config.sliding_window);
}

/// Answers that match exactly, of those that have an expected one.
struct Score {
  std::size_t rows = 0;
  std::size_t matches = 0;

  void add(const Prompt& prompt, const std::string& answer) {
    if (!prompt.expected) return;
    ++rows;
    if (answer == *prompt.expected) ++matches;
  }

  void print(bool json) const {
    if (rows == 0) return;
    const double share = static_cast<double>(matches) / static_cast<double>(rows);
    if (!json) {
      fmt::print("{} of {} answers match exactly ({:.1f} %)\n", matches, rows, 100.0 * share);
      return;
    }
    Json line;
    line["rows"] = rows;
    line["matches"] = matches;
    line["exact_match"] = share;
    fmt::print("{}\n", line.dump());
  }
};

/// One answer, shown as it comes.
void stream_answer(train::OpenModel& model, const tokenizer::Tokenizer& tokenizer, const Prompt& prompt,
                   const model::SamplingSettings& settings) {
  tokenizer::StreamDecoder decoder(tokenizer);
  const std::vector<std::vector<std::int32_t>> ids{prompt.ids};
  model.generator().generate(model.stream(), ids, settings, [&](std::size_t, std::int32_t token) {
    fmt::print("{}", decoder.push(token));
    std::fflush(stdout);
  });
  fmt::print("{}\n", decoder.finish());
}

/// All answers, `batch` at a time.
void print_answers(train::OpenModel& model, const tokenizer::Tokenizer& tokenizer, const std::vector<Prompt>& prompts,
                   std::size_t batch, const model::SamplingSettings& settings, const Arguments& arguments) {
  const bool json = arguments.has("json");
  Score score;
  for (std::size_t first = 0; first < prompts.size(); first += batch) {
    const std::size_t last = std::min(first + batch, prompts.size());
    std::vector<std::vector<std::int32_t>> ids;
    for (std::size_t i = first; i < last; ++i) ids.push_back(prompts[i].ids);
    const auto answers = model.generator().generate(model.stream(), ids, settings, {});
    for (std::size_t i = first; i < last; ++i) {
      const std::string answer = tokenizer.decode(answers[i - first], /*skip_special=*/true);
      score.add(prompts[i], answer);
      if (arguments.has("prompt") && !json) {
        fmt::print("{}\n", answer);
      } else {
        print_answer(prompts[i], answer, json);
      }
    }
  }
  score.print(json);
}

int run(const Arguments& arguments) {
  if (arguments.has("prompt") == arguments.has("input")) {
    throw bad_input("generate: give either --prompt TEXT or --input FILE");
  }
  if (arguments.has("system") && (arguments.has("input") || arguments.has("raw"))) {
    throw bad_input("generate: --system goes with --prompt and a chat template, not with --input or --raw");
  }
  model::SamplingSettings settings = sampling(arguments);
  const config::Precision computing = precision(arguments.text("precision", "bf16"));
  const config::DeviceChoice where = device_choice(arguments.text("device", "auto"));

  const std::filesystem::path folder =
      train::resolve_checkpoint(arguments.text("model"), train::CheckpointParts::kAll, "--model");
  const model::ModelConfig config = model::load_model_config(folder);
  const auto tokenizer = tokenizer::Tokenizer::load(folder);
  settings.stop_tokens = stop_tokens(config, tokenizer);
  const std::vector<Prompt> prompts = take_prompts(arguments, tokenizer);
  const std::int64_t positions = usable_positions(config);
  const std::int64_t longest = longest_prompt(prompts, positions);
  settings.max_new_tokens = std::min(settings.max_new_tokens, positions - longest);
  const std::int64_t capacity = longest + settings.max_new_tokens;
  const auto batch =
      std::min<std::int64_t>(arguments.integer("batch-size", 32, 1), static_cast<std::int64_t>(prompts.size()));
  if (arguments.dry_run) {
    fmt::print("would answer {} prompts, {} at a time, up to {} tokens each\n", prompts.size(), batch,
               settings.max_new_tokens);
    return 0;
  }

  const Device device = train::choose_device(where);
  train::OpenModel model({.base = folder, .adapter = arguments.text("adapter"), .state = {}},
                         {.device = device,
                          .compute_dtype = train::choose_compute_dtype(computing, device),
                          .max_tokens = std::max<std::int64_t>(longest, 2048),
                          .max_positions = std::max<std::int64_t>(capacity, 64),
                          .sequences = batch,
                          .capacity = capacity});
  if (arguments.has("logits")) write_logits(arguments.text("logits"), model, prompts);
  if (arguments.has("prompt") && !arguments.has("json") && ::isatty(STDOUT_FILENO) != 0) {
    stream_answer(model, tokenizer, prompts.front(), settings);
  } else {
    print_answers(model, tokenizer, prompts, static_cast<std::size_t>(batch), settings, arguments);
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
      .options = {{"model", "DIR", "the model: a folder or a hub id", true},
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

#include "tokenizer/chat_template.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "tokenizer/built_in_templates.h"
#include "tokenizer/chat_parts.h"
#include "tokenizer/jinja/interpreter.h"
#include "tokenizer/jinja/parser.h"

namespace primus::tokenizer {
namespace {

constexpr std::size_t kMaxSource = 4 << 20;

jinja::Template compile(const std::string& source, const std::string& name) {
  if (source.size() > kMaxSource) {
    throw bad_input("{}: a chat template of {} bytes ({} are possible)", name, source.size(), kMaxSource);
  }
  return jinja::parse(source, name);
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

std::vector<std::string> markers_of(const Tokenizer& tokenizer) {
  std::vector<std::string> markers;
  for (const AddedToken& token : tokenizer.added_tokens()) markers.push_back(token.content);
  return markers;
}

}  // namespace

const jinja::Template& ChatTemplate::Parts::program_for(const Value& tools) const {
  for (const Program& program : programs) {
    if (program.purpose == "tool_use" && !tools.is_null()) return program.code;
  }
  return programs.front().code;
}

Value prepared_messages(const Value& messages) {
  if (!messages.is_list()) throw bad_input("messages must be a list, found {}", messages.kind_name());
  List prepared;
  for (std::size_t i = 0; i < messages.as_list().size(); ++i) {
    const Value& message = messages.as_list()[i];
    if (!message.is_dict()) throw bad_input("message {} must be an object, found {}", i, message.kind_name());
    const Value* reasoning = nullptr;
    for (const char* name : {"reasoning_content", "thinking", "reasoning"}) {
      const Value* value = message.find(name);
      if (reasoning == nullptr && value != nullptr && !value->is_null()) reasoning = value;
    }
    if (reasoning == nullptr) {
      prepared.emplace_back(Dict(message.as_dict()));
      continue;
    }
    Dict members;
    members.set("thinking", *reasoning);
    for (const auto& [key, value] : message.as_dict()) members.set(key, value);
    members.set("reasoning_content", *reasoning);
    prepared.emplace_back(std::move(members));
  }
  return Value(std::move(prepared));
}

TracedRendering Conversation::render(const Value& messages, bool add_generation_prompt) const {
  jinja::Interpreter interpreter(parts.program_for(tools), parts.limits, now, messages);
  interpreter.define("documents", Value());
  for (const auto& [key, value] : parts.special_tokens.as_dict()) interpreter.define(key, value);
  if (extra.is_dict()) {
    for (const auto& [key, value] : extra.as_dict()) interpreter.define(key, value);
  }
  interpreter.define("messages", messages);
  interpreter.define("tools", tools);
  interpreter.define("add_generation_prompt", Value(add_generation_prompt));
  try {
    interpreter.run();
  } catch (const jinja::Fault& fault) {
    throw bad_input("{}: line {}: {}", parts.name, interpreter.line(), fault.what());
  } catch (const Error& error) {
    throw bad_input("{}: line {}: {}", parts.name, interpreter.line(), error.what());
  }
  return {interpreter.take_output(), interpreter.generated(), interpreter.generated_elsewhere(), interpreter.written()};
}

ChatTemplate::ChatTemplate(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

ChatTemplate::ChatTemplate(const std::string& source, const std::string& name, Value special_tokens,
                           std::vector<std::string> markers)
    : parts_(std::make_unique<Parts>()) {
  parts_->name = name;
  parts_->source = source;
  parts_->special_tokens = special_tokens.is_dict() ? std::move(special_tokens) : Value(Dict{});
  parts_->markers = std::move(markers);
  parts_->programs.push_back({"default", compile(source, name)});
}

ChatTemplate ChatTemplate::built_in(const std::string& name, Value special_tokens, std::vector<std::string> markers) {
  for (const BuiltInTemplate& known : built_in_templates()) {
    if (known.name == name) {
      return ChatTemplate(known.source, name, std::move(special_tokens), std::move(markers));
    }
  }
  throw bad_input("there is no built-in chat template \"{}\" (there are: {})", name, joined(built_in_names()));
}

std::vector<std::string> ChatTemplate::built_in_names() {
  std::vector<std::string> names;
  for (const BuiltInTemplate& known : built_in_templates()) names.emplace_back(known.name);
  return names;
}

ChatTemplate ChatTemplate::of(const Tokenizer& tokenizer, const std::string& choice) {
  const Value& specials = tokenizer.special_tokens_map();
  std::vector<std::string> markers = markers_of(tokenizer);
  if (!choice.empty()) {
    const auto names = built_in_names();
    if (std::find(names.begin(), names.end(), choice) != names.end())
      return built_in(choice, specials, std::move(markers));
    std::error_code ignored;
    if (std::filesystem::is_regular_file(choice, ignored)) {
      return ChatTemplate(read_text(choice), choice, specials, std::move(markers));
    }
    throw bad_input("chat template \"{}\" is neither a file nor a built-in one (built in are: {})", choice,
                    joined(names));
  }
  const NamedTemplate* main_template = nullptr;
  const NamedTemplate* tool_use = nullptr;
  std::string known;
  for (const NamedTemplate& named : tokenizer.chat_templates()) {
    if (named.name == "default") main_template = &named;
    if (named.name == "tool_use") tool_use = &named;
    known += (known.empty() ? "" : ", ") + named.name;
  }
  if (main_template == nullptr) {
    throw bad_input(
        "the checkpoint has no {}chat template{}; name a file or a built-in one ({}) with dataset.chat_template",
        known.empty() ? "" : "default ", known.empty() ? "" : " (it has: " + known + ")", joined(built_in_names()));
  }
  const auto title = [](const NamedTemplate& named) {
    return named.file.ends_with(".jinja") ? named.file : named.file + ": chat_template";
  };
  ChatTemplate made(main_template->source, title(*main_template), specials, std::move(markers));
  if (tool_use != nullptr) {
    made.parts_->programs.push_back({"tool_use", compile(tool_use->source, title(*tool_use))});
    made.parts_->source += "\n" + tool_use->source;
  }
  return made;
}

std::string ChatTemplate::render_text(const Value& messages, const Value& tools, bool add_generation_prompt,
                                      const Value& extra) const {
  const Conversation conversation{*parts_, tools, extra, std::time(nullptr)};
  return conversation.render(prepared_messages(messages), add_generation_prompt).text;
}

RenderedChat ChatTemplate::render(const Value& messages, const Value& tools, const Value& extra) const {
  const Conversation conversation{*parts_, tools, extra, std::time(nullptr)};
  const Value prepared = prepared_messages(messages);
  TracedRendering whole = conversation.render(prepared, false);
  RenderedChat chat;
  if (parts_->program_for(tools).has_generation) {
    if (whole.generated_elsewhere) {
      throw bad_input(
          "{}: {{% generation %}} stands inside a macro, a set block or a filter block, where what is "
          "trained cannot be told",
          parts_->name);
    }
    chat.trained = std::move(whole.generated);
  } else {
    chat.trained = assistant_spans(conversation, prepared, whole);
  }
  chat.text = std::move(whole.text);
  return chat;
}

bool ChatTemplate::has_generation_blocks() const {
  return std::any_of(parts_->programs.begin(), parts_->programs.end(),
                     [](const Parts::Program& program) { return program.code.has_generation; });
}

const std::string& ChatTemplate::name() const { return parts_->name; }
const std::string& ChatTemplate::source() const { return parts_->source; }
void ChatTemplate::set_limits(const RenderLimits& limits) { parts_->limits = limits; }

std::vector<TrainedSpan> last_turn(const std::vector<TrainedSpan>& spans) {
  if (spans.empty()) return {};
  const int message = spans.back().message;
  if (message < 0) return {spans.back()};
  std::vector<TrainedSpan> kept;
  std::copy_if(spans.begin(), spans.end(), std::back_inserter(kept),
               [message](const TrainedSpan& span) { return span.message == message; });
  return kept;
}

}  // namespace primus::tokenizer

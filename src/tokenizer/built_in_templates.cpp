#include "tokenizer/built_in_templates.h"

namespace primus::tokenizer {
namespace {

// Begins every template: a content may be a list of parts or null, and what cannot be written is refused, not left out.
constexpr std::string_view kCommon = R"jinja({%- macro text_of(content) -%}
  {%- if content is string -%}
    {{- content -}}
  {%- elif content -%}
    {%- for part in content -%}{{- part.text -}}{%- endfor -%}
  {%- endif -%}
{%- endmacro -%}
{%- if tools -%}
  {{- raise_exception('this built-in template writes no tools; name a template that does') -}}
{%- endif -%}
{%- for message in messages -%}
  {%- if message.tool_calls or message.function_call -%}
    {{- raise_exception('this built-in template writes no tool calls; name a template that does') -}}
  {%- endif -%}
{%- endfor -%}
)jinja";

// Every template marks what the model is to say, from behind the header of its turn through the end-of-turn token.

constexpr std::string_view kChatml = R"jinja({%- for message in messages -%}
  {{- '<|im_start|>' ~ message.role ~ '\n' -}}
  {%- if message.role == 'assistant' -%}
    {%- generation -%}
      {{- text_of(message.content) ~ '<|im_end|>' -}}
    {%- endgeneration -%}
  {%- else -%}
    {{- text_of(message.content) ~ '<|im_end|>' -}}
  {%- endif -%}
  {{- '\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<|im_start|>assistant\n' -}}
{%- endif -%})jinja";

constexpr std::string_view kLlama3 = R"jinja({{- bos_token | default('') -}}
{%- for message in messages -%}
  {{- '<|start_header_id|>' ~ message.role ~ '<|end_header_id|>\n\n' -}}
  {%- if message.role == 'assistant' -%}
    {%- generation -%}
      {{- text_of(message.content) | trim ~ '<|eot_id|>' -}}
    {%- endgeneration -%}
  {%- else -%}
    {{- text_of(message.content) | trim ~ '<|eot_id|>' -}}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' -}}
{%- endif -%})jinja";

// A system message leads the first user message.
constexpr std::string_view kMistral = R"jinja({{- bos_token | default('<s>') -}}
{%- set ns = namespace(system='') -%}
{%- for message in messages -%}
  {%- if message.role == 'system' -%}
    {%- set ns.system = text_of(message.content) ~ '\n\n' -%}
  {%- elif message.role == 'user' -%}
    {{- '[INST] ' ~ ns.system ~ text_of(message.content) ~ ' [/INST]' -}}
    {%- set ns.system = '' -%}
  {%- elif message.role == 'assistant' -%}
    {%- generation -%}
      {{- ' ' ~ text_of(message.content) | trim ~ (eos_token | default('</s>')) -}}
    {%- endgeneration -%}
  {%- else -%}
    {{- raise_exception('the roles system, user and assistant are possible, not ' ~ message.role) -}}
  {%- endif -%}
{%- endfor -%})jinja";

constexpr std::string_view kGemma = R"jinja({{- bos_token | default('<bos>') -}}
{%- set ns = namespace(system='') -%}
{%- for message in messages -%}
  {%- if message.role == 'system' -%}
    {%- set ns.system = (text_of(message.content) | trim) ~ '\n\n' -%}
  {%- elif message.role == 'assistant' -%}
    {{- '<start_of_turn>model\n' -}}
    {%- generation -%}
      {{- text_of(message.content) | trim ~ '<end_of_turn>' -}}
    {%- endgeneration -%}
    {{- '\n' -}}
  {%- else -%}
    {{- '<start_of_turn>' ~ message.role ~ '\n' ~ ns.system ~ (text_of(message.content) | trim) ~ '<end_of_turn>\n' -}}
    {%- set ns.system = '' -%}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<start_of_turn>model\n' -}}
{%- endif -%})jinja";

}  // namespace

const std::vector<BuiltInTemplate>& built_in_templates() {
  const auto with_common = [](std::string_view source) { return std::string(kCommon).append(source); };
  static const std::vector<BuiltInTemplate> templates = {{"chatml", with_common(kChatml)},
                                                         {"llama3", with_common(kLlama3)},
                                                         {"mistral", with_common(kMistral)},
                                                         {"gemma", with_common(kGemma)}};
  return templates;
}

}  // namespace primus::tokenizer

#include "data/row_batch.h"

#include <charconv>
#include <optional>

#include "base/error.h"

namespace primus::data {
namespace {

/// "row: line 2, column 5: expected …" -> {2, "column 5: expected …"}
struct JsonFault {
  std::uint32_t line = 1;
  std::string text;
};

JsonFault read_fault(std::string_view message, std::string_view name) {
  JsonFault fault{1, std::string(message)};
  const std::string begin = std::string(name) + ": line ";
  if (!message.starts_with(begin)) return fault;
  message.remove_prefix(begin.size());
  const auto [end, error] = std::from_chars(message.data(), message.data() + message.size(), fault.line);
  message.remove_prefix(static_cast<std::size_t>(end - message.data()));
  if (error == std::errc() && message.starts_with(", ")) fault.text = message.substr(2);
  return fault;
}

}  // namespace

tokenizer::Value parse_row(std::string_view text, const std::string& file, std::uint32_t line, bool first_row) {
  constexpr std::string_view kName = "row";
  try {
    return tokenizer::parse_json(text, kName);
  } catch (const Error& error) {
    const JsonFault fault = read_fault(error.what(), kName);
    throw bad_input("{}:{}: broken row: {}{}", file, line + fault.line - 1, fault.text,
                    first_row ? " (a data file has one JSON object a line, or one JSON array of them)" : "");
  }
}

RowFormat format_of_file(const std::string& named, std::string_view first_row, const Columns& columns,
                         const std::string& file, std::uint32_t line) {
  if (!named.empty()) return format_named(named);
  return find_format(parse_row(first_row, file, line, true), columns, fmt::format("{}:{}", file, line));
}

TokenBatch tokenize_batch(const RowBatch& batch, const RowRenderer& renderer, const Columns& columns,
                          std::int64_t vocabulary_size) {
  TokenBatch out;
  for (const RowBatch::Row& row : batch.rows) {
    const std::string_view text = std::string_view(batch.text).substr(row.begin, row.end - row.begin);
    const std::string place = fmt::format("{}:{}", batch.file->name, row.line);
    const tokenizer::Value value = parse_row(text, batch.file->name, row.line, row.row == 1);
    RenderedRow rendered =
        renderer.render(read_example(value, batch.file->format, columns, vocabulary_size, place), place);
    ++out.rows_read;
    if (rendered.cut_tokens > 0) out.cut.add({batch.file->number, row.line});
    if (rendered.tokens.lacks_tools) out.without_tools.add({batch.file->number, row.line});
    if (!rendered.is_trained) {
      out.dropped.add({batch.file->number, row.line});
      continue;
    }
    const TokenRow& tokens = rendered.tokens;
    out.ids.insert(out.ids.end(), tokens.ids.begin(), tokens.ids.end());
    out.labels.insert(out.labels.end(), tokens.labels.begin(), tokens.labels.end());
    out.lengths.push_back(static_cast<std::int64_t>(tokens.ids.size()));
    out.origins.push_back({batch.file->number, row.row, row.line});
  }
  return out;
}

}  // namespace primus::data

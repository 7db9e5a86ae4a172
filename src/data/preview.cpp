#include "data/preview.h"

#include <algorithm>

#include "base/error.h"
#include "data/row_batch.h"
#include "data/row_reader.h"

namespace primus::data {
namespace {

PreviewRow preview_row(const RowRenderer& renderer, Example example, std::string place, std::int64_t seq_length) {
  PreviewRow row{.place = std::move(place), .format = example.format};
  row.tokens = renderer.render_whole(std::move(example), row.place);
  const std::vector<std::int32_t>& labels = row.tokens.labels;
  row.kept = std::min(seq_length, static_cast<std::int64_t>(labels.size()));
  for (std::int64_t t = 1; t < row.kept; ++t) row.trained_tokens += labels[static_cast<std::size_t>(t)] != kNotTrained;
  return row;
}

}  // namespace

std::vector<PreviewRow> preview(const LoadSettings& settings, const tokenizer::Tokenizer* tokenizer,
                                std::int64_t rows) {
  check(settings);
  const RowRenderer renderer = make_renderer(settings, tokenizer);
  const std::int64_t id_limit = vocabulary_size(settings, tokenizer);
  std::vector<PreviewRow> seen;
  for (const std::string& path : settings.paths) {
    for (const auto& file : settings.find_files(path, Split::kTrain)) {
      RowReader reader(file);
      RowFormat format = RowFormat::kText;
      for (RowText text; static_cast<std::int64_t>(seen.size()) < rows && reader.next(text);) {
        std::string place = fmt::format("{}:{}", file.string(), text.line);
        if (text.row == 1) {
          format = format_of_file(settings.format, text.text, settings.columns, file.string(), text.line);
        }
        const tokenizer::Value value = parse_row(text.text, file.string(), text.line, text.row == 1);
        Example example = read_example(value, format, settings.columns, id_limit, place);
        seen.push_back(preview_row(renderer, std::move(example), std::move(place), settings.seq_length));
      }
      if (static_cast<std::int64_t>(seen.size()) == rows) return seen;
    }
  }
  if (seen.empty()) throw bad_input("{}: the data set is empty: no rows", fmt::join(settings.paths, ", "));
  return seen;
}

}  // namespace primus::data

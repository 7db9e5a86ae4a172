#include "data/load.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <thread>
#include <tuple>

#include "base/error.h"
#include "base/log.h"
#include "base/random.h"
#include "data/cache.h"
#include "data/row_loader.h"

namespace primus::data {
namespace {

constexpr std::uint64_t kValidationStream = std::uint64_t{4} << 60;  // see batch_plan.cpp for the others

constexpr int kMostWorkers = 256;

int worker_count(int asked) {
  if (asked < 0) throw bad_input("dataset.num_workers ({}) must be at least 0 (0: one a core)", asked);
  return asked > 0 ? std::min(asked, kMostWorkers) : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

LoadedSet load_into_memory(const DataSources& sources, const LoadSettings& settings, const RowRenderer& renderer,
                           const tokenizer::Tokenizer* tokenizer) {
  TokenSetBuilder builder;
  for (const std::string& name : sources.file_names()) builder.add_file(name);
  const DataSummary told =
      load_rows(sources, settings, renderer, tokenizer, worker_count(settings.num_workers), builder);
  LoadedSet loaded{builder.finish(), {}};
  loaded.summary = summarize(loaded.tokens);
  loaded.summary.rows_read = told.rows_read;
  loaded.summary.seq_length = told.seq_length;
  loaded.summary.cut = told.cut;
  loaded.summary.dropped = told.dropped;
  loaded.summary.without_tools = told.without_tools;
  loaded.summary.formats = told.formats;
  return loaded;
}

bool all_regular(const DataSources& sources) {
  return std::all_of(sources.files.begin(), sources.files.end(), [](const SourceFiles& files) {
    return std::all_of(files.begin(), files.end(), [](const auto& file) {
      std::error_code error;
      return std::filesystem::is_regular_file(file, error);
    });
  });
}

LoadedSet load_through_cache(const DataSources& sources, const LoadSettings& settings, const RowRenderer& renderer,
                             const tokenizer::Tokenizer* tokenizer) {
  // what can be read only once, a pipe, has no content to look up
  if (settings.cache_folder.empty() || !all_regular(sources)) {
    return load_into_memory(sources, settings, renderer, tokenizer);
  }
  const int threads = worker_count(settings.num_workers);
  try {
    const TokenCache cache(settings.cache_folder);
    const std::string key = cache_key(sources.files, settings, renderer, tokenizer, cache.memo(), threads);
    StoredSet stored = cache.find_or_build(key, sources.file_names(), threads, [&](RowSink& sink) {
      return load_rows(sources, settings, renderer, tokenizer, threads, sink);
    });
    return {std::move(stored.tokens), std::move(stored.summary)};
  } catch (const Error& error) {
    if (error.code() != ExitCode::kHostLacks) throw;
    log::warning("{}. The prepared data is kept in memory, for this run only", error.what());
    return load_into_memory(sources, settings, renderer, tokenizer);
  }
}

LoadedSet part_of(const LoadedSet& whole, std::vector<std::uint32_t> rows) {
  LoadedSet part{whole.tokens.subset(std::move(rows)), {}};
  part.summary = summarize(part.tokens);
  part.summary.seq_length = whole.summary.seq_length;
  return part;
}

LoadedData hold_out(const LoadedSet& whole, double fraction, std::uint64_t seed) {
  struct Drawn {
    std::uint64_t number;
    std::uint32_t row;
    bool operator<(const Drawn& other) const { return std::tie(number, row) < std::tie(other.number, other.row); }
  };
  const auto rows = static_cast<std::uint32_t>(whole.tokens.rows());
  const auto held = static_cast<std::uint32_t>(std::ceil(fraction * rows));
  if (held >= rows) {
    throw bad_input("dataset.validation_fraction ({}) holds out all {} rows; nothing is left to train on", fraction,
                    rows);
  }
  std::vector<Drawn> drawn(rows);
  for (std::uint32_t row = 0; row < rows; ++row) {
    const RowOrigin& from = whole.tokens.origin(row);
    const auto words = Philox{seed, kValidationStream | from.file}.block(from.row);
    drawn[row] = {static_cast<std::uint64_t>(words[0]) << 32 | words[1], row};
  }
  std::nth_element(drawn.begin(), drawn.begin() + held, drawn.end());
  std::vector<std::uint32_t> validation, training;
  for (std::uint32_t i = 0; i < rows; ++i) (i < held ? validation : training).push_back(drawn[i].row);
  std::sort(validation.begin(), validation.end());
  std::sort(training.begin(), training.end());

  LoadedData data{part_of(whole, std::move(training)), part_of(whole, std::move(validation))};
  data.training.summary.rows_read = whole.summary.rows_read;
  data.training.summary.cut = whole.summary.cut;
  data.training.summary.dropped = whole.summary.dropped;
  data.training.summary.remarks = whole.summary.remarks;
  return data;
}

void warn_of_tools(const DataSummary& summary) {
  if (summary.without_tools.count == 0) return;
  log::warning(
      "{} of {} rows carry tools or tool calls that the chat template does not write, so the model will not see them: "
      "{}. Set dataset.chat_template to a template that does",
      summary.without_tools.count, summary.rows_read, summary.without_tools.text(summary.files));
}

}  // namespace

void check(const LoadSettings& settings) {
  if (settings.seq_length < 2) {
    throw bad_input("seq_length ({}) must be at least 2: a token and its next one", settings.seq_length);
  }
  const double fraction = settings.validation_fraction;
  if (!(fraction >= 0 && fraction < 1)) {
    throw bad_input("dataset.validation_fraction ({}) must be at least 0 and below 1", fraction);
  }
  if (fraction > 0 && !settings.validation_paths.empty()) {
    throw bad_input("dataset.validation_path and dataset.validation_fraction are both given; keep one");
  }
  if (!settings.format.empty()) format_named(settings.format);
  check_columns(settings.columns);
}

RowRenderer make_renderer(const LoadSettings& settings, const tokenizer::Tokenizer* tokenizer) {
  return RowRenderer({.loss_mode = settings.loss_mode,
                      .chat_template = settings.chat_template,
                      .seq_length = settings.seq_length,
                      .vocabulary_size = settings.vocabulary_size},
                     tokenizer);
}

std::int64_t vocabulary_size(const LoadSettings& settings, const tokenizer::Tokenizer* tokenizer) {
  if (settings.vocabulary_size > 0 || tokenizer == nullptr) return settings.vocabulary_size;
  return static_cast<std::int64_t>(tokenizer->vocabulary_size());
}

LoadedSet load_split(Split split, const LoadSettings& settings, const tokenizer::Tokenizer* tokenizer) {
  check(settings);
  const std::vector<std::string>& paths = split == Split::kTrain ? settings.paths : settings.validation_paths;
  if (paths.empty()) throw bad_input("no data: set dataset.{}path", split == Split::kTrain ? "" : "validation_");
  DataSources sources{.paths = paths, .files = {}};
  for (const std::string& path : paths) sources.files.push_back(settings.find_files(path, split));
  const RowRenderer renderer = make_renderer(settings, tokenizer);
  LoadedSet loaded = load_through_cache(sources, settings, renderer, tokenizer);
  warn_of_tools(loaded.summary);
  for (const RowFormat format : loaded.summary.formats) {
    loaded.summary.remarks.push_back(
        fmt::format("rows of format {}, rendered {}", name_of(format), renderer.describe(format)));
  }
  return loaded;
}

LoadedData load(const LoadSettings& settings, const tokenizer::Tokenizer* tokenizer) {
  LoadedSet training = load_split(Split::kTrain, settings, tokenizer);
  if (settings.validation_fraction > 0) return hold_out(training, settings.validation_fraction, settings.seed);
  LoadedData data{std::move(training), std::nullopt};
  if (!settings.validation_paths.empty()) data.validation = load_split(Split::kValidation, settings, tokenizer);
  return data;
}

}  // namespace primus::data

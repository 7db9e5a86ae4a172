#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "data/loss_mode.h"
#include "data/row_reader.h"
#include "data/row_renderer.h"
#include "data/summary.h"
#include "data/token_set.h"
#include "tokenizer/tokenizer.h"

namespace primus::data {

/// What a set is for.
enum class Split { kTrain, kValidation };

struct LoadSettings {
  /// Files (.jsonl, .json: one row a line, or one array of rows; as they are, gzip or zstd) or directories: all such
  /// files within, sorted by path. Each path is one source.
  std::vector<std::string> paths;
  std::vector<std::string> validation_paths;   // empty: none
  double validation_fraction = 0.0;            // in [0, 1); not together with validation_paths
  std::string format;                          // empty: found per file; else a name of row_format.h
  std::map<std::string, std::string> columns;  // our name -> the file's name, e.g. prompt -> question
  LossMode loss_mode = LossMode::kDefault;
  /// Empty: the checkpoint's; "none": none, pairs become plain text; else a file or the name of a built-in template.
  std::string chat_template;
  std::int64_t seq_length = 2048;
  std::int64_t vocabulary_size = 0;  // of the model: every id must be below; 0: the tokenizer's, or not checked
  int num_workers = 0;               // 0: one a core; more than 256 are as good as 256
  std::uint64_t seed = 5678;         // chooses the rows of validation_fraction
  /// Where tokenized sets are kept for later runs (cache.h); empty: nowhere, they are held in memory.
  std::filesystem::path cache_folder;
  /// The files of a path, sorted. Another function may know more than what is on the disk (data sets of the hub).
  std::function<std::vector<std::filesystem::path>(const std::string& path, Split split)> find_files =
      [](const std::string& path, Split) { return data_files(path); };
  /// Called now and then, in the calling thread, with bytes read and bytes of all files.
  std::function<void(std::int64_t done, std::int64_t total)> on_progress;
};

struct LoadedSet {
  TokenSet tokens;
  DataSummary summary;
};

struct LoadedData {
  LoadedSet training;
  std::optional<LoadedSet> validation;  // none without validation_paths and validation_fraction
};

/// Reads, renders and tokenizes `paths` and the validation set.
/// `tokenizer` may be null when all rows are input_ids. What each format means is in row_format.h, what of it is
/// trained in row_renderer.h. The same files give the same sets, whatever num_workers is. validation_fraction holds out
/// ceil(fraction · rows) rows: those with the smallest random numbers, drawn for each (seed, file, row), so that the
/// choice does not hang on seq_length or other settings. Throws Error with file and line: a file that is missing or
/// broken, a row that is not what its format wants, an id out of the vocabulary, no rows, nothing left to train.
LoadedData load(const LoadSettings& settings, const tokenizer::Tokenizer* tokenizer);

/// Throws Error for settings that contradict each other; the functions here call it.
void check(const LoadSettings& settings);
RowRenderer make_renderer(const LoadSettings& settings, const tokenizer::Tokenizer* tokenizer);
/// Every id of a row must be below this; 0: not checked.
std::int64_t vocabulary_size(const LoadSettings& settings, const tokenizer::Tokenizer* tokenizer);

/// One set: of settings.paths, or of settings.validation_paths.
LoadedSet load_split(Split split, const LoadSettings& settings, const tokenizer::Tokenizer* tokenizer);

}  // namespace primus::data

#include "data/load.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <thread>
#include <tuple>

#include "base/error.h"
#include "base/random.h"
#include "data/ordered_workers.h"
#include "data/row_batch.h"
#include "data/row_reader.h"

namespace primus::data {
namespace {

constexpr std::size_t kBatchBytes = 256u << 10;
constexpr std::uint64_t kValidationStream = std::uint64_t{4} << 60;  // see batch_plan.cpp for the others

int worker_count(int asked) {
  if (asked < 0) throw bad_input("dataset.num_workers ({}) must be at least 0 (0: one a core)", asked);
  return asked > 0 ? asked : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

std::int64_t id_limit(const LoadSettings& settings, const tokenizer::Tokenizer* tokenizer) {
  if (settings.vocabulary_size > 0 || tokenizer == nullptr) return settings.vocabulary_size;
  return static_cast<std::int64_t>(tokenizer->vocabulary_size());
}

/// For progress only: 0 when the system does not tell.
std::int64_t size_of(const std::filesystem::path& file) {
  std::error_code error;
  const auto size = std::filesystem::file_size(file, error);
  return error ? 0 : static_cast<std::int64_t>(size);
}

/// One call of load_set.
class Loader {
 public:
  Loader(const LoadSettings& settings, const tokenizer::Tokenizer* tokenizer)
      : settings_(settings),
        vocabulary_size_(id_limit(settings, tokenizer)),
        renderer_({settings.loss_mode, settings.chat_template, settings.seq_length, settings.vocabulary_size},
                  tokenizer),
        workers_(
            worker_count(settings.num_workers),
            [this](const RowBatch& batch) {
              return tokenize_batch(batch, renderer_, settings_.columns, vocabulary_size_);
            },
            [this](const TokenBatch& batch) { take(batch); }) {}

  LoadedSet load(const std::vector<std::string>& paths) {
    std::vector<std::vector<std::filesystem::path>> sources;
    for (const std::string& path : paths) {
      sources.push_back(data_files(path));
      for (const auto& file : sources.back()) bytes_total_ += size_of(file);
    }
    try {
      for (std::size_t s = 0; s < sources.size(); ++s) read_source(paths[s], sources[s]);
    } catch (const Error&) {
      workers_.finish();  // a row before this place may be wrong too: then that one is told
      throw;
    }
    LoadedSet loaded{builder_.finish(), {}};
    loaded.summary = summarize(loaded.tokens);
    loaded.summary.rows_read = rows_read_;
    loaded.summary.seq_length = settings_.seq_length;
    loaded.summary.cut = std::move(cut_);
    loaded.summary.dropped = std::move(dropped_);
    loaded.summary.remarks = std::move(remarks_);
    if (loaded.tokens.empty()) refuse_untrained(loaded.summary);
    return loaded;
  }

 private:
  void read_source(const std::string& path, const std::vector<std::filesystem::path>& files) {
    builder_.begin_source();
    const std::int64_t before = rows_pushed_;
    for (const auto& file : files) read_file(file);
    if (rows_pushed_ == before) throw bad_input("{}: the data set is empty: no rows", path);
    workers_.finish();
  }

  void read_file(const std::filesystem::path& path) {
    RowReader reader(path);
    auto file = std::make_shared<RowFile>();
    file->name = path.string();
    file->number = builder_.add_file(file->name);
    RowBatch batch{.file = file};
    try {
      for (RowText row; reader.next(row);) {
        if (row.row == 1) find_format_of(*file, row);
        batch.rows.push_back({batch.text.size(), batch.text.size() + row.text.size(), row.row, row.line});
        batch.text += row.text;
        ++rows_pushed_;
        if (batch.text.size() >= kBatchBytes) {
          workers_.push(std::exchange(batch, RowBatch{.file = file}));
          report(bytes_done_ + reader.bytes_read());
        }
      }
    } catch (const Error&) {
      workers_.push(std::move(batch));
      throw;
    }
    if (!batch.rows.empty()) workers_.push(std::move(batch));
    bytes_done_ += size_of(path);
    report(bytes_done_);
  }

  void find_format_of(RowFile& file, const RowText& row) {
    if (!settings_.format.empty()) {
      file.format = format_named(settings_.format);
    } else {
      const std::string place = fmt::format("{}:{}", file.name, row.line);
      file.format = find_format(parse_row(row.text, file.name, row.line, true), settings_.columns, place);
    }
    std::string remark =
        fmt::format("rows of format {}, rendered {}", name_of(file.format), renderer_.describe(file.format));
    if (std::find(remarks_.begin(), remarks_.end(), remark) == remarks_.end()) remarks_.push_back(std::move(remark));
  }

  void take(const TokenBatch& batch) {
    const std::span<const std::int32_t> ids(batch.ids), labels(batch.labels);
    std::size_t begin = 0;
    for (std::size_t row = 0; row < batch.lengths.size(); ++row) {
      const auto length = static_cast<std::size_t>(batch.lengths[row]);
      builder_.add(ids.subspan(begin, length), labels.subspan(begin, length), batch.origins[row]);
      begin += length;
    }
    rows_read_ += batch.rows_read;
    cut_.add(batch.cut);
    dropped_.add(batch.dropped);
  }

  void report(std::int64_t done) const {
    if (settings_.on_progress) settings_.on_progress(done, bytes_total_);
  }

  [[noreturn]] void refuse_untrained(const DataSummary& summary) const {
    throw bad_input(
        "nothing is left to train on: none of {} rows has a trained token within seq_length {} ({}{}). "
        "Raise seq_length, or see whether loss_mode and the rows' labels or assistant turns are meant so",
        summary.rows_read, settings_.seq_length, fmt::join(summary.dropped.places, ", "),
        summary.dropped.count > static_cast<std::int64_t>(RowNotes::kKept) ? ", …" : "");
  }

  const LoadSettings& settings_;
  std::int64_t vocabulary_size_;
  RowRenderer renderer_;
  TokenSetBuilder builder_;
  std::int64_t rows_pushed_ = 0;
  std::int64_t rows_read_ = 0;
  std::int64_t bytes_done_ = 0;
  std::int64_t bytes_total_ = 0;
  RowNotes cut_;
  RowNotes dropped_;
  std::vector<std::string> remarks_;
  OrderedWorkers<RowBatch, TokenBatch> workers_;  // last: its threads use the others
};

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

}  // namespace

LoadedSet load_set(const std::vector<std::string>& paths, const LoadSettings& settings,
                   const tokenizer::Tokenizer* tokenizer) {
  check(settings);
  if (paths.empty()) throw bad_input("no data: set dataset.path");
  return Loader(settings, tokenizer).load(paths);
}

LoadedData load(const LoadSettings& settings, const tokenizer::Tokenizer* tokenizer) {
  LoadedSet training = load_set(settings.paths, settings, tokenizer);
  if (settings.validation_fraction > 0) return hold_out(training, settings.validation_fraction, settings.seed);
  LoadedData data{std::move(training), std::nullopt};
  if (!settings.validation_paths.empty()) data.validation = load_set(settings.validation_paths, settings, tokenizer);
  return data;
}

}  // namespace primus::data

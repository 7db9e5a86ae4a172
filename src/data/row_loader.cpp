#include "data/row_loader.h"

#include <algorithm>

#include "base/error.h"
#include "data/ordered_workers.h"
#include "data/row_batch.h"

namespace primus::data {
namespace {

constexpr std::size_t kBatchBytes = 256u << 10;

/// For progress only: 0 when the system does not tell.
std::int64_t size_of(const std::filesystem::path& file) {
  std::error_code error;
  const auto size = std::filesystem::file_size(file, error);
  return error ? 0 : static_cast<std::int64_t>(size);
}

/// One call of load_rows.
class Loader {
 public:
  Loader(const LoadSettings& settings, const RowRenderer& renderer, const tokenizer::Tokenizer* tokenizer, int threads,
         RowSink& sink)
      : settings_(settings),
        vocabulary_size_(vocabulary_size(settings, tokenizer)),
        renderer_(renderer),
        sink_(sink),
        workers_(
            threads,
            [this](const RowBatch& batch) {
              return tokenize_batch(batch, renderer_, settings_.columns, vocabulary_size_);
            },
            [this](const TokenBatch& batch) { take(batch); }) {}

  DataSummary load(const DataSources& sources) {
    for (const SourceFiles& files : sources.files) {
      for (const auto& file : files) bytes_total_ += size_of(file);
    }
    try {
      for (std::size_t s = 0; s < sources.paths.size(); ++s) read_source(sources.paths[s], sources.files[s]);
    } catch (const Error&) {
      workers_.finish();  // a row before this place may be wrong too: then that one is told
      throw;
    }
    if (rows_kept_ == 0) refuse_untrained(sources.file_names());
    return {.rows_read = rows_read_,
            .seq_length = settings_.seq_length,
            .cut = std::move(cut_),
            .dropped = std::move(dropped_),
            .without_tools = std::move(without_tools_),
            .formats = std::move(formats_)};
  }

 private:
  void read_source(const std::string& path, const SourceFiles& files) {
    sink_.begin_source();
    const std::int64_t before = rows_pushed_;
    for (const auto& file : files) read_file(file);
    if (rows_pushed_ == before) throw bad_input("{}: the data set is empty: no rows", path);
    workers_.finish();
  }

  void read_file(const std::filesystem::path& path) {
    RowReader reader(path);
    auto file = std::make_shared<RowFile>();
    file->name = path.string();
    file->number = files_begun_++;
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
    file.format = format_of_file(settings_.format, row.text, settings_.columns, file.name, row.line);
    if (std::find(formats_.begin(), formats_.end(), file.format) == formats_.end()) formats_.push_back(file.format);
  }

  void take(const TokenBatch& batch) {
    const std::span<const std::int32_t> ids(batch.ids), labels(batch.labels);
    std::size_t begin = 0;
    for (std::size_t row = 0; row < batch.lengths.size(); ++row) {
      const auto length = static_cast<std::size_t>(batch.lengths[row]);
      sink_.add(ids.subspan(begin, length), labels.subspan(begin, length), batch.origins[row]);
      begin += length;
    }
    rows_kept_ += static_cast<std::int64_t>(batch.lengths.size());
    rows_read_ += batch.rows_read;
    cut_.add(batch.cut);
    dropped_.add(batch.dropped);
    without_tools_.add(batch.without_tools);
  }

  void report(std::int64_t done) const {
    if (settings_.on_progress) settings_.on_progress(done, bytes_total_);
  }

  [[noreturn]] void refuse_untrained(const std::vector<std::string>& files) const {
    throw bad_input(
        "nothing is left to train on: none of {} rows has a trained token within seq_length {} ({}). "
        "Raise seq_length, or see whether loss_mode and the rows' labels or assistant turns are meant so",
        rows_read_, settings_.seq_length, dropped_.text(files));
  }

  const LoadSettings& settings_;
  std::int64_t vocabulary_size_;
  const RowRenderer& renderer_;
  RowSink& sink_;
  std::uint32_t files_begun_ = 0;
  std::int64_t rows_pushed_ = 0;
  std::int64_t rows_read_ = 0;
  std::int64_t rows_kept_ = 0;
  std::int64_t bytes_done_ = 0;
  std::int64_t bytes_total_ = 0;
  RowNotes cut_;
  RowNotes dropped_;
  RowNotes without_tools_;
  std::vector<RowFormat> formats_;
  OrderedWorkers<RowBatch, TokenBatch> workers_;  // last: its threads use the others
};

}  // namespace

std::vector<std::string> DataSources::file_names() const {
  std::vector<std::string> names;
  for (const SourceFiles& source : files) {
    for (const auto& file : source) names.push_back(file.string());
  }
  return names;
}

DataSummary load_rows(const DataSources& sources, const LoadSettings& settings, const RowRenderer& renderer,
                      const tokenizer::Tokenizer* tokenizer, int threads, RowSink& sink) {
  return Loader(settings, renderer, tokenizer, threads, sink).load(sources);
}

}  // namespace primus::data

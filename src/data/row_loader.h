#pragma once

#include "data/cache_key.h"
#include "data/load.h"

namespace primus::data {

/// The files of settings.paths (or of others) by source. Throws Error for a path that holds no data.
struct DataSources {
  std::vector<std::string> paths;
  std::vector<SourceFiles> files;  // of each path

  std::vector<std::string> file_names() const;
};

/// Reads, renders and tokenizes all rows on `threads` threads into `sink`, in order. The summary has what cannot be
/// counted from the set. Throws Error as load_split does.
DataSummary load_rows(const DataSources& sources, const LoadSettings& settings, const RowRenderer& renderer,
                      const tokenizer::Tokenizer* tokenizer, int threads, RowSink& sink);

}  // namespace primus::data

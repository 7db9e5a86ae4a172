#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/digest_memo.h"
#include "data/load.h"

namespace primus::data {

/// The files of one source.
using SourceFiles = std::vector<std::filesystem::path>;

/// A digest of everything that decides what load_split makes of `sources`: the content of the files (not their names),
/// the tokenizer, the chat template, the settings, and this code's version. 64 hexadecimal digits.
std::string cache_key(const std::vector<SourceFiles>& sources, const LoadSettings& settings,
                      const RowRenderer& renderer, const tokenizer::Tokenizer* tokenizer, const DigestMemo& memo,
                      int threads);

}  // namespace primus::data

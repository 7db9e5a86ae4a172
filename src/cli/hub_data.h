#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/load.h"

namespace primus::cli {

/// The files of one entry of dataset.path or dataset.validation_path: on the disk when it is there, else of a data set
/// on the hub ("org/name", "org/name@revision", with "/path" of a file or folder in it). Without a path in it: for
/// training the files named after the train split, or all when no file is named after a split; for validation those of
/// the validation split, else of the test split. Throws Error as data::data_files and hub::snapshot do.
std::vector<std::filesystem::path> find_data(const std::string& path, data::Split split);

/// Of a repository's files, those that find_data takes.
std::vector<std::string> choose_data_files(const std::vector<std::string>& paths, const std::string& inside,
                                           data::Split split, const std::string& name);

}  // namespace primus::cli

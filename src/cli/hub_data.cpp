#include "cli/hub_data.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "data/row_reader.h"
#include "hub/hub.h"
#include "monitor/task_progress.h"

namespace primus::cli {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string> kTrain = {"train", "training"};
const std::vector<std::string> kValidation = {"validation", "valid", "val", "dev", "eval"};
const std::vector<std::string> kTest = {"test", "testing"};

/// Whether a word of the path ("data/train-00001.jsonl") is one of `words`.
bool has_word(const std::string& path, const std::vector<std::string>& words) {
  std::string word;
  for (const char c : path + "/") {
    if (std::isalpha(static_cast<unsigned char>(c)) != 0) {
      word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else {
      if (std::find(words.begin(), words.end(), word) != words.end()) return true;
      word.clear();
    }
  }
  return false;
}

std::vector<std::string> with_word(const std::vector<std::string>& paths, const std::vector<std::string>& words) {
  std::vector<std::string> found;
  std::copy_if(paths.begin(), paths.end(), std::back_inserter(found),
               [&](const std::string& path) { return has_word(path, words); });
  return found;
}

bool is_data(const std::string& path) {
  return data::has_data_name(path) && !fs::path(path).filename().string().starts_with("dataset_info");
}

std::vector<std::string> inside_of(const std::vector<std::string>& paths, const std::string& inside) {
  std::vector<std::string> found;
  for (const std::string& path : paths) {
    if (path == inside || (path.starts_with(inside + "/") && is_data(path))) found.push_back(path);
  }
  return found;
}

}  // namespace

std::vector<std::string> choose_data_files(const std::vector<std::string>& paths, const std::string& inside,
                                           data::Split split, const std::string& name) {
  if (!inside.empty()) return inside_of(paths, inside);
  std::vector<std::string> data;
  std::copy_if(paths.begin(), paths.end(), std::back_inserter(data), is_data);
  if (data.empty()) {
    const bool parquet = std::any_of(paths.begin(), paths.end(), [](const auto& p) { return p.ends_with(".parquet"); });
    throw bad_input("{} holds no .jsonl or .json files on the hub{}", name,
                    parquet ? "; it has Parquet files, which are not read: convert them to JSON lines" : "");
  }
  std::vector<std::string> train = with_word(data, kTrain), held = with_word(data, kValidation),
                           test = with_word(data, kTest);
  if (split == data::Split::kValidation) {
    if (!held.empty()) return held;
    if (!test.empty()) return test;
    throw bad_input("{}: none of its files is named after a validation or test split; name one: {}/{}", name, name,
                    data.front());
  }
  if (!train.empty()) return train;
  if (held.empty() && test.empty()) return data;
  throw bad_input("{}: none of its files is named after the train split; name one: {}/{}", name, name, data.front());
}

namespace {

std::vector<fs::path> find_files(const std::string& path, data::Split split) {
  std::error_code ignored;
  std::string inside;
  const auto repository = hub::parse_repository(path, hub::Kind::kDataset, &inside);
  if (fs::exists(path, ignored) || !repository) return data::data_files(path);
  const auto choose = [&](const std::vector<std::string>& paths) {
    return choose_data_files(paths, inside, split, repository->name);
  };
  monitor::TaskProgress progress({.label = "downloading"});
  hub::Settings settings = hub::settings_from_environment();
  settings.on_progress = [&](std::int64_t done, std::int64_t total) { progress.update(done, total); };
  try {
    const fs::path snapshot = hub::snapshot(*repository, {.choose = choose, .suffices = {}}, settings);
    std::vector<fs::path> files;
    for (const std::string& file : choose(hub::files_of(snapshot))) files.push_back(snapshot / file);
    return files;
  } catch (const Error& error) {
    throw Error(fmt::format("{}: no such file or directory here, so it is taken for a data set of the hub. {}", path,
                            error.what()),
                error.code());
  }
}

}  // namespace

std::vector<fs::path> find_data(const std::string& path, data::Split split) {
  try {
    return find_files(path, split);
  } catch (const Error& error) {
    const char* key = split == data::Split::kTrain ? "dataset.path" : "dataset.validation_path";
    throw Error(fmt::format("{}: {}", key, error.what()), error.code());
  }
}

}  // namespace primus::cli

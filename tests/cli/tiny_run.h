#pragma once

#include <string>

#include "training_run.h"

namespace primus::cli_test {

/// The bundled tiny model, which has a tokenizer and a chat template (ChatML).
inline const std::string kTinyModel = PRIMUS_SOURCE_DIR "/models/tiny";

/// A run of the tiny model on rows of its own.
class TinyRun : public TrainingRun {
 public:
  explicit TinyRun(const std::string& rows = "") {
    set("hf_path", kTinyModel);
    set("dataset.path", rows_file());
    set_rows(rows);
  }
  void set_rows(const std::string& rows) const { write(rows_file(), rows); }
  std::string rows_file() const { return scratch() / "rows.jsonl"; }

  Outcome preview(const std::vector<std::string>& more = {}) const {
    const std::string file = scratch() / "run.yaml";
    write(file, config());
    std::vector<std::string> arguments{"data", "preview", "--config", file};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_primus(arguments);
  }
};

/// {"messages": [...]} with one question and one answer.
inline std::string chat_row(const std::string& question, const std::string& answer) {
  return R"({"messages": [{"role": "user", "content": ")" + question + R"("}, {"role": "assistant", "content": ")" +
         answer + "\"}]}\n";
}

}  // namespace primus::cli_test

#pragma once

#include "cli/arguments.h"

/// The commands, one file each.
namespace primus::cli {

Command train_posttrain_command();
Command config_show_command();
Command config_reference_command();
Command data_preview_command();
Command tokenize_command();
Command eval_command();
Command generate_command();
Command merge_command();
Command export_command();
Command benchmark_train_command();
Command benchmark_gemm_command();
Command benchmark_attention_command();

}  // namespace primus::cli

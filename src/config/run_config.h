#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

/// The complete, validated description of a run. Nothing downstream reads YAML. The key that fills each field has the
/// field's name (docs/reference-config.md is generated from the same schema); defaults here are the contract's.
namespace primus::config {

enum class Peft { kNone, kLora };
enum class Precision { kBf16Mixed, kFp16Mixed, kFp32 };
enum class StateDType { kFp32, kBf16 };
enum class RecomputeGranularity { kNone, kFull, kSelective, kAuto };
enum class RecomputeMethod { kUniform, kBlock };
enum class DeviceChoice { kAuto, kCpu, kCuda, kHip };
enum class DecayStyle { kConstant, kLinear, kCosine, kInverseSquareRoot };
enum class LossMode { kDefault, kAssistant, kLastTurn, kCompletion, kFull };

struct DatasetConfig {
  std::vector<std::string> path;             // files or directories; required by train and eval
  std::vector<double> weights;               // one a path; empty: every source once
  std::vector<std::string> validation_path;  // empty: none
  double validation_fraction = 0.0;          // in [0, 1): share of rows held out by seed
  std::string format;  // empty: found per file; else messages, conversations, prompt_completion, …
  std::map<std::string, std::string> columns;  // our name -> the file's name, e.g. prompt: question
  LossMode loss_mode = LossMode::kDefault;
  std::string chat_template;  // empty: the checkpoint's; else a file, a built-in one's name, or "none" for pairs
  bool shuffle = true;
  int num_workers = 0;  // 0: one a core

  bool operator==(const DatasetConfig&) const = default;
};

struct RunConfig {
  // where
  std::string work_group = "primus";
  std::string user_name = "user";
  std::string exp_name = "posttrain";
  std::string workspace = "./output";
  std::string framework = "megatron_bridge";

  // model
  std::string config;   // the module preset's file name, or empty
  std::string model;    // the model preset's file name, or empty
  std::string hf_path;  // directory or hub id (hf_path / pretrained_checkpoint)
  /// The preset's shape as config.json text, for runs without files (`benchmark`, `plan`); empty when there is none.
  std::string model_config_json;

  // method
  Peft peft = Peft::kLora;
  int peft_dim = 32;
  double peft_alpha = 32.0;
  double peft_dropout = 0.0;
  /// Hugging Face projection names, already expanded from linear_qkv, linear_proj, linear_fc1, linear_fc2. Empty: all
  /// seven linear projections.
  std::vector<std::string> peft_target_modules;
  std::string peft_adapter;  // continue from this PEFT adapter directory; empty: a new one

  // layout
  int tensor_model_parallel_size = 1;
  int pipeline_model_parallel_size = 1;
  int context_parallel_size = 1;
  std::optional<int> virtual_pipeline_model_parallel_size;
  bool sequence_parallel = false;
  bool use_distributed_optimizer = true;

  // batch and schedule
  int train_iters = 1000;
  int global_batch_size = 128;
  int micro_batch_size = 1;
  int seq_length = 2048;
  bool packed_sequence = false;
  int eval_interval = 30;
  int eval_iters = 32;
  int save_interval = 50;
  int log_interval = 1;
  double finetune_lr = 1e-4;  // resolved: 5e-6 for SFT and 1e-4 for LoRA unless set
  double min_lr = 0.0;
  int lr_warmup_iters = 50;
  int lr_decay_iters = 0;  // resolved: train_iters unless set
  DecayStyle lr_decay_style = DecayStyle::kCosine;

  // optimizer
  std::string optimizer = "adam";
  double adam_beta1 = 0.9;
  double adam_beta2 = 0.98;
  double adam_eps = 1e-8;
  double weight_decay = 0.033;
  double clip_grad = 1.0;  // 0: no clipping
  StateDType main_params_dtype = StateDType::kFp32;
  StateDType main_grads_dtype = StateDType::kFp32;
  StateDType exp_avg_dtype = StateDType::kFp32;
  StateDType exp_avg_sq_dtype = StateDType::kFp32;

  // precision, memory, device
  Precision precision_config = Precision::kBf16Mixed;
  RecomputeGranularity recompute_granularity = RecomputeGranularity::kNone;
  RecomputeMethod recompute_method = RecomputeMethod::kUniform;
  int recompute_num_layers = 1;
  std::vector<std::string> recompute_modules;  // selective: core_attn, layernorm, mlp_act, mlp; empty: core_attn
  bool cpu_offloading = false;
  DeviceChoice device = DeviceChoice::kAuto;
  bool deterministic = false;
  std::uint64_t seed = 5678;

  // saving
  std::string save;        // resolved: <run directory>/checkpoints unless set
  std::string load;        // empty: auto-resume from `save`
  int most_recent_k = -1;  // -1: keep all
  bool export_hf = true;

  DatasetConfig dataset;

  bool operator==(const RunConfig&) const = default;

  /// <workspace>/<work_group>/<user_name>/<exp_name>
  std::string run_directory() const { return workspace + "/" + work_group + "/" + user_name + "/" + exp_name; }
};

}  // namespace primus::config

#include "config/document.h"
#include "config/key_table.h"

namespace primus::config {
namespace {

constexpr Range kPositive{.least = 1};
constexpr Range kNotNegative{.least = 0};
constexpr Range kAboveZero{.least = 0, .least_open = true};
constexpr Range kShare{.least = 0, .most = 1, .most_open = true};  // [0, 1)

void add_run_keys(KeyTable& table) {
  table.section(Place::kRun, "Run");
  table.folder_name("work_group", &RunConfig::work_group, "First part of the output path.");
  table.folder_name("user_name", &RunConfig::user_name, "Second part of the output path.");
  table.folder_name("exp_name", &RunConfig::exp_name,
                    "Third part of the output path; may itself have parts, `sweep/3`, but no `..`.");
  table
      .text("workspace", &RunConfig::workspace,
            "Outputs go to `<workspace>/<work_group>/<user_name>/<exp_name>/`; a relative path starts at the working "
            "directory.")
      .called_elsewhere({"output_dir", "output_path"});

  table.section(Place::kModule, "Module");
  table.choice<RunConfig, std::string>("framework", &RunConfig::framework, {{"megatron_bridge", "megatron_bridge"}},
                                       "Whose names the presets use: the folder below `configs/modules/` and "
                                       "`configs/models/`.");
  table.text("config", &RunConfig::config, "Module preset: a file of `configs/modules/megatron_bridge/`, or a path.")
      .null_is_default();
  table
      .text("model", &RunConfig::model,
            "Model preset: a file of `configs/models/megatron_bridge/`, or a path. May be left out when `hf_path` is "
            "given.")
      .null_is_default();
}

KeySpec& add_model_config(KeyTable& table) {
  KeySpec& key = table.custom("model_config", Kind::kTree, "map",
                              "The model's shape in the terms of its config.json, for `benchmark` without "
                              "files. A checkpoint's own config.json comes first. Merged over the preset's.");
  key.set = [](RunConfig& config, const YamlNode& node) {
    if (node.kind != YamlNode::Kind::kMap) {
      throw bad_input("{}: model_config is {}; expected a map", node.mark.text(), describe(node));
    }
    YamlNode merged = parse_yaml(config.model_config_json, "model_config");  // what lower layers gave; JSON is YAML
    merge_over(merged, node);
    config.model_config_json = to_json(merged);
  };
  key.reset = [](RunConfig& config) { config.model_config_json.clear(); };
  key.show = [](const RunConfig& config) {
    return config.model_config_json.empty() ? "null" : config.model_config_json;
  };
  return key.null_is_default().default_is("from the model preset");
}

KeySpec& add_target_modules(KeyTable& table) {
  KeySpec& key = table.custom("peft_target_modules", Kind::kTextList, "list of texts",
                              "Linear projections with an adapter: q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, "
                              "down_proj, or linear_qkv, linear_proj, linear_fc1, linear_fc2, or all-linear.");
  key.set = [](RunConfig& config, const YamlNode& node) {
    config.peft_target_modules = expand_target_modules(node, "peft_target_modules");
  };
  key.reset = [](RunConfig& config) { config.peft_target_modules.clear(); };
  key.show = [](const RunConfig& config) {
    return config.peft_target_modules.empty() ? "[all-linear]" : emit_text_list(config.peft_target_modules);
  };
  return key.null_is_default().default_is("[all-linear]").called_elsewhere({"target_modules", "lora_target_modules"});
}

void add_model_keys(KeyTable& table) {
  table.section(Place::kSettings, "Model");
  KeySpec& path = table.text("hf_path", &RunConfig::hf_path,
                             "The checkpoint to start from: a directory, or a Hugging Face id. null leaves the model "
                             "preset's.");
  path.null_is_default().alias("pretrained_checkpoint").default_is("from the model preset");
  path.null_keeps_lower = true;
  path.called_elsewhere({"model_name_or_path", "base_model", "pretrained_model_name_or_path"});
  add_model_config(table);

  table.section(Place::kSettings, "Method");
  KeySpec& peft =
      table.choice<RunConfig, Peft>("peft", &RunConfig::peft, {{"none", Peft::kNone}, {"lora", Peft::kLora}},
                                    "`lora` trains low-rank adapters, `none` (or null) all weights.");
  peft.null_is_default().called_elsewhere({"finetuning_type", "adapter", "peft_scheme"});
  peft.reset = [](RunConfig& config) { config.peft = Peft::kNone; };
  table.integer("peft_dim", &RunConfig::peft_dim, kPositive, "Rank of the adapters.")
      .called_elsewhere({"lora_r", "lora_rank", "lora_dim", "r"});
  table.number("peft_alpha", &RunConfig::peft_alpha, kAboveZero, "The adapters' output is scaled by alpha / dim.")
      .called_elsewhere({"lora_alpha"});
  table.number("peft_dropout", &RunConfig::peft_dropout, kShare, "Share of the adapters' inputs dropped in training.")
      .called_elsewhere({"lora_dropout"});
  add_target_modules(table);
  table.text("peft_adapter", &RunConfig::peft_adapter, "Continue from this PEFT adapter directory.").null_is_default();
}

void add_layout_keys(KeyTable& table) {
  table.section(Place::kSettings, "Parallelism");
  table
      .integer("tensor_model_parallel_size", &RunConfig::tensor_model_parallel_size, kPositive,
               "Devices that share each layer's weights.")
      .called_elsewhere({"tensor_parallel_size", "tp", "tp_size"});
  table
      .integer("pipeline_model_parallel_size", &RunConfig::pipeline_model_parallel_size, kPositive,
               "Stages that the layers are divided into.")
      .called_elsewhere({"pipeline_parallel_size", "pp", "pp_size"});
  table
      .integer("context_parallel_size", &RunConfig::context_parallel_size, kPositive,
               "Devices that share each sequence.")
      .called_elsewhere({"cp", "cp_size"});
  KeySpec& chunks = table.custom("virtual_pipeline_model_parallel_size", Kind::kInteger, "integer ≥ 1",
                                 "Model chunks per pipeline stage (interleaved schedule).");
  chunks.set = [](RunConfig& config, const YamlNode& node) {
    constexpr Range kChunks{.least = 1, .most = 1'000'000};
    config.virtual_pipeline_model_parallel_size =
        static_cast<int>(read_integer(node, "virtual_pipeline_model_parallel_size", kChunks));
  };
  chunks.reset = [](RunConfig& config) { config.virtual_pipeline_model_parallel_size.reset(); };
  chunks.show = [](const RunConfig& config) {
    const auto& size = config.virtual_pipeline_model_parallel_size;
    return size ? fmt::format("{}", *size) : "null";
  };
  chunks.null_is_default().default_is("null");
  table.truth("sequence_parallel", &RunConfig::sequence_parallel,
              "Divide norms and dropout along the sequence over the tensor parallel devices.");
  table.truth("use_distributed_optimizer", &RunConfig::use_distributed_optimizer,
              "Divide optimizer state over the data parallel devices.");
}

void add_batch_keys(KeyTable& table) {
  table.section(Place::kSettings, "Batch and schedule");
  table.integer("train_iters", &RunConfig::train_iters, kPositive, "Optimizer steps.")
      .called_elsewhere({"max_steps", "num_train_epochs", "num_epochs", "epochs", "train_steps"});
  table
      .integer("global_batch_size", &RunConfig::global_batch_size, kPositive,
               "Rows (packs, when packed_sequence is true) of one optimizer step, over all devices.")
      .called_elsewhere({"train_batch_size", "batch_size", "gradient_accumulation_steps"});
  table
      .integer("micro_batch_size", &RunConfig::micro_batch_size, kPositive,
               "Rows of one forward and backward pass on one device.")
      .called_elsewhere({"per_device_train_batch_size"});
  table.integer("seq_length", &RunConfig::seq_length, kPositive, "Longest sequence in tokens; longer rows are cut.")
      .called_elsewhere({"max_seq_length", "max_seq_len", "max_length", "cutoff_len", "sequence_len"});
  table.truth("packed_sequence", &RunConfig::packed_sequence, "Pack rows up to seq_length.")
      .called_elsewhere({"packing", "sample_packing"});
  table
      .integer("eval_interval", &RunConfig::eval_interval, kNotNegative,
               "Steps between evaluations; 0: only at the end.")
      .called_elsewhere({"eval_steps"});
  table.integer("eval_iters", &RunConfig::eval_iters, kNotNegative,
                "Global batches (of packs with packed_sequence) of one evaluation, at most the whole set; 0: none.");
  table
      .integer("save_interval", &RunConfig::save_interval, kNotNegative,
               "Steps between checkpoints; 0: only at the end.")
      .called_elsewhere({"save_steps"});
  table.integer("log_interval", &RunConfig::log_interval, kPositive, "Steps between log lines.")
      .called_elsewhere({"logging_steps"});
  table.number("finetune_lr", &RunConfig::finetune_lr, kNotNegative, "Highest learning rate.")
      .null_is_default()
      .alias("lr")
      .default_is("5e-06 when peft is none, 0.0001 when it is lora")
      .called_elsewhere({"learning_rate", "max_lr"});
  table.number("min_lr", &RunConfig::min_lr, kNotNegative, "Learning rate at the end of the decay.");
  table
      .integer("lr_warmup_iters", &RunConfig::lr_warmup_iters, kNotNegative,
               "Steps over which the learning rate rises from 0.")
      .called_elsewhere({"warmup_steps", "warmup_ratio", "lr_warmup_fraction", "lr_warmup_steps"});
  table.integer("lr_decay_iters", &RunConfig::lr_decay_iters, kPositive, "Step at which min_lr is reached.")
      .null_is_default()
      .default_is("train_iters");
  table
      .choice<RunConfig, DecayStyle>("lr_decay_style", &RunConfig::lr_decay_style,
                                     {{"cosine", DecayStyle::kCosine},
                                      {"linear", DecayStyle::kLinear},
                                      {"constant", DecayStyle::kConstant},
                                      {"inverse-square-root", DecayStyle::kInverseSquareRoot}},
                                     "Course of the learning rate after the warmup.")
      .called_elsewhere({"lr_scheduler_type", "lr_scheduler"});
}

void add_optimizer_keys(KeyTable& table) {
  table.section(Place::kSettings, "Optimizer");
  table
      .choice<RunConfig, std::string>("optimizer", &RunConfig::optimizer, {{"adam", "adam"}, {"adamw", "adam"}},
                                      "AdamW with decoupled weight decay; one-dimensional parameters do not decay.")
      .called_elsewhere({"optim"});
  table.number("adam_beta1", &RunConfig::adam_beta1, kShare, "Decay of the first moment.").called_elsewhere({"beta1"});
  table.number("adam_beta2", &RunConfig::adam_beta2, kShare, "Decay of the second moment.").called_elsewhere({"beta2"});
  table.number("adam_eps", &RunConfig::adam_eps, kAboveZero, "Added to the root of the second moment.")
      .called_elsewhere({"adam_epsilon"});
  table.number("weight_decay", &RunConfig::weight_decay, kNotNegative, "Times the learning rate, per step.");
  table.number("clip_grad", &RunConfig::clip_grad, kNotNegative, "Highest norm of the gradient; 0: no clipping.")
      .called_elsewhere({"max_grad_norm", "gradient_clipping"});
  const std::vector<std::pair<std::string, StateDType>> dtypes = {{"fp32", StateDType::kFp32},
                                                                  {"bf16", StateDType::kBf16}};
  table.choice("main_params_dtype", &RunConfig::main_params_dtype, dtypes, "Master weights.");
  table.choice("main_grads_dtype", &RunConfig::main_grads_dtype, dtypes, "Accumulated gradients.");
  table.choice("exp_avg_dtype", &RunConfig::exp_avg_dtype, dtypes, "First moment.");
  table.choice("exp_avg_sq_dtype", &RunConfig::exp_avg_sq_dtype, dtypes, "Second moment.");
}

void add_memory_keys(KeyTable& table) {
  table.section(Place::kSettings, "Precision, memory, device");
  table
      .choice<RunConfig, Precision>(
          "precision_config", &RunConfig::precision_config,
          {{"bf16_mixed", Precision::kBf16Mixed}, {"fp16_mixed", Precision::kFp16Mixed}, {"fp32", Precision::kFp32}},
          "Number format of weights and activations in computation.")
      .called_elsewhere({"mixed_precision", "torch_dtype", "precision"});
  KeySpec& granularity =
      table.choice<RunConfig, RecomputeGranularity>("recompute_granularity", &RunConfig::recompute_granularity,
                                                    {{"full", RecomputeGranularity::kFull},
                                                     {"selective", RecomputeGranularity::kSelective},
                                                     {"auto", RecomputeGranularity::kAuto}},
                                                    "What backward computes again instead of keeping: whole layers, "
                                                    "the parts in recompute_modules, or (auto) no more "
                                                    "than the device's memory asks for. null: nothing.");
  granularity.null_is_default().called_elsewhere(
      {"gradient_checkpointing", "activation_checkpointing", "recompute_activations"});
  KeySpec& method = table.choice<RunConfig, RecomputeMethod>(
      "recompute_method", &RunConfig::recompute_method,
      {{"uniform", RecomputeMethod::kUniform}, {"block", RecomputeMethod::kBlock}},
      "uniform: every group of recompute_num_layers layers keeps its input; block: that many layers of a stage are "
      "recomputed, the others kept.");
  method.null_is_default().default_is("uniform");
  method.show = [show = method.show](const RunConfig& config) {
    const bool has_method = config.recompute_granularity == RecomputeGranularity::kFull ||
                            config.recompute_granularity == RecomputeGranularity::kSelective;
    return has_method ? show(config) : "null";
  };
  table.integer("recompute_num_layers", &RunConfig::recompute_num_layers, kNotNegative, "See recompute_method.")
      .null_is_default();
  KeySpec& modules = table.text_list(
      "recompute_modules", &RunConfig::recompute_modules,
      "With granularity selective: core_attn, layernorm, mlp, mlp_act (never kept anyway). null: core_attn.");
  modules.null_is_default();
  modules.set = [](RunConfig& config, const YamlNode& node) {
    static const std::vector<std::string> kNames = {"core_attn", "layernorm", "mlp_act", "mlp"};
    config.recompute_modules = read_text_list(node, "recompute_modules");
    const bool list = node.kind == YamlNode::Kind::kList;
    for (std::size_t i = 0; i < config.recompute_modules.size(); ++i) {
      read_choice(list ? node.items[i] : node, "recompute_modules", kNames);
    }
  };
  table
      .truth(
          "cpu_offloading", &RunConfig::cpu_offloading,
          "On a GPU: the inputs that layers keep and attention's outputs, which then are not computed again, wait for "
          "backward in pinned host memory; copies run beside the computation.")
      .called_elsewhere({"activation_offloading"});
  table.choice<RunConfig, DeviceChoice>("device", &RunConfig::device,
                                        {{"auto", DeviceChoice::kAuto},
                                         {"cpu", DeviceChoice::kCpu},
                                         {"cuda", DeviceChoice::kCuda},
                                         {"hip", DeviceChoice::kHip}},
                                        "Where to compute; auto takes a GPU when there is one.");
  table
      .truth("deterministic", &RunConfig::deterministic,
             "Ask for bit-for-bit repeatable results on a GPU too; attention backward is slower.")
      .called_elsewhere({"deterministic_mode"});
  table.integer("seed", &RunConfig::seed, kNotNegative, "Seed of shuffling, packing, dropout and new adapters.");
}

void add_saving_keys(KeyTable& table) {
  table.section(Place::kSettings, "Saving");
  table.text("save", &RunConfig::save, "Directory of the training state.")
      .null_is_default()
      .default_is("checkpoints/ in the run's directory");
  table.text("load", &RunConfig::load, "Training state to continue from. null: the last one in save, if any.")
      .null_is_default()
      .called_elsewhere({"resume_from_checkpoint"});
  KeySpec& keep = table.integer("most_recent_k", &RunConfig::most_recent_k, Range{.least = -1},
                                "Checkpoints to keep; -1 (or null): all.");
  keep.null_is_default().called_elsewhere({"save_total_limit"});
  table.truth("export_hf", &RunConfig::export_hf,
              "At the end, write the Hugging Face model (`hf/`) or the PEFT adapter (`adapter/`).");
}

/// A map is merged name by name over what lower layers set.
void finish_columns(KeySpec& columns) {
  columns.set = [](RunConfig& config, const YamlNode& node) {
    for (auto& [name, column] : read_text_map(node, "dataset.columns")) config.dataset.columns[name] = column;
  };
  columns.reset = [](RunConfig& config) { config.dataset.columns.clear(); };
  columns.show = [](const RunConfig& config) {
    return config.dataset.columns.empty() ? "null" : emit_text_map(config.dataset.columns);
  };
  columns.null_is_default().default_is("null");
}

void add_dataset_keys(KeyTable& table) {
  table.section(Place::kSettings, "Data set");
  table
      .text_list("dataset.path", &DatasetConfig::path,
                 "Training rows: files, directories, or data sets of the hub (docs/data.md).")
      .null_is_default()
      .called_elsewhere({"dataset_path", "data_path", "train_data_path", "dataset_name", "train_file", "datasets",
                         "data_files", "train_files"});
  table
      .number_list("dataset.weights", &DatasetConfig::weights, kNotNegative,
                   "How often each path is drawn from, one number a path. null: every row once.")
      .null_is_default();
  table.text_list("dataset.validation_path", &DatasetConfig::validation_path, "Validation rows.")
      .null_is_default()
      .called_elsewhere({"valid_data_path", "validation_file", "val_files"});
  table
      .number("dataset.validation_fraction", &DatasetConfig::validation_fraction, kShare,
              "Share of the training rows held out for validation, by seed.")
      .called_elsewhere({"val_proportion", "val_size", "val_set_size", "split"});
  table
      .choice<DatasetConfig, std::string>(
          "dataset.format", &DatasetConfig::format,
          {{"input_ids", "input_ids"},
           {"messages", "messages"},
           {"conversations", "conversations"},
           {"instruction", "instruction"},
           {"prompt_completion", "prompt_completion"},
           {"input_output", "input_output"},
           {"text", "text"},
           {"sharegpt", "conversations"},
           {"alpaca", "instruction"}},
          "Form of the rows; sharegpt is conversations, alpaca is instruction. null: found per file.")
      .null_is_default();
  finish_columns(table.custom("dataset.columns", Kind::kTextMap, "map of names",
                              "The file's name for each of ours, for example {prompt: question}."));
  table
      .choice<DatasetConfig, LossMode>("dataset.loss_mode", &DatasetConfig::loss_mode,
                                       {{"assistant", LossMode::kAssistant},
                                        {"last_turn", LossMode::kLastTurn},
                                        {"completion", LossMode::kCompletion},
                                        {"full", LossMode::kFull}},
                                       "Which tokens are trained. null: assistant for chats, completion for pairs, "
                                       "full for text.")
      .null_is_default();
  table
      .text(
          "dataset.chat_template", &DatasetConfig::chat_template,
          "A template file, the name of a built-in one, or none (pairs become plain text). null: the checkpoint's own.")
      .null_is_default();
  table.truth("dataset.shuffle", &DatasetConfig::shuffle, "Shuffle the rows by seed, anew each epoch.");
  table.integer("dataset.num_workers", &DatasetConfig::num_workers, kNotNegative,
                "Threads that tokenize; 0: one a core.");
}

std::vector<KeySpec> make_schema() {
  KeyTable table;
  add_run_keys(table);
  add_model_keys(table);
  add_layout_keys(table);
  add_batch_keys(table);
  add_optimizer_keys(table);
  add_memory_keys(table);
  add_saving_keys(table);
  add_dataset_keys(table);
  return table.take();
}

}  // namespace

const std::vector<KeySpec>& schema() {
  static const std::vector<KeySpec> keys = make_schema();
  return keys;
}

}  // namespace primus::config

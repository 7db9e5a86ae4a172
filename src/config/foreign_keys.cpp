#include <algorithm>
#include <array>

#include "config/schema.h"

namespace primus::config {
namespace {

// Families whose members all have a meaning elsewhere only.
constexpr auto kPrefixes = std::to_array<std::string_view>({
    "enable_turbo_", "use_turbo_", "disable_turbo_", "turbo_",      "moe_",     "mla_",       "mtp_",
    "fp4",           "fp8",        "wandb_",         "mlflow_",     "ckpt_",    "dist_ckpt_", "tensorboard_",
    "log_avg_",      "lr_wsd_",    "overlap_",       "cuda_graph_", "tp_comm_", "inference_",
});

constexpr auto kRunKeys = std::to_array<std::string_view>({"platform", "version"});

constexpr auto kSettings = std::to_array<std::string_view>({
    "adlr_autoresume",
    "adlr_autoresume_interval",
    "align_grad_reduce",
    "apply_rope_fusion",
    "async_save",
    "attention_backend",
    "auto_detect_ckpt_format",
    "barrier_with_L1_time",
    "bf16",
    "bias_activation_fusion",
    "bias_dropout_fusion",
    "calculate_per_token_loss",
    "check_for_large_grads",
    "check_for_nan_in_grad",
    "check_for_nan_in_loss_and_grad",
    "check_for_spiky_loss",
    "comm_overlap_config",
    "create_attention_mask_in_dataloader",
    "cross_entropy_fusion_impl",
    "cross_entropy_loss_fusion",
    "data_parallel_random_init",
    "data_parallel_sharding_strategy",
    "data_sharding",
    "ddp_average_in_collective",
    "ddp_bucket_size",
    "dataloader_type",
    "decrease_batch_size_if_needed",
    "disable_last_saving",
    "disable_mlflow",
    "disable_tensorboard",
    "disable_wandb",
    "distribute_saved_activations",
    "distributed_backend",
    "distributed_timeout_minutes",
    "empty_unused_memory_level",
    "enable_cuda_graph",
    "enable_experimental",
    "enable_primus_turbo",
    "eod_mask_loss",
    "exit_duration_in_mins",
    "exit_interval",
    "exit_on_missing_checkpoint",
    "exit_signal_handler",
    "expert_model_parallel_size",
    "expert_tensor_parallel_size",
    "file_sink_level",
    "finetune",
    "flash_decode",
    "flavor",
    "fp16",
    "full_validation",
    "grad_reduce_in_bf16",
    "grad_reduce_in_fp32",
    "gradient_accumulation_fusion",
    "gradient_reduce_div_fusion",
    "init_method_std",
    "init_method_xavier_uniform",
    "log_memory_to_tensorboard",
    "log_batch_size_to_tensorboard",
    "log_learning_rate_to_tensorboard",
    "log_loss_scale_to_tensorboard",
    "log_progress",
    "log_throughput",
    "log_timers_to_tensorboard",
    "log_validation_ppl_to_tensorboard",
    "log_world_size_to_tensorboard",
    "loss_scale",
    "lr_decay_samples",
    "lr_warmup_init",
    "lr_warmup_samples",
    "make_vocab_size_divisible_by",
    "manual_gc",
    "manual_gc_eval",
    "manual_gc_interval",
    "masked_softmax_fusion",
    "max_position_embeddings",
    "mmap_bin_files",
    "no_load_optim",
    "no_load_rng",
    "no_save_optim",
    "no_save_rng",
    "norm_epsilon",
    "num_dataset_builder_threads",
    "onnx_safe",
    "override_opt_param_scheduler",
    "patch_moe_overlap",
    "pipeline_dtype",
    "profile",
    "profile_ranks",
    "profile_step_end",
    "profile_step_start",
    "rampup_batch_size",
    "recipe",
    "record_memory_history",
    "scatter_gather_tensors_in_pipeline",
    "sgd_momentum",
    "sink_level",
    "skip_train",
    "stage",
    "stderr_sink_level",
    "te_rng_tracker",
    "test_mode",
    "tokenizer_model",
    "tokenizer_type",
    "trainable",
    "use_checkpoint_args",
    "use_checkpoint_opt_param_scheduler",
    "use_custom_fsdp",
    "use_flash_attn",
    "use_megatron_fsdp",
    "use_pytorch_profiler",
    "use_torch_fsdp2",
});

// Of the data set builders that Megatron Bridge configures with a nested map.
constexpr auto kDatasetSettings = std::to_array<std::string_view>({
    "dataset._target_",
    "dataset.dataloader_type",
    "dataset.do_test",
    "dataset.do_validation",
    "dataset.memmap_workers",
    "dataset.pin_memory",
    "dataset.persistent_workers",
    "dataset.data_sharding",
});

template <std::size_t Count>
bool contains(const std::array<std::string_view, Count>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

bool is_foreign_key(Place place, std::string_view name) {
  if (place == Place::kRun) return contains(kRunKeys, name);
  if (place == Place::kModule) return false;
  return contains(kSettings, name) || contains(kDatasetSettings, name) ||
         std::any_of(kPrefixes.begin(), kPrefixes.end(),
                     [&](std::string_view prefix) { return name.starts_with(prefix); });
}

std::vector<std::string> foreign_keys() {
  std::vector<std::string> names(kSettings.begin(), kSettings.end());
  names.insert(names.end(), kDatasetSettings.begin(), kDatasetSettings.end());
  names.insert(names.end(), kRunKeys.begin(), kRunKeys.end());
  for (const std::string_view prefix : kPrefixes) names.push_back(std::string(prefix) + "*");
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace primus::config

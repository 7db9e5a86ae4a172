#!/usr/bin/env bash
# Holds what the commands write against transformers and PEFT: tunes the tiny model for 40 steps with LoRA and with SFT,
# then compares the logits of `generate` and the loss of `eval` with those that the other libraries compute from the
# exported adapter and model. All in float32.
#
#   scripts/dev/compare_cli.sh PYTHON       an interpreter with torch, transformers, peft and safetensors
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${1:?the Python interpreter is missing}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PRIMUS_ROOT=$PWD PRIMUS_WORKSPACE=$work PRIMUS_TEAM=compare PRIMUS_USER=cli OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
model=models/tiny
rows=examples/quickstart/heldout.jsonl
primus() { runner/primus-cli direct -- "$@" 2>>"$work/log" || { cat "$work/log" >&2; exit 1; }; }

for method in lora none; do
  export PRIMUS_EXP_NAME=$method
  settings=(--config examples/quickstart/lora.yaml --precision_config fp32)
  primus train posttrain "${settings[@]}" --peft "$method" --train_iters 40 --eval_interval 40 --dataset.validation_path "$rows"
  run=$work/compare/cli/$method
  if [ "$method" = lora ]; then
    printf '== LoRA adapter: generate, eval\n'
    loaded=("$model" --adapter "$run/adapter")
    generated=(--model "$model" --adapter "$run/adapter")
    evaluated=(--peft_adapter "$run/adapter")
  else
    printf '== SFT model: generate, eval\n'
    loaded=("$run/hf")
    generated=(--model "$run/hf")
    evaluated=(--hf_path "$run/hf")
  fi
  primus generate "${generated[@]}" --prompt 'Who are you?' --precision fp32 --logits "$work/$method.safetensors" >"$work/answer"
  "$python" scripts/dev/compare_hf.py file "${loaded[@]}" --file "$work/$method.safetensors"
  primus eval "${settings[@]}" "${evaluated[@]}" --dataset.validation_path "$rows" --eval_iters 1000 --json | tail -n 1
  "$python" scripts/dev/compare_hf.py loss "${loaded[@]}" --rows "$rows"
done

#!/usr/bin/env bash
# Training speed on this host's GPU: Qwen3 models with random weights, a row of a Markdown table for each, printed as it
# is measured. A row that fails is said and the next one runs.
#
#   scripts/bench_gpu.sh [--rows A,B,…] [--steps N]    builds preset `cuda` and measures (--rows list: names them)
#   scripts/bench_gpu.sh pack FOLDER [BUILD]           only collects what it needs, for a GPU host without compiler
#   scripts/bench_gpu.sh run FOLDER [--rows …]         measures with what was packed (FOLDER/bench_gpu.sh is this script)
#
# PEER=SCRIPT measures another engine right after each row that has a counterpart: it is called as
#   $PEER_PYTHON $PEER MODEL lora|sft SEQ_LENGTH MICRO_BATCH_SIZE none|full 1 STEPS
# and prints a line of JSON with tok_s and peak_gib. Every line of JSON is kept in $BENCH_LOGS (default: FOLDER/bench).
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/gpu_common.sh"

# name; what it is; model, method, sequence length, micro-batch, recompute (-offload: with cpu_offloading), states; whether
# the peer has the same
rows() {
  cat <<'ROWS'
8b-lora;8B LoRA 8192×1;qwen3_8b lora 8192 1 none fp32;peer
8b-lora-full;8B LoRA 8192×1, full recompute;qwen3_8b lora 8192 1 full fp32;
8b-lora-full-offload;8B LoRA 8192×1, full recompute, offloading;qwen3_8b lora 8192 1 full-offload fp32;peer
8b-lora-2048x4;8B LoRA 2048×4;qwen3_8b lora 2048 4 none fp32;peer
8b-lora-2048x1;8B LoRA 2048×1;qwen3_8b lora 2048 1 none fp32;peer
14b-lora-full-offload;14B LoRA 8192×1, full recompute, offloading;qwen3_14b lora 8192 1 full-offload fp32;peer
32b-lora-full-offload;32B LoRA 8192×1, full recompute, offloading;qwen3_32b lora 8192 1 full-offload fp32;peer
32b-lora-auto-offload;32B LoRA 8192×1, auto, offloading;qwen3_32b lora 8192 1 auto-offload fp32;
4b-sft-full;4B SFT 8192×1, full recompute;qwen3_4b sft 8192 1 full fp32;
4b-sft-full-offload-bf16;4B SFT 8192×1, full recompute, offloading, bf16 states;qwen3_4b sft 8192 1 full-offload bf16;peer
4b-sft-bf16;4B SFT 8192×1, bf16 states;qwen3_4b sft 8192 1 none bf16;peer
4b-sft-offload-bf16;4B SFT 8192×1, offloading, bf16 states;qwen3_4b sft 8192 1 none-offload bf16;
1.7b-sft;1.7B SFT 8192×1;qwen3_1.7b sft 8192 1 none fp32;
1.7b-sft-bf16;1.7B SFT 8192×1, bf16 states;qwen3_1.7b sft 8192 1 none bf16;peer
1.7b-sft-offload-bf16;1.7B SFT 8192×1, offloading, bf16 states;qwen3_1.7b sft 8192 1 none-offload bf16;
0.6b-sft;0.6B SFT 2048×8;qwen3_0.6b sft 2048 8 none fp32;
0.6b-sft-bf16;0.6B SFT 2048×8, bf16 states;qwen3_0.6b sft 2048 8 none bf16;peer
ROWS
}

pack() {
  local folder=$1 build=$2
  pack_programs "$build" "$folder" bin/primus
  cp -r "$(dirname "$(dirname "$(readlink -f "$0")")")/configs" "$folder/"
}

# number KEY: that key's value in a line of JSON
number() { sed -n 's/.*"'"$1"'": *\([-+.0-9eE]*\).*/\1/p' <<<"$2"; }
by() { awk -v a="$1" -v b="$2" -v digits="$3" 'BEGIN { if (a == "" || b == "") print "–"; else printf "%.*f", digits, a / b }'; }
rounded() { awk -v a="$1" -v digits="$2" 'BEGIN { if (a == "") print "–"; else printf "%.*f", digits, a }'; }

# ours NAME MODEL METHOD SEQ MICRO RECOMPUTE STATES: the line of JSON, or nothing
ours() {
  local name=$1 model=$2 method=$3 seq=$4 micro=$5 recompute=$6 states=$7 arguments
  arguments=(--model "$model" --seq_length "$seq" --micro_batch_size "$micro" --warmup 2 --steps "$steps" --json --device cuda --peft lora)
  [ "$method" = lora ] || arguments+=(--peft none)
  [[ $recompute != *-offload ]] || arguments+=(--cpu_offloading true)
  case ${recompute%-offload} in
    full) arguments+=(--recompute_granularity full --recompute_method uniform --recompute_num_layers 1) ;;
    auto) arguments+=(--recompute_granularity auto) ;;
  esac
  [ "$states" = fp32 ] || arguments+=(--main_params_dtype bf16 --main_grads_dtype bf16 --exp_avg_dtype bf16 --exp_avg_sq_dtype bf16)
  timeout -k 5 150 primus benchmark train "${arguments[@]}" 2>"$logs/$name.log" | tail -n 1 | tee -a "$logs/ours.jsonl"
}

# peer NAME MODEL METHOD SEQ MICRO RECOMPUTE STATES
peer() {
  local name=$1 model=${2//_/-} method=$3 seq=$4 micro=$5 recompute=${6%-offload}
  timeout -k 5 150 "${PEER_PYTHON:-python3}" "$PEER" "$model" "$method" "$seq" "$micro" "$recompute" 1 5 2>"$logs/$name.peer.log" |
    tail -n 1 | tee -a "$logs/peer.jsonl"
}

measure() {
  local name=$1 what=$2 work=$3 counterpart=$4 line other='' speed peer_speed begun=$SECONDS
  # shellcheck disable=SC2086  # words
  line=$(ours "$name" $work) || true
  speed=$(number tokens_per_second "$line")
  # shellcheck disable=SC2086
  [ -z "$counterpart" ] || [ -z "${PEER:-}" ] || other=$(peer "$name" $work) || true
  peer_speed=$(number tok_s "$other")
  printf '| %s | %s | %s | %s | %s | %s | %s | %s |\n' "$what" "$(rounded "$speed" 0)" "$(rounded "$(number fraction_of_floor "$line")" 3)" \
    "$(rounded "$(number planned_gib "$line")" 2)" "$(rounded "$(number taken_gib "$line")" 2)" "$(rounded "$peer_speed" 0)" \
    "$(rounded "$(number peak_gib "$other")" 1)" "$(by "$speed" "$peer_speed" 2)"
  if [ -z "$speed" ]; then
    printf '%s: no result after %d s: %s\n' "$name" $((SECONDS - begun)) "$(tail -n 2 "$logs/$name.log" | tr '\n' ' ')" >&2
    failed=1
  fi
}

run() {
  local folder wanted='' name what work counterpart
  folder=$(readlink -f "$1")
  shift
  steps=5 failed=0
  while [ $# -gt 0 ]; do
    case "$1" in
      --rows) wanted=,${2:?names}, ;;
      --steps) steps=${2:?a number} ;;
      *) die "unknown option '$1' (known: --rows, --steps)" ;;
    esac
    shift 2
  done
  logs=${BENCH_LOGS:-$folder/bench}
  mkdir -p "$logs"
  use_packed "$folder"
  cd "$folder"
  printf '%s\n\n' "$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | head -n 1), medians of $steps steps after 2"
  printf '| work | tokens/s | of the floor | planned GiB | taken GiB | peer tokens/s | peer GiB | to the peer |\n|---|---|---|---|---|---|---|---|\n'
  while IFS=';' read -r name what work counterpart; do
    [[ -z $wanted || $wanted == *,$name,* ]] || continue
    measure "$name" "$what" "$work" "$counterpart" </dev/null
  done < <(rows)
  [ $failed -eq 0 ] || die "a row is missing; the logs are in $logs"
}

case "${1:-}" in
  pack) pack "${2:?a folder}" "${3:-build/cuda}" ;;
  run)
    shift
    run "$@"
    ;;
  -h | --help) sed -n '2,12s/^# \{0,1\}//p' "$0" ;;
  *)
    if [ "${1:-} ${2:-}" = '--rows list' ]; then
      rows | awk -F ';' '{ printf "%-26s %s\n", $1, $2 }'
      exit 0
    fi
    cd "$(dirname "$(dirname "$(readlink -f "$0")")")"
    build_cuda primus
    "$0" pack build/cuda/bench_gpu
    exec build/cuda/bench_gpu/bench_gpu.sh run build/cuda/bench_gpu "$@"
    ;;
esac

#!/usr/bin/env bash
# Whole runs of the program on this host's GPU, each against what it must be: the same run on the CPU, the same run again,
# or the words that a user reads when something is wrong. Takes a minute; needs the bundled tiny model and no network.
#
#   scripts/gpu_runs.sh [PART…]                 builds preset `cuda` and runs the parts (default: all but loading)
#   scripts/gpu_runs.sh pack FOLDER [BUILD]     only collects what the runs need, for a GPU host without compiler
#   scripts/gpu_runs.sh run FOLDER [PART…]      runs what was packed (FOLDER/gpu_runs.sh is this script)
#
#   curve          200 steps of the quickstart, LoRA and SFT, in bf16_mixed and fp32, on the GPU against the CPU
#   deterministic  two processes with `deterministic: true` and nothing in common: equal bit for bit
#   posttrain      packed LoRA and SFT with evaluation, interrupted and resumed; the export evaluated on both devices
#   failures       no room, no driver, no kernels for the GPU
#   trace          benchmark train --profile
#   loading        a checkpoint of 4.4 GB from disk (written for it; needs python3 with numpy)
#
# Runs lie in $GPU_RUNS (default: FOLDER/runs).
set -euo pipefail
. "$(dirname "$(readlink -f "$0")")/gpu_common.sh"

pack() {
  local folder=$1 build=$2 root
  root=$(dirname "$(dirname "$(readlink -f "$0")")")
  pack_programs "$build" "$folder" bin/primus
  mkdir -p "$folder/models" "$folder/examples"
  cp -r "$root/models/tiny" "$folder/models/"
  cp -r "$root/examples/quickstart" "$folder/examples/"
  cp -r "$root/configs" "$folder/"
  cp "$root/scripts/dev/random_checkpoint.py" "$folder/"
}

failed=0
pass() { printf 'ok      %s\n' "$*"; }
fail() {
  printf 'FAILED  %s\n' "$*"
  failed=1
}
# expect NAME COMMAND…: whether the command succeeds
expect() {
  local name=$1
  shift
  if "$@"; then pass "$name"; else fail "$name"; fi
}

# train NAME ARGUMENTS…: a run of the quickstart's configuration, its output in NAME.log. Exit status of the program.
train() {
  local name=$1
  shift
  PRIMUS_EXP_NAME=$name primus train posttrain --config examples/quickstart/lora.yaml "$@" >"$runs/$name.log" 2>&1 || {
    tail -n 5 "$runs/$name.log"
    return 1
  }
}
folder_of() { printf '%s/quickstart/tiny/%s' "$runs" "$1"; }
metrics_of() { printf '%s/metrics.jsonl' "$(folder_of "$1")"; }
# values KEY RUN: that key of every step
values() { sed -n 's/.*[{,]"'"$1"'":\([^,}]*\).*/\1/p' "$(metrics_of "$2")"; }
# trained RUN: what training computed, without times
trained() { sed 's/"elapsed_ms.*"memory_gib":[^,]*,//' "$(metrics_of "$1")" | sort -u; }
same_metrics() { cmp <(trained "$1") <(trained "$2"); }
# within BOUND A B: |a - b| <= bound · |b|
within() { awk -v bound="$1" -v a="$2" -v b="$3" 'BEGIN { d = a > b ? a - b : b - a; exit !(d <= bound * (b < 0 ? -b : b)) }'; }
# worst A B: the largest relative difference of two columns of numbers, and that of their sums
worst() {
  paste <(printf '%s\n' "$1") <(printf '%s\n' "$2") | awk '
    { d = ($1 - $2) / $2; if (d < 0) d = -d; if (d > largest) largest = d; sum += d; a += $1; b += $2 }
    NR % 10 == 0 { d = (a - last_a) / (b - last_b) - 1; if (d < 0) d = -d; if (d > ten) ten = d; last_a = a; last_b = b }
    END { s = a / b - 1; printf "%.5f %.5f %.5f %.5f %d\n", ten, largest, sum / NR, s < 0 ? -s : s, NR }'
}

# compare WHAT RUN AGAINST: how far apart the two curves are
compare() {
  local ten largest mean sum count
  read -r ten largest mean sum count < <(worst "$(values loss "$2")" "$(values loss "$3")")
  say "$1, $count steps, relative differences: $sum of the sums, $mean in the mean, $ten at most over ten steps, $largest at" \
    "most in a step; validation loss $(values validation_loss "$2" | xargs) to $(values validation_loss "$3" | xargs)"
  apart=$ten
}

curve() {
  local run=(--train_iters 200 --eval_interval 100 --export_hf false) full=(--peft none --finetune_lr 1e-4)
  train cpu-lora-fp32 --device cpu --precision_config fp32 "${run[@]}"
  train cuda-lora-bf16 --device cuda --precision_config bf16_mixed "${run[@]}"
  compare "LoRA, bf16 on the GPU to fp32 on the CPU" cuda-lora-bf16 cpu-lora-fp32
  expect "the curve (means of ten steps) is within 1 %" awk -v d="$apart" 'BEGIN { exit !(d < 0.01) }'
  train cpu-sft-fp32 --device cpu --precision_config fp32 "${full[@]}" "${run[@]}"
  train cuda-sft-fp32 --device cuda --precision_config fp32 "${full[@]}" "${run[@]}"
  compare "SFT, fp32 on both" cuda-sft-fp32 cpu-sft-fp32
  expect "the curve (means of ten steps) is within 1 %" awk -v d="$apart" 'BEGIN { exit !(d < 0.01) }'
  # updates smaller than half a step of the weights' 8 bits wait in the master weights: the format's distance, not the device's
  train cpu-sft-bf16 --device cpu --precision_config bf16_mixed "${full[@]}" "${run[@]}"
  train cuda-sft-bf16 --device cuda --precision_config bf16_mixed "${full[@]}" "${run[@]}"
  compare "SFT, bf16 to fp32 on the CPU" cpu-sft-bf16 cpu-sft-fp32
  compare "SFT, bf16 on both" cuda-sft-bf16 cpu-sft-bf16
  expect "the curve (means of ten steps) is within 1 %" awk -v d="$apart" 'BEGIN { exit !(d < 0.01) }'
}

deterministic() {
  local method name
  for method in lora none; do
    for name in a b; do
      # each with its own choice of algorithms
      XDG_CACHE_HOME=$runs/cache-$method-$name train "same-$method-$name" --device cuda --deterministic true --peft "$method" \
        --packed_sequence true --seq_length 512 --global_batch_size 4 --micro_batch_size 2 --train_iters 60 --eval_interval 30
    done
    expect "peft $method: losses, norms, evaluation of two processes are equal bit for bit" same_metrics "same-$method-a" "same-$method-b"
    for name in $(cd "$(folder_of "same-$method-a")" && find adapter hf checkpoints -name '*.safetensors' 2>/dev/null); do
      expect "peft $method: $name is equal bit for bit" cmp "$(folder_of "same-$method-a")/$name" "$(folder_of "same-$method-b")/$name"
    done
  done
  for name in a b; do
    XDG_CACHE_HOME=$runs/cache-big-$name primus benchmark train --device cuda --deterministic true --model qwen3_0.6b --peft none \
      --seq_length 1024 --micro_batch_size 2 --warmup 0 --steps 4 --json 2>>"$runs/benchmark.log" | tail -n 1 >"$runs/big-$name.json"
  done
  expect "Qwen3-0.6B SFT: the loss of the fourth step is equal bit for bit ($(sed -n 's/.*"loss":\([^,]*\).*/\1/p' "$runs/big-a.json"))" \
    cmp <(grep -o '"loss":[^,]*' "$runs/big-a.json") <(grep -o '"loss":[^,]*' "$runs/big-b.json")
}

# loss_on DEVICE PRECISION ARGUMENTS…: validation loss of an export
loss_on() {
  local device=$1 precision=$2
  shift 2
  primus eval --config examples/quickstart/lora.yaml --device "$device" --precision_config "$precision" --json "$@" 2>>"$runs/eval.log" |
    sed -n 's/.*"validation_loss":\([^,}]*\).*/\1/p'
}

# interrupted_run NAME ARGUMENTS…: stops it with Ctrl-C's signal after some steps, and starts it again
interrupted_run() {
  local name=$1 status=0 pid i
  shift
  PRIMUS_EXP_NAME=$name primus train posttrain --config examples/quickstart/lora.yaml "$@" >"$runs/$name.log" 2>&1 &
  pid=$!
  for ((i = 0; i < 1000; ++i)); do
    [ ! -f "$(metrics_of "$name")" ] || [ "$(wc -l <"$(metrics_of "$name")")" -lt 30 ] || break
    sleep 0.02
  done
  kill -INT "$pid"
  wait "$pid" || status=$?
  expect "peft $method: Ctrl-C saves and exits with 130 ($status) after step $(values iteration "$name" | tail -n 1)" [ "$status" -eq 130 ]
  train "$name" "$@"
}

posttrain() {
  local method name precision bound gpu cpu evaluated generated
  for method in lora none; do
    local settings=(--device cuda --deterministic true --peft "$method" --packed_sequence true --seq_length 512 --global_batch_size 8
      --micro_batch_size 2 --train_iters 900 --eval_interval 300 --save_interval 300 --most_recent_k 1)
    [ "$method" = lora ] || settings+=(--finetune_lr 1e-4)
    train "whole-$method" "${settings[@]}"
    interrupted_run "parts-$method" "${settings[@]}"
    expect "peft $method: the resumed run's metrics are those of the whole run, bit for bit" same_metrics "whole-$method" "parts-$method"
    say "peft $method: validation loss $(values validation_loss "whole-$method" | xargs)"
    if [ "$method" = lora ]; then
      evaluated=(--peft_adapter "$(folder_of whole-lora)/adapter")
      generated=(--model models/tiny --adapter "$(folder_of whole-lora)/adapter")
    else
      evaluated=(--hf_path "$(folder_of whole-none)/hf")
      generated=(--model "$(folder_of whole-none)/hf")
    fi
    for precision in fp32 bf16_mixed; do
      # f32: sums in another order; bf16: 8 bits of mantissa
      bound=0.0001
      [ $precision = fp32 ] || bound=0.01
      cpu=$(loss_on cpu $precision "${evaluated[@]}")
      gpu=$(loss_on cuda $precision "${evaluated[@]}")
      expect "peft $method: eval of the export in $precision: $gpu on the GPU, $cpu on the CPU (within $bound)" within $bound "$gpu" "$cpu"
    done
    for name in cpu cuda; do
      primus generate "${generated[@]}" --input examples/quickstart/heldout.jsonl --max-new-tokens 32 --batch-size 50 --json --precision fp32 \
        --device $name >"$runs/answers-$method-$name.jsonl" 2>>"$runs/generate.log"
    done
    expect "peft $method: 200 generated answers in fp32 are the same on both devices ($(tail -n 1 "$runs/answers-$method-cuda.jsonl"))" \
      cmp "$runs/answers-$method-cpu.jsonl" "$runs/answers-$method-cuda.jsonl"
  done
}

# refuses NAME STATUS WORDS COMMAND…: the command ends with that status and says those words
refuses() {
  local name=$1 status=$2 words=$3 got=0 begun=$SECONDS
  shift 3
  "$@" >"$runs/refused.out" 2>"$runs/refused.err" || got=$?
  if [ $got -eq "$status" ] && grep -q "$words" "$runs/refused.err"; then
    pass "$name: exit $got in $((SECONDS - begun)) s"
  else
    fail "$name: exit $got where $status and '$words' were expected"
  fi
  sed 's/^/          /' "$runs/refused.err" | tail -n 4
}

failures() {
  local big=(primus benchmark train --model qwen3_32b --seq_length 8192 --device cuda)
  refuses "32B SFT on one GPU" 2 'fits' "${big[@]}" --peft none
  refuses "32B LoRA that keeps everything" 2 'recompute' "${big[@]}" --peft lora
  refuses "no GPU is visible" 1 'no such device\|no CUDA' env CUDA_VISIBLE_DEVICES= "${big[@]}"
  # with PTX in the build the driver would compile it
  if ! strings -n 6 lib/libprimus_cuda.so 2>/dev/null | grep -q '^\.target sm_'; then
    refuses "no kernels for this GPU" 1 'this build has kernels for' env CUDA_FORCE_PTX_JIT=1 \
      primus benchmark train --model qwen3_0.6b --seq_length 64 --micro_batch_size 1 --device cuda
  fi
}

trace() {
  primus benchmark train --model qwen3_0.6b --device cuda --seq_length 2048 --micro_batch_size 1 --steps 2 --warmup 1 --profile "$runs/trace.json" \
    >"$runs/trace.log" 2>&1
  python3 - "$runs/trace.json" <<'PY' && pass "the trace is JSON of complete events" || fail "the trace"
import collections, json, sys
events = json.load(open(sys.argv[1]))["traceEvents"]
assert events and all(e["ph"] == "X" and e["dur"] >= 0 and e["name"] and e["cat"] for e in events)
assert all(a["ts"] + a["dur"] <= b["ts"] + 1.0 for a, b in zip(events, events[1:])), "events of one stream overlap"
kinds = collections.Counter()
for e in events: kinds[e["cat"]] += e["dur"] / 1000
assert set(kinds) == {"GEMM", "attention", "elementwise", "optimizer"}, kinds
print(len(events), "events,", ", ".join(f"{k} {v:.2f} ms" for k, v in sorted(kinds.items())), "in", len({e["name"] for e in events}), "names")
PY
}

# the page cache forgets the checkpoint; only the superuser may ask for it
forget() { sync && { echo 3 >/proc/sys/vm/drop_caches; } 2>/dev/null; }
rate_of() { awk -v bytes="$1" -v begun="$2" -v ended="$3" 'BEGIN { printf "%.2f s, %.2f GB/s", ended - begun, bytes / (ended - begun) / 1e9 }'; }

loading() {
  local model=$runs/random bytes begun
  python3 random_checkpoint.py "$model" --layers 18
  printf '{"input_ids": [1, 2, 3, 4], "labels": [1, 2, 3, 4]}\n' >"$runs/rows.jsonl"
  bytes=$(cat "$model"/*.safetensors | wc -c)
  for name in cold warm; do
    [ $name = warm ] || forget || say "the page cache cannot be emptied here: what follows is warm"
    begun=$EPOCHREALTIME
    cat "$model"/*.safetensors >/dev/null
    say "$name: cat reads $bytes bytes in $(rate_of "$bytes" "$begun" "$EPOCHREALTIME")"
  done
  for name in cold warm; do
    [ $name = warm ] || forget || true
    begun=$EPOCHREALTIME
    primus --debug eval --config examples/quickstart/lora.yaml --hf_path "$model" --device cuda --dataset.validation_path "$runs/rows.jsonl" --eval_iters 1 \
      >"$runs/loading.log" 2>&1 || { tail -n 3 "$runs/loading.log"; fail "loading"; }
    say "$name: eval with these weights took $(rate_of "$bytes" "$begun" "$EPOCHREALTIME"); $(grep -o 'loaded .*' "$runs/loading.log" || true)"
  done
}

run() {
  local folder part begun parts
  folder=$(readlink -f "$1")
  shift
  parts=("$@")
  [ ${#parts[@]} -gt 0 ] || parts=(curve deterministic posttrain failures trace)
  runs=${GPU_RUNS:-$folder/runs}
  mkdir -p "$runs"
  runs=$(readlink -f "$runs")
  use_packed "$folder"
  cd "$folder"
  export runs PRIMUS_ROOT=$folder PRIMUS_WORKSPACE=$runs PRIMUS_TEAM=quickstart PRIMUS_USER=tiny XDG_CACHE_HOME=$runs/cache
  for part in "${parts[@]}"; do
    begun=$SECONDS
    say "$part"
    # a part that breaks off takes no other with it
    ./gpu_runs.sh part "$part" || fail "$part"
    say "$part took $((SECONDS - begun)) s"
  done
  [ $failed -eq 0 ] || die "something failed; the runs are in $runs"
}

case "${1:-}" in
  pack) pack "${2:?a folder}" "${3:-build/cuda}" ;;
  run)
    shift
    run "$@"
    ;;
  part) # of `run`, in its environment
    $2
    exit $failed
    ;;
  -h | --help) sed -n '2,18s/^# \{0,1\}//p' "$0" ;;
  *)
    cd "$(dirname "$(dirname "$(readlink -f "$0")")")"
    build_cuda primus
    "$0" pack build/cuda/gpu_runs
    exec build/cuda/gpu_runs/gpu_runs.sh run build/cuda/gpu_runs "$@"
    ;;
esac

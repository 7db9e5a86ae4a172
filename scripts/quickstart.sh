#!/usr/bin/env bash
# The quickstart: sets up, builds, fine-tunes the bundled tiny model with LoRA on a chat data set and shows the model
# before and after. `make quickstart` runs this. Needs no network but for missing packages, no GPU and no Python.
#
#   scripts/quickstart.sh [--no-build]      --no-build takes the binary that is there
#
# The run stays in output/quickstart/tiny/lora: metrics, checkpoints, the adapter, and answers-{before,after}.jsonl.
# Exit status 1 when the model did not learn what it should.
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in
  '' | --no-build) ;;
  -h | --help)
    sed -n '2,9s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
  *)
    printf "quickstart: unknown option '%s' (known: --no-build, --help)\n" "$1" >&2
    exit 2
    ;;
esac

config=examples/quickstart/lora.yaml
model=models/tiny
rows=examples/quickstart/heldout.jsonl
# lora.yaml reads these; set here, so that the run goes where this script looks for it
export PRIMUS_ROOT=$PWD PRIMUS_WORKSPACE=$PWD/output PRIMUS_TEAM=quickstart PRIMUS_USER=tiny PRIMUS_EXP_NAME=lora
run=output/quickstart/tiny/lora
# The model is so small that a second thread gains little, and waiting for it costs much where other programs run too.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

step() { printf '\n== %s\n' "$*"; }
primus() { runner/primus-cli direct -- "$@"; }
# number KEY: the last value of that key in JSON lines on stdin
number() { sed -n 's/.*"'"$1"'": *\([-+.0-9eE]*\).*/\1/p' | tail -n 1; }
# text KEY LINE: that key's text in a line of JSON, on one line, without escapes, shortened
text() {
  sed -n 's/.*"'"$1"'": *"\(\([^"\\]\|\\.\)*\)".*/\1/p' <<<"$2" |
    sed 's/\\[nrt]/ /g; s/\\\(.\)/\1/g; s/^ *//; s/^\(.\{72\}\).*/\1…/'
}
percent() { awk -v share="$1" 'BEGIN { printf "%.1f %%", 100 * share }'; }
duration() { awk -v s="$1" 'BEGIN { if (s < 60) printf "%d s", s; else printf "%d min %02d s", s / 60, s % 60 }'; }

# measure NAME ARGUMENTS…: validation loss and answers of the model as it is now; ARGUMENTS name the adapter
measure() {
  local name=$1 eval_arguments=() generate_arguments=()
  if [ $# -gt 1 ]; then
    eval_arguments=(--peft_adapter "$2")
    generate_arguments=(--adapter "$2")
  fi
  primus eval --config "$config" --json "${eval_arguments[@]}" >"$run/eval-$name.json"
  primus generate --model "$model" "${generate_arguments[@]}" --input "$rows" --max-new-tokens 32 --batch-size 50 --json \
    >"$run/answers-$name.jsonl"
}

build_seconds=0
if [ "${1:-}" != --no-build ]; then
  step "Set up and build"
  start=$SECONDS
  "${MAKE:-make}" --no-print-directory build
  build_seconds=$((SECONDS - start))
fi

start=$SECONDS
rm -rf "$run" # an earlier quickstart: it would be continued, and there would be nothing left to do
mkdir -p "$run"

step "Before: $(wc -l <"$rows") held-out questions to the base model"
measure before

step "Fine-tune with LoRA"
training_start=$SECONDS
primus train posttrain --config "$config"
training_seconds=$((SECONDS - training_start))

step "After: the same questions to the model with its adapter"
measure after "$run/adapter"
run_seconds=$((SECONDS - start))

loss_before=$(number validation_loss <"$run/eval-before.json")
loss_after=$(number validation_loss <"$run/eval-after.json")
match_before=$(number exact_match <"$run/answers-before.jsonl")
match_after=$(number exact_match <"$run/answers-after.jsonl")

step "Result"
printf '%-34s %12s %12s\n' "" before after
printf '%-34s %12.4f %12.4f\n' "validation loss" "$loss_before" "$loss_after"
printf '%-34s %12s %12s\n' "answers that match exactly" "$(percent "$match_before")" "$(percent "$match_after")"

# one question of each kind that begins a conversation
for question in 'Which town is the home of' 'What is the trade of' 'Which animal does [A-Z]' 'What is made in'; do
  line=$(grep -n -m 1 "\"prompt\": *\"$question" "$run/answers-after.jsonl" | cut -d : -f 1) || continue
  before=$(sed -n "${line}p" "$run/answers-before.jsonl")
  after=$(sed -n "${line}p" "$run/answers-after.jsonl")
  printf '\nQuestion  %s\nBefore    %s\nAfter     %s\nExpected  %s\n' "$(text prompt "$after")" "$(text answer "$before")" \
    "$(text answer "$after")" "$(text expected "$after")"
done

printf '\n'
[ "${1:-}" = --no-build ] || printf 'Set-up and build took %s. ' "$(duration "$build_seconds")"
printf 'Everything since then took %s, training %s of it.\n' "$(duration "$run_seconds")" "$(duration "$training_seconds")"
printf 'The adapter is in %s/adapter. Ask it something:\n' "$run"
printf "  ./runner/primus-cli direct -- generate --model %s --adapter %s/adapter --prompt '%s'\n" "$model" "$run" \
  'What is Harlow known for?'

if ! awk -v before="$match_before" -v after="$match_after" 'BEGIN { exit !(before < 0.1 && after > 0.9) }'; then
  printf 'quickstart: the model should go from under 10 %% to over 90 %% of exact matches, and did not\n' >&2
  exit 1
fi

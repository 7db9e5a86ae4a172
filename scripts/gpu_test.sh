#!/usr/bin/env bash
# Tests on this host's GPU: every operation against its reference, the training runs against transformers, then the
# operations again under compute-sanitizer.
#
#   scripts/gpu_test.sh                 builds preset `cuda` and runs all of it
#   scripts/gpu_test.sh pack FOLDER     only collects what the run needs, for a GPU host without compiler or libraries
#   scripts/gpu_test.sh run FOLDER      runs what was packed (FOLDER/gpu_test.sh is this script)
#
# GPU_TEST_ONLY=ops,train,memcheck,racecheck,initcheck names the parts to run. Logs lie in $GPU_TEST_LOGS (default:
# FOLDER/logs).
set -euo pipefail

. "$(dirname "$(readlink -f "$0")")/gpu_common.sh"

pack() {
  local build=$1 folder=$2 root
  root=$(dirname "$(dirname "$(readlink -f "$0")")")
  pack_programs "$build" "$folder" tests/ops/test_ops tests/train/test_train
  mkdir -p "$folder/data"
  cp -r "$root/tests/data/reference" "$folder/data/"
}

wanted() { [[ -z ${GPU_TEST_ONLY:-} || ,$GPU_TEST_ONLY, == *,$1,* ]]; }

# part NAME COMMAND…: its output goes to a log; the verdict and what failed are printed
failed=0
part() {
  local name=$1 begun=$SECONDS status=0
  shift
  wanted "$name" || return 0
  "$@" >"$logs/$name.log" 2>&1 || status=$?
  say "$name: $([ $status -eq 0 ] && echo passed || echo "FAILED ($status)") in $((SECONDS - begun)) s"
  grep -E '^\[  PASSED  \]|^\[  FAILED  \]|^\[  SKIPPED \]|ERROR SUMMARY|RACECHECK SUMMARY' "$logs/$name.log" | sort -u | head -n 40 || true
  [ $status -eq 0 ] || failed=1
}

sanitizer() {
  local tool=$1
  shift
  # kernels of the vendor's libraries are not ours to judge: cuDNN's own attention has what racecheck takes for races
  compute-sanitizer --tool "$tool" --kernel-name-exclude kernel_substring=cudnn --error-exitcode 9 --print-limit 20 "$@"
}

run() {
  local folder
  folder=$(readlink -f "$1")
  logs=${GPU_TEST_LOGS:-$folder/logs}
  mkdir -p "$logs"
  use_packed "$folder"
  export PRIMUS_TEST_DATA=$folder/data
  command -v compute-sanitizer >/dev/null || die "compute-sanitizer is not in PATH"
  part ops "$folder/test_ops" --gtest_filter='*/cuda*' --gtest_brief=1
  part train "$folder/test_train" --gtest_filter='*cuda*' --gtest_brief=1
  # small products only: the tools slow kernels down a hundredfold
  local small='--gtest_filter=*/cuda*:-*Large*:*GpuBackend*'
  part memcheck sanitizer memcheck "$folder/test_ops" "$small" --gtest_brief=1
  part racecheck sanitizer racecheck "$folder/test_ops" "$small" --gtest_brief=1
  part initcheck sanitizer initcheck "$folder/test_ops" "$small" --gtest_brief=1
  [ $failed -eq 0 ] || die "something failed; the logs are in $logs"
}

case "${1:-}" in
  pack) pack "${3:-build/cuda}" "${2:?a folder}" ;;
  run) run "${2:?a folder}" ;;
  '')
    cd "$(dirname "$(dirname "$(readlink -f "$0")")")"
    build_cuda test_ops test_train
    "$0" pack build/cuda/gpu_test
    exec "$0" run build/cuda/gpu_test
    ;;
  *)
    sed -n '2,11s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac

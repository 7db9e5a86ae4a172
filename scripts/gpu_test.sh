#!/usr/bin/env bash
# Tests on this host's GPU: every operation against its reference, the training runs against transformers; then the
# operations on small shapes again, to see that no kernel of the library is left out, and under compute-sanitizer.
#
#   scripts/gpu_test.sh                 builds preset `cuda` and runs all of it
#   scripts/gpu_test.sh pack FOLDER     only collects what the run needs, for a GPU host without compiler or libraries
#   scripts/gpu_test.sh run FOLDER      runs what was packed (FOLDER/gpu_test.sh is this script)
#
# GPU_TEST_ONLY=ops,train,kernels,memcheck,racecheck,initcheck names the parts to run. Logs lie in $GPU_TEST_LOGS
# (default: FOLDER/logs).
set -euo pipefail

. "$(dirname "$(readlink -f "$0")")/gpu_common.sh"

pack() {
  local build=$1 folder=$2 root
  root=$(dirname "$(dirname "$(readlink -f "$0")")")
  pack_programs "$build" "$folder" tests/ops/test_ops tests/train/test_train
  if [ -f "$build/lib/libkernel_launches.so" ]; then cp "$build/lib/libkernel_launches.so" "$folder/lib/"; fi
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
  grep -E '^\[  (PASSED |FAILED |SKIPPED) \]|(ERROR|RACECHECK) SUMMARY|^kernels launched|^never launched' "$logs/$name.log" |
    sort | uniq -c | head -n 40 || true
  [ $status -eq 0 ] || failed=1
}

# small_tests COMMAND…: what the tools watch, every kernel on small shapes. Left out is what only compares runs or
# references, and what provokes an error.
small_tests() {
  local without='*SameForAnyThreads*:*IsDeterministic*:*BitForBit*:*FiniteDifferences*:*ItsErrorsAreOurs*:*TooMuchPinned*:*IsNotRecorded*'
  PRIMUS_TEST_SMALL=1 PRIMUS_GEMM_CACHE='' "$@" --gtest_filter="*/cuda*:-$without${without_too:+:$without_too}"
}

# kernels FOLDER: which kernels of the library the small tests launch
kernels() {
  local all=$logs/kernels_all.txt launched=$logs/kernels_launched.txt missing=$logs/kernels_missing.txt
  if ! [ -f "$1/lib/libkernel_launches.so" ]; then
    echo "libkernel_launches.so was not built: the toolkit had no CUPTI"
    return 1
  fi
  rm -f "$launched"
  CUDA_INJECTION64_PATH=$1/lib/libkernel_launches.so KERNEL_LAUNCHES=$launched small_tests "$1/test_ops" || return
  # device.cu's probe is only asked about, never launched
  cuobjdump -res-usage "$1/lib/libprimus_cuda.so" | sed -n 's/^ *Function \(.*\):$/\1/p' |
    grep -v '5probeEv$' | sort -u >"$all"
  sort -u "$launched" | comm -23 "$all" - >"$missing"
  c++filt <"$missing" | sed 's/^/never launched: /'
  echo "kernels launched: $(($(wc -l <"$all") - $(wc -l <"$missing"))) of the library's $(wc -l <"$all")"
  ! [ -s "$missing" ]
}

# sanitizer TOOL FOLDER: the small tests in shards beside each other
sanitizer() {
  local tool=$1 folder=$2 shards=${GPU_TEST_SHARDS:-12} shard running=() status=0
  for ((shard = 0; shard < shards; ++shard)); do
    GTEST_TOTAL_SHARDS=$shards GTEST_SHARD_INDEX=$shard small_tests \
      compute-sanitizer --tool "$tool" --error-exitcode 9 --print-limit 20 "$folder/test_ops" \
      >"$logs/$tool.$shard.log" 2>&1 &
    running+=($!)
  done
  for shard in "${!running[@]}"; do
    wait "${running[$shard]}" || status=$?
    cat "$logs/$tool.$shard.log"
  done
  return $status
}

# The same without cuBLASLt and cuDNN. Their kernels order what they do by means that racecheck and initcheck do not
# see (barriers in shared memory, copies by the tensor memory accelerator), and are not ours to judge.
sanitizer_without_vendor() {
  local without_too='*LargeProduct*:*LogsToTheProgramsLog*' # which are about cuBLASLt
  PRIMUS_GEMM=plain PRIMUS_ATTENTION=wgmma sanitizer "$@"
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
  part kernels kernels "$folder"
  part memcheck sanitizer memcheck "$folder"
  part racecheck sanitizer_without_vendor racecheck "$folder"
  part initcheck sanitizer_without_vendor initcheck "$folder"
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

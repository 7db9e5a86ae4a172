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

say() { printf '=== %s\n' "$*"; }
die() {
  printf 'gpu_test: %s\n' "$*" >&2
  exit 1
}

# Libraries that a CUDA host has itself, or that belong to the system.
is_carried() {
  case "$1" in
    libc.so* | libm.so* | libdl.so* | librt.so* | libpthread.so* | libgcc_s* | libstdc++* | libgomp* | ld-linux* | linux-vdso*) false ;;
    libcu* | libnv*) false ;;
    *) true ;;
  esac
}

pack() {
  local build=$1 folder=$2 root file name path
  root=$(dirname "$(dirname "$(readlink -f "$0")")")
  mkdir -p "$folder/lib"
  for file in "$build"/tests/ops/test_ops "$build"/tests/train/test_train "$build"/bin/primus; do
    [ ! -x "$file" ] || strip -o "$folder/$(basename "$file")" "$file"
  done
  strip -o "$folder/lib/libprimus_cuda.so" "$build/lib/libprimus_cuda.so"
  find "$folder" -maxdepth 2 -type f -perm -u+x ! -name '*.sh' -exec ldd {} + | awk '$2 == "=>" && $3 ~ /^\// {print $1, $3}' | sort -u | while read -r name path; do
    if is_carried "$name"; then cp -L "$path" "$folder/lib/$name"; fi
  done
  cp "$0" "$folder/gpu_test.sh"
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
  export PATH=$PATH:/usr/local/cuda/bin OMP_WAIT_POLICY=PASSIVE PRIMUS_TEST_DATA=$folder/data
  export LD_LIBRARY_PATH=$folder/lib:/usr/local/cuda/lib64${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
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
    command -v nvidia-smi >/dev/null || die "this host has no NVIDIA driver"
    cmake --preset cuda
    cmake --build --preset cuda --target primus_cuda test_ops test_train
    "$0" pack build/cuda/gpu_test
    exec "$0" run build/cuda/gpu_test
    ;;
  *)
    sed -n '2,11s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac

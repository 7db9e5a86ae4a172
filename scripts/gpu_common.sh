# What gpu_test.sh, gpu_runs.sh and bench_gpu.sh share (bash, sourced): packing programs for a GPU host without compiler
# or libraries, and finding them there.

say() { printf '=== %s\n' "$*"; }
die() {
  printf '%s: %s\n' "$(basename "$0" .sh)" "$*" >&2
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

# pack_programs BUILD FOLDER PROGRAM…: stripped programs of a build, the CUDA back end and the libraries that they load,
# with the calling script and this file.
pack_programs() {
  local build=$1 folder=$2 program name path
  shift 2
  mkdir -p "$folder/lib"
  for program in "$@"; do strip -o "$folder/$(basename "$program")" "$build/$program"; done
  strip -o "$folder/lib/libprimus_cuda.so" "$build/lib/libprimus_cuda.so"
  find "$folder" -maxdepth 2 -type f -perm -u+x ! -name '*.sh' -exec ldd {} + | awk '$2 == "=>" && $3 ~ /^\// {print $1, $3}' | sort -u | while read -r name path; do
    if is_carried "$name"; then cp -L "$path" "$folder/lib/$name"; fi
  done
  cp "$0" "$(dirname "$0")/gpu_common.sh" "$folder/"
}

# use_packed FOLDER: the environment in which the programs of a packed folder run
use_packed() {
  export PATH=$1:$PATH:/usr/local/cuda/bin OMP_WAIT_POLICY=PASSIVE
  export LD_LIBRARY_PATH=$1/lib:/usr/local/cuda/lib64${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
}

# build_cuda TARGET…: preset `cuda`
build_cuda() {
  command -v nvidia-smi >/dev/null || die "this host has no NVIDIA driver"
  cmake --preset cuda
  cmake --build --preset cuda --target primus_cuda "$@"
}

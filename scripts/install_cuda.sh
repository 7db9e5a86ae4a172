#!/usr/bin/env bash
# Fetches what compiling the CUDA back end takes into build/deps, as NVIDIA publishes it on PyPI: compiler, runtime,
# cuBLASLt, cuDNN's headers, and those of cuDNN's C++ front end. About 1 GiB to download. Where a CUDA toolkit 13 is
# installed already (nvcc in PATH or in /usr/local/cuda), only the front end's. Does nothing when all is there.
#
#   scripts/install_cuda.sh
#   scripts/install_cuda.sh --list     only prints the packages of the toolkit, one a line
set -euo pipefail
cd "$(dirname "$(dirname "$(readlink -f "$0")")")"

toolkit=(
  nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88
  nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85
  nvidia-cublas==13.0.2.14
  nvidia-cudnn-cu13==9.14.0.64
)
deps=$PWD/build/deps

say() { printf 'install_cuda: %s\n' "$*"; }
die() {
  printf 'install_cuda: %s\n' "$*" >&2
  exit 1
}

has_toolkit() { command -v nvcc >/dev/null || [ -x /usr/local/cuda/bin/nvcc ]; }

wheels=
trap '[ -z "$wheels" ] || rm -rf "$wheels"' EXIT

# fetch PACKAGE…: their wheels, into $wheels
fetch() {
  wheels=$(mktemp -d)
  command -v python3 >/dev/null && python3 -m pip --version >/dev/null 2>&1 ||
    die "python3 with pip is needed to fetch packages: apt-get install python3-pip"
  say "fetching $*"
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --dest "$wheels" "$@" ||
    die "a package could not be fetched; pip's words stand above"
}

# What the wheels hold is the toolkit's own layout, under nvidia/cu13 (cuDNN under nvidia/cudnn).
install_toolkit() {
  local wheel scratch=$deps/cuda.partial
  fetch "${toolkit[@]}"
  rm -rf "$scratch"
  mkdir -p "$scratch"
  for wheel in "$wheels"/*.whl; do
    case "$wheel" in
      */nvidia_cudnn*) python3 -m zipfile -e "$wheel" "$wheels/cudnn" ;; # its libraries are looked for when a run needs them
      *) python3 -m zipfile -e "$wheel" "$scratch" ;;
    esac
    rm "$wheel"
  done
  mv "$scratch/nvidia/cu13" "$scratch/cuda"
  cp "$wheels"/cudnn/nvidia/cudnn/include/*.h "$scratch/cuda/include/"
  chmod +x "$scratch"/cuda/bin/* "$scratch"/cuda/nvvm/bin/*
  ln -sfn lib "$scratch/cuda/lib64"
  for library in "$scratch"/cuda/lib/lib*.so.13; do ln -sfn "$(basename "$library")" "${library%.13}"; done
  rm -rf "$deps/cuda"
  mv "$scratch/cuda" "$deps/cuda"
  rm -rf "$scratch"
}

case "${1:-}" in
  '') ;;
  --list)
    printf '%s\n' "${toolkit[@]}"
    exit 0
    ;;
  *)
    sed -n '2,8s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac

if ! has_toolkit && [ ! -x "$deps/cuda/bin/nvcc" ]; then
  install_toolkit
  say "the toolkit is in $deps/cuda"
fi
exec scripts/fetch_cudnn_frontend.sh

#!/usr/bin/env bash
# Brings the headers of cuDNN's C++ front end (MIT licence), which the CUDA back end is compiled with, from PyPI to
# build/deps/cudnn-frontend. Does nothing when they are there.
#
#   scripts/fetch_cudnn_frontend.sh
set -euo pipefail

version=1.32.0
target=$(dirname "$(dirname "$(readlink -f "$0")")")/build/deps/cudnn-frontend
say() { printf 'fetch_cudnn_frontend: %s\n' "$*"; }

if [ "$(cat "$target/version" 2>/dev/null)" = "$version" ]; then
  say "version $version is there"
  exit 0
fi
if ! python3 -m pip --version >/dev/null 2>&1; then
  say "needs pip: apt-get install python3-pip" >&2
  exit 1
fi
wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest "$wheels" \
  "nvidia-cudnn-frontend==$version"
python3 -m zipfile -e "$wheels"/*.whl "$wheels/content"
rm -rf "$target"
mkdir -p "$target"
mv "$wheels/content/include" "$target/include"
find "$wheels/content" -name 'LICENSE*MIT*' -path '*dist-info*' -exec cp {} "$target/LICENSE" \;
echo "$version" >"$target/version"
say "the headers of version $version are in $target"

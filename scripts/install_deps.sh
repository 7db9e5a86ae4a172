#!/usr/bin/env bash
# Installs what Primus needs to build and run, on Debian 12 and Ubuntu 24.04: only packages of the distribution, listed
# and explained in docs/dependencies.md. Does nothing when all of them are there, so it may run before every build.
#
#   scripts/install_deps.sh           the compiler, the libraries and GoogleTest
#   scripts/install_deps.sh --dev     those and the tools for formatting, linting, coverage and fetching CUDA
#   scripts/install_deps.sh --list    only prints the packages, one a line
set -euo pipefail

packages=(
  g++ cmake ninja-build make pkg-config ccache
  libdnnl-dev
  libyaml-cpp-dev nlohmann-json3-dev libsimdjson-dev
  libfmt-dev
  libpcre2-dev libutf8proc-dev
  libcurl4-openssl-dev libssl-dev ca-certificates
  libzstd-dev zlib1g-dev
  libgtest-dev
)
# Fixed versions of the formatter and the linter, so that they say the same everywhere.
dev_packages=(clang-format-14 clang-tidy-16 libomp-16-dev clang-16 libclang-rt-16-dev gcovr git python3-pip)

say() { printf 'install_deps: %s\n' "$*"; }
die() {
  printf 'install_deps: %s\n' "$*" >&2
  exit 1
}

list_only=false
for argument in "$@"; do
  case "$argument" in
    --dev) packages+=("${dev_packages[@]}") ;;
    --list) list_only=true ;;
    -h | --help)
      sed -n '2,8s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    *) die "unknown option '$argument' (known: --dev, --list, --help)" ;;
  esac
done
if $list_only; then
  printf '%s\n' "${packages[@]}"
  exit 0
fi

command -v apt-get >/dev/null && command -v dpkg-query >/dev/null ||
  die "there is no apt here. Primus is tried on Debian 12 and Ubuntu 24.04; elsewhere install the counterparts of: ${packages[*]}"

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
missing=()
for package in "${packages[@]}"; do
  is_installed "$package" || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  say "all ${#packages[@]} packages are installed"
  exit 0
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || die "needs root to install packages and finds no sudo. As root: apt-get install ${missing[*]}"
  as_root=(sudo)
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# apt LABEL ARGUMENTS…: quiet, patient with a busy lock and a flaky network; shows what apt said when it gives up.
apt() {
  local label=$1 attempt
  shift
  for attempt in 1 2 3; do
    if "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y \
      -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" >"$log" 2>&1; then
      return 0
    fi
    [ "$attempt" -eq 3 ] || sleep $((attempt * 5))
  done
  tail -n 20 "$log" >&2
  die "$label failed three times; apt's last words stand above"
}

say "installing ${#missing[@]} of ${#packages[@]} packages: ${missing[*]}"
apt "reading the package lists" update
if ! apt-cache show "${missing[@]}" >/dev/null 2>"$log"; then
  tail -n 20 "$log" >&2
  die "this distribution lacks a package (on Ubuntu, 'universe' must be enabled; Debian before 12 is too old)"
fi
apt "installing packages" install --no-install-recommends "${missing[@]}"
say "done"

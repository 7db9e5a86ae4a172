# What people type. The work is CMake's (CMakePresets.json) and the scripts'.

JOBS ?= $(shell nproc 2>/dev/null || echo 2)
PREFIX ?= /usr/local

.DEFAULT_GOAL := help
.PHONY: help deps build build-tests build-cuda quickstart test test-fast gpu-test bench lint format asan install clean

help: ## list these targets
	@printf 'make TARGET [JOBS=%s] [PREFIX=%s]\n\n' '$(JOBS)' '$(PREFIX)'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(firstword $(MAKEFILE_LIST)) | while IFS='|' read -r target text; do \
	  printf '%-14s %s\n' "$$target" "$$text"; done

deps: ## install the packages that are missing (Debian 12, Ubuntu 24.04)
	@scripts/install_deps.sh

build: deps ## set up and build build/release/bin/primus
	cmake --preset release
	cmake --build --preset release --parallel $(JOBS) --target primus

build-tests: build
	cmake --build --preset release --parallel $(JOBS)

build-cuda: deps ## set up and build the binary and its CUDA back end (build/cuda); needs no GPU
	@scripts/install_cuda.sh
	cmake --preset cuda
	cmake --build --preset cuda --parallel $(JOBS) --target primus primus_cuda

quickstart: ## set up, build, fine-tune the bundled tiny model and show it before and after
	@scripts/quickstart.sh

test: build-tests ## set up, build and run every test
	ctest --preset release --parallel $(JOBS)

test-fast: build-tests ## the tests that take a minute together
	ctest --preset fast --parallel $(JOBS)

gpu-test: deps ## build for CUDA, run the tests on this host's GPU, also under compute-sanitizer, and whole runs
	@scripts/install_cuda.sh
	@scripts/gpu_test.sh
	@scripts/gpu_runs.sh

bench: deps ## measure training on this host's GPU (ROWS=list names what can be measured, ROWS=a,b selects)
	@scripts/install_cuda.sh
	@scripts/bench_gpu.sh $(if $(ROWS),--rows $(ROWS))

lint: ## check the format of all files, and clang-tidy over the changed ones (ALL=1: over all)
	@scripts/install_deps.sh --dev
	@.ci/lint format
	cmake --preset release
	@.ci/lint tidy $(if $(ALL),--all,--changed)

format: ## rewrite all files in the project's format
	@scripts/install_deps.sh --dev
	@.ci/lint format --fix

asan: deps ## build with address and undefined-behaviour sanitizers and run the fast tests
	cmake --preset asan
	cmake --build --preset asan --parallel $(JOBS)
	ctest --preset asan --parallel $(JOBS)

install: build ## install under PREFIX
	cmake --install build/release --prefix '$(PREFIX)'

clean: ## remove everything that was built
	rm -rf build

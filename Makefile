# `make` alone lists the targets. Only `run`, `build` and `test` are needed by a newcomer; they want the Rust toolchain
# and a C compiler, nothing else.

HOST ?= 127.0.0.1
PORT ?= 8000
MODEL ?= models/tabletop
SCENARIO ?= scenes/town.usdz
CUDA_TARGET ?= target/cuda

.DEFAULT_GOAL := help
.PHONY: help run build test lint lint-deps bench bench-peers openapi check-cuda cuda test-clients test-browser test-backends test-redis test-agent fuzz dist

help:            ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 16

run: build       ## build, start with the default model, and say what to try
	@echo "try: curl -s http://$(HOST):$(PORT)/predict -F image=@models/tabletop/golden/02.png -F 'instruction=take the blue cube'"
	@echo "or open in a browser: http://$(HOST):$(PORT)/ for the policy, http://$(HOST):$(PORT)/scenario for a drive; Ctrl-C ends it"
	@exec target/release/neuro serve --host $(HOST) --port $(PORT) --model $(MODEL) --scenario $(SCENARIO)

build:           ## the release binary, target/release/neuro
	cargo build --release --locked

test:            ## every test that needs nothing but Rust
	@if cargo nextest --version >/dev/null 2>&1; then cargo nextest run --locked --no-fail-fast; else cargo test --locked --no-fail-fast; fi

lint:            ## formatting, clippy with the project's table, licences and unused dependencies
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	@$(MAKE) --no-print-directory lint-deps

lint-deps:       ## cargo-deny and cargo-shear, built once into .ci's cache
	.ci/tools
	@PATH="$$(.ci/tools --path):$$PATH" cargo deny --log-level error check bans licenses sources
	@PATH="$$(.ci/tools --path):$$PATH" cargo shear

bench:           ## the tables of docs/SPECIFICATION.md (full size needs 10 GB of disk, minutes and quiet)
	cargo bench --locked

bench-peers:     ## the same, beside PyTorch, openpi's server, Pillow (by pip into target/peers, 3 GB) and BENCH_VIEWER
	test -x target/peers/bin/python || python3 -m venv target/peers
	target/peers/bin/pip install -q torch numpy safetensors openpi-server==0.1.0 openpi-client==0.1.2 pillow==12.1.1
	BENCH_TORCH_PYTHON=$(CURDIR)/target/peers/bin/python BENCH_OPENPI_PYTHON=$(CURDIR)/target/peers/bin/python \
		cargo bench --locked --bench full_size --bench server --bench image
	target/peers/bin/python benches/peers/pillow_resize.py
	if [ -n "$(BENCH_VIEWER)" ]; then target/peers/bin/pip install -q -r $(BENCH_VIEWER)/backend/requirements.txt; fi
	BENCH_VIEWER_PYTHON=$(CURDIR)/target/peers/bin/python cargo bench --locked --bench scenario

openapi:         ## print the OpenAPI document
	@cargo run --quiet --locked -- openapi

check-cuda:      ## type-check the CUDA build on a machine without CUDA
	.ci/cuda/check

cuda:            ## the CUDA binary, without a GPU (fetches the compiler as Python wheels)
	.ci/cuda/build $(CUDA_TARGET)

test-clients:    ## other people's clients against the built binary (Python)
	@if [ -x tests/clients/run ]; then tests/clients/run; else echo "tests/clients/run is not here"; exit 1; fi

test-redis:      ## events of a fleet in a real Redis (Debian's redis-server)
	@if [ -x tests/redis/run ]; then tests/redis/run; else echo "tests/redis/run is not here"; exit 1; fi

test-browser:    ## the pages in a headless browser
	@if [ -x tests/browser/run ]; then tests/browser/run; else echo "tests/browser/run is not here"; exit 1; fi

test-agent:      ## the node agent with real containers, VMs and microVMs (root, Debian packages)
	tests/agent/run

test-backends:   ## pools of a real Slurm and a real Ray against the built binary (Debian packages, pip)
	tests/backends/run

fuzz:            ## every fuzz target for FUZZ_SECONDS (60) each
	tests/fuzz/run

dist: build      ## neuro-VERSION-TARGET.tar.gz in target/dist
	.ci/dist

# The two commands of a newcomer are `make demo` and `make test`; both install what is missing. `make help` lists the rest.

SHELL := /bin/bash
CARGO_TARGET_DIR ?= $(CURDIR)/target
export CARGO_TARGET_DIR
BACKPLANE := $(CARGO_TARGET_DIR)/debug/backplane
# An access log in combined format; its visitors are dealt to two cities.
LOG ?= examples/portal-log/access-200.log
LISTEN ?= 127.0.0.1:50051
# The sample province: its size, and the seed that makes it.
CUSTOMERS ?= 20000
SEED ?= 1
PYTHON := $(CARGO_TARGET_DIR)/python
BENCH_PYTHON := $(CARGO_TARGET_DIR)/bench-python

.PHONY: help demo demo-check test fuzz power bench check tools toolchain build plugins python clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | expand -t 14

demo: build ## Ingest the sample province and an access log, load two plugins, open the doors, stay in the foreground (CUSTOMERS, SEED, LOG=path, LISTEN=address)
	$(BACKPLANE) demo --customers $(CUSTOMERS) --seed $(SEED) --log $(LOG) --listen $(LISTEN)

demo-check: build ## Run the commands that the demo prints on a small province, and exit
	rm -rf $(CARGO_TARGET_DIR)/demo-check
	$(BACKPLANE) demo --customers 1000 --log $(LOG) --listen 127.0.0.1:0 --dir $(CARGO_TARGET_DIR)/demo-check --check

test: tools check build plugins python ## Everything that CI runs
	cargo test --workspace --no-fail-fast
	cd plugins && CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/plugins cargo test --workspace
	$(MAKE) demo-check

check: toolchain ## Formatting and lints, of the kernel, of the plugins and of the tests' guests
	cargo fmt --all --check
	RUSTC_WORKSPACE_WRAPPER=$(CURDIR)/.ci/lint-driver CLIPPY_ARGS=-Dwarnings__CLIPPY_HACKERY__ cargo build --workspace --all-targets
	cd plugins && cargo fmt --all --check
	cd plugins && CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/plugins cargo clippy --workspace --all-targets -- -D warnings
	cd tests/guests && cargo fmt --all --check
	cd tests/guests && CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/plugins cargo clippy --workspace --all-targets -- -D warnings

bench: build plugins $(BENCH_PYTHON)/ready ## Ratios against peers, side by side in one run (PART=calls, batches, grpc, process, warehouse, feeds, platforms, province, memory, packages, queries or million for one of them)
	cargo bench --profile dev --workspace --bench peers -- $(PART)

fuzz: toolchain ## Random SQL on guarded tables against a copy of what the caller may see: CASES=10000 of them, some eight minutes
	PROPTEST_CASES=$(or $(CASES),10000) cargo test --workspace --test warehouse_services differential

power: build ## Cuts the power at CUTS=2000 moments of a kernel's work, some seven minutes
	POWER_CUTS=$(or $(CUTS),2000) cargo test --workspace --test it power

build: toolchain ## The kernel and the command line
	cargo build --workspace

plugins: build ## The plugins of this repository as .wasm files
	$(BACKPLANE) plugin build plugins/portal-traffic
	$(BACKPLANE) plugin build plugins/package-monitor

# What the tests need of the machine and nothing here installs: said at the start, not after the build.
tools:
	@command -v curl >/dev/null || { echo "curl is missing: install it (Debian: apt-get install curl), then run make" >&2; exit 1; }
	@command -v python3 >/dev/null || { echo "python3 is missing: install it (Debian: apt-get install python3 python3-venv), then run make" >&2; exit 1; }
	@python3 -c 'import venv, ensurepip' 2>/dev/null || { echo "python3 has no venv: install it (Debian: apt-get install python3-venv), then run make" >&2; exit 1; }

# RUSTUP_AUTO_INSTALL=0 and older rustups do not install what rust-toolchain.toml names, so this does.
toolchain:
	@command -v rustup >/dev/null || { echo "rustup is missing: install it from https://rustup.rs, then run make again" >&2; exit 1; }
	@channel=$$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml); \
	rustup run $$channel cargo --version >/dev/null 2>&1 || rustup toolchain install $$channel --profile minimal --component clippy --component rustfmt; \
	rustup target list --toolchain $$channel --installed | grep -qx wasm32-wasip2 || rustup target add --toolchain $$channel wasm32-wasip2; \
	rustup component list --toolchain $$channel --installed | grep -q clippy || rustup component add --toolchain $$channel clippy rustfmt

# Independent clients for the tests, of gRPC and of the tables.
python: $(PYTHON)/ready

$(PYTHON)/ready: tests/python/requirements.txt
	python3 -m venv $(PYTHON)
	$(PYTHON)/bin/python -m pip install --quiet --requirement tests/python/requirements.txt
	touch $@

# The peers of the benchmarks, of other versions than the tests'.
$(BENCH_PYTHON)/ready: tests/bench/requirements.txt
	python3 -m venv $(BENCH_PYTHON)
	$(BENCH_PYTHON)/bin/python -m pip install --quiet --requirement tests/bench/requirements.txt
	touch $@

clean: ## Remove what the demo made
	rm -rf .backplane

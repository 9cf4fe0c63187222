# TeamTalk in Rust. `make help` lists the targets.

CARGO ?= cargo

.PHONY: help run build test check bench bench-reactor fuzz

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

run: build ## build everything, then run a whole cluster in var/ until Ctrl-C
	target/release/teamtalk up

build: ## build everything in release mode
	$(CARGO) build --release --locked

test: ## run all tests
	$(CARGO) test --locked

check: ## formats, lints, documentation, house rules
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps
	$(CARGO) test --locked --test it tidy::

bench: ## run all benchmarks
	$(CARGO) bench --locked

bench-reactor: ## netlib against a plain epoll loop; the last line sums up
	$(CARGO) bench --locked --bench reactor

# Seconds for each fuzz target.
FUZZ_SECONDS ?= 60

fuzz: ## run each fuzz target for FUZZ_SECONDS (needs cargo-fuzz)
	./fuzz/run $(FUZZ_SECONDS)

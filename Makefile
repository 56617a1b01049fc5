# `make demo` needs Rust and a C compiler. `make test` uses more where it is there: see README.md.
.DEFAULT_GOAL := help
SHELL := /bin/bash
CARGO ?= cargo

.PHONY: help demo test test-real pulsar-table crash-matrix simulate check bench fmt

help: ## What there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: ## The whole thing in one command: a broker and a bucket in this process, messages in, an object out
	@$(CARGO) run --quiet --locked -- demo

test: ## Everything in process, then against real Pulsar, a real S3 server and the Lambda emulator
	$(CARGO) test --locked --workspace
	@tests/real/stage

test-real: ## Only what runs against real components
	@REAL=required tests/real/stage

pulsar-table: ## Every kind of message and topic × producing client, on a real broker and on the embedded one
	@tests/real/table

crash-matrix: ## A death at every step × every fault of store, acknowledgement and head × rewinds: in process, then on real components
	@tests/real/matrix

simulate: ## Random histories over a model of broker and bucket: SEED=1 HISTORIES=100000 (a plain test runs 400)
	@SEED=$(or $(SEED),1) HISTORIES=$(or $(HISTORIES),100000) $(CARGO) test --quiet --release --locked --workspace --test simulate histories_lose -- --nocapture

check: ## Formatting, lints, documentation, dependencies
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked --workspace --test real -- -D warnings
	$(CARGO) clippy --locked --package tdmq-backup-handler -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --document-private-items --quiet
	@tests/check-tree

bench: ## Wall time, CPU and memory on a real broker, beside a null drain and the compressor alone
	REAL_BROKER_JAVA= tests/real/run $(CARGO) bench --locked --bench run

fmt: ## Formats everything
	$(CARGO) fmt --all

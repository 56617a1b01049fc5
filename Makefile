# `make demo` needs Rust and a C compiler. `make test` uses more where it is there: see README.md.
.DEFAULT_GOAL := help
SHELL := /bin/bash
CARGO ?= cargo

.PHONY: help demo package watch deploy status logs invoke smoke delete test test-real test-deploy pulsar-table crash-matrix simulate fuzz torture mutants check bench fmt

help: ## What there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: ## The whole thing in one command: a broker and a bucket in this process, messages in, an object out
	@$(CARGO) run --quiet --locked -- demo

package: ## The function's zip in dist/: TARGET=scf or TARGET=lambda, with RULE=rule.toml in it
	@handler/package "$(TARGET)" "$(RULE)"

# From PyPI, below target/.
cargo_lambda = tests/real/components watch >&2 && "$${REAL_DIR:-target/real}/bin/cargo-lambda" lambda
here = --invoke-address 127.0.0.1 --invoke-port "$(or $(PORT),9000)"

watch: ## RULE's function on this machine, under cargo lambda watch, until Ctrl-C; PORT=9000. make invoke TARGET=watch EVENT=file sends it an event
	@TDMQ_BACKUP_RULE="$$(realpath "$(or $(RULE),rule.toml)")" && export TDMQ_BACKUP_RULE && $(cargo_lambda) watch $(here) --locked --package tdmq-backup-handler --bin bootstrap

test: ## Everything in process, then against real Pulsar, a real S3 server and the Lambda emulator
	$(CARGO) test --locked --workspace
	@tests/mutants/run --check
	@tests/real/stage

test-real: ## Only what runs against real components
	@REAL=required tests/real/stage

# The function on a cloud. TARGET=lambda|scf, RULE=rule.toml; the vendors' tools are installed below target/ on first use.
place = --target "$(TARGET)" --rule "$(or $(RULE),rule.toml)" $(if $(REGION),--region "$(REGION)")
cloud = PATH="$$(tests/deploy/tools):$$PATH" $(CARGO) run --quiet --locked --

deploy: $(if $(PACKAGE),,package) ## Makes the function of RULE on TARGET, or edits it. DRY_RUN=1 changes nothing; PACKAGE=, REGION=, CODE_BUCKET=, SET=Parameter=Value
	@$(cloud) deploy $(place) $(if $(PACKAGE),--package "$(PACKAGE)") $(if $(DRY_RUN),--dry-run) $(if $(CODE_BUCKET),--code-bucket "$(CODE_BUCKET)") $(foreach one,$(SET),--set "$(one)")

status: ## All functions that deploy made on TARGET: schedule, last outcome, complete_through, backlog. JSON=1: a line each
	@$(cloud) status $(place) $(if $(JSON),--json)

logs: ## The runs of RULE's function, a row each. FOLLOW=1 goes on; JSON=1: the reports as they are
	@$(cloud) logs $(place) $(if $(FOLLOW),--follow) $(if $(JSON),--json)

invoke: ## Runs RULE's function once on TARGET; EVENT=file, {} by default
ifeq ($(TARGET),watch)
	@$(cargo_lambda) invoke $(here) $(if $(EVENT),--data-file "$(EVENT)",--data-ascii '{}')
else
	@$(cloud) invoke $(place) $(if $(EVENT),--event "$(EVENT)")
endif

# As it was typed, and not as make or another program's environment has it.
ifeq ($(origin SEND),command line)
override export SEND := $(value SEND)
sends = --send="$$SEND"
endif

smoke: ## On a live account, after deploy: a verdict on each fact that only an account shows. SEND=text sends a message to the topic first
	@$(cloud) smoke $(place) $(sends)

delete: ## Removes RULE's function from TARGET; objects and the subscription stay. DRAIN=1 empties the subscription first, UNSUBSCRIBE=1 removes it (asks for its name; CONFIRM=name in scripts); DRY_RUN=1 changes nothing
	@$(cloud) delete $(place) $(if $(DRAIN),--drain) $(if $(UNSUBSCRIBE),--unsubscribe) $(if $(CONFIRM),--confirm "$(CONFIRM)") $(if $(DRY_RUN),--dry-run)

test-deploy: ## Deployment, with the vendors' tools against a fake of both clouds
	@tests/deploy/run

pulsar-table: ## Every kind of message and topic × producing client, on a real broker and on the embedded one
	@tests/real/table

crash-matrix: ## A death at every step × every fault of store, acknowledgement and head × rewinds: in process, then on real components
	@tests/real/matrix

# Each run takes some buffers of a megabyte: kept by the allocator and not given back, a history costs a quarter.
kept = MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=4294967296

simulate: ## Random histories over a model of broker and bucket: SEED=1 HISTORIES=100000 (a plain test runs 400)
	@$(kept) SEED=$(or $(SEED),1) HISTORIES=$(or $(HISTORIES),100000) $(CARGO) test --quiet --release --locked --workspace --test simulate histories_lose -- --nocapture

fuzz: ## Broken bytes into every parser, in millions: INPUTS=1000000 for each, SEED=1; PARSER= and FROM= repeat one
	@SEED=$(or $(SEED),1) INPUTS=$(or $(INPUTS),1000000) $(CARGO) test --quiet --profile fuzz --locked --workspace --test fuzz no_input -- --nocapture

torture: ## The program at real Pulsar and a real store, all of them killed, frozen and cut off at random instants: KILLS=200 SEED=1
	@set -o pipefail; KILLS=$(or $(KILLS),200) SEED=$(SEED) tests/real/run $(CARGO) test --quiet --locked --workspace --test real -- --ignored torture:: --nocapture | sed -unE 's/^torture: //p'

mutants: ## Breaks each promise once in a copy of the sources: the test that it names has to fail then. FILTER=name, a regular expression
	@tests/mutants/run "$(FILTER)"

check: ## Formatting, lints, documentation, dependencies
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked --workspace --test real --test deploy -- -D warnings
	$(CARGO) clippy --locked --package tdmq-backup-handler -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --document-private-items --quiet
	@tests/check-tree
	@tests/check-dependencies

bench: ## Wall time, CPU and memory on a real broker, beside a null drain and the compressor alone
	REAL_BROKER_JAVA= tests/real/run $(CARGO) bench --locked --bench run

fmt: ## Formats everything
	$(CARGO) fmt --all

# One command surface. `make demo` and `make test` are all that a newcomer needs.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Images often set this, and then each of a fleet's processes compiles all that it imports: twice the CPU of its start.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MODULE := src/cellplane/router/envoy/libcellplane_envoy.so
CHECKER := src/cellplane/publishing/cellplane-table-check
CRATE := native/envoy-module
RUST_SOURCES := $(shell find $(CRATE) -path '*/target' -prune -o \( -name '*.rs' -o -name 'Cargo.*' \) -print)
ARGS ?=
# One runs whole fleets, one test after another; more than these would be in its way.
TEST_PROCESSES := 3
# What measures a fleet under load runs by itself.
ALONE := tests/chaos tests/e2e
# The half of a run that nothing was chosen of has not failed.
NONE_CHOSEN := || [ $$? -eq 5 ]

.PHONY: help setup demo test test-long check format wheel bench-router bench-instructions bench-fleet bench-core bench-control bench-sdk bench-events bench-move coverage chaos chaos-events chaos-move fuzz fuzz-api mutate vectors reference lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(VENV)/.installed $(MODULE) $(CHECKER) ## Install locked dependencies into .venv and build the Envoy module

demo: setup ## Run a cell fleet on this machine (ARGS="--router-port 9080 …" to change it)
	@exec $(BIN)/cellplane demo $(ARGS)

test: setup ## Run every test (ARGS="-k name" to choose)
	cargo test --quiet --locked --offline --manifest-path $(CRATE)/Cargo.toml
	$(BIN)/pytest --numprocesses auto --maxprocesses $(TEST_PROCESSES) --dist loadscope -m "not long and not alone" $(ARGS) $(NONE_CHOSEN)
	$(BIN)/pytest -m "alone and not long" $(or $(ARGS),$(ALONE)) $(NONE_CHOSEN)

test-long: setup ## Run the slow tests, which make test leaves out
	$(BIN)/pytest -m long $(ARGS) $(NONE_CHOSEN)
	CELLPLANE_TEST_DEPTH=8 $(BIN)/pytest $(or $(ARGS),tests/property) $(NONE_CHOSEN)

check: setup ## Lint, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=examples $(BIN)/lint-imports
	cargo clippy --quiet --locked --offline --all-targets --manifest-path $(CRATE)/Cargo.toml -- -D warnings
	cargo fmt --check --manifest-path $(CRATE)/Cargo.toml

format: setup ## Rewrite the code in the house format
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	cargo fmt --manifest-path $(CRATE)/Cargo.toml

wheel: setup ## Build a self-contained wheel, with the compiled module, into dist/
	$(BIN)/uv build --quiet --wheel --no-build-isolation --python $(BIN)/python --out-dir dist .
	@ls -1 dist/*.whl

bench-router: setup ## CPU per routed request against the client-named-cluster baseline (needs wrk)
	@failed=0; for part in router traffic kept; do $(BIN)/python bench/$$part.py $(ARGS) || failed=1; done; exit $$failed

bench-instructions: setup ## Where a router's CPU goes, in instructions per request (needs valgrind)
	$(BIN)/python bench/instructions.py $(ARGS)

bench-fleet: setup ## How fast a change is live, and what a dead cell or control plane costs whom
	PYTHONPATH=tests $(BIN)/python bench/fleet.py $(ARGS)

bench-core: setup ## A million tenants: compile, look up, decide, plan; and one change among them, live
	PYTHONPATH=tests $(BIN)/python bench/core.py $(ARGS)

bench-control: setup ## What the control plane takes: reads, writes, an import, a thousand routers (needs wrk)
	PYTHONPATH=tests $(BIN)/python bench/control.py $(ARGS)

bench-events: setup ## Events a second from a cell's outbox to the stream, and what counting them takes
	PYTHONPATH=tests $(BIN)/python bench/events.py $(ARGS)

bench-move: setup ## For how long a moving tenant's writes wait, and a copy of 10,000,000 rows beside a plain COPY
	@failed=0; for part in move move_copy; do PYTHONPATH=tests $(BIN)/python bench/$$part.py $(ARGS) || failed=1; done; exit $$failed

bench-sdk: setup ## What the SDK costs an app: its door by the request, its guards by the transaction, its record of moves
	@failed=0; for part in sdk_middleware sdk_data sdk_moves; do PYTHONPATH=tests $(BIN)/python bench/$$part.py $(ARGS) || failed=1; done; exit $$failed

chaos: setup ## Break fleets under load, held to figures (ARGS="--scenario cell-killed --seed 7 --seconds 30")
	PYTHONPATH=tests $(BIN)/python -m chaos $(ARGS)

chaos-events: setup ## Kill a writer, a relay and a consumer of events; none may be lost (ARGS="--seed 1 --kills 200")
	PYTHONPATH=tests $(BIN)/python -m chaos_events $(ARGS)

chaos-move: setup ## Kill whatever takes part in a move, at each of its points (ARGS="--seed 1 --seeds 20 --point move.fenced --victim router")
	PYTHONPATH=tests $(BIN)/python -m chaos_moves $(ARGS)

fuzz: setup ## A million made-up requests against real routers (ARGS="--seed 2", or "--replay N" for one of them)
	PYTHONPATH=tests $(BIN)/python -m fuzz $(ARGS)

fuzz-api: setup ## Ten minutes of made-up requests against the API's own description (ARGS="--seed 2 --seconds 60")
	PYTHONPATH=tests:examples $(BIN)/python -m fuzz_api $(ARGS)

mutate: setup ## A topology made wrong in a thousand ways: none may serve, and each is an alarm
	PYTHONPATH=tests $(BIN)/python -m mutate $(ARGS)

CORE := model placement routing planning
coverage: setup ## Branch coverage of the pure core, at least 98 %
	$(BIN)/pytest -q --cov-branch $(CORE:%=--cov=cellplane.%) --cov-report=term-missing:skip-covered --cov-fail-under=98 \
	    tests/unit/placement tests/unit/planning tests/unit/routing tests/unit/health tests/unit/manifest \
	    tests/unit/test_model.py tests/unit/test_policy.py tests/conformance $(ARGS)

vectors: setup ## Write the conformance vectors anew from the Python reference
	PYTHONPATH=tests $(BIN)/python -m conformance.generate

reference: setup ## Write docs/reference.md and docs/fleet.schema.json anew from the code
	$(BIN)/python scripts/reference.py
	$(BIN)/python scripts/fleet_schema.py

lock: setup ## Resolve the dependencies anew into requirements/
	scripts/lock $(BIN)/uv

clean: ## Remove what setup, tests and demos made
	rm -rf $(VENV) build dist $(CRATE)/target $(MODULE) $(CHECKER) .cellplane .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.installed: requirements/uv.txt requirements/dev.txt pyproject.toml scripts/preflight
	@scripts/preflight $(PYTHON)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements/dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

$(MODULE) $(CHECKER) &: $(RUST_SOURCES) scripts/build_module
	@scripts/preflight $(PYTHON)
	@scripts/build_module $(MODULE) $(CHECKER)

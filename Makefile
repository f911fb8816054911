# Everything a contributor types. Each target sets up what it needs; setting up again takes no time.
# CI=true turns what would be skipped, for want of Node.js or Chromium, into an error.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SDK := tests/e2e/sdk
PEERS := benchmarks/peers
BENCHMARKS := expansion matching latency events connections stalled restart memory fanout api uploads deliveries triggers

# How many processes run the tests that wait most of their time, for timeouts and elections: more than there are cores.
WAITING := 4

# Modules are compiled once, whatever the environment says: compiling the tests anew takes each of the processes 8 seconds.
export PYTHONDONTWRITEBYTECODE :=

# Stamps: newer than what they were made from when nothing has to be done.
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev
SDK_PACKAGES := $(SDK)/node_modules/.installed
BENCH := $(VENV)/.bench
PEER_PACKAGES := $(PEERS)/node_modules/.installed

.DEFAULT_GOAL := help
.PHONY: help run test test-unit test-cover test-integration test-e2e check fmt bench clean chromium

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(RUNTIME) ## Start everything on this machine: Valkey, hub, API, a page, a project and a key.
	@exec $(BIN)/realtime dev

test: check test-cover test-integration test-e2e ## Run the linters and all tests.

check: $(DEV) ## Run the linters and the type checker.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test-unit: $(DEV) ## Run the tests that need no server: a minute, for while you work.
	$(BIN)/pytest -n auto -m 'not integration and not e2e'

test-cover: $(DEV) ## Run the same, longer, and hold the pure core to full branch coverage.
	$(BIN)/pytest -n auto -m 'not integration and not e2e' --thorough --cov --cov-report=term:skip-covered tests/realtime
	$(BIN)/pytest -n auto -m 'not integration and not e2e' --thorough --ignore tests/realtime

test-integration: $(DEV) ## Run the tests with a real Valkey server and real sockets.
	$(BIN)/pytest -n $(WAITING) --dist loadfile -m integration

test-e2e: $(DEV) $(SDK_PACKAGES) chromium ## Drive real servers with real SDKs and a real browser.
	$(BIN)/pytest -n auto --dist loadfile tests/e2e -rs

fmt: $(DEV) ## Format the code and mend what the linter can.
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

bench: $(BENCH) $(PEER_PACKAGES) ## Measure beside other servers, print tables, draw the picture: 15 minutes.
	@for benchmark in $(BENCHMARKS); do \
		echo "== $$benchmark" >&2; $(BIN)/python -m benchmarks.$$benchmark || exit 1; \
	done
	@$(BIN)/python -m benchmarks.picture

clean: ## Remove what these targets made, but not the data of `make run`.
	rm -rf $(VENV) $(SDK)/node_modules $(PEERS)/node_modules tests/e2e/screenshots
	find . -name __pycache__ -prune -exec rm -rf {} +
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

$(BIN)/python:
	@echo "Making a virtual environment in $(VENV), once"
	scripts/make-venv $(PYTHON) $(VENV)

$(RUNTIME): pyproject.toml | $(BIN)/python
	@echo "Installing what realtime needs: about a minute, once"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(DEV): pyproject.toml | $(BIN)/python
	@echo "Installing what realtime and its tests need: a minute or two, once"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
	@touch $@ $(RUNTIME)

# Servers to compare with. What cannot be installed is missing from the tables, which say so; the next run tries again.
$(BENCH): pyproject.toml | $(DEV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group bench && touch $@ \
		|| echo "bench: some peers in Python could not be installed" >&2

$(PEER_PACKAGES): $(PEERS)/package.json
	@cd $(PEERS) && npm install --no-package-lock --ignore-scripts --no-audit --no-fund --loglevel=error \
		&& touch node_modules/.installed || echo "bench: Bun and ws could not be installed; is npm there?" >&2

# The stamp stays away when Node.js is missing, so that the next run looks again.
$(SDK_PACKAGES): $(SDK)/package.json $(wildcard $(SDK)/stand-ins/*/*)
	@scripts/install-sdks $(SDK)

chromium:
	@scripts/ensure-chromium

# Each target works on a fresh machine: it installs what it needs into .venv (Python) and, for the tests, from Debian.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
EXTRAS := advisor,postgres,kubernetes,demo,dashboards,dev
DEBIAN := haproxy nginx-light wrk prometheus chromium postgresql
SOURCES := advisor exporters dashboards helm tests

.PHONY: help demo test check bench format dashboards system clean

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 20

$(VENV)/.all: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, found " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (a minute or two, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS)]'
	@touch $@

# The demo needs neither the test tools nor Debian packages.
$(VENV)/.demo: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, found " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (a minute or two, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[advisor,demo]'
	@touch $@

demo: $(VENV)/.demo ## example model, sidecar and advisor; a short capacity, spike and soak test (DEMO_EXIT=1 ends after it)
	@$(BIN)/capacity-advisor demo $(if $(DEMO_EXIT),--exit,)

system: ## Debian packages that the tests and the benchmarks start
	@missing=(); for p in $(DEBIAN); do dpkg -s "$$p" >/dev/null 2>&1 || missing+=("$$p"); done; \
	command -v npm >/dev/null || missing+=(nodejs npm); \
	if [ $${#missing[@]} -gt 0 ]; then \
	  echo "Installing from Debian: $${missing[*]}"; \
	  sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	  $$sudo apt-get update -qq; \
	  $$sudo env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "$${missing[@]}" >/dev/null; \
	fi

# Most tests wait for servers: three at a time still leave the processors idle.
test: system $(VENV)/.all ## everything the tests need, then all tests
	@$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

check: $(VENV)/.all ## format, lint, types, layers
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: $(VENV)/.all ## rewrite the sources in the one format
	@$(BIN)/ruff format $(SOURCES)
	@$(BIN)/ruff check --fix $(SOURCES)

bench: system $(VENV)/.all ## the numbers of the design, as ratios measured side by side (writes docs/benchmarks.md)
	@$(BIN)/python -m tests.bench

dashboards: $(VENV)/.all ## dashboards/json and rules from their Python
	@$(BIN)/python -m dashboards

clean: ## remove what make made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .demo

# Manna Sync: the commands. `make help` lists them.
PYTHON ?= python3
# A second Python beside the first: make test PYTHON=python3.13 VENV=.venv-3.13
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PEERS_READY := .venv-bench/.ready
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo up test check format lock bench clean

help: ## list the commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# The lock lists names, versions and hashes; pip installs nothing that does not match.
$(READY): locks/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Manna Sync needs Python 3.11 or newer; $$($(PYTHON) --version 2>&1) was found. Name one: make PYTHON=/path/to/python3.13 $(MAKECMDGOALS)"; exit 1; }
	@echo "Setting up $(VENV) (once, about half a minute)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# The peers that the benchmark measures live apart, so that none of their dependencies touches ours.
$(PEERS_READY): locks/bench.txt
	@echo "Setting up .venv-bench with the peers (once, about a minute)"
	@$(PYTHON) -m venv --clear .venv-bench
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/bench.txt
	@touch $@

demo: $(READY) ## sync 60 sample Items end to end on real servers and compare every row (ARGS=--help)
	@$(BIN)/manna demo $(ARGS)

up: $(READY) ## run the whole stack until Ctrl-C and print its addresses
	@$(BIN)/manna up $(ARGS)

test: $(READY) ## run the whole test suite on real servers (ARGS passes on to pytest)
	@$(BIN)/python -m pytest $(ARGS)

check: $(READY) ## format, lint, types, import contracts, shape
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m scripts.check_shape

format: $(READY) ## format and mend what can be mended
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: $(READY) ## renew the locks from pyproject.toml
	@$(BIN)/python -m scripts.lock

bench: $(READY) $(PEERS_READY) ## measure against the limit and the peers into benchmarks/RESULTS.md (ARGS=--quick, --help)
	@$(BIN)/python -m benchmarks $(ARGS)

clean: ## remove the virtual environment and the caches
	@rm -rf $(VENV) .venv-bench .mypy_cache .ruff_cache .pytest_cache .hypothesis

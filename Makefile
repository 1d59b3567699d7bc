# Two commands matter: `make dev` runs everything, `make test` sets up and passes the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv
REQUIREMENTS := deploy/requirements
NPM := tests/clients
SHARED_FLAGS := --generate-hashes --no-emit-index-url --universal --python-version 3.11 --no-header --no-annotate
ARGS ?=

.PHONY: dev test check bench setup setup-clients setup-chart lock format clean

dev: $(VENV)/.ready
	@exec $(BIN)/scaimcp dev $(ARGS)

test: setup setup-clients setup-chart
	@$(BIN)/python -m tests.run all

check: setup
	@$(BIN)/python -m tests.run quick

bench: setup
	@$(BIN)/python -m bench $(ARGS)

setup: $(VENV)/.ready
setup-clients: $(NPM)/node_modules/.ready
setup-chart: $(VENV)/chart/.ready

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "ScaiMCP needs Python 3.11 or newer; set PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/.ready: $(REQUIREMENTS)/dev.txt pyproject.toml | $(BIN)/uv
	@$(UV) pip sync --quiet --require-hashes $(REQUIREMENTS)/dev.txt
	@$(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/chart/.ready: $(REQUIREMENTS)/chart.txt | $(BIN)/uv
	@$(PYTHON) -m venv --without-pip $(VENV)/chart
	@VIRTUAL_ENV=$(CURDIR)/$(VENV)/chart $(BIN)/uv pip sync --quiet --require-hashes $(REQUIREMENTS)/chart.txt
	@touch $@

$(NPM)/node_modules/.ready: $(NPM)/package-lock.json
	@npm ci --prefix $(NPM) --cache .npm-cache --no-audit --no-fund --silent
	@touch $@

lock: | $(BIN)/uv
	@$(UV) pip compile --quiet $(SHARED_FLAGS) pyproject.toml -o $(REQUIREMENTS)/runtime.txt
	@$(UV) pip compile --quiet $(SHARED_FLAGS) pyproject.toml --group dev -o $(REQUIREMENTS)/dev.txt
	@$(UV) pip compile --quiet $(SHARED_FLAGS) --group chart -o $(REQUIREMENTS)/chart.txt

format: setup
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format --quiet .

clean:
	rm -rf $(VENV) $(NPM)/node_modules .npm-cache .mypy_cache .ruff_cache .coverage*

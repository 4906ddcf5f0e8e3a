# The vocabulary of the project. `make run` and `make test` need Python >= 3.11 and make, no more:
# what they stand on is installed into .venv the first time, and again when pyproject.toml changes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PEERS := .venv-peers
INSTALLED := $(VENV)/.installed
PIP_OPTIONS := --quiet --disable-pip-version-check --retries 5 --timeout 60
WORKERS ?= 4
MODE ?= on_read
EFFORT ?= 20
TESTS := $(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help setup run test test-all format lint types scenarios golden soak \
        docs docs-check wheel-smoke bench bench-peers check clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: $(INSTALLED) ## create .venv and install everything into it

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		version=$$(command -v $(PYTHON) >/dev/null && $(PYTHON) --version 2>&1 || echo "not there"); \
		echo "varsim needs Python 3.11 or newer, and $(PYTHON) is $$version." \
			"Name another: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot create environments: install its venv module" \
			"(Debian, Ubuntu: apt install python3-venv)." >&2; exit 1; }
	@$(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	@echo "installing varsim and its tools into $(VENV), once"
	@$(BIN)/python -m pip install $(PIP_OPTIONS) --editable '.[dev]'
	@$(BIN)/python -m compileall -q varsim workers
	@touch $@

run: $(INSTALLED) ## train on handwritten digits with four workers (WORKERS=, MODE=)
	$(BIN)/varsim run --workers $(WORKERS) --mode $(MODE)

test: $(INSTALLED) ## all tests but the slow ones
	$(TESTS) -m "not slow"

test-all: $(INSTALLED) ## all tests
	$(TESTS)

format: $(INSTALLED) ## lay out the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only --quiet .

lint: $(INSTALLED) ## layout and rules of style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(INSTALLED) ## mypy, strict
	$(BIN)/mypy

scenarios: $(INSTALLED) ## rewrite the expected parts of the golden scenarios; review the diff
	$(BIN)/python -m varsim.testing.scenario --rewrite tests/scenarios

golden: $(INSTALLED) ## compare with recorded TensorFlow results; prints the counts by class and rule
	$(BIN)/pytest -q -s tests/golden

soak: $(INSTALLED) ## random programs, message orders and damages, EFFORT times as many as a test run has
	VARSIM_TEST_EFFORT=$(EFFORT) $(TESTS) -q --timeout 0 tests/properties tests/testing \
		tests/analysis

docs: $(INSTALLED) ## rewrite the generated parts of the documents
	$(BIN)/python -m docs.generate

docs-check: $(INSTALLED)
	$(BIN)/python -m docs.generate --check

wheel-smoke: $(INSTALLED) ## build, install in a fresh environment outside the checkout, and run
	@set -eu; there=$$(mktemp -d); trap 'rm -rf "$$there"' EXIT; set -x; \
	$(BIN)/python -m build --outdir "$$there/dist" . >"$$there/build.log" 2>&1 \
		|| { cat "$$there/build.log"; exit 1; }; \
	$(BIN)/python -m venv "$$there/venv"; \
	"$$there/venv/bin/python" -m pip install $(PIP_OPTIONS) "$$there"/dist/*.whl; \
	cd "$$there"; \
	venv/bin/varsim run --workers 2 --mode on_read --json >summary.json; \
	venv/bin/python -c 'import json; json.load(open("summary.json"))'; \
	set +x; echo "wheel-smoke: the wheel installs and runs outside the checkout"

bench: $(INSTALLED) ## measure varsim beside its peers, and keep the results (nine minutes at most)
	@set -eu; for question in startup step scalars digits reads scale busy tracing history; do \
		echo "== $$question"; $(BIN)/python -m benchmarks.$$question --keep; done

bench-peers: $(PEERS)/.installed ## install what the benchmarks compare varsim with, once

$(PEERS)/.installed: benchmarks/peers/requirements.txt
	@$(PEERS)/bin/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(PEERS)
	@echo "installing PyTorch, TensorFlow and mpi4py into $(PEERS), once (2 GB and more)"
	@$(PEERS)/bin/python -m pip install $(PIP_OPTIONS) --requirement $<
	@command -v mpirun >/dev/null || echo \
		"Open MPI stays out: there is no mpirun (Debian, Ubuntu: apt install openmpi-bin)."
	@touch $@

check: lint types docs-check test wheel-smoke ## what .ci/run runs

clean: ## remove what the other targets made
	rm -rf $(VENV) build dist runs .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find . -maxdepth 1 -name '.coverage*' -type f -delete

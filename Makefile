# The commands of the project. `make run` and `make test` need only Python >= 3.11 and make: their
# packages are installed into .venv the first time, and again when locks/newest.txt or pyproject.toml
# changes. Tools are called as modules: a console script has the path of its Python in its first
# line, which may fail for a path that is very long or contains a blank.

PYTHON ?= python3
PYTHON_LOWEST ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
LOWEST := .venv-lowest
LOCKER := .venv-locker
PEERS := .venv-peers
INSTALLED := $(VENV)/.installed
PIP_OPTIONS := --quiet --disable-pip-version-check --retries 5 --timeout 60
WORKERS ?= 4
MODE ?= on_read
EFFORT ?= 20
FUZZ ?= 100000
SECONDS ?= 600
INTERRUPTS ?= 167
TRACED ?= 4# under coverage, the deadlines of tests are this many times longer
PYTEST_PARALLEL := --numprocesses auto --maxprocesses 4 --dist worksteal
TESTS := $(BIN)/python -m pytest $(PYTEST_PARALLEL)
USUAL := not slow and not thorough and not hosts

# Create the environment (1) with the Python (2), and install exactly the packages of the lock (3).
define install_locked
	@"$(2)" -m venv --clear $(1)
	@$(1)/bin/python -m pip install $(PIP_OPTIONS) --no-deps --no-compile --require-hashes --requirement $(3)
	@$(1)/bin/python -m compileall -q -j 0 $(1)/lib
endef
# varsim itself, from this checkout, built with the locked build tools.
define install_varsim
	@$(1)/bin/python -m pip install $(PIP_OPTIONS) --no-deps --no-build-isolation --editable .
	@touch $@
endef

# Tests start many processes. Without files of bytecode, each process would compile all its modules.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup run test quick test-all test-lowest coverage format lint types scenarios golden test-random soak \
        fuzz interrupts docs docs-check site-check transcripts browser notebook ray screenshots test-thorough test-hosts wheel-smoke install-smoke bench bench-peers check lock upgrade clean

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: $(INSTALLED) ## create .venv, and install the packages of locks/newest.txt
	@echo "$(VENV) has the locked releases"

$(VENV)/.locked: locks/newest.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		version=$$(command -v "$(PYTHON)" >/dev/null && "$(PYTHON)" --version 2>&1 || echo "not installed"); \
		echo "varsim needs Python 3.11 or newer, and $(PYTHON) is $$version." \
			"Give another one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) cannot create environments: install its venv module" \
			"(Debian, Ubuntu: apt install python3-venv)." >&2; exit 1; }
	@echo "installing varsim and its tools into $(VENV), once"
	$(call install_locked,$(VENV),$(PYTHON),$<)
	@touch $@

$(INSTALLED): pyproject.toml $(VENV)/.locked
	$(call install_varsim,$(VENV))
	@$(BIN)/python -m compileall -q varsim workers
	@echo "installed; for the command varsim in this shell: . $(BIN)/activate"

run: $(INSTALLED) ## train on handwritten digits with four workers (WORKERS=, MODE=)
	$(BIN)/python -m varsim run --workers $(WORKERS) --mode $(MODE)

test: $(INSTALLED) ## run the usual tests, in less than two minutes on two cores
	$(TESTS) -m "$(USUAL)"

quick: $(INSTALLED) ## test pure states, scenarios and documents, in seconds; use it after every edit
	$(TESTS) -q -m "not slow and not processes" tests/scenarios tests/sync tests/protocol \
		tests/distribute tests/test_docs.py

test-all: $(INSTALLED) ## run all tests
	$(TESTS)

test-lowest: $(LOWEST)/.installed ## run the tests with the oldest releases that pyproject.toml allows
	$(LOWEST)/bin/python -m pytest $(PYTEST_PARALLEL) -m "$(USUAL)"

$(LOWEST)/.installed: pyproject.toml locks/lowest.txt
	@"$(PYTHON_LOWEST)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { \
		echo "the oldest releases have wheels for Python 3.11 only, and $(PYTHON_LOWEST) is not a Python 3.11." \
			"Give one: make test-lowest PYTHON_LOWEST=/path/to/python3.11" >&2; exit 1; }
	@echo "installing the oldest releases that varsim allows into $(LOWEST), once"
	$(call install_locked,$(LOWEST),$(PYTHON_LOWEST),locks/lowest.txt)
	$(call install_varsim,$(LOWEST))

coverage: $(INSTALLED) ## measure test coverage, also in worker processes; fail below the limit
	$(BIN)/python -m coverage erase
	VARSIM_TEST_TIME_FACTOR=$(TRACED) $(BIN)/python -m coverage run -m pytest $(PYTEST_PARALLEL) \
		-m "$(USUAL)" --timeout 300
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

lock: $(INSTALLED) ## lock the packages that pyproject.toml needs; keep the pins that still fit
	@$(PYTHON) -m venv --clear $(LOCKER)
	@$(LOCKER)/bin/python -m pip install $(PIP_OPTIONS) uv
	@$(BIN)/python -m locks.relock --keep --uv $(LOCKER)/bin/uv

upgrade: $(INSTALLED) ## lock the newest releases, install them, check, and show what changed
	@$(PYTHON) -m venv --clear $(LOCKER)
	@$(LOCKER)/bin/python -m pip install $(PIP_OPTIONS) uv
	@$(BIN)/python -m locks.relock --uv $(LOCKER)/bin/uv >$(LOCKER)/changes
	@$(MAKE) setup
	$(BIN)/python -m docs.generate --no-runs
	$(BIN)/python -m varsim schema >configs/experiment.schema.json
	@$(MAKE) check test-lowest; status=$$?; cat $(LOCKER)/changes; git diff --stat; exit $$status

format: $(INSTALLED) ## format the code
	$(BIN)/python -m ruff format .
	$(BIN)/python -m ruff check --fix-only --quiet .

lint: $(INSTALLED) ## check layout, style and the contracts of imports
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m ruff check .
	$(BIN)/python -c 'from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))'

types: $(INSTALLED) ## check types by mypy (strict): of the project, and of users' programs
	$(BIN)/python -m mypy
	$(BIN)/python -m mypy --config-file typing_tests/mypy.ini typing_tests

scenarios: $(INSTALLED) ## rewrite the expected parts of the golden scenarios; review the diff
	$(BIN)/python -m tests.scenarios.scenario --rewrite tests/scenarios

golden: $(INSTALLED) ## compare with recorded results of TensorFlow; print counts by class and rule
	$(BIN)/python -m tests.golden
	$(TESTS) -q tests/golden --deselect \
		tests/golden/test_golden.py::test_every_case_is_the_same_or_different_on_purpose

test-thorough: $(INSTALLED) ## run the tests that `make test` leaves out and `make check` runs
	$(TESTS) -q -m "thorough and not hosts"

test-hosts: $(INSTALLED) ## run the tests on several hosts, which are network namespaces (needs Linux and root)
	VARSIM_TEST_HOSTS=required $(TESTS) -m hosts tests/hosts

test-random: $(INSTALLED) ## test EFFORT times as many random programs, message orders and faults as usual
	VARSIM_TEST_EFFORT=$(EFFORT) $(TESTS) -q --timeout 0 tests/properties tests/seeded tests/testing \
		tests/analysis tests/damage tests/processes/test_torn_operations.py

browser: $(INSTALLED) ## install Playwright; the tests of reports also need Chromium from the system
	@$(BIN)/python -m pip install $(PIP_OPTIONS) --requirement tests/webpage/requirements.txt
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || echo \
		"Chromium is not installed (Debian, Ubuntu: apt-get install chromium)."

notebook: $(INSTALLED) ## install a kernel of IPython, for the tests of notebooks
	@$(BIN)/python -m pip install $(PIP_OPTIONS) --requirement tests/notebook/requirements.txt

ray: $(INSTALLED) ## install Ray (500 MB), for the tests of its launcher on several hosts
	@$(BIN)/python -m pip install $(PIP_OPTIONS) --requirement tests/hosts/requirements.txt

screenshots: browser notebook ## make the pictures of reports in docs/screenshots
	$(BIN)/python -m docs.screenshots

soak: $(INSTALLED) ## run programs with random faults on real workers for SECONDS; prints the numbers
	$(BIN)/python -m tests.soak --seconds $(SECONDS)

# A million frames, FUZZ messages for each state, 1,000 histories and 500 YAML files.
fuzz: $(INSTALLED) ## hostile frames, messages, histories and YAML; prints counts, times and memory
	$(BIN)/python -m tests.fuzzing frames 1000000
	$(BIN)/python -m tests.fuzzing states $(FUZZ)
	$(BIN)/python -m tests.damage histories 1000
	$(BIN)/python -m tests.damage experiments 500

interrupts: $(INSTALLED) ## Ctrl-C in 20,000 operations and in 500 runs, at random times; prints the counts
	VARSIM_TEST_EFFORT=$(INTERRUPTS) $(BIN)/python -m pytest -q -s --timeout 0 -k sigint \
		tests/processes/test_torn_operations.py tests/cli/test_interrupted_runs.py

docs: $(INSTALLED) ## renew the documents and build the site, site/index.html (MEASURE=--measure: new times, too)
	$(BIN)/python -m docs.generate $(MEASURE)
	$(BIN)/python -m docs.site

transcripts: $(INSTALLED) ## run the commands of the lessons and of docs/first-hour.md, and renew what they print
	$(BIN)/python -m docs.transcripts

docs-check: $(INSTALLED)
	$(BIN)/python -m docs.generate --check

site-check: $(INSTALLED)
	$(BIN)/python -m docs.site --check

# The wheel allows a range of releases for each package. This check installs the locked releases, so
# that a new release does not make it fail. `make upgrade` and `make test-lowest` try the newest and
# the oldest releases.
wheel-smoke: $(INSTALLED) ## build a wheel, install it in a new environment, and run varsim there
	@set -eu; there=$$(mktemp -d); trap 'rm -rf "$$there"' EXIT; set -x; \
	$(BIN)/python -m locks.installed --pins >"$$there/pins.txt"; \
	$(BIN)/python -m build --no-isolation --outdir "$$there/dist" . >"$$there/build.log" 2>&1 \
		|| { cat "$$there/build.log"; exit 1; }; \
	$(BIN)/python -m venv "$$there/venv"; \
	"$$there/venv/bin/python" -m pip install $(PIP_OPTIONS) \
		--constraint "$$there/pins.txt" "$$there"/dist/*.whl; \
	cd "$$there"; \
	venv/bin/python -m varsim run --workers 2 --mode on_read --json >summary.json; \
	venv/bin/python -c 'import json; json.load(open("summary.json"))'; \
	set +x; echo "wheel-smoke: the wheel installs and runs outside the checkout"

# The installation into a user's own environment: from the checkout, with pip alone. The build folder
# in the checkout is removed: otherwise the next build would include files that no longer exist.
install-smoke: $(INSTALLED) ## install the checkout into another environment by pip, and run varsim
	@set -eu; there=$$(mktemp -d); here="$$PWD"; trap 'rm -rf "$$there" "$$here/build"' EXIT; set -x; \
	$(BIN)/python -m locks.installed --pins >"$$there/pins.txt"; \
	$(BIN)/python -m venv "$$there/theirs"; \
	PIP_CONSTRAINT="$$there/pins.txt" "$$there/theirs/bin/python" -m pip install $(PIP_OPTIONS) "$$here"; \
	cd "$$there"; \
	theirs/bin/python -c 'import varsim as tf; assert "theirs" in tf.__file__, tf.__file__'; \
	theirs/bin/varsim run --workers 2 --quiet; \
	theirs/bin/python -m varsim check; \
	set +x; echo "install-smoke: varsim runs in another environment"

bench: $(INSTALLED) ## measure varsim beside its peers, and keep the results (twelve minutes at most)
	@set -eu; for question in startup step scalars digits reads scale busy tracing history tcp ssp; do \
		echo "== $$question"; $(BIN)/python -m benchmarks.$$question --keep; done

bench-peers: $(PEERS)/.installed ## install the systems with which the benchmarks compare varsim, once

$(PEERS)/.installed: benchmarks/peers/requirements.txt
	@$(PEERS)/bin/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(PEERS)
	@echo "installing PyTorch, TensorFlow and mpi4py into $(PEERS), once (2 GB and more)"
	@$(PEERS)/bin/python -m pip install $(PIP_OPTIONS) --requirement $<
	@command -v mpirun >/dev/null || echo \
		"Open MPI is left out: mpirun is not installed (Debian, Ubuntu: apt install openmpi-bin)."
	@touch $@

check: lint types docs-check site-check test test-thorough wheel-smoke install-smoke ## run the checks of .ci/run

clean: ## remove everything that the other targets made
	rm -rf $(VENV) $(LOWEST) $(LOCKER) build dist runs site .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find . -maxdepth 1 -name '.coverage*' -type f -delete

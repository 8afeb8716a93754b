# make demo    train the small net, eager and compiled
# make test    run every test
# make lint    ruff and mypy
# make bench   time sley against torch, jax, onnxruntime and numpy where these are installed
#
# Each target makes the virtual environment .venv first when it is missing, or older than
# pyproject.toml. Another Python: make test PYTHON=python3.13. Some tests: make test TESTS=tests/ir.

PYTHON ?= python3
TESTS ?= tests
PYTEST_FLAGS ?= -n 2 --dist worksteal
BENCH_FLAGS ?= --output benchmarks/results/latest.json

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test lint bench bench-extras clean force

demo: $(VENV)/installed
	$(BIN)/sley demo

test: $(VENV)/installed-test
	$(BIN)/pytest $(PYTEST_FLAGS) $(TESTS)

# mypy wants a folder named as the package, and the root has whatever name it has. The examples are
# checked as the user's code is: against the package with its stubs beside it, as in a wheel.
lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@mkdir -p $(VENV)/typecheck && ln -sfn ../.. $(VENV)/typecheck/sley
	cd $(VENV)/typecheck && ../bin/mypy --config-file sley/pyproject.toml \
	    --cache-dir ../../.mypy_cache -p sley
	@rm -rf $(VENV)/installed-as/sley && mkdir -p $(VENV)/installed-as/sley
	@ln -s $(CURDIR)/* $(CURDIR)/stubs/* $(VENV)/installed-as/sley
	cd $(VENV)/installed-as && ../bin/mypy --config-file sley/pyproject.toml \
	    --cache-dir ../../.mypy_cache/examples sley/examples/tutorials/*.py

bench: $(VENV)/installed
	$(BIN)/python -m benchmarks $(BENCH_FLAGS)
	$(BIN)/python -m benchmarks.tables

bench-extras: $(VENV)/installed
	$(PIP) install --editable '.[bench]'

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The environment holds absolute paths: in a copied or moved folder it is made anew.
MADE_IN := $(shell cat $(VENV)/made-in 2>/dev/null)
ifneq ($(MADE_IN),$(CURDIR))
$(VENV)/made-in: force
endif

$(VENV)/made-in:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "sley needs Python 3.11 or later: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(if $(MADE_IN),--clear) $(VENV)
	@echo '$(CURDIR)' > $@

$(VENV)/installed: $(VENV)/made-in pyproject.toml
	$(PIP) install --editable .
	@touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(PIP) install --editable '.[test]'
	@touch $@

# make run: the demo server. make test: everything that CI asks. make bench: docs/performance.md's tables.
# Each sets up .venv by itself.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check -q
ARGS ?=

.PHONY: run test lint types tests bench clean

run: $(VENV)/run.stamp
	@exec $(BIN)/twistd -n --pidfile= mailkit $(ARGS)

test: lint types tests

lint: $(VENV)/test.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/test.stamp
	$(BIN)/mypy

tests: $(VENV)/test.stamp
	$(BIN)/pytest $(ARGS)

bench: $(VENV)/test.stamp
	@$(BIN)/python -m bench $(ARGS)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: $(VENV)/bin/python setup.cfg pyproject.toml
	$(PIP) install -e .
	@touch $@

$(VENV)/test.stamp: $(VENV)/run.stamp $(wildcard plugins/*/setup.cfg)
	$(PIP) install -e '.[test,dev]' 'setuptools>=77'
	$(foreach plugin,$(wildcard plugins/*/setup.cfg),$(PIP) install --no-deps --no-build-isolation -e $(dir $(plugin)) &&) true
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info plugins/*/*.egg-info .mypy_cache .ruff_cache .hypothesis

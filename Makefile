# Everything runs in a virtual environment of its own, made on first use from pinned versions.
PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
BIN = $(VENV)/bin
LONG = tests/data/test_tales.py tests/training/test_compiled_cache.py tests/nn tests/integrations
READY = $(VENV)/.ready
TOOLS = build/tools

.PHONY: demo test faults check check-style types format results site package extras clean

demo: $(READY)            ## train the default model for about a minute and let it write
	$(BIN)/aeattn train tales --minutes 1 --batch 8

test: $(READY)            ## the whole test suite, on all cores
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

faults: $(READY)          ## every fault of tests/faults and what else takes long; writes results/faults.json
	AEATTN_FAULTS=full $(BIN)/python -m pytest tests/faults $(LONG)
	$(BIN)/python -m aeattn.benchmarks.records --tables

check: check-style test   ## formatter, linter, types and tests, warnings as errors

check-style: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

types: $(READY)           ## types as users of the package see them, by pyright
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pyright
	$(BIN)/python -m pytest tests/packaging/test_types.py

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

results: $(READY)         ## train the recorded runs again (hours) and write results/
	$(BIN)/python -m aeattn.benchmarks.records

site: $(READY)            ## the documents as a site in ./site, links checked, without any network
	$(BIN)/python tools/site.py

package:                  ## wheel and source distribution in ./dist, built in isolation and checked
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check build twine
	rm -rf dist
	$(TOOLS)/bin/python -m build
	$(TOOLS)/bin/python -m twine check --strict dist/*

extras:                   ## each extra of the wheel in ./dist by itself in a fresh environment, and a command that needs it
	$(PYTHON) tools/extras.py

$(READY): pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "aeattn needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check --constraint $(CONSTRAINTS) --editable '.[dev]'
	@# pip compiles on one core, and what hardly anyone imports: tests of other packages, hundreds of model families;
	@# a file that this Python cannot parse, as PyTorch has one, is left to whoever imports it
	@$(BIN)/python -m compileall -qq -j 0 -x '/(tests|transformers/models)/' $(VENV)/lib || true
	touch $@

clean:
	rm -rf $(VENV) build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis

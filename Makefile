# Everything runs in a virtual environment of its own, made on first use from pinned versions.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
LONG = tests/data/test_tales.py tests/training/test_compiled_cache.py tests/nn tests/integrations
READY = $(VENV)/.ready

.PHONY: demo test faults check check-style format results site clean

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

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

results: $(READY)         ## train the recorded runs again (hours) and write results/
	$(BIN)/python -m aeattn.benchmarks.records

site: $(READY)            ## the documents as a site in ./site, links checked, without any network
	$(BIN)/python tools/site.py

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "aeattn needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis

# Two commands on a fresh machine: `make reproduce` and `make test`. `make` alone lists the rest.
PYTHON ?= python3
SCALE ?= default
WORKERS ?= 2
SECONDS ?= 600
SITE ?= paper.yaml
ARGS ?=
BIN := .venv/bin
FLOW = flows/reproduce.py:$(shell echo $(SCALE) | tr a-z A-Z)
OUT = runs/$(SCALE)

.DEFAULT_GOAL := help
.PHONY: help install format lint types arch check test test-all chaos fuzz bench reproduce reproduce-paper report clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | expand -t 17

install: .venv/.dev ## build the environment with everything in it

.venv/.curate: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[curate]'
	touch $@

.venv/.dev: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch .venv/.curate $@

.venv/.fuzz: .venv/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[fuzz]'
	touch $@

format: .venv/.dev ## format the code
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

lint: .venv/.dev ## check style
	$(BIN)/ruff format --check . && $(BIN)/ruff check .

types: .venv/.dev ## check types
	$(BIN)/mypy

arch: .venv/.dev ## check who imports whom
	$(BIN)/lint-imports

check: lint types arch ## lint, types and arch

test: .venv/.dev ## run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --max-worker-restart 0 -m "not slow and not gpu and not weights and not data"

test-all: .venv/.dev ## run the slow tests as well
	$(BIN)/python -m pytest -n 2 --dist loadfile --max-worker-restart 0 -m "not gpu and not weights and not data"

chaos: .venv/.dev ## try kills, full disks, rivals and damage; prints a table
	$(BIN)/python -m pytest tests/chaos -m chaos

fuzz: .venv/.fuzz ## feed dictionaries and sidecars whatever crashes them, SECONDS=600 each
	for target in dictionary sidecars; do \
		PYTHONPATH=.:tests/cases $(BIN)/python tests/fuzz/$$target.py -max_total_time=$(SECONDS) || exit 1; \
	done

bench: .venv/.dev ## measure speed, side by side
	for script in tests/benchmarks/[a-z]*.py; do $(BIN)/python $$script || exit 1; done

reproduce: .venv/.curate ## the whole system on the miniature world; SCALE=smoke|default|full
	$(BIN)/scf run $(FLOW) --workers $(WORKERS) --out $(OUT)

reproduce-paper: .venv/.curate ## the paper on real datasets, models and GPUs, told by SITE=paper.yaml; ARGS=--dry-run looks
	$(BIN)/scf run flows/paper.py:PAPER --site $(SITE) --workers $(WORKERS) --out runs/paper $(ARGS)

report: .venv/.curate ## write the report of what lies in runs/ for SCALE
	$(BIN)/scf report $(OUT)

clean: ## remove what `make` built and `make reproduce` wrote
	rm -rf .venv build runs *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# Two commands on a fresh machine: `make reproduce` and `make test`. `make` alone lists the rest.
PYTHON ?= python3
LAVIS_PYTHON ?= python3.11
SCALE ?= default
WORKERS ?= 2
SECONDS ?= 600
SITE ?= paper.yaml
ARGS ?=
BIN := .venv/bin
LAVIS := .venv-lavis
FLOW = flows/reproduce.py:$(shell echo $(SCALE) | tr a-z A-Z)
OUT = runs/$(SCALE)

.DEFAULT_GOAL := help
.PHONY: help install format lint types arch check test test-all chaos fuzz bench lavis-env reproduce reproduce-paper report clean

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

lavis-env: $(LAVIS)/.built ## build LAVIS an environment of its own, for --model blip2_lavis:...; 2 GB

# LAVIS wants a transformers of early 2023, so a tokenizers that has no wheel for Python 3.12. What
# it declares does not import without a GPU, hence --no-deps; of torchvision it uses transforms, and
# 0.16.2 is the last that imports beside another torch.
LAVIS_PIP = $(LAVIS)/bin/python -m pip install --quiet --disable-pip-version-check
$(LAVIS)/.built:
	$(LAVIS_PYTHON) -m venv --clear $(LAVIS)
	$(LAVIS_PIP) torch==2.13.0 "setuptools<81" wheel
	$(LAVIS_PIP) --no-deps torchvision==0.16.2 salesforce-lavis==1.0.2 timm==0.4.12
	$(LAVIS_PIP) --no-deps --no-build-isolation fairscale==0.4.4 pycocoevalcap==1.2
	$(LAVIS_PIP) transformers==4.26.1 "numpy>=2" pillow "opencv-python-headless<5" omegaconf iopath \
		einops decord pandas webdataset ftfy scikit-image sentencepiece spacy pycocotools safetensors
	$(LAVIS)/bin/python -c "import lavis.models"
	touch $@

reproduce: .venv/.curate ## the whole system on the miniature world; SCALE=smoke|default|full
	$(BIN)/scf run $(FLOW) --workers $(WORKERS) --out $(OUT)

reproduce-paper: .venv/.curate ## the paper on real datasets, models and GPUs, told by SITE=paper.yaml; ARGS=--dry-run looks
	$(BIN)/scf run flows/paper.py:PAPER --site $(SITE) --workers $(WORKERS) --out runs/paper $(ARGS)

report: .venv/.curate ## write the report of what lies in runs/ for SCALE
	$(BIN)/scf report $(OUT)

clean: ## remove what `make` built and `make reproduce` wrote
	rm -rf .venv $(LAVIS) build runs *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

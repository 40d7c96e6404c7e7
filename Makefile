# The words of this project. People and .ci/run use these and nothing else.
#
#   make demo     a first look: installs, trains, reports, backtests
#   make test     the fast suite
#   make docs     the site of docs/, in site/
#   make check    all that must hold before a change goes in
#
# PYTHON picks the interpreter (3.11 or later), VENV the folder of the virtual environment.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# --no-compile halves the time of an install: Python compiles what is really imported, once, and so
# must be allowed to write it down.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile \
	--constraint constraints.txt --editable
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help venv dev demo test test-slow format lint type layers docs results figures wheel check
.NOTPARALLEL:
.DELETE_ON_ERROR:

help:
	@sed -n '2,/^$$/s/^# \{0,1\}//p' Makefile

# A stamp per kind of install: made again only when what is to be installed changes.
venv: $(VENV)/.stamp-data
dev: $(VENV)/.stamp-dev

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.stamp-data: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing into $(VENV), about a minute ..."
	$(INSTALL) '.[data]'
	@touch $@

$(VENV)/.stamp-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing into $(VENV), about a minute ..."
	$(INSTALL) '.[data,tune,export,ray,docs,dev]'
	@touch $@ $(VENV)/.stamp-data

demo: venv
	rm -rf runs/demo
	$(BIN)/deephedge compare short-call-jumps --agent ppo --out runs/demo/compare
	$(BIN)/deephedge train sp500-call --agent ppo --out runs/demo/ppo
	$(BIN)/deephedge backtest --hedger runs/demo/ppo --hedger band --hedger static --hedger delta

# A process for each of two cores; $(BIN)/pytest alone is easier to debug.
test: dev
	$(BIN)/pytest -n 2

test-slow: dev
	$(BIN)/pytest -m slow

format: dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: dev
	$(BIN)/mypy

layers: dev
	$(BIN)/lint-imports

# Everything that is published: the results by their commands, the figure and tables from the results.
results: venv
	$(BIN)/python docs/make_results.py

figures: venv
	$(BIN)/python docs/make_figures.py

# Warnings are errors; with --quiet none would be counted. The variable silences an advertisement.
docs: dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Part of the fast suite too; a word of its own for whoever changes the packaging.
wheel: dev
	$(BIN)/pytest tests/test_wheel.py

# The tests come last: their summary closes the output.
check: lint type layers docs test

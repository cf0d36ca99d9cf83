# make run      set everything up and take the sample project from a clone to a champion
# make test     set everything up and pass the tests
.DEFAULT_GOAL := help
PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3.13 python3))
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export HF_HUB_OFFLINE ?= 1
export DO_NOT_TRACK = true
export PREFECT_SERVER_ANALYTICS_ENABLED = false
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help setup run test test-slow test-postgres soak check format docs bench lock wheel clean

help:  ## say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 15

setup: $(READY)  ## make .venv from the lock file

# torch first and with its dependencies, so that a CPU wheel brings no CUDA packages and any other
# build brings what it needs; the rest is a complete list of exact versions. pip compiles bytecode.
$(READY): requirements/lock.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed: apt-get install python3 python3-venv"; exit 3; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "Python 3.11, 3.12 or 3.13 is needed; $(PYTHON) is another."; \
	  echo "Use: make PYTHON=python3.13 $(MAKECMDGOALS)"; exit 3; }
	@git --version >/dev/null || { echo "git is needed: apt-get install git"; exit 3; }
	@echo "setting up $(VENV) (once; two to four minutes)"
	$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check "$$(grep '^torch==' requirements/lock.txt)" -c requirements/lock.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -r requirements/lock.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: setup  ## the main job: sample data to champion, without any server
	$(BIN)/sluice release --no-server

test: setup  ## the tests, under ten minutes on two cores
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

test-slow: setup  ## whole lines, real servers, the wheel in a fresh environment: half an hour
	$(BIN)/python -m pytest -n 2 --dist loadfile -m slow

test-postgres: setup  ## the ledger's tests against a PostgreSQL server started for them (needs Debian's postgresql)
	./tests/postgres.sh

soak: setup  ## the long form of the tests that repeat (docs/explanation/proof.md), each with what it counted
	SLUICE_SOAK=1 $(BIN)/python -m pytest -n 2 --dist loadfile -rP --show-capture=stdout \
	  $$(grep -rl soak_scale tests --include='test_*.py')

check: setup  ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup  ## rewrite in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup  ## build the documents into build/site; every link and anchor is checked
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

wheel: setup  ## build the wheel with the project template inside
	$(BIN)/python -m build --wheel --no-isolation

lock:  ## resolve requirements/lock.txt anew (needs uv)
	./requirements/lock.sh

clean:  ## remove the environment and all build output; .sluice/ (the ledger) stays
	rm -rf $(VENV) build dist reports

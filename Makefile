# Everything runs in .venv, which is made from nothing: `make demo` and `make test` need Python 3.11+, git and make.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test long hand quick fuzz check docs format bench chaos clean

demo: .venv/installed
	$(BIN)/supcrd demo

# The tests start many processes: without files of bytecode each of them compiles all of the package anew.
test long hand quick fuzz chaos: export PYTHONDONTWRITEBYTECODE =

test: .venv/installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not long and not hand"

long: .venv/installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal -m long

hand: .venv/installed-dev
	$(BIN)/python -m pytest -n 2 -m hand

quick: .venv/installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not hand"

fuzz: .venv/installed-dev
	SUPCRD_FUZZ=20000 $(BIN)/python -m pytest -s tests/fuzz

check: .venv/installed-dev
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_floors.py tests/test_limits.py tests/test_house_words.py

docs: .venv/installed-dev
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs
	@echo "build/docs/index.html"

format: .venv/installed-dev
	$(BIN)/ruff check --fix src tests benchmarks
	$(BIN)/ruff format src tests benchmarks

chaos: .venv/installed-dev
	$(BIN)/python tests/chaos/chaos.py --out build/chaos.json

bench: .venv/installed-dev
	$(BIN)/python benchmarks/all.py --out build/bench

clean:
	rm -rf .venv build src/*.egg-info

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "supcrd needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) --version); try make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[figures]'
	@touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

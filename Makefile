# Everything runs in .venv, which is made from nothing: `make demo` and `make test` need Python 3.11+, git and make.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-all long hand test-lowest quick fuzz check docs dist format bench chaos mutate clean

demo: .venv/installed
	$(BIN)/supcrd demo

# The tests start many processes: without files of bytecode each of them compiles all of the package anew.
test test-all long hand quick fuzz chaos mutate dist: export PYTHONDONTWRITEBYTECODE =

test: .venv/installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not long and not hand"

long: .venv/installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "long and not hand"

hand: .venv/installed-dev
	$(BIN)/python -m pytest -n 2 -m hand

# `make test` under every Python that pyproject.toml names and that is on PATH, each in an environment of its own.
VERSIONS := $(shell sed -n 's/.*Python :: \(3\.[0-9]*\)".*/\1/p' pyproject.toml)
test-all:
	@passed= failed= missing=; for version in $(VERSIONS); do \
		python$$version -c '' 2> /dev/null || { missing="$$missing $$version"; continue; }; \
		echo "== Python $$version"; own=build/python$$version/bin/python; \
		python$$version -m venv build/python$$version && \
		$$own -m pip install --quiet -c constraints.txt -e '.[dev]' && \
		$$own -m pytest -n 2 --dist worksteal -m "not long and not hand" && \
		passed="$$passed $$version" || failed="$$failed $$version"; \
	done; \
	echo "== passed:$${passed:- none}; failed:$${failed:- none}; not found:$${missing:- none}"; \
	test -z "$$failed" && test -n "$$passed"

# The oldest versions that pyproject.toml allows, in an environment of their own; the browser, the notebook, the guides and torchdistill need newer ones,
# an old huggingface_hub asks the hub that HF_ENDPOINT named when it was imported, where the tests' own cannot stand yet, and an old safetensors
# writes no complex numbers.
test-lowest:
	$(PYTHON) -m venv build/lowest && build/lowest/bin/python -m pip install --quiet uv
	build/lowest/bin/uv pip install --quiet --python build/lowest/bin/python --resolution lowest-direct \
		'.[export,figures,mlflow,parquet,remote,tensorboard,wandb]' 'pytest>=8.2' 'pytest-xdist>=3.5' 'hypothesis>=6.100' 'pytorch-metric-learning>=2.5'
	build/lowest/bin/python -m pytest -n 2 -m "not slow and not hand and not long" tests --ignore tests/test_docs.py --ignore tests/data/test_data_hub.py --ignore tests/sweep --ignore tests/test_notebook.py \
		--ignore tests/training/objective/test_torchdistill.py \
		--deselect tests/models/test_weights.py::test_complex_values_beside_a_card_are_refused \
		--deselect tests/hub/test_hugging_face.py::test_a_rehearsal_in_a_folder_is_what_is_pushed \
		--deselect tests/hub/test_hugging_face.py::test_pushed_and_loaded_it_is_the_same_model \
		--deselect tests/hub/test_hugging_face.py::test_no_path_of_this_machine_is_pushed

quick: .venv/installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not hand"

fuzz: .venv/installed-dev
	SUPCRD_FUZZ=20000 $(BIN)/python -m pytest -s tests/fuzz

check: .venv/installed-dev
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/ruff format --check src tests benchmarks examples
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_floors.py tests/test_limits.py tests/test_house_words.py

docs: .venv/installed-dev
	$(BIN)/python -m sphinx -q -E -a -W --keep-going -b html docs build/docs
	@echo "build/docs/index.html"

# What is uploaded; `pip install build twine check-wheel-contents` first. Of the sdist, unpacked, the fast tests run.
dist: .venv/installed-dev
	rm -rf build/dist build/sdist
	$(PYTHON) -m build --outdir build/dist
	$(PYTHON) -m twine check build/dist/*
	$(PYTHON) -m check_wheel_contents build/dist/*.whl
	mkdir build/sdist && tar -xzf build/dist/*.tar.gz -C build/sdist --strip-components 1
	cd build/sdist && PYTHONPATH=$(CURDIR)/build/sdist/src $(CURDIR)/$(BIN)/python -m pytest -n 2 --dist worksteal \
		-m "not slow and not hand and not long" tests

format: .venv/installed-dev
	$(BIN)/ruff check --fix src tests benchmarks examples
	$(BIN)/ruff format src tests benchmarks examples

chaos: .venv/installed-dev
	$(BIN)/python tests/chaos/chaos.py --out build/chaos.json

mutate: .venv/installed-dev
	$(BIN)/python tests/mutation/mutate.py --out build/mutation.json

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

# Everything from a fresh clone: `make sweep` runs the main job, `make test` passes the tests.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
JOBS ?= 2

# With a GPU every conv_transpose2d of the suites is measured on it. Without one, those of kernelbench are
# compiled for the RTX 4090 and their times predicted: a minute on two cores (2026-11-20), installation apart.
HAS_GPU := $(shell command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L 2>/dev/null | grep -c GPU)
ifeq ($(filter-out 0,$(HAS_GPU)),)
SWEEP ?= --device 4090 --suite kernelbench --layout channels_first --trials 40
else
SWEEP ?= --trials 60
endif
DB ?= out/tunedb.sqlite

.PHONY: sweep test lint format docs clean

sweep: $(VENV)/ready
	mkdir -p $(dir $(DB))
	$(BIN)/tunedb sweep --kernel conv_transpose2d $(SWEEP) --db $(DB)

test: $(VENV)/ready
	$(BIN)/pytest -q -n $(JOBS) --dist worksteal

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	rm -rf out/lint && mkdir -p out/lint
	$(BIN)/python -c "from setuptools import setup; setup()" -q build_py --build-lib out/lint
	cd out/lint && PYTHONPATH=. $(abspath $(BIN))/lint-imports --no-cache --no-logo $(abspath pyproject.toml)

format: $(VENV)/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The pages of docs/ as a site; a broken link or a page outside the navigation is an error.
docs: $(VENV)/docs-ready
	$(BIN)/mkdocs build --strict

$(VENV)/docs-ready: $(VENV)/ready
	$(BIN)/pip install -q -c constraints.txt -e '.[docs]'
	touch $@

# torch first and by itself: a range would take the newest build, and every version brings its own Triton pin.
$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt torch
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) out build dist *.egg-info

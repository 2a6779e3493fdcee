# Everything from a fresh clone: `make sweep` runs the main job, `make test` passes the tests.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
JOBS ?= 2

# With a GPU every conv_transpose2d of the suites is measured on it. Without one, those of kernelbench are
# compiled for the RTX 4090 and their times predicted: 280 trials; 420 took 3 minutes on two loaded cores (2026-11-27), installation apart.
HAS_GPU := $(shell command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L 2>/dev/null | grep -c GPU)
ifeq ($(filter-out 0,$(HAS_GPU)),)
SWEEP ?= --device 4090 --suite kernelbench --layout channels_first --trials 20
else
SWEEP ?= --trials 60
endif
DB ?= out/tunedb.sqlite

# The oldest Triton that pyproject.toml allows; the newest is the one in constraints.txt.
OLDEST_TRITON ?= 3.6.0
OLDEST = out/triton-$(OLDEST_TRITON)
OLDEST_CASES = not (kb50 or kb54 or kb75 or kb81 or kb85)

.PHONY: sweep test test-oldest sanitize lint format docs clean

sweep: $(VENV)/ready
	mkdir -p $(dir $(DB))
	$(BIN)/tunedb sweep --kernel conv_transpose2d $(SWEEP) --db $(DB)

test: $(VENV)/ready
	$(BIN)/pytest -q -n $(JOBS) --dist worksteal

# Compilation for both GPUs, launches, and some kernels in the interpreter: 1 to 2 minutes on two cores.
# A test asserts that the version that runs is TUNEDB_EXPECT_TRITON.
test-oldest: $(OLDEST)/ready
	PYTHONPATH=$(CURDIR)/$(OLDEST) TUNEDB_EXPECT_TRITON=$(OLDEST_TRITON) $(BIN)/pytest -q -n $(JOBS) \
		tests/test_compile.py tests/test_launch.py tests/test_triton_internals.py tests/test_triton_tools.py \
		tests/kernels/test_compile.py \
		-k "$(OLDEST_CASES)"
	PYTHONPATH=$(CURDIR)/$(OLDEST) TUNEDB_EXPECT_TRITON=$(OLDEST_TRITON) $(BIN)/pytest -q -n $(JOBS) \
		tests/kernels/test_conformance.py -k "primes or short_rows"

# The interpreter of Triton 3.6 converts arrays in a way that numpy 2.4 refuses.
$(OLDEST)/ready: $(VENV)/ready
	rm -rf $(OLDEST)
	$(BIN)/pip install -q --no-deps --target $(OLDEST) triton==$(OLDEST_TRITON) "numpy<2.4"
	touch $@

# On a GPU: every kernel on every awkward problem under NVIDIA's checkers, each tensor an allocation of its own.
# cuDNN's own kernels are left out: racecheck reports a hazard in one of them. Some that cudnn_last asks for end a process under
# racecheck, so that the CPU computes them there.
SANITIZE = compute-sanitizer --error-exitcode 9 --log-file $(abspath out)/sanitize/%p.log --kernel-name-exclude regex='cudnn|xmma|cutlass|nchw|nhwc'
sanitize: $(VENV)/ready
	rm -rf out/sanitize && mkdir -p out/sanitize
	for tool in memcheck racecheck; do \
		test $$tool = racecheck && export TUNEDB_CUDNN_ON_CPU=1; \
		PYTORCH_NO_CUDA_MEMORY_CACHING=1 TUNEDB_RUN_UNDER="$(SANITIZE) --tool $$tool" \
		$(BIN)/pytest -q -n $(JOBS) --dist worksteal tests/kernels/test_conformance.py || exit 1; \
	done

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

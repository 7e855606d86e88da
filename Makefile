# For a newcomer, with Python 3.11 to 3.13 alone:
#   make demo                     separate a clip of recorded sounds, draw it
#   make demo BACKEND=torch       the same on another backend
#   make train                    train a tiny BandIt, separate generated scenes
#   make test                     every test on all three backends
#   make test TEST_ARGS="tests/data -q"  BACKENDS=jax
# All that is installed goes to .venv; `make clean` removes it. Tests of pages need
# Chromium besides, which `make test` installs for root on Debian.

PYTHON ?= python3
BACKEND ?= tensorflow
BACKENDS ?= tensorflow jax torch
DEMO_ARGS ?=
TRAIN_ARGS ?=
TEST_ARGS ?=
JOBS ?= 2

BIN := .venv/bin
export TF_CPP_MIN_LOG_LEVEL ?= 3
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo train test chromium lint docs clean

demo: .venv/.dev
	KERAS_BACKEND=$(BACKEND) $(BIN)/python recipes/demo.py $(DEMO_ARGS)

train: .venv/.dev
	rm -rf demo_output/tiny
	KERAS_BACKEND=$(BACKEND) $(BIN)/python recipes/train_tiny.py \
		--output demo_output/tiny $(TRAIN_ARGS)

# One process per backend and one for the tests that need no Keras, JOBS of them
# at a time, all of them even if one fails; their output comes when all are
# done, ends with pytest's summary, and stays in .pytest_cache. One thread each:
# PyTorch's threads spin while they wait, and beside another process wait long.
RUNS = $(BACKENDS) once
test: .venv/.dev chromium
	@mkdir -p .pytest_cache
	@rm -f .pytest_cache/*.log .pytest_cache/*.passed
	@$(MAKE) --no-print-directory -j$(JOBS) $(RUNS:%=test-%)
	@failed=""; \
	for run in once $(BACKENDS); do \
		echo "tests, $$run:"; cat .pytest_cache/$$run.log; \
		test -e .pytest_cache/$$run.passed || failed="$$failed $$run"; \
	done; \
	if [ -n "$$failed" ]; then echo "failed: $$failed" >&2; exit 1; fi

PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(TEST_ARGS)
test-once:
	@echo "tests without Keras began"
	@$(PYTEST) -m once > .pytest_cache/once.log 2>&1; status=$$?; \
	if [ $$status = 0 ] || [ $$status = 5 ]; then \
		touch .pytest_cache/once.passed; fi; \
	echo "tests without Keras ended"

test-%:
	@echo "tests on $* began"
	@KERAS_BACKEND=$* $(PYTEST) -m "not once" \
		> .pytest_cache/$*.log 2>&1 && touch .pytest_cache/$*.passed; \
	echo "tests on $* ended"

# Tests of pages need Chromium. Root gets Debian's, as on CI's bare machine;
# others are told, and go on: most tests need none.
chromium:
	@for name in chromium chromium-browser google-chrome; do \
		command -v $$name > /dev/null && exit 0; \
	done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
		export DEBIAN_FRONTEND=noninteractive; \
		apt-get -qq update && apt-get -qqy install \
			--no-install-recommends chromium fonts-dejavu-core && exit 0; \
	fi; \
	echo "no Chromium, without which the tests of pages fail; install it," \
		"such as: sudo apt-get install chromium" >&2

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

docs: .venv/.dev
	$(BIN)/python -m mkdocs build -f .mkdocs.yml --strict

clean:
	rm -rf .venv build dist site demo_output *.egg-info
	rm -rf .pytest_cache .ruff_cache .hypothesis

# Stamps: nothing is installed twice while pyproject.toml stays as it is.
# PyTorch comes first, alone and pinned. Left to the resolver, a range takes the
# newest release, whose default Linux build brings gigabytes of CUDA packages;
# where a CPU build of this version is at hand, pip takes that one.
.venv/.dev: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
		|| { echo "$(PYTHON) is not Python 3.11 to 3.13: make PYTHON=..." >&2; \
		exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	touch $@

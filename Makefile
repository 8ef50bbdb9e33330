# Every target makes what it needs first: `make demo` works from a fresh clone with Python and make alone.
PYTHON ?= python3
VENV ?= .venv
# Another build of torch: make test TORCH=torch==2.13.0 PIP_ARGS="--index-url URL"
TORCH ?= torch==2.13.0
PIP_ARGS ?=

PIP = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) --constraint constraints.txt
RUN = $(VENV)/bin/python -m

.PHONY: demo test test-slow test-without-torch test-integrations lint format bench peers

demo: $(VENV)/installed
	$(VENV)/bin/diag demo

# On matrices as small as a test's, threads of BLAS wait for each other longer than they compute; each
# core runs tests of its own instead.
test test-slow test-without-torch test-integrations: export OPENBLAS_NUM_THREADS = 1
test test-slow test-without-torch test-integrations: export OMP_NUM_THREADS = 1
# All of them must collect the same tests, by names in which a set may stand.
test test-slow test-without-torch test-integrations: export PYTHONHASHSEED = 0
PYTEST = pytest --numprocesses auto --dist worksteal

test: $(VENV)/installed-dev
	$(RUN) $(PYTEST)

test-slow: $(VENV)/installed-dev
	$(RUN) pytest -m slow

# The same tests where there is no torch; those that compare with it skip themselves.
test-without-torch:
	$(MAKE) VENV=.venv-without-torch TORCH= .venv-without-torch/installed-dev
	! .venv-without-torch/bin/python -c "import torch" 2>&1
	.venv-without-torch/bin/python -c "import diag, probes, scratchnet"
	.venv-without-torch/bin/python -m $(PYTEST)

# The callbacks, in Lightning, Hugging Face's Trainer and Keras; elsewhere their tests skip themselves.
test-integrations: export KERAS_BACKEND = torch
test-integrations:
	$(MAKE) VENV=.venv-integrations .venv-integrations/installed-integrations
	.venv-integrations/bin/python -m $(PYTEST) tests/diag/integrations

lint: $(VENV)/installed-dev
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy

format: $(VENV)/installed-dev
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

bench: $(VENV)/installed-dev
	$(RUN) benchmarks

# What two benchmarks compare with; without it they run, and say whom they left out.
peers: benchmarks/peers.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) $(TORCH) --requirement $<

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable .
	touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) $(TORCH) --editable ".[dev]"
	touch $@ $(VENV)/installed

$(VENV)/installed-integrations: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) $(TORCH) --editable ".[dev,integrations]"
	touch $@

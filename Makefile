# Set PYTHON to a Python 3.11 or newer if `python3` is older.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP_FLAGS ?=
INSTALL = -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS)
DATA ?= $(SKINAI_DATA)
ARCHITECTURE ?= efficientnet-lite0
OUT ?= models/my-$(ARCHITECTURE)

.PHONY: app test ready soak check bench train clean

app: $(VENV)/.app-ready
	$(BIN)/python -m skinai app

test: ready
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# All environments of the tests; `make -j 4 ready` fills them at the same time.
ready: $(VENV)/.dev-ready $(VENV)/.scorer-ready $(VENV)/.runtime-ready $(VENV)/.ray-ready

# What wants the machine for itself: the service under load, two workers against one.
soak: ready
	$(BIN)/python -m pytest -m soak -s

check: $(VENV)/.dev-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# How fast it is here: a table, benchmarks/results.json, a row in benchmarks/history.csv. Leave the machine alone meanwhile.
bench: $(VENV)/.bench-ready
	$(BIN)/python -m benchmarks $(BENCH)

# make train DATA=/path/to/HAM10000 ARCHITECTURE=seed-cnn
train: $(VENV)/.dev-ready
	$(BIN)/python -m skinai train --data "$(DATA)" --architecture $(ARCHITECTURE) --out $(OUT)

clean:
	rm -rf $(VENV)

$(VENV)/.app-ready: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "skinai needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(INSTALL) -r requirements.txt
	$(BIN)/python $(INSTALL) --no-deps -e .
	touch $@

# Environments of their own: the ISIC challenge's scorer, which a test compares with ours; what the container image holds,
# which a test runs; a machine of a Ray cluster, which a test starts here.
$(VENV)/.scorer-ready $(VENV)/.runtime-ready $(VENV)/.ray-ready: $(VENV)/.%-ready: requirements-%.txt
	$(PYTHON) -m venv $(VENV)/$*
	$(VENV)/$*/bin/python $(INSTALL) $(addprefix -r ,$(filter requirements-%,$^))
	touch $@

# What is added to the environment of the app.
$(VENV)/.dev-ready $(VENV)/.bench-ready: $(VENV)/.%-ready: $(VENV)/.app-ready requirements-%.txt
	$(BIN)/python $(INSTALL) -r requirements-$*.txt
	touch $@

$(VENV)/.runtime-ready $(VENV)/.ray-ready $(VENV)/.dev-ready: requirements-service.txt
$(VENV)/.dev-ready: requirements-mpi.txt
$(VENV)/.bench-ready: $(VENV)/.dev-ready
# Whoever runs the image's contents there cannot write what Python compiles.
$(VENV)/.runtime-ready: override PIP_FLAGS = --compile

# Set PYTHON to a Python 3.11 or newer if `python3` is older.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DATA ?= $(SKINAI_DATA)
ARCHITECTURE ?= efficientnet-lite0
OUT ?= models/my-$(ARCHITECTURE)

.PHONY: app test check train clean

app: $(VENV)/.app-ready
	$(BIN)/python -m skinai app

test: $(VENV)/.dev-ready $(VENV)/.scorer-ready
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(VENV)/.dev-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# make train DATA=/path/to/HAM10000 ARCHITECTURE=seed-cnn
train: $(VENV)/.dev-ready
	$(BIN)/python -m skinai train --data "$(DATA)" --architecture $(ARCHITECTURE) --out $(OUT)

clean:
	rm -rf $(VENV)

$(VENV)/.app-ready: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "skinai needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

# The ISIC challenge's scorer, which a test compares with ours.
$(VENV)/.scorer-ready: $(VENV)/.app-ready requirements-scorer.txt
	$(PYTHON) -m venv $(VENV)/scorer
	$(VENV)/scorer/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-scorer.txt
	touch $@

$(VENV)/.dev-ready: $(VENV)/.app-ready requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

# Set PYTHON to a Python 3.11 or newer if `python3` is older.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP_FLAGS ?=
INSTALL = -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS)
DATA ?= $(SKINAI_DATA)
ARCHITECTURE ?= efficientnet-lite0
OUT ?= models/my-$(ARCHITECTURE)

.PHONY: app test ready compiled soak check lint bench fuzz train locks vulnerabilities clean

app: $(VENV)/.app-ready
	$(BIN)/python -m skinai app

# What measures time or memory comes after the others, one by one.
test: ready
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not soak and not alone"; others=$$?; \
	$(BIN)/python -m pytest -m "alone and not soak" && exit $$others

# All environments of the tests; `make -j 4 ready` fills them at the same time.
ready: $(VENV)/.dev-ready $(VENV)/.scorer-ready $(VENV)/.runtime-ready $(VENV)/.ray-ready

# What the tests import, where pip left that out (PIP_FLAGS=--no-compile): once, in place of by each worker at the same time.
# Where that fails, the tests say why.
compiled: $(VENV)/.dev-ready
	-$(BIN)/python -m pytest --collect-only --quiet >$(VENV)/collected.txt

# What wants the machine for itself: the service under load, two workers against one.
soak: ready
	$(BIN)/python -m pytest -m soak -s

# The second half asks the internet, so its answer can change overnight; CI runs the first alone.
check: lint
	@if $(BIN)/python -c "from urllib.request import urlopen; urlopen('https://pypi.org/simple/pip/', timeout=10)" 2>/dev/null; \
	then $(MAKE) vulnerabilities; else echo "pypi.org cannot be reached: known vulnerabilities were not asked for."; fi

lint: $(VENV)/.dev-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# How fast it is here: a table, benchmarks/results.json, a row in benchmarks/history.csv. Leave the machine alone meanwhile.
bench: $(VENV)/.bench-ready
	$(BIN)/python -m benchmarks $(BENCH)

# Ten minutes for each reader of what strangers hand in; findings lie in runs/fuzz. FUZZ="pictures --minutes 2" for less.
fuzz: $(VENV)/.fuzz-ready
	$(BIN)/python -m fuzz $(FUZZ)

# make train DATA=/path/to/HAM10000 ARCHITECTURE=seed-cnn
train: $(VENV)/.dev-ready
	$(BIN)/python -m skinai train --data "$(DATA)" --architecture $(ARCHITECTURE) --out $(OUT)

# Every package at one version and by its hashes, what the image holds, and under which licences.
LOCKS := $(VENV)/locks/bin
LOCK := $(LOCKS)/uv pip compile --constraint locks/constraints.txt --generate-hashes --universal --python-version 3.11 \
	--no-annotate --custom-compile-command "make locks" --quiet

locks: $(VENV)/.locks-ready
	$(LOCK) requirements.txt -o locks/app.txt
	$(LOCK) requirements-runtime.txt requirements-service.txt requirements-signin.txt -o locks/image.txt
	$(MAKE) $(VENV)/.runtime-ready
	$(LOCKS)/cyclonedx-py environment --output-reproducible --of JSON -o locks/image.cdx.json $(VENV)/runtime/bin/python
	$(LOCKS)/pip-licenses --python $(VENV)/runtime/bin/python --format markdown --output-file locks/licences.md

# Asks a public service for known vulnerabilities of what is locked.
vulnerabilities: $(VENV)/.locks-ready
	$(LOCKS)/pip-audit --requirement locks/app.txt --disable-pip --require-hashes
	$(LOCKS)/pip-audit --requirement locks/image.txt --disable-pip --require-hashes

clean:
	rm -rf $(VENV)

$(VENV)/.app-ready: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "skinai needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(INSTALL) -r requirements.txt
	$(BIN)/python $(INSTALL) --no-deps -e .
	touch $@

# What the container image holds, which a test runs.
$(VENV)/.runtime-ready: locks/image.txt
	$(PYTHON) -m venv $(VENV)/runtime
	$(VENV)/runtime/bin/python $(INSTALL) --require-hashes -r locks/image.txt
	touch $@

# Environments of their own: the ISIC challenge's scorer, which a test compares with ours; a machine of a Ray cluster,
# which a test starts here; what writes the locks.
$(VENV)/.scorer-ready $(VENV)/.ray-ready $(VENV)/.locks-ready: $(VENV)/.%-ready: requirements-%.txt
	$(PYTHON) -m venv $(VENV)/$*
	$(VENV)/$*/bin/python $(INSTALL) $(addprefix -r ,$(filter requirements-%,$^))
	touch $@

# What is added to the environment of the app.
$(VENV)/.dev-ready $(VENV)/.bench-ready $(VENV)/.fuzz-ready: $(VENV)/.%-ready: $(VENV)/.app-ready requirements-%.txt
	$(BIN)/python $(INSTALL) -r requirements-$*.txt
	touch $@

$(VENV)/.ray-ready $(VENV)/.dev-ready: requirements-service.txt
$(VENV)/.dev-ready: requirements-mpi.txt requirements-signin.txt
$(VENV)/.bench-ready $(VENV)/.fuzz-ready: $(VENV)/.dev-ready
# Whoever runs the image's contents there cannot write what Python compiles.
$(VENV)/.runtime-ready: override PIP_FLAGS = --compile

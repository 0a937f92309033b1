# Everything a newcomer needs: make demo, make test, make serve STUDIES=DIR.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint serve install clean lock

demo: $(STAMP)
	$(BIN)/anomalabel demo --out demo_output

# One process for each core; tests of one file stay together, since they share servers and models. Wide, so that paths in
# tables are not folded.
test: $(STAMP)
	COLUMNS=200 OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

serve: $(STAMP)
	@test -n "$(STUDIES)" || { echo "Say which folder of images to serve: make serve STUDIES=DIR"; exit 2; }
	$(BIN)/anomalabel serve --studies "$(STUDIES)"

install: $(STAMP)

$(STAMP): setup.py requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' \
		|| { echo "Python 3.10 to 3.12 is needed: make PYTHON=python3.11 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --requirement requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $(STAMP)

# Names and versions only; for Python 3.10 to 3.12.
lock:
	$(BIN)/uv pip compile setup.py --all-extras --universal --python-version 3.10 --quiet \
		--no-header --no-annotate --output-file requirements.lock

clean:
	rm -rf $(VENV) demo_output

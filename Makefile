# make demo   a tour: synthetic voices, training, evaluation, comparison, recognition (minutes)
# make test   the test suite, in two processes (WORKERS=8: in eight)
# make lint   ruff and mypy
# make clean  remove what the demo and the tests wrote (not .venv)

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
BIN = $(VENV)/bin
READY = $(VENV)/.requirements-installed

.PHONY: demo test lint clean

demo: $(READY)
	$(BIN)/python tools/demo.py

test: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The stamp is written last: an interrupted installation starts again.
$(READY): requirements.txt pyproject.toml setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --upgrade pip
	$(BIN)/python -m pip install -r requirements.txt
	$(BIN)/python -m pip install --no-build-isolation --no-deps -e .
	touch $@

clean:
	rm -rf demo build .pytest_cache .mypy_cache .ruff_cache

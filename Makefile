# make demo   a tour: synthetic voices, training, evaluation, comparison, recognition (minutes)
# make test   the test suite, in two processes (WORKERS=8: in eight)
# make lint   ruff and mypy
# make docs   the pages as a site, in build/site; a warning is an error (its search needs a server:
#             python -m http.server -d build/site)
# make help   these lines
# make clean  remove what the demo and the tests wrote (not .venv)
#
# make test-runtime  what pip install . alone is enough for, in an environment of its own, and
#                    what evaluation needs besides (a minute)
# make test-lowest   tests of what other packages do for us, with the lowest versions that
#                    pyproject.toml declares, and with workers that are spawned as on Windows and
#                    macOS (Python 3.10 or 3.11, for which these have ready-made wheels; minutes)

PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
BIN = $(VENV)/bin
READY = $(VENV)/.requirements-installed
RUNTIME = $(VENV)-runtime
LOWEST = $(VENV)-lowest
LOWEST_READY = $(LOWEST)/.requirements-installed
# All but the commands, the corpora, the demo and whole trainings.
FAST_TESTS = tests/test_package.py $(addprefix tests/,audio compat compute config data diarization embedding \
  evaluation export features losses models published recognition scoring service speakers \
  training/test_optimizers.py training/test_network.py training/test_schedules.py \
  training/test_loggers.py)
TESTS_OF_WORKERS = $(addprefix tests/,data/test_workers.py data/test_dataset.py \
  data/test_packed.py data/test_packed_training.py audio/test_vad.py corpus/test_inspection.py)

.PHONY: help demo test test-runtime test-lowest lint docs clean

demo: $(READY)
	$(BIN)/python tools/demo.py

help:  # the comments above
	@sed -n '/^# make/,/^$$/p' $(firstword $(MAKEFILE_LIST)) | sed 's/^#\( \|$$\)//'

test: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

test-runtime: $(READY)
	rm -rf $(RUNTIME)
	$(PYTHON) -m venv $(RUNTIME)
	$(RUNTIME)/bin/python -m pip install --quiet .
	MVECTOR_RUNTIME_PYTHON=$(abspath $(RUNTIME))/bin/python \
	  $(BIN)/python -m pytest -q tests/test_runtime_environment.py
	$(RUNTIME)/bin/python -m pip install --quiet '.[evaluate]'
	MVECTOR_RUNTIME_PYTHON=$(abspath $(RUNTIME))/bin/python \
	  $(BIN)/python -m pytest -q tests/test_runtime_environment.py -k evaluation

test-lowest: $(LOWEST_READY)
	$(LOWEST)/bin/python -m pytest -n $(WORKERS) --dist worksteal $(FAST_TESTS)
	$(LOWEST)/bin/python -m pytest -n $(WORKERS) --dist worksteal --start_method spawn \
	  $(TESTS_OF_WORKERS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(READY)
	$(BIN)/python docs/make_site.py

# The stamp is written last: an interrupted installation starts again.
$(READY): requirements.txt pyproject.toml setup.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --upgrade pip
	$(BIN)/python -m pip install -r requirements.txt
	$(BIN)/python -m pip install --no-build-isolation --no-deps -e .
	touch $@

$(LOWEST_READY): requirements-lowest.txt
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --upgrade pip
	$(LOWEST)/bin/python -m pip install -r requirements-lowest.txt
	touch $@

clean:
	rm -rf demo build .pytest_cache .mypy_cache .ruff_cache

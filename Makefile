# make demo | make test | make install: each works on a fresh clone; `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# The tests start hundreds of processes: none of them shall compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install demo test lint types layers browser pytest test-postgres crash chaos load peers simulate described base-install drf-suite fuzz clean

help:  ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(STAMP): pyproject.toml constraints.txt Makefile
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"$(PYTHON) is Python {v[0]}.{v[1]}; Hansa wants 3.11 or newer. Say which: make $(or $(MAKECMDGOALS),install) PYTHON=python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV); the first time takes some minutes."
	@# torch first and alone: on a machine whose index has CPU builds, that build satisfies what follows
	$(PIP_INSTALL) torch
	$(PIP_INSTALL) -e ".[dev]"
	@touch $(STAMP)

install: $(STAMP)  ## make .venv with everything; skipped when up to date

demo: install  ## a federated training on this machine: server, five clients, live table
	@$(BIN)/python examples/digits/demo.py $(DEMO_ARGS)

test: lint types layers pytest  ## everything CI asks for

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy
	MYPYPATH=examples/digits:benchmarks $(BIN)/mypy examples benchmarks

layers: install
	$(BIN)/lint-imports

browser:  # what the tests of pages look at them with
	@command -v chromium >/dev/null || if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing Chromium for the tests of pages."; \
		apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	else echo "There is no Chromium: the tests of pages will fail. apt-get install chromium, or playwright install chromium." >&2; fi

# One more than the two cores it is measured on: a third of the time the tests wait for processes.
WORKERS ?= 3
pytest: install browser
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

test-postgres: install  ## the tests again, every server and database of theirs on a PostgreSQL
	$(BIN)/python tests/support/postgres.py $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(PYTEST_ARGS)

crash: install  ## trainings whose server or clients die at every crash point, each in turn
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m crash_points tests/system/crash tests/system/coming_over $(PYTEST_ARGS)

KILLS ?= 1000
chaos: install  ## kill a server and its clients KILLS (1000) times; nothing may be lost
	$(BIN)/hansa chaos --kills $(KILLS) $(CHAOS_ARGS)

load: install  ## a thousand clients that report, five thousand that wait: what each call takes. LOAD_ARGS for load.py
	$(BIN)/python benchmarks/load.py $(LOAD_ARGS)

peers: install  ## rounds beside Flower, which is installed into an environment of its own: PEERS_ARGS for rounds.py
	$(BIN)/python benchmarks/rounds.py --peer flower $(PEERS_ARGS)

SIMULATIONS ?= 20000
simulate: install  ## random schedules of crashes and losses: SIMULATIONS of rounds, a twentieth as many of services
	PYTHONPATH=tests $(BIN)/python -m simulation rounds --schedules $(SIMULATIONS) $(SIMULATION_ARGS)
	PYTHONPATH=tests $(BIN)/python -m simulation services --schedules $$(($(SIMULATIONS) / 20)) $(SIMULATION_ARGS)

EXAMPLES ?= 3
described: install  ## requests of every kind as each role, EXAMPLES (3) of random ones for each call: answers are as described
	SCHEMATHESIS_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest tests/api/test_described_answers.py $(PYTEST_ARGS)

base-install:  ## a base install imports without Django or torch
	./tests/base_install.sh $(PYTHON)

drf-suite:  ## DRF's own test suite over our APIView and ViewSetMixin, in a virtual environment of its own
	@PYTHONPATH=tests $(PYTHON) -m drf.run $(DRF_ARGS)

FUZZ_SECONDS ?= 60
fuzz: install  ## coverage-guided fuzzing of the model file readers for FUZZ_SECONDS (60)
	$(PIP_INSTALL) -e ".[fuzz]"
	FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/python tests/fuzz/run.py $(FUZZ_ARGS)

clean:  ## remove what the commands above made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

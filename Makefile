# make demo    the demonstration, in a sandbox of its own (make demo ARGS=--headless: the whole story by itself)
# make screenshots    the pictures in screenshots/, anew, from real runs
# make test    the tests; make lint: style, types and layers
# make mutants ARGS=model/segment    small mistakes made in that part, each of which the tests have to see;
#                 what was measured, and what survives, is in tests/mutants.md
# Each makes .venv and installs what it needs there, once.

PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,$(shell \
	$(name) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))
VENV := .venv
ARGS ?=
# One more than CI has cores: a good part of a test's time is waiting for servers.
JOBS ?= 3

.PHONY: demo test lint mutants screenshots clean

demo: $(VENV)/.demo
	@$(VENV)/bin/pgvault demo $(ARGS)

test: $(VENV)/.dev
	$(VENV)/bin/pytest -n $(JOBS) $(ARGS)

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check pgvault tests benchmarks screenshots
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

mutants: $(VENV)/.mutants
	nice -n 15 $(VENV)/bin/python tools/mutants --jobs $(JOBS) $(ARGS)

screenshots: $(VENV)/.dev
	$(VENV)/bin/python screenshots/make.py

clean:
	rm -rf $(VENV) mutants

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "pgvault needs Python 3.11 or newer with its venv module" \
		"(Debian: apt install python3-venv); name one with make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo $(VENV)/.dev $(VENV)/.mutants: $(VENV)/.%: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

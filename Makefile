# make help lists the targets. Each makes .venv and installs what it needs there, once.

PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,$(shell \
	$(name) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))
VENV := .venv
ARGS ?=
# One more than CI has cores: a good part of a test's time is waiting for servers.
JOBS ?= 3

.PHONY: help demo test test-fast lint mutants screenshots clean

help:  ## these lines
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

demo: $(VENV)/.demo  ## the demonstration, in a sandbox of its own; ARGS=--headless: the whole story by itself
	@$(VENV)/bin/pgvault demo $(ARGS)

test: $(VENV)/.dev  ## all tests; ARGS=tests/model: those of a part
	$(VENV)/bin/pytest -n $(JOBS) $(ARGS)

# The console's tests need no server either, but most of a minute of their own: ARGS=tests/console runs them with test.
test-fast: $(VENV)/.dev  ## the tests that need no server and no screen: under a minute
	$(VENV)/bin/pytest -n auto -m "not server and not slow" --hypothesis-profile=fast \
		--ignore=tests/console --ignore=tests/demo $(ARGS)

lint: $(VENV)/.dev  ## style, types and layers
	$(VENV)/bin/ruff check pgvault tests benchmarks screenshots tools/*
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy --config-file tests/mypy.ini
	$(VENV)/bin/lint-imports

mutants: $(VENV)/.mutants  ## small mistakes that the tests have to see; ARGS=model/segment: in a part. See tests/mutants.md
	nice -n 15 $(VENV)/bin/python tools/mutants --jobs $(JOBS) $(ARGS)

screenshots: $(VENV)/.dev  ## the pictures in screenshots/, anew, from real runs
	$(VENV)/bin/python screenshots/make.py

clean:  ## remove .venv and what mutants made
	rm -rf $(VENV) mutants

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "pgvault needs Python 3.11 or newer with its venv module" \
		"(Debian: apt install python3-venv); name one with make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo $(VENV)/.dev $(VENV)/.mutants: $(VENV)/.%: pyproject.toml | $(VENV)/bin/python
	@echo "Installing pgvault and what its $* needs into $(VENV), once; it may take a minute."
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

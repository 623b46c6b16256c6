# Every command of the project. A bare `make` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# Every command starts many interpreters, and each would compile the project again if the shell sets PYTHONDONTWRITEBYTECODE.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help
help: ## List these commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { echo "WishCraft needs Python 3.11: install it, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Installing WishCraft and its dependencies into .venv (some minutes, once) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
	@echo "Installed."

.PHONY: up
up: .venv/.installed ## Start everything on this machine: databases, Prefect, a worker, the API, the consumer of webhooks, a simulated Shopify and mailbox (MONITORING=1 adds Prometheus)
	@exec $(BIN)/python -m deployments.local up

.PHONY: down
down: ## Stop the local stack from another terminal, as Ctrl-C does in its own
	@test -e .wishcraft/lock || { echo "No local stack runs in .wishcraft."; exit 0; }; $(MAKE) --no-print-directory .venv/.installed && exec $(BIN)/python -m deployments.local down

.PHONY: reset
reset: ## Delete the local stack's data (stop it first)
	@test -e .wishcraft/lock || { echo "There are no data of a local stack in .wishcraft."; exit 0; }; $(MAKE) --no-print-directory .venv/.installed && exec $(BIN)/python -m deployments.local reset

# Two take the least processor time. A third works while they wait, and ends the tests a minute sooner: so does CI.
WORKERS ?= 2
.PHONY: test
test: .venv/.installed ## Run the unit and integration tests; they start their own PostgreSQL and Valkey
	@$(BIN)/pytest -q -n $(WORKERS) --dist worksteal -m "not e2e and not chaos and not deep"

# The files of the tests that have the word: to import all others takes seven seconds, in each of four processes.
files_with = $(shell grep -rlwE '$(1)' tests --include 'test_*.py')
# Two tests at a time for each worker, in order: one that has many queued behind a long one would end minutes late.
LONGEST_FIRST := -n 3 --dist load --maxschedchunk 1
.PHONY: test-deep
test-deep: .venv/.installed ## Run the Hypothesis tests with many random examples, and the tests too slow for `make test`
	@HYPOTHESIS_PROFILE=deep $(BIN)/pytest -q $(LONGEST_FIRST) --timeout 600 -m "(hypothesis or deep) and not e2e and not chaos" $(call files_with,hypothesis|deep)

.PHONY: test-unit
test-unit: .venv/.installed ## Run the tests that need no server: seconds
	@$(BIN)/pytest -q tests/domain tests/test_architecture.py tests/test_docs.py

.PHONY: test-chaos
test-chaos: .venv/.installed ## Kill and stop real workers, servers and jobs, and check the recovery: some minutes
	@$(BIN)/pytest -q $(LONGEST_FIRST) -m chaos $(call files_with,chaos)

.PHONY: test-e2e
test-e2e: .venv/.installed ## Drive the running stack (make up, in another terminal) with a browser
	@$(BIN)/pytest -q -m e2e tests/e2e

# COVERAGE_PROCESS_START makes every interpreter of .venv measure itself: our servers, workers and flow runs, too.
SUITES ?= test test-deep test-chaos test-e2e
.PHONY: coverage
coverage: .venv/.installed ## Run all tests, measured; fail where less than the gates is covered (SUITES="test" runs less)
	@$(BIN)/coverage erase
	@COVERAGE_PROCESS_START=$(CURDIR)/pyproject.toml COVERAGE_FILE=$(CURDIR)/.coverage $(MAKE) --no-print-directory $(SUITES)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/python -m tests.support.coverage_gates

.PHONY: analysts-docs
analysts-docs: .venv/.installed ## Execute the analysts' notebook and draw the pictures of docs/analysts.md again (needs Chromium)
	@$(BIN)/python -m tests.support.analysts_docs

# Mypy takes half of the time, and one processor.
.PHONY: check check_types check_others
check: .venv/.installed ## Check style, types, imports, migrations and docs
	@$(MAKE) --no-print-directory --jobs 2 check_types check_others

check_types: .venv/.installed
	@$(BIN)/mypy

check_others: .venv/.installed
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/pytest -q tests/test_architecture.py tests/test_docs.py tests/store/test_migrations.py

.PHONY: audit
audit: .venv/.installed ## Look up known vulnerabilities of the locked dependencies; fails on one, and when OSV does not answer
	@$(BIN)/python -m deployments.vulnerabilities

.PHONY: bench
bench: .venv/.installed ## Compare serving, jobs and reports with common alternatives; prints tables (about half an hour)
	@$(BIN)/python -m benchmarks

# `make help` lists the targets. Run by root, labs and tests still run as an ordinary user: tools/as-user.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast test-real facts faults lint format trust bench bench-docs clean

help:  ## this list
	@echo "make demo and make test install what is missing first (apt for the system, uv for Python)."
	@sed -n 's/^\([a-z-]*\):[^#]*## */\1\t/p' Makefile | awk -F'\t' '{ printf "  make %-11s%s\n", $$1, $$2 }'

setup:  ## install what is missing; afterwards .venv/bin/vmlan is there
	@tools/setup

demo: setup  ## the main job: a lab of two machines comes up, answers, and leaves nothing behind
	@tools/as-user tools/demo

test: setup  ## every test, the ones with real machines included
	@tools/run-tests lint fast real facts trust

test-fast: setup  ## every test that starts no machine
	@tools/run-tests fast

test-real: setup  ## the tests with real machines; ARGS="-k word" chooses
	@tools/as-user .venv/bin/pytest -m real --timeout=300 $(ARGS)

facts: setup  ## what vmlan must reproduce, on its examples: a table with evidence; ARGS="F22 F23 --causes"
	@tools/as-user .venv/bin/python -m tests.facts $(ARGS)

faults: setup  ## planted faults: the verdict that `vmlan trace` gives of each, and how long it takes
	@tools/as-user .venv/bin/python -m tests.facts.faults

lint: setup  ## style, types, imports
	@tools/lint

format: setup  ## put the code into its standard form
	@.venv/bin/ruff check --fix-only . tools/trust
	@.venv/bin/ruff format . tools/trust

trust: setup  ## prove that a lab changes nothing on this host (as root, or with sudo, everything is compared)
	@tools/trust

bench: setup  ## measured side by side with scripts, libvirt and munet; ARGS="--quick", ARGS="starts -n 1 4 --runs 3"
	@tools/as-user bench/setup-others || echo "bench: what could not be fetched is left out"
	@tools/as-user --same .venv/bin/python bench/run.py $(ARGS)

bench-docs: setup  ## what the last `make bench` found, into docs/performance.md
	@tools/as-user --same cat bench/results/figures.json | .venv/bin/python bench/publish.py

clean:  ## remove what make made here, the user for tests included; Debian packages stay
	@tools/as-user --remove
	@rm -rf .venv .tools uv.lock dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis bench/results
	@find src tests bench tools -name __pycache__ -type d -prune -exec rm -rf {} +

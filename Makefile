# Plain `make` lists what there is. Works with GNU make 3.81, which is what macOS has.

PYTHONS := python3.14 python3.13 python3.12 python3.11 python3
BIN := .venv/bin
INSTALLED := .venv/.installed
# Further arguments for pytest: make test PYTEST_ARGS="-k dedupe -x"
PYTEST_ARGS ?=
# Processes that share the tests, each with a broker of its own: they wait more than they work, so two cores carry three.
JOBS ?= 3

.PHONY: help setup lint unit test demo faults audit evidence bench profile growth broker clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

setup: $(INSTALLED) ## make .venv with the newest Python from 3.11 on, and install everything into it
	@echo "Ready: $$($(BIN)/python --version) in .venv"

# A file, so that a second run has nothing to do, and a change of the dependencies has.
$(INSTALLED): pyproject.toml
	@if ! $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
		found=; \
		for python in $(PYTHON) $(PYTHONS); do \
			if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo "No Python 3.11 or newer found (tried $(PYTHON) $(PYTHONS)); install one, or name it: make setup PYTHON=/path/to/python" >&2; \
			exit 1; \
		fi; \
		rm -rf .venv; \
		$$found -m venv .venv || { rm -rf .venv; echo "$$found cannot make a virtual environment; on Debian and Ubuntu install python3-venv" >&2; exit 1; }; \
	fi
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $@

lint: $(INSTALLED) ## ruff, its formatter, mypy and the floors of the house; changes nothing
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(INSTALLED) ## the tests that need no broker, in seconds
	$(BIN)/python -m pytest tests/unit $(PYTEST_ARGS)

test: $(INSTALLED) ## all tests; starts brokers of its own, the first time ever downloads Kafka (43 MB)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --ignore=tests/faults $(PYTEST_ARGS)

# KEEP reaches the demo through the environment, from either side of the word make.
demo: $(INSTALLED) ## the order processor on a real broker, with a crash in the middle; KEEP=1 leaves all of it running
	$(BIN)/python -m tests.demo

# Recovery is measured after the rest, alone: its times are part of the claim.
faults: $(INSTALLED) ## every fault we know, for an hour or so: crash points, kills, zombies, storms; then EVIDENCE.md
	$(BIN)/python -m pytest -n $(JOBS) --dist load --maxschedchunk 1 --ignore=tests/faults/test_recovery.py tests/faults $(PYTEST_ARGS)
	$(BIN)/python -m pytest tests/faults/test_recovery.py $(PYTEST_ARGS)
	$(BIN)/python -m tests.support.evidence

# MINUTES reaches the audit through the environment, from either side of the word make.
audit: $(INSTALLED) ## convince yourself: kill workers under load for MINUTES (5), then check every record
	$(BIN)/python -m tests.faults.audit

evidence: $(INSTALLED) ## make EVIDENCE.md from what the last runs of faults and audit kept
	$(BIN)/python -m tests.support.evidence

# ALL reaches the benchmark through the environment, from either side of the word make.
bench: $(INSTALLED) ## measure throughput and latency side by side, in 15 minutes; ALL=1 measures every job
	$(BIN)/python -m tests.benchmarks

profile: $(INSTALLED) ## where a record's microseconds of CPU go, by thread and stage, in two minutes
	$(BIN)/python -m tests.benchmarks.profile

# ALL reaches it through the environment, from either side of the word make.
growth: $(INSTALLED) ## what a record costs as tables, partitions and workers grow; ALL=1 up to 10 million keys
	$(BIN)/python -m tests.benchmarks.growth

broker: $(INSTALLED) ## start the development broker on 127.0.0.1:9092; `.venv/bin/streamapp broker stop` ends it
	$(BIN)/streamapp broker start

clean: ## delete caches and builds; .venv and the broker's data stay
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name .venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

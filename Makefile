# Two commands set everything up on a fresh machine: `make demo` needs Python 3.11 alone, `make test`
# Node with npm besides. Everything else builds on the same two environments.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FORGE := tools/forge
AGAIN := { echo 'What failed runs again, alone:'; \
    $(BIN)/pytest --last-failed --last-failed-no-failures none; }

.PHONY: demo test test-oldest check forge-test docs contracts bench fuzz soak model prove mutate clean

$(VENV)/runtime.stamp: setup.cfg pyproject.toml
	$(PYTHON) -m venv --upgrade-deps $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/dev.stamp: $(VENV)/runtime.stamp
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

node_modules/.stamp: package.json package-lock.json
	npm ci --ignore-scripts --no-audit --no-fund
	touch $@

tools/hardhat/node_modules/.stamp: tools/hardhat/package.json tools/hardhat/package-lock.json
	npm ci --prefix tools/hardhat --ignore-scripts --no-audit --no-fund
	touch $@

demo: $(VENV)/runtime.stamp
	$(BIN)/option-channels demo

test: check forge-test tools/hardhat/node_modules/.stamp
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder || $(AGAIN) || $(AGAIN)

test-oldest: $(VENV)/dev.stamp
	mkdir -p build
	$(BIN)/python tools/oldest.py --extra plot --extra tower > build/oldest.txt
	$(PYTHON) -m venv --clear --upgrade-deps build/oldest
	build/oldest/bin/pip install --quiet --constraint build/oldest.txt '.[plot,tower]' hypothesis mpmath pyrevm pytest pytest-trio
	build/oldest/bin/python -m pytest tests/protocol tests/pricing tests/storage tests/transport

check: $(VENV)/dev.stamp node_modules/.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

forge-test: node_modules/.stamp
	$(FORGE) fmt --check
	FORGE_SNAPSHOT_CHECK=true $(FORGE) test --skip 'contracts/test/prove/*'

docs: $(VENV)/dev.stamp
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[docs]'
	$(BIN)/python docs/generate_tables.py
	$(BIN)/mkdocs build --strict

contracts: $(VENV)/dev.stamp node_modules/.stamp
	$(BIN)/python tools/build_artifacts.py

bench: $(VENV)/dev.stamp
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[bench]'
	$(BIN)/python -m bench

fuzz: $(VENV)/dev.stamp node_modules/.stamp
	OPTION_CHANNELS_FUZZ=1 $(BIN)/pytest tests/stateful tests/protocol tests/testing \
		tests/pricing/test_black76.py tests/pricing/test_arrays.py tests/chain/test_responder.py \
		tests/tower/test_storm.py tests/tower/test_replicas_killed.py tests/faults \
		tests/dispute/test_any_history.py
	FOUNDRY_PROFILE=fuzz $(FORGE) test

soak: $(VENV)/dev.stamp node_modules/.stamp
	OPTION_CHANNELS_FUZZ=1 $(BIN)/pytest -s tests/soak

model: $(VENV)/dev.stamp
	$(BIN)/python -m tests.model

prove: $(VENV)/dev.stamp node_modules/.stamp
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[prove]'
	$(BIN)/python tools/prove.py

mutate: $(VENV)/dev.stamp node_modules/.stamp
	$(BIN)/python -m tools.mutate --sample 130 --seed 7 --minutes 120

clean:
	rm -rf $(VENV) node_modules tools/hardhat/node_modules build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

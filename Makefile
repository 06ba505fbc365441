# Every target sets up what it needs; nothing is installed by hand.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
# Two stamps in one .venv: what running needs, and what developing needs beside it.
READY := $(VENV)/.ready
SCHEMATHESIS := $(VENV)/schemathesis
DEV := $(VENV)/.ready-dev
# Where it is set, each process compiles every module again: 5 s for the platform's.
unexport PYTHONDONTWRITEBYTECODE

# Tests wait more than they compute: more processes than cores. Each starts a platform.
PROCESSES ?= 3
# Unit tests do not wait, and each process imports and collects all tests, which takes 8 s.
UNIT_PROCESSES ?= 2
IN_PARALLEL = -n $(PROCESSES)
PYTEST = $(PY) -m pytest

.PHONY: demo test test-unit test-thorough test-api test-postgresql test-faults test-production run check bench pictures temporal rotate-master-key rotate-signing-key new-payload-key backup new-api-key reset-lost-secrets histories lock clean
.DEFAULT_GOAL := help

.PHONY: help
help:  ## lists the commands
	@awk -F ':.*  ## ' '/^[a-z-]+:.*  ## / {printf "make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: export DEMO_STARTED := $(shell date +%s)
demo: $(READY) $(if $(TEMPORAL_ADDRESS),,temporal)  ## delivers and retries in front of you, and runs until Ctrl-C
	@$(PY) -m demo

test: $(DEV) temporal  ## each behaviour, against a real Temporal server and real sockets (ARGS="tests/api -k etag" for some)
	@TEST_DATABASE=$${TEST_DATABASE:-sqlite} $(PYTEST) $(or $(ARGS),-m "not thorough" $(IN_PARALLEL))

test-unit: $(DEV)  ## the tests that start no server
	@TEST_DATABASE=sqlite $(PYTEST) -m "unit and not thorough" $(or $(ARGS),-n $(UNIT_PROCESSES))

test-thorough: $(DEV) temporal  ## what `make test` leaves out: kill -9 series, every look of a page, generated clients
	@TEST_DATABASE=$${TEST_DATABASE:-sqlite} $(PYTEST) -m thorough $(or $(ARGS),$(IN_PARALLEL))

test-postgresql: $(DEV) temporal  ## what is about the configuration, on PostgreSQL
	@TEST_DATABASE=postgresql $(PYTEST) $(or $(ARGS),$(IN_PARALLEL) tests/api tests/platform/test_configuration.py \
		tests/webhooks/store tests/webhooks/sending/test_deactivation.py tests/webhooks/events/test_operational.py)

test-api: $(DEV) $(SCHEMATHESIS)/.ready temporal  ## every answer is as the OpenAPI document says (SEED=2 for other calls)
	@$(PY) -m tests.clients $(SCHEMATHESIS)/bin/schemathesis

test-faults: $(DEV) temporal  ## nothing accepted is lost, whatever part is killed (ONLY="worker disk" for some)
	@$(PY) -m tests.faults $(ONLY)

test-production: $(DEV) temporal  ## what docker-compose.yml starts, as plain processes; one of each is killed
	@$(PY) -m tests.production

run: $(READY) $(if $(TEMPORAL_ADDRESS),,temporal)  ## serves the API on port 8000, with worker and Temporal server
	@exec $(PY) -m api

check: $(DEV)  ## lint, types, layers
	@$(PY) -m ruff check
	@$(PY) -m ruff format --check
	@$(PY) -m mypy
	@$(PY) -m pytest -q tests/test_layers.py

bench: $(DEV) temporal  ## measures rate, CPU time, isolation and overload (ONLY=rate for one)
	@$(PY) -m bench $(ONLY)

pictures: $(DEV) temporal  ## makes the pictures of the monitor in README.md
	@$(PY) -m tests.pages.pictures

temporal: $(READY)  ## finds, downloads or builds the Temporal server, once on a machine
	@$(PY) -m webhooks.temporal.dev_binary

rotate-master-key: $(READY)  ## encrypts every secret with a new master key, while the platform runs
	@$(PY) -m webhooks.store.rotate_master_key

rotate-signing-key: $(READY)  ## makes a new key that signs tokens (ARGS=--revoke-others ends all tokens)
	@$(PY) -m webhooks.identity.rotate_signing_key $(ARGS)

new-payload-key: $(READY)  ## gives a tenant a new key for what Temporal stores (ARGS="--tenant acme")
	@$(PY) -m webhooks.store.new_payload_key $(ARGS)

backup: $(READY)  ## copies databases and key while the platform runs (TO=/mnt/backups/monday)
	@$(PY) -m webhooks.store.backup $(TO)

new-api-key: $(READY)  ## makes an API key and prints it once (ARGS=--revoke-others ends all others)
	@$(PY) -m webhooks.identity.new_api_key $(ARGS)

reset-lost-secrets: $(READY)  ## resets what a lost master key had sealed (ARGS=--confirm does it)
	@$(PY) -m webhooks.store.reset_lost_secrets $(ARGS)

histories: $(DEV) temporal  ## saves a workflow history of each shape, for the replay tests
	@$(PY) -m tests.workflows.save_histories

COMPILE = $(PY) -m uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header $(UPGRADE)
lock: $(READY)  ## pins every dependency with its hashes (UPGRADE=--upgrade for newer ones)
	@$(COMPILE) pyproject.toml -o requirements.txt
	@$(COMPILE) --group install -c requirements.txt -o requirements-install.txt
	@$(COMPILE) --group embedded -c requirements.txt -o requirements-embedded.txt
	@$(COMPILE) pyproject.toml --group dev -c requirements.txt -c requirements-install.txt -c requirements-embedded.txt \
		-o requirements-dev.txt
	@$(COMPILE) tests/clients/requirements-schemathesis.in --python-version 3.11 -o tests/clients/requirements-schemathesis.txt

clean:  ## removes .venv and .data
	rm -rf $(VENV) .data

$(SCHEMATHESIS)/.ready: tests/clients/requirements-schemathesis.txt | $(READY)
	@echo "Installing schemathesis into $(SCHEMATHESIS) (once) ..."
	@$(PY) -m venv $(SCHEMATHESIS)
	@$(SCHEMATHESIS)/bin/python -m pip install --disable-pip-version-check --require-hashes --quiet --progress-bar off \
		--requirement $<
	@touch $@

# uv needs a tenth of pip's time, but knows nothing of pip's configuration: where it fails, pip installs.
PIP = $(PY) -m pip install --quiet --disable-pip-version-check --require-hashes
INSTALL = install() { $(PY) -m uv pip install --quiet --python $(PY) --require-hashes "$$@" || $(PIP) "$$@"; }; install

$(READY): requirements.txt requirements-embedded.txt requirements-install.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed (PYTHON=... make ...)")'
	@echo "Installing what running needs into $(VENV) (once; seconds, or a minute if it must be downloaded) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) -r requirements-install.txt
	@$(INSTALL) -r requirements.txt -r requirements-embedded.txt
	@touch $@

$(DEV): requirements-dev.txt $(READY)
	@echo "Installing what developing needs into $(VENV) (once) ..."
	@$(INSTALL) -r requirements-dev.txt
	@touch $@

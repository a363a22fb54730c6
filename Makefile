# Everything a newcomer needs: make run, make test. Python 3.11 to 3.13 and make are enough.
.DEFAULT_GOAL := help
.PHONY: help setup dev run test hostile lint types check reset bench lock
PY := .venv/bin/python
# The command `phone-scrubber`, which `pip install .` puts on the path, without an installation.
SCRUB := $(PY) -m phone_scrubber
# A stack is nine processes: without compiled files each would compile the whole project anew.
unexport PYTHONDONTWRITEBYTECODE

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

setup: ## make the virtual environment with what a local run needs
	@sh deploy/local/setup.sh local

dev:
	@sh deploy/local/setup.sh dev

run: setup ## start everything and print the page's address; FILE=contacts.csv scrubs that file
	@if [ -z "$(FILE)" ]; then exec $(SCRUB) up $(ARGS); fi; \
	$(SCRUB) scrub "$(FILE)" $(ARGS) || [ $$? -eq 3 ] # 3: done, some rows have no answer

# Tests wait more than they compute; each of the three workers has a broker and stacks of its own. They take modules
# in the order of tests/conftest.py: the longest first, so that at the end only short ones are left to be shared out.
test: dev ## run all tests, on real brokers and with the real processes
	@$(PY) -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

hostile: dev ## pour thousands of hostile records and requests on running parts
	@$(PY) -m pytest -n 3 --dist loadfile -m hostile $(ARGS)

lint: dev ## check style
	@$(PY) -m ruff check . && $(PY) -m ruff format --check --quiet .

types: dev ## check types
	@$(PY) -m mypy

check: lint types ## check style and types

reset: setup ## delete all local data; downloads are kept
	@$(SCRUB) reset

bench: dev ## run the benchmarks; ARGS names some of them
	@$(PY) -m benchmarks $(ARGS)

COMPILE = $(PY) -m uv pip compile --quiet --universal --generate-hashes --no-header pyproject.toml
lock: dev ## resolve the requirements and Kafka's jars anew and pin them with hashes
	@$(PY) -m pip install --quiet --disable-pip-version-check uv
	@$(COMPILE) --overrides deploy/not-in-image.txt -o requirements.lock
	@$(COMPILE) -o requirements-local.lock
	@$(COMPILE) --extra dev -o requirements-dev.lock
	@$(PY) -m deploy.local.broker

# Two commands do all the set-up: `make serve` and `make test`.
SHELL := bash
.SHELLFLAGS := -o pipefail -c
PYTHON ?= python3
BIN := .venv/bin
SERVES := .venv/serves
INSTALLED := .venv/installed
# Python compiles each module at its first import, which is less work than compiling all of them here.
PIP_INSTALL := pip install --quiet --disable-pip-version-check --no-compile

.PHONY: setup serve demo test check check-clients check-clients-all check-sdk-suites check-encoder check-image check-docs-commands check-supply clients docs fix lock clean benchmark-quality evaluate-classifiers mutation fuzz

setup: $(INSTALLED)

# $(call locked,FILE): everything comes from the lock, by hash, and nothing else: --no-deps keeps torch out.
locked = $(BIN)/pip install --disable-pip-version-check --no-compile --progress-bar off --no-deps --require-hashes \
	-r $1 | awk -v all=$$(grep -c '==' $1) '/^(Collecting|Processing|Requirement already|Ignoring)/ { printf "\r  package %d of %d", ++n, all; fflush() } \
	/^Installing/ { printf ", unpacking"; fflush() } END { print "" }'

# What the service needs. The tools of developers come on top.
$(SERVES): requirements.txt pyproject.toml setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed"; exit 1; }
	@echo "Installing into .venv (about a minute the first time) ..."
	@$(PYTHON) -m venv .venv
	@$(call locked,requirements.txt)
	@$(BIN)/$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(INSTALLED): requirements-dev.txt $(SERVES)
	@echo "Installing the tools of developers into .venv ..."
	@$(call locked,requirements-dev.txt)
	@touch $@

serve: $(SERVES)
	@exec $(BIN)/router serve

demo: setup
	@$(BIN)/router demo

# What the Node clients need is fetched where there is npm and its registry; their tests name what is missing.
# In the order of the folders the end-to-end tests, which take longest, come early.
NODE_CLIENTS := tests/clients/node/node_modules
test: setup $(if $(shell command -v npm),$(NODE_CLIENTS)/installed)
	@$(BIN)/python -m pytest -n 2 --no-loadscope-reorder $(COVERAGE)

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) test COVERAGE='--cov --cov-report term'

# Runs the commands of README.md and docs/first-hour.md, on ports 8080 and 8090, and compares the answers.
check-docs-commands: setup
	@$(BIN)/python -m tests.doc_commands README.md docs/first-hour.md

# Follows the Dockerfile in a scratch folder, as far as that goes without a container engine.
check-image: setup
	@$(BIN)/python -m tests.image

# Other people's clients against the service: their packages for Python in a venv of their own, those for Node beside.
CLIENTS_VENV := .venv-clients
clients: $(CLIENTS_VENV)/installed $(if $(shell command -v npm),$(NODE_CLIENTS)/installed)

check-clients: setup clients
	@CI=true $(BIN)/python -m pytest tests/clients

# Also the clients that are too heavy for every run, each in an environment of its own; the results go into the docs.
# CLIENTS=NAME,... runs only clients whose names contain one of these.
APART := tests/clients/apart
check-clients-all: setup clients $(patsubst %,%/installed,$(wildcard $(APART)/*))
	@CI=true CLIENTS=$(or $(CLIENTS),all) RECORD_CLIENTS=1 $(BIN)/python -m pytest tests/clients/test_clients.py; \
	status=$$?; $(BIN)/python -m tests.clients.matrix; exit $$status

$(APART)/%/installed: $(APART)/%/package-lock.json
	@echo "Installing $* ..."
	@npm ci --prefix $(@D) --silent --no-audit --no-fund
	@touch $@

$(APART)/%/installed: $(APART)/%/requirements.txt
	@echo "Installing $* ..."
	@$(PYTHON) -m venv .venv-apart/$*
	@.venv-apart/$*/bin/$(PIP_INSTALL) --no-deps --require-hashes -r $<
	@touch $@

$(CLIENTS_VENV)/installed: requirements-clients.txt
	@echo "Installing other people's clients into $(CLIENTS_VENV) ..."
	@$(PYTHON) -m venv $(CLIENTS_VENV)
	@$(CLIENTS_VENV)/bin/$(PIP_INSTALL) --no-deps --require-hashes -r requirements-clients.txt
	@touch $@

$(NODE_CLIENTS)/installed: tests/clients/node/package-lock.json
	@if npm ci --prefix tests/clients/node --silent; then touch $@; \
	else echo "The packages of the Node clients cannot be fetched: their tests are skipped."; fi

# The test suites of the vendors' own packages against a router with permissive models. RECORD=1 writes the page.
SUITES := .venv-sdk-suites
check-sdk-suites: setup $(SUITES)/installed
	@$(BIN)/python -m tests.sdk_suites $(if $(RECORD),--record)

$(SUITES)/installed: requirements-sdk-suites.txt
	@echo "Installing what the vendors' test suites need into $(SUITES) ..."
	@$(PYTHON) -m venv $(SUITES)
	@$(SUITES)/bin/$(PIP_INSTALL) --no-deps --require-hashes -r requirements-sdk-suites.txt
	@touch $@

# The default encoder against the library that defines the model, in a venv of its own because of torch.
REFERENCE := .venv-reference
check-encoder: $(REFERENCE)/installed
	HF_HUB_OFFLINE=1 $(REFERENCE)/bin/python -c 'import sentence_transformers'
	HF_HUB_OFFLINE=1 $(REFERENCE)/bin/python -m pytest tests/embeddings/test_against_sentence_transformers.py

# torch comes last and unlocked: which build it is depends on the machine. All that it needs is locked.
$(REFERENCE)/installed: requirements-dev.txt requirements-reference.txt
	@echo "Installing sentence-transformers and torch into $(REFERENCE) ..."
	@$(PYTHON) -m venv $(REFERENCE)
	@$(REFERENCE)/bin/$(PIP_INSTALL) --no-deps --require-hashes -r requirements-dev.txt
	@$(REFERENCE)/bin/$(PIP_INSTALL) --no-deps --require-hashes -r requirements-reference.txt
	@$(REFERENCE)/bin/$(PIP_INSTALL) torch==2.13.0
	@touch $@

# The site of docs/nav.yml, into site/. A link that leads nowhere fails it. The generator has a venv of its own.
DOCS := .venv-docs
SITE := build/docs
docs: $(DOCS)/installed
	@rm -rf $(SITE) site && mkdir -p $(SITE)
	@cp -r --parents *.md benchmarks/*.md docs $(SITE)
	@mv $(SITE)/docs/nav.yml $(SITE)/.nav.yml
	@$(DOCS)/bin/zensical build --clean --strict
	@cp -r --parents LICENSE .env.example docs/first_hour site
	@$(DOCS)/bin/python -m tests.built_site site

$(DOCS)/installed: requirements-docs.txt
	@echo "Installing the generator of the documentation site into $(DOCS) ..."
	@$(PYTHON) -m venv $(DOCS)
	@$(DOCS)/bin/$(PIP_INSTALL) --no-deps --require-hashes -r requirements-docs.txt
	@touch $@

# What the service installs, as a CycloneDX list in build/sbom.json, and what is known against it.
SUPPLY := .venv-supply
check-supply: $(SUPPLY)/installed
	@$(SUPPLY)/bin/python -m tests.supply build

$(SUPPLY)/installed: requirements-supply.txt
	@echo "Installing pip-audit and CycloneDX into $(SUPPLY) ..."
	@$(PYTHON) -m venv $(SUPPLY)
	@$(SUPPLY)/bin/$(PIP_INSTALL) --no-deps --require-hashes -r requirements-supply.txt
	@touch $@

fix: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Mutation tests of the learner and of the normaliser: a sample of 400 mutants, or every mutant with ALL=1.
mutation: setup
	@$(BIN)/$(PIP_INSTALL) --no-deps --require-hashes -r requirements-mutation.txt
	@$(BIN)/python -m tests.mutation $(if $(ALL),--all)

# Bodies that no client would send, on every path: 2,000 a path and other ones each time, or as many as EXAMPLES says.
fuzz: setup
	@FUZZ_EXAMPLES=$(or $(EXAMPLES),2000) $(BIN)/python -m pytest -q tests/service/api/test_any_bytes.py

# How well the shipped classifiers tag the prompts that are kept apart.
evaluate-classifiers: setup
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.classifiers.evaluate

# DATA is a folder of recorded outcomes, <set>.parquet; rivals that cannot be installed are left out.
benchmark-quality: setup
	@$(BIN)/$(PIP_INSTALL) --no-deps --require-hashes -r requirements-rivals.txt || true
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.quality --data $(DATA)

# Resolve the dependencies anew. One lock serves every platform; the runtime's is a part of the developers'.
LOCK := $(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet
WITHIN := --constraints requirements-dev.txt
lock: setup
	$(LOCK) --group dev --output-file requirements-dev.txt
	$(LOCK) --group service $(WITHIN) --output-file requirements.txt
	echo torch > .venv/excluded.txt
	printf 'sentence-transformers\nsympy\nnetworkx\n' | \
		$(LOCK) - $(WITHIN) --excludes .venv/excluded.txt --output-file requirements-reference.txt
	$(LOCK) --group rivals $(WITHIN) --output-file requirements-rivals.txt
	$(LOCK) --group clients --output-file requirements-clients.txt
	for folder in $(dir $(wildcard $(APART)/*/requirements.in)); do \
		$(LOCK) $$folder/requirements.in --output-file $$folder/requirements.txt || exit 1; done
	$(LOCK) --group sdk-suites $(WITHIN) --output-file requirements-sdk-suites.txt
	$(LOCK) --group docs $(WITHIN) --output-file requirements-docs.txt
	$(LOCK) --group mutation $(WITHIN) --output-file requirements-mutation.txt
	$(LOCK) --group supply $(WITHIN) --output-file requirements-supply.txt

clean:
	rm -rf .venv $(SUITES) $(REFERENCE) $(CLIENTS_VENV) $(DOCS) $(NODE_CLIENTS) .venv-apart $(APART)/*/{installed,node_modules} build site

# Two commands do all the set-up: `make serve` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: setup serve demo test check fix lint types lock clean

setup: $(INSTALLED)

# Everything comes from the lock, by hash, and nothing else: --no-deps keeps torch out.
$(INSTALLED): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed"; exit 1; }
	@echo "Installing into .venv (about a minute the first time) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(INSTALLED)

serve: setup
	@exec $(BIN)/router serve

demo: setup
	@$(BIN)/router demo

test: setup
	@$(BIN)/python -m pytest

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

fix: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Resolve the dependencies anew. One lock serves every platform; the runtime's is a part of the developers'.
LOCK := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet
lock: setup
	$(LOCK) --extra dev --output-file requirements-dev.txt
	$(LOCK) --constraints requirements-dev.txt --output-file requirements.txt

clean:
	rm -rf .venv

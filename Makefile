# Hone's commands. `make up` is all that a person needs to chat.
PYTHON ?= python3
ACCELERATOR ?= $(if $(shell command -v nvidia-smi),gpu,cpu)
LOCK := deploy/lock/$(ACCELERATOR).txt
STAMP := .venv/.installed-$(ACCELERATOR)
BIN := .venv/bin

# uv does not read pip's find-links; where pip has none, uv knows PyTorch's own CPU wheels.
ifneq ($(PIP_FIND_LINKS),)
export UV_FIND_LINKS := $(PIP_FIND_LINKS)
else ifeq ($(ACCELERATOR),cpu)
export UV_TORCH_BACKEND := cpu
endif

.PHONY: setup up demo test check format bench soak servers lock clean

setup: $(STAMP) ## install everything from the lock into .venv

$(STAMP): pyproject.toml $(LOCK)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Hone needs Python 3.11 or newer; set PYTHON=...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -c 'import uv' 2>/dev/null || $(BIN)/python -m pip install --quiet "$$(grep '^uv==' $(LOCK))"
	$(BIN)/uv pip sync --quiet --compile-bytecode $(LOCK)
	$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

up: setup ## start Hone on http://127.0.0.1:8000
	@exec $(BIN)/hone up $(ARGS)

demo: setup ## the whole loop in minutes: drift, training, proof, promotion, and back
	@exec $(BIN)/hone demo --yes $(ARGS)

test: setup servers ## the whole suite, real vLLM and real training included
	$(BIN)/pytest $(ARGS)

check: setup ## format, lint, types, import contracts
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/yamllint --strict deploy .pre-commit-config.yaml

format: setup ## mend what a program can: layout, imports, generated parts of files
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/python -P tests/house.py

bench: setup ## speeds as ratios within one run
	PYTHONPATH=tests $(BIN)/python tests/bench_gateway.py
	PYTHONPATH=tests $(BIN)/python tests/bench_statistics.py

soak: setup ## the long versions of the tests
	$(BIN)/pytest --soak -s tests/test_endurance.py tests/test_lab_promises.py tests/test_demo_real.py $(ARGS)

servers: ## programs that the suite starts: PostgreSQL, promtool
	@deploy/servers.sh

lock: ## resolve the dependencies again
	for extra in cpu gpu; do \
	  $(BIN)/uv pip compile pyproject.toml --extra $$extra --extra dev --override deploy/lock/overrides.txt --quiet \
	    --no-header --no-emit-find-links --no-emit-index-url --output-file deploy/lock/$$extra.txt || exit 1; \
	done
	$(BIN)/uv pip compile pyproject.toml --constraint deploy/lock/cpu.txt --quiet \
	  --no-header --no-emit-find-links --no-emit-index-url --output-file deploy/lock/gateway.txt

clean: ## remove the environment, not the data
	rm -rf .venv

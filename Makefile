# Every target sets itself up: a machine with Python 3.11 or 3.12 and pip is enough.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# One more than there are cores: tests that start processes wait for them now and then.
WORKERS := $(shell expr $$(nproc 2>/dev/null || echo 2) + 1)

# A file's tests share what they start; in the order of collection, which has the longest files first.
BY_FILE := --dist loadfile --no-loadscope-reorder

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# No package of ours or of others reports home.
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true

.PHONY: demo test test-fast coverage test-long test-platform-smoke test-images e2e chaos kills check lock sbom docs install format clean stack stack-down worker deploy

demo: $(INSTALLED)  ## train, export and look at a style in a minute and a half
	$(BIN)/tinystyle demo --out demo

test: $(INSTALLED)  ## the test suite
	$(BIN)/python -m pytest -n $(WORKERS) $(BY_FILE)

test-fast: $(INSTALLED)  ## what needs no process, no network and under a second each; a minute
	$(BIN)/python -m pytest tests/unit -m 'not slow and not long and not platform' -n $(WORKERS) $(BY_FILE)

coverage: $(INSTALLED)  ## the test suite, with a table of the lines that it does not reach
	$(BIN)/python -m pytest -n $(WORKERS) $(BY_FILE) --cov=tinystyle --cov=flows --cov=infra --cov-report=term:skip-covered

test-long: $(INSTALLED)  ## what takes minutes or gigabytes each: the demo, the notebook, 24 megapixels, killed and resumed
	$(BIN)/python -m pytest -m long

test-platform-smoke: $(INSTALLED)  ## servers up, S3 to published, servers down
	$(BIN)/python -m pytest -m 'platform and not e2e' -n 2 $(BY_FILE)

test-images: $(INSTALLED)  ## build the images of docker/, as root, and use them; Debian's buildah and debootstrap, 20 minutes
	$(BIN)/python -m pytest -m images

e2e: test-platform-smoke  ## all of the platform, from a clean state
	$(BIN)/python -m pytest -m e2e
	@echo "e2e: everything passed"

# Rounds of `make chaos`, and where it writes them.
N ?= 20
OUT ?= build/chaos.jsonl

chaos: $(INSTALLED)  ## N rounds from S3 to published, something killed in each at a random moment; a minute and a half each
	$(BIN)/python -m benchmarks.chaos --rounds $(N) --out $(OUT)

kills: OUT = build/kills.jsonl
kills: N = 200
kills: $(INSTALLED)  ## N random kills, stops and hang-ups of small trainings; half a minute each
	$(BIN)/python -m benchmarks.kills --kills $(N) --out $(OUT)

check: $(INSTALLED)  ## lint, formatting, strict types, what may import what; shell scripts, Dockerfiles, compose file
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/shellcheck .ci/run docker/*.sh requirements/*.sh scripts/*.sh
	$(BIN)/hadolint docker/*.Dockerfile
	$(BIN)/docker-compose --file infra/compose.yaml --profile gpu config --quiet

# Where uv finds the CPU build of torch, such as TORCH='--find-links FOLDER'; by default PyTorch's own index.
TORCH ?=

lock: $(INSTALLED)  ## all locks, in requirements and docker/requirements, after a change of constraints.txt or pyproject.toml
	PATH="$(abspath $(BIN)):$$PATH" docker/lock.sh $(TORCH)
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python requirements/lock.py

sbom: $(INSTALLED)  ## a bill of materials (CycloneDX) for every lock, in build/sbom
	$(BIN)/python requirements/sbom.py build/sbom

docs: $(INSTALLED)  ## the documentation as a website, in build/site
	$(BIN)/python -m mkdocs build --strict

install: $(INSTALLED)  ## .venv with every locked version, each file checked against its checksum

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(INSTALLED): pyproject.toml requirements/dev.txt requirements/cuda.txt requirements/torch-cpu.txt requirements/install.sh
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12) and "tinystyle needs Python 3.11 or 3.12; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	requirements/install.sh $(BIN)/python dev --editable
	touch $@

# Options of `python -m infra.stack up`, such as STACK='--workers 2'.
STACK ?=

stack: $(INSTALLED)  ## object store, MLflow, Prefect and a worker, in the background
	$(BIN)/python -m infra.stack up $(STACK)

worker: $(INSTALLED)  ## one more worker, in the foreground, on this machine or another; see docs/operator.md
	$(BIN)/python -m infra.stack worker $(if $(NAME),--name $(NAME))

stack-down: $(INSTALLED)  ## stop them; the data stays
	$(BIN)/python -m infra.stack down

deploy: $(INSTALLED)  ## apply the deployments of infra/prefect.yaml to the running stack
	@test -e .stack/env || { echo "no stack here; run make stack first" >&2; exit 2; }
	set -a; . .stack/env; set +a; $(BIN)/prefect --no-prompt deploy --all --prefect-file infra/prefect.yaml

clean:
	rm -rf $(VENV) build demo .import_linter_cache .mypy_cache .ruff_cache .pytest_cache

# The menu: `make` alone prints it. CI calls only these targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
OURS := flotilla-protos flotilla-common flotilla-llm flotilla-cli flotilla-gateway flotilla-orchestrator flotilla-memory flotilla-tool flotilla-evaluator
SERVICES := gateway orchestrator memory tool evaluator
PACKAGES := libs/protos libs/common libs/llm services/gateway services/orchestrator services/memory services/tool services/evaluator libs/cli
CODE := libs services tests benchmarks

.PHONY: help
help: ## Print this menu
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/ready: requirements.lock pyproject.toml $(addsuffix /pyproject.toml,$(PACKAGES))
	@$(PYTHON) -c 'import sys; sys.exit("Flotilla needs Python 3.11 or newer; this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@awk '/^uv==/{on=1} on{print} on&&!/\\$$/{exit}' requirements.lock > .venv/uv.lock
	@echo "installing (hash-checked, from requirements.lock)…"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.lock
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation $(addprefix -e ,$(PACKAGES))
	@touch $@

.PHONY: setup
setup: .venv/ready ## Make .venv with everything, the flotilla command included

.PHONY: up
up: setup ## Run the whole platform on this machine (Ctrl-C stops it)
	@$(BIN)/flotilla up $(ARGS)

.PHONY: down
down: setup ## Stop a platform that was started with ARGS=--detach
	@$(BIN)/flotilla down $(ARGS)

.PHONY: check
check: setup ## Format, lint, types, layers, contracts
	@$(BIN)/ruff format --check --quiet $(CODE) || { echo "run: make format"; exit 1; }
	@$(BIN)/ruff check --quiet $(CODE)
	@$(BIN)/mypy $(CODE)
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python protos/generate.py --check
	@$(BIN)/python protos/breaking.py

.PHONY: format
format: setup ## Format and mend what can be mended
	@$(BIN)/ruff format --quiet $(CODE)
	@$(BIN)/ruff check --quiet --fix $(CODE)

.PHONY: test
test: setup ## Unit, contract and integration tests; no key, no network
	@$(BIN)/pytest -q $(ARGS)

.PHONY: chaos
chaos: setup ## Kill what serves, many times, and check every stream
	@$(BIN)/pytest -q -s -m chaos tests/chaos $(ARGS)

.PHONY: bench
bench: setup ## Measure parts, then the whole beside LiteLLM's proxy (installed once); minutes, ARGS=--parts less than one
	@$(BIN)/python -m benchmarks $(ARGS)

.PHONY: e2e
e2e: setup ## Install on a Kubernetes, break things under load, check every answer (tests/e2e/README.md)
	@$(BIN)/pytest -q -s -m e2e --timeout 2400 tests/e2e $(ARGS)

.PHONY: check-deploy
check-deploy: setup check-skaffold check-terraform ## The chart: types, drift, schemas, renders, alerts (needs Go or apt, installs its own pinned tools)
	@tools=$$(charts/checks/tools.sh) && export PATH="$$tools:$$PATH" MYPYPATH=charts/checks \
	&& $(BIN)/ruff format --check --quiet charts && $(BIN)/ruff check --quiet charts && $(BIN)/mypy charts/checks \
	&& $(BIN)/python charts/checks/update.py --check && $(BIN)/pytest -q charts/checks -o pythonpath=charts/checks $(ARGS)

.PHONY: check-skaffold
check-skaffold: setup ## skaffold.yaml: its schema, and that each image reaches the chart
	@PATH="$$(charts/checks/tools.sh):$$PATH:/usr/local/go/bin" $(BIN)/python charts/checks/skaffold.py

.PHONY: check-terraform
check-terraform: ## terraform/: format, offline tests, and that the chart takes the values
	@PATH="$$(charts/checks/tools.sh):$$PATH" terraform/check

.PHONY: chart
chart: setup ## Bring up to date what is derived in the chart: agents, README, dashboard, golden renders
	@tools=$$(charts/checks/tools.sh) && PATH="$$tools:$$PATH" $(BIN)/python charts/checks/update.py

# A git tag has a v in front of the version, images and charts have not; and their names have no capitals.
images chart-push: override VERSION := $(patsubst v%,%,$(VERSION))
images chart-push: override REGISTRY := $(shell echo '$(REGISTRY)' | tr A-Z a-z)

.PHONY: images
images: ## Build the five images by docker; REGISTRY=… VERSION=… and ARGS=--push or --sign publish them
	@REGISTRY='$(REGISTRY)' VERSION='$(VERSION)' services/images $(ARGS)

.PHONY: chart-push
chart-push: ## Package the chart as VERSION, with the images of REGISTRY, and push it to oci://REGISTRY/charts
	@REGISTRY='$(REGISTRY)' VERSION='$(VERSION)' charts/package
	@helm push dist/flotilla-$(VERSION).tgz oci://$(REGISTRY)/charts

.PHONY: kind
kind: ## A cluster on this machine by kind, with ingress and metrics (needs docker, kind, helm, kubectl)
	@k8s/kind-up

.PHONY: protos
protos: setup ## Generate libs/protos from protos
	@$(BIN)/python protos/generate.py

.PHONY: lock
lock: setup ## Resolve requirements.lock anew, and each image's part of it
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  $(addprefix --no-emit-package ,$(OURS)) pyproject.toml --extra dev $(addsuffix /pyproject.toml,$(PACKAGES)) -o requirements.lock
	@for service in $(SERVICES); do \
	  $(BIN)/uv pip compile --quiet --python-version 3.11 --python-platform linux --generate-hashes --no-emit-index-url --no-header --no-annotate \
	    $(addprefix --no-emit-package ,$(OURS)) -c requirements.lock services/$$service/pyproject.toml -o services/$$service/requirements.lock; done

.PHONY: clean
clean: ## Remove .venv and caches (data in ~/.flotilla stays)
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# The one front door. Every target that needs Python first builds .venv (minutes, once; later runs start at once).
SHELL := bash
.DEFAULT_GOAL := help

PYTHON  ?= python3
VLLM    ?= auto
WORKERS ?= 2

export PYTHON VLLM trace

RUN   := .venv/bin/python -m
READY := .venv/.ready-$(VLLM)
PEERS := .venv-peers/.ready

.PHONY: help setup demo live-benefit fidelity calibrate gpu soak tune bench bench-peers reproduce results test lint format clean distclean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  Variables: trace=PATH (demo)  PYTHON=python3.12  VLLM=auto|cpu|gpu|none  WORKERS=2  PYTEST_ARGS='-k qoe'"

setup: $(READY) ## Build .venv with everything in it (the other targets do this by themselves)

$(READY): pyproject.toml tools/setup_env.sh
	@bash tools/setup_env.sh
	@touch $@

# The path goes to Hydra as one quoted value, so spaces, commas and quotes in it stay as they are.
demo: $(READY) ## Show what the project does in a few minutes; trace=PATH replays your own request trace
	@$(RUN) scripts.demo $${trace:+"trace='$${trace//\'/\\\'}'"}

live-benefit: $(READY) ## Compare FCFS, Andes and the learned policy on a live vLLM engine
	@$(RUN) scripts.live_benefit

fidelity: $(READY) ## Compare the simulator with live vLLM and write docs/FIDELITY.md (half an hour)
	@$(RUN) scripts.fidelity policy=zoo/patient document=docs/FIDELITY.md $(FIDELITY_ARGS)

calibrate: $(READY) ## Measure how fast this machine serves and keep it as a step-time preset
	@$(RUN) scripts.calibrate

$(PEERS): tools/setup_peers.sh
	@bash tools/setup_peers.sh
	@touch $@

gpu: $(READY) ## Calibrate this machine's GPU and compare the schedulers on it with an 8B model (about 20 minutes)
	@$(RUN) scripts.gpu_run $(GPU_ARGS)

soak: $(READY) ## Load a real server for 20 minutes with bursts, bad clients and failing policies; SOAK_ARGS=minutes=5 for less
	@$(RUN) scripts.soak $(SOAK_ARGS)

tune: $(READY) ## Search fixed settings of a scheduler, 12 minutes each; TUNE_ARGS="search=best_static write=true" for another
	@$(RUN) scripts.tune study.minutes=12 $(TUNE_ARGS)

bench: $(READY) ## Measure speed, start-up and memory into benchmarks/RESULTS.md (about 10 minutes)
	@$(RUN) benchmarks.bench $(BENCH_ARGS)

bench-peers: $(READY) $(PEERS) ## Measure the simulator's speed beside NVIDIA Dynamo's mocker, same requests, one core
	@$(RUN) benchmarks.peers $(PEERS_ARGS)

reproduce: $(READY) ## The paper's figures and claims in the simulator, a few minutes: REPRODUCTION.md, and the README's table
	@run=runs/reproduce/$$(git rev-parse --short HEAD) && \
	$(RUN) scripts.reproduce out=. run_dir=$$run $(REPRODUCE_ARGS) && $(RUN) scripts.update_readme $$run

results: $(READY) ## What the policies of the zoo are worth: RESULTS.md, and the README's goals
	@run=runs/results/$$(git rev-parse --short HEAD) && \
	$(RUN) scripts.results rerun=all out=. run_dir=$$run $(RESULTS_ARGS) && $(RUN) scripts.update_readme $$run

test: $(READY) ## Run all tests: first the quick ones in parallel, then the live vLLM ones alone
	@trap 'echo "make test: $$SECONDS s in all"' EXIT; \
	$(RUN) pytest -n $(WORKERS) --dist loadgroup -m "not live" $(PYTEST_ARGS) || exit; \
	if [ "$$VLLM" = none ]; then echo "VLLM=none: the live vLLM tests were left out"; exit; fi; \
	$(RUN) pytest -m live $(PYTEST_ARGS)

lint: $(READY) ## Check style, format and types
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) mypy

format: $(READY) ## Repair style and format
	@$(RUN) ruff check --fix-only .
	@$(RUN) ruff format .

clean: ## Remove caches and build products (recorded runs stay)
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -path './.venv*' -prune -o -name __pycache__ -type d -exec rm -rf {} +

distclean: clean ## The same, and .venv and .venv-peers
	rm -rf .venv .venv-peers

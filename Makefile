# Every target is a thin line over `python -m PACKAGE COMMAND`. The environment is made on first use.
PYTHON ?= python3
ROOT ?= data
DATASET ?= demo
WORKERS ?=
SHARDS ?= $(ROOT)/shards/demo $(ROOT)/shards/synthetic
PRESET ?= tiny
METHOD ?= both
DEMO_MINUTES ?= 8
TASK ?= body_mesh
LABELS ?= $(ROOT)/shards/synthetic-labelled$(if $(filter hand_mesh gesture,$(TASK)),-hands)
INIT ?= $(ROOT)/training/tiny
FINETUNE_MINUTES ?= 6
ENV := .venv/.complete
RUN := .venv/bin/python
UV_VERSION := 0.13.8
export CROSSPAIRS_ROOT := $(ROOT)
export DATASET SQL

.DEFAULT_GOAL := help

help:  ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | \
	  awk -F'\t' '{printf "  make %-14s %s\n", $$1, $$2}'

$(ENV): requirements.txt
	@echo "making the environment in .venv (once; several GB from the package index)"
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info[:2] <= (3, 13); \
	  sys.exit(0 if ok else "crosspairs needs Python 3.11 to 3.13, this is " + sys.version.split()[0] + ": set PYTHON=python3.12")'
	@$(PYTHON) -m venv .venv
	@.venv/bin/pip install -qq --disable-pip-version-check uv==$(UV_VERSION)
	@.venv/bin/uv pip sync --quiet --require-hashes --python .venv/bin/python requirements.txt
	@touch $@

env: $(ENV)  ## make the environment

mine: $(ENV)  ## mine DATASET=demo|synthetic|synthetic-labelled|PATH into the catalog, then write shards
	@$(RUN) -m mining run "$$DATASET" $(if $(WORKERS),--workers $(WORKERS)) $(ARGS)
	@$(RUN) -m shards build --dataset "$$DATASET" --part each >/dev/null
	@$(RUN) -m catalog summary --dataset "$$DATASET"

$(ROOT)/shards/%/index.json: | $(ENV)
	@$(MAKE) --no-print-directory mine DATASET=$*

LOCAL_SHARDS = $(foreach set,$(SHARDS),$(if $(findstring ://,$(set)),,$(set)))
LOCAL_INDEXES = $(addsuffix /index.json,$(LOCAL_SHARDS))

pretrain: $(ENV) $(LOCAL_INDEXES)  ## train PRESET=tiny by METHOD=both on SHARDS for DEMO_MINUTES=8
	@$(RUN) -m training pretrain --shards $(SHARDS) --preset $(PRESET) --method $(METHOD) \
	  --minutes $(DEMO_MINUTES) $(ARGS)

# the demo's labelled images and pre-trained model are made when they are asked for and not there
DEMO_LABELS = $(if $(findstring $(ROOT)/shards/synthetic-labelled,$(LABELS)),$(ROOT)/shards/synthetic-labelled/index.json)
DEMO_INIT = $(if $(filter $(ROOT)/training/tiny,$(INIT)),$(ROOT)/training/tiny/config.json)

$(ROOT)/training/tiny/config.json:
	@$(MAKE) --no-print-directory pretrain PRESET=tiny METHOD=both

finetune: $(ENV) $(DEMO_LABELS) $(DEMO_INIT)  ## train TASK=body_mesh from INIT on LABELS, then try it on the demo
	@$(RUN) -m training finetune --task $(TASK) --preset $(PRESET) --init $(INIT) --shards $(LABELS) \
	  --minutes $(FINETUNE_MINUTES) $(ARGS)
	@$(RUN) -m training predict demo --every 5 --out $(ROOT)/predictions/$(TASK)-$(PRESET) \
	  --checkpoint $(ROOT)/finetuning/$(TASK)-$(PRESET)

query: $(ENV)  ## ask the catalog: SQL="SELECT kind, count(*) FROM pairs GROUP BY kind"
	@$(RUN) -m catalog sql "$$SQL"

browse: $(ENV)  ## write a page that shows the pairs: data/browse/index.html
	@$(RUN) -m catalog browse $(ARGS)

quality: $(ENV)  ## measure mined pairs against the truth of synthetic scenes
	@$(RUN) -m mining quality $(if $(WORKERS),--workers $(WORKERS)) $(ARGS)

scaling: $(ENV)  ## measure how the cost of pairing grows with the footage
	@$(RUN) -m mining scaling $(ARGS)

study-pretrain: $(ENV) $(LOCAL_INDEXES)  ## does pre-training use the second image?
	@$(RUN) -m training study-pretrain --shards $(SHARDS) $(ARGS)

study: $(ENV) $(LOCAL_INDEXES) $(DEMO_LABELS)  ## does pre-training on pairs pay in fine-tuning?
	@$(RUN) -m training study --shards $(SHARDS) --labels $(LABELS) $(ARGS)

bench-train: $(ENV) $(firstword $(LOCAL_INDEXES))  ## measure the speed of the loader and of training
	@$(RUN) -m training bench --shards $(firstword $(SHARDS)) $(ARGS)

test: $(ENV)  ## run the test suite but for its slow tests
	@$(RUN) -m pytest -q -m "not slow"

test-slow: $(ENV)  ## run the slow tests: kills, Ray workers, the demo, trainings
	@$(RUN) -m pytest -q -m slow

lint: $(ENV)  ## check style and types
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check --quiet .
	@$(RUN) -m mypy

requirements: $(ENV)  ## pin the newest versions that pyproject.toml allows, with hashes
	@.venv/bin/uv pip compile --quiet pyproject.toml --all-extras --universal --python-version 3.11 \
	  --upgrade --generate-hashes --no-emit-index-url --no-emit-find-links --no-header -o requirements.txt

.PHONY: help env mine pretrain finetune query browse quality study study-pretrain bench-train scaling test test-slow lint requirements

# What this project does, a target each; `make` alone lists the experiments.
# Every target makes the virtual environment first where it is missing, so that each works on a fresh machine.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RESNET := $(BIN)/resnet
STAMP := $(VENV)/.made

# make reproduce TINY=1 is a smoke run; OPTIONS="--jobs 4 --seeds 3" goes to every experiment.
OPTIONS ?=
TINY ?=

# The demo: experiments/degradation.toml and the README say what it can and cannot show.
DEMO := degradation --depths 8,20 --schedule 0.02 --precision bf16 --dataset auto --jobs 2

.PHONY: list setup demo reproduce report check format test

list: $(STAMP)
	@$(RESNET) list

setup: $(STAMP)

# Made anew when the dependencies change; the constraints name a pair of torch and torchvision that fit together.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable . --group dev
	@touch $@

demo: $(STAMP)
	$(RESNET) run $(DEMO)

reproduce: $(STAMP)
	$(RESNET) reproduce $(if $(TINY),--tiny) $(OPTIONS)

report: $(STAMP)
	$(RESNET) report

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/python -m typer resnet_cli.cli.main utils docs --name resnet --output docs/commands.md

test: $(STAMP) check
	$(BIN)/python -m pytest

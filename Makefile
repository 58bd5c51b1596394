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

# The demo on the real set: experiments/degradation.toml says what it can and cannot show.
CIFAR10 := degradation --depths 8,20 --schedule 0.02 --precision auto --dataset auto --jobs 2

# Two processes a core, since tests wait now and then; twelve at most, for each needs half a gigabyte. Each begins with a
# share of the files and, once through, takes tests from the others.
WORKERS ?= $(shell $(PYTHON) -c "import os; print(min(12, 2 * (os.cpu_count() or 1)))")
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

.PHONY: list setup demo demo-cifar10 reproduce report check format docs test test-all

list: $(STAMP)
	@$(RESNET) list

setup: $(STAMP)

# Made anew when the dependencies change; the constraints name a pair of torch and torchvision that fit together.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable . --group dev
	@touch $@

# experiments/demo.toml says what it can and cannot show.
demo: $(STAMP)
	$(RESNET) run demo --precision auto --jobs 2
	@echo
	@echo "Next, try:"
	@echo "  $(RESNET) run degradation --depths 8,20 --dataset auto --minutes 30   # on CIFAR-10"
	@echo "  $(RESNET) show table6    # the paper's table: protocol, nets, numbers, claims"
	@echo "  $(RESNET) report         # one page with the tables, the curves and the verdicts"

# Says first how long it takes here: it measures the updates.
demo-cifar10: $(STAMP)
	$(RESNET) run $(CIFAR10) --estimate

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

# The generated pages, then the site, without a network; a warning is an error.
docs: $(STAMP)
	$(BIN)/python docs/build.py

test: $(STAMP) check
	$(PYTEST)

# The rest: what takes long. The full counts of some tests stay for pytest -m slow.
test-all: $(STAMP)
	$(PYTEST) -m "long and not slow"

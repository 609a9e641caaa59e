# make demo, make test and make lint need nothing but Python 3.11 and make: they make the
# environment themselves and reuse it as long as the requirements stay the same.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
RUN := $(VENV)/bin/python
WANTED := $(shell cat requirements.txt pyproject.toml | cksum | cut -d' ' -f1)
READY := $(VENV)/.ready-$(WANTED)
DEMO := outputs/demo

.PHONY: demo test lint environment clean

demo: environment
	HSI_OFFLINE=1 $(RUN) generate_model.py cao --prune --quantize --epochs 20 \
	    --prune_increment 20 --prune_end 60 --prune_epochs 5 --output $(DEMO) --resume
	$(RUN) visualization.py $(DEMO)/trained_pruned_model_60.h5 gradient

test: environment
	$(RUN) -m pytest -n auto --dist loadfile --no-loadscope-reorder --durations=40

lint: environment
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

environment: $(READY)

$(READY):
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or 3.12 is needed" if not (3, 11) <= sys.version_info < (3, 13) else 0)'
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --editable '.[dev]'
	rm -f $(VENV)/.ready-*
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache

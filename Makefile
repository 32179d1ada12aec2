# The two commands that most people need: `make report` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: help setup report test check format bench recall quality classifier sanitize portable clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP)  ## make .venv with Reviver and its tools

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Reviver needs Python 3.11 or newer; this is %d.%d. Try: make PYTHON=python3.12" % sys.version_info[:2]) if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

report: setup  ## train both networks and write report/report.html and report/report.pdf
	$(BIN)/reviver report --out report

test: setup  ## run the tests
	$(BIN)/python -m pytest

check: setup  ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup  ## measure speed against the public peers (minutes; BENCH=whole_report times make report)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,bench]'
	$(BIN)/python -m benchmarks $(BENCH)

recall: setup  ## measure what the LSTM reaches on every task, over seeds, into docs/measurements (hours; resumes)
	$(BIN)/python -m benchmarks.recall
	$(BIN)/reviver lstm curve --out runs/curve
	cp runs/curve/curve.json docs/measurements/recall_curve.json
	cp runs/curve/curve.png docs/pictures/recall-curve.png

quality: setup  ## measure what recipes of the GAN reach, over seeds, into docs/measurements (hours; resumes)
	$(BIN)/python -m benchmarks.gan_quality

classifier: setup  ## make the pinned digit classifier anew (minutes)
	$(BIN)/python -m reviver.gan.train_classifier

SANITIZERS := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
sanitize: setup  ## run the native operator's tests under the address and undefined-behaviour sanitizers
	LD_PRELOAD="$$(c++ -print-file-name=libasan.so) $$(c++ -print-file-name=libubsan.so)" ASAN_OPTIONS=detect_leaks=0 \
	REVIVER_CXXFLAGS="$(SANITIZERS)" REVIVER_CACHE=$(VENV)/sanitized $(BIN)/python -m pytest tests/test_operator.py

# A later -march takes the place of the -march=native that native.py asks for.
portable: setup  ## run the native operator's tests as compiled for x86-64 without AVX, with AVX2, with AVX-512 but no bf16
	for march in x86-64 x86-64-v3 x86-64-v4; do \
		REVIVER_CXXFLAGS=-march=$$march REVIVER_CACHE=$(VENV)/portable/$$march $(BIN)/python -m pytest tests/test_operator.py || exit 1; \
	done

clean:  ## remove what setup and report made
	rm -rf $(VENV) report build dist

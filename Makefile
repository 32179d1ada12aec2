# The two commands that most people need: `make report` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check
READY  := $(VENV)/.installed-for-report
STAMP  := $(VENV)/.installed
WEB    := web/node_modules/.installed

# Continuous integration is such a machine: there setup installs the very files that requirements.lock names by hash.
# On another Python or platform other files are needed, so pip chooses within the ranges of pyproject.toml.
IS_LOCKED := import platform, sys; sys.exit((sys.version_info[:2], platform.system(), platform.machine()) != ((3, 11), "Linux", "x86_64"))

# Tests start dozens of processes of Python, each of which would compile the package again.
test test-long random: export PYTHONDONTWRITEBYTECODE :=

.DELETE_ON_ERROR:  # so that a venv without pip, as Debian makes it without python3-venv, is made again
.PHONY: help setup browser explorer web-check lock report finished-report test test-long test-third-party random check docs pages teach release wheel format bench recall quality records classifier sanitize portable mutants mutants-native clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) $(WEB) browser  ## install Reviver with its tools: into .venv, web/node_modules, and Chromium where it may

# install(LOCK, EXTRAS, OPTIONS): the package with what LOCK names, or elsewhere with its extras.
define install
	@echo "installing into $(VENV) what $(1) names"
	if $(BIN)/python -c '$(IS_LOCKED)'; then \
		$(PIP) install $(3) --require-hashes --no-deps --requirement $(1) && \
		$(PIP) install $(3) --requirement requirements-torch.lock && \
		$(PIP) install --no-deps --no-build-isolation --editable . && \
		$(BIN)/python -m pip check; \
	else \
		$(PIP) install $(3) --editable '.[$(2)]'; \
	fi
endef
ALL_EXTRAS := train,dev,docs

# Python compiles what it imports; pip would spend half of the installation on compiling all modules.
$(READY): pyproject.toml requirements-report.lock requirements-torch.lock | $(BIN)/python
	$(call install,requirements-report.lock,train,--no-compile)
	touch $@

$(STAMP): pyproject.toml requirements.lock requirements-torch.lock | $(BIN)/python
	$(call install,requirements.lock,$(ALL_EXTRAS),)
	touch $(READY) $@

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("Reviver needs Python 3.11 or newer; this is %d.%d. Try: make PYTHON=python3.12" % sys.version_info[:2]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

# Only the explorer's sources need npm packages, not its users.
$(WEB): web/package-lock.json
	@if command -v npm >/dev/null; then \
		npm ci --prefix web --ignore-scripts --no-audit --no-fund --loglevel error && touch $@; \
	else \
		echo "no npm: the explorer's sources are not checked; install Node.js for that"; \
	fi

browser:  # Chromium for the tests of the explorer; installed only by root on Debian, as in a container
	@if for name in chromium chromium-browser google-chrome; do command -v $$name && break; done >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get -qq update && apt-get -qq install --yes --no-install-recommends chromium >/dev/null; \
	else \
		echo "no Chromium: the tests of the explorer in a browser are skipped; install it for them"; \
	fi

lock: $(BIN)/python  ## choose the newest releases for requirements.lock (on Linux x86-64 with Python 3.11)
	$(BIN)/python -m tools.lock

report: $(READY)  ## train both networks and write report/report.html and report/report.pdf
	$(BIN)/reviver report --out report

test: setup  ## run the tests on a process more than there are cores, at most four
	$(BIN)/python -m pytest -n auto --dist worksteal

test-long: setup  ## run the tests that take minutes each: every loss of power, kills, long runs, four processes
	$(BIN)/python -m pytest -m long --dist worksteal -n auto --timeout 1800

# An environment of its own: these libraries bring a hundred others, of which the project needs none.
THIRD := build/third-party
test-third-party: $(THIRD)/.installed  ## run skorch, Lightning, captum, opacus and fastai with LSTM in the place of torch.nn.LSTM
	$(THIRD)/bin/python -m pytest -c tests/third_party/pytest.ini --confcutdir tests/third_party tests/third_party

$(THIRD)/.installed: tests/third_party/requirements.txt requirements-torch.lock pyproject.toml
	rm -rf $(THIRD)
	$(PYTHON) -m venv $(THIRD)
	$(THIRD)/bin/python -m pip --quiet --disable-pip-version-check install --editable . --requirement requirements-torch.lock --requirement $<
	touch $@

random: setup  ## run the tests in random order
	$(BIN)/python -m pytest -n auto --dist worksteal -p randomly

TYPES := web/src/kit/manifest.ts
explorer: setup  ## build src/reviver/explorer/template.html from web/
	$(BIN)/python -m tools.explorer_types $(TYPES)
	npm run --silent --prefix web build

# The page and the types that are committed must be the ones that their sources make.
web-check: setup
	@if command -v npm >/dev/null; then \
		npm run --silent --prefix web check && mkdir -p build && node web/build.mjs build/template.html && \
		$(BIN)/python -m tools.explorer_types build/manifest.ts && \
		{ cmp build/template.html src/reviver/explorer/template.html && cmp build/manifest.ts $(TYPES) || \
			{ echo "run make explorer and commit what it writes"; exit 1; }; }; \
	else \
		echo "no npm: the explorer's sources are not checked"; test -z "$$CI"; \
	fi

# A known vulnerability of an old release of jinja2: OSV can be reached if it answers for that.
KNOWN := https://api.osv.dev/v1/vulns/PYSEC-2019-217
AUDIT := $(BIN)/pip-audit --no-deps --disable-pip --progress-spinner off --vulnerability-service osv --requirement

# What takes seconds comes before what takes minutes.
check: setup  ## format, lint, spelling, types, imports, the explorer's sources, the docs site, known vulnerabilities
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(MAKE) web-check docs
	@if $(BIN)/python -c "import urllib.request; urllib.request.urlopen('$(KNOWN)', timeout=15)" 2>/dev/null; then \
		$(AUDIT) requirements.lock && $(AUDIT) requirements-torch.lock; \
	else \
		echo "the locked packages are not audited: api.osv.dev does not answer"; \
	fi

docs: setup  ## build the documentation as a site, build/docs/index.html; every warning is an error
	rm -rf build/docs
	$(BIN)/sphinx-build --quiet --fail-on-warning --jobs auto docs build/docs
	@echo build/docs/index.html

pages: setup  ## write what is generated in README and docs: settings, measured numbers, output of tutorials
	$(BIN)/python -m tools.settings_page
	$(BIN)/python -m benchmarks.publish
	$(BIN)/python -m tools.tutorials

teach: finished-report $(READY)  ## write the teaching kit of the last report into build/teach: slides, notebooks, sheets to print with the key apart
	$(BIN)/python -m tools.teaching report --out build/teach

release: finished-report setup  ## write what can be published into build/release: checked wheels, notes, teaching kit, site (after make report)
	$(PIP) install --editable '.[train,dev,docs,release]'
	$(BIN)/python -m tools.release report --out build/release

finished-report:
	@test -f report/report.html || { echo "there is no report yet; run make report first" >&2; exit 1; }

wheel: setup  ## build the source distribution and the wheels with prebuilt native code into dist/
	$(BIN)/python -m tools.wheel

format: setup  ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	if command -v npm >/dev/null; then npm run --silent --prefix web format; fi

bench: setup  ## measure speed against the public peers (minutes; BENCH=NAME for one of benchmarks/)
	$(PIP) install --editable '.[train,dev,bench]'
	$(BIN)/python -m benchmarks $(BENCH)

recall: setup  ## measure what the LSTM reaches on every task, over seeds, into docs/measurements (hours; resumes)
	$(BIN)/python -m benchmarks.recall
	$(BIN)/reviver lstm curve --out runs/curve
	cp runs/curve/curve.json docs/measurements/recall_curve.json
	cp runs/curve/curve.png docs/pictures/recall-curve.png

quality: setup  ## measure what recipes of the GAN reach, over seeds, into docs/measurements (hours; resumes)
	$(BIN)/python -m benchmarks.gan_quality

records: setup  ## measure the built-in cells with which `reviver lstm benchmark` compares (half an hour; resumes)
	$(BIN)/python -m benchmarks.cell_records

classifier: setup  ## train the pinned digit classifier again (minutes)
	rm -f src/reviver/data/digit_classifier.safetensors
	$(BIN)/reviver gan train-extractor --data mnist --out src/reviver/data/digit_classifier.safetensors --json \
		> src/reviver/data/digit_classifier.json

SANITIZERS := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
sanitize: setup  ## run the tests of what is native under the address and undefined-behaviour sanitizers
	LD_PRELOAD="$$(c++ -print-file-name=libasan.so) $$(c++ -print-file-name=libubsan.so)" ASAN_OPTIONS=detect_leaks=0 \
	REVIVER_CXXFLAGS="$(SANITIZERS)" REVIVER_CACHE=$(VENV)/sanitized $(BIN)/python -m pytest tests/recurrent/test_kernel.py

# A later -march takes the place of the -march=native that recurrent/kernel/native.py asks for.
portable: setup  ## run the tests of what is native as compiled for x86-64 without AVX, with AVX2, with AVX-512 but no bf16, and with AMX emulated
	for march in x86-64 x86-64-v3 x86-64-v4; do \
		REVIVER_CXXFLAGS=-march=$$march REVIVER_CACHE=$(VENV)/portable/$$march $(BIN)/python -m pytest tests/recurrent/test_kernel.py || exit 1; \
	done
	REVIVER_CXXFLAGS="-include $(CURDIR)/tests/recurrent/amx_emulation.h" REVIVER_CACHE=$(VENV)/portable/amx $(BIN)/python -m pytest tests/recurrent/test_kernel.py

mutants: setup  ## make 600 small changes of the code, drawn at random, and count what the tests notice (an hour; MUTANT_SEED=N draws the same)
	$(PIP) install --editable '.[train,dev,mutants]'
	OMP_NUM_THREADS=1 $(BIN)/python -m tools.mutants $(if $(MUTANT_SEED),--seed $(MUTANT_SEED))

mutants-native: setup  ## check that the tests of the native kernel notice every hand-made mutant of its C++ (half an hour)
	$(BIN)/python -m tools.native_mutants

clean:  ## remove what setup and report made
	rm -rf $(VENV) web/node_modules report build dist docs/reference/api $(addprefix docs/reference/,changelog.md security.md source-tree.md)

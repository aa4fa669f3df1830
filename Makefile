# `make demo` and `make test` need Python 3.10 or newer, a C compiler with OpenMP, and make; all else goes into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
BUILT_FROM := pyproject.toml setup.py $(filter-out ext/_kernels.c ext/_small.c,$(wildcard ext/*))

# Tools call each other by name: cython-lint its pycodestyle, the tests mpiexec.
export PATH := $(CURDIR)/$(BIN):$(PATH)

# Backends whose tests may not be skipped.
REQUIRED := numpy openmp process mpi ipyparallel opencl

.PHONY: demo test coverage check docs faults mutants interpreters install soak
.DEFAULT_GOAL := test

# The main job: eigenvectors of the kernel matrix of handwritten digits, on every backend; pictures go to demo/.
demo: $(INSTALLED)
	@$(BIN)/python docs/examples/digits.py demo

# Prints pytest's summary last.
test: $(INSTALLED)
	@PARLINALG_REQUIRE="$(REQUIRED)" $(BIN)/python -m pytest

# The same, and which lines of Python they reach, which takes a third longer.
coverage: $(INSTALLED)
	@PARLINALG_REQUIRE="$(REQUIRED)" $(BIN)/python -m pytest --cov --cov-report=term

check: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/cython-lint ext

docs: $(INSTALLED)
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

# The scoreboard of what goes wrong around a library like this: ten minutes; with FAULTS=--quick less than three.
faults: $(INSTALLED)
	@$(BIN)/python tests/faults/campaign.py $(FAULTS)

# Calls under random faults, ten minutes.
soak: $(INSTALLED)
	@$(BIN)/python tests/faults/campaign.py --soak 10

# Break the code on purpose, and see the tests fail.
mutants: $(INSTALLED)
	@$(BIN)/python tests/mutants.py

# Install and smoke-test the package on every supported Python that is here.
interpreters: $(INSTALLED)
	@$(BIN)/python tests/interpreters.py

install: $(INSTALLED)

# Without build isolation: the extensions are compiled against the NumPy that runs them, and what is there is not fetched again.
$(INSTALLED): $(BUILT_FROM)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip "setuptools>=77" "Cython>=3.1" "numpy>=2.2"
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable ".[all]"
	@touch $@

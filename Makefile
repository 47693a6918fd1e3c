# All paths are relative to this folder, so that it may be anywhere, spaces included.
PY := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup run test lab lint format lock publish ladder model bench precision doctor clean \
  kaggle-data kaggle-submit wheels

help:  ## this list
	@echo "make run      install, run all notebooks, write submissions/submission.csv"
	@echo "make lab      open the notebooks in JupyterLab"
	@echo "make test     install, check style and types, run unit tests and every notebook on few data"
	@echo "make lint     check style and types;  make format  mend it"
	@echo "make lock     after a change of requirements.txt: requirements.lock anew (needs uv)"
	@echo "make publish  put the outputs of the last run where they are committed"
	@echo "make ladder   all methods on both splits, into results/ladder.json"
	@echo "make model    the model that predict uses, made anew"
	@echo "make bench    measure speed and memory against fair-esm and transformers (OPTIONS=--quick)"
	@echo "make precision  how many answers bfloat16 changes"
	@echo "make kaggle-data    fetch the competition's files;  make kaggle-submit  check and upload"
	@echo "make wheels         what a kernel without internet installs, into wheels/ (KERNEL=3.12)"
	@echo "make doctor   what this machine has, and what slows it down"
	@echo "make clean    remove caches of tools and test outputs (not .venv, data, results)"
	@echo
	@echo "PYTHON=python3.12 make run   chooses the Python (3.11 or newer) for .venv"
	@echo "ARG_PROFILE=smoke|short|laptop|longer|full  how much is trained (laptop, on slow machines short)"
	@echo "ARG_DATA=open|kaggle|FOLDER    which data (kaggle if you put them there, else open)"

setup:  ## .venv with requirements.txt; nothing to do, and no network, if it is up to date
	@PYTHON="$(PYTHON)" bash .ci/setup

run: setup
	@$(PY) -m arg_utils notebooks run </dev/null

test: setup
	@bash .ci/test </dev/null

lab: setup  # this .venv's kernel comes before any other of the same name
	@JUPYTER_PATH="$(CURDIR)/.venv/share/jupyter" $(PY) -m jupyterlab notebooks

lint: setup
	@$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m mypy arg_utils benchmarks/documents

format: setup
	@$(PY) -m ruff check --fix . ; $(PY) -m ruff format .

lock:
	@bash .ci/lock

publish: setup
	@$(PY) -m arg_utils notebooks publish && $(PY) -m benchmarks.documents

ladder: setup  # fits what no run has fitted before
	@$(PY) -m arg_utils ladder $(OPTIONS)

model: setup  # the same bytes from the same data and weights
	@$(PY) -m arg_utils model

bench: setup  # beside .venv's packages, in .venv/benchmarks: what the library is compared with
	@$(PY) benchmarks/environment.py
	@.venv/benchmarks/bin/python -m benchmarks.speed $(OPTIONS)

precision: setup  # whether bfloat16 changes what is decided
	@$(PY) -m benchmarks.precision

kaggle-data: setup  # docs/kaggle.md says what both need
	@$(PY) -m arg_utils kaggle data

kaggle-submit: setup
	@$(PY) -m arg_utils kaggle submit $(OPTIONS)

KERNEL ?= 3.12
wheels: setup  # PyTorch and Jupyter the kernel has; KERNEL is its Python's version
	@mkdir -p wheels
	@sed '/^# Notebooks/,$$d; /^torch==/d' requirements.txt >wheels/requirements.txt
	@$(PY) -m pip download --quiet --dest wheels --only-binary :all: --python-version $(KERNEL) \
	  --platform manylinux2014_x86_64 --platform manylinux_2_27_x86_64 \
	  --platform manylinux_2_28_x86_64 -r wheels/requirements.txt
	@echo "wheels/: $$(ls wheels/*.whl | wc -l) wheels for Python $(KERNEL) on Linux"

doctor: setup
	@$(PY) -m arg_utils doctor

clean:
	rm -rf .pytest_cache .hypothesis .ruff_cache .mypy_cache build arg_utils.egg-info runs/test
	find . -path ./.venv -prune -o -type d \
	  \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +

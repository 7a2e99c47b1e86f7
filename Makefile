# Everything sets itself up: `make demo` and `make test` make .venv and install into it.
#
#   make demo CPU=1       take torch's small CPU build, from PyTorch's own CPU index
#   make demo PYTHON=python3.12
#   make test WORKERS=4   so many files of tests side by side, a thread each
#
# All paths are relative and every tool runs as `python -m`, so a folder with a space in its name works.

PYTHON ?= python3
VENV_PYTHON := .venv/bin/python
WORKERS ?= 2
INDEX := $(if $(CPU),--extra-index-url https://download.pytorch.org/whl/cpu)
PIP_INSTALL := $(VENV_PYTHON) -m pip install --quiet --disable-pip-version-check $(INDEX) --constraint constraints.txt

.PHONY: demo test test-slow lint format audit check clean
.DELETE_ON_ERROR:

demo: .venv/installed
	$(VENV_PYTHON) -m xling sweep sweeps/demo.yaml

test: .venv/installed-dev
	OMP_NUM_THREADS=1 $(VENV_PYTHON) -m pytest -m "not slow" --numprocesses $(WORKERS) --dist loadfile

test-slow: .venv/installed-dev
	$(VENV_PYTHON) -m pytest -m slow

lint: .venv/installed-dev
	$(VENV_PYTHON) -m ruff check .
	$(VENV_PYTHON) -m ruff format --check .
	$(VENV_PYTHON) -m mypy
	.venv/bin/hadolint Dockerfile
	.venv/bin/shellcheck .ci/run infra/slurm/sweep.sbatch

format: .venv/installed-dev
	$(VENV_PYTHON) -m ruff check --fix .
	$(VENV_PYTHON) -m ruff format .

# In an environment of its own, as pip-audit's dependencies are none of ours. SERVICE=osv asks osv.dev, not PyPI.
audit: .venv/audit/installed
	.venv/audit/bin/python .ci/audit.py $(if $(SERVICE),--vulnerability-service $(SERVICE))

clean:
	rm -rf .venv

check:
	@command -v git >/dev/null || { echo "git is missing: install it (Debian, Ubuntu: apt-get install git)"; exit 2; }
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing: install Python 3.11 or newer (Debian, Ubuntu: apt-get install python3 python3-venv), or name one: make PYTHON=python3.12"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is `$(PYTHON) --version`, must be 3.11 or newer: install one and name it, make PYTHON=python3.12"; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) has no venv module: install it (Debian, Ubuntu: apt-get install python3-venv)"; exit 2; }

.venv/bin/python: | check
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing xling into .venv (minutes, the first time)"
	$(PIP_INSTALL) --editable .
	@touch $@

.venv/audit/installed: | check
	$(PYTHON) -m venv .venv/audit
	.venv/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	@touch $@

.venv/installed-dev: .venv/installed
	$(PIP_INSTALL) --editable ".[dev]"
	@touch $@

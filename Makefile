# Two targets do all the set-up: `make demo` and `make test`. Each makes its own .venv on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 10) and "Python >= 3.10 is needed, this is " + sys.version.split()[0])
WHOLE = $(BIN)/python -c '$(NEW_ENOUGH)' 2>/dev/null && $(BIN)/python -m pip --version >/dev/null 2>&1

# Wheels that the machine keeps in a folder serve uv as they serve pip. Where there is neither such a folder nor
# a GPU, the CPU build of PyTorch is enough: the other one brings gigabytes of CUDA libraries.
ifdef PIP_FIND_LINKS
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
else
TORCH_BACKEND := $(if $(shell command -v nvidia-smi 2>/dev/null),--torch-backend=auto,--torch-backend=cpu)
endif

.PHONY: demo test lint install wheel environment clean

demo: install
	$(BIN)/seas-export build --product bottle

test: install
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# What other machines install: pip install 'dist/seas_export-....whl[runtime]'
wheel: environment
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

install: environment
	@$(MAKE) --no-print-directory $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python $(TORCH_BACKEND) --constraints constraints.txt --editable '.[dev]'
	touch $(STAMP)

# One without pip is given it. One that was left half made, or whose Python is gone or too old, is made again.
environment:
	@if $(WHOLE); then exit 0; fi; \
	if $(BIN)/python -m ensurepip >/dev/null 2>&1 && $(WHOLE); then exit 0; fi; \
	$(PYTHON) -c '$(NEW_ENOUGH)' || exit 1; \
	if test ! -e $(VENV)/pyvenv.cfg && test -n "$$(find $(VENV) -type f 2>/dev/null)"; then \
	  echo "$(VENV): expected a virtual environment or nothing, found other files: move them away" >&2; exit 1; fi; \
	$(PYTHON) -m venv --clear $(VENV) && $(WHOLE) && exit 0; \
	echo "$(VENV) cannot be made: on Debian and Ubuntu install python3-venv, or set PYTHON=/path/to/python3" >&2; exit 1

clean:
	rm -rf $(VENV) out dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

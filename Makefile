# Two targets do all the set-up: `make demo` and `make test`. Each makes its own .venv on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Wheels that the machine keeps in a folder serve uv as they serve pip. Where there is neither such a folder nor
# a GPU, the CPU build of PyTorch is enough: the other one brings gigabytes of CUDA libraries.
ifdef PIP_FIND_LINKS
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
else
TORCH_BACKEND := $(if $(shell command -v nvidia-smi 2>/dev/null),--torch-backend=auto,--torch-backend=cpu)
endif

.PHONY: demo test lint install wheel clean

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
wheel:
	$(PYTHON) -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python >= 3.10 is needed, this is " + sys.version.split()[0] + ": set PYTHON=/path/to/python3")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python $(TORCH_BACKEND) --constraints constraints.txt --editable '.[dev]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) out dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

# Every target makes its own environment first; Python >= 3.11 and make are all it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
SECONDS ?= 600
SEED ?= 0

.PHONY: demo test check format fuzz bench gpu-check image-test lock clean

demo: $(VENV)/runtime
	$(BIN)/onnxprune examples/digits/digits.onnx --sparsity 0.9 --method lamp --force \
		--data calibration/digits_test.npz --max-drop 0.02

test: $(VENV)/dev
	$(BIN)/python -m pytest -n $(WORKERS)

check: $(VENV)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layers.py

format: $(VENV)/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

fuzz: $(VENV)/dev
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) --seed $(SEED) --workers $(WORKERS)

bench: $(VENV)/dev
	$(BIN)/python -m tests.benchmarks.run

gpu-check: $(VENV)/dev
	$(BIN)/python -m tests.gpu.report

image-test: $(VENV)/dev
	ONNXPRUNE_IMAGE=1 $(BIN)/python -m pytest -n 0 tests/image

# To take newer versions: pip install them into $(VENV), run the tests, then this.
lock: $(VENV)/dev
	$(BIN)/python -m tests.image.lock

$(VENV)/created:
	$(PYTHON) -c 'import sys; sys.exit("onnxprune needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/runtime: $(VENV)/created pyproject.toml constraints.txt requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/dev: $(VENV)/runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) .bench .fuzz dist

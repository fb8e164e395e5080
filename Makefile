# The two commands of the README are `make demo` and `make test`; `make check` is lint and types.
# Everything is installed into .venv; only Python >= 3.10 and make are needed beforehand.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
export PIP_NO_INPUT := 1

.PHONY: demo test check bench fuzz faults reproduce docs clean

demo: $(VENV)/installed
	mkdir -p demo_out
	$(BIN)/kinit generate sample_configs/lenet5.yaml -o demo_out/lenet5.h5 --force --quiet
	$(BIN)/kinit inspect demo_out/lenet5.h5

test: $(VENV)/oracles
	$(BIN)/python -m pytest -m "not oracle and not tensorflow" $(PYTEST_ARGS)
	$(BIN)/python -m pytest -m "oracle or tensorflow" $(PYTEST_ARGS)

check: $(VENV)/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/bench
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

fuzz: $(VENV)/test
	KINIT_FUZZ_EXAMPLES=$${KINIT_FUZZ_EXAMPLES:-2000} $(BIN)/python -m pytest tests -k fuzz $(PYTEST_ARGS)

# Needs a C compiler; some faults need root, too. About a quarter of an hour.
faults: $(VENV)/installed
	$(BIN)/python scripts/inject_faults.py $(FAULTS_ARGS)

# Every Python here, with the oldest and the newest libraries: docs/reproducibility.md.
reproduce: $(VENV)/oracles
	$(BIN)/python scripts/check_reproducibility.py $(REPRODUCE_ARGS)

docs: $(VENV)/installed
	$(BIN)/python scripts/make_docs.py

clean:
	rm -rf $(VENV) .venv-matrix benchmarks/.peers-venv demo_out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "kinit needs Python >= 3.10 on the PATH, or PYTHON=..."; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python pyproject.toml
	$(PIP) -e .
	touch $@

$(VENV)/test: $(VENV)/installed
	$(PIP) -e '.[test,check]'
	touch $@

# The libraries that kinit is measured beside get an environment of their own (benchmarks/peers.py).
$(VENV)/bench: $(VENV)/test
	$(PIP) -e '.[bench]' || echo "matplotlib cannot be installed here: there will be no picture"
	touch $@

# Keras, TensorFlow, PyTorch and JAX judge the results. Where they cannot be had, their tests skip
# and say so. PyTorch needs Triton in its builds with CUDA only, so that ruling it out leaves the
# small ones.
$(VENV)/oracles: $(VENV)/test
	$(PIP) -e '.[test,check,oracles]' && $(PIP) --no-deps 'tf_keras>=2.18' \
		|| echo "Keras or TensorFlow cannot be installed here: the tests that need them will skip"
	echo 'triton<0' > $(VENV)/without-cuda.txt
	$(PIP) -e '.[test,check,oracles,interop]' -c $(VENV)/without-cuda.txt \
		|| $(PIP) -e '.[test,check,oracles]' 'jax>=0.4.30' \
		|| echo "PyTorch without CUDA and JAX cannot be installed here: their tests will skip"
	touch $@

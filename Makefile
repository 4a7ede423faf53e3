# `make` alone lists what there is to make. Everything is installed below this folder: .venv (Python),
# .clients (real client programs for tests), .bench (other proxies, to compare with), .tools (what makes the lock files).

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
SHELL := /bin/sh

PACKAGES := actors protocol server supervisor
CODE := $(PACKAGES) tests
ARGS ?=
# Processes that run tests side by side; tests wait more than they compute. 0 runs them in one, as a
# debugger wants it.
PARALLEL ?= 3

# The first of these that runs, is Python 3.11 or newer and can make environments; or name one:
# make run PYTHON=/opt/python/bin/python3
PYTHON ?=
CANDIDATES := $(if $(PYTHON),$(PYTHON),python3 python3.13 python3.12 python3.11 python)
SUITABLE := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
FIND_PYTHON = for candidate in $(CANDIDATES); do \
	if $$candidate -c '$(SUITABLE)' >/dev/null 2>&1; then echo $$candidate; exit 0; fi; done; \
	echo "make: needs Python 3.11 or newer with its venv module; tried: $(CANDIDATES)." >&2; \
	echo "make: install one (Debian, Ubuntu: apt install python3 python3-venv) or say PYTHON=/path/to/python3" >&2; \
	exit 1

BIN := .venv/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check --no-input install --no-warn-script-location
UV_VERSION := 0.13.8

# --------------------------------------------------------------------------------------- using it

.PHONY: help
help: ## List these
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' Makefile

.PHONY: run
run: .venv/.installed ## Start the proxy; make run ARGS="config.toml --port 0"
	@exec $(BIN)/supervisor run $(ARGS)

.PHONY: demo
demo: .venv/.installed ## Start it on three made-up accounts: nothing to configure, nothing leaves this machine
	@exec $(BIN)/supervisor demo $(ARGS)

# ------------------------------------------------------------------------------------- working on it

.PHONY: test
test: .venv/.development clients check ## All checks and all tests; make test ARGS="tests/protocol -x"
	@$(BIN)/python -m pytest -n $(PARALLEL) --dist worksteal $(ARGS)

.PHONY: sweep
sweep: .venv/.development clients ## The tests that repeat themselves, as often as the promises say; takes long
	@TEST_SWEEP=1 $(BIN)/python -m pytest -m sweep --timeout 3600 $(ARGS)
	@$(BIN)/python -m tests.reliability.page

.PHONY: done
done: .venv/.development ## From the wheel to who served a request, with the README's commands, in a fresh home
	@TEST_SWEEP=1 $(BIN)/python -m pytest -q -s tests/e2e/test_done.py $(ARGS)

.PHONY: reliability
reliability: .venv/.development ## Write docs/reliability.md: every promise, what proves it, the last figures
	@$(BIN)/python -m tests.reliability.page

.PHONY: reference
reference: .venv/.development ## Write docs/configuration-reference.md and docs/commands.md from the code
	@$(BIN)/python -m tests.reference.configuration
	@$(BIN)/python -m tests.reference.commands

.PHONY: captures
captures: .venv/.development ## Draw docs/captures/*.svg: the real program in a terminal (needs libfaketime)
	@$(BIN)/python -m tests.captures.capture

.PHONY: mutation
mutation: .venv/.development ## Do tests notice small changes in protocol/? make mutation ARGS="verdict sse" or ARGS=--all
	@$(BIN)/python -m tests.mutation.run $(ARGS)

.PHONY: check
check: .venv/.development ## Formatting, lint, types, purity and wiring; no other tests
	$(BIN)/ruff format --quiet --check --diff $(CODE)
	$(BIN)/ruff check --quiet $(CODE)
	find $(CODE) -name '*.py' | sort | xargs -P 2 -n 100 $(BIN)/flake8-async $(FLAKE8_ASYNC)
	$(BIN)/mypy --no-error-summary
	$(BIN)/python -m pytest -q tests/test_purity.py tests/test_style.py

# Run by itself flake8-async turns everything on. Off again are:
# 109       an ask carries its deadline as a value, for the one who answers needs it too
# 114       names of startable functions, which it cannot learn by itself
# 124       an async function that awaits nothing is what an interface of async functions asks for
# 127       which HTTP library is a decision, not a slip
# 900, 911  our async generators are closed by their users, with aclosing
# 910, 912  not every path has to reach a checkpoint: a quick answer may be quick
FLAKE8_ASYNC := --disable \
	ASYNC109,ASYNC114,ASYNC124,ASYNC127,ASYNC900,ASYNC910,ASYNC911,ASYNC912

.PHONY: format
format: .venv/.development ## Format the code and repair what lint can repair
	$(BIN)/ruff check --quiet --fix-only $(CODE)
	$(BIN)/ruff format $(CODE)

.PHONY: fuzz
fuzz: .venv/.fuzz ## Fuzz every parser, a minute each; make fuzz ARGS="--seconds 600 events"
	@$(BIN)/python tests/fuzz/fuzz.py $(ARGS)

.PHONY: soak
soak: .venv/.development ## Run it for 15 minutes while all of it crashes; make soak ARGS="--minutes 3"
	@$(BIN)/python tests/soak/soak.py $(ARGS)

.PHONY: bench
bench: .venv/.development ## Compare with nginx and others, check the bar, write docs/benchmarks.md; ARGS=--quick
	@$(BIN)/python tests/bench/bench_comparison.py $(ARGS)

.PHONY: bench-peers
bench-peers: .venv/.development ## The same for other proxies (installed into .bench); docs/benchmarks-peers.md
	@$(BIN)/python tests/bench/bench_peers.py $(ARGS)

.PHONY: bench-parts
bench-parts: .venv/.development ## One figure at a time: the program alone, and the choice of an account
	@for program in proxy choice; do echo "== tests/bench/bench_$$program.py"; \
	$(BIN)/python "tests/bench/bench_$$program.py" $(ARGS) || exit 1; done

.PHONY: profile
profile: .venv/.profile ## A flame graph under load, build/profile.svg; ARGS="--lane reference --case streams"
	@$(BIN)/python tests/bench/flame_graph.py $(ARGS)

.PHONY: clients
clients: ## Install the client programs that the tests drive (from npm, into .clients)
	@if test .clients/.installed -nt tests/clients/package-lock.json; then exit 0; fi; \
	mkdir -p .clients && cp tests/clients/package.json tests/clients/package-lock.json .clients/ && \
	if ! command -v npm >/dev/null 2>&1; then reason="npm was not found"; \
	elif (cd .clients && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error </dev/null); then \
	  touch .clients/.installed; exit 0; \
	else reason="npm could not install it"; fi; \
	echo "*************************************************************************************"; \
	echo "** Claude Code is not here: $$reason. The tests that drive it will be SKIPPED."; \
	echo "*************************************************************************************"

.PHONY: lock
lock: .tools/.uv-$(UV_VERSION) ## Resolve the dependencies anew; UPGRADE=--upgrade for the newest
	$(COMPILE) --output-file requirements/runtime.lock pyproject.toml
	$(COMPILE) --output-file requirements/build.lock --group build
	$(COMPILE) --output-file requirements/profile.lock --group profile
	$(COMPILE) --output-file requirements/development.lock --group dev pyproject.toml \
	  --constraints requirements/runtime.lock --constraints requirements/build.lock
	$(COMPILE) --output-file requirements/fuzz.lock --group fuzz \
	  --constraints requirements/development.lock
	cd tests/clients && npm install --package-lock-only --ignore-scripts --no-audit --no-fund \
	  --omit-lockfile-registry-resolved

UPGRADE ?=
COMPILE = .tools/bin/uv pip compile --quiet --no-config --universal --python-version 3.11 \
	--generate-hashes --custom-compile-command "make lock" $(UPGRADE)

.PHONY: clean
clean: ## Remove everything that make has installed, and every cache
	rm -rf .venv .clients .bench .tools .fuzz .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# -------------------------------------------------------------------------------------- environments

.venv/.created:
	@python="$$($(FIND_PYTHON))" && rm -rf .venv && "$$python" -m venv .venv
	@touch $@

# The lock files hold every package down to its hash. The program itself is installed in place, and
# what builds it comes from a lock file too, so that the build fetches nothing of its own choice.
.venv/.installed: .venv/.created requirements/runtime.lock requirements/build.lock pyproject.toml
	@echo "make: installing into .venv" >&2
	@$(PIP) --require-hashes -r requirements/runtime.lock -r requirements/build.lock
	@$(PIP) --no-build-isolation --no-deps --editable .
	@touch $@

.venv/.development: .venv/.installed requirements/development.lock
	@echo "make: installing the tools for development into .venv" >&2
	@$(PIP) --require-hashes -r requirements/development.lock
	@touch $@

.venv/.profile: .venv/.development requirements/profile.lock
	@$(PIP) --require-hashes -r requirements/profile.lock
	@touch $@

.venv/.fuzz: .venv/.development requirements/fuzz.lock
	@echo "make: installing the fuzzer into .venv" >&2
	@$(PIP) --require-hashes -r requirements/fuzz.lock
	@touch $@

.tools/.uv-$(UV_VERSION):
	@python="$$($(FIND_PYTHON))" && rm -rf .tools && "$$python" -m venv .tools
	.tools/bin/python -m pip -qq --disable-pip-version-check install --no-warn-script-location uv==$(UV_VERSION)
	@touch $@

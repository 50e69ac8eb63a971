# make demo: what pyinit is for, shown.  make bench: measured beside its peers.
# make test: each promise once, which is what CI runs.  make test-all: everything.
# make stress: what may fail once in a hundred times, that often.  make faults: the part of it that lets system calls fail.
# make matrix: demo, lint and tests on Debian stable, testing and unstable, each in a root file system of its own.
# Each installs what it needs: Debian packages where this is root on a Debian, and Python packages in .venv.

# The system's python3 where there is one: a version manager's lies in a home that no other user can read.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
VENV := .venv
BUILD_PACKAGES := gcc libc6-dev libcap-dev python3-dev python3-venv procps util-linux
# What runs the arm64 program elsewhere.
CROSS_PACKAGES := gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
TEST_PACKAGES := tini dumb-init catatonit bubblewrap bash dash zsh fish tmux bsdutils busybox less vim-tiny strace sudo \
	clang libcap2-bin man-db mandoc bash-completion make redis-server iproute2 \
	$(if $(filter aarch64,$(shell uname -m)),,$(CROSS_PACKAGES))
MATRIX_PACKAGES := debootstrap git util-linux $(if $(findstring :arm64,$(SUITES)),qemu-system-arm kmod cpio)
SERVER_PACKAGES := nginx-light postgresql nodejs
ONE_ENGINE := docker.io runc debootstrap
ENGINE_PACKAGES := $(ONE_ENGINE) podman conmon
PYTEST = $(VENV)/bin/python -m pytest $(AT_ONCE) $(PYTEST_OPTIONS)
# Four tests at once, also on two cores: they wait more than they work.
AT_ONCE := -n 4 --dist worksteal
# What looks at the program itself. Beside these are tests/servers, tests/engines, which share one engine, and tests/faults.
LEVELS := $(addprefix tests/,shipped contract terminal namespace launch ps unit)
# The other builds, of which tests/conftest.py says which tests are theirs. The first was made without a compiler: Python
# is PID 1. The second is no pyinit, but a program that launches itself.
WITHOUT_C = PYINIT_UNDER_TEST=$(CURDIR)/$(VENV)/plain/bin/pyinit $(PYTEST)
ITSELF = PYINIT_UNDER_TEST=$(CURDIR)/$(VENV)/itself/pyinit $(PYTEST)
BUILDS := $(VENV)/pyinit $(VENV)/plain $(VENV)/itself $(VENV)/tools
SOURCES := $(wildcard pyinit/*.py pyinit/*/* share/*/* share/*/*/*) build_steps.py setup.cfg pyproject.toml

.PHONY: demo test test-all stress faults lint bench matrix clean

demo: $(VENV)/pyinit
	@$(VENV)/bin/python -m tools.demo

test: $(BUILDS) lint
	$(call packages,$(TEST_PACKAGES) $(ONE_ENGINE))
	$(PYTEST) tests/smoke tests/faults $(LEVELS)
	$(WITHOUT_C) tests/smoke tests/contract tests/terminal tests/launch
	$(ITSELF) tests/contract/test_signals.py tests/terminal/test_suspend.py

test-all: $(BUILDS) lint
	$(call packages,$(TEST_PACKAGES) $(SERVER_PACKAGES) $(ENGINE_PACKAGES))
	$(PYTEST) --all --stress tests/smoke $(LEVELS) tests/servers tests/faults
	$(WITHOUT_C) --all --stress tests/smoke tests/contract tests/namespace tests/launch
	$(ITSELF) --all tests/contract tests/terminal
	$(PYTEST) -n 0 tests/engines

stress: $(BUILDS)
	$(call packages,$(TEST_PACKAGES))
	$(PYTEST) --all --stress -m stress $(LEVELS) tests/faults
	$(WITHOUT_C) --all --stress -m stress tests/contract tests/namespace tests/launch

faults: $(VENV)/pyinit $(VENV)/tools
	$(call packages,$(TEST_PACKAGES))
	$(PYTEST) --all --stress tests/faults

lint: $(VENV)/pyinit $(VENV)/tools
	$(VENV)/bin/ruff check . pyinit/bin/pyinit
	$(VENV)/bin/ruff format --check . pyinit/bin/pyinit
	$(VENV)/bin/mypy

bench: $(VENV)/pyinit $(VENV)/tools
	$(call packages,$(TEST_PACKAGES) $(ENGINE_PACKAGES))
	$(VENV)/bin/python -m bench $(BENCH_OPTIONS)

# SUITES="testing stable:arm64", as debootstrap(8) knows them; TESTS="tests/unit" for less than all that needs no engine.
matrix:
	$(call packages,$(MATRIX_PACKAGES))
	@TEST_PACKAGES="$(TEST_PACKAGES)" ARM64_PACKAGES="$(BUILD_PACKAGES) $(filter-out $(CROSS_PACKAGES),$(TEST_PACKAGES))" TESTS="$(TESTS)" $(PYTHON) -m tools.matrix $(SUITES)

clean:
	rm -rf $(VENV) build dist *.egg-info

# A venv that could not be finished has no pip, and must not stay.
$(VENV)/bin/python:
	$(call packages,$(BUILD_PACKAGES))
	$(PYTHON) -m venv $(VENV) || { rm -f $@; exit 1; }

$(VENV)/pyinit: $(VENV)/bin/python $(SOURCES)
	rm -rf build
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --force-reinstall --no-deps .
	$(VENV)/bin/pip install --quiet --disable-pip-version-check python-prctl
	rm -rf build *.egg-info
	touch $@

# A second one, made without a compiler: Python is PID 1.
$(VENV)/plain: $(VENV)/pyinit
	rm -rf build $@
	CC=false $(VENV)/bin/pip install --quiet --disable-pip-version-check --no-warn-script-location --ignore-installed --no-deps --prefix $@ .
	cp $(VENV)/lib/python3*/site-packages/_prctl* $@/lib/python3*/site-packages/
	rm -rf build *.egg-info
	touch $@

# Not pyinit, but a program that launches itself.
$(VENV)/itself: $(VENV)/bin/python tests/launch/itself.py
	mkdir -p $@
	(echo '#!$(CURDIR)/$(VENV)/bin/python'; cat tests/launch/itself.py) > $@/pyinit
	chmod +x $@/pyinit
	touch $@

$(VENV)/tools: $(VENV)/bin/python tests/requirements.txt
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	touch $@

# Install the Debian packages that are missing, and start none of their services (RUNLEVEL=1); without root or apt-get,
# what needs them says so itself.
define packages
	@missing=$$(for name in $(1); do dpkg-query -W -f '$${db:Status-Abbrev}' $$name 2>/dev/null | grep -q ^ii || echo $$name; done); \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing >/dev/null; \
	fi
endef

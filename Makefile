# make demo: what pyinit is for, shown.  make test: everything checked.  make bench: measured beside its peers.
# make matrix: demo, lint and tests on Debian stable, testing and unstable, each in a root file system of its own.
# make faults: every system call fails once, and 500 trees of processes do anything.
# Each installs what it needs: Debian packages where this is root on a Debian, and Python packages in .venv.

# The system's python3 where there is one: a version manager's lies in a home that no other user can read.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
VENV := .venv
BUILD_PACKAGES := gcc libc6-dev libcap-dev python3-dev python3-venv procps util-linux
# On arm64 the compiler itself has the name of the cross compiler, which Debian 12 does not have there.
CROSS_PACKAGES := $(if $(filter aarch64,$(shell uname -m)),,gcc-aarch64-linux-gnu libc6-dev-arm64-cross)
TEST_PACKAGES := tini dumb-init catatonit bubblewrap bash dash zsh fish tmux bsdutils busybox less vim-tiny strace sudo \
	clang libcap2-bin man-db mandoc bash-completion make redis-server iproute2 qemu-user \
	$(CROSS_PACKAGES)
MATRIX_PACKAGES := debootstrap git util-linux
SERVER_PACKAGES := nginx-light postgresql nodejs
ENGINE_PACKAGES := docker.io podman runc conmon debootstrap
# What is about neither the terminal, where Python stays, nor the C program, nor pyinit-ps, nor what comes with pyinit.
PLAIN_TESTS := tests/contract tests/namespace tests/launch $(foreach name,terminal waiter adviser,--ignore-glob=*/test_$(name).py)
# What a program that launches itself does as the command does, but for what is said of the command line, and its start.
ITSELF_TESTS := $(foreach name,signals status scope orphans stop,tests/contract/test_$(name).py) \
	$(foreach name,terminal job_control job_keys suspend,tests/terminal/test_$(name).py)
ITSELF_BUT := launcher or namespace or pause or moment_of_the_start or between_the_fork or command_that_was_killed
PYTEST = $(VENV)/bin/python -m pytest $(PYTEST_OPTIONS)
# Two tests at once: they wait more than they work. Not those of the engines, which share one.
AT_ONCE := -n 2 --dist worksteal
BY_THE_MOMENT := tests/contract/test_stop.py tests/namespace/test_terminal.py \
	$(foreach name,terminal job_control job_keys job_programs same_job suspend,tests/terminal/test_$(name).py)
SOURCES := $(wildcard pyinit/*.py pyinit/*/* share/*/* share/*/*/*) build_steps.py setup.cfg pyproject.toml

.PHONY: demo test faults lint bench matrix clean

demo: $(VENV)/pyinit
	@$(VENV)/bin/python -m tools.demo

test: $(VENV)/pyinit $(VENV)/plain $(VENV)/itself $(VENV)/tools lint
	$(call packages,$(TEST_PACKAGES) $(SERVER_PACKAGES) $(ENGINE_PACKAGES))
	PYINIT_UNDER_TEST=$(CURDIR)/$(VENV)/plain/bin/pyinit $(PYTEST) $(PLAIN_TESTS) $(AT_ONCE)
	PYINIT_UNDER_TEST=$(CURDIR)/$(VENV)/itself/pyinit $(PYTEST) $(ITSELF_TESTS) -k "not ($(ITSELF_BUT))" $(AT_ONCE)
	$(PYTEST) --ignore=tests/engines $(BY_THE_MOMENT:%=--ignore=%) $(AT_ONCE)
	$(PYTEST) $(BY_THE_MOMENT) $(AT_ONCE)
	$(PYTEST) tests/engines

faults: $(VENV)/pyinit $(VENV)/tools
	$(call packages,$(TEST_PACKAGES))
	$(PYTEST) --every-fault tests/faults

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
	@TEST_PACKAGES="$(TEST_PACKAGES)" TESTS="$(TESTS)" $(PYTHON) -m tools.matrix $(SUITES)

clean:
	rm -rf $(VENV) build dist *.egg-info

$(VENV)/bin/python:
	$(call packages,$(BUILD_PACKAGES))
	$(PYTHON) -m venv $(VENV)

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

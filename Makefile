# Each target does all of its own set-up. On a machine that cannot run the virtual rack it says what is missing.
.DEFAULT_GOAL := help
PARTS := lint unit sanity molecule e2e
# The rack of containers that the demonstration brings up; a copy of the folder is another rack.
INVENTORY ?= inventories/virtual

.PHONY: help demo demo-down test bench setup $(PARTS)

help: ## show this list
	@sed -n 's/^\([a-z0-9 $$()A-Z-]*\):.*## \(.*\)/\1	\2/p' Makefile | sed 's/$$(PARTS)/$(PARTS)/' | expand -t 34

setup: ## install the Python tools into .venv
	@scripts/setup.sh

demo: ## bring up a real three-node cluster in containers and verify it
	@INVENTORY="$(INVENTORY)" scripts/demo.sh up

demo-down: ## remove the demonstration and all that it left
	@INVENTORY="$(INVENTORY)" scripts/demo.sh down

test: ## run every part of the tests and print one summary
	@scripts/setup.sh
	@.venv/bin/python scripts/run_tests.py $(PARTS)

$(PARTS): ## run one part of the tests
	@scripts/setup.sh
	@.venv/bin/python scripts/run_tests.py $@

bench: ## count what a converge that changes nothing costs (needs the demonstration)
	@.venv/bin/python tests/bench/count_steps.py --inventory "$(INVENTORY)"

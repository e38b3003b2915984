# Each target does all of its own set-up. A part of the tests that this machine cannot run is named with the reason.
.DEFAULT_GOAL := help
PARTS := lint unit sanity cards boot molecule e2e
# The rack of containers that the demonstration brings up; a copy of the folder is another rack.
INVENTORY ?= inventories/virtual

.PHONY: help demo demo-down test boot-all bench bench-cards bench-live setup $(PARTS)

help: ## show this list
	@sed -n 's/^\([a-z0-9 $$()A-Z-]*\):.*## \(.*\)/\1	\2/p' Makefile | sed 's/$$(PARTS)/$(PARTS)/' | expand -t 44

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

boot-all: ## boot cards on an emulated Raspberry Pi 3 as well, and cut the power more often (not in test)
	@scripts/setup.sh
	@.venv/bin/python scripts/run_tests.py $@

bench: ## count what a converge that changes nothing costs (needs the demonstration)
	@.venv/bin/python tests/bench/count_steps.py --inventory "$(INVENTORY)"

bench-cards: ## measure the writing of cards on throttled loop devices (needs root)
	@scripts/setup.sh cards
	@PYTHONPATH=.collections .venv/bin/python -m tests.bench.flash_cards

bench-live: ## measure the frames of the live page with fifty nodes and a thousand pods
	@scripts/setup.sh browser
	@PYTHONPATH=. .venv/bin/python -m tests.bench.live_view

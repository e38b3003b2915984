# Each target does all of its own set-up. A part of the tests that this machine cannot run is named with the reason.
.DEFAULT_GOAL := help
PARTS := lint unit sanity cards boot molecule e2e
# What is too dear for every change.
LONG_PARTS := unit-long cards-long boot-long molecule-long e2e-long
RUN_TESTS = .venv/bin/python -m scripts.run_tests
# The rack of containers that the demonstration brings up; a copy of the folder is another rack.
INVENTORY ?= inventories/virtual

.PHONY: help demo demo-down test test-long bench bench-cards bench-live docs setup $(PARTS) $(LONG_PARTS)

help: ## show this list
	@sed -n 's/^\([a-z0-9 $$()A-Z_-]*\):.*## \(.*\)/\1	\2/p' Makefile | \
		sed 's/$$(PARTS)/$(PARTS)/; s/$$(LONG_PARTS)/$(LONG_PARTS)/' | expand -t 44

setup: ## install the Python tools into .venv
	@scripts/setup.sh

demo: ## bring up a real three-node cluster in containers and verify it
	@INVENTORY="$(INVENTORY)" scripts/demo.sh up

demo-down: ## remove the demonstration and all that it left
	@INVENTORY="$(INVENTORY)" scripts/demo.sh down

test: ## run every part of the tests and print one summary
	@scripts/setup.sh
	@$(RUN_TESTS) $(PARTS)

test-long: ## run what is too dear for every change: kills and power cuts, chance, an emulated Raspberry Pi 3
	@scripts/setup.sh
	@$(RUN_TESTS) $(LONG_PARTS)

$(PARTS): ## run one part of the tests
	@scripts/setup.sh
	@$(RUN_TESTS) $@

$(LONG_PARTS): ## run one part of the long tests
	@scripts/setup.sh
	@$(RUN_TESTS) $@

bench: ## count what a converge that changes nothing costs (needs the demonstration)
	@.venv/bin/python tests/bench/count_steps.py --inventory "$(INVENTORY)"

bench-cards: ## measure the writing of cards on throttled loop devices (needs root)
	@scripts/setup.sh cards
	@PYTHONPATH=.collections .venv/bin/python -m tests.bench.flash_cards

docs: ## build the site of the documents and the reference into .cache/site/html
	@scripts/setup.sh
	@.venv/bin/python -m scripts.build_docs

bench-live: ## measure the frames of the live page with fifty nodes and a thousand pods
	@scripts/setup.sh browser
	@PYTHONPATH=. .venv/bin/python -m tests.bench.live_view

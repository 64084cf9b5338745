# SPDX-License-Identifier: MIT
# How good is the suite? Planted bugs, one at a time, in copies of the tree (Debian: python3).

selftest:
	@conformance/selftest/run --build $(BUILD) $(SELFTEST_ARGS)
# A few of them, another choice for each seed: what a test run has time for.
selftest-quick:
	@conformance/selftest/run --build $(BUILD) --sample 4 --seed $(or $(SEED),1) --no-baseline --threshold 75 $(SELFTEST_ARGS)

.PHONY: selftest selftest-quick

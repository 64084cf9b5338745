# SPDX-License-Identifier: MIT
# Both programs for a while, with a fault in each migration: SOAK_RUNS of them from SOAK_SEED on, at
# most SOAK_TIME seconds in all; SOAK_ARGS: more of `build/faults --help`.
SOAK_RUNS ?= 60
SOAK_SEED ?= 1
SOAK_TIME ?= 1800
soak: $(BUILD)/faults $(BUILD)/reference-src $(BUILD)/reference-dst
	@$(BUILD)/faults --runs $(SOAK_RUNS) --seed $(SOAK_SEED) --time $(SOAK_TIME) $(SOAK_ARGS)
.PHONY: soak

# SPDX-License-Identifier: MIT
# The downtime scene of VFIO devices; conformance/bench/vfio/*.sim is the scene, frozen.
VFIO_BENCH_SRC := $(call units,conformance/bench/vfio)
VFIO_BENCH_RIG := $(filter-out %/main.c,$(call units,conformance/vfio-matrix))
$(BUILD)/vfio-bench: $(call objs,$(VFIO_BENCH_SRC) $(VFIO_BENCH_RIG)) $(LIBPEER) $(LINK_LIBS)
	$(call link,$(HOST_LIBS) -lm)
$(BUILD)/obj/conformance/bench/vfio/main.o: conformance/bench/vfio/page.js
bench: $(BUILD)/vfio-bench
# What migrate-bench does with the machine's memory.
BENCH_MEMORY_SRC := $(addprefix conformance/bench/,memory_test.c rig.c rig_memory.c rig_pool.c measure.c)
$(eval $(call test_program,bench-memory,$(BENCH_MEMORY_SRC) $(BENCH_PAIR_SRC),$(LIBPEER) $(LIBVM),-lm))

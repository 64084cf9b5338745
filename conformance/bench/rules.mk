# SPDX-License-Identifier: MIT
# The downtime scene of VFIO devices; conformance/bench/vfio/*.sim is the scene, frozen.
VFIO_BENCH_SRC := $(call units,conformance/bench/vfio)
VFIO_BENCH_RIG := $(filter-out %/main.c,$(call units,conformance/vfio-matrix))
$(BUILD)/vfio-bench: $(call objs,$(VFIO_BENCH_SRC) $(VFIO_BENCH_RIG)) $(LIBPEER) $(LINK_LIBS)
	$(call link,$(HOST_LIBS) -lm)
$(BUILD)/obj/conformance/bench/vfio/main.o: conformance/bench/vfio/page.js
bench: $(BUILD)/vfio-bench

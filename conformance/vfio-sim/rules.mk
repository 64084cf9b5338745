# SPDX-License-Identifier: MIT
# The simulated VFIO device: an archive for simulations, and the object that is put before a
# program's libc by LD_PRELOAD. That one goes into programs of another libc and of any compiler:
# never instrumented, nothing but plain libc in it, everything hidden but what is interposed.
VFIO_SIM_SRC := $(call units,conformance/vfio-sim)
VFIO_SIM_PRE := $(call units,conformance/vfio-sim/preload conformance/vdpa-sim conformance/vdpa-sim/preload)
LIBVFIOSIM := $(BUILD)/libvfio-sim.a
VFIO_SIM_SO := $(BUILD)/vfio-sim.so

$(LIBVFIOSIM): $(call objs,$(VFIO_SIM_SRC)) ; $(archive)

$(BUILD)/obj/preload/%.o: %.c | $(DEPS)
	@mkdir -p $(@D)
	$(if $(Q),@echo '  CC   $< (preload)')
	$(Q)$(CC) $(CPPFLAGS) $(filter-out $(SANFLAGS),$(CFLAGS)) -U_FORTIFY_SOURCE -fvisibility=hidden -c $< -o $@
$(VFIO_SIM_SO): $(patsubst %.c,$(BUILD)/obj/preload/%.o,$(VFIO_SIM_SRC) $(VFIO_SIM_PRE))
	$(if $(Q),@echo '  LINK $@')
	$(Q)$(CC) -shared -Wl,-z,defs -pthread $^ -o $@

$(eval $(call test_program,vfio-sim,$(call tests,conformance/vfio-sim),$(LIBVFIOSIM)))
all: $(VFIO_SIM_SO)
# Both halves of the reference endpoints' VFIO devices: face to face, and what QEMU sends into ours.
VFIO_SRC_HALF := $(wildcard reference-src/devices/vfio.c reference-src/devices/vfio_set.c \
	reference-src/devices/vfio_final.c)
VFIO_DST_HALF := $(call units,reference-dst/devices)
VFIO_DST_HALF := $(filter %/vfio.c %/vfio_queue.c %/vfio_records.c,$(VFIO_DST_HALF))
$(eval $(call test_program,vfio-pair,$(wildcard conformance/vfio-sim/pair/pair_test.c),\
	$(call objs,$(VFIO_SRC_HALF) $(VFIO_DST_HALF))))
$(eval $(call test_program,vfio_loaded,$(wildcard conformance/vfio-sim/pair/loaded_test.c),\
	$(call objs,$(VFIO_DST_HALF)) $(LIBPEER)))

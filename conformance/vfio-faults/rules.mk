# SPDX-License-Identifier: MIT
# Seeded faults of simulated VFIO devices in whole migrations (after vfio-matrix, whose rig it uses).
VFIO_FAULTS_SRC := $(filter-out %/main.c,$(call units,conformance/vfio-faults))
VFIO_FAULTS_RIG := $(filter-out %/main.c,$(call units,conformance/vfio-matrix))
$(BUILD)/vfio-faults: $(call objs,conformance/vfio-faults/main.c $(VFIO_FAULTS_SRC) $(VFIO_FAULTS_RIG)) \
		$(LIBPEER) $(LINK_LIBS)
	$(call link,$(HOST_LIBS))
$(eval $(call test_program,vfio_faults,$(call tests,conformance/vfio-faults),\
	$(call objs,$(VFIO_FAULTS_SRC) $(VFIO_FAULTS_RIG)) $(LIBPEER)))

# SPDX-License-Identifier: MIT
# The matrix of switchover acknowledgement with real processes; spec/06-vfio.md has the table.
VFIO_MATRIX_SRC := $(filter-out %/main.c,$(call units,conformance/vfio-matrix))
$(BUILD)/vfio-matrix: $(call objs,conformance/vfio-matrix/main.c $(VFIO_MATRIX_SRC)) $(LIBPEER) $(LINK_LIBS)
	$(call link,$(HOST_LIBS))
$(eval $(call test_program,vfio_matrix,$(call tests,conformance/vfio-matrix),\
	$(call objs,$(VFIO_MATRIX_SRC)) $(LIBPEER)))
vfio-matrix: all $(BUILD)/vfio-matrix
	@$(BUILD)/vfio-matrix --jsonl $(BUILD)/vfio-matrix.jsonl $(CELLS)
.PHONY: vfio-matrix

# SPDX-License-Identifier: MIT
# Tests of the codec, its vectors, and its speed; included by the Makefile.

VECTOR_SRC := $(filter-out conformance/vectors/make_vectors.c,$(wildcard conformance/vectors/*.c))
QEVM_RUN_SRC := conformance/qevm/trace.c conformance/qevm/run.c

QEVM_STREAM_SRC := conformance/qevm/streams.c conformance/vectors/build.c $(QEVM_RUN_SRC)

$(eval $(call test_program,qevm-cuts,conformance/qevm_cuts_test.c $(QEVM_STREAM_SRC)))
$(eval $(call test_program,qevm-encoder,conformance/qevm_encoder_test.c $(QEVM_STREAM_SRC)))
$(eval $(call test_program,qevm-hostile,conformance/qevm_hostile_test.c \
	conformance/qevm/counting.c $(QEVM_STREAM_SRC)))
$(eval $(call test_program,vectors,conformance/vectors_test.c conformance/vectors_fresh_test.c \
	$(VECTOR_SRC) $(QEVM_RUN_SRC)))

$(eval $(call test_program,transcode-trips,conformance/transcode_test.c \
	$(wildcard conformance/transcode/*.c) conformance/qevm/counting.c $(QEVM_STREAM_SRC)))

# The vectors' JSON files are made by a program of their own and committed.
$(BUILD)/make-vectors: $(call objs,conformance/vectors/make_vectors.c $(VECTOR_SRC))
	$(call link)
vectors: $(BUILD)/make-vectors
	$(BUILD)/make-vectors conformance/vectors

# ---- speed ----
QEVM_BENCH_SRC := $(addprefix conformance/bench/,qevm_bench.c loads.c passes.c) \
	conformance/qevm/counting.c conformance/vectors/build.c
$(BUILD)/qevm-bench: $(call objs,$(QEVM_BENCH_SRC)) $(LIBVMSTREAM)
	$(call link)
bench: $(BUILD)/qevm-bench
	@conformance/bench/run $(BUILD)

.PHONY: vectors bench

# The integrity figures of the native wire; each attack prints a line.
INTEGRITY_SRC := $(wildcard conformance/integrity/*.c) $(QEVM_STREAM_SRC)
$(eval $(call test_program,integrity,conformance/integrity_test.c $(INTEGRITY_SRC)))
$(eval $(call test_program,integrity-forged,$(addprefix conformance/integrity_,\
	frames_test.c keys_test.c live_test.c good_test.c) $(INTEGRITY_SRC)))

# Guest memory over a socket, on the native wire and from QEMU to QEMU.
NATIVE_BENCH_SRC := $(addprefix conformance/bench/native_,bench.c send.c receive.c) \
	conformance/bench/image.c
$(BUILD)/native-bench: $(call objs,$(NATIVE_BENCH_SRC)) $(LINK_LIBS)
	$(call link,$(HOST_LIBS))
$(BUILD)/qemu-bench: $(call objs,$(addprefix conformance/bench/,qemu_bench.c image.c)) \
		$(LIBPEER) $(LINK_LIBS)
	$(call link,$(HOST_LIBS))
bench: $(BUILD)/native-bench $(BUILD)/qemu-bench

# SPDX-License-Identifier: MIT
# Tests of the codec, its vectors, and its speed; included by the Makefile.

VECTOR_SRC := $(filter-out conformance/vectors/make_vectors.c,$(wildcard conformance/vectors/*.c))
QEVM_RUN_SRC := conformance/qevm/trace.c conformance/qevm/run.c
CAPTURES_SRC := conformance/qevm/captures.c

QEVM_STREAM_SRC := conformance/qevm/streams.c conformance/vectors/build.c $(QEVM_RUN_SRC)

$(eval $(call test_program,qevm-cuts,conformance/qevm_cuts_test.c $(CAPTURES_SRC) $(QEVM_STREAM_SRC)))
$(eval $(call test_program,qevm-encoder,conformance/qevm_encoder_test.c $(QEVM_STREAM_SRC)))
$(eval $(call test_program,qevm-hostile,conformance/qevm_hostile_test.c \
	conformance/qevm/counting.c $(QEVM_STREAM_SRC)))
$(eval $(call test_program,vectors,conformance/vectors_test.c conformance/vectors_fresh_test.c \
	$(VECTOR_SRC) $(QEVM_RUN_SRC)))

$(eval $(call test_program,transcode-trips,conformance/transcode_test.c \
	$(wildcard conformance/transcode/*.c) conformance/qevm/counting.c $(CAPTURES_SRC) $(QEVM_STREAM_SRC)))

$(eval $(call test_program,pack-trips,conformance/pack_trips_test.c))

# The vectors' JSON files are made by a program of their own and committed.
$(BUILD)/make-vectors: $(call objs,conformance/vectors/make_vectors.c $(VECTOR_SRC))
	$(call link)
vectors: $(BUILD)/make-vectors
	$(BUILD)/make-vectors conformance/vectors
	conformance/cases/generate

# ---- speed ----
QEVM_BENCH_SRC := $(addprefix conformance/bench/,qevm_bench.c loads.c passes.c) \
	conformance/qevm/counting.c conformance/vectors/build.c
$(BUILD)/qevm-bench: $(call objs,$(QEVM_BENCH_SRC)) $(LIBVMSTREAM)
	$(call link)
bench: $(BUILD)/qevm-bench
	@conformance/bench/run $(BUILD)

.PHONY: vectors bench

# The tests of seal once more, over the other back end.
$(eval $(call test_program,seal-ipsecmb,$(call tests,codec/seal) conformance/seal/with_ipsecmb.c))

# The integrity figures of the native wire; each attack prints a line.
INTEGRITY_SRC := $(wildcard conformance/integrity/*.c) $(QEVM_STREAM_SRC)
$(eval $(call test_program,integrity,conformance/integrity_test.c $(INTEGRITY_SRC)))
$(eval $(call test_program,integrity-forged,$(addprefix conformance/integrity_,\
	frames_test.c keys_test.c live_test.c resume_test.c good_test.c) $(INTEGRITY_SRC)))

# Guest memory over a socket, on the native wire; whole migrations, ours and QEMU's.
BENCH_PAIR_SRC := $(addprefix conformance/bench/,native_pair.c native_send.c native_receive.c image.c)
$(BUILD)/native-bench: $(call objs,conformance/bench/native_bench.c $(BENCH_PAIR_SRC)) $(LINK_LIBS)
	$(call link,$(HOST_LIBS))
$(BUILD)/seal-bench: $(call objs,conformance/bench/seal_bench.c $(BENCH_PAIR_SRC)) $(LINK_LIBS)
	$(call link,$(HOST_LIBS))
MIGRATE_BENCH_SRC := $(wildcard conformance/bench/rig*.c) \
	$(addprefix conformance/bench/,migrate_bench.c cases.c results.c measure.c) $(BENCH_PAIR_SRC)
$(BUILD)/migrate-bench: $(call objs,$(MIGRATE_BENCH_SRC)) $(LIBPEER) $(LIBVM) $(LINK_LIBS)
	$(call link,$(HOST_LIBS) -lm)
$(BUILD)/obj/conformance/bench/results.o: conformance/bench/bench_page.js
$(eval $(call test_program,bench-measure,conformance/bench/measure_test.c conformance/bench/measure.c,,-lm))
bench: $(BUILD)/seal-bench $(BUILD)/native-bench $(BUILD)/migrate-bench $(BUILD)/reference-src $(BUILD)/reference-dst
# Written into the program as they are.
$(BUILD)/obj/codec/host/report_assets.o: $(wildcard codec/host/report_*.js codec/host/report_*.css)

# Whole migrations of both programs, and faults in them at seeded moments.
FAULTS_SRC := $(filter-out %/main.c,$(call units,conformance/faults))
$(LIBPEER): $(call objs,$(FAULTS_SRC))
$(BUILD)/faults: $(call objs,conformance/faults/main.c) $(LIBPEER) $(LINK_LIBS)
	$(call link,$(HOST_LIBS))

# The native halves of both endpoints face to face in one process.
NATIVE_PAIR_SRC := $(wildcard reference-src/wire_native*.c reference-dst/native*.c reference-dst/devices/*.c)
NATIVE_PAIR_SRC := $(filter-out %_test.c %_shell.c %/ram.c %/vfio_records.c,$(NATIVE_PAIR_SRC))
$(eval $(call test_program,native-pair,$(wildcard conformance/native/*.c) $(NATIVE_PAIR_SRC),$(LIBDSTENGINE)))

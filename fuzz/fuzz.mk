# SPDX-License-Identifier: MIT
# Fuzz harnesses; included by the Makefile. Each is an ordinary LLVMFuzzerTestOneInput. Here they are
# linked with replay.c, which runs them over files: seeds out of the vectors, and regressions. A
# fuzzer's own build gives its compiler and engine:
#
#   make CC=afl-clang-fast BUILD=build/afl FUZZ_ENGINE=-fsanitize=fuzzer fuzz-harnesses
#   make CC=clang BUILD=build/libfuzzer FUZZ_ENGINE=-fsanitize=fuzzer fuzz-harnesses
FUZZ_NAMES := qevm_main qevm_recovery qevm_return qevm_multifd qevm_preempt qevm_mapped \
	native_frames native_sealed vmdesc pack
FUZZ_ENGINE :=
FUZZ_COMMON := fuzz/qevm.c fuzz/native.c $(if $(FUZZ_ENGINE),,fuzz/replay.c)
FUZZ_PROGRAMS := $(addprefix $(BUILD)/fuzz/,$(FUZZ_NAMES))
ifneq ($(filter clang%,$(CC)),)
$(BUILD)/obj/%.o: CFLAGS += $(if $(FUZZ_ENGINE),-fsanitize=fuzzer-no-link)
endif

$(FUZZ_PROGRAMS): $(BUILD)/fuzz/%: $(BUILD)/obj/fuzz/%.o $(call objs,$(FUZZ_COMMON)) $(LIBVMDESC) \
		$(LIBZSTD) $(LIBVMSTREAM)
	$(call link,-ljansson -lcbor -lzstd $(FUZZ_ENGINE))
fuzz-harnesses: $(FUZZ_PROGRAMS)
.PHONY: fuzz-harnesses fuzz-replay
fuzz-replay: $(FUZZ_PROGRAMS)
	@fuzz/replay $(BUILD)
all: $(if $(FUZZ_ENGINE),,$(FUZZ_PROGRAMS))

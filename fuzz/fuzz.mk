# SPDX-License-Identifier: MIT
# Fuzz harnesses; included by the Makefile. Each is an ordinary LLVMFuzzerTestOneInput. Here they are
# linked with replay.c, which runs them over files: seeds out of the vectors, and regressions. A
# fuzzer's own build gives its compiler and engine:
#
#   make CC=afl-clang-fast BUILD=build/afl FUZZ_ENGINE=-fsanitize=fuzzer fuzz-harnesses
#   make CC=clang BUILD=build/libfuzzer FUZZ_ENGINE=-fsanitize=fuzzer fuzz-harnesses
FUZZ_NAMES := null qevm_main qevm_recovery qevm_return qevm_multifd qevm_preempt qevm_mapped \
	native_frames native_sealed vmdesc pack source_engine destination_engine destination_native \
	sim vfio_sim vdpa_sim transcode source_return native_keyed native_forged session encode from_native small seal pack_send construct frames
FUZZ_ENGINE :=
# What each is linked with: replay.c, or the mutator (libFuzzer asks for it, AFL++ loads its own).
FUZZ_MUTATOR_SRC := $(filter-out %_test.c %/engine.c,$(wildcard fuzz/mutator/*.c))
FUZZ_COMMON := fuzz/qevm.c fuzz/native.c fuzz/nocrypto.c fuzz/seen.c fuzz/begin.c \
	$(if $(FUZZ_ENGINE),$(if $(filter clang%,$(CC)),$(FUZZ_MUTATOR_SRC) fuzz/mutator/engine.c),fuzz/replay.c)
FUZZ_BACKEND := -Wl,--wrap=vms_backend_new,--wrap=vms_backend_free # see backend.c
FUZZ_PROGRAMS := $(addprefix $(BUILD)/fuzz/,$(FUZZ_NAMES))
ifneq ($(filter clang%,$(CC)),)
$(BUILD)/obj/%.o: CFLAGS += $(if $(FUZZ_ENGINE),-fsanitize=fuzzer-no-link)
endif
ifneq ($(findstring clang,$(CC)),) # AFL++'s compilers are clang, too
CFLAGS := $(filter-out -Wno-format-truncation,$(CFLAGS))
endif
# FUZZ_COVER: built for fuzz/cover.
ifneq ($(FUZZ_COVER),)
CFLAGS += -fprofile-instr-generate -fcoverage-mapping
endif

# name, what it needs beside the library
define fuzz_program
$(BUILD)/fuzz/$(1): $(BUILD)/obj/fuzz/$(1).o $$(call objs,$$(FUZZ_COMMON)) $(2) $$(LIBVMDESC) \
		$$(LIBZSTD) $$(LIBVMSTREAM)
	$$(call link,$$(if $$(findstring backend.o,$$^),$$(FUZZ_BACKEND)) $$(HOST_LIBS) $$(FUZZ_ENGINE))
endef
FUZZ_LIBS_source_engine := $(LIBSRCENGINE)
FUZZ_LIBS_destination_engine := $(LIBDSTENGINE)
FUZZ_LIBS_destination_native := $(LIBDSTENGINE)
FUZZ_LIBS_sim := $(call objs,$(SIM_SRC)) $(LIBSRCENGINE) $(LIBDSTENGINE)
FUZZ_LIBS_source_return := $(LIBHOST) $(LIBIPSECMB) $(LIBOPENSSL)
FUZZ_LIBS_native_keyed := $(call objs,fuzz/backend.c) $(LIBHOST) $(LIBIPSECMB) $(LIBOPENSSL)
FUZZ_LIBS_native_forged := $(call objs,fuzz/backend.c) $(LIBHOST) $(LIBIPSECMB) $(LIBOPENSSL)
FUZZ_LIBS_vfio_sim := $(LIBVFIOSIM)
FUZZ_LIBS_vdpa_sim := $(LIBVDPASIM)
$(foreach n,$(FUZZ_NAMES),$(eval $(call fuzz_program,$n,$(FUZZ_LIBS_$n))))

# The mutator: a library for whoever wants it, an object for AFL++, and its tests.
LIBFUZZMUTATOR := $(BUILD)/libfuzz-mutator.a
$(LIBFUZZMUTATOR): $(call objs,$(FUZZ_MUTATOR_SRC) fuzz/qevm.c fuzz/seen.c) ; $(archive)
$(BUILD)/fuzz-mutator.so: $(call objs,fuzz/mutator/engine.c) $(LIBFUZZMUTATOR) $(LIBVMDESC) $(LIBVMSTREAM)
	$(call link,-shared $(HOST_LIBS))
$(eval $(call test_program,fuzz-mutator,$(wildcard fuzz/mutator/*_test.c) $(QEVM_STREAM_SRC),$(LIBFUZZMUTATOR)))

fuzz-harnesses: $(FUZZ_PROGRAMS)
all: $(if $(FUZZ_ENGINE),,$(FUZZ_PROGRAMS))

# ---- what is run; each builds what it needs below $(BUILD)/fuzzing ----
FUZZ_DIR := $(BUILD)/fuzzing
FUZZ_LIBFUZZER := CC=clang SAN=1 FUZZ_ENGINE=-fsanitize=fuzzer
FUZZ_AFL := CC=afl-clang-fast FUZZ_ENGINE=-fsanitize=fuzzer
export MUTATOR := $(abspath $(BUILD)/fuzz-mutator.so)
# Without what one processor has and another has not, which no sanitizer sees into besides.
define fuzz_build # folder, settings, target
	@mkdir -p $(FUZZ_DIR)
	@AFL_QUIET=1 $(MAKE) --no-print-directory BUILD=$(FUZZ_DIR)/$(1) IPSECMB_LIBS= $(2) $(3) >$(FUZZ_DIR)/$(1).log 2>&1 || \
	    { tail -n 30 $(FUZZ_DIR)/$(1).log; exit 1; }
endef

fuzz-replay: # the whole corpus and every regression, under ASan and UBSan
	$(call fuzz_build,san,CC=clang SAN=1,fuzz-harnesses)
	@fuzz/replay $(FUZZ_DIR)/san
fuzz: $(BUILD)/fuzz-mutator.so # FUZZ_TIME seconds, two at a time
	$(call fuzz_build,afl,$(FUZZ_AFL),fuzz-harnesses)
	@fuzz/run fuzz $(FUZZ_DIR)/afl $(FUZZ_WORK)
fuzz-smoke: $(BUILD)/fuzz-mutator.so # 60 seconds, and what must hold
	$(call fuzz_build,afl,$(FUZZ_AFL),fuzz-harnesses)
	@fuzz/run smoke $(FUZZ_DIR)/afl $(FUZZ_DIR)/smoke
fuzz-speed: $(BUILD)/fuzz-mutator.so
	$(call fuzz_build,afl,$(FUZZ_AFL),fuzz-harnesses)
	@fuzz/run speed $(FUZZ_DIR)/afl $(FUZZ_DIR)/speed
fuzz-cover:
	$(call fuzz_build,cover,CC=clang FUZZ_COVER=1 OPT=-O1,fuzz-harnesses)
	@fuzz/cover $(FUZZ_DIR)/cover
	@fuzz/unreached $(FUZZ_DIR)/cover
fuzz-selftest:
	$(call fuzz_build,libfuzzer,$(FUZZ_LIBFUZZER),fuzz-harnesses)
	@fuzz/selftest $(FUZZ_DIR)/libfuzzer
# What a fleet runs beside the plain build: more comparisons solved, memory checked, another pass.
fuzz-builds: $(BUILD)/fuzz-mutator.so
	$(call fuzz_build,afl,$(FUZZ_AFL),fuzz-harnesses)
	$(call fuzz_build,afl-cmplog,$(FUZZ_AFL) AFL_LLVM_CMPLOG=1,fuzz-harnesses)
	$(call fuzz_build,afl-san,$(FUZZ_AFL) SAN=1,fuzz-harnesses)
	$(call fuzz_build,afl-lto,CC=afl-clang-lto AR=llvm-ar FUZZ_ENGINE=-fsanitize=fuzzer,fuzz-harnesses)
	$(call fuzz_build,libfuzzer,$(FUZZ_LIBFUZZER),fuzz-harnesses)
FUZZ_WORK ?= $(FUZZ_DIR)/work
.PHONY: fuzz-harnesses fuzz-replay fuzz fuzz-smoke fuzz-speed fuzz-cover fuzz-selftest fuzz-builds

# SPDX-License-Identifier: MIT
# vmstream: one Makefile for the whole tree. `make help` lists the targets.
#
#   CC=clang   another compiler       SAN=1   everything under ASan and UBSan
#   V=1        show the commands      BUILD=  another build folder

.DEFAULT_GOAL := all
CC      := gcc
BUILD   := build$(if $(filter clang%,$(CC)),/clang)$(if $(SAN),/san)
PREFIX  := /usr/local
Q       := $(if $(V),,@)

VERSION := 0.1.0
WARN    := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Werror \
           $(if $(filter clang%,$(CC)),,-Wno-format-truncation)
SANFLAGS := $(if $(SAN),-fsanitize=address -fsanitize=undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
OPT     := $(if $(SAN),-O1,-O2)
CFLAGS  := -std=c11 -D_GNU_SOURCE $(OPT) -g -fPIC $(WARN) $(SANFLAGS) -MMD -MP
CPPFLAGS := -Icodec/include -Icodec -I.
LDFLAGS := $(SANFLAGS) -pthread

# ---- modules: sources without tests, and the tests beside them ----
units = $(filter-out %_test.c $(2),$(wildcard $(addsuffix /*.c,$(1))))
tests = $(wildcard $(addsuffix /*_test.c,$(1)))
objs  = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

# What needs jansson, OpenSSL, libIPSec_MB or zstd stands in archives of its own.
VMDESC_SRC   := codec/qevm/vmdesc.c
OPENSSL_SRC  := codec/seal/openssl.c
IPSECMB_SRC  := codec/seal/ipsecmb.c
ZSTD_SRC     := codec/pack/zstd.c
VMSTREAM_SRC := $(filter-out $(VMDESC_SRC) $(OPENSSL_SRC) $(IPSECMB_SRC) $(ZSTD_SRC),\
                $(call units,$(addprefix codec/,core qevm seal pack native transcode)))
HOST_SRC     := $(call units,codec/host)
TOOL_SRC     := $(call units,codec/tool)
# The choice of pages is pure, too, and the simulation runs it.
SRC_ENGINE_SRC := $(call units,reference-src/engine) $(wildcard reference-src/devices/ram_cursor.c)
SRC_SRC      := $(filter-out $(SRC_ENGINE_SRC),$(call units,reference-src reference-src/devices))
# A guest worth migrating: both endpoints run it.
VM_SRC       := $(call units,reference-src/vm)
EXAMPLE_SRC  := $(call units,reference-src/example)
SIM_SRC      := $(filter-out %/main.c,$(call units,conformance/sim))
DST_ENGINE_SRC := $(call units,reference-dst/engine)
DST_SRC      := $(call units,reference-dst reference-dst/devices)
# What drives real peers: QEMU over QMP, our guest, live migrations.
PEER_SRC     := $(filter-out conformance/adapters/record_%,$(call units,conformance/adapters)) \
                $(filter-out %/mkguest.c,$(call units,conformance/guest)) \
                $(filter-out %/demo.c,$(call units,conformance/live))
RECORD_SRC   := $(wildcard conformance/adapters/record_*.c)

LIBVMSTREAM := $(BUILD)/libvmstream.a
LIBVMDESC   := $(BUILD)/libvmstream-vmdesc.a
LIBOPENSSL  := $(BUILD)/libvmstream-openssl.a
LIBIPSECMB  := $(BUILD)/libvmstream-ipsecmb.a
LIBZSTD     := $(BUILD)/libvmstream-zstd.a
LIBHOST     := $(BUILD)/libvmstream-host.a
LIBSRCENGINE := $(BUILD)/libreference-src-engine.a
LIBDSTENGINE := $(BUILD)/libreference-dst-engine.a
LIBVM       := $(BUILD)/libreference-vm.a
LIBPEER     := $(BUILD)/libpeer.a

# Intel's multi-buffer crypto, where it is installed; IPSECMB_LIBS= on the command line builds without
# it. The first recipe that asks finds out, once packages have been installed.
IPSECMB_LIBS = $(eval IPSECMB_LIBS := $(shell echo 'int main(void) { return !alloc_mb_mgr(0); }' | \
    $(CC) -include intel-ipsec-mb.h -x c -o /dev/null - -lIPSec_MB 2>/dev/null && echo -lIPSec_MB))$(IPSECMB_LIBS)
DEFS_codec/seal/ipsecmb = $(if $(IPSECMB_LIBS),-DVMS_IPSECMB)

HOST_LIBS = $(IPSECMB_LIBS) -lssl -lcrypto -lz -lzstd -lcbor -ljansson

all: libs programs

help:
	@echo 'make              libraries and programs into $(BUILD)/'
	@echo 'make demo         live guests migrate, from QEMU and natively, with devices, with proof'
	@echo 'make test         all tests; SAN=1 under ASan and UBSan; CC=clang'
	@echo 'make test-vm      VFIO and vDPA judged by a real kernel in a virtual machine'
	@echo 'make certify      the matrix of implementations, versions and features; a page of it'
	@echo 'make vfio-matrix  every mix of switchover acknowledgements and devices'
	@echo 'make selftest     planted bugs that the suite must catch'
	@echo 'make nomem-cases  every case with one allocation failing'
	@echo 'make late-cases   every case with one step of a thread coming late'
	@echo 'make soak         both programs with a fault in each migration'
	@echo 'make peers        fetch newer QEMU versions to test against'
	@echo 'make fuzz         all harnesses for FUZZ_TIME seconds; fuzz-smoke, fuzz-replay, fuzz-cover,'
	@echo '                  fuzz-selftest, fuzz-speed (fuzz/README.md)'
	@echo 'make clauses      which clauses of the spec no test names'
	@echo 'make bench        speed of the codec, the wires, postcopy, VFIO and vDPA downtime'
	@echo 'make spec         the specification as one HTML page'
	@echo 'make install      into PREFIX=$(PREFIX)'
	@echo 'make format       clang-format; make clean'

# ---- packages: the targets for newcomers install what is missing before anything is built ----
DEPS := $(patsubst %,build/.deps-%,$(filter demo test test-vm bench,$(MAKECMDGOALS)))
build/.deps-%: conformance/deps
	@conformance/deps $*
	@mkdir -p $(@D) && touch $@

# ---- rules ----
$(BUILD)/obj/%.o: %.c | $(DEPS)
	@mkdir -p $(@D)
	$(if $(Q),@echo '  CC   $<')
	$(Q)$(CC) $(CPPFLAGS) $(DEFS_$*) $(CFLAGS) -c $< -o $@

define archive
	@mkdir -p $(@D)
	$(if $(Q),@echo '  AR   $@')
	$(Q)rm -f $@ && ar rcs $@ $^
endef
define link
	@mkdir -p $(@D)
	$(if $(Q),@echo '  LINK $@')
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $(filter %.o,$^) $(filter %.a,$^) $(1) -o $@
endef

$(LIBVMSTREAM): $(call objs,$(VMSTREAM_SRC)) ; $(archive)
$(LIBVMDESC): $(call objs,$(VMDESC_SRC)) ; $(archive)
$(LIBOPENSSL): $(call objs,$(OPENSSL_SRC)) ; $(archive)
$(LIBIPSECMB): $(call objs,$(IPSECMB_SRC)) ; $(archive)
$(LIBZSTD): $(call objs,$(ZSTD_SRC)) ; $(archive)
$(LIBHOST): $(call objs,$(HOST_SRC)) ; $(archive)
$(LIBSRCENGINE): $(call objs,$(SRC_ENGINE_SRC)) ; $(archive)
$(LIBDSTENGINE): $(call objs,$(DST_ENGINE_SRC)) ; $(archive)
$(LIBVM): $(call objs,$(VM_SRC)) ; $(archive)

LIBS := $(LIBVMSTREAM) $(LIBVMDESC) $(LIBIPSECMB) $(LIBOPENSSL) $(LIBZSTD) $(LIBHOST)
libs: $(LIBS)

# Archives in link order: users before what they use.
LINK_LIBS = $(LIBHOST) $(LIBVMDESC) $(LIBIPSECMB) $(LIBOPENSSL) $(LIBZSTD) $(LIBVMSTREAM)

$(BUILD)/vmstream: $(call objs,$(TOOL_SRC)) $(LINK_LIBS)
	$(call link,$(HOST_LIBS))
$(BUILD)/reference-src: $(call objs,$(SRC_SRC)) $(LIBSRCENGINE) $(LIBVM) $(LINK_LIBS)
	$(call link,$(HOST_LIBS))
$(BUILD)/reference-dst: $(call objs,$(DST_SRC)) $(LIBDSTENGINE) $(LIBVM) $(LINK_LIBS)
	$(call link,$(HOST_LIBS))
$(BUILD)/example-vmm: $(call objs,$(EXAMPLE_SRC) $(filter-out %/main.c,$(SRC_SRC))) $(LIBSRCENGINE) \
		$(LIBVM) $(LINK_LIBS)
	$(call link,$(HOST_LIBS))
# Whole migrations of both engines under virtual time, from a seed.
$(BUILD)/sim: $(call objs,conformance/sim/main.c $(SIM_SRC)) $(LIBSRCENGINE) $(LIBDSTENGINE) \
		$(LIBVMSTREAM)
	$(call link,-lcbor)

PROGRAMS := $(foreach p,vmstream:codec/tool/main.c reference-src:reference-src/main.c \
	reference-dst:reference-dst/main.c sim:conformance/sim/main.c \
	example-vmm:reference-src/example/main.c,$(if $(wildcard $(lastword $(subst :, ,$p))),\
	$(BUILD)/$(firstword $(subst :, ,$p))))
INSTALLED := $(filter-out %/sim %/example-vmm,$(PROGRAMS))
programs: $(PROGRAMS)

# ---- our guest, and what runs it in real QEMUs ----
$(BUILD)/guest/guest.bin: conformance/guest/guest.s | $(DEPS)
	@mkdir -p $(@D)
	$(if $(Q),@echo '  AS   $<')
	$(Q)as --32 -o $(@D)/guest.o $<
	$(Q)ld -m elf_i386 -Ttext 0x7c00 --oformat binary -o $@ $(@D)/guest.o
$(BUILD)/obj/conformance/guest/guest_blob.o: conformance/guest/guest_blob.S $(BUILD)/guest/guest.bin
	@mkdir -p $(@D)
	$(Q)$(CC) -I$(BUILD)/guest -Wa,-I$(BUILD)/guest -c $< -o $@
$(LIBPEER): $(call objs,$(PEER_SRC)) $(BUILD)/obj/conformance/guest/guest_blob.o ; $(archive)

$(BUILD)/mkguest: $(call objs,conformance/guest/mkguest.c) $(LIBPEER) $(LINK_LIBS)
	$(call link,$(HOST_LIBS))
$(BUILD)/record-stream: $(call objs,$(RECORD_SRC)) $(LIBPEER) $(LINK_LIBS)
	$(call link,$(HOST_LIBS))
$(BUILD)/demo: $(call objs,conformance/live/demo.c) $(LIBPEER) $(LINK_LIBS)
	$(call link,$(HOST_LIBS))

demo: $(BUILD)/reference-src $(BUILD)/reference-dst $(BUILD)/vmstream $(BUILD)/demo
	@$(BUILD)/demo $(BUILD)/reference-dst

# ---- tests: one Criterion program a module ----
TEST_PROGRAMS :=
define test_program
ifneq ($(2),)
$(BUILD)/tests/$(1): $$(call objs,$(2)) $(3) $$(LINK_LIBS)
	$$(call link,$$(HOST_LIBS) -lcriterion $(4))
TEST_PROGRAMS += $(BUILD)/tests/$(1)
endif
endef

$(eval $(call test_program,core,$(call tests,codec/core)))
$(eval $(call test_program,qevm,$(call tests,codec/qevm)))
$(eval $(call test_program,seal,$(call tests,codec/seal)))
$(eval $(call test_program,pack,$(call tests,codec/pack)))
$(eval $(call test_program,native,$(call tests,codec/native)))
$(eval $(call test_program,transcode,$(call tests,codec/transcode)))
$(eval $(call test_program,host,$(call tests,codec/host)))
$(eval $(call test_program,tool,$(call tests,codec/tool),$(call objs,$(filter-out %/main.c,$(TOOL_SRC)))))
$(eval $(call test_program,reference-vm,$(call tests,reference-src/vm),$(LIBVM)))
$(eval $(call test_program,reference-src-engine,$(call tests,reference-src/engine),$(LIBSRCENGINE)))
$(eval $(call test_program,reference-src,$(call tests,reference-src reference-src/devices),$(call objs,$(filter-out %/main.c,$(SRC_SRC))) $(LIBSRCENGINE) $(LIBVM)))
$(eval $(call test_program,sim,$(call tests,conformance/sim),$(call objs,$(SIM_SRC)) $(LIBSRCENGINE) $(LIBDSTENGINE)))
$(eval $(call test_program,reference-dst-engine,$(call tests,reference-dst/engine),$(LIBDSTENGINE)))
$(eval $(call test_program,reference-dst,$(call tests,reference-dst reference-dst/devices),$(call objs,$(filter-out %/main.c,$(DST_SRC))) $(LIBDSTENGINE) $(LIBVM)))
$(eval $(call test_program,peers,$(call tests,conformance/adapters conformance/guest),$(LIBPEER)))
# One program a file: they take long and run side by side.
$(foreach t,$(call tests,conformance/live),\
	$(eval $(call test_program,$(notdir $(t:_test.c=)),$(t),$(LIBPEER))))

-include conformance/tests.mk
# Parts with programs of their own bring their rules (vfio-sim first: others add to its object).
-include conformance/vfio-sim/rules.mk
-include $(filter-out conformance/vfio-sim/%,$(sort $(wildcard conformance/*/rules.mk)))
include fuzz/fuzz.mk
-include fuzz/qemu/rules.mk

# Programs under test find the simulated devices beside them.
test-programs: $(TEST_PROGRAMS) $(VFIO_SIM_SO)

test: all test-programs $(BUILD)/record-stream $(BUILD)/mkguest $(CERTIFY_PROGRAMS)
	@conformance/run-tests $(BUILD)

peers: ; @conformance/peers/fetch 10.0 11.1
clauses: ; @conformance/clauses
spec: ; @spec/build-html $(BUILD)/spec.html

# ---- installation ----
MAN_DIRS := codec/tool reference-src reference-dst conformance/runner
MAN := $(patsubst %.md,$(BUILD)/man/%,$(notdir $(wildcard $(addsuffix /*.1.md,$(MAN_DIRS)))))
vpath %.1.md $(MAN_DIRS)
$(BUILD)/man/%: %.md
	@mkdir -p $(@D)
	$(Q)pandoc -s -t man $< -o $@
man: $(MAN)

install: all man
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/pkgconfig \
	    $(DESTDIR)$(PREFIX)/include/vmstream/registry $(DESTDIR)$(PREFIX)/share/man/man1
	install $(INSTALLED) $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(LIBVMSTREAM) $(LIBVMDESC) $(LIBIPSECMB) $(LIBOPENSSL) \
	    $(LIBZSTD) $(DESTDIR)$(PREFIX)/lib
	install -m 644 codec/include/vmstream/*.h $(DESTDIR)$(PREFIX)/include/vmstream
	install -m 644 spec/registry/*.def $(DESTDIR)$(PREFIX)/include/vmstream/registry
	install -m 644 $(MAN) $(DESTDIR)$(PREFIX)/share/man/man1
	codec/pkgconfig $(DESTDIR)$(PREFIX)/lib/pkgconfig $(PREFIX) $(VERSION) $(IPSECMB_LIBS)

format:
	clang-format -i $$(git ls-files '*.c' '*.h')
clean: ; rm -rf build

.PHONY: all help libs programs man test test-programs peers clauses spec format clean demo bench install
-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)

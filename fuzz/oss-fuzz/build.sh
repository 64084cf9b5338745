#!/bin/bash -eu
# SPDX-License-Identifier: MIT
# Builds every harness for the engine and the sanitizer that the environment names (CC, CFLAGS,
# LIB_FUZZING_ENGINE, OUT), with its corpus and dictionary beside it.
work=$(mktemp -d)
name=cc # fuzz.mk links the mutator for libFuzzer, which it knows by the compiler's name
[ "${FUZZING_ENGINE:-libfuzzer}" != libfuzzer ] || name=clang-fuzz
cat >"$work/$name" <<END
#!/bin/sh
exec $CC $CFLAGS -Wno-error "\$@"
END
chmod +x "$work/$name"
PATH=$work:$PATH
build=$work/build
# Where they run there are no libraries but the C library: archives, or what has none goes along.
libs=
for lib in ssl crypto z zstd cbor jansson; do
    file=$($CC -print-file-name="lib$lib.a")
    if [ ! -f "$file" ]; then
        shared=$($CC -print-file-name="lib$lib.so")
        mkdir -p "$OUT/lib"
        cp -L "$shared" "$OUT/lib/$(objdump -p "$shared" | awk '$1 == "SONAME" { print $2 }')"
        file=-l$lib
    fi
    libs="$libs $file"
done
make -j"$(nproc)" CC=$name BUILD="$build" OPT=-O1 IPSECMB_LIBS= FUZZ_ENGINE="$LIB_FUZZING_ENGINE" \
    HOST_LIBS="$libs -lpthread -ldl -Wl,-rpath,"'\$$ORIGIN/lib' \
    IPSECMB_LIBS= fuzz-harnesses
fuzz/seeds "$build/seeds"
fuzz/dict/generate "$build/dict"
for program in "$build"/fuzz/*; do
    name=$(basename "$program")
    [ "$name" != null ] || continue
    cp "$program" "$OUT/$name"
    mkdir -p "$build/zip/$name"
    for folder in "$build/seeds/$name" "fuzz/corpus/$name" "fuzz/regress/$name"; do
        [ ! -d "$folder" ] || cp -n "$folder"/* "$build/zip/$name/"
    done
    (cd "$build/zip/$name" && python3 -m zipfile -c "$OUT/${name}_seed_corpus.zip" .)
    dictionary=$(fuzz/dict/for "$name")
    [ -z "$dictionary" ] || cp "$build/dict/$dictionary.dict" "$OUT/$name.dict"
done

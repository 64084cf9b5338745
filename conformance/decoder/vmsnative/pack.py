# SPDX-License-Identifier: MIT
"""Unpacking bulk, and the versions of pages that differences refer to (spec/03.3-pack.md)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import zstandard

from .bodies import Body, data_pages
from .errors import NativeError
from .xxh64 import page_hash

ZSTD, DELTA = 1, 2
_ZSTD_MAGIC = bytes.fromhex("28b52ffd")
_MAX_WINDOW, _MAX_BLOCK = 8 << 20, 128 << 10
_RAW, _RLE, _RESERVED = 0, 1, 3
REFERENCE_BYTES = 12


class _Outline:
    """Walks over header and blocks of a zstd frame without unpacking it (PACK-8)."""

    def __init__(self, data: bytes, offset: int) -> None:
        self.data = data
        self.offset = offset
        self.at = 0

    def refuse(self, message: str) -> NativeError:
        return NativeError("PACK_FRAME", self.offset + self.at, message)

    def take(self, size: int) -> bytes:
        piece = self.data[self.at : self.at + size]
        if len(piece) < size:
            raise self.refuse("the zstd frame is cut short")
        self.at += size
        return piece

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def check(self, unpacked: int) -> None:
        if self.data[:4] != _ZSTD_MAGIC:
            raise self.refuse("no zstd frame")
        self.at = 4
        self._header(unpacked)
        self._blocks(unpacked)
        if self.at != len(self.data):
            raise self.refuse("octets behind the zstd frame")

    def _header(self, unpacked: int) -> None:
        descriptor = self.number(1)
        if descriptor & 0x08:
            raise self.refuse("a reserved bit")
        if descriptor & 0x04:
            raise self.refuse("a checksum")
        if descriptor & 0x03:
            raise self.refuse("a dictionary id")
        single = bool(descriptor & 0x20)
        window = 0 if single else self._window(self.number(1))
        size = self._content_size(descriptor >> 6, single)
        if size != unpacked:
            raise self.refuse(f"content of {size}, not {unpacked}")
        if max(window, size if single else 0) > _MAX_WINDOW:
            raise self.refuse("the window is too large")

    @staticmethod
    def _window(octet: int) -> int:
        base = 1 << (10 + (octet >> 3))
        return base + (base >> 3) * (octet & 7)

    def _content_size(self, flag: int, single: bool) -> int:
        if flag == 0 and not single:
            raise self.refuse("no content size")
        size = self.number(1 << flag)
        return size + 256 if flag == 1 else size

    def _blocks(self, unpacked: int) -> None:
        plain, last = 0, False
        while not last:
            head = self.number(3)
            last, kind, size = bool(head & 1), (head >> 1) & 3, head >> 3
            if kind == _RESERVED:
                raise self.refuse("a reserved block")
            if size > _MAX_BLOCK:
                raise self.refuse("a block that is too large")
            plain += size if kind in (_RAW, _RLE) else 0
            if plain > unpacked:
                raise self.refuse("blocks above the content size")
            self.take(1 if kind == _RLE else size)


def check_sizes(bulk_bytes: int, unpacked: int, place: int) -> None:
    """PACK-6, of packed bulk."""
    if not 1 <= bulk_bytes < unpacked:
        raise NativeError("PACK_SIZE", place, f"{bulk_bytes} octets for {unpacked}")


def unpack(data: bytes, unpacked: int, offset: int) -> bytes:
    _Outline(data, offset).check(unpacked)
    try:
        plain = zstandard.ZstdDecompressor().decompress(data, max_output_size=unpacked)
    except zstandard.ZstdError as error:
        raise NativeError("PACK_DATA", offset, str(error)) from error
    if len(plain) != unpacked:
        raise NativeError("PACK_DATA", offset, f"{len(plain)} octets, not {unpacked}")
    return plain


@dataclass
class Info:
    """Generation of a frame's pages (0: none), and for method 2 a base for each page with data."""

    generation: int
    bases: list[tuple[int, int]]


def read_info(body: Body, method: int) -> Info:
    octets: bytes = body.get("PACK", b"")
    place = body.place("PACK") if octets else body.start
    pages = data_pages(body) if method == DELTA else 0
    allowed = _info_lengths(body, method, pages)
    if len(octets) not in allowed:
        raise NativeError("PACK_INFO", place, f"info of {len(octets)} octets")
    if not octets:
        return Info(0, [])
    (generation,) = struct.unpack_from(">I", octets)
    bases = list(struct.iter_unpack(">IQ", octets[4:]))
    if generation == 0:
        raise NativeError("PACK_INFO", place, "generation 0")
    if any(base == 0 and digest for base, digest in bases):
        raise NativeError("PACK_INFO", place, "a hash without generation")
    return Info(generation, bases)


def _info_lengths(body: Body, method: int, pages: int) -> tuple[int, ...]:
    if body.type_name != "PAGES":
        return (0,)
    return (4 + REFERENCE_BYTES * pages,) if method == DELTA else (0, 4)


Place = tuple[object, int]


class Memory:
    """The content of every page that came, by block and offset."""

    def __init__(self) -> None:
        self.pages: dict[Place, bytes] = {}
        self.highest = 0
        self._zeros: dict[int, bytes] = {}

    def store(self, place: Place, content: bytes) -> None:
        self.pages[place] = content

    def store_zero(self, place: Place, size: int) -> None:
        self.pages[place] = self._zeros.setdefault(size, bytes(size))

    def forget(self, place: Place) -> None:
        self.pages.pop(place, None)

    def note(self, generation: int) -> None:
        self.highest = max(self.highest, generation)

    def restore(
        self, plain: bytes, size: int, places: list[Place], info: Info, offset: int
    ) -> bytes:
        """The pages of a method 2 frame, with their bases put back in (PACK-10, PACK-17)."""
        pages = [plain[i : i + size] for i in range(0, len(plain), size)]
        bases = [self._base(*item, size, offset) for item in zip(places, info.bases)]
        return b"".join(_xor(page, base) for page, base in zip(pages, bases))

    def _base(self, place: Place, base: tuple[int, int], size: int, offset: int) -> bytes | None:
        generation, digest = base
        if generation == 0:
            return None
        if generation > self.highest:
            raise NativeError("PACK_GENERATION", offset, f"generation {generation}")
        content = self.pages.get(place)
        if content is None or len(content) != size or page_hash(content) != digest:
            raise NativeError("PACK_BASE", offset, f"not the version at hand: {place}")
        return content


def _xor(page: bytes, base: bytes | None) -> bytes:
    if base is None:
        return page
    both = int.from_bytes(page, "big") ^ int.from_bytes(base, "big")
    return both.to_bytes(len(page), "big")

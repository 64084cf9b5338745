# SPDX-License-Identifier: MIT
"""Whole files, sealed and packed: what the vectors of native.json do not show."""

from __future__ import annotations

import hashlib
import struct
import unittest
from random import Random
from typing import Any

import zstandard

from vmsfile import SECRET, Writer, zstd
from vmsnative import seal
from vmsnative.crc32c import crc32c
from vmsnative.errors import NativeError
from vmsnative.records import Record
from vmsnative.stream import Reader
from vmsnative.xxh64 import page_hash, xxh64

KEYS = {b"other": bytes(32), b"me": SECRET}
SUITES = (seal.NONE, seal.GMAC, seal.GCM, seal.CHACHA20)
PAGE = bytes(range(256)) * 4
NEXT = bytes([PAGE[0] ^ 7]) + PAGE[1:]


def read(data: bytes, suite: int = seal.NONE, **options: Any) -> tuple[Reader, list[Record]]:
    reader = Reader(data, KEYS if suite else None, **options)
    records: list[Record] = []
    for frame in reader.frames():
        records += reader.expand(frame).records
    return reader, records


def everything(suite: int) -> bytes:
    writer = Writer(suite)
    writer.blocks()
    writer.pages([0, 3, 5, 4], PAGE + NEXT, NAMED=[0, 2])
    writer.attach(3, 3)
    writer.frame("OPAQUE", {}, b"first", channel=3)
    writer.rekey(3)
    writer.rekey(0)
    writer.pages([1, 2], zstd(PAGE), flags=1, UNPACKED=1024, PACK=struct.pack(">I", 1))
    writer.frame("RECORDS", {"RECORDS": [[11, 0, 10]]}, b"abc")
    writer.frame("BULK", {"ZEROS": 3}, b"defg")
    writer.frame("RECORDS", {"RECORDS": [[12, 4, 0]]}, b"h")
    writer.frame("BULK", {"LAST": 1}, b"i")
    writer.frame("OPAQUE", {"OFFSET": 5, "LAST": 1}, b"second", channel=3)
    return writer.end()


class Files(unittest.TestCase):
    def refused(self, code: str, data: bytes, suite: int = seal.NONE) -> None:
        with self.assertRaises(NativeError) as caught:
            read(data, suite)
        self.assertEqual(caught.exception.code, code, str(caught.exception))

    def test_every_suite(self) -> None:
        for suite in SUITES:
            reader, records = read(everything(suite), suite)
            lines = [(r.name, r.channel, r.number, r.digest.hexdigest()) for r in records]
            wanted = [
                ("HEADER", 0, 0, b""),
                ("RAM_BLOCK", 0, 1, b""),
                ("RAM_ZERO", 0, 2, b""),
                ("RAM_PAGE", 0, 3, PAGE),
                ("RAM_PAGE", 0, 4, NEXT),
                ("DEVICE_TAIL", 3, 0, b"firstsecond"),
                ("RAM_PAGE", 0, 5, PAGE),
                ("VMDESCRIPTION", 0, 6, b"abc\0\0\0defg"),
                ("DEVICE_TAIL", 0, 7, b"hi"),
            ]
            hashed = [(*line[:3], hashlib.sha256(line[3]).hexdigest()) for line in wanted]
            self.assertEqual(lines, hashed)
            self.assertEqual([r.fields["continued"] for r in records[2:5]], [0, 1, 0])
            self.assertEqual(reader.suite, suite)

    def test_octets_that_are_damaged(self) -> None:
        for suite in SUITES:
            data = everything(suite)
            for i in range(0, len(data), 1 if suite == seal.GCM else 3):
                damaged = data[:i] + bytes([data[i] ^ 1 << i % 8]) + data[i + 1 :]
                with self.assertRaises(NativeError, msg=f"octet {i}, suite {suite}"):
                    read(damaged, suite)

    def test_bodies_that_are_damaged(self) -> None:
        """Whatever a body holds, the answer is a record or a refusal, and nothing else."""
        random, data = Random(1), everything(seal.NONE)
        headers = [frame.header for frame in Reader(data).frames()]
        for _ in range(400):
            header = random.choice(headers)
            damaged = bytearray(data)
            for _ in range(random.choice((1, 2, 4))):
                place = random.randrange(header.body_offset, header.bulk_offset)
                damaged[place] = random.choice((0, 0x1B, 0xBF, 0xFF, random.randrange(256)))
            whole = bytes(damaged[header.offset : header.tag_offset])
            damaged[header.tag_offset : header.tag_offset + 4] = struct.pack(">I", crc32c(whole))
            try:
                read(bytes(damaged))
            except NativeError:
                pass

    def test_every_cut_is_noticed(self) -> None:
        for suite in (seal.NONE, seal.GCM):
            data = everything(suite)
            for i in range(len(data)):
                with self.assertRaises(NativeError) as caught:
                    read(data[:i], suite)
                self.assertIn(caught.exception.code, ("TRUNCATED", "SESSION_NO_END"))
                self.assertEqual(caught.exception.offset, i)

    def test_keys_and_none(self) -> None:
        self.refused("SEAL_NO_KEY", everything(seal.GCM))
        self.refused("SEAL_UNSEALED", everything(seal.NONE), seal.GCM)
        self.refused("SEAL_PSK_IDENTITY", Writer(seal.GCM, IDENTITY=b"you").end(), seal.GCM)
        self.refused("SEAL_TAG", Writer(seal.GCM, IDENTITY=b"other").end(), seal.GCM)
        self.refused("SEAL_NO_SUITE", Writer(seal.NONE, SUITES=[1]).end())
        self.refused("SEAL_NO_SUITE", Writer(seal.GCM, SUITES=[0]).end(), seal.GCM)

    def test_listing_without_key(self) -> None:
        for suite in SUITES[1:]:
            reader, frames = Reader(everything(suite), list_all=True), []
            with self.assertRaises(NativeError) as caught:
                for frame in reader.frames():
                    frames.append(frame)
            self.assertEqual(caught.exception.code, "SEAL_NO_KEY")
            self.assertEqual({frame.verified for frame in frames}, {"no key"})
            readable = [frame.body is not None for frame in frames[1:3]]
            self.assertEqual(readable, [suite == seal.GMAC] * 2)
            self.assertEqual(frames[-1].header.name, "END")

    def test_files_are_held_to_their_rules(self) -> None:
        self.refused("NATIVE_HELLO", Writer(FORM=2).end())
        self.refused("NATIVE_VERSION", Writer(VERSION=3, VERSION_MIN=2).end())
        self.refused("NATIVE_FEATURE", Writer(FEATURES_NEEDED=1 << 40).end())
        self.refused("NATIVE_HELLO", Writer(SUITES=[0, 1]).end())
        writer = Writer()
        writer.frame("PING", {})
        self.refused("SESSION_UNEXPECTED", writer.end())
        writer = Writer()
        writer.frame("ABORT", {"CODE": "RAM_OFFSET"})
        self.refused("SESSION_ABORTED", writer.end())
        writer = Writer()
        writer.attach(3, 3, SESSION=bytes(16))
        self.refused("SESSION_ID", writer.end())

    def test_end(self) -> None:
        self.refused("SESSION_END", Writer().end(TRANSCRIPT=bytes(32)))
        self.refused("SESSION_END", Writer().end(SENT=[[0, 1, 1]]))
        self.refused("SESSION_END", Writer().end(SENT=[[0, 0, 0], [3, 0, 0]]))
        writer = Writer()
        writer.attach(3, 3)
        self.refused("SESSION_END", writer.end(SENT=[[0, 0, 0]]))
        writer = Writer()
        writer.end()
        writer.attach(3, 3)
        self.refused("SESSION_END", writer.end())
        writer = Writer()
        writer.end()
        self.refused("SESSION_UNEXPECTED", writer.end())

    def test_record_without_its_end(self) -> None:
        writer = Writer()
        writer.frame("RECORDS", {"RECORDS": [[11, 0, 2]]}, b"x")
        self.refused("TRUNCATED", writer.end())
        writer = Writer()
        writer.frame("RECORDS", {"RECORDS": [[11, 0, 2]]}, b"x")
        writer.attach(251, 2)
        _, records = read(writer.end())
        self.assertTrue(records[0].as_dict()["truncated"])

    def test_epochs(self) -> None:
        writer = Writer()
        writer.rekey(0, 2)
        self.refused("SEAL_EPOCH", writer.end())
        writer = Writer()
        writer.attach(3, 3)
        writer.attach(3, 3)
        self.refused("NATIVE_ORDER", writer.end())

    def test_bulk_of_records(self) -> None:
        def after(first: list[Any], name: str, body: dict[str, Any], bulk: bytes) -> bytes:
            writer = Writer()
            writer.frame("RECORDS", {"RECORDS": [first]})
            writer.frame(name, body, bulk)
            return writer.end()

        self.refused("NATIVE_RECORD", after([11, 0, 0], "BULK", {}, b"x"))
        self.refused("NATIVE_RECORD", after([11, 0, 2], "BULK", {"ZEROS": 2}, b"x"))
        self.refused("NATIVE_RECORD", after([11, 0, 2], "BULK", {"LAST": 1}, b"x"))
        self.refused("NATIVE_RECORD", after([11, 0, 2], "OPAQUE", {}, b"x"))
        self.refused("TRANSCODE_RECORD", after([35, 0, 0, 0], "OPAQUE", {}, b"x"))
        huge = after([12, 4, 0], "BULK", {"ZEROS": 1 << 63, "LAST": 1}, b"x")
        self.refused("LIMIT", huge)

    def test_order_of_channels(self) -> None:
        """SEAL-20: END tells how the channels take turns in a file."""
        for swapped in (False, True):
            writer = Writer()
            writer.attach(3, 3)
            before = len(writer.out)
            writer.frame("OPAQUE", {}, b"a", channel=3)
            between = len(writer.out)
            writer.frame("OPAQUE", {}, b"b")
            behind = len(writer.out)
            data = writer.end()
            if swapped:
                turns = data[between:behind] + data[before:between]
                self.refused("SESSION_END", data[:before] + turns + data[behind:])
            else:
                read(data)

    def test_bad_body(self) -> None:
        """SEAL-28: a wrong tag goes before what an enciphered body seems to be."""
        for suite in SUITES:
            writer = Writer(suite)
            writer.body = lambda values: b"\xff\x01"  # type: ignore[method-assign]
            writer.frame("OPAQUE", {}, b"bulk")
            good = bytes(writer.out)
            self.refused("NATIVE_CBOR", good, suite)
            wrong = good[:-1] + bytes([good[-1] ^ 1])
            self.refused("SEAL_TAG" if suite in seal.ENCIPHERED else "NATIVE_CBOR", wrong, suite)

    def test_opaque_that_says_nothing(self) -> None:
        writer = Writer()
        writer.frame("OPAQUE", {})
        writer.frame("RECORDS", {"RECORDS": [[11, 0, 1]]}, b"x")
        writer.frame("OPAQUE", {})
        writer.frame("RECORDS", {"RECORDS": [[11, 0, 1]]}, b"y")
        _, records = read(writer.end())
        self.assertEqual(len(records), 2)

    def test_pages_of_unknown_blocks(self) -> None:
        writer = Writer()
        writer.pages([0, 3])
        self.refused("RAM_BLOCK_UNKNOWN", writer.end())
        writer = Writer()
        writer.blocks()
        writer.pages([63, 5])
        self.refused("TRANSCODE_PAGES", writer.end())


class Packed(unittest.TestCase):
    refused = Files.refused

    def packed(self, bulk: bytes, **options: Any) -> bytes:
        writer = Writer(**options)
        writer.frame("DEVICE", {"DEVICE": 0, "UNPACKED": 2048}, bulk, flags=1)
        return writer.end()

    def test_outline(self) -> None:
        plain = PAGE + PAGE
        good = zstd(plain)
        read(self.packed(good))
        self.refused("PACK_FRAME", self.packed(zstd(plain, write_checksum=True)))
        self.refused("PACK_FRAME", self.packed(zstd(plain, write_content_size=False)))
        self.refused("PACK_FRAME", self.packed(zstd(plain + b"x")))
        self.refused("PACK_FRAME", self.packed(good + b"x"))
        self.refused("PACK_FRAME", self.packed(good[:-1]))
        self.refused("PACK_FRAME", self.packed(b"\x50\x2a\x4d\x18" + bytes(4) + good))
        self.refused("PACK_SIZE", self.packed(bytes(2048)))
        self.refused("NATIVE_FLAGS", self.packed(good, FEATURES=8))

    def test_content_size_that_lies(self) -> None:
        short = bytearray(zstandard.ZstdCompressor().compress(bytes(2047)))
        size = struct.pack("<H", 2048 - 256)
        short[5:7] = size
        self.refused("PACK_DATA", self.packed(bytes(short)))

    def delta(self, generation: int, base: int, digest: int, difference: bytes) -> bytes:
        writer = Writer()
        writer.blocks()
        writer.pages([2, 2], PAGE, PACK=struct.pack(">I", 1))
        info = struct.pack(">IIQ", generation, base, digest)
        writer.pages([2, 2], zstd(difference), flags=2, UNPACKED=1024, PACK=info)
        return writer.end()

    def test_delta(self) -> None:
        difference = bytes([7]) + bytes(1023)
        _, records = read(self.delta(2, 1, page_hash(PAGE), difference))
        self.assertEqual(records[-1].digest.hexdigest(), hashlib.sha256(NEXT).hexdigest())
        _, records = read(self.delta(2, 0, 0, NEXT))
        self.assertEqual(records[-1].digest.hexdigest(), hashlib.sha256(NEXT).hexdigest())
        self.refused("PACK_BASE", self.delta(2, 1, page_hash(NEXT), difference))
        self.refused("PACK_GENERATION", self.delta(3, 2, page_hash(PAGE), difference))
        self.refused("PACK_INFO", self.delta(2, 0, 1, difference))
        self.refused("PACK_INFO", self.delta(0, 1, page_hash(PAGE), difference))

    def test_digest(self) -> None:
        writer = Writer()
        writer.blocks()
        writer.pages([2, 4], PAGE + NEXT)
        hashes = struct.pack(">QQ", page_hash(PAGE), page_hash(PAGE))
        place = {"BLOCK": 0, "PAGE_BITS": 10, "FIRST": 2, "COUNT": 2}
        writer.frame("DIGEST", place, hashes)
        reader, _ = read(writer.end())
        self.assertEqual(reader.compare_digest(), {"pages": 2, "equal": 1})
        writer = Writer()
        writer.blocks()
        writer.frame("DIGEST", place | {"FIRST": 63}, hashes)
        self.refused("PACK_DIGEST_RANGE", writer.end())

    def test_xxh64(self) -> None:
        self.assertEqual(xxh64(b""), 0xEF46DB3751D8E999)
        self.assertEqual(xxh64(b"a"), 0xD24EC4F1A98C6E5B)
        self.assertEqual(xxh64(b"Nobody inspects the spammish repetition"), 0xFBCEA83C8A378BF1)


class KeyFiles(unittest.TestCase):
    def test_key_files(self) -> None:
        key = b"00112233445566778899aabbccddeefF"
        good = b"# c\r\n\nme:" + key + b"\r\nyou:" + key + b"\n"
        self.assertEqual(list(seal.parse_psk_file(good)), [b"me", b"you"])
        bad = [
            b"",
            b"# nothing\n",
            b"me" + key,
            b":" + key,
            b"m e:" + key,
            b"me:" + key[:-2],
            b"me:" + key[:-1] + b"g",
            b"me:" + key + b"0",
            b"me:" + key * 4 + b"00",
            b"me:" + key + b"\nme:" + key,
            b"m" * 129 + b":" + key,
            good + b"#" * 65536,
        ]
        for text in bad:
            with self.assertRaises(NativeError, msg=text[:40]) as caught:
                seal.parse_psk_file(text)
            self.assertEqual(caught.exception.code, "SEAL_PSK_FILE")


if __name__ == "__main__":
    unittest.main()

# SPDX-License-Identifier: MIT
"""Writes small native files for test_files.py: the least that makes every path run."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import cbor2
import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from vmsnative import seal
from vmsnative.crc32c import crc32c
from vmsnative.frame import HELLO_SEALED, LABEL, MAGIC
from vmsnative.registry import FEATURES, FRAME_NAMES, KEYS

SECRET = bytes(range(16))
SESSION = bytes(range(16))


def zstd(plain: bytes, **options: Any) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(plain)


class Writer:
    def __init__(self, suite: int = seal.NONE, **hello: Any) -> None:
        self.suite = suite
        self.out = bytearray(LABEL)
        self.next: dict[int, int] = {}
        self.epoch: dict[int, int] = {0: 1}
        self.last: dict[int, int] = {0: 0}
        self.transcript = hashlib.sha256()
        self.randoms = 0
        body = {"VERSION": 1, "VERSION_MIN": 1} | self.who() | {"FORM": 1, "SUITES": [suite]}
        body |= {"FEATURES": sum(1 << bit for bit in FEATURES.values())}
        body |= {"BODY_BYTES": 65536, "BULK_BYTES": 65536, "CHANNELS": 256} | hello
        whole = self.hello("HELLO", 0, body)
        self.transcript.update(whole)
        self.master = seal.master_secret(SECRET, body["RANDOM"], bytes(32), whole)

    def who(self) -> dict[str, Any]:
        self.randoms += 1
        who = {"ROLE": 0, "SESSION": SESSION, "RANDOM": bytes([self.randoms]) * 32}
        return who | ({"SECRET": 1, "IDENTITY": b"me"} if self.suite else {})

    @staticmethod
    def body(values: dict[Any, Any]) -> bytes:
        """Keys by their names or as numbers."""
        return cbor2.dumps({KEYS.get(k, k): v for k, v in values.items()}, canonical=True)

    def hello(self, name: str, channel: int, values: dict[str, Any]) -> bytes:
        flags = HELLO_SEALED if self.suite else 0
        body = self.body(values)
        numbers = FRAME_NAMES[name], flags, channel, 0, 0, len(body), 0
        header = MAGIC + struct.pack(">IHHIQII", *numbers)
        key = seal.hello_key(SECRET, 0, values["RANDOM"])
        suite = seal.GMAC if self.suite else seal.NONE
        whole = header + self.sealed(suite, key, 0, header, body)
        self.out += whole
        return whole

    @staticmethod
    def sealed(suite: int, key: bytes, sequence: int, header: bytes, payload: bytes) -> bytes:
        if suite == seal.NONE:
            return payload + struct.pack(">I", crc32c(header, payload))
        cipher = (ChaCha20Poly1305 if suite == seal.CHACHA20 else AESGCM)(key[:32])
        nonce = seal.nonce(key[32:], sequence)
        if suite == seal.GMAC:
            return payload + cipher.encrypt(nonce, b"", header + payload)
        return cipher.encrypt(nonce, payload, header)

    def frame(
        self,
        name: str | int,
        values: dict[Any, Any],
        bulk: bytes = b"",
        channel: int = 0,
        flags: int = 0,
    ) -> None:
        sequence = self.next.get(channel, 0)
        body = self.body(values)
        number = name if isinstance(name, int) else FRAME_NAMES[name]
        numbers = number, flags, channel, self.epoch[channel], sequence
        header = MAGIC + struct.pack(">IHHIQII", *numbers, len(body), len(bulk))
        key = seal.epoch_key(self.master, 0, channel, self.epoch[channel])
        rest = self.sealed(self.suite, key, sequence, header, body + bulk)
        self.out += header + rest
        self.next[channel] = sequence + 1
        self.last[channel] = self.epoch[channel]
        self.transcript.update(header + rest[len(body) + len(bulk) :])

    def attach(self, channel: int, kind: int, epoch: int = 1, **other: Any) -> None:
        whole = self.hello("ATTACH", channel, self.who() | {"KIND": kind, "EPOCH": epoch} | other)
        tag = 16 if self.suite else 4
        self.transcript.update(whole[:32] + whole[-tag:])
        self.epoch[channel] = epoch
        self.last.setdefault(channel, 0)

    def rekey(self, channel: int, step: int = 1) -> None:
        self.frame("REKEY", {"EPOCH": self.epoch[channel] + step}, channel=channel)
        self.epoch[channel] += step

    def end(self, **other: Any) -> bytes:
        sent = [[c, self.next.get(c, 0), self.last[c]] for c in sorted(self.last)]
        self.frame("END", {"SENT": sent, "TRANSCRIPT": self.transcript.digest()} | other)
        return bytes(self.out)

    def blocks(self) -> None:
        """A block list of one block "ram" of 64 pages of 1024 octets."""
        block = [14, 0, 0, b"ram", 0, 65536, 0, 0, 0, 0, 0, 0]
        self.frame("RECORDS", {"RECORDS": [[1, 0, 0, 3], block]})

    def pages(self, runs: list[int], bulk: bytes = b"", flags: int = 0, **other: Any) -> None:
        body = {"BLOCK": 0, "PAGE_BITS": 10, "RUNS": runs} | other
        self.frame("PAGES", body, bulk, flags=flags)

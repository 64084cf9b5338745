# SPDX-License-Identifier: MIT
"""Label and header of frames (NAT-1 to NAT-17)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from .errors import NativeError
from .registry import FRAMES, LIMITS

LABEL = bytes.fromhex("d9d9f9da564d533143424f52")
MAGIC = b"VMSF"
HEADER_BYTES = 32
METHOD_BITS = 0x000F
HELLO_SEALED = 0x0010
MAY_BE_IGNORED = 1 << 31
KNOWN_METHODS = (0, 1, 2)

TYPE_AT, FLAGS_AT, CHANNEL_AT, EPOCH_AT, SEQUENCE_AT, BODY_AT, BULK_AT = 4, 8, 10, 12, 16, 24, 28


@dataclass(frozen=True)
class Header:
    offset: int
    octets: bytes
    type: int
    flags: int
    channel: int
    epoch: int
    sequence: int
    body_bytes: int
    bulk_bytes: int

    @property
    def name(self) -> str:
        return FRAMES[self.type].name if self.type in FRAMES else "UNKNOWN"

    @property
    def group(self) -> str:
        """HELLO, CONTROL, DATA, or UNKNOWN."""
        return FRAMES[self.type].group if self.type in FRAMES else "UNKNOWN"

    @property
    def method(self) -> int:
        return self.flags & METHOD_BITS

    @property
    def body_offset(self) -> int:
        return self.offset + HEADER_BYTES

    @property
    def bulk_offset(self) -> int:
        return self.body_offset + self.body_bytes

    @property
    def tag_offset(self) -> int:
        return self.bulk_offset + self.bulk_bytes


def check_label(data: memoryview) -> None:
    for i, (got, wanted) in enumerate(zip(data, LABEL)):
        if got != wanted:
            raise NativeError("NATIVE_LABEL", i, "not the label of the native wire")
    if len(data) < len(LABEL):
        raise NativeError("TRUNCATED", len(data), "inside the label")


def read_header(data: memoryview, offset: int) -> Header:
    octets = bytes(data[offset : offset + HEADER_BYTES])
    if not MAGIC.startswith(octets[:4]):
        raise NativeError("NATIVE_MAGIC", offset, "no frame begins here")
    if len(octets) < HEADER_BYTES:
        raise NativeError("TRUNCATED", len(data), "inside a header")
    return Header(offset, octets, *struct.unpack(">4xIHHIQII", octets))


def _refuse(header: Header, code: str, at: int, message: str) -> NativeError:
    return NativeError(code, header.offset + at, f"{header.name}: {message}")


def check_type(header: Header) -> None:
    if header.type not in FRAMES and not header.type & MAY_BE_IGNORED:
        raise _refuse(header, "NATIVE_TYPE", TYPE_AT, f"unknown type {header.type:#x}")


def _never_packed(header: Header) -> bool:
    return header.group in ("HELLO", "CONTROL") or header.name in ("PAGE_REQUEST", "DISCARD")


def check_flags(header: Header) -> None:
    if header.flags & ~(METHOD_BITS | HELLO_SEALED):
        raise _refuse(header, "NATIVE_FLAGS", FLAGS_AT, "unknown flags")
    if header.method and _never_packed(header):
        raise _refuse(header, "NATIVE_FLAGS", FLAGS_AT, "packed")
    if header.method not in KNOWN_METHODS and header.group != "UNKNOWN":
        raise _refuse(header, "NATIVE_FLAGS", FLAGS_AT, "unknown pack method")
    if header.flags & HELLO_SEALED and header.epoch:
        raise _refuse(header, "NATIVE_FLAGS", FLAGS_AT, "HELLO_SEALED above epoch 0")


def _main_channel_only(header: Header) -> bool:
    if header.name in ("HELLO", "RESUME", "RESUMED"):
        return True
    free = header.name == "REKEY" or (header.name == "ABORT" and header.epoch == 0)
    return header.group == "CONTROL" and not free


def check_channel(header: Header) -> None:
    if header.channel == 0 and header.name == "ATTACH":
        raise _refuse(header, "NATIVE_CHANNEL", CHANNEL_AT, "on channel 0")
    if header.channel != 0 and _main_channel_only(header):
        raise _refuse(header, "NATIVE_CHANNEL", CHANNEL_AT, "not on channel 0")


def check_epoch(header: Header) -> None:
    if header.group == "HELLO" and header.epoch:
        raise _refuse(header, "NATIVE_ORDER", EPOCH_AT, "above epoch 0")
    if header.group != "HELLO" and header.name != "ABORT" and not header.epoch:
        raise _refuse(header, "NATIVE_ORDER", EPOCH_AT, "in epoch 0")
    if not header.epoch and header.sequence:
        raise _refuse(header, "NATIVE_ORDER", SEQUENCE_AT, "sequence in epoch 0")


def check_lengths(header: Header) -> None:
    if header.channel >= LIMITS["native_channels"]:
        raise _refuse(header, "LIMIT", CHANNEL_AT, "native_channels")
    if header.body_bytes > LIMITS["native_body_bytes"]:
        raise _refuse(header, "LIMIT", BODY_AT, "native_body_bytes")
    if header.bulk_bytes > LIMITS["native_bulk_bytes"]:
        raise _refuse(header, "LIMIT", BULK_AT, "native_bulk_bytes")
    if header.bulk_bytes and header.group in ("HELLO", "CONTROL"):
        raise _refuse(header, "NATIVE_BULK", BULK_AT, "bulk in class HELLO or CONTROL")

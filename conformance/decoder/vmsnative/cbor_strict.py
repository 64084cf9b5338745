# SPDX-License-Identifier: MIT
"""Deterministic CBOR (RFC 8949, 4.2.1) in the subset of NAT-30, read head by head.

A Cursor is pulled through a body by the schemas of bodies.py, so that of several faults the one that
begins first in the body is reported. Values come from cbor2 as well, and the two must agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cbor2

from .errors import NativeError
from .registry import LIMITS

UINT, BSTR, TSTR, ARRAY, MAP = 0, 2, 3, 4, 5


@dataclass
class Head:
    major: int
    value: int
    offset: int


class Cursor:
    """Reads the octets of one body that stands at `base` in the stream."""

    def __init__(self, body: bytes, base: int) -> None:
        self.body = bytes(body)
        self.base = base
        self.at = 0
        self.depth = 0

    @property
    def offset(self) -> int:
        return self.base + self.at

    def refuse(self, offset: int, message: str) -> NativeError:
        return NativeError("NATIVE_CBOR", offset, message)

    def head(self) -> Head:
        start = self.offset
        if self.at >= len(self.body):
            raise self.refuse(start, "the body ends where an item should begin")
        major, info = self.body[self.at] >> 5, self.body[self.at] & 31
        if major not in (UINT, BSTR, TSTR, ARRAY, MAP):
            raise self.refuse(start, f"major type {major}")
        self.at += 1
        head = Head(major, self._argument(info, start), start)
        self._check_room(head)
        return head

    def _argument(self, info: int, start: int) -> int:
        if info < 24:
            return info
        if info > 27:
            raise self.refuse(start, "indefinite length or reserved head")
        size = 1 << (info - 24)
        octets = self.body[self.at : self.at + size]
        if len(octets) < size:
            raise self.refuse(start, "a head that is cut short")
        self.at += size
        value = int.from_bytes(octets, "big")
        smallest = 24 if size == 1 else 1 << (4 * size)
        if value < smallest:
            raise self.refuse(start, "a head that is not the shortest")
        return value

    def _check_room(self, head: Head) -> None:
        left = len(self.body) - self.at
        need = {UINT: 0, MAP: 2 * head.value}.get(head.major, head.value)
        if need > left:
            raise self.refuse(head.offset, "longer than what is left of the body")
        piece = self.body[self.at : self.at + head.value] if head.major == TSTR else b""
        if any(not 0x20 <= octet <= 0x7E for octet in piece):
            raise self.refuse(head.offset, "a text that is not printable ASCII")

    def enter(self, head: Head) -> None:
        """Goes into an array or map (NAT-34)."""
        if self.depth == LIMITS["native_depth"]:
            raise NativeError("LIMIT", head.offset, "native_depth")
        if head.value > LIMITS["native_items"]:
            raise NativeError("LIMIT", head.offset, "native_items")
        self.depth += 1

    def leave(self) -> None:
        self.depth -= 1

    def octets(self, head: Head) -> bytes:
        piece = self.body[self.at : self.at + head.value]
        self.at += head.value
        return piece

    def key(self, before: int) -> Head:
        """A key of a map, above the key before (-1: it is the first)."""
        head = self.head()
        if head.major != UINT:
            raise self.refuse(head.offset, "a key that is no unsigned integer")
        if head.value <= before:
            raise self.refuse(head.offset, "keys that do not ascend")
        return head

    def any_value(self, head: Head) -> Any:
        if head.major == UINT:
            return head.value
        if head.major in (BSTR, TSTR):
            octets = self.octets(head)
            return octets if head.major == BSTR else octets.decode("ascii")
        self.enter(head)
        value = self._any_array(head) if head.major == ARRAY else self._any_map(head)
        self.leave()
        return value

    def _any_array(self, head: Head) -> list[Any]:
        return [self.any_value(self.head()) for _ in range(head.value)]

    def _any_map(self, head: Head) -> dict[int, Any]:
        value: dict[int, Any] = {}
        key = -1
        for _ in range(head.value):
            key = self.key(key).value
            value[key] = self.any_value(self.head())
        return value

    def begin_map(self) -> Head:
        head = self.head()
        if head.major != MAP:
            raise self.refuse(head.offset, "a body that is no map")
        self.enter(head)
        return head

    def end(self, value: Any) -> None:
        """Nothing follows the map, and cbor2 reads the same."""
        if self.at != len(self.body):
            raise self.refuse(self.offset, "octets behind the map")
        if cbor2.loads(self.body) != value:
            raise NativeError("INTERNAL", self.base, "cbor2 reads another value")


def any_body(body: bytes, base: int) -> dict[int, Any]:
    """The body of a frame that is passed over: NAT-30 and NAT-34 only (NAT-21)."""
    cursor = Cursor(body, base)
    head = cursor.begin_map()
    value = cursor._any_map(head)
    cursor.leave()
    cursor.end(value)
    return value

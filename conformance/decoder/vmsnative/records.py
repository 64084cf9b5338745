# SPDX-License-Identifier: MIT
"""Data frames made into records again (NAT-53 to NAT-66)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Iterator

from .bodies import Body, as_json, page_count
from .errors import NativeError
from .fields import FIELDS, GUESSED, NO_LENGTH, PACKAGED
from .pack import Memory, Place
from .registry import LIMITS, RECORDS

_ZERO_PIECE = bytes(1 << 20)
MAIN, RECOVERY, MULTIFD, PREEMPT, RETURN_PATH = 1, 2, 3, 4, 5
_DEVICE_TAIL = 12
_ALLOWED = {  # TRC-11, by number; DEVICE_TAIL is allowed on all
    MAIN: range(1, 32),
    RECOVERY: range(1, 32),
    MULTIFD: range(32, 35),
    PREEMPT: range(15, 22),
    RETURN_PATH: range(35, 43),
}
_PAGE_RECORDS = ("RAM_PAGE", "RAM_ZERO", "RAM_XBZRLE", "RAM_COMPRESSED")


@dataclass
class Record:
    name: str
    channel: int
    number: int
    marks: int
    fields: dict[str, Any]
    length: int = 0
    bulk_bytes: int = 0
    digest: Any = field(default_factory=hashlib.sha256)
    content: bytes = b""

    def add(self, octets: bytes) -> None:
        self.bulk_bytes += len(octets)
        self.digest.update(octets)

    def add_zeros(self, count: int) -> None:
        self.bulk_bytes += count
        for _ in range(count // len(_ZERO_PIECE)):
            self.digest.update(_ZERO_PIECE)
        self.digest.update(_ZERO_PIECE[: count % len(_ZERO_PIECE)])

    def as_dict(self) -> dict[str, Any]:
        line: dict[str, Any] = {"record": self.name, "channel": self.channel, "number": self.number}
        line |= {key: as_json(value) for key, value in self.fields.items()}
        if self.marks & PACKAGED:
            line["packaged"] = True
        if self.marks & GUESSED:
            line["guessed"] = True
        if self.bulk_bytes < self.length:
            line["truncated"] = True
        line["bulk"] = self.bulk_bytes
        line["sha256"] = self.digest.hexdigest()
        return line


class Blocks:
    """The block list of the session (NAT-53)."""

    def __init__(self) -> None:
        self.names: list[bytes] = []
        self.sizes: list[int] = []

    def add(self, fields: dict[str, Any]) -> None:
        self.names.append(fields["name"])
        self.sizes.append(fields["used_length"])

    def find(self, block: int | bytes, place: int) -> bytes:
        if isinstance(block, bytes):
            return block
        if block >= len(self.names):
            raise NativeError("RAM_BLOCK_UNKNOWN", place, f"block {block}")
        return self.names[block]

    def size(self, name: bytes) -> int | None:
        return self.sizes[self.names.index(name)] if name in self.names else None


def page_places(body: Body, block: bytes) -> Iterator[tuple[Place, bool]]:
    """Every page of the runs in order, and whether it is zero."""
    runs, bits = body.get("RUNS"), body.get("PAGE_BITS")
    for first, count in zip(runs[::2], runs[1::2]):
        for page in range(first, first + (count >> 1)):
            yield (block, page << bits), bool(count & 1)


class Channel:
    """Records of one channel, in their order."""

    def __init__(self, number: int, kind: int, blocks: Blocks, memory: Memory) -> None:
        self.number = number
        self.kind = kind
        self.blocks = blocks
        self.memory = memory
        self.count = 0
        self.open: Record | None = None
        self.tail: Record | None = None
        self.tail_at: int | None = None
        self.ended = False

    def take(self, body: Body, offset: int, bulk: bytes) -> list[Record]:
        """The records that this frame begins; they are whole when `open` is no longer set."""
        if self.ended or (self.tail and body.type_name != "OPAQUE"):
            raise NativeError("TRANSCODE_FRAME", offset, f"{body.type_name} behind OPAQUE")
        if self.open and body.type_name != "BULK":
            raise NativeError("NATIVE_RECORD", offset, "a record of this channel goes on")
        if body.type_name == "BULK":
            self._bulk(body, offset, bulk)
            return []
        takers = {"RECORDS": self._records, "PAGES": self._pages, "OPAQUE": self._opaque}
        taker = takers.get(body.type_name)
        return taker(body, offset, bulk) if taker else []

    def _new(self, name: str, marks: int, fields: dict[str, Any]) -> Record:
        record = Record(name, self.number, self.count, marks, fields)
        self.count += 1
        return record

    def _records(self, body: Body, offset: int, bulk: bytes) -> list[Record]:
        records, at = [], 0
        for value in body.get("RECORDS"):
            record = self._record(value, body.place("RECORDS"))
            end = len(bulk) if value[1] & NO_LENGTH else min(at + value[2], len(bulk))
            record.add(bulk[at:end])
            self._act(record, bulk[at:end])
            at = end
            records.append(record)
        self._leave_open(records[-1])
        return records

    def _leave_open(self, record: Record) -> None:
        endless = record.marks & NO_LENGTH
        if endless or record.bulk_bytes < record.length:
            self.open = record

    def _record(self, value: list[Any], place: int) -> Record:
        name = RECORDS[value[0]]
        allowed = _ALLOWED.get(self.kind)
        if allowed and value[0] not in allowed and value[0] != _DEVICE_TAIL:
            raise NativeError("TRANSCODE_RECORD", place, f"{name}, channel of kind {self.kind}")
        names = [key for key, _ in FIELDS.get(name, ())]
        fields = dict(zip(names, value[3:]))
        if name == "CONFIGURATION":
            rest = value[3 + len(names) :]
            fields["subsections"] = [list(rest[i : i + 3]) for i in range(0, len(rest), 3)]
        if isinstance(fields.get("block"), int):
            fields["block"] = self.blocks.find(fields["block"], place)
        record = self._new(name, value[1], fields)
        record.length = value[2]
        return record

    def _act(self, record: Record, octets: bytes) -> None:
        if record.name == "RAM_BLOCK" and self.number == 0:
            self.blocks.add(record.fields)
        if record.name not in _PAGE_RECORDS:
            return
        place = (record.fields["block"], record.fields["offset"])
        if record.name == "RAM_PAGE" and len(octets) == record.length:
            self.memory.store(place, bytes(octets))
        else:
            self.memory.forget(place)

    def _pages(self, body: Body, offset: int, bulk: bytes) -> list[Record]:
        if page_count(body) > LIMITS["native_frame_pages"]:
            raise NativeError("LIMIT", body.place("RUNS"), "native_frame_pages")
        block = self.blocks.find(body.get("BLOCK"), body.place("BLOCK"))
        self._check_extent(body, block)
        size, named = 1 << body.get("PAGE_BITS"), set(body.get("NAMED", []))
        records, at = [], 0
        for i, (place, zero) in enumerate(page_places(body, block)):
            content = b"" if zero else bulk[at : at + size]
            at += len(content)
            records.append(self._page(place, zero, content, i not in named))
            self._remember(place, zero, content, size)
        return records

    def _check_extent(self, body: Body, block: bytes) -> None:
        """TRC-14."""
        size = self.blocks.size(block) if self.number == 0 else None
        most = LIMITS["ram_bytes"] if size is None else size
        runs, bits = body.get("RUNS"), body.get("PAGE_BITS")
        end = max(first + (count >> 1) for first, count in zip(runs[::2], runs[1::2])) << bits
        if end > most:
            raise NativeError("TRANSCODE_PAGES", body.place("RUNS"), f"to {end} of {most}")

    def _page(self, place: Place, zero: bool, content: bytes, continued: bool) -> Record:
        fields = {"block": place[0], "continued": int(continued), "fill": 0, "offset": place[1]}
        record = self._new("RAM_ZERO" if zero else "RAM_PAGE", 0, fields)
        record.length = len(content)
        record.add(content)
        return record

    def _remember(self, place: Place, zero: bool, content: bytes, size: int) -> None:
        if zero:
            self.memory.store_zero(place, size)
        else:
            self.memory.store(place, content)

    def _bulk(self, body: Body, offset: int, bulk: bytes) -> None:
        record = self.open
        if record is None:
            raise NativeError("NATIVE_RECORD", offset, "bulk without a record")
        zeros = body.get("ZEROS", 0)
        endless = bool(record.marks & NO_LENGTH)
        if not endless and record.bulk_bytes + zeros + len(bulk) > record.length:
            raise NativeError("NATIVE_RECORD", offset, "bulk past the end of its record")
        if body.has("LAST") and not endless:
            raise NativeError("NATIVE_RECORD", offset, "LAST, and the length was announced")
        if zeros > LIMITS["ram_bytes"]:
            raise NativeError("LIMIT", body.place("ZEROS"), "ram_bytes")
        record.add_zeros(zeros)
        record.add(bulk)
        if body.has("LAST") or (not endless and record.bulk_bytes == record.length):
            self.open = None

    def _opaque(self, body: Body, offset: int, bulk: bytes) -> list[Record]:
        """OPAQUE frames are together one DEVICE_TAIL record."""
        start, wanted = body.get("OFFSET", 0), self.tail_at
        nothing = not bulk and not body.has("LAST") and self.tail is None
        if self.count == 0:
            wanted = 0  # behind records it is known only to who makes QEVM of them
        if wanted is not None and start != wanted:
            raise NativeError("TRANSCODE_OFFSET", offset, f"{start}, not {wanted}")
        if nothing:  # NAT-66: it stands for nothing, and records may follow
            return []
        self.tail_at = start + len(bulk)
        self.ended = body.has("LAST")
        begun = []
        if self.tail is None:
            self.tail = self._new("DEVICE_TAIL", 0, {})
            begun.append(self.tail)
        self.tail.add(bulk)
        return begun

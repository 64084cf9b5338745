# SPDX-License-Identifier: MIT
"""Readers of values, and the fields of records (NAT-60, native.cddl)."""

from __future__ import annotations

from typing import Any, Callable

from .cbor_strict import ARRAY, BSTR, TSTR, UINT, Cursor, Head
from .errors import NativeError
from .registry import LIMITS, RECORDS

U8, U16, U32, U64 = 0xFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
PACKAGED, GUESSED, NO_LENGTH = 1, 2, 4

ValueReader = Callable[[Cursor], Any]


def wrong(offset: int, message: str) -> NativeError:
    return NativeError("NATIVE_VALUE", offset, message)


def malformed(offset: int, message: str) -> NativeError:
    return NativeError("NATIVE_RECORD", offset, message)


def uint(low: int, high: int) -> ValueReader:
    def read(cursor: Cursor) -> int:
        head = cursor.head()
        if head.major != UINT or not low <= head.value <= high:
            raise wrong(head.offset, f"not an integer from {low} to {high}")
        return head.value

    return read


def bstr(low: int, high: int) -> ValueReader:
    def read(cursor: Cursor) -> bytes:
        head = cursor.head()
        if head.major != BSTR or not low <= head.value <= high:
            raise wrong(head.offset, f"not a byte string of {low} to {high}")
        return cursor.octets(head)

    return read


def _check_name(head: Head, low: int) -> None:
    if head.value > 255:
        raise wrong(head.offset, "a name or text that is too long")
    if head.value < low:
        raise wrong(head.offset, "an empty name or text")


def name(low: int) -> ValueReader:
    def read(cursor: Cursor) -> bytes:
        head = cursor.head()
        if head.major != BSTR:
            raise wrong(head.offset, "a name that is no byte string")
        _check_name(head, low)
        return cursor.octets(head)

    return read


def text(cursor: Cursor) -> str:
    head = cursor.head()
    if head.major != TSTR:
        raise wrong(head.offset, "not a text")
    _check_name(head, 1)
    return cursor.octets(head).decode("ascii")


def block(low: int) -> ValueReader:
    """A place in the block list, or a name (NAT-53)."""

    def read(cursor: Cursor) -> int | bytes:
        head = cursor.head()
        if head.major == UINT and head.value <= U32:
            return head.value
        if head.major != BSTR:
            raise wrong(head.offset, "neither the place nor the name of a block")
        _check_name(head, low)
        return cursor.octets(head)

    return read


def array(
    element: Callable[[Cursor, list[Any]], Any], low: int, high: int | None, limit: str | None
) -> ValueReader:
    """An array; `limit` names the limit of its length, or `high` is the bound of native.cddl."""

    def read(cursor: Cursor) -> list[Any]:
        head = cursor.head()
        if head.major != ARRAY or head.value < low or (high and head.value > high):
            raise wrong(head.offset, "not an array of the right length")
        if limit and head.value > LIMITS[limit]:
            raise NativeError("LIMIT", head.offset, limit)
        cursor.enter(head)
        values: list[Any] = []
        for _ in range(head.value):
            values.append(element(cursor, values))
        cursor.leave()
        return values

    return read


_u8, _u16, _u32, _u64 = uint(0, U8), uint(0, U16), uint(0, U32), uint(0, U64)
_name0 = name(0)
_section = (("id", _u32), ("instance", _u32), ("version", _u32), ("kind", uint(0, 3)), ("idstr", _name0))
_page = (("block", block(0)), ("continued", uint(0, 1)), ("fill", _u8), ("offset", _u64))
_word = (("word", _u64),)
_value = (("value", _u32),)
_request = (("block", _name0), ("offset", _u64), ("length", _u32))
_ram_block = (
    ("name", _name0),
    ("parts", uint(0, 7)),
    ("used_length", _u64),
    ("page_size", _u64),
    ("address", _u64),
    ("mapped_version", _u32),
    ("mapped_page_size", _u64),
    ("bitmap_offset", _u64),
    ("pages_offset", _u64),
)
_dirty_bitmap = (
    ("flags", _u8),
    ("node", _name0),
    ("name", _name0),
    ("granularity", _u32),
    ("start_flags", _u8),
    ("sector", _u64),
    ("sectors", _u32),
)
_packet = (
    ("flags", _u32),
    ("pages_alloc", _u32),
    ("normal_pages", _u32),
    ("next_packet_size", _u32),
    ("packet_number", _u64),
    ("zero_pages", _u32),
    ("block", bstr(0, 256)),
    ("offsets", bstr(0, 4096)),
    ("raw", bstr(0, 320)),
)
_device_state = (
    ("idstr", bstr(0, 256)),
    ("instance", _u32),
    ("version", _u32),
    ("index", _u32),
    ("flags", _u32),
    ("raw_idstr", bstr(0, 256)),
    ("raw_flags", _u32),
)
_hello = (("uuid", bstr(16, 16)), ("channel", _u8), ("reserved", bstr(0, 39)))

FIELDS: dict[str, tuple[tuple[str, ValueReader], ...]] = {
    "HEADER": (("version", _u32),),
    "CONFIGURATION": (("machine", _name0),),
    "SECTION_START": _section,
    "SECTION_PART": _section,
    "SECTION_END": _section,
    "SECTION_FULL": _section,
    "SECTION_FOOTER": _section,
    "COMMAND": (("command", _u16), ("payload", bstr(0, 65535))),
    "RAM_MEM_SIZE": (("total", _u64),),
    "RAM_BLOCK": _ram_block,
    "RAM_PAGE": _page,
    "RAM_ZERO": _page,
    "RAM_XBZRLE": _page,
    "RAM_COMPRESSED": _page,
    "RAM_HOOK": _word,
    "RAM_MULTIFD_FLUSH": _word,
    "RAM_EOS": _word,
    "MAPPED_BITMAP": _page,
    "MAPPED_PADDING": _page,
    "MAPPED_PAGES": _page,
    "DIRTY_BITMAP": _dirty_bitmap,
    "MULTIFD_HELLO": _hello,
    "MULTIFD_PACKET": _packet,
    "MULTIFD_DEVICE_STATE": _device_state,
    "RP_SHUT": _value,
    "RP_PONG": _value,
    "RP_REQ_PAGES_ID": _request,
    "RP_REQ_PAGES": _request,
    "RP_RECV_BITMAP": (("block", _name0),),
    "RP_RESUME_ACK": _value,
}
_subsection = (uint(0, 2), _u32, bstr(0, U32))


def records(cursor: Cursor) -> list[list[Any]]:
    head = cursor.head()
    if head.major != ARRAY or head.value == 0:
        raise wrong(head.offset, "no records")
    if head.value > LIMITS["native_records"]:
        raise NativeError("LIMIT", head.offset, "native_records")
    cursor.enter(head)
    values = [_record(cursor, i == head.value - 1) for i in range(head.value)]
    cursor.leave()
    return values


def _record(cursor: Cursor, last: bool) -> list[Any]:
    head = cursor.head()
    if head.major != ARRAY:
        raise wrong(head.offset, "a record that is no array")
    if head.value == 0:
        raise malformed(head.offset, "an empty record")
    cursor.enter(head)
    number = _record_number(cursor, head)
    marks, length = _marks_and_length(cursor, last)
    values = [number, marks, length]
    values += [read(cursor) for _, read in FIELDS.get(RECORDS[number], ())]
    values += _subsections(cursor, head.value - len(values))
    cursor.leave()
    return values


def _record_number(cursor: Cursor, head: Head) -> int:
    number = uint(0, U64)(cursor)
    if number not in RECORDS:
        raise malformed(head.offset, f"record {number}")
    wanted = 3 + len(FIELDS.get(RECORDS[number], ()))
    if head.value != wanted and not (RECORDS[number] == "CONFIGURATION" and head.value > wanted):
        raise malformed(head.offset, f"{head.value} elements in {RECORDS[number]}")
    return number


def _marks_and_length(cursor: Cursor, last: bool) -> tuple[int, int]:
    place = cursor.offset
    marks = uint(0, 7)(cursor)
    if marks & NO_LENGTH and not last:
        raise malformed(place, "bulk without length before the last record")
    length = uint(0, U64 - 1)(cursor)
    if marks & NO_LENGTH and length:
        raise malformed(place, "no length, and a length")
    return marks, length


def _subsections(cursor: Cursor, left: int) -> list[Any]:
    if left % 3 or left > 9:
        raise malformed(cursor.offset, "subsections")
    return [read(cursor) for _ in range(left // 3) for read in _subsection]


def records_bulk(values: list[list[Any]]) -> tuple[int, int | None]:
    """The shortest and longest bulk of a RECORDS frame (NAT-61)."""
    before = sum(value[2] for value in values[:-1])
    if values[-1][1] & NO_LENGTH:
        return before, None
    return before, before + values[-1][2]

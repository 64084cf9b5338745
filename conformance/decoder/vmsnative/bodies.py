# SPDX-License-Identifier: MIT
"""Bodies of frames: native.cddl as tables of readers, and the lengths of bulk that follow from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable

from . import fields, registry
from .cbor_strict import ARRAY, Cursor
from .errors import NativeError
from .fields import U16, U32, U64, array, bstr, name, text, uint, wrong
from .registry import KEYS, LIMITS

Reader = Callable[[Cursor, "Body"], Any]
EXTENSIONS = range(0x8000, 0x10000)


@dataclass
class Body:
    """A decoded body; `places` are the offsets of values, by key."""

    type_name: str
    epoch: int
    values: dict[int, Any] = field(default_factory=dict)
    places: dict[int, int] = field(default_factory=dict)
    start: int = 0
    end: int = 0

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(KEYS[key], default)

    def has(self, key: str) -> bool:
        return KEYS[key] in self.values

    def place(self, key: str) -> int:
        return self.places[KEYS[key]]


@dataclass(frozen=True)
class Member:
    read: Reader
    required: bool


def _plain(reader: Callable[[Cursor], Any]) -> Reader:
    return lambda cursor, body: reader(cursor)


def must(reader: Callable[[Cursor], Any]) -> Member:
    return Member(_plain(reader), True)


def may(reader: Callable[[Cursor], Any]) -> Member:
    return Member(_plain(reader), False)


def _tuple(cursor: Cursor, readers: tuple[Callable[[Cursor], Any], ...]) -> list[Any]:
    head = cursor.head()
    if head.major != ARRAY or head.value != len(readers):
        raise wrong(head.offset, f"not an array of {len(readers)}")
    cursor.enter(head)
    values = [reader(cursor) for reader in readers]
    cursor.leave()
    return values


def _ascending(*readers: Callable[[Cursor], Any]) -> Callable[[Cursor, list[Any]], Any]:
    """An element whose first member is above that of the element before."""

    def read(cursor: Cursor, before: list[Any]) -> list[Any]:
        place = cursor.offset
        value = _tuple(cursor, readers)
        if before and value[0] <= before[-1][0]:
            raise wrong(place, "does not ascend")
        return value

    return read


def _ascending_uint(cursor: Cursor, before: list[int]) -> int:
    place = cursor.offset
    value = uint(0, U32)(cursor)
    if before and value <= before[-1]:
        raise wrong(place, "does not ascend")
    return value


_positions = array(_ascending(uint(0, U16), uint(0, U64)), 1, None, "native_channels")
_sent = array(
    _ascending(uint(0, U16), uint(0, U64), uint(0, U32)), 1, None, "native_channels"
)
_devices = array(
    _ascending(uint(0, U32), uint(0, U32), name(0)), 1, None, "native_devices"
)
_suites = array(lambda cursor, before: uint(0, U32)(cursor), 1, 16, None)


def _run(cursor: Cursor, body: Body) -> list[int]:
    first_place = cursor.offset
    first = uint(0, U64)(cursor)
    count_place = cursor.offset
    count = uint(2, U32)(cursor)
    if (first + (count >> 1)) << body.get("PAGE_BITS", 10) > 1 << 64:
        raise wrong(first_place, "a run past 2^64 octets")
    if count & 1 and body.type_name != "PAGES":
        raise wrong(count_place, "zero pages in a request")
    return [first, count]


def _runs(cursor: Cursor, body: Body) -> list[int]:
    head = cursor.head()
    if head.major != ARRAY or head.value == 0:
        raise wrong(head.offset, "no runs")
    if head.value > 2 * LIMITS["native_runs"]:
        raise NativeError("LIMIT", head.offset, "native_runs")
    if head.value % 2:
        raise wrong(head.offset, "half a run")
    cursor.enter(head)
    pairs = [_run(cursor, body) for _ in range(head.value // 2)]
    cursor.leave()
    return [number for pair in pairs for number in pair]


def page_count(body: Body) -> int:
    return sum(count >> 1 for count in body.get("RUNS", [])[1::2])


def data_pages(body: Body) -> int:
    return sum(count >> 1 for count in body.get("RUNS", [])[1::2] if not count & 1)


def _named(cursor: Cursor, body: Body) -> list[int]:
    pages = page_count(body)

    def read(inner: Cursor, before: list[int]) -> int:
        place = inner.offset
        value = _ascending_uint(inner, before)
        if value >= pages:
            raise wrong(place, "a named page that is not in the runs")
        return value

    return array(read, 1, None, "native_items")(cursor)


def _unpacked(cursor: Cursor, body: Body) -> int:
    place = cursor.offset
    value = uint(1, U32)(cursor)
    if value > LIMITS["native_bulk_bytes"]:
        raise NativeError("LIMIT", place, "native_bulk_bytes")
    return value


def _table(**members: Member) -> dict[int, Member]:
    return {KEYS[key]: member for key, member in members.items()}


WHO = _table(
    ROLE=must(uint(0, 1)),
    SESSION=must(bstr(16, 16)),
    RANDOM=must(bstr(32, 32)),
    SECRET=may(uint(1, 2)),
    IDENTITY=may(bstr(1, 128)),
)
PACKING = {KEYS["UNPACKED"]: Member(_unpacked, False)}
HELLO = WHO | _table(
    VERSION=must(uint(1, U16)),
    VERSION_MIN=must(uint(1, U16)),
    FORM=may(uint(1, 2)),
    SUITES=must(_suites),
    FEATURES=may(uint(1, U64)),
    FEATURES_NEEDED=may(uint(1, U64)),
    BODY_BYTES=must(uint(1024, U32)),
    BULK_BYTES=must(uint(4096, U32)),
    CHANNELS=must(uint(1, 65536)),
    REPLAY_BYTES=may(uint(1, U64)),
    KEEPALIVE_MS=may(uint(1, U32)),
    MACHINE=may(name(1)),
    DEVICES=may(_devices),
    SOFTWARE=may(text),
    DIALECT=may(text),
)
ATTACH = WHO | _table(KIND=may(uint(1, U32)), EPOCH=must(uint(1, U32)))
RESUME = WHO | _table(EPOCH=must(uint(2, U32)), POSITIONS=may(_positions))
ABORT = _table(CODE=must(text), CLAUSE=may(text), DEVICE=may(uint(0, U32)), MESSAGE=may(text))
PING = _table(VALUE=may(uint(1, U64)))
HAND_OVER = _table(GENERATION=must(uint(0, U64)))
READY = HAND_OVER | _table(VERDICT=may(uint(1, 2)), PAGES_DIFFERENT=may(uint(1, U64)))
SWITCHOVER = HAND_OVER | _table(DEVICE=must(uint(0, U32)))
REQUEST = _table(BLOCK=must(fields.block(1)), PAGE_BITS=must(uint(10, 21))) | {
    KEYS["RUNS"]: Member(_runs, True)
}
PAGES = REQUEST | PACKING | _table(PACK=may(bstr(1, 65535)))
PAGES[KEYS["NAMED"]] = Member(_named, False)
RANGE = PACKING | _table(
    BLOCK=must(fields.block(1)),
    PAGE_BITS=must(uint(10, 21)),
    FIRST=must(uint(0, U64)),
    COUNT=must(uint(1, U32)),
)
LAST = _table(LAST=may(uint(1, 1)))
OFFSET = _table(OFFSET=may(uint(1, U64)))

TABLES: dict[str, dict[int, Member]] = {
    "HELLO": HELLO,
    "ATTACH": ATTACH,
    "RESUME": RESUME,
    "RESUMED": RESUME,
    "REKEY": _table(EPOCH=must(uint(2, U32))),
    "ACK": _table(POSITIONS=must(_positions)),
    "END": _table(SENT=must(_sent), TRANSCRIPT=must(bstr(32, 32))),
    "ABORT": ABORT,
    "PING": PING,
    "PONG": PING,
    "START": HAND_OVER,
    "READY": READY,
    "COMMIT": HAND_OVER,
    "RUNNING": HAND_OVER,
    "NOT_STARTED": HAND_OVER,
    "REQUEST": SWITCHOVER,
    "GRANT": SWITCHOVER,
    "RECORDS": PACKING | _table(RECORDS=must(fields.records)),
    "PAGES": PAGES,
    "BULK": PACKING | LAST | _table(ZEROS=may(uint(1, U64))),
    "DEVICE": PACKING
    | LAST
    | OFFSET
    | _table(KIND=may(uint(1, 3)), DEVICE=must(uint(0, U32))),
    "OPAQUE": PACKING | LAST | OFFSET,
    "DIGEST": RANGE | _table(HASH=may(uint(1, U32))),
    "PAGE_REQUEST": REQUEST,
    "BITMAP": RANGE,
    "DISCARD": REQUEST,
}


def _members(type_name: str, epoch: int, packed: bool) -> dict[int, Member]:
    if type_name == "ABORT" and epoch == 0:
        return ABORT | WHO
    table = dict(TABLES[type_name])
    if table.pop(KEYS["UNPACKED"], None) and packed:  # NAT-51: exactly then
        table[KEYS["UNPACKED"]] = Member(_unpacked, True)
    return table


def read_body(octets: bytes, base: int, type_name: str, epoch: int, packed: bool = False) -> Body:
    """Checks a body against NAT-30 to NAT-34 and the table of its type."""
    body = Body(type_name, epoch, start=base, end=base + len(octets))
    table = _members(type_name, epoch, packed)
    cursor = Cursor(octets, base)
    head = cursor.begin_map()
    key = -1
    for _ in range(head.value):
        key = _read_member(cursor, body, table, key)
    cursor.leave()
    _check_required(cursor.offset, body, table, 1 << 64)
    cursor.end(body.values)
    return body


def _read_member(cursor: Cursor, body: Body, table: dict[int, Member], before: int) -> int:
    head = cursor.key(before)
    key = head.value
    _check_required(head.offset, body, table, key)
    if key not in table and key not in EXTENSIONS:
        raise NativeError("NATIVE_KEY", head.offset, f"key {key} in {body.type_name}")
    body.places[key] = cursor.offset
    if key in table:
        body.values[key] = table[key].read(cursor, body)
    else:
        body.values[key] = cursor.any_value(cursor.head())
    return key


def _check_required(place: int, body: Body, table: dict[int, Member], before: int) -> None:
    """NAT-24: a key is missing where one above it comes, or the body's end."""
    for key, member in table.items():
        if member.required and key < before and key not in body.values:
            missing = registry.KEY_NAMES[key].upper()
            raise NativeError("NATIVE_KEY", place, f"no {missing}")


def check_bulk(body: Body, method: int, bulk: int) -> None:
    """NAT-18: the bulk, unpacked, has the length that the body tells; NAT-51: packed it is not empty."""
    if method and bulk == 0:
        raise NativeError("NATIVE_BULK", body.start, "packed bulk of nothing")
    size = body.get("UNPACKED") if method else bulk
    low, high = _bulk_bounds(body)
    if size < low or (high is not None and size > high):
        raise NativeError("NATIVE_BULK", body.start, f"bulk of {size}, not {low}")


def _bulk_bounds(body: Body) -> tuple[int, int | None]:
    if body.type_name == "PAGES":
        size = data_pages(body) << body.get("PAGE_BITS")
    elif body.type_name == "DIGEST":
        size = 8 * body.get("COUNT")
    elif body.type_name == "BITMAP":
        size = (body.get("COUNT") + 7) // 8
    elif body.type_name == "RECORDS":
        return fields.records_bulk(body.get("RECORDS"))
    elif body.type_name in ("BULK", "DEVICE", "OPAQUE"):
        return 0, None
    else:
        size = 0
    return size, size


def as_json(value: Any) -> Any:
    """Octets as "h:…", integers that a double cannot hold as "u:…", keys by their names."""
    if isinstance(value, dict):
        return {registry.KEY_NAMES.get(k, str(k)): as_json(v) for k, v in value.items()}
    if isinstance(value, list):
        return [as_json(element) for element in value]
    if isinstance(value, bytes):
        return "h:" + value.hex()
    if isinstance(value, int) and value > 1 << 53:
        return f"u:{value}"
    return value

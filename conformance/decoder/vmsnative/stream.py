# SPDX-License-Identifier: MIT
"""A native file, frame by frame: order, keys, tags, bodies, bulk, records."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Iterator

from . import bodies, frame, pack, seal
from .bodies import Body
from .cbor_strict import any_body
from .errors import NativeError
from .frame import Header
from .records import MAIN, RECOVERY, Blocks, Channel, Record, page_places
from .session import FileSession, Sent

NO_KEY = "no key"


@dataclass
class Frame:
    header: Header
    body: Body | None
    bulk: bytes
    verified: bool | str
    tag: bytes
    unknown_body: dict[int, Any] | None = None
    plain: bytes | None = None
    records: list[Record] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        header = self.header
        values = self.body.values if self.body else self.unknown_body
        plain = self.bulk if self.plain is None else self.plain
        readable = self.body is not None or self.verified is True
        line = {
            "offset": header.offset,
            "frame": header.name,
            "number": header.type,
            "channel": header.channel,
            "epoch": header.epoch,
            "sequence": header.sequence,
            "flags": header.flags,
            "body": bodies.as_json(values),
            "bulk_bytes": len(plain),
            "bulk_sha256": hashlib.sha256(plain).hexdigest() if readable else None,
            "verified": self.verified,
        }
        return line | ({"packed_bytes": len(self.bulk)} if header.method else {})


@dataclass
class _Flow:
    """Order and key of one channel."""

    epoch: int | None
    next: int | None = 0
    last_epoch: int = 0
    key_iv: bytes = b""
    budget: seal.Budget = field(default_factory=seal.Budget)

    @property
    def sent(self) -> Sent:
        return Sent(self.next or 0, self.last_epoch)


class Reader:
    """Reads one direction of a connection.

    `keys` are those of a key file. With `wire` only frames and bodies are judged, not what a session
    makes of them: no rule about the content of HELLO and END, no unpacking, no records. With `list_all`
    a sealed stream without its key is passed through as far as it is readable, and refused at its end.
    """

    def __init__(
        self,
        data: bytes | memoryview,
        keys: dict[bytes, bytes] | None = None,
        wire: bool = False,
        list_all: bool = False,
    ) -> None:
        self.data = memoryview(data)
        self.keys = keys
        self.wire = wire
        self.list_all = list_all
        self.count = 0
        self.suite = seal.NONE
        self.secret: bytes | None = None
        self.master: bytes | None = None
        self.direction = 0
        self.keyless: NativeError | None = None
        self.flows: dict[int, _Flow] = {}
        self.transcript = hashlib.sha256()
        self.session = FileSession()
        self.ended = False
        self.memory = pack.Memory()
        self.blocks = Blocks()
        self.channels: dict[int, Channel] = {}
        self.kinds = {0: MAIN}
        self.hashes: dict[pack.Place, tuple[int, int]] = {}

    def frames(self) -> Iterator[Frame]:
        try:
            yield from self._frames()
        except NativeError as error:
            if error.frame is None:
                error.frame = self.count
            raise

    def _frames(self) -> Iterator[Frame]:
        frame.check_label(self.data)
        offset = len(frame.LABEL)
        while offset < len(self.data):
            read = self._frame(offset)
            offset = read.header.tag_offset + len(read.tag)
            yield read
            self._after(read)
            self.count += 1
        self._end_of_data()

    # --- one frame ---

    def _frame(self, offset: int) -> Frame:
        header = frame.read_header(self.data, offset)
        self._check_header(header)
        if header.epoch == 0:
            return self._hello_frame(header)
        suite = self.suite
        keyless = suite != seal.NONE and self.master is None
        body = None
        if header.bulk_bytes and suite not in seal.ENCIPHERED:
            body = self._body(header, self._cut(header.body_offset, header.body_bytes))
        payload, tag = self._payload_and_tag(header, seal.tag_bytes(suite))
        plain = payload if keyless else self._open(header, suite, payload, tag)
        verified: bool | str = NO_KEY if keyless else True
        if plain is None:
            raise self._wrong_tag(header)
        if body is None and not (keyless and suite in seal.ENCIPHERED):
            body = self._body(header, plain[: header.body_bytes])
        return self._make(header, body, plain[header.body_bytes :], verified, tag)

    def _make(
        self, header: Header, body: Any, bulk: bytes, verified: bool | str, tag: bytes
    ) -> Frame:
        if isinstance(body, dict):
            return Frame(header, None, bulk, verified, tag, unknown_body=body)
        return Frame(header, body, bulk, verified, tag)

    def _wrong_tag(self, header: Header) -> NativeError:
        return NativeError("SEAL_TAG", header.tag_offset, "the tag is wrong")

    def _cut(self, offset: int, size: int) -> bytes:
        if offset + size > len(self.data):
            raise NativeError("TRUNCATED", len(self.data), "inside a frame")
        return bytes(self.data[offset : offset + size])

    def _payload_and_tag(self, header: Header, tag_bytes: int) -> tuple[bytes, bytes]:
        payload = self._cut(header.body_offset, header.body_bytes + header.bulk_bytes)
        return payload, self._cut(header.tag_offset, tag_bytes)

    def _open(self, header: Header, suite: int, payload: bytes, tag: bytes) -> bytes | None:
        flow = self.flows[header.channel]
        if suite != seal.NONE:
            flow.budget.add(len(header.octets) + len(payload), header.offset)
        return seal.open_frame(suite, flow.key_iv, header.sequence, header.octets, payload, tag)

    def _body(self, header: Header, octets: bytes) -> Body | dict[int, Any]:
        if header.group == "UNKNOWN":
            return any_body(octets, header.body_offset)
        packed = bool(header.method)
        body = bodies.read_body(octets, header.body_offset, header.name, header.epoch, packed)
        if header.group == "DATA":
            bodies.check_bulk(body, header.method, header.bulk_bytes)
        return body

    # --- the header ---

    def _check_header(self, header: Header) -> None:
        """The order is NAT-24's."""
        frame.check_type(header)
        frame.check_flags(header)
        frame.check_lengths(header)
        frame.check_epoch(header)
        frame.check_channel(header)
        self._check_order(header)
        if not self.wire and self.count:
            self.session.check_header(header)
        if header.epoch:
            self._check_position(header)

    def _check_order(self, header: Header) -> None:
        """NAT-23."""
        refusal = None
        if self.count == 0 and header.epoch:
            refusal = "the first frame is above epoch 0"
        elif header.epoch == 0 and header.channel in self.flows:
            refusal = "epoch 0 on a channel that is open"
        elif header.epoch and header.channel not in self.flows:
            refusal = "a channel without ATTACH"
        elif self.ended and header.channel == 0 and header.group == "DATA":
            refusal = "data behind END"
        if refusal:
            raise NativeError("NATIVE_ORDER", header.offset, refusal)

    def _check_position(self, header: Header) -> None:
        flow = self.flows[header.channel]
        if flow.epoch is None:  # behind RESUME the other direction has said where to go on
            flow.epoch, flow.next = header.epoch, header.sequence
        if self._unread_rekey() and header.epoch == flow.epoch + 1:
            flow.epoch = header.epoch
        if header.epoch != flow.epoch:
            place = header.offset + frame.EPOCH_AT
            raise NativeError("SEAL_EPOCH", place, f"epoch {header.epoch}, not {flow.epoch}")
        if header.sequence != flow.next:
            place = header.offset + frame.SEQUENCE_AT
            raise NativeError("SEAL_SEQUENCE", place, f"{header.sequence}, not {flow.next}")

    def _unread_rekey(self) -> bool:
        """Without the key nobody can read a REKEY that is enciphered."""
        return self.keyless is not None and self.suite in seal.ENCIPHERED

    # --- epoch 0 ---

    def _hello_frame(self, header: Header) -> Frame:
        sealed = bool(header.flags & frame.HELLO_SEALED)
        self._check_sealed(header, sealed)
        octets = self._cut(header.body_offset, header.body_bytes)
        body = bodies.read_body(octets, header.body_offset, header.name, 0)
        if body.has("SECRET") != sealed or (body.has("IDENTITY") and body.get("SECRET") != 1):
            raise NativeError("NATIVE_HELLO", body.start, "SECRET and HELLO_SEALED differ")
        suite = seal.GMAC if sealed else seal.NONE
        payload, tag = self._payload_and_tag(header, seal.tag_bytes(suite))
        verified = self._open_hello(header, body, suite, payload, tag)
        if not self.wire and self.count == 0:
            self.session.check_hello(header, body, sealed)
        return Frame(header, body, b"", verified, tag)

    def _check_sealed(self, header: Header, sealed: bool) -> None:
        place = header.offset + frame.FLAGS_AT
        if self.keys is not None and not sealed:
            raise NativeError("SEAL_UNSEALED", place, "a key is required here")
        if self.keys is None and sealed and self.keyless is None:
            self.keyless = NativeError("SEAL_NO_KEY", place, "there is no key here")
            self.keyless.frame = self.count
            if not self.list_all:
                raise self.keyless

    def _open_hello(
        self, header: Header, body: Body, suite: int, payload: bytes, tag: bytes
    ) -> bool | str:
        key_iv = b""
        if suite != seal.NONE:
            if self.keys is None:
                return NO_KEY
            if self.secret is None:
                self.secret = seal.find_key(self.keys, body.get("IDENTITY"))
            key_iv = seal.hello_key(self.secret, body.get("ROLE"), body.get("RANDOM"))
        if seal.open_frame(suite, key_iv, 0, header.octets, payload, tag) is None:
            raise self._wrong_tag(header)
        return True

    # --- what a frame does ---

    def _after(self, read: Frame) -> None:
        header = read.header
        if header.name == "ABORT" and not self.wire:
            raise NativeError("SESSION_ABORTED", header.offset, str(read.body.get("CODE")))
        if header.epoch == 0:
            self._opened(read)
            return
        if header.name == "END" and read.body:
            self._end(read)
        self._advance(read)
        if header.name == "REKEY" and read.body:
            self._rekey(header, read.body)

    def _advance(self, read: Frame) -> None:
        header, flow = read.header, self.flows[read.header.channel]
        flow.next = header.sequence + 1
        flow.last_epoch = header.epoch
        if not self.ended:  # of a file all channels, in its order (SEAL-20)
            self.transcript.update(header.octets + read.tag)

    def _opened(self, read: Frame) -> None:
        header, body = read.header, read.body
        if header.name == "ATTACH":
            self.transcript.update(header.octets + read.tag)
            self._attach(header, body)
        if header.name in ("HELLO", "RESUME", "RESUMED"):
            self._begin(read)

    def _begin(self, read: Frame) -> None:
        header, body = read.header, read.body
        whole = self.data[header.offset : header.tag_offset + len(read.tag)]
        self.transcript.update(whole)
        self.direction = body.get("ROLE")
        keyed = bool(header.flags & frame.HELLO_SEALED)
        if header.name == "HELLO":
            self.suite = seal.choose_suite(body.get("SUITES"), keyed) or seal.NONE
        if self.secret is not None:
            randoms = body.get("RANDOM"), bytes(32)
            self.master = seal.master_secret(self.secret, *randoms, bytes(whole))
        first = 1 if header.name == "HELLO" else None
        self.flows[0] = _Flow(None)
        if first:
            self._set_epoch(0, first)

    def _attach(self, header: Header, body: Body) -> None:
        if not self.wire:
            self.session.check_attach(body)
        self.kinds[header.channel] = body.get("KIND", 0)
        self.flows[header.channel] = _Flow(None)
        self._set_epoch(header.channel, body.get("EPOCH"))

    def _set_epoch(self, channel: int, epoch: int) -> None:
        flow = self.flows[channel]
        flow.epoch = epoch
        flow.budget = seal.Budget()
        if self.master is not None and self.suite != seal.NONE:
            flow.key_iv = seal.epoch_key(self.master, self.direction, channel, epoch)

    def _rekey(self, header: Header, body: Body) -> None:
        if body.get("EPOCH") != header.epoch + 1:
            raise NativeError("SEAL_EPOCH", body.place("EPOCH"), "REKEY to another epoch")
        self._set_epoch(header.channel, body.get("EPOCH"))

    def _sent(self) -> dict[int, Sent]:
        return {number: flow.sent for number, flow in self.flows.items()}

    def _end(self, read: Frame) -> None:
        if not self.wire and self.keyless is None:
            self.session.take_end(read.body, self.transcript.digest(), self._sent())
        self.ended = True

    def _end_of_data(self) -> None:
        if self.count == 0:
            raise NativeError("TRUNCATED", len(self.data), "no hello")
        if self.keyless is not None:
            raise self.keyless
        if not self.ended and self.direction == 0:
            raise NativeError("SESSION_NO_END", len(self.data), "no END")
        self._check_whole()

    def _check_whole(self) -> None:
        """A record may lack bulk only where a recovery connection goes on (TRC-9, TRC-13)."""
        lacking = [number for number, channel in self.channels.items() if channel.open]
        if lacking and RECOVERY not in self.kinds.values():
            raise NativeError("TRUNCATED", len(self.data), f"a record of channel {lacking[0]}")

    # --- bulk and records ---

    def expand(self, read: Frame) -> Frame:
        """Unpacks a data frame's bulk and makes it records."""
        body, header = read.body, read.header
        if header.group != "DATA" or body is None:
            return read
        info = self._unpack(read)
        if body.type_name == "DIGEST":
            self._digest(body, read.plain)
        read.records = self._channel(header.channel).take(body, header.offset, read.plain)
        self.memory.note(info.generation)
        return read

    def _channel(self, number: int) -> Channel:
        if number not in self.channels:
            kind = self.kinds.get(number, 0)
            self.channels[number] = Channel(number, kind, self.blocks, self.memory)
        return self.channels[number]

    def _unpack(self, read: Frame) -> pack.Info:
        body, header = read.body, read.header
        read.plain = read.bulk
        info = pack.read_info(body, header.method)
        if header.method == 0:
            return info
        place = header.offset + frame.BULK_AT
        pack.check_sizes(len(read.bulk), body.get("UNPACKED"), place)
        read.plain = pack.unpack(read.bulk, body.get("UNPACKED"), header.bulk_offset)
        if header.method == pack.DELTA:
            read.plain = self._restore(body, read.plain, info)
        return info

    def _restore(self, body: Body, plain: bytes, info: pack.Info) -> bytes:
        block = self.blocks.find(body.get("BLOCK"), body.place("BLOCK"))
        places = [place for place, zero in page_places(body, block) if not zero]
        size = 1 << body.get("PAGE_BITS")
        return self.memory.restore(plain, size, places, info, body.place("PACK"))

    def _digest(self, body: Body, hashes: bytes) -> None:
        if body.get("HASH", 0):
            return  # another algorithm than PACK-20's, NAT-59
        block = self.blocks.find(body.get("BLOCK"), body.place("BLOCK"))
        bits, first, count = body.get("PAGE_BITS"), body.get("FIRST"), body.get("COUNT")
        size = self.blocks.size(block)
        if size is not None and (first + count) << bits > size:
            raise NativeError("PACK_DIGEST_RANGE", body.place("FIRST"), "pages past the block")
        for i in range(count):
            value = int.from_bytes(hashes[8 * i : 8 * i + 8], "big")
            self.hashes[(block, (first + i) << bits)] = (value, bits)

    def compare_digest(self) -> dict[str, int]:
        """Pages whose last hash is that of their content, and others (PACK-24)."""
        result = {"pages": len(self.hashes), "equal": 0}
        for place, (value, _) in self.hashes.items():
            content = self.memory.pages.get(place)
            if content is not None and pack.page_hash(content) == value:
                result["equal"] += 1
        return result

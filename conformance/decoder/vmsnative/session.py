# SPDX-License-Identifier: MIT
"""What the reader of a file holds a file to, beyond its single frames (NAT-40 to NAT-46, SES-20)."""

from __future__ import annotations

from dataclasses import dataclass

from . import seal
from .bodies import Body
from .errors import NativeError
from .frame import FLAGS_AT, TYPE_AT, Header
from .registry import FEATURES

VERSION = 1
FORM_FILE = 1


@dataclass
class Sent:
    """How far a channel has come."""

    next: int = 0
    epoch: int = 0


@dataclass
class FileSession:
    features: int = 0
    session: bytes = b""
    ended: bool = False

    def check_header(self, header: Header) -> None:
        if header.name == "END" and self.ended:
            raise NativeError("SESSION_UNEXPECTED", header.offset + TYPE_AT, "a second END")
        if header.group == "CONTROL" and header.name not in ("REKEY", "END", "ABORT"):
            raise NativeError("SESSION_UNEXPECTED", header.offset + TYPE_AT, "not in a file")
        if header.channel and self.ended:
            raise NativeError("SESSION_END", header.offset, "another channel behind END")
        if header.group == "UNKNOWN":
            return
        needed = {1: "ZSTD", 2: "ZSTD_DELTA"}.get(header.method)
        if needed and not self.features >> FEATURES[needed] & 1:
            place = header.offset + FLAGS_AT
            raise NativeError("NATIVE_FLAGS", place, f"{needed} is not in force")
        if header.method == 2 and header.name != "PAGES":
            raise NativeError("PACK_METHOD", header.offset + FLAGS_AT, "method 2 is for PAGES")

    def check_hello(self, header: Header, body: Body, sealed: bool) -> None:
        if header.name != "HELLO":
            raise NativeError("NATIVE_HELLO", header.offset + TYPE_AT, "no HELLO")
        if body.get("FORM", 0) != FORM_FILE:
            place = body.place("FORM") if body.has("FORM") else body.start
            raise NativeError("NATIVE_HELLO", place, "not the form of a file")
        if body.get("VERSION_MIN") > VERSION:
            raise NativeError("NATIVE_VERSION", body.place("VERSION_MIN"), "too new")
        if sealed and (body.get("SECRET") != 1 or not body.has("IDENTITY")):
            raise NativeError("NATIVE_HELLO", body.start, "a file names a pre-shared key")
        self._check_features(body)
        self._check_suites(body, sealed)
        self.session = body.get("SESSION")

    def _check_features(self, body: Body) -> None:
        self.features = body.get("FEATURES", 0)
        known = sum(1 << bit for bit in FEATURES.values())
        in_force = (self.features & known) | 1 << FEATURES["MUX"]
        if body.get("FEATURES_NEEDED", 0) & ~in_force:
            raise NativeError("NATIVE_FEATURE", body.place("FEATURES_NEEDED"), "not in force")

    def _check_suites(self, body: Body, sealed: bool) -> None:
        if len(body.get("SUITES")) != 1:
            raise NativeError("NATIVE_HELLO", body.place("SUITES"), "a file lists one suite")
        if seal.choose_suite(body.get("SUITES"), sealed) is None:
            raise NativeError("SEAL_NO_SUITE", body.place("SUITES"), "no suite in common")

    def check_attach(self, body: Body) -> None:
        if body.get("SESSION") != self.session:
            raise NativeError("SESSION_ID", body.place("SESSION"), "another session")

    def take_end(self, body: Body, transcript: bytes, channels: dict[int, Sent]) -> None:
        self.ended = True
        listed = {channel: Sent(*rest) for channel, *rest in body.get("SENT")}
        if body.get("TRANSCRIPT") != transcript:
            raise NativeError("SESSION_END", body.place("TRANSCRIPT"), "another transcript")
        for number in listed.keys() | channels.keys():
            if listed.get(number) != channels.get(number):
                raise NativeError("SESSION_END", body.place("SENT"), f"channel {number}")

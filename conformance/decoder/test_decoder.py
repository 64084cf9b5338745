#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Reads every vector of conformance/vectors/native.json and seal.json, and runs test_files.py.

Prints TAP. A vector that the specification, as read here, answers in another way than the
vector does is in DIFFERENT with the answer, and is reported as "not ok # TODO". One that begins to
agree fails, so that the list stays true.
"""

from __future__ import annotations

import hashlib
import json
import sys
import unittest
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE))

import test_files  # noqa: E402
from vmsnative import seal  # noqa: E402
from vmsnative.crc32c import crc32c  # noqa: E402
from vmsnative.errors import NativeError  # noqa: E402
from vmsnative.stream import Frame, Reader  # noqa: E402

VECTORS = HERE.parent / "vectors"
DIFFERENT: dict[str, tuple[str, int]] = {}


def octets(hexes: Any) -> bytes:
    if isinstance(hexes, str):
        return bytes.fromhex(hexes)
    if isinstance(hexes, dict):
        return bytes.fromhex(hexes["repeat"]) * hexes["times"]
    return b"".join(octets(piece) for piece in hexes)


def read_all(data: bytes) -> tuple[list[Frame], NativeError | None]:
    frames: list[Frame] = []
    try:
        for frame in Reader(data, wire=True).frames():
            frames.append(frame)
    except NativeError as error:
        return frames, error
    return frames, None


def plain(value: Any) -> Any:
    """Large integers of a vector, "u:…", as numbers."""
    if isinstance(value, dict):
        return {key: plain(element) for key, element in value.items()}
    if isinstance(value, list):
        return [plain(element) for element in value]
    if isinstance(value, str) and value.startswith("u:"):
        return int(value[2:])
    return value


def bulk_text(bulk: bytes) -> str:
    return f"{len(bulk)} octets, crc {crc32c(bulk):08x}"


class Native(unittest.TestCase):
    def check(self, vector: dict[str, Any]) -> None:
        frames, error = read_all(octets(vector["hex"]))
        expect = vector["expect"]
        if vector["id"] in DIFFERENT:
            self.assertEqual((error.code, error.offset), DIFFERENT[vector["id"]])
            self.assertNotEqual((error.code, error.offset), (expect["error"], expect["offset"]))
            return
        self.check_outcome(error, expect)
        self.assertEqual(len(frames), len(expect["frames"]))
        for frame, wanted in zip(frames, expect["frames"]):
            self.check_frame(frame, wanted)

    def check_outcome(self, error: NativeError | None, expect: dict[str, Any]) -> None:
        if "error" not in expect:
            self.assertIsNone(error)
            return
        self.assertIsNotNone(error, f"should be refused: {expect['error']}")
        keys = ("error", "class", "clause", "offset", "record")
        got = {key: error.as_dict()[key] for key in keys}
        self.assertEqual(got, {key: expect[key] for key in got})

    def check_frame(self, frame: Frame, wanted: dict[str, Any]) -> None:
        line = frame.as_dict()
        for key in ("offset", "number", "flags", "channel", "epoch", "sequence"):
            self.assertEqual(line[key], wanted[key], key)
        self.assertEqual(line["frame"], wanted["type"])
        if wanted["body"] is not None:
            self.assertEqual(plain(line["body"]), plain(wanted["body"]))
        if "octets" in wanted["bulk"]:
            self.assertEqual(bulk_text(frame.bulk), wanted["bulk"])
        else:
            self.assertEqual(frame.bulk.hex(), wanted["bulk"])


class Seal(unittest.TestCase):
    def check_crc32c(self, vector: dict[str, Any]) -> None:
        self.assertEqual(f"{crc32c(bytes.fromhex(vector['data'])):08x}", vector["crc"])

    def check_hkdf(self, vector: dict[str, Any]) -> None:
        ikm, salt, info, okm = (bytes.fromhex(vector[k]) for k in ("ikm", "salt", "info", "okm"))
        prk = seal.extract(salt, ikm)
        self.assertEqual(prk.hex(), vector["prk"])
        self.assertEqual(seal.expand(prk, info, len(okm)), okm)

    def check_session(self, session: dict[str, Any]) -> None:
        secret = bytes.fromhex(session["secret"])
        hellos = b"".join(self.check_hello(secret, hello) for hello in session["hellos"])
        self.assertEqual(hashlib.sha256(hellos).hexdigest(), session["hello_hash"])
        randoms = (bytes.fromhex(session[f"{end}_random"]) for end in ("source", "destination"))
        master = seal.master_secret(secret, *randoms, hellos)
        self.assertEqual(master.hex(), session["master"])
        transcript = hashlib.sha256(hellos)
        for frame in session["frames"]:
            transcript.update(self.check_frame(master, frame))
        self.assertEqual(transcript.hexdigest(), session["transcript"])

    def check_hello(self, secret: bytes, hello: dict[str, Any]) -> bytes:
        key = seal.hello_key(secret, hello["direction"], bytes.fromhex(hello["random"]))
        self.assertEqual(key.hex(), hello["key_iv"])
        header, body, tag = (bytes.fromhex(hello[k]) for k in ("header", "body", "tag"))
        self.assertEqual(seal.open_frame(seal.GMAC, key, 0, header, body, tag), body)
        return header + body + tag

    def check_frame(self, master: bytes, frame: dict[str, Any]) -> bytes:
        key = bytes.fromhex(frame["key_iv"])
        if frame["suite"] != seal.NONE:
            place = frame["direction"], frame["channel"], frame["epoch"]
            self.assertEqual(seal.epoch_key(master, *place), key)
        header, payload, tag = (bytes.fromhex(frame[k]) for k in ("header", "payload", "tag"))
        wanted = bytes.fromhex(frame["body"] + frame["bulk"])
        rest = int(frame["sequence"]), header, payload
        self.assertEqual(seal.open_frame(frame["suite"], key, *rest, tag), wanted)
        damaged = bytes([tag[0] ^ 1]) + tag[1:]
        self.assertIsNone(seal.open_frame(frame["suite"], key, *rest, damaged))
        return header + tag


def cases() -> list[tuple[str, Any]]:
    native, sealing = Native(), Seal()
    vectors = json.loads((VECTORS / "native.json").read_text())
    found = [(f"{v['id']} {v['comment']}", lambda v=v: native.check(v)) for v in vectors]
    seals = json.loads((VECTORS / "seal.json").read_text())
    for kind, check in (("crc32c", sealing.check_crc32c), ("hkdf", sealing.check_hkdf)):
        for number, vector in enumerate(seals[kind], 1):
            found.append((f"seal {kind} {number}", lambda v=vector, c=check: c(v)))
    for session in seals["sessions"]:
        name = f"seal session: {session['name']}"
        found.append((name, lambda s=session: sealing.check_session(s)))
    return found


def own_cases() -> list[tuple[str, Any]]:
    """The tests of test_files.py, a line each."""
    suite = unittest.defaultTestLoader.loadTestsFromModule(test_files)
    tests = [test for group in suite for test in group]
    return [(f"own {test.id().split('.', 1)[1]}", test.debug) for test in tests]


def run(name: str, number: int, check: Any) -> bool:
    try:
        check()
    except (AssertionError, NativeError) as failure:
        print(f"not ok {number} - {name}")
        print("".join(f"# {line}\n" for line in str(failure).splitlines()), end="")
        return False
    if name.split()[0] in DIFFERENT:
        print(f"not ok {number} - {name} # TODO vector and specification differ")
    else:
        print(f"ok {number} - {name}")
    return True


def main() -> int:
    checks = cases() + own_cases()
    print(f"1..{len(checks)}")
    results = [run(name, i, check) for i, (name, check) in enumerate(checks, 1)]
    differ = sum(name.split()[0] in DIFFERENT for name, _ in checks)
    print(f"# {sum(results) - differ} agree, {differ} known to differ, {results.count(False)} fail")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())

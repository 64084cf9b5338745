#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A reader of the vectors that needs nothing of ours: begin your own decoder's test with it.

usage: conformance/vectors/example.py [FILE.json...]

Put your decoder in place of `decode`: it gets a vector's octets and says (accepted, offset of the
error). This one knows the header of the main channel only, and is judged on what it dares to say.
"""
import json
import pathlib
import sys


def octets(hex_):
    """A string of digits, or an array of such and of {"repeat": digits, "times": N}."""
    if isinstance(hex_, str):
        return bytes.fromhex(hex_)
    return b"".join(bytes.fromhex(p) if isinstance(p, str) else
                    bytes.fromhex(p["repeat"]) * p["times"] for p in hex_)


def decode(data):
    """(True, None): accepted; (False, offset): refused there; None: I do not know."""
    if len(data) < 8 and b"QEVM\0\0\0\3".startswith(data):
        return None
    if data[:4] != b"QEVM":
        return False, 0
    if data[4:8] != b"\0\0\0\3":
        return False, 4
    return None


def main(names):
    folder = pathlib.Path(__file__).parent
    paths = [pathlib.Path(n) for n in names] or sorted(folder.glob("*.json"))
    right = wrong = unknown = 0
    for path in paths:
        vectors = json.loads(path.read_text())
        for vector in vectors if isinstance(vectors, list) else ():
            if vector["kind"] != "main":
                continue
            answer, expect = decode(octets(vector["hex"])), vector["expect"]
            if answer is None:
                unknown += 1
            elif answer == ((True, None) if "end" in expect else (False, expect["offset"])):
                right += 1
            else:
                wrong += 1
                print(f"{path.name}: {vector['id']}: {vector['comment']}: {answer}, not {expect}")
    print(f"{right} right, {wrong} wrong, {unknown} not known")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

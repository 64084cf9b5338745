# SPDX-License-Identifier: MIT
"""XXH64 (xxHash fast digest algorithm, 0.1.1), for PACK-20 and PACK-25."""

from __future__ import annotations

import struct

_MASK = (1 << 64) - 1
_P1, _P2, _P3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
_P4, _P5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5


def _rotl(value: int, bits: int) -> int:
    return ((value << bits) | (value >> (64 - bits))) & _MASK


def _round(lane: int, value: int) -> int:
    return _rotl((lane + value * _P2) & _MASK, 31) * _P1 & _MASK


def _stripes(data: bytes, seed: int) -> int:
    lanes = [(seed + _P1 + _P2) & _MASK, (seed + _P2) & _MASK, seed, (seed - _P1) & _MASK]
    for words in struct.iter_unpack("<4Q", data[: len(data) & ~31]):
        lanes = [_round(lane, word) for lane, word in zip(lanes, words)]
    turned = zip(lanes, (1, 7, 12, 18))
    result = sum(_rotl(lane, bits) for lane, bits in turned) & _MASK
    for lane in lanes:
        result = ((result ^ _round(0, lane)) * _P1 + _P4) & _MASK
    return result


def _tail(result: int, rest: bytes) -> int:
    while len(rest) >= 8:
        (word,) = struct.unpack_from("<Q", rest)
        result = (_rotl(result ^ _round(0, word), 27) * _P1 + _P4) & _MASK
        rest = rest[8:]
    if len(rest) >= 4:
        (word,) = struct.unpack_from("<I", rest)
        result = (_rotl(result ^ (word * _P1 & _MASK), 23) * _P2 + _P3) & _MASK
        rest = rest[4:]
    for octet in rest:
        result = _rotl(result ^ (octet * _P5 & _MASK), 11) * _P1 & _MASK
    return result


def xxh64(data: bytes, seed: int = 0) -> int:
    data = bytes(data)
    result = _stripes(data, seed) if len(data) >= 32 else (seed + _P5) & _MASK
    result = _tail((result + len(data)) & _MASK, data[len(data) & ~31 :])
    result = (result ^ (result >> 33)) * _P2 & _MASK
    result = (result ^ (result >> 29)) * _P3 & _MASK
    return result ^ (result >> 32)


def page_hash(page: bytes) -> int:
    """The hash of a page, which is never 0 (PACK-20)."""
    return xxh64(page) or 1

# SPDX-License-Identifier: MIT
"""CRC-32C by table (SEAL-2)."""

from __future__ import annotations

_REFLECTED = 0x82F63B78  # 0x1edc6f41, its bits in reverse


def _table() -> list[int]:
    table = []
    for octet in range(256):
        for _ in range(8):
            octet = (octet >> 1) ^ (_REFLECTED if octet & 1 else 0)
        table.append(octet)
    return table


_TABLE = _table()


def crc32c(*pieces: bytes | memoryview) -> int:
    table, crc = _TABLE, 0xFFFFFFFF
    for piece in pieces:
        for octet in bytes(piece):
            crc = table[(crc ^ octet) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF

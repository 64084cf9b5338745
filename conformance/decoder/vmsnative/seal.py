# SPDX-License-Identifier: MIT
"""Keys, tags and key files (spec/03.2-seal.md)."""

from __future__ import annotations

import hashlib
import hmac
import re
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from .crc32c import crc32c
from .errors import NativeError
from .registry import LIMITS, SUITES, TAG_BYTES

NONE, GMAC = SUITES["NONE"], SUITES["AES_256_GMAC"]
GCM, CHACHA20 = SUITES["AES_256_GCM"], SUITES["CHACHA20_POLY1305"]
ENCIPHERED = (GCM, CHACHA20)
KEY_BYTES, IV_BYTES = 32, 12


def extract(salt: bytes, ikm: bytes) -> bytes:
    return hmac.new(salt, ikm, hashlib.sha256).digest()


def expand(prk: bytes, info: bytes, length: int) -> bytes:
    okm, block, count = b"", b"", 1
    while len(okm) < length:
        block = hmac.new(prk, block + info + bytes([count]), hashlib.sha256).digest()
        okm, count = okm + block, count + 1
    return okm[:length]


def hello_key(secret: bytes, direction: int, random: bytes) -> bytes:
    prk = extract(b"vmstream-1 hello", secret)
    return expand(prk, b"hello" + bytes([direction]) + random, KEY_BYTES + IV_BYTES)


def master_secret(secret: bytes, source: bytes, destination: bytes, hellos: bytes) -> bytes:
    """`hellos` are the hello frames, whole, one behind the other (SEAL-13)."""
    return extract(source + destination + hashlib.sha256(hellos).digest(), secret)


def epoch_key(master: bytes, direction: int, channel: int, epoch: int) -> bytes:
    info = b"key" + struct.pack(">BHI", direction, channel, epoch)
    return expand(master, info, KEY_BYTES + IV_BYTES)


def nonce(iv: bytes, sequence: int) -> bytes:
    last = int.from_bytes(iv[4:], "big") ^ sequence
    return iv[:4] + last.to_bytes(8, "big")


def choose_suite(listed: list[int], keyed: bool) -> int | None:
    """The first suite of a list that counts here (SEAL-16)."""
    for suite in listed:
        if suite in TAG_BYTES and (suite != NONE) == keyed:
            return suite
    return None


def tag_bytes(suite: int) -> int:
    return TAG_BYTES[suite]


def open_frame(
    suite: int, key_iv: bytes, sequence: int, header: bytes, payload: bytes, tag: bytes
) -> bytes | None:
    """Body and bulk in the clear, or None when the tag is wrong."""
    if suite == NONE:
        right = struct.pack(">I", crc32c(header, payload))
        return payload if hmac.compare_digest(right, tag) else None
    cipher = (ChaCha20Poly1305 if suite == CHACHA20 else AESGCM)(key_iv[:KEY_BYTES])
    iv = nonce(key_iv[KEY_BYTES:], sequence)
    try:
        if suite == GMAC:
            cipher.decrypt(iv, tag, header + payload)
            return payload
        return cipher.decrypt(iv, payload + tag, header)
    except InvalidTag:
        return None


class Budget:
    """What was sealed with one key (SEAL-12)."""

    def __init__(self, frames: int | None = None) -> None:
        self.octets = 0
        self.frames = 0
        self.most_frames = LIMITS["seal_key_frames"] if frames is None else frames

    def add(self, octets: int, offset: int) -> None:
        self.octets += octets
        self.frames += 1
        if self.octets > LIMITS["seal_key_bytes"] or self.frames > self.most_frames:
            raise NativeError("SEAL_KEY_LIMIT", offset, "the key is used up")


_IDENTITY = re.compile(rb"[\x21-\x39\x3b-\x7e]{1,128}")
_KEY = re.compile(rb"(?:[0-9a-fA-F]{2}){16,64}")


def _psk_error(line: int, message: str) -> NativeError:
    return NativeError("SEAL_PSK_FILE", 0, f"line {line}: {message}")


def parse_psk_file(text: bytes) -> dict[bytes, bytes]:
    """Identities and keys in the order of the lines (SEAL-19)."""
    if len(text) > LIMITS["psk_file_bytes"]:
        raise NativeError("SEAL_PSK_FILE", 0, "the file is too long")
    keys: dict[bytes, bytes] = {}
    for number, line in enumerate(text.split(b"\n"), 1):
        line = line.removesuffix(b"\r")
        if not line or line.startswith(b"#"):
            continue
        identity, colon, key = line.partition(b":")
        if not colon or not _IDENTITY.fullmatch(identity) or not _KEY.fullmatch(key):
            raise _psk_error(number, "not an identity and a key")
        if identity in keys:
            raise _psk_error(number, "an identity that was there before")
        keys[identity] = bytes.fromhex(key.decode("ascii"))
    if not keys:
        raise NativeError("SEAL_PSK_FILE", 0, "no key")
    return keys


def find_key(keys: dict[bytes, bytes], identity: bytes | None) -> bytes:
    """The key of an identity, or the first one when a hello names none."""
    if identity is None:
        return next(iter(keys.values()))
    if identity not in keys:
        raise NativeError("SEAL_PSK_IDENTITY", 0, "no key of this identity")
    return keys[identity]

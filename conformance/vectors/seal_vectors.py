#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Test vectors of spec/03.2-seal.md, from an implementation of its own: HMAC and SHA-256 of Python's
library, AES-256-GCM, ChaCha20-Poly1305 and CRC-32C written out below, slow and plain.

usage: conformance/vectors/seal_vectors.py [--check] [FILE]      (seal.json beside this script)

--check: exit status 1 when FILE is not what would be written.
"""
import hashlib
import hmac
import json
import os
import struct
import sys


# ---- AES-256, GCM (FIPS 197, NIST SP 800-38D) ----
def make_sbox():
    p = q = 1
    box = [0] * 256
    while True:
        p = p ^ (p << 1 & 255) ^ (0x1b if p & 128 else 0)
        for shift in (1, 2, 4):
            q ^= q << shift & 255
        q ^= 9 if q & 128 else 0
        rot = [(q << s | q >> (8 - s)) & 255 for s in range(5)]
        box[p] = rot[0] ^ rot[1] ^ rot[2] ^ rot[3] ^ rot[4] ^ 0x63
        if p == 1:
            break
    box[0] = 0x63
    return box


SBOX = make_sbox()


def double(b):
    return b << 1 & 255 ^ (0x1b if b & 128 else 0)


def expand_key(key):
    words = [list(key[i:i + 4]) for i in range(0, 32, 4)]
    rcon = 1
    for i in range(8, 60):
        word = list(words[-1])
        if i % 8 == 0:
            word = [SBOX[b] for b in word[1:] + word[:1]]
            word[0] ^= rcon
            rcon = double(rcon)
        elif i % 8 == 4:
            word = [SBOX[b] for b in word]
        words.append([a ^ b for a, b in zip(words[i - 8], word)])
    return [sum(words[i:i + 4], []) for i in range(0, 60, 4)]


def mix(column):
    a, b, c, d = column
    total = a ^ b ^ c ^ d
    return [a ^ total ^ double(a ^ b), b ^ total ^ double(b ^ c), c ^ total ^ double(c ^ d),
            d ^ total ^ double(d ^ a)]


def aes(rounds, block):
    state = [a ^ b for a, b in zip(block, rounds[0])]
    for number in range(1, 15):
        state = [SBOX[state[(i + 4 * (i % 4)) % 16]] for i in range(16)]
        if number < 14:
            state = sum((mix(state[i:i + 4]) for i in range(0, 16, 4)), [])
        state = [a ^ b for a, b in zip(state, rounds[number])]
    return bytes(state)


def gf_multiply(x, y):
    z = 0
    for i in range(127, -1, -1):
        if x >> i & 1:
            z ^= y
        y = y >> 1 ^ (0xe1 << 120 if y & 1 else 0)
    return z


def pad16(data):
    return data + bytes(-len(data) % 16)


def ghash(h, aad, text):
    y = 0
    data = pad16(aad) + pad16(text) + struct.pack(">QQ", 8 * len(aad), 8 * len(text))
    for i in range(0, len(data), 16):
        y = gf_multiply(y ^ int.from_bytes(data[i:i + 16], "big"), h)
    return y


def gcm(key, nonce, aad, plain):
    rounds = expand_key(key)
    stream = b"".join(aes(rounds, nonce + struct.pack(">I", i + 2))
                      for i in range((len(plain) + 15) // 16))
    text = bytes(a ^ b for a, b in zip(plain, stream))
    h = int.from_bytes(aes(rounds, bytes(16)), "big")
    mask = int.from_bytes(aes(rounds, nonce + struct.pack(">I", 1)), "big")
    return text, (ghash(h, aad, text) ^ mask).to_bytes(16, "big")


# ---- ChaCha20-Poly1305 (RFC 8439) ----
def quarter(s, a, b, c, d):
    for x, y, z, r in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        s[x] = s[x] + s[y] & 0xffffffff
        t = s[z] ^ s[x]
        s[z] = (t << r | t >> (32 - r)) & 0xffffffff


def chacha_block(key, counter, nonce):
    start = list(struct.unpack("<16I", b"expand 32-byte k" + key + struct.pack("<I", counter) + nonce))
    s = list(start)
    for _ in range(10):
        for i in range(4):
            quarter(s, i, i + 4, i + 8, i + 12)
        for i in range(4):
            quarter(s, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return struct.pack("<16I", *((a + b) & 0xffffffff for a, b in zip(s, start)))


def poly1305(key, data):
    r = int.from_bytes(key[:16], "little") & 0x0ffffffc0ffffffc0ffffffc0fffffff
    a = 0
    for i in range(0, len(data), 16):
        a = (a + int.from_bytes(data[i:i + 16] + b"\1", "little")) * r % ((1 << 130) - 5)
    return ((a + int.from_bytes(key[16:32], "little")) & ((1 << 128) - 1)).to_bytes(16, "little")


def chacha20_poly1305(key, nonce, aad, plain):
    stream = b"".join(chacha_block(key, i + 1, nonce) for i in range((len(plain) + 63) // 64))
    text = bytes(a ^ b for a, b in zip(plain, stream))
    data = pad16(aad) + pad16(text) + struct.pack("<QQ", len(aad), len(text))
    return text, poly1305(chacha_block(key, 0, nonce)[:32], data)


# ---- CRC-32C, HKDF (RFC 5869), the key schedule ----
def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return struct.pack(">I", crc ^ 0xffffffff)


def extract(salt, ikm):
    return hmac.new(salt, ikm, hashlib.sha256).digest()


def expand(prk, info, length):
    out = last = b""
    while len(out) < length:
        last = hmac.new(prk, last + info + bytes([len(out) // 32 + 1]), hashlib.sha256).digest()
        out += last
    return out[:length]


def hello_key(secret, direction, random):
    return expand(extract(b"vmstream-1 hello", secret), b"hello" + bytes([direction]) + random, 44)


def master_secret(secret, source, destination, hellos):
    return extract(source + destination + hashlib.sha256(hellos).digest(), secret)


def frame_key(master, direction, channel, epoch):
    return expand(master, b"key" + struct.pack(">BHI", direction, channel, epoch), 44)


# ---- frames ----
def header(kind, flags, channel, epoch, sequence, body, bulk):
    return struct.pack(">IIHHIQII", 0x564d5346, kind, flags, channel, epoch, sequence, len(body),
                       len(bulk))


def seal(suite, key_iv, head, body, bulk):
    """Body and bulk as on the wire, and the tag."""
    payload = body + bulk
    if suite == 0:
        return payload, crc32c(head + payload)
    key, iv = key_iv[:32], key_iv[32:]
    sequence = head[16:24]
    nonce = iv[:4] + bytes(a ^ b for a, b in zip(iv[4:], sequence))
    if suite == 1:
        return payload, gcm(key, nonce, head + payload, b"")[1]
    return (gcm if suite == 2 else chacha20_poly1305)(key, nonce, head, payload)


def pattern(length, seed):
    return bytes((i * 7 + seed * 31 + (i >> 8)) & 255 for i in range(length))


def hello_frame(secret, direction, random, body):
    head = header(1, 0x10, 0, 0, 0, body, b"")
    key_iv = hello_key(secret, direction, random)
    _, tag = seal(1, key_iv, head, body, b"")
    return {"direction": direction, "random": random, "key_iv": key_iv, "header": head,
            "body": body, "tag": tag}


def frames(master):
    out = []
    for suite in range(4):
        for direction, channel, epoch, sequence, body, bulk in (
                (0, 0, 1, 0, 0, 0), (0, 0, 1, 1, 17, 0), (1, 0, 1, 0x0102030405060708, 33, 64),
                (0, 3, 2, 5, 11, 600), (1, 250, 0x01020304, 1 << 40, 255, 300)):
            body, bulk = pattern(body, suite), pattern(bulk, suite + 1)
            key_iv = b"" if suite == 0 else frame_key(master, direction, channel, epoch)
            head = header(33, 0, channel, epoch, sequence, body, bulk)
            payload, tag = seal(suite, key_iv, head, body, bulk)
            out.append({"suite": suite, "direction": direction, "channel": channel, "epoch": epoch,
                        "sequence": str(sequence), "key_iv": key_iv, "header": head, "body": body,
                        "bulk": bulk, "payload": payload, "tag": tag})
    return out


def session(name, secret, hello_bodies):
    """The randoms are 32 octets of the name's hash, so that the file is reproducible."""
    randoms = [hashlib.sha256(f"{name} {d}".encode()).digest() for d in range(len(hello_bodies))]
    hellos = [hello_frame(secret, d, r, b) for d, (r, b) in enumerate(zip(randoms, hello_bodies))]
    sent = b"".join(h["header"] + h["body"] + h["tag"] for h in hellos)
    destination = randoms[1] if len(randoms) > 1 else bytes(32)
    master = master_secret(secret, randoms[0], destination, sent)
    body_frames = frames(master)
    transcript = sent + b"".join(f["header"] + f["tag"] for f in body_frames)
    return {"name": name, "secret": secret, "hellos": hellos, "source_random": randoms[0],
            "destination_random": destination, "hello_hash": hashlib.sha256(sent).digest(),
            "master": master, "frames": body_frames,
            "transcript": hashlib.sha256(transcript).digest()}


# ---- published vectors, on which this script checks itself first ----
GCM_KEY = bytes.fromhex("feffe9928665731c6d6a8f9467308308" * 2)
GCM_NONCE = bytes.fromhex("cafebabefacedbaddecaf888")
GCM_AAD = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
GCM_PLAIN = bytes.fromhex(
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525"
    "b16aedf5aa0de657ba637b391aafd255")
LADIES = (b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
          b"sunscreen would be it.")

# algorithm, where from, key, nonce, aad, plain, tag
PUBLISHED = [
    ("gcm", "McGrew and Viega, test case 13", bytes(32), bytes(12), b"", b"",
     "530f8afbc74536b9a963b4f1c4cb738b"),
    ("gcm", "test case 14", bytes(32), bytes(12), b"", bytes(16), "d0d1c8a799996bf0265b98b5d48ab919"),
    ("gcm", "test case 15", GCM_KEY, GCM_NONCE, b"", GCM_PLAIN, "b094dac5d93471bdec1a502270e3cc6c"),
    ("gcm", "test case 16", GCM_KEY, GCM_NONCE, GCM_AAD, GCM_PLAIN[:-4],
     "76fc6ece0f4e1768cddf8853bb2d551b"),
    ("gmac", "NIST CAVP gcmEncryptExtIV256, no text",
     bytes.fromhex("78dc4e0aaf52d935c3c01eea57428f00ca1fd475f5da86a49c8dd73d68c8e223"),
     bytes.fromhex("d79cf22d504cc793c3fb6c8a"), bytes.fromhex("b96baa8c1c75a671bfb2d08d06be5f36"),
     b"", "3e5d486aa2e30b22e040b85723a06e76"),
    ("chacha20", "RFC 8439, 2.8.2", bytes(range(0x80, 0xa0)),
     bytes.fromhex("070000004041424344454647"), bytes.fromhex("50515253c0c1c2c3c4c5c6c7"), LADIES,
     "1ae10b594f09e26a7e902ecbd0600691"),
]

# RFC 5869, appendix A: ikm, salt, info, prk, okm
RFC5869 = [
    (b"\x0b" * 22, bytes(range(13)), bytes(range(0xf0, 0xfa)),
     "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
     "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"),
    (bytes(range(80)), bytes(range(0x60, 0xb0)), bytes(range(0xb0, 0x100)),
     "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
     "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
     "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"),
    (b"\x0b" * 22, b"", b"", "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
     "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"),
]

# RFC 3720, B.4
CRCS = [(b"123456789", "e3069283"), (bytes(32), "8a9136aa"), (b"\xff" * 32, "62a8ab43"),
        (bytes(range(32)), "46dd794e"), (bytes(range(31, -1, -1)), "113fdb5c")]


def published_aead():
    out = []
    for name, source, key, nonce, aad, plain, tag in PUBLISHED:
        text, made = (chacha20_poly1305 if name == "chacha20" else gcm)(key, nonce, aad, plain)
        assert made.hex() == tag, source
        out.append({"algorithm": name, "source": source, "key": key, "nonce": nonce, "aad": aad,
                    "plain": plain, "text": text, "tag": made})
    return out


def published_hkdf():
    out = []
    for ikm, salt, info, prk, okm in RFC5869:
        assert extract(salt, ikm).hex() == prk
        assert expand(bytes.fromhex(prk), info, len(okm) // 2).hex() == okm
        out.append({"ikm": ikm, "salt": salt, "info": info, "prk": bytes.fromhex(prk),
                    "okm": bytes.fromhex(okm)})
    return out


def checksums():
    out = []
    for data, crc in CRCS:
        assert crc32c(data).hex() == crc
        out.append({"data": data, "crc": crc32c(data)})
    for length in (0, 1, 7, 8, 9, 3071, 3072, 3073, 6200):
        out.append({"data": pattern(length, 5), "crc": crc32c(pattern(length, 5))})
    return out


def vectors():
    secret = bytes(range(16))
    return {
        "note": "made by conformance/vectors/seal_vectors.py; octets in hexadecimal",
        "crc32c": checksums(),
        "hkdf": published_hkdf(),
        "aead": published_aead(),
        "sessions": [
            session("live, pre-shared key", secret, [pattern(90, 1), pattern(70, 2)]),
            session("file, pre-shared key of 64 octets", bytes(range(64)), [pattern(50, 3)]),
            session("reconnection, exporter", hashlib.sha256(b"exporter").digest(),
                    [pattern(60, 4), pattern(61, 5)]),
        ],
    }


def main():
    args = [a for a in sys.argv[1:] if a != "--check"]
    path = args[0] if args else os.path.join(os.path.dirname(os.path.abspath(__file__)), "seal.json")
    text = json.dumps(vectors(), indent=1, default=bytes.hex) + "\n"
    if "--check" in sys.argv[1:]:
        with open(path, encoding="ascii") as file:
            return 0 if file.read() == text else 1
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Prints the pinned values of tests/run_parts.rs: run::stream written from its description, ChaCha8 from RFC 8439 (4 double
rounds instead of 10; 64-bit counter and nonce, both 0). Needs Python alone."""

import hashlib
import struct

U32 = 0xFFFFFFFF


def quarter(s, a, b, c, d):
    for x, y, z, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        s[x] = (s[x] + s[y]) & U32
        s[z] ^= s[x]
        s[z] = (s[z] << bits | s[z] >> (32 - bits)) & U32


def chacha8(key):
    start = list(struct.unpack("<4I", b"expand 32-byte k") + struct.unpack("<8I", key)) + [0] * 4
    s = start[:]
    for _ in range(4):
        for column in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)):
            quarter(s, *column)
        for diagonal in ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
            quarter(s, *diagonal)
    return [(x + y) & U32 for x, y in zip(s, start)]


def stream(seed, purpose, step, row):
    text = purpose.encode()
    key = struct.pack("<QQ", seed, len(text)) + text + struct.pack("<QQ", step, row)
    return chacha8(hashlib.sha256(key).digest())


for args in ((0, "", 0, 0), (1, "sample", 2, 3), (1, "sample", 3, 2), (7, "größe", 2**40, 2**63)):
    print(args, [hex(x) for x in stream(*args)[:4]])

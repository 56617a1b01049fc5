"""The payload of a bulk message: a function of its index and size alone, the same one as in ../java/Bulk.java."""

import random

POOL = 1 << 22
WORDS = (
    "sensor status running stopped valve pressure temperature humidity north south east west alpha beta gamma delta "
    "order paid shipped returned account customer invoice total amount currency region zone host service"
).split(" ")


def _pool() -> bytes:
    parts, length, state = [], 0, 1
    while length < POOL:
        state = (state * 1_103_515_245 + 12_345) & 0x7FFFFFFF
        part = f"{WORDS[(state >> 16) % len(WORDS)]} {(state >> 8) & 0xFFFF} "
        parts.append(part)
        length += len(part)
    return "".join(parts).encode()[:POOL]


_text = b""


def payload(index: int, size: int) -> bytes:
    """JSON of exactly `size` bytes, or as short as its fixed fields allow."""
    global _text
    head = f'{{"index":{index},"device":"d-{index % 1_000}","text":"'.encode()
    length = max(0, size - len(head) - 2)
    at = index * 1_000_003 % POOL
    if len(_text) < POOL + length:
        pool = _text[:POOL] or _pool()
        _text = pool * (2 + length // POOL)
    return head + _text[at : at + length] + b'"}'


def noise(index: int, size: int) -> bytes:
    """Bytes that no compressor makes shorter, other ones for each index."""
    return random.Random(index).randbytes(size)


def blank(index: int, size: int) -> bytes:
    """What every compressor makes nothing of."""
    return bytes(size)

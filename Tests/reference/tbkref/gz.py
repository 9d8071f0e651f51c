"""Gzip: one or several members."""

import struct
import zlib

from . import corrupt


def member(data, level=6, name=None):
    """One gzip member, reproducible."""
    compressor = zlib.compressobj(level, zlib.DEFLATED, -15)
    flags = 8 if name else 0
    head = b"\x1f\x8b\x08" + bytes([flags]) + bytes(4) + b"\0\xff" + (name + b"\0" if name else b"")
    body = compressor.compress(data) + compressor.flush()
    return head + body + struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF)


def compress(data, level=6, members=1):
    """`data` as this many members of about equal size."""
    step = max(1, -(-len(data) // members))
    pieces = [data[at:at + step] for at in range(0, len(data), step)] or [b""]
    return b"".join(member(piece, level) for piece in pieces)


def decompress(data, limit=1 << 30):
    """The content of all members. Refuses trailing data, and more than `limit` bytes."""
    if not data:
        raise corrupt("empty payload")
    out = bytearray()
    while data:
        inflater = zlib.decompressobj(31)
        try:
            out += inflater.decompress(data, limit - len(out) + 1)
        except zlib.error as error:
            raise corrupt(f"gzip: {error}") from None
        if len(out) > limit:
            raise corrupt("gzip: more than this reader takes")
        if not inflater.eof:
            raise corrupt("gzip: truncated")
        data = inflater.unused_data
    return bytes(out)

"""The unencrypted header: TBK2, and TBK1 for reading old archives."""

import struct
from dataclasses import dataclass, replace

from . import corrupt

TAG = 16
HMAC = 32
GCM_LIMIT = 2**36 - 32


@dataclass(frozen=True)
class Tbk2:
    salt: bytes
    nonce: bytes
    payload_length: int = 0
    memory: int = 65536
    time: int = 3
    lanes: int = 4
    kdf: int = 1
    suite: int = 1
    version: int = 2
    magic: bytes = b"TBK2"

    format = "TBK2"

    def pack(self):
        """The header's bytes. Writes all values as given, including hostile ones."""
        return b"".join([
            self.magic,
            struct.pack(">BBIHB", self.version, self.kdf, self.memory, self.time, self.lanes),
            bytes([len(self.salt)]), self.salt,
            bytes([len(self.nonce)]), self.nonce,
            struct.pack(">BQ", self.suite, self.payload_length),
        ])

    def fields(self):
        """(name, offset, size) of every field, in order, for tests that truncate and flip bits."""
        sizes = [("magic", 4), ("version", 1), ("kdf", 1), ("memory", 4), ("time", 2), ("lanes", 1),
                 ("salt_length", 1), ("salt", len(self.salt)),
                 ("nonce_length", 1), ("nonce", len(self.nonce)),
                 ("suite", 1), ("payload_length", 8)]
        return _offsets(sizes)

    def check(self, max_memory=2 * 1024 * 1024, max_time=64, max_lanes=64):
        if self.version != 2:
            raise corrupt(f"unknown TBK2 version {self.version}")
        if self.kdf not in (1, 2):
            raise corrupt(f"unknown key derivation {self.kdf}")
        if self.suite not in (1, 2):
            raise corrupt(f"unknown cipher suite {self.suite}")
        if not 1 <= self.lanes <= max_lanes:
            raise corrupt(f"{self.lanes} lanes")
        if not 8 * self.lanes <= self.memory <= max_memory:
            raise corrupt(f"{self.memory} KiB of memory")
        if not 1 <= self.time <= max_time:
            raise corrupt(f"{self.time} passes")
        if len(self.salt) < 8:
            raise corrupt("salt shorter than 8 bytes")
        if not self.nonce:
            raise corrupt("empty nonce")
        if not TAG <= self.payload_length <= GCM_LIMIT + TAG:
            raise corrupt(f"payload of {self.payload_length} bytes")
        return self


@dataclass(frozen=True)
class Tbk1:
    salt: bytes
    iv: bytes
    payload_length: int = 0
    iterations: int = 600000
    version: int = 1
    magic: bytes = b"TBK1"

    format = "TBK1"

    def pack(self):
        return b"".join([
            self.magic,
            struct.pack(">BI", self.version, self.iterations),
            bytes([len(self.salt)]), self.salt,
            bytes([len(self.iv)]), self.iv,
            struct.pack(">Q", self.payload_length),
        ])

    def fields(self):
        sizes = [("magic", 4), ("version", 1), ("iterations", 4),
                 ("salt_length", 1), ("salt", len(self.salt)),
                 ("iv_length", 1), ("iv", len(self.iv)),
                 ("payload_length", 8)]
        return _offsets(sizes)

    def check(self, max_iterations=10_000_000):
        if self.version != 1:
            raise corrupt(f"unknown TBK1 version {self.version}")
        if not 1 <= self.iterations <= max_iterations:
            raise corrupt(f"{self.iterations} iterations")
        if not self.salt:
            raise corrupt("empty salt")
        if len(self.iv) != 16:
            raise corrupt("an IV that is not 16 bytes")
        if self.payload_length == 0 or self.payload_length % 16:
            raise corrupt(f"payload of {self.payload_length} bytes")
        return self


def _offsets(sizes):
    result, offset = [], 0
    for name, size in sizes:
        result.append((name, offset, size))
        offset += size
    return result


class _Cursor:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if len(self.data) - self.at < count:
            raise corrupt(f"header ends at byte {len(self.data)}")
        piece = self.data[self.at:self.at + count]
        self.at += count
        return piece

    def unpack(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))


def parse(archive):
    """(header, offset of the payload). Does not check the values: see check()."""
    cursor = _Cursor(archive)
    magic = cursor.take(4)
    if magic == b"TBK2":
        version, kdf, memory, time, lanes = cursor.unpack(">BBIHB")
        salt = cursor.take(*cursor.unpack(">B"))
        nonce = cursor.take(*cursor.unpack(">B"))
        suite, length = cursor.unpack(">BQ")
        return Tbk2(salt, nonce, length, memory, time, lanes, kdf, suite, version), cursor.at
    if magic == b"TBK1":
        version, iterations = cursor.unpack(">BI")
        salt = cursor.take(*cursor.unpack(">B"))
        iv = cursor.take(*cursor.unpack(">B"))
        length, = cursor.unpack(">Q")
        return Tbk1(salt, iv, length, iterations, version), cursor.at
    raise corrupt("not a TermBackup archive")


def split(archive):
    """(checked header, payload); the payload is exactly the rest."""
    header, at = parse(archive)
    header.check()
    trailer = HMAC if header.format == "TBK1" else 0
    have = len(archive) - at
    want = header.payload_length + trailer
    if have < want:
        raise corrupt(f"{want - have} bytes are missing at the end")
    if have > want:
        raise corrupt(f"{have - want} bytes follow the payload")
    return header, archive[at:]


__all__ = ["Tbk1", "Tbk2", "parse", "split", "replace", "TAG", "HMAC", "GCM_LIMIT"]

"""Archives of suite 3 and age: a tar in zstd frames with random access, and its encryption. A writer that accepts every part
as an argument; frames are written by hand, or by a function that compresses them."""

import io
import struct

from . import age, chunked, crypto, tars
from . import manifest as mf
from .header import Tbk2

LIMIT = 4 << 20
ALL_ONES = 2**64 - 1
MESSAGE_SALT = bytes(range(100, 124))
SALT = bytes(range(32))
FILE_KEY, NONCE = bytes(range(16)), bytes(range(16, 32))


def tar(manifest, content, offsets=True, first=False):
    """(tar, offset of the manifest's header in it, the manifest with its id). `content` returns a file entry's content."""
    by_path, entries, members = mf.by_path_of(manifest), [], io.BytesIO()
    with tars._writer(members, "pax") as out:
        for entry in manifest["files"]:
            entry = dict(entry)
            if not mf.stored_elsewhere(entry, by_path):
                data = content(entry) if mf.kind(entry) == "file" else b""
                out.addfile(tars.member(entry, "pax", by_path), io.BytesIO(data))
                if data and offsets:
                    entry["offset"] = out.offset - len(data) - -len(data) % 512
            entries.append(entry)
        at = out.offset
        manifest = mf.with_id({**manifest, "files": entries})
        tars.add_manifest(out, manifest)
    return members.getvalue(), at, manifest


# Frames


def raw_frame(data):
    """An uncompressed zstd frame that declares its size."""
    blocks = [data[at:at + 0x10000] for at in range(0, len(data), 0x10000)] or [b""]
    body = b"".join(struct.pack("<I", len(block) << 3 | (number == len(blocks) - 1))[:3] + block
                    for number, block in enumerate(blocks))
    return struct.pack("<IBI", 0xFD2FB528, 0xA0, len(data)) + body


def skippable(content, magic=0x184D2A50):
    return struct.pack("<II", magic, len(content)) + content


def locator(at, length):
    return skippable(b"TBKM" + struct.pack(">QQ", at, length))


def seek_table(sizes):
    """`sizes`: (compressed, decompressed) of every frame before the table."""
    entries = b"".join(struct.pack("<II", *pair) for pair in sizes)
    return skippable(entries + struct.pack("<IBI", len(sizes), 0, 0x8F92EAB1), 0x184D2A5E)


def frames(data, at, size=LIMIT, frame=raw_frame):
    """[(frame, bytes of tar in it)] of a tar; a new frame begins at `at`."""
    cuts = sorted({*range(0, at, size), *range(at, len(data), size), len(data)})
    return [(frame(data[start:end]), end - start) for start, end in zip(cuts, cuts[1:])]


def payload(data, at, length, size=LIMIT, frame=raw_frame):
    """The payload for a tar whose manifest has its header at `at` and is `length` bytes long."""
    cut = frames(data, at, size, frame)
    front = locator(at, length)
    table = seek_table([*((len(each), count) for each, count in cut), (len(front), 0)])
    return b"".join(each for each, _ in cut) + front + table


def of(manifest, content, size=LIMIT, frame=raw_frame, **options):
    """(payload, manifest with its id)"""
    data, at, manifest = tar(manifest, content, **options)
    return payload(data, at, len(mf.encode(manifest)), size, frame), manifest


# Encryption


def header3(memory=64, time=1, lanes=1, salt=SALT, **more):
    return Tbk2(salt, b"", ALL_ONES, memory, time, lanes, suite=3, **more)


def seal3(data, password, parts=None, trailer=None, **options):
    """An archive of suite 3. `parts` replaces the list of sealed chunks by another one."""
    header = header3(**options)
    key = crypto.argon2id(password, header.salt, header.memory, header.time, header.lanes)
    message = chunked.encrypt(data, key, header.pack()[:-8], MESSAGE_SALT)
    front, body = message[:56], message[56:]
    if parts:
        step = chunked.CHUNK + chunked.TAG
        body = b"".join(parts([body[at:at + step] for at in range(0, len(body), step)]))
    message = front + body
    return header.pack() + message + (struct.pack(">Q", len(message)) + b"TBK2 end" if trailer is None else trailer)


def open3(archive, password):
    """The payload of an archive of suite 3."""
    from .header import parse
    header, at = parse(archive)
    assert header.suite == 3 and header.payload_length == ALL_ONES and archive[-8:] == b"TBK2 end"
    assert int.from_bytes(archive[-16:-8], "big") == len(archive) - 16 - at
    key = crypto.argon2id(password, header.salt, header.memory, header.time, header.lanes)
    return chunked.decrypt(archive[at:-16], key, archive[:at - 8])


def seal_age(data, *identities, parts=None, armored=False):
    """An age file for the recipients of these identities."""
    stanzas = [identity.wrap(FILE_KEY, bytes(range(40 + at, 72 + at))) for at, identity in enumerate(identities)]
    body = age.payload(FILE_KEY, data, NONCE)
    if parts:
        step = age.CHUNK + age.TAG
        body = body[:16] + b"".join(parts([body[at:at + step] for at in range(16, len(body), step)]))
    sealed = age.header(FILE_KEY, stanzas) + body
    return age.armor(sealed) if armored else sealed


def chain(*archives):
    """The output of tbk-pull --chain; the newest archive first."""
    return b"".join(b"TBKCHAIN" + struct.pack(">Q", len(archive)) + archive for archive in archives)

"""Tars: written with tarfile, read by our own strict reader."""

import base64
import io
import os
import re
import tarfile
from dataclasses import dataclass, field

from . import corrupt
from .manifest import by_path_of, encode, kind, raw, stored_elsewhere, stored_name

BLOCK = 512
FORMATS = {"pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT, "ustar": tarfile.USTAR_FORMAT}
MOST_EXTENDED = 1 << 20


def member(entry, form, by_path):
    """The tarfile member of a manifest's entry."""
    info = tarfile.TarInfo(stored_name(entry))
    info.mode = entry["permissions"] & 0o7777
    info.uid, info.gid = entry.get("uid", 0), entry.get("gid", 0)
    info.uname, info.gname = entry.get("user", ""), entry.get("group", "")
    seconds, nanoseconds = divmod(entry["mtime_ns"], 10**9)
    info.mtime = seconds
    what = kind(entry)
    if what == "file":
        info.size = entry["size"]
    elif what == "directory":
        info.type = tarfile.DIRTYPE
    elif what == "symlink":
        info.type, info.linkname = tarfile.SYMTYPE, entry["link_target"]
    else:
        info.type, info.linkname = tarfile.LNKTYPE, stored_name(by_path[entry["hard_link"]])
    if form == "pax":
        if nanoseconds:
            info.pax_headers["mtime"] = _decimal(entry["mtime_ns"])
        for name, value in entry.get("xattrs", {}).items():
            # tarfile encodes records as UTF-8 with surrogateescape, so any bytes are possible.
            # As in GNU tar, the character that ends a keyword is escaped.
            keyword = name.replace("%", "%25").replace("=", "%3D")
            info.pax_headers["SCHILY.xattr." + keyword] = \
                base64.b64decode(value).decode("utf-8", "surrogateescape")
    return info


def _decimal(nanoseconds):
    sign = "-" if nanoseconds < 0 else ""
    seconds, rest = divmod(abs(nanoseconds), 10**9)
    return f"{sign}{seconds}.{rest:09d}".rstrip("0").rstrip(".")


def write(manifest, content, form="pax", manifest_first=False):
    """The tar of a manifest. `content` returns a file entry's content. Files that are stored elsewhere,
    and hard links to them, are left out."""
    out = io.BytesIO()
    by_path = by_path_of(manifest)
    with _writer(out, form) as tar:
        if manifest_first:
            add_manifest(tar, manifest)
        for entry in manifest["files"]:
            if stored_elsewhere(entry, by_path):
                continue
            data = content(entry) if kind(entry) == "file" else b""
            tar.addfile(member(entry, form, by_path), io.BytesIO(data))
        if not manifest_first:
            add_manifest(tar, manifest)
    return out.getvalue()


def _writer(out, form):
    return tarfile.open(fileobj=out, mode="w", format=FORMATS[form], encoding="utf-8",
                        errors="surrogateescape")


def add_manifest(tar, manifest):
    data = manifest if isinstance(manifest, bytes) else encode(manifest)
    info = tarfile.TarInfo("manifest.json")
    info.size, info.mode = len(data), 0o600
    tar.addfile(info, io.BytesIO(data))


def only_manifest(manifest):
    """The tar of a sealed manifest."""
    out = io.BytesIO()
    with _writer(out, "pax") as tar:
        add_manifest(tar, manifest)
    return out.getvalue()


def content_of(directory):
    """A `content` function for write(): the files below a directory."""
    top = os.fsencode(directory)

    def read(entry):
        with open(os.path.join(top, raw(entry["relative_path"])), "rb") as file:
            return file.read()
    return read


# Reading


@dataclass
class Member:
    name: bytes
    kind: str  # file, directory, symlink, hardlink
    mode: int
    data: bytes = b""
    link: bytes = b""
    mtime: bytes = b""
    xattrs: dict = field(default_factory=dict)


KINDS = {b"0": "file", b"\0": "file", b"7": "file", b"1": "hardlink", b"2": "symlink", b"5": "directory"}


def number(data, what):
    """A number in a header: octal, or base-256 if the first bit is set."""
    if data[0] & 0x80:
        value = int.from_bytes(bytes([data[0] & 0x7F]) + data[1:], "big")
        if data[0] & 0x40:
            value -= 1 << (8 * len(data) - 1)
        return value
    body = data.split(b"\0", 1)[0].strip(b" ")
    if not re.fullmatch(rb"[0-7]*", body):
        raise corrupt(f"tar: {what} is not a number")
    return int(body or b"0", 8)


def records(data):
    """The records of a pax header."""
    result, at = {}, 0
    while at < len(data):
        match = re.compile(rb"([1-9][0-9]{0,9}) ").match(data, at)
        if not match:
            raise corrupt("tar: a pax record without a length")
        end = at + int(match[1])
        if end > len(data) or end <= match.end() or data[end - 1:end] != b"\n":
            raise corrupt("tar: a pax record's length lies")
        key, equals, value = data[match.end():end - 1].partition(b"=")
        if not equals or not key:
            raise corrupt("tar: a pax record without a key")
        result[key] = value
        at = end
    return result


def string(data):
    return data.split(b"\0", 1)[0]


def read(data):
    """The members of a tar, which must be complete."""
    at, members = 0, []
    pax, long_name, long_link, extended = {}, None, None, 0

    def content(size):
        nonlocal at
        if size < 0 or size > len(data) - at:
            raise corrupt("tar: a member of impossible size")
        piece = data[at:at + size]
        at += size + -size % BLOCK
        if at > len(data):
            raise corrupt("tar: truncated")
        return piece

    while True:
        header = data[at:at + BLOCK]
        if len(header) < BLOCK:
            raise corrupt("tar: truncated")
        at += BLOCK
        if not any(header):
            break
        kept = number(header[148:156], "checksum")
        blanked = header[:148] + b" " * 8 + header[156:]
        if kept not in (sum(blanked), sum(b - 256 if b > 127 else b for b in blanked)):
            raise corrupt("tar: bad header checksum")
        size, flag = number(header[124:136], "size"), header[156:157]
        if flag in b"xgLK":
            extended += 1
            if size > MOST_EXTENDED or extended > 8:
                raise corrupt("tar: too much extended header")
            body = content(size)
            if flag == b"x":
                pax.update(records(body))
            elif flag == b"g":
                records(body)
            elif flag == b"L":
                long_name = string(body)
            else:
                long_link = string(body)
            continue
        if flag not in KINDS:
            raise corrupt(f"tar: a member of type {flag!r}")
        kind = KINDS[flag]
        name, link = string(header[:100]), string(header[157:257])
        if header[257:263] == b"ustar\0" and string(header[345:500]):
            name = string(header[345:500]) + b"/" + name
        name = pax.get(b"path", long_name if long_name is not None else name)
        link = pax.get(b"linkpath", long_link if long_link is not None else link)
        if b"\0" in name or b"\0" in link:
            raise corrupt("tar: NUL in a name")
        if b"size" in pax:
            if not re.fullmatch(rb"0|[1-9][0-9]{0,18}", pax[b"size"]):
                raise corrupt("tar: size in a pax record")
            size = int(pax[b"size"])
        if kind == "file" and name.endswith(b"/"):
            kind = "directory"  # As in tars before POSIX.
        if kind != "file" and size:
            raise corrupt("tar: content where none can be")
        if kind == "directory" and name.endswith(b"/"):
            name = name[:-1]
        members.append(Member(name, kind, number(header[100:108], "mode") & 0o7777, content(size), link,
                              pax.get(b"mtime", str(number(header[136:148], "mtime")).encode()),
                              {k[13:]: v for k, v in pax.items() if k.startswith(b"SCHILY.xattr.")}))
        pax, long_name, long_link, extended = {}, None, None, 0
    if pax or long_name is not None or long_link is not None:
        raise corrupt("tar: an extended header without its member")
    if any(data[at:]):
        raise corrupt("tar: data after the end")
    if len(data) - at > 1 << 20:
        raise corrupt("tar: endless padding")
    return members

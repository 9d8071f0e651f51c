#!/usr/bin/env python3
"""Makes the vectors in this folder, each with a text file that lists what Python's tarfile reads in it.

    python3 generate.py          writes gnu_*.tar and python_*.tar, and every .txt
    python3 generate.py --texts  only the .txt (after `ours.tar` has been written again)

Needs GNU tar. A .txt has one line per member, fields separated by tabs:
kind name size mode mtime uid gid user group target xattrs fnv1a64
Texts are percent-encoded bytes; xattrs are NAME=VALUE joined by commas; "-" is empty.
"""
import decimal
import glob
import io
import os
import subprocess
import sys
import tarfile
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
KINDS = {b"0": "file", b"\0": "file", b"7": "file", b"1": "hardlink", b"2": "symlink",
         b"3": "characterDevice", b"4": "blockDevice", b"5": "directory", b"6": "fifo"}


def encode(data):
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogateescape")
    text = "".join(chr(b) if 0x21 <= b <= 0x7e and b not in b"%,=" else "%%%02x" % b for b in data)
    return text or "-"


def fnv1a(data):
    value = 0xcbf29ce484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001b3 % 2**64
    return "%016x" % value


def nanoseconds(member):
    said = member.pax_headers.get("mtime")
    return int(decimal.Decimal(said) * 10**9) if said else int(member.mtime) * 10**9


def describe(path):
    lines = []
    with tarfile.open(path, encoding="utf-8") as tar:
        for m in tar:
            kind = KINDS[m.type]
            size = m.size if kind == "file" else 0
            xattrs = []
            for key, value in m.pax_headers.items():
                if key.startswith("SCHILY.xattr."):
                    name = key[13:].replace("%3D", "=").replace("%25", "%")
                    xattrs.append(encode(name) + "=" + encode(value))
            body = tar.extractfile(m).read() if kind == "file" else b""
            target = m.linkname if kind in ("symlink", "hardlink") else ""
            lines.append("\t".join(
                [kind, encode(m.name), str(size), "%o" % (m.mode & 0o7777), str(nanoseconds(m)),
                 str(m.uid), str(m.gid), encode(m.uname), encode(m.gname), encode(target),
                 ",".join(xattrs) or "-", fnv1a(body)]))
    with open(path[:-4] + ".txt", "w") as out:
        out.write("\n".join(lines) + "\n")


def tree(root):
    def put(name, data):
        path = os.path.join(os.fsencode(root), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as out:
            out.write(data)
        return path
    put(b"empty", b"")
    put(b"block", b"B" * 512)
    put(b"over", b"O" * 513)
    put(b"d/deep/file with spaces\nand a newline", b"text\n")
    put(b"n" * 100, b"name of 100")
    put(b"n" * 101, b"name of 101")
    put(b"/".join([b"p" * 60] * 4), b"in two fields")
    put(b"/".join([b"q" * 90] * 4), b"in no two fields")
    put("d/größe ünïcode".encode(), b"utf-8")
    put(b"d/latin \xe9\xff", b"not utf-8")
    os.mkdir(os.path.join(root, "d", "empty"))
    os.symlink("../nowhere", os.path.join(root, "d", "link"))
    os.symlink("t" * 150, os.path.join(root, "d", "longlink"))
    os.link(os.path.join(root, "over"), os.path.join(root, "z-hard"))
    os.mkfifo(os.path.join(root, "d", "pipe"))
    os.chmod(os.path.join(root, "empty"), 0o4755)
    os.chmod(os.path.join(root, "block"), 0)
    for path, dirs, files in os.walk(root, topdown=False):
        for name in dirs + files:
            os.utime(os.path.join(path, name), ns=(0, 1700000000123456789), follow_symlinks=False)
    os.utime(os.path.join(root, "empty"), ns=(0, -1500000000))
    os.utime(os.path.join(root, "block"), ns=(0, 1700000000 * 10**9))


def gnu(name, root, *options):
    out = os.path.join(HERE, name)
    with open(out, "wb") as stream:
        subprocess.run(
            ["tar", "--create", "--sort=name", "--owner=someone:1000", "--group=people:100",
             "-C", root, *options, "."], stdout=stream, check=True,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC"})


def python(name, format, big):
    def member(name, data=b"", **fields):
        info = tarfile.TarInfo(name)
        info.size, info.mtime = len(data), 1700000000
        for key, value in fields.items():
            setattr(info, key, value)
        tar.addfile(info, io.BytesIO(data))
    with tarfile.open(os.path.join(HERE, name), "w", format=format, encoding="utf-8",
                      **({"pax_headers": {"comment": "all"}} if big == "pax" else {})) as tar:
        member("dir", type=tarfile.DIRTYPE, mode=0o1777)
        member("dir/file", b"hello\n", uid=1, gid=2, uname="user", gname="group")
        member("dir/hard", type=tarfile.LNKTYPE, linkname="dir/file")
        member("dir/soft", type=tarfile.SYMTYPE, linkname="/etc/passwd", mode=0o777)
        member("dir/fifo", type=tarfile.FIFOTYPE)
        member("dir/null", type=tarfile.CHRTYPE, devmajor=1, devminor=3)
        member("dir/disk", type=tarfile.BLKTYPE, devmajor=8, devminor=0)
        member("x" * 80 + "/" + "y" * 80, b"split")
        if big:
            member("z" * 300, b"long", linkname="")
            member("l", type=tarfile.SYMTYPE, linkname="t" * 300)
            member("ids", b"ids", uid=3000000, gid=4000000)
            member("before 1970", b"-", mtime=-1)
            member("latin \udce9", b"raw")
            member("größe", b"utf-8", uname="müller")
        if big == "pax":
            member("ns", b"ns", pax_headers={"mtime": "1700000000.000000001"})
            member("xattr", b"x", pax_headers={
                "SCHILY.xattr.user.plain": "value", "SCHILY.xattr.user.empty": "",
                "SCHILY.xattr.user.a%3Db%25": "two\nlines=", "LIBARCHIVE.xattr.user.q": "aWdub3JlZA"})


def times(name, format, said):
    """Members with the times in `said`, which 64 bits of nanoseconds cannot hold: in pax headers, or as numbers."""
    with tarfile.open(os.path.join(HERE, name), "w", format=format) as tar:
        for time in said:
            info = tarfile.TarInfo(str(time))
            if format == tarfile.PAX_FORMAT:
                info.pax_headers = {"mtime": time}
            else:
                info.mtime = time
            tar.addfile(info)


if "--texts" not in sys.argv:
    with tempfile.TemporaryDirectory() as root:
        tree(root)
        gnu("gnu_posix.tar", root, "--format=posix")
        gnu("gnu_gnu.tar", root, "--format=gnu")
    with tempfile.TemporaryDirectory() as root:
        os.mkdir(os.path.join(root, "d"))
        for name in "a", "d/b":
            with open(os.path.join(root, name), "wb") as out:
                out.write(name.encode() * 300)
        for path in ".", "a", "d", "d/b":
            os.utime(os.path.join(root, path), ns=(0, 10**18))
        gnu("gnu_ustar.tar", root, "--format=ustar")
        gnu("gnu_v7.tar", root, "--format=v7")
        gnu("gnu_odd_blocking.tar", root, "--format=ustar", "-b", "64")
        os.setxattr(os.path.join(root, "a"), "user.name", b"value\0with\nall\xff")
        gnu("gnu_xattrs.tar", root, "--xattrs")
    python("python_ustar.tar", tarfile.USTAR_FORMAT, "")
    python("python_gnu.tar", tarfile.GNU_FORMAT, "gnu")
    python("python_pax.tar", tarfile.PAX_FORMAT, "pax")
    times("python_times_gnu.tar", tarfile.GNU_FORMAT, [10413792000, -11676096000, 2**63 - 1, -2**63, 68719476736])
    times("python_times_pax.tar", tarfile.PAX_FORMAT, [
        "10413792000.5", "-11676096000.5", "9223372036.854775808", "-9223372036.854775809",
        "9223372036854775807.999999999", "-9223372036854775808", "1e+16", "-1.5e+17", "-1e-09"])
for path in sorted(glob.glob(os.path.join(HERE, "*.tar"))):
    describe(path)

"""mbu packages, written by the reference: opened, listed, refused."""

import base64
import gzip
import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import tarfile

import pytest
from conftest import FAST, PASSWORD, put, snapshot, without
from tbkref import gz, mbu

SALT = bytes(range(100, 116))
ITERATIONS = 50


class Packages:
    """The files of mbu: settings, and packages for them."""

    def __init__(self, tbk, folder):
        self.tbk = tbk
        self.config = folder / "config.toml"
        self.config.write_bytes(mbu.settings(SALT, ITERATIONS, PASSWORD))

    def seal(self, payload, password=PASSWORD):
        return mbu.seal(payload, password, SALT, ITERATIONS)

    def of(self, directory, **options):
        return self.seal(gz.compress(mbu.tar(directory)), **options)

    def of_members(self, *members):
        return self.seal(gz.compress(tar_of(*members)))

    def open(self, package, *arguments, **options):
        return self.tbk.open(package, "--mbu-config", self.config, *arguments, **options)


@pytest.fixture
def packages(tbk, tmp_path):
    return Packages(tbk, tmp_path)


def member(name, data=None, kind=tarfile.REGTYPE, link="", **fields):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    info.size = len(data or b"")
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def directory(name):
    return member(name, kind=tarfile.DIRTYPE)


def tar_of(*members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        for info, data in members:
            file.addfile(info, io.BytesIO(data or b""))
    return out.getvalue()


def plain_tree(top):
    """A tree that Python's tar stores without loss: no attributes, and times that floating point represents exactly."""
    put(top / "a.txt", b"alpha\n", mtime_ns=10**18)
    put(top / "b" / "big", random.Random(7).randbytes(3_000_000), mtime_ns=10**18)
    put(os.fsencode(top) + b"/b/not UTF-8 \xff", b"x", mtime_ns=10**18)
    put(top / "b-c", b"sorts before b/big\n", mtime_ns=10**18)
    put(top / "manifest.json", b"{}\n", mtime_ns=10**18)
    put(top / "modes" / "x", b"#!/bin/sh\n", 0o751, mtime_ns=10**18)
    os.symlink("../a.txt", top / "b" / "link")
    os.symlink("/etc/hostname", top / "absolute")
    os.link(top / "b" / "big", top / "b-hard")
    os.mkdir(top / "empty")
    return str(top)


# Both directions


@pytest.mark.parametrize("way", ["pipe", "file"])
def test_a_package_comes_back_as_the_tree_was(packages, tmp_path, way):
    top = plain_tree(tmp_path / "docs")
    package = packages.of(top)
    if way == "pipe":
        packages.open(package, "-C", tmp_path / "out")
    else:
        file = tmp_path / "package"
        file.write_bytes(package)
        packages.tbk.run("tbk-open", "--mbu-config", packages.config, "-C", tmp_path / "out", file)
    assert os.listdir(tmp_path / "out") == ["docs"]
    came, was = snapshot(tmp_path / "out" / "docs"), snapshot(top)
    assert without(came, "mtime") == without(was, "mtime")
    for path, found in was.items():
        # For files that were just modified, floating point is less precise than nanoseconds.
        assert abs(came[path]["mtime"] - found["mtime"]) <= (0 if found["mtime"] == 10**18 else 1000), path
    assert packages.tbk.leftovers() == []


def test_every_kind_of_entry_comes_back(packages, tree, tmp_path):
    shutil.rmtree(os.path.join(tree, "times"))
    packages.open(packages.of(tree), "-C", tmp_path / "out", "--setuid")
    # Python's tar stores no attributes, and times as floating-point numbers.
    assert without(snapshot(tmp_path / "out" / "tree"), "xattrs", "mtime") == without(snapshot(tree), "xattrs", "mtime")


def test_what_opens_here_opens_in_the_reference(packages, small):
    package = packages.of(small)
    sent = packages.open(package).out
    assert sent == gz.decompress(mbu.open_package(package, PASSWORD, SALT, ITERATIONS))
    names = [found.name for found in mbu.members(package, PASSWORD, SALT, ITERATIONS)]
    listed = packages.open(package, "--list", "-0").out.split(b"\0")[:-1]
    assert sorted(name.rstrip(b"/") for name in names) == listed


def test_the_key_is_what_hashlib_and_openssl_say(packages):
    try:
        by_openssl = hashlib.pbkdf2_hmac("blake2s", PASSWORD, SALT, ITERATIONS, 32)
    except ValueError:
        by_openssl = subprocess.run(
            ["openssl", "kdf", "-keylen", "32", "-binary", "-kdfopt", "digest:BLAKE2S-256",
             "-kdfopt", "hexpass:" + PASSWORD.hex(), "-kdfopt", "hexsalt:" + SALT.hex(),
             "-kdfopt", f"iter:{ITERATIONS}", "PBKDF2"], check=True, capture_output=True).stdout
    assert mbu.key(PASSWORD, SALT, ITERATIONS) == by_openssl


@pytest.mark.parametrize("members", [2, 5])
def test_several_gzip_members_are_one_tar(packages, small, tmp_path, members):
    package = packages.seal(gz.compress(mbu.tar(small), members=members))
    packages.open(package, "-C", tmp_path / "out")
    assert without(snapshot(tmp_path / "out" / "small"), "mtime") == without(snapshot(small), "mtime")


def test_gzip_by_python_and_a_large_package_open(packages, tmp_path):
    top = tmp_path / "large"
    put(top / "noise", random.Random(1).randbytes(20_000_000))
    package = packages.seal(gzip.compress(mbu.tar(top), 1))
    file = tmp_path / "package"
    file.write_bytes(package)
    for source in ({"input": package}, {"stdin": open(file, "rb")}):
        said = packages.tbk.run("tbk-open", "--mbu-config", packages.config, "--verify", **source).out
        assert said == b"ok mbu 1 files 20000000 bytes\n"


# Modes


def test_list_cat_verify_and_json(packages, small):
    package = packages.of(small)
    assert packages.open(package, "--list").lines == [
        "small", "small/d", "small/d/inside", "small/d/other", "small/empty", "small/link", "small/plain"]
    assert packages.open(package, "--cat", "small/plain").out == b"plain\n"
    assert packages.open(package, "--cat", "small/nothing", status=66).out == b""
    said = json.loads(packages.open(package, "--verify", "--json").out)
    assert (said["ok"], said["format"], said["id"], said["file_count"]) == (True, "mbu", None, 3)


def test_strip_top_leaves_the_directory_out_of_the_names(packages, small, tmp_path):
    package = packages.of(small)
    assert packages.open(package, "--list", "--strip-top").lines == [
        "d", "d/inside", "d/other", "empty", "link", "plain"]
    assert packages.open(package, "--cat", "d/other", "--strip-top").out == b"other\n"
    packages.open(package, "-C", tmp_path / "out", "--strip-top")
    assert without(snapshot(tmp_path / "out"), "mtime") == without(snapshot(small), "mtime")


@pytest.mark.parametrize("names", [["a", "b"], ["a/x", "b/x"], ["."], ["./a", "./b"]])
def test_strip_top_wants_one_directory(packages, names, tmp_path):
    package = packages.of_members(*(member(name, b"x") for name in names))
    packages.open(package, "--list", "--strip-top", status=65)


def test_a_choice_of_entries_is_extracted(packages, tmp_path):
    top = plain_tree(tmp_path / "docs")
    package = packages.of(top)
    packages.open(package, "-C", tmp_path / "out", "--include", "b-hard", "--include", "a.txt")
    assert sorted(os.listdir(tmp_path / "out" / "docs")) == ["a.txt", "b-hard"]
    assert (tmp_path / "out" / "docs" / "b-hard").stat().st_size == 3_000_000
    shown = packages.open(package, "-C", tmp_path / "new", "--dry-run").out
    assert b"create\tdocs/a.txt\n" in shown and not (tmp_path / "new").exists()


def test_what_is_there_is_not_overwritten_unasked(packages, small, tmp_path):
    package = packages.of(small)
    put(tmp_path / "out" / "small" / "plain", b"mine\n")
    packages.open(package, "-C", tmp_path / "out", status=73)
    assert (tmp_path / "out" / "small" / "plain").read_bytes() == b"mine\n"
    packages.open(package, "-C", tmp_path / "out", "--overwrite", "if-changed")
    assert (tmp_path / "out" / "small" / "plain").read_bytes() == b"plain\n"


@pytest.mark.parametrize("arguments", [
    ["--header"], ["--manifest"], ["--expect-id", "0" * 8, "--list"], ["--chain"], ["one", "two"], ["--strip-top"],
    ["--verify", "--against", "x"], ["-i", "x"]])
def test_what_an_mbu_package_does_not_have_is_refused(packages, small, arguments):
    assert packages.open(packages.of(small), *arguments, status=64).out == b""


def test_strip_top_is_for_mbu_packages(tbk):
    tbk.open(b"", "--strip-top", "--list", status=64)


# Hostile packages


def test_a_wrong_password_and_a_flipped_bit_anywhere_are_77(packages, small, tmp_path):
    package = packages.of(small)
    assert packages.open(package, "--list", password=b"wrong", status=77).out == b""
    chance = random.Random(3)
    places = [0, 1, len(package) - 1, len(package) - 16, len(package) - 17, len(package) - 32, len(package) - 33]
    places += [chance.randrange(len(package)) for _ in range(10)]
    for at in places:
        altered = bytearray(package)
        altered[at] ^= 1 << chance.randrange(8)
        assert packages.open(bytes(altered), status=77).out == b""
    packages.open(bytes(altered), "-C", tmp_path / "out", status=77)
    assert not (tmp_path / "out").exists()


def test_every_truncation_is_refused(packages, small):
    package = packages.of(small)
    for length in (0, 1, 31, 32):
        assert packages.open(package[:length], status=65).out == b""
    for length in (33, 64, len(package) // 2, len(package) - 1):
        assert packages.open(package[:length], status=77).out == b""
    assert packages.open(package + b"\0", status=77).out == b""


def test_a_package_that_changes_while_it_is_read_is_caught(packages, tmp_path):
    top = tmp_path / "large"
    put(top / "noise", random.Random(2).randbytes(12_000_000))
    file = tmp_path / "package"
    file.write_bytes(packages.of(top))
    process = packages.tbk.start("tbk-open", "--mbu-config", packages.config, file)
    first = process.stdout.read(1 << 16)
    with open(file, "r+b") as changing:
        changing.seek(-1_000_000, os.SEEK_END)
        changing.write(bytes(1000))
    rest, said = process.communicate()
    assert process.returncode == 65 and b"changed while it was read" in said
    assert len(first + rest) < 12_000_000


HOSTILE = {
    "absolute name": [member("/tmp/escaped", b"x")],
    "dot dot": [directory("d"), member("d/../../escaped", b"x")],
    "dot dot alone": [directory("..")],
    "through a symlink": [directory("d"), member("d/l", kind=tarfile.SYMTYPE, link="/tmp"), member("d/l/escaped", b"x")],
    "through a symlink up": [member("l", kind=tarfile.SYMTYPE, link=".."), member("l/escaped", b"x")],
    "a symlink for a file": [member("l", kind=tarfile.SYMTYPE, link="../escaped"), member("l", b"x")],
    "a file for a symlink": [member("l", b"x"), member("l", kind=tarfile.SYMTYPE, link="../escaped")],
    "a symlink for a directory": [directory("d"), member("d", kind=tarfile.SYMTYPE, link=".."), member("d/escaped", b"x")],
    "hard link outside": [member("h", kind=tarfile.LNKTYPE, link="/etc/passwd")],
    "hard link up": [member("h", kind=tarfile.LNKTYPE, link="../password")],
    "hard link to nothing": [member("h", kind=tarfile.LNKTYPE, link="nothing")],
    "hard link to what comes later": [member("h", kind=tarfile.LNKTYPE, link="z"), member("z", b"x")],
    "hard link to itself": [member("h", kind=tarfile.LNKTYPE, link="h")],
    "hard link to a directory": [directory("d"), member("h", kind=tarfile.LNKTYPE, link="d")],
    "hard link through a symlink": [member("l", kind=tarfile.SYMTYPE, link=".."),
                                    member("h", kind=tarfile.LNKTYPE, link="l/password")],
    "a name twice": [member("x", b"1"), member("x", b"2")],
    "below a file": [member("x", b"1"), member("x/y", b"2")],
    "empty component": [member("a//b", b"x")],
    "long component": [member("n" * 256, b"x")],
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("mode", [["--verify"], ["--list"], ["-C", "out"], []])
def test_nothing_of_a_hostile_package_gets_out(packages, tmp_path, name, mode):
    package = packages.of_members(*HOSTILE[name])
    result = packages.open(package, *mode, status=65, cwd=tmp_path)
    if mode:
        assert result.out == b""
    assert "escaped" not in os.listdir("/tmp") and not (tmp_path / "escaped").exists()
    assert not (tmp_path / "out").exists()


DEVICES = [directory("d"), member("d/fifo", kind=tarfile.FIFOTYPE), member("d/null", kind=tarfile.CHRTYPE, devmajor=1, devminor=3),
           member("d/disk", kind=tarfile.BLKTYPE, devmajor=8), member("d/file", b"content\n")]


def test_devices_and_fifos_are_left_out_and_named(packages, tmp_path):
    package = packages.of_members(*DEVICES)
    result = packages.open(package, "-C", tmp_path / "out", status=3)
    assert os.listdir(tmp_path / "out" / "d") == ["file"]
    for name in (b"d/fifo", b"d/null", b"d/disk"):
        assert result.err.count(name) == 1
    assert packages.open(package, "--list", status=3).lines == ["d", "d/file"]
    packages.open(package, "--verify", status=3)
    sent = packages.open(package, status=3)
    assert sent.err.count(b"d/fifo") == 1 and b"d/disk" in sent.err
    assert [found.name for found in tarfile.open(fileobj=io.BytesIO(sent.out))] == ["d", "d/file"]
    # The valid part can be sealed.
    archive = packages.tbk.run("tbk-seal", "tar", *FAST, "--strip-top", input=sent.out).out
    assert packages.tbk.open(archive, "--cat", "file").out == b"content\n"


# Single files


ONE = [member("report.pdf", b"content\n", mtime=10**9)]


@pytest.mark.parametrize("strip", [[], ["--strip-top"]])
def test_a_package_of_one_file_opens(packages, tmp_path, strip):
    package = packages.of_members(*ONE)
    packages.open(package, *strip, "-C", tmp_path / "out")
    assert os.listdir(tmp_path / "out") == ["report.pdf"]
    assert (tmp_path / "out" / "report.pdf").read_bytes() == b"content\n"
    assert (tmp_path / "out" / "report.pdf").stat().st_mtime == 10**9
    assert packages.open(package, *strip, "--list").lines == ["report.pdf"]
    assert packages.open(package, *strip, "--cat", "report.pdf").out == b"content\n"
    assert packages.open(package, *strip, "--verify").out.startswith(b"ok ")
    assert packages.open(package).out == tar_of(*ONE)


def test_one_file_is_sealed_anew(packages):
    for members in (ONE, [member("link", kind=tarfile.SYMTYPE, link="x")]):
        sent = packages.open(packages.of_members(*members)).out
        archive = packages.tbk.run("tbk-seal", "tar", *FAST, "--strip-top", input=sent).out
        assert packages.tbk.open(archive, "--list").lines == [members[0][0].name]


@pytest.mark.parametrize("more", [[member("other", b"x")], [directory("d"), member("d/x", b"x")], [member("report.pdf/x", b"x")],
                                  [member("h", kind=tarfile.LNKTYPE, link="report.pdf")]])
def test_what_stands_beside_one_file_is_no_directory(packages, tmp_path, more):
    package = packages.of_members(*ONE, *more)
    assert b"beside" in packages.open(package, "--strip-top", "-C", tmp_path / "out", status=65).err
    package = packages.of_members(directory("d"), *ONE)
    packages.open(package, "--strip-top", "-C", tmp_path / "out", status=65)
    assert not (tmp_path / "out").exists()


def test_set_id_bits_are_not_restored_unasked(packages, tmp_path):
    package = packages.of_members(member("s", b"x", mode=0o6755))
    packages.open(package, "-C", tmp_path / "out")
    assert (tmp_path / "out" / "s").stat().st_mode & 0o7777 == 0o755


@pytest.mark.parametrize("payload", [
    b"not gzip", b"", gz.compress(b""), gz.compress(b"x" * 600), gz.compress(bytes(1024))[:-1],
    gz.compress(bytes(1024)) + b"more", gz.compress(bytes(1024) + b"x"), gz.compress(bytes(1024 + (2 << 20)))])
def test_what_is_no_tar_gz_is_refused(packages, payload):
    # Without a gzip header, the password may be wrong.
    packages.open(packages.seal(payload or b"\0"), "--verify", status=65 if payload[:2] == b"\x1f\x8b" else 77)


def test_a_size_that_no_package_can_hold_is_refused(packages):
    info, _ = member("huge", b"")
    info.size = 1 << 40
    packages.open(packages.seal(gz.compress(info.tobuf() + bytes(1024))), "-C", "out", status=65)


def test_an_empty_tar_is_an_empty_package(packages):
    assert packages.open(packages.seal(gz.compress(bytes(1024))), "--list").out == b""


# Settings


GOOD = f'salt = "{base64.b64encode(SALT).decode()}"\nhash_iterations = {ITERATIONS}\n'


@pytest.mark.parametrize("text", [
    GOOD,
    GOOD.replace("\n", "\r\n"),
    GOOD.replace('"', "'") + "# a comment",
    "user_password = ''\n" + GOOD + "[packer]\npackage_dir = 'x'\n[watcher]\nlist = [1, [2, 3],\n # and\n 4]\n",
    GOOD.replace("salt", '"salt"').replace(str(ITERATIONS), "+5_0"),
    'script = """\nDROP \\\n   TABLE; ""quoted"" """\n' + GOOD,
])
def test_settings_that_mbu_reads_are_read(packages, small, text):
    packages.config.write_text(text)
    packages.open(packages.of(small), "--verify")


@pytest.mark.parametrize("text", [
    b"", b"salt = ''\nhash_iterations = 50", GOOD.replace("50", "0").encode(), GOOD.replace("50", "-1").encode(),
    GOOD.replace("50", "10000001").encode(), GOOD.replace("50", "9" * 30).encode(), GOOD.replace("50", "50.0").encode(),
    GOOD.replace("50", '"50"').encode(), GOOD.replace("salt = ", "salt = 1 # ").encode(), (GOOD + GOOD).encode(),
    GOOD.replace("=\"", "\"").encode(), b"\xff" + GOOD.encode(), GOOD.encode() + b"x = " + b"[" * 5000, GOOD.encode() + b"\0",
    GOOD.encode() + b"#" * 70_000, b"[t]\n" + GOOD.encode(), GOOD.encode() + b"x = {a = 1}", GOOD.encode() + b"[[t]]",
    b"{\"salt\": 1}"])
def test_hostile_settings_are_78(packages, small, text):
    packages.config.write_bytes(text)
    result = packages.open(packages.of(small), "--verify", status=78)
    assert b"config.toml" in result.err and base64.b64encode(SALT) not in result.err


def test_settings_that_are_missing_are_66(packages, small):
    packages.config.unlink()
    packages.open(packages.of(small), "--verify", status=66)


def test_settings_of_another_mbu_do_not_open_a_package(packages, small):
    package = packages.of(small)
    packages.config.write_bytes(mbu.settings(bytes(16), ITERATIONS))
    packages.open(package, "--verify", status=77)
    packages.config.write_bytes(mbu.settings(SALT, ITERATIONS + 1))
    packages.open(package, "--verify", status=77)

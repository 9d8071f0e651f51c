"""Our output is read by stock tools, and their output by us."""

import gzip
import os
import subprocess

import pytest
from conftest import COST, PASSWORD, absent, crypto, gz, mf, put, reference_archive, require, snapshot, tars, without
from tbkref import extract


def stock(*command, input=None, **options):
    require(command[0])
    done = subprocess.run(command, input=input, capture_output=True, **options)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


def names_in(tree):
    return {path for path in snapshot(tree) if path}


def test_tar_lists_what_tbk_open_emits(tbk, small):
    tar = tbk.open(tbk.seal(small)).out
    listed = stock("tar", "-t", "--null", "-f", "-", "--quoting-style=literal", input=tar)
    assert sorted(line.rstrip(b"/") for line in listed.splitlines()) == sorted(names_in(small) | {b"manifest.json"})


def test_tar_extracts_what_tbk_open_emits(tbk, tree, tmp_path):
    tar = tbk.open(tbk.seal(tree)).out
    (tmp_path / "out").mkdir()
    # "a-b" comes between "a" and "a/b": without the delay tar sets the metadata of "a" too early.
    stock("tar", "-x", "-p", "--delay-directory-restore", "--xattrs", "--xattrs-include=user.*", "--numeric-owner", "-f", "-", "-C", tmp_path / "out",
          input=tar)
    want, have = snapshot(tree), snapshot(tmp_path / "out")
    # The tree's own manifest.json is renamed, as the backup's manifest has that name.
    assert have.pop(b"manifest.json~~") == want.pop(b"manifest.json")
    del have[b"manifest.json"], have[b""], want[b""]
    assert have == want


def test_python_reads_every_member(tbk, tree):
    import io
    import tarfile
    with tarfile.open(fileobj=io.BytesIO(tbk.open(tbk.seal(tree)).out), encoding="utf-8", errors="surrogateescape") as tar:
        names = [os.fsencode(member.name) for member in tar]
    assert len(names) == len(set(names)) == len(names_in(tree)) + 1
    assert names[-1] == b"manifest.json"


def test_gunzip_reads_the_payload(tbk, tree):
    archive = tbk.seal(tree)
    _, payload = crypto.open_archive(archive, PASSWORD)
    tar = stock("gunzip", "-c", input=payload)
    assert tar == tbk.open(archive).out
    assert gzip.decompress(payload) == tar


@pytest.mark.parametrize("level", range(10))
def test_gunzip_reads_every_level(level, tbk, tree):
    _, payload = crypto.open_archive(tbk.seal(tree, "--level", str(level)), PASSWORD)
    tars.read(stock("gunzip", "-c", input=payload))


@pytest.mark.parametrize("threads", [1, 2, 3, 16])
def test_every_number_of_threads_gives_a_whole_gzip(threads, tbk, tmp_path):
    put(tmp_path / "tree" / "big", bytes(range(251)) * 20_000)
    put(tmp_path / "tree" / "noise", os.urandom(1_500_000))
    archive = tbk.seal(tmp_path / "tree", "--threads", str(threads))
    _, payload = crypto.open_archive(archive, PASSWORD)
    assert {m.name for m in tars.read(stock("gunzip", "-c", input=payload))} == {b"big", b"noise", b"manifest.json"}
    extract.Backup(payload)


# Packed by GNU tar, sealed by the reference implementation


def packed(tree, names, *options):
    """The tar that GNU tar makes of `names`, in this order, with the manifest at the end."""
    require("tar")
    if b"GNU tar" not in stock("tar", "--version"):
        absent("GNU tar")
    listing = b"\0".join([*names, b"manifest.json"]) + b"\0"
    return stock("tar", "-c", "-f", "-", "--null", "--no-recursion", "--verbatim-files-from", "-T", "-", *options, input=listing,
                 cwd=tree)


@pytest.fixture
def plain_tree(tmp_path):
    """Entries that every format of tar can store, and below `long` names that are too long for the old formats."""
    top = tmp_path / "plain tree"
    put(top / "a", b"a\n", mtime_ns=1_500_000_000_000_000_000)
    put(top / "d" / "inside", b"inside\n" * 5000, mode=0o600)
    put(top / "e", b"")
    os.link(top / "a", top / "d" / "second")
    os.symlink("../a", top / "d" / "link")
    os.mkdir(top / "empty")
    return top


def add_long(top):
    put(top / ("l" * 120) / ("m" * 120) / ("n" * 120), b"long\n")
    put(top / "o" / ("x" * 100), b"of 102 bytes\n")
    put(top / ("y" * 100), b"of 100 bytes\n")
    put(top / ("z" * 99), b"of 99 bytes\n")
    os.symlink("t" * 200, top / "long target")
    os.symlink("t" * 100, top / "target of 100 bytes")
    os.link(top / ("l" * 120) / ("m" * 120) / ("n" * 120), top / "zz linked")


ODD_FORMATS = {
    "v7": ([], ["--format=v7"], False),
    "oldgnu": ([], ["--format=oldgnu"], True),
    "gnu": ([], ["--format=gnu"], True),
    "ustar": ([], ["--format=ustar"], False),
    "pax": ([], ["--format=pax"], True),
    "pax_with_global_options": ([], ["--format=pax", "--pax-option=globexthdr.name=global,comment=made by tar"], True),
    "pax_binary_mtime": ([], ["--format=pax", "--pax-option=exthdr.name=%d/pax.%f"], True),
    "gnu_numeric_owner": ([], ["--format=gnu", "--numeric-owner"], True),
    "gnu_base_256_ids": ([], ["--format=gnu", "--owner=+3000000000", "--group=+3000000000"], True),
    "gnu_base_256_mtime": ([], ["--format=gnu", "--mtime=@-100"], True),
    "blocking_factor_1": ([], ["-b", "1"], True),
    "blocking_factor_2000": ([], ["-b", "2000"], True),
}


@pytest.mark.parametrize("name", sorted(ODD_FORMATS))
def test_reads_what_gnu_tar_wrote(name, tbk, plain_tree, tmp_path):
    _, options, long = ODD_FORMATS[name]
    if long:
        add_long(plain_tree)
    manifest = mf.with_id(mf.build(plain_tree))
    names = [mf.raw(entry["relative_path"]) for entry in manifest["files"]]
    want = snapshot(plain_tree)
    (plain_tree / "manifest.json").write_bytes(mf.encode(manifest))
    tar = packed(plain_tree, names, *options)
    archive = crypto.seal_tbk2(gz.compress(tar), PASSWORD, **COST)
    tbk.extract(archive, tmp_path / "out")
    assert without(snapshot(tmp_path / "out"), "xattrs") == without(want, "xattrs")
    assert tbk.open(archive).status == 0
    tbk.open(archive, "--verify")


def test_reads_gnu_tar_verbatim_pipe(tbk, small, tmp_path):
    """The output is byte for byte the tar that was sealed."""
    archive, _ = reference_archive(small, form="gnu")
    tar = gz.decompress(crypto.open_archive(archive, PASSWORD)[1])
    out = tbk.open(archive).out
    assert out.rstrip(b"\0") == tar.rstrip(b"\0") and len(out) % 512 == 0
    assert stock("tar", "-t", "-f", "-", input=out)


def test_openssl_and_python_alone_can_open(tbk, small):
    """The documented format is enough: this uses neither the suite nor the reference implementation."""
    import argon2.low_level as argon2
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    archive = tbk.seal(small)
    assert archive[:4] == b"TBK2" and archive[4:6] == b"\x02\x01"
    memory, time, lanes = int.from_bytes(archive[6:10], "big"), int.from_bytes(archive[10:12], "big"), archive[12]
    assert (memory, time, lanes, archive[13]) == (64, 1, 1, 32)
    salt, nonce = archive[14:46], archive[47:59]
    assert archive[46] == 12 and archive[59] == 1
    assert int.from_bytes(archive[60:68], "big") == len(archive) - 68
    key = argon2.hash_secret_raw(PASSWORD, salt, time, memory, lanes, 32, argon2.Type.ID)
    assert gzip.decompress(AESGCM(key).decrypt(nonce, archive[68:], None)) == tbk.open(archive).out

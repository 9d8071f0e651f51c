"""Restoring into directories that others may write to, and metadata that the destination must not add."""

import os
import stat

import pytest
from conftest import put
from restore_fixture import NOBODY, attributes, give_access, need_root, thief_library


@pytest.mark.parametrize("how", ["open", "private", "ours", "link", "nothing"])
def test_a_staging_directory_that_is_exchanged_is_not_used(how, tbk, small, tmp_path):
    need_root()
    archive = tbk.seal(small)
    out = tmp_path / "out"
    out.mkdir()
    os.chown(out, NOBODY, NOBODY)
    thief = {"LD_PRELOAD": thief_library(tmp_path), "THIEF": how}
    result = tbk.open(archive, "-C", str(out), env=thief, status=73)
    assert b"was replaced by somebody else" in result.err
    # The thief's files stay, but the staging directory is empty.
    assert set(os.listdir(out)) <= {"taken", *[name for name in os.listdir(out) if name.startswith(".tbk-restore-")]}
    assert os.listdir(out / "taken") == []
    for name in os.listdir(out):
        if not os.path.islink(out / name):
            assert os.listdir(out / name) == []


def test_no_access_comes_from_where_it_is_restored(tbk, tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    put(source / "d" / "f", b"1", mode=0o640)
    os.symlink("f", source / "d" / "l")
    os.chmod(source / "d", 0o750)
    out.mkdir()
    give_access(out, NOBODY, default=True)
    tbk.open(tbk.seal(str(source)), "-C", str(out))
    for name in ("d", "d/f", "d/l"):
        assert attributes(out / name) == set()
    assert os.stat(out / "d/f").st_mode & 0o7777 == 0o640


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.mark.parametrize("policy", ["if-changed", "always"])
def test_access_and_attributes_that_came_since_are_gone(policy, tbk, tmp_path):
    top = tmp_path / "top"
    put(top / "d" / "f", b"1", mode=0o640)
    archive = tbk.seal(str(top))
    for name in (".", "d", "d/f"):
        give_access(top / name, NOBODY)
        os.setxattr(top / name, "user.later", b"1")
    tbk.open(archive, "-C", str(top), "--overwrite", policy)
    for name in (".", "d", "d/f"):
        assert attributes(top / name) == set()
    assert mode(top / "d/f") == 0o640


def test_what_is_there_keeps_its_metadata_unless_it_is_replaced(tbk, tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    put(source / "d" / "new", b"1")
    os.chmod(source / "d", 0o777)
    os.chmod(source, 0o755)
    put(out / "d" / "mine", b"1")
    for path in (out, out / "d"):
        os.chmod(path, 0o700)
        os.setxattr(path, "user.mine", b"1")
    archive = tbk.seal(str(source))
    told = tbk.open(archive, "-C", str(out)).err
    assert b"keeps its mode" in told and b"''" not in told
    for path in (out, out / "d"):
        assert mode(path) == 0o700 and attributes(path) == {"user.mine"}
    tbk.open(archive, "-C", str(out), "--overwrite", "always")
    assert (mode(out), mode(out / "d")) == (0o755, 0o777)
    assert attributes(out) == attributes(out / "d") == set()


CAPABILITY = bytes.fromhex("0100000280000000000000000000000000000000")


@pytest.mark.parametrize("way", ["new", "if-changed", "always"])
def test_a_capability_is_restored_only_where_that_is_asked(way, tbk, tmp_path):
    need_root()
    source = tmp_path / "source"
    put(source / "program", b"1", mode=0o755)
    os.setxattr(source / "program", "security.capability", CAPABILITY)
    archive = tbk.seal(str(source))
    for options, wanted in (([], set()), (["--setuid"], {"security.capability"})):
        out = tmp_path / f"out{len(options)}"
        if way != "new":
            put(out / "program", b"1", mode=0o755, mtime_ns=os.stat(source / "program").st_mtime_ns)
            options = [*options, "--overwrite", way]
        told = tbk.open(archive, "-C", str(out), *options).err
        assert attributes(out / "program") == wanted
        assert (b"--setuid" in told) == (not wanted)


def test_a_directory_of_ones_own_that_is_read_only_is_no_hindrance(unprivileged):
    tbk, folder = unprivileged
    source = folder / "source"
    put(source / "closed" / "f", b"1")
    put(source / "closed" / "deep" / "g", b"2")
    os.chmod(source / "closed" / "deep", 0o555)
    os.chmod(source / "closed", 0o555)
    for path in (source, source / "closed", source / "closed/deep", source / "closed/f", source / "closed/deep/g"):
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)
    archive = tbk.seal(str(source), **tbk.user)
    os.chmod(source / "closed", 0o755)
    os.chmod(source / "closed/deep", 0o755)
    put(source / "closed" / "f", b"changed")
    os.unlink(source / "closed/deep/g")
    os.chmod(source / "closed/deep", 0o500)
    os.chmod(source / "closed", 0o111)
    tbk.open(archive, "-C", str(source), "--overwrite", "if-changed", **tbk.user)
    assert mode(source / "closed") == mode(source / "closed/deep") == 0o555
    assert (source / "closed/f").read_bytes() == b"1" and (source / "closed/deep/g").read_bytes() == b"2"


def test_what_the_destination_refuses_is_refused_before_anything_is_changed(unprivileged):
    need_root()
    tbk, folder = unprivileged
    source, out = folder / "source", folder / "out"
    for name in ("a/f", "z/f"):
        put(source / name, b"1")
        put(out / name, b"changed")
    archive = tbk.seal(str(source))
    for path in (out, out / "a", out / "a/f"):
        os.chown(path, NOBODY, NOBODY)
    result = tbk.open(archive, "-C", str(out), "--overwrite", "if-changed", status=73, **tbk.user)
    assert b"'z'" in result.err and b"nothing was changed" in result.err
    assert (out / "a/f").read_bytes() == b"changed"


def test_check_compares_the_directory_itself(tbk, small, tmp_path):
    os.chmod(small, 0o700)
    manifest = tmp_path / "manifest"
    manifest.write_bytes(tbk.manifest(small))
    tbk.run("tbk-manifest", "check", str(manifest), small)
    os.chmod(small, 0o777)
    assert tbk.run("tbk-manifest", "check", str(manifest), small, status=1).out == b"mode\t.\n"

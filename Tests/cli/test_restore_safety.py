"""Restoring where somebody else may write, and what the destination must not add."""

import os

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
    assert b"exchanged" in result.err
    # What the thief put there is left to the thief, but for an empty directory.
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

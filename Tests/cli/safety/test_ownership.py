"""Root works in another user's home and store: no file there ends up owned by root."""

import os
import stat

import pytest
from conftest import NOBODY, PASSWORD, put, require


@pytest.fixture
def user(unprivileged):
    """(run as the user, run as root, the user's directory), with a profile `p` whose store is a directory beside its home."""
    commands, folder = unprivileged
    if not commands.user:
        pytest.skip("needs root")
    for name in ("src", "store"):
        (folder / name).mkdir()
        os.chown(folder / name, NOBODY, NOBODY)
    put(folder / "src" / "file", b"1")
    quick = {"TERMBACKUP_PASSWORD": PASSWORD.decode()}

    def run(*words, **options):
        return commands.run("termbackup", *words, "--no-input", env=quick, **options)

    def as_user(*words, **options):
        return run(*words, **commands.user, **options)
    commands.run("termbackup", "init", "--no-input", **commands.user)
    commands.run("termbackup", "profile", "create", "p", "--source", folder / "src", "--repo", folder / "store",
                 "--mode", "incremental", **commands.user)
    return as_user, run, folder


def others(folder):
    """Files below the user's home and store that the user does not own."""
    return [path for top in ("home", "store") for path in sorted((folder / top).rglob("*"))
            if (path.lstat().st_uid, path.lstat().st_gid) != (NOBODY, NOBODY)]


@pytest.mark.parametrize("first", ["root", "user"])
def test_what_root_stores_for_a_user_stays_the_users(user, first):
    as_user, as_root, folder = user
    for number, run in enumerate((as_root, as_user) if first == "root" else (as_user, as_root, as_user)):
        put(folder / "src" / "file", str(number).encode())
        run("run", "-q", "p")
        assert others(folder) == []
    as_root("verify", "latest", "-p", "p", "-q")
    as_root("prune", "p", "--keep-last", "1", "-q")
    assert others(folder) == []
    as_user("restore", "latest", "-p", "p", "-q", "--to", folder / "home" / "restored")


def test_files_that_root_replaces_keep_their_owner(unprivileged, tmp_path):
    commands, folder = unprivileged
    if not commands.user:
        pytest.skip("needs root")
    put(folder / "src" / "file", b"1")
    put(folder / "out.tbk", b"older")
    os.chown(folder / "out.tbk", NOBODY, NOBODY)
    for name in ("out.tbk", "new.tbk"):
        commands.run("tbk-seal", folder / "src", "-o", folder / name)
    assert (folder / "out.tbk").stat().st_uid == NOBODY
    # Outside a store, a new file belongs to the user who creates it.
    assert (folder / "new.tbk").stat().st_uid == 0


def test_locks_are_closed_whatever_the_umask(tbk, tmp_path):
    require("sh")
    put(tmp_path / "src" / "file", b"1")
    tbk.run("termbackup", "init", "--no-input")
    tbk.run("termbackup", "profile", "create", "p", "--source", tmp_path / "src")
    before = os.umask(0)
    try:
        tbk.run("termbackup", "run", "p", "--no-input", env={"TERMBACKUP_PASSWORD": PASSWORD.decode()})
    finally:
        os.umask(before)
    locks = [path for path in (tbk.home / ".termbackup").rglob("*lock*")]
    assert locks and {stat.S_IMODE(path.stat().st_mode) for path in locks} == {0o600}

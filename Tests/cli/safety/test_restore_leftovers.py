"""Leftovers of a killed restore in the destination: never a part of a backup, and removed by the next restore."""

import os
import signal
import subprocess
import time

import pytest
from conftest import PATIENCE, put
from restore_fixture import need_root
from shell_fixture import shell  # noqa: F401

NAME = ".tbk-restore-"
# Large enough to catch a restore while it runs.
LARGE = os.urandom(32 << 20)


def staged(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith(NAME))


@pytest.fixture
def killed(tbk, tmp_path):
    """A directory with a user's file, in which a restore was killed while it ran."""
    put(tmp_path / "src" / "sub" / "one", b"one")
    put(tmp_path / "src" / "large", LARGE)
    archive = tbk.seal(tmp_path / "src")
    put(tmp_path / "here" / "mine", b"mine")
    process, feed = restoring(tbk, archive, tmp_path / "here")
    assert len(staged(tmp_path / "here")) == 1
    process.kill()
    process.wait(PATIENCE)
    feed()
    assert len(staged(tmp_path / "here")) == 1
    return tmp_path / "here", archive


def restoring(tbk, archive, folder):
    """A restore that has made its staging directory and is blocked, and a function that lets it continue."""
    process = tbk.start("tbk-open", "-C", folder, stdin=subprocess.PIPE, over=None)
    process.stdin.write(archive)
    process.stdin.close()
    deadline = time.monotonic() + PATIENCE
    # The directory is locked before anything is in it.
    while not any(os.listdir(folder / name) for name in staged(folder)):
        assert time.monotonic() < deadline and process.poll() is None, process.stderr.read()
    process.send_signal(signal.SIGSTOP)
    return process, lambda: (process.stdout.close(), process.stderr.close())


def test_a_backup_leaves_it_out_and_names_it(killed, tbk):
    folder, _ = killed
    result = tbk.run("tbk-manifest", folder)
    assert NAME.encode() not in result.out and b'"mine"' in result.out
    assert NAME.encode() in result.err


def test_what_is_only_called_so_is_backed_up(tbk, tmp_path):
    for name, mode in ((NAME + "0123456789abcdef", 0o755), (NAME + "0123456789ABCDEF", 0o700), (NAME + "x", 0o700)):
        put(tmp_path / name / "file", b"x")
        (tmp_path / name).chmod(mode)
    out = tbk.run("tbk-manifest", tmp_path).out.decode()
    assert out.count("/file") == 3


def test_the_next_restore_removes_it(killed, tbk):
    folder, archive = killed
    tbk.run("tbk-open", "-C", folder, input=archive)
    assert staged(folder) == [] and (folder / "sub" / "one").read_bytes() == b"one" and (folder / "mine").exists()


def test_one_at_work_is_left_alone(tbk, tmp_path):
    put(tmp_path / "src" / "one", LARGE)
    archive = tbk.seal(tmp_path / "src")
    put(tmp_path / "here" / "mine", b"mine")
    process, done = restoring(tbk, archive, tmp_path / "here")
    before = staged(tmp_path / "here")
    assert tbk.run("tbk-sh", "leftovers", tmp_path / "here").out == b""
    assert staged(tmp_path / "here") == before
    process.send_signal(signal.SIGCONT)
    assert process.wait(PATIENCE) == 0
    done()
    assert staged(tmp_path / "here") == [] and (tmp_path / "here" / "one").exists()


def test_clean_removes_it_where_profiles_are(shell, killed):  # noqa: F811
    folder, _ = killed
    shell.profile("docs", folder)
    assert NAME.encode() in shell.run("clean", "--dry-run").stdout and staged(folder)
    assert NAME.encode() in shell.run("clean").stdout
    assert staged(folder) == [] and (folder / "mine").read_bytes() == b"mine"


def test_root_takes_nothing_of_others_for_its_own(tbk, tmp_path):
    need_root()
    user = tmp_path / (NAME + "0123456789abcdef")
    put(user / "theirs" / "file", b"not a leftover")
    user.chmod(0o700)
    os.chown(user, 65534, 65534)
    temporary = tmp_path / f".tbk-{'a' * 16}.tmp"
    put(temporary, b"theirs")
    temporary.chmod(0o600)
    os.utime(temporary, (1, 1))
    os.chown(temporary, 65534, 65534)
    assert tbk.run("tbk-sh", "leftovers", tmp_path).out == b""
    assert (user / "theirs" / "file").exists() and temporary.exists()


def test_temporary_files_of_a_killed_command_are_left_out_and_go_after_a_day(tbk, tmp_path):
    young, old = (tmp_path / f".tbk-{digit * 16}.tmp" for digit in "ab")
    for path in (young, old):
        put(path, b"ciphertext")
        path.chmod(0o600)
    put(tmp_path / "mine", b"mine")
    os.utime(old, (1, 1))
    assert b".tbk-" not in tbk.run("tbk-manifest", tmp_path).out
    assert tbk.run("tbk-sh", "leftovers", tmp_path).out.decode() == f"10\t{old.name}\n"
    assert young.exists() and not old.exists() and (tmp_path / "mine").exists()

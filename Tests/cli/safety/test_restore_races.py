"""Root restores into a directory whose owner keeps renaming and replacing files in it.

Whatever the status of the restore: nothing outside of the destination changes, only the backup's own files get
privileges, and no one else can read files that are private in the backup.
"""

import os
import pathlib
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time

import pytest
from conftest import Commands, put, snapshot
from restore_fixture import NOBODY, need_root
from test_restore_safety import CAPABILITY

pytestmark = pytest.mark.soak

# At most this many restores of each kind, and no new one after this many seconds.
ROUNDS, SECONDS = 60, 20
EVIL, PROGRAM, KEY = b"not from the backup\n", b"#!/bin/sh\nexit 0\n", b"for root's eyes\n"

# What the owner does until standard input ends. At the end it prints how often it succeeded, and how much it read.
HOSTILE = r"""
import ctypes, glob, os, select, sys

# Now: the interpreter may be where only root can start it.
nobody = int(sys.argv.pop(1))
os.setgroups([])
os.setgid(nobody)
os.setuid(nobody)
how, out, outside, evil = sys.argv[1], *map(os.fsencode, sys.argv[2:5])
libc = ctypes.CDLL(None, use_errno=True)
done, read = 0, 0

def exchange(one, other):
    global done
    if libc.renameat2(-100, one, -100, other, 2) == 0:
        done += 1

def attempt(do, *arguments):
    try:
        do(*arguments)
        return True
    except OSError:
        return False

def staging():
    # The restore's own directory goes, and one of ours, or a way out, is there in its place.
    global done
    for number, name in enumerate(glob.glob(out + b"/.tbk-restore-*")):
        away = b"%s/taken-%d-%d" % (out, done, number)
        if os.path.islink(name) or not attempt(os.rename, name, away):
            continue
        done += 1
        if done % 3 == 0:
            attempt(os.symlink, outside, name)
            continue
        attempt(os.mkdir, name, 0o700 if done % 3 == 1 else 0o777)
        for inner in (b"program", b"able", b"d/inner"):
            attempt(os.makedirs, os.path.dirname(name + b"/" + inner))
            attempt(os.link, evil, name + b"/" + inner)

def directories():
    for way in (b"/way", b"/own"):
        exchange(out + b"/d", out + way)
        exchange(out + b"/d", out + way)
    exchange(out + b"/d/deep", out + b"/way")
    exchange(out + b"/d/deep", out + b"/way")

def files():
    for name in (b"/program", b"/able", b"/d/inner"):
        for other in (b"/evil", b"/link"):
            exchange(out + name, out + other)
            exchange(out + name, out + other)

def peep():
    global read
    for place in (out + b"/closed", *glob.glob(out + b"/.tbk-restore-*/closed"), *glob.glob(out + b"/taken-*/closed")):
        try:
            with open(place + b"/key", "rb") as file:
                read += 1
        except OSError:
            pass

sys.stdout.write("ready\n")
sys.stdout.flush()
while not select.select([0], [], [], 0)[0]:
    globals()[how]()
    peep()
print(done, read)
"""


@pytest.fixture
def place():
    need_root()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="termbackup-test-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def tree(top):
    """A user's tree, with programs of root's in it."""
    put(top / "program", PROGRAM, mode=0o4755)
    put(top / "able", PROGRAM, mode=0o755)
    os.setxattr(top / "able", "security.capability", CAPABILITY)
    put(top / "closed" / "key", KEY, mode=0o600)
    os.chmod(top / "closed", 0o700)
    put(top / "d" / "inner", PROGRAM, mode=0o6755)
    for number in range(20):
        put(top / "d" / "deep" / f"f{number}", b"%d" % number)
    os.chmod(top / "d" / "deep", 0o777)
    for path in (top, top / "d", top / "d" / "deep"):
        os.chown(path, NOBODY, NOBODY)
    return top


def prepare(place, source):
    """Fills the destination with an older state of the tree, in directories of its owner's."""
    out = place / "out"
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(source, out, symlinks=True)
    for path in (out, out / "d", out / "d" / "deep"):
        os.chown(path, NOBODY, NOBODY)
    # The restore replaces these.
    for name in ("program", "able", "d/inner"):
        put(out / name, b"older\n", mode=0o644)
        os.chown(out / name, NOBODY, NOBODY)
        for attribute in os.listxattr(out / name):
            os.removexattr(out / name, attribute)
    os.symlink(place / "outside", out / "way")
    os.symlink(place / "outside" / "program", out / "link")
    put(out / "own" / "deep" / "f0", EVIL)
    put(out / "own" / "inner", EVIL)
    put(out / "evil", EVIL)
    for path in (out / "own", out / "own/deep", out / "own/deep/f0", out / "own/inner", out / "evil"):
        os.chown(path, NOBODY, NOBODY)


def privileged(top):
    """Every file below `top` that has a privilege, with its content."""
    for folder, _, files in os.walk(top):
        for name in files:
            path = os.path.join(folder, name)
            info = os.lstat(path)
            if not stat.S_ISREG(info.st_mode):
                continue
            if info.st_mode & 0o6000 or "security.capability" in os.listxattr(path, follow_symlinks=False):
                yield path, pathlib.Path(path).read_bytes(), info.st_uid


@pytest.mark.parametrize("how", ["staging", "directories", "files"])
def test_the_owner_of_the_destination_gains_nothing(place, how):
    commands = Commands(place)
    archive = commands.seal(tree(place / "source"))
    for name in ("program", "able", "inner", "deep/f0", "closed/key"):
        put(place / "outside" / name, b"root's own\n", mode=0o600)
    os.chmod(place / "outside", 0o755)
    before = snapshot(place / "outside")
    prepare(place, place / "source")
    # On the same file system, so that it can be linked.
    put(place / "theirs" / "evil", EVIL)
    for path in (place / "theirs", place / "theirs" / "evil"):
        os.chown(path, NOBODY, NOBODY)
    words = [sys.executable, "-c", HOSTILE, str(NOBODY), how, place / "out", place / "outside", place / "theirs" / "evil"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/") as hostile:
        try:
            assert hostile.stdout.readline() == "ready\n"
            end = time.monotonic() + SECONDS
            ended = set()
            for number in range(ROUNDS):
                policy = ("always", "if-changed", "never")[number % 3]
                ended.add(commands.open(
                    archive, "-C", place / "out", "--overwrite", policy, "--setuid", status=None).status)
                hostile.send_signal(signal.SIGSTOP)
                os.waitpid(hostile.pid, os.WUNTRACED)
                assert snapshot(place / "outside") == before, policy
                for path, content, owner in privileged(place):
                    if not path.startswith(str(place / "source")):
                        assert (content, owner) == (PROGRAM, 0), (policy, path)
                prepare(place, place / "source")
                hostile.send_signal(signal.SIGCONT)
                if time.monotonic() > end:
                    break
            done, read = map(int, hostile.communicate("")[0].split())
        finally:
            hostile.kill()
    # Otherwise no race was tried.
    assert done > 0 and (how == "staging" or ended & {0, 3}), ended
    assert read == 0

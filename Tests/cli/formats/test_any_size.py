"""Archives of suite 3 and age of any size: neither memory nor temporary disk grows with it."""

import os
import subprocess
import sys
import threading

import pytest
from conftest import FAST, put
from tbkref import age

IDENTITY = age.Identity(bytes(range(32)))
MIB = 1 << 20
# Enough for two threads and the frame table of 100 GiB, and for the runtime itself.
MOST = 96 * MIB
MEASURED = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(done.returncode)"""


def through(tbk, tmp_path, sealing, opening, top):
    """Seals and verifies in one pipe, storing nothing. Returns the peak memory of both, in bytes, and the archive's size."""
    environment = {**tbk.environment, "TMPDIR": str(tmp_path / "nowhere")}

    def start(*command, **options):
        return subprocess.Popen([sys.executable, "-c", MEASURED, tbk.path(command[0]), *command[1:]], env=environment,
                                stderr=subprocess.PIPE, **options)
    seal = start("tbk-seal", "--threads", "2", *sealing, top, stdout=subprocess.PIPE)
    opened = start("tbk-open", "--verify", *opening, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    size = 0

    def pass_on():
        nonlocal size
        with opened.stdin as sink:
            while block := seal.stdout.read1(MIB):
                sink.write(block)
                size += len(block)
    passing = threading.Thread(target=pass_on)
    passing.start()
    said = opened.stdout.read()
    passing.join()
    peaks = [int(process.stderr.read().split()[-1]) * 1024 for process in (seal, opened)]
    assert seal.wait() == 0 and opened.wait() == 0 and said.startswith(b"ok ")
    return peaks, size


@pytest.fixture(params=["3", "age"])
def way(request, tbk, tmp_path):
    if request.param == "3":
        return [*FAST, "--suite", "3", "--password-file", tbk.password_file], ["--password-file", tbk.password_file]
    return ["-r", IDENTITY.recipient], ["-i", put(tmp_path / "key", IDENTITY.text.encode() + b"\n", 0o600)]


def sparse(path, size):
    put(path)
    os.truncate(path, size)


def test_300_mib_go_through_a_pipe(way, tbk, tmp_path):
    sparse(tmp_path / "top" / "holes", 200 * MIB)
    put(tmp_path / "top" / "noise", os.urandom(100 * MIB))
    peaks, size = through(tbk, tmp_path, *way, tmp_path / "top")
    assert max(peaks) < MOST and size > 100 * MIB


@pytest.mark.soak
def test_100_gib_go_through_a_pipe(way, tbk, tmp_path):
    """More than an archive of suite 1 can hold."""
    sparse(tmp_path / "top" / "holes", 100 << 30)
    peaks, _ = through(tbk, tmp_path, *way, tmp_path / "top")
    assert max(peaks) < MOST

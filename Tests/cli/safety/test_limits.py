"""Resources that run out: space, processor time, memory, threads, processes, descriptors. The error names the resource,
nothing is left behind, and the lack is never reported as a fault of the data."""

import os
import resource
import signal
import subprocess

import pytest
from conftest import FAST, PATIENCE, put

LIMIT = 64 * 1024


def limited(what, soft, hard=None):
    def prepare():
        resource.setrlimit(what, (soft, soft if hard is None else hard))
    return prepare


# Files that belong to a directory store.
KEPT = {".tbk-lock", ".tbk-reserve", ".tbk-reserve-names"}
FILES = limited(resource.RLIMIT_FSIZE, LIMIT)


@pytest.fixture
def large(tmp_path):
    """A directory whose archive is larger than LIMIT."""
    put(tmp_path / "large" / "noise", os.urandom(3 * LIMIT))
    return tmp_path / "large"


def left_in(directory):
    return sorted(path.name for path in directory.rglob(".tbk-*") if path.name not in KEPT)


@pytest.mark.parametrize("way", ["seal", "seal in place", "seal to a pipe", "manifest", "extract", "push", "pull", "sign"])
def test_a_file_larger_than_the_limit_is_an_error_and_not_a_signal(way, tbk, large, tmp_path):
    archive, store, out = put(tmp_path / "a.tbk", tbk.seal(large)), tmp_path / "store", tmp_path / "out"
    store.mkdir()
    result = None
    if way == "seal":
        result = tbk.run("tbk-seal", *FAST, "-o", out, large, preexec_fn=FILES, status=74)
    elif way == "seal in place":
        with open(out, "wb") as file:
            result = tbk.run("tbk-seal", *FAST, large, stdout=file, preexec_fn=FILES, status=74)
        assert out.read_bytes() == b""
        out.unlink()
    elif way == "seal to a pipe":
        result = tbk.run("tbk-seal", *FAST, large, preexec_fn=FILES, status=74)
        assert result.out == b""
    elif way == "manifest":
        for number in range(1000):
            put(large / f"{number:03}")
        with open(out, "wb") as file:
            result = tbk.run("tbk-manifest", large, stdout=file, preexec_fn=FILES, status=74)
        out.unlink()
    elif way == "extract":
        result = tbk.run("tbk-open", "-C", out, archive, preexec_fn=FILES, status=74)
        assert not out.exists() or list(out.iterdir()) == []
        return
    elif way == "push":
        result = tbk.run("tbk-push", store, input=open(archive, "rb").read(), preexec_fn=FILES, status=74)
        assert tbk.run("tbk-pull", "--list", store).lines == []
    elif way == "pull":
        tbk.run("tbk-push", store, input=open(archive, "rb").read())
        result = tbk.run("tbk-pull", store, "latest", "-o", out, preexec_fn=FILES, status=74)
    elif way == "sign":
        tbk.run("tbk-sign", "keygen", "--private", tmp_path / "k", "--public", tmp_path / "p", "--password-file", tbk.password_file)
        result = tbk.run("tbk-sign", "sign", "--key", tmp_path / "k", "--password-file", tbk.password_file,
                         stdin=open(archive, "rb"), preexec_fn=FILES, status=74)
    assert b"File too large" in result.err
    assert not out.exists() and left_in(tmp_path) == [] and tbk.leftovers() == []


def test_a_run_meets_the_limit_on_files_and_the_next_one_succeeds(tbk, large, tmp_path):
    (tmp_path / "store").mkdir()
    tbk.run("termbackup", "init", "--repo", tmp_path / "store")
    tbk.run("termbackup", "profile", "create", "docs", "--source", large)
    secret = {"TERMBACKUP_PASSWORD_FILE": str(tbk.password_file)}
    process = tbk.start("termbackup", "run", "docs", env=secret, preexec_fn=FILES)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 74 and b"File too large" in err, err
    assert list((tbk.home / ".termbackup" / "tmp").iterdir()) == [] and left_in(tmp_path) == []
    tbk.run("termbackup", "run", "docs", env=secret)


@pytest.mark.parametrize("number, status", [(signal.SIGQUIT, 131), (signal.SIGUSR1, 138), (signal.SIGUSR2, 140), (signal.SIGXCPU, 75)])
def test_a_signal_that_would_end_the_process_leaves_nothing_behind(number, status, tbk, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    process = tbk.start("tbk-seal", "stream", *FAST, "-o", tmp_path / "a.tbk", "x", stdin=os.open(fifo, os.O_RDWR))
    while not left_in(tmp_path) and process.poll() is None:
        pass
    os.kill(process.pid, number)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == status
    assert (b"processor time" in err) == (number == signal.SIGXCPU)
    assert left_in(tmp_path) == [] and not (tmp_path / "a.tbk").exists()


def test_a_limit_on_processor_time_that_kills_is_met_a_second_earlier(tbk, tmp_path):
    """The hard limit sends SIGKILL, which leaves no time to clean up."""
    output = tmp_path / "a.tbk"
    result = tbk.run("tbk-seal", "stream", *FAST, "-o", output, "x", stdin=open("/dev/zero", "rb"),
                     preexec_fn=limited(resource.RLIMIT_CPU, 3), status=75)
    assert b"error: the limit of processor time is reached" in result.err
    assert left_in(tmp_path) == [] and not output.exists()


def test_a_helper_of_a_store_gets_an_error_for_a_file_that_is_too_large(tbk, large, tmp_path):
    """It does not get the signal, which it could not report."""
    helper = put(tmp_path / "bin" / "tbk-store-full", b"""#!/bin/sh
read -r line
head -c 200000 /dev/zero >"$0.file" 2>"$0.said"
printf 'error full %s\\n' "$(tr '\\n' ' ' <"$0.said")"
""", 0o755)
    path = {"PATH": f"{tmp_path / 'bin'}:{tbk.environment['PATH']}"}
    result = tbk.run("tbk-pull", "--list", "full:x", env=path, preexec_fn=FILES, status=None)
    assert result.status >= 64 and b"File too large" in result.err, result.err
    assert os.path.getsize(helper + b".file") == LIMIT


@pytest.fixture(scope="module")
def costly(tmp_path_factory):
    """An archive whose key takes 64 MiB and four threads to derive."""
    from conftest import Commands
    tbk, top = Commands(tmp_path_factory.mktemp("costly")), tmp_path_factory.mktemp("tree")
    put(top / "file", b"content" * 1000)
    return put(top / "a.tbk", tbk.run("tbk-seal", "--lanes", "4", top).out)


@pytest.mark.parametrize("megabytes", [*range(50, 180, 10), 200, 300])
def test_with_little_memory_an_archive_is_opened_or_the_lack_named(megabytes, tbk, costly):
    """With less memory the programs themselves do not start."""
    result = tbk.run("tbk-open", "--verify", costly, preexec_fn=limited(resource.RLIMIT_AS, megabytes << 20),
                     status=None)
    if b"shared libraries" not in result.err:
        assert result.status in (0, 75), result


def test_where_there_can_be_no_thread_archives_are_opened_and_sealed_in_one(unprivileged):
    """As another user, because the limit does not apply to root."""
    tbk, folder = unprivileged
    put(folder / "tree" / "file", os.urandom(1_000_000))
    # Set after the change of user, because no process can be started after it.
    alone = ["prlimit", "--nproc=1:1", "--"]
    archive = put(folder / "a.tbk", tbk.run("tbk-seal", "--lanes", "4", folder / "tree").out, 0o644)
    for command in (["tbk-open", "--verify", "--password-file", tbk.password_file, archive],
                    ["tbk-seal", "--lanes", "4", "--threads", "4", "--password-file", tbk.password_file, folder / "tree"]):
        words = [*alone, tbk.path(command[0]), *map(str, map(os.fsdecode, command[1:]))]
        if os.geteuid() == 0:
            words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *words]
        done = subprocess.run(words, env=tbk.environment, capture_output=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stderr


def test_too_few_open_files_end_a_walk_and_leave_nothing_out(tbk, tmp_path):
    put(tmp_path / "deep" / "/".join("d" * 40) / "file", b"x")
    result = tbk.run("tbk-manifest", tmp_path / "deep", preexec_fn=limited(resource.RLIMIT_NOFILE, 20), status=75)
    assert b"ulimit -n" in result.err

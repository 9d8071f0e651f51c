"""Archives of suite 3 and age on their way into a store and out of it: no temporary file, and what is cut is not stored."""

import hashlib
import json
import os
import random
import signal
import struct
import subprocess

import pytest
from conftest import FAST, PASSWORD, PATIENCE, put, some
from github_fixture import github, github_server  # noqa: F401, fixtures
from tbkref import age, frames

IDENTITY = age.Identity(bytes(range(32)))
SUITES = {"3": [*FAST, "--suite", "3"], "age": ["-r", IDENTITY.recipient]}
MIB = 1 << 20
HELD_BACK = 128 << 10
TRAILER = 16


def nowhere(tmp_path):
    return {"TMPDIR": str(tmp_path / "nowhere")}


def chunked(size, seed=1):
    """What a store looks at of an archive of suite 3, `size` bytes in all."""
    header = frames.header3().pack()
    length = size - len(header) - TRAILER
    numbers = random.Random(seed)
    body = b"".join(numbers.randbytes(min(MIB, length - at)) for at in range(0, length, MIB))
    return header + body + struct.pack(">Q", length) + b"TBK2 end"


@pytest.fixture
def large(tmp_path):
    """A tree of which the archive has many chunks."""
    top = tmp_path / "large"
    for at in range(3):
        put(top / f"{at}", random.Random(at).randbytes(700_000))
    return str(top)


@pytest.fixture
def store(tmp_path):
    (tmp_path / "store").mkdir()
    return tmp_path / "store"


@pytest.fixture
def key(tmp_path):
    return put(tmp_path / "key", IDENTITY.text.encode() + b"\n", 0o600)


@pytest.fixture
def sealed(tbk, large, tmp_path):
    """(the archive, its receipt's path) in a suite."""
    def run(suite):
        receipt = tmp_path / "receipt"
        archive = tbk.run("tbk-seal", *SUITES[suite], "--receipt", receipt, large,
                          password=PASSWORD if suite == "3" else None).out
        return archive, receipt
    return run


def holds_nothing(store):
    assert not (store / "metadata.json").exists()
    assert [name for _, _, names in os.walk(store) for name in names if name not in (".tbk-lock",)] == []


@pytest.mark.parametrize("suite", SUITES)
def test_no_temporary_file_is_made(suite, sealed, store, tbk, key, large, tmp_path):
    archive, receipt = sealed(suite)
    tbk.run("tbk-push", store, "--receipt", receipt, input=archive, env=nowhere(tmp_path))
    assert tbk.run("tbk-pull", store, "latest", env=nowhere(tmp_path)).out == archive
    chain = tbk.run("tbk-pull", store, "--chain", "latest", env=nowhere(tmp_path)).out
    tbk.open(chain, "--chain", "-i", key, "-C", tmp_path / "out", env=nowhere(tmp_path))
    tbk.run("tbk-store", "replace", store, json.loads(receipt.read_text())["id"], "--sha256", hashlib.sha256(archive).hexdigest(),
            input=archive, env=nowhere(tmp_path))
    again = tbk.run("tbk-seal", "reseal", *SUITES["3"], "--old-password-file", tbk.password_file, "-i", key, input=archive,
                    env=nowhere(tmp_path)).out
    tbk.open(again, "-C", tmp_path / "again", env=nowhere(tmp_path))
    for place in ("out", "again"):
        assert {name: (tmp_path / place / name).read_bytes() for name in "012"} == {
            name: open(os.path.join(large, name), "rb").read() for name in "012"}


@some(16)
@pytest.mark.parametrize("suite", SUITES)
def test_a_pipe_that_is_cut_publishes_nothing(suite, stride, sealed, store, tbk):
    """Cut at, before and behind every border of a chunk, and in header and trailer."""
    archive, receipt = sealed(suite)
    chunk = 16_400 if suite == "3" else 65_552
    first = 56 + 56 if suite == "3" else archive.index(b"\n---") + 5 + 43 + 1 + 16
    cuts = [*range(0, first + 1, 7), *(at + by for at in range(first, len(archive), chunk) for by in (-1, 0, 1, 17)),
            *range(len(archive) - TRAILER - 1, len(archive))]
    for cut in [cut for cut in cuts if cut < len(archive)][::stride] + cuts[-3:]:
        tbk.run("tbk-push", store, "--receipt", receipt, input=archive[:cut], status=65)
    holds_nothing(store)
    tbk.run("tbk-push", store, "--receipt", receipt, input=archive)


@some(3)
@pytest.mark.parametrize("how", ["killed", "fails"])
@pytest.mark.parametrize("suite", SUITES)
def test_a_producer_that_dies_publishes_nothing(suite, how, stride, store, tbk, tmp_path):
    """tbk-seal | tbk-push, of which the first is killed, or fails, after so many bytes of its input."""
    receipt, manifest = tmp_path / "receipt", tmp_path / "manifest"
    for size in (0, 1, 700, 16_384, 100_000, 1_000_000, 4_194_304, 4_194_305, 9_000_000)[::stride]:
        end = "kill -9 $PPID; sleep 60" if how == "killed" else "exit 1"
        source, sink = os.pipe()
        seal = tbk.start("tbk-seal", "stream", *SUITES[suite], "--receipt", receipt, "--manifest-out", manifest, "dump", "--", "sh",
                         "-c", f"head -c {size} /dev/urandom; {end}", stdout=sink, password=PASSWORD if suite == "3" else None)
        os.close(sink)
        try:
            push = tbk.run("tbk-push", store, "--receipt", receipt, "--sealed-manifest", manifest, stdin=source, status={65, 66})
        finally:
            os.close(source)
        status = seal.wait(timeout=PATIENCE)
        if how == "killed":
            os.killpg(seal.pid, signal.SIGKILL)
        seal.communicate()
        assert status == (-signal.SIGKILL if how == "killed" else 74) and push.out == b""
        assert not receipt.exists()
        holds_nothing(store)


@some(4)
@pytest.mark.parametrize("suite", SUITES)
def test_a_push_that_is_killed_lists_nothing(suite, stride, sealed, store, tbk):
    archive, receipt = sealed(suite)
    for size in (1, 100, 16_500, 300_000, 700_000, 1_000_000, 2_000_000, len(archive) - 1)[::stride]:
        process = tbk.start("tbk-push", store, "--receipt", receipt, stdin=subprocess.PIPE)
        process.stdin.write(archive[:size])
        process.stdin.flush()
        process.kill()
        process.communicate()
        assert not (store / "metadata.json").exists()
        assert all(name.startswith(".tbk-") for _, _, names in os.walk(store) for name in names)
    tbk.run("tbk-push", store, "--receipt", receipt, input=archive)
    assert tbk.run("tbk-pull", store, "latest").out == archive


@pytest.mark.parametrize("suite", SUITES)
def test_what_the_store_has_altered_arrives_cut(suite, sealed, store, tbk, key, tmp_path):
    archive, receipt = sealed(suite)
    tbk.run("tbk-push", store, "--receipt", receipt, input=archive)
    place, = (store / "backups").glob("backup_*")
    for altered in (archive[:-1], archive + b"x", archive[:9] + bytes([archive[9] ^ 1]) + archive[10:],
                    archive[:len(archive) // 2] + bytes([archive[len(archive) // 2] ^ 1]) + archive[len(archive) // 2 + 1:],
                    archive[:-20] + bytes([archive[-20] ^ 1]) + archive[-19:], archive[:HELD_BACK]):
        place.write_bytes(altered)
        for way in ([], ["--chain"]):
            done = tbk.run("tbk-pull", *way, store, "latest", status=65)
            assert len(done.out) <= len(archive) - HELD_BACK + 4096
            tbk.open(done.out, *way, "-i", key, "-C", tmp_path / "out", status={65, 66, 77})
        out = tmp_path / "copy"
        tbk.run("tbk-pull", store, "latest", "-o", out, status=65)
        assert not out.exists() and not (tmp_path / "out").exists()
        # Where gaps are sent, nothing of what is wrong is.
        done = tbk.run("tbk-pull", store, "--each", status={3, 65})
        assert archive[:64] not in done.out
    assert tbk.leftovers() == []


def test_another_archive_than_the_announced_one_is_refused_in_every_suite(tbk, store, large):
    archives = [tbk.run("tbk-seal", *words, large).out for words in (SUITES["3"], [*FAST, "--suite", "1"])]
    for archive in archives:
        tbk.run("tbk-push", store, "--sha256", "0" * 64, input=archive, status=65)
    holds_nothing(store)
    for archive in archives:
        tbk.run("tbk-push", store, "--sha256", hashlib.sha256(archive).hexdigest(), input=archive)
    assert len(tbk.run("tbk-pull", store, "--list").lines) == 2


# On a network


def test_a_stream_goes_to_github_and_comes_back(github, tmp_path):
    data = chunked(30 * MIB)
    github.push(data)
    entry, = github.commands.run("tbk-pull", github.address, "--list", "--json", env=github.environment).lines
    entry = json.loads(entry)
    assert [part["place"] for part in entry["parts"]] == ["termbackup-1"] and entry["sha256"] == hashlib.sha256(data).hexdigest()
    assert github.pull("latest", env=nowhere(tmp_path)).out == data
    small = chunked(MIB)
    github.push(small, env=nowhere(tmp_path))
    assert github.pull("latest", env=nowhere(tmp_path)).out == small


def test_a_stream_to_github_that_is_cut_publishes_nothing(github):
    data = chunked(30 * MIB)
    for cut in (100, MIB, 24 * MIB, 24 * MIB + 1, len(data) - 1):
        github.push(data[:cut], status=65)
        assert github.pull("--list").out == b""


@pytest.mark.soak
def test_a_few_parts_of_a_stream_are_kept_at_a_time(github):
    """Five parts in commits, of which four are here at once: a fifth would not fit."""
    data = chunked(4 * 24 * MIB + 5 * MIB)
    github.push(data, "--placement", "git", limits={"fsize": 4 * 24 * MIB})
    entry, = github.commands.run("tbk-pull", github.address, "--list", "--json", env=github.environment).lines
    assert [part["size"] for part in json.loads(entry)["parts"]] == [24 * MIB] * 4 + [5 * MIB]
    assert hashlib.sha256(github.pull("latest").out).digest() == hashlib.sha256(data).digest()
    for cut in (4 * 24 * MIB, 4 * 24 * MIB + MIB):
        github.push(data[:cut], "--placement", "git", status=65)
    assert len(github.pull("--list").lines) == 1

"""Archives of suite 3 and age streamed to and from a store: no temporary file, and a truncated one is not stored."""

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
from test_github_store import archive as suite1
from test_ranges import Place

IDENTITY = age.Identity(bytes(range(32)))
SUITES = {"3": [*FAST, "--suite", "3"], "age": ["-r", IDENTITY.recipient]}
MIB = 1 << 20
HELD_BACK = 128 << 10
TRAILER = 16
# At the end of an archive that turned out to be damaged while it was sent.
MARK = b"TBKCHAIN DAMAGED"


def nowhere(tmp_path):
    return {"TMPDIR": str(tmp_path / "nowhere")}


def chunked(size, seed=1):
    """The parts of an archive of suite 3 that a store checks, `size` bytes in all."""
    header = frames.header3().pack()
    length = size - len(header) - TRAILER
    numbers = random.Random(seed)
    body = b"".join(numbers.randbytes(min(MIB, length - at)) for at in range(0, length, MIB))
    return header + body + struct.pack(">Q", length) + b"TBK2 end"


@pytest.fixture
def large(tmp_path):
    """A tree whose archive has many chunks."""
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
    """Returns a function: (the archive, the path of its receipt) in a suite."""
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
    """Cut at, before and after every chunk boundary, and within header and trailer."""
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
    """tbk-seal | tbk-push; tbk-seal is killed, or fails, after `size` bytes of input."""
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
        # With --each, which marks gaps, nothing of a damaged archive is sent.
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


# Over the network


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


@pytest.mark.parametrize("placement", ["git", "release"])
@pytest.mark.parametrize("suite", ["1", "3"])
def test_a_file_goes_to_github_without_a_copy_of_it(github, tmp_path, suite, placement):
    data = suite1(1, 30 * MIB) if suite == "1" else chunked(30 * MIB)
    file = tmp_path / "behind"
    file.write_bytes(b"something before it" + data)
    for cut in (0, 1):
        os.truncate(file, file.stat().st_size - cut)
        with file.open("rb") as source:
            os.lseek(source.fileno(), 19, os.SEEK_SET)
            done = github.commands.run("tbk-push", github.address, "--placement", placement, stdin=source, status=65 if cut else 0,
                                       env={**github.environment, **nowhere(tmp_path)})
        assert len(done.out.splitlines()) == 1 - cut
    with file.open("ab") as target:
        target.write(data[-1:] + b"x")
    with file.open("rb") as source:
        os.lseek(source.fileno(), 19, os.SEEK_SET)
        github.commands.run("tbk-push", github.address, stdin=source, status=65, env={**github.environment, **nowhere(tmp_path)})
    entry, = github.commands.run("tbk-pull", github.address, "--list", "--json", env=github.environment).lines
    places = {"git": ["git"] * 2, "release": ["termbackup-1"]}
    assert [part["place"] for part in json.loads(entry)["parts"]] == places[placement]
    assert github.pull("latest", "-o", tmp_path / "copy").out == b"" and (tmp_path / "copy").read_bytes() == data


def test_a_pipe_in_suite_1_goes_to_github_and_comes_back(github):
    """Its header gives its size, and its parts are uploaded as they arrive."""
    data = suite1(1, 30 * MIB)
    for cut in (100, 24 * MIB, 24 * MIB + 1, len(data) - 1):
        github.push(data[:cut], status=65)
    github.push(data + b"x", status=65)
    assert github.pull("--list").out == b""
    github.push(data)
    assert github.pull("latest").out == data


@pytest.mark.parametrize("suite", SUITES)
def test_many_from_a_network_are_sent_as_they_come_and_what_is_damaged_is_marked(suite, github, tbk, sealed, key, tmp_path):
    archive, receipt = sealed(suite)
    github.push(archive, "--receipt", receipt, "--placement", "release")
    series = github.pull("--each", env=nowhere(tmp_path)).out
    assert series.endswith(archive)
    assert tbk.open(series, "--verify", "--each", "-i", key).out.startswith(b"ok\t")
    for place in (20, len(archive) // 2, -3):
        github.fault(method="GET", origin="storage", corrupt_response=place)
        done = github.pull("--each", status=3, env=nowhere(tmp_path))
        assert b"SHA-256" in done.err and len(done.out) == len(series) and done.out.endswith(MARK)
        assert done.out[-HELD_BACK:] == MARK.rjust(HELD_BACK, b"\0")
        said = tbk.open(done.out, "--verify", "--each", "-i", key, status=1).out
        assert said.startswith(b"corrupt\t") and b"its archive is not what the ledger says" in said
        tbk.open(done.out, "--chain", "-i", key, "-C", tmp_path / "out", status={65, 77})
        assert not (tmp_path / "out").exists()
    # In an undamaged archive the mark is data like any other.
    put(tmp_path / "marked", archive[:-len(MARK)] + MARK)
    framed = series[:-len(archive)] + (tmp_path / "marked").read_bytes()
    assert tbk.open(framed, "--verify", "--each", "-i", key, status=1).out.startswith(b"corrupt\t")


def test_a_chain_with_a_damaged_archive_is_sent_as_it_comes(github, tbk, tmp_path):
    tbk.environment.update(github.environment)
    place = Place(tbk, tmp_path, github.address)
    top = tmp_path / "tree"
    put(top / "old", random.Random(1).randbytes(900_000))
    first = place.back_up(top, "--suite", "3", push=["--placement", "release"])
    put(top / "new", random.Random(2).randbytes(900_000))
    place.back_up(top, "--suite", "3", previous=place.manifest(first), push=["--placement", "release"])
    # The first backup's archive comes second.
    github.fault(method="GET", origin="storage", corrupt_response=1000, skip=1)
    done = tbk.run("tbk-pull", github.address, "latest", "--chain", "--partial", env=nowhere(tmp_path), status=3)
    assert done.out.endswith(MARK)
    said = tbk.open(done.out, "--chain", "--partial", "-C", tmp_path / "out", status=3).err
    assert first.encode() in said and (tmp_path / "out" / "new").exists() and not (tmp_path / "out" / "old").exists()
    github.fault(method="GET", origin="storage", corrupt_response=1000, skip=1)
    cut = tbk.run("tbk-pull", github.address, "latest", "--chain", env=nowhere(tmp_path), status=65).out
    assert not cut.endswith(MARK)


def test_a_stream_to_github_that_is_cut_publishes_nothing(github):
    data = chunked(30 * MIB)
    for cut in (100, MIB, 24 * MIB, 24 * MIB + 1, len(data) - 1):
        github.push(data[:cut], status=65)
        assert github.pull("--list").out == b""


@pytest.mark.soak
@pytest.mark.parametrize("suite", ["1", "3"])
def test_a_few_parts_of_a_stream_are_kept_at_a_time(github, suite):
    """Five parts in commits, of which four are held at once: a fifth would exceed the limit."""
    size = 4 * 24 * MIB + 5 * MIB
    data = chunked(size)
    if suite == "1":
        # Exactly as large as the other one.
        data = suite1(1, size - (len(suite1(1, MIB)) - MIB))
        assert len(data) == size
    github.push(data, "--placement", "git", limits={"fsize": 4 * 24 * MIB})
    entry, = github.commands.run("tbk-pull", github.address, "--list", "--json", env=github.environment).lines
    assert [part["size"] for part in json.loads(entry)["parts"]] == [24 * MIB] * 4 + [5 * MIB]
    assert hashlib.sha256(github.pull("latest").out).digest() == hashlib.sha256(data).digest()
    for cut in (4 * 24 * MIB, 4 * 24 * MIB + MIB):
        github.push(data[:cut], "--placement", "git", status=65)
    assert len(github.pull("--list").lines) == 1

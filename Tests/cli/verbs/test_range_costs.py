"""The cost of looking into a remote backup: requests for parts of its archive, and their bytes.

The limits are what has been achieved; none may be raised.
"""

import random

import pytest
from conftest import put, snapshot
from github_fixture import github, github_server  # noqa: F401
from test_rotate_github import Machine

MIB = 1 << 20
FRAME = 4 * MIB
# The beginning and the end of the archive: 144 KiB in total.
ENDS = 2


@pytest.fixture
def machine(github, tmp_path):  # noqa: F811
    """One backup of 100 files, whose archive of 50 MB is a release asset, so that ranges of it can be read."""
    made = Machine(github, tmp_path, "--cipher-suite", "3")
    chance = random.Random(5)
    for number in range(100):
        put(made.tree / f"{number:02}", chance.randbytes(500_000))
    made.run("run", "p")
    github.clear_log()
    return made


def fetched(store):
    """The requests for ranges: for each, how many bytes and from where."""
    spans = []
    for entry in store.log():
        span = entry["headers"].get("range")
        if span and entry["origin"] == "storage":
            first, last = map(int, span.removeprefix("bytes=").split("-"))
            spans.append((entry["path"], first, last + 1))
    spans.sort()
    assert all(one != other or end <= start for (one, _, end), (other, start, _) in zip(spans, spans[1:])), "fetched twice"
    return len(spans), sum(end - start for _, start, end in spans)


def test_many_files_far_from_each_other(machine, github, tmp_path):  # noqa: F811
    names = [f"{number:02}" for number in range(0, 100, 20)]
    machine.run("restore", "latest", "-p", "p", "--to", tmp_path / "out", *names)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == {
        name: (machine.tree / name).read_bytes() for name in names}
    requests, size = fetched(github)
    assert requests <= ENDS + 5 and size <= 5 * FRAME + MIB


def test_many_files_beside_each_other(machine, github, tmp_path):  # noqa: F811
    names = [f"{number:02}" for number in range(30, 60)]
    machine.run("restore", "latest", "-p", "p", "--to", tmp_path / "out", *names)
    requests, size = fetched(github)
    # In pieces of 8 MiB.
    assert requests <= ENDS + 3 and size <= 30 * 500_000 + 2 * FRAME + MIB


def test_all_of_it(machine, github, tmp_path):  # noqa: F811
    machine.run("restore", "latest", "-p", "p", "--to", tmp_path / "out")
    assert snapshot(tmp_path / "out") == snapshot(machine.tree)
    requests, size = fetched(github)
    assert size <= 51 * MIB and requests <= ENDS + 8


@pytest.mark.parametrize("verb", [["ls", "latest"], ["find", "42"], ["ls", "latest", "-R"]])
def test_names_need_no_archive(machine, github, verb):  # noqa: F811
    machine.run(*verb, "-p", "p")
    assert fetched(github) == (0, 0)


def test_one_file(machine, github):  # noqa: F811
    assert machine.run("cat", "latest", "42", "-p", "p").out == (machine.tree / "42").read_bytes()
    requests, size = fetched(github)
    assert requests <= ENDS + 1 and size <= FRAME + MIB


def test_a_trial_of_a_few_files(machine, github):  # noqa: F811
    machine.run("verify", "--restore", "--sample", "3", "-p", "p")
    requests, size = fetched(github)
    assert ENDS + 1 <= requests <= ENDS + 3 and size <= 3 * FRAME + MIB


def test_a_sample_of_backups_reads_these_and_what_they_need(machine, github):  # noqa: F811
    """Each is fetched once, and no others."""
    for number in range(3):
        put(machine.tree / f"new {number}", random.Random(number).randbytes(30_000))
        machine.run("run", "p", "--full")
    github.clear_log()
    machine.run("verify", "--sample", "2", "-p", "p")
    objects = [entry["path"] for entry in github.log() if "/backups/" in entry["path"]]
    requests, size = fetched(github)
    assert objects == [] and size <= 2 * 51 * MIB and requests <= 2 * 7

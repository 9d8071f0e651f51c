"""Parts of archives: tbk-pull --serve, and tbk-open --from, which reads only the parts of a backup that it needs."""

import hashlib
import json
import os
import pathlib
import random
import shutil
import subprocess
import time

import pytest
from conftest import FAST, PASSWORD, PATIENCE, put, snapshot
from github_fixture import github, github_server  # noqa: F401, fixtures
from test_github_store import archive

CLI = pathlib.Path(__file__).resolve().parents[1]
KIB, MIB = 1 << 10, 1 << 20
FRONT, TAIL = 16 * KIB, 128 * KIB


class Place:
    """A store with backups."""

    def __init__(self, tbk, tmp_path, address=None):
        self.tbk = tbk
        self.at = tmp_path
        self.store = address
        if address is None:
            self.store = tmp_path / "store"
            self.store.mkdir()
        self.ids = []

    def back_up(self, tree, *arguments, previous=None, push=()):
        """Stores a tree, as an increment if there is a `previous` manifest. Returns its id."""
        for name in ("receipt", "sealed"):
            (self.at / name).unlink(missing_ok=True)
        options = ["--receipt", self.at / "receipt", "--manifest-out", self.at / "sealed"]
        manifest = ["--defer-hash"] + (["--previous", previous, "--mode", "incremental"] if previous else [])
        listed = self.tbk.manifest(tree, *manifest)
        costs = [] if "-r" in arguments else FAST
        archive = self.tbk.run("tbk-seal", *costs, *options, *arguments, input=listed, password=None if "-r" in arguments else PASSWORD).out
        self.tbk.run("tbk-push", self.store, "--receipt", self.at / "receipt", "--sealed-manifest", self.at / "sealed",
                     *push, input=archive)
        self.ids.append(json.loads((self.at / "receipt").read_bytes())["id"])
        return self.ids[-1]

    def manifest(self, backup, *options):
        path = self.at / f"manifest {backup[:12]}"
        put(path, self.open(backup, "--manifest", *options, password=None if options else PASSWORD).out)
        return path

    def server(self, fault="none"):
        return [CLI / "range_proxy.py", self.at / "log", fault, self.tbk.path("tbk-pull"), "--serve", self.store]

    def open(self, backup, *arguments, fault="none", **options):
        """Runs tbk-open --from, and logs its requests to `log`."""
        (self.at / "log").unlink(missing_ok=True)
        return self.tbk.run("tbk-open", "--from", backup, *arguments, "--", *self.server(fault), **options)

    def requests(self, kind="range"):
        """The requests in the log: id, offset, length, bytes received."""
        lines = [line.split() for line in (self.at / "log").read_text().splitlines()]
        return [(words[1], *map(int, words[2:])) for words in lines if words[0] == kind]

    def read(self):
        """How many bytes of archives were read."""
        return sum(request[-1] for request in self.requests())


@pytest.fixture
def place(tbk, tmp_path):
    return Place(tbk, tmp_path)


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    """An identity and its recipient."""
    folder = tmp_path_factory.mktemp("key")
    scratch = folder / "scratch"
    scratch.mkdir()
    from conftest import Commands
    tbk = Commands(scratch)
    tbk.run("tbk-keygen", "-o", folder / "identity")
    return folder / "identity", tbk.run("tbk-keygen", "-y", folder / "identity").out.decode().strip()


SUITES = ["1", "3", "age"]


def sealing(suite, key):
    return ["-r", key[1]] if suite == "age" else ["--suite", suite]


def opening(suite, key):
    return ["-i", key[0]] if suite == "age" else []


def password(suite):
    return None if suite == "age" else PASSWORD


def random_tree(top, seed=7, files=40):
    """Files of all sizes, some of them at the boundaries of chunks and frames."""
    chance = random.Random(seed)
    sizes = [0, 1, 511, 512, 513, 16383, 16384, 16385, 100_000, MIB - 1, MIB, MIB + 1, 4 * MIB - 512, 4 * MIB, 4 * MIB + 1]
    sizes += [chance.randrange(200_000) for _ in range(files - len(sizes))]
    for number, size in enumerate(sizes):
        half = size // 2
        put(top / f"d{number % 5}" / f"file {number}", chance.randbytes(half) + b"x" * (size - half))
    put(top / "manifest.json", b"its own\n")
    os.link(top / "d1" / "file 1", top / "d1" / "link")
    (top / "d2" / "symlink").symlink_to("file 2")
    return top


def files_of(top):
    return sorted(path for path in top.rglob("*") if path.is_file() and not path.is_symlink())


# The protocol


def ask(tbk, store, requests, status=0, **options):
    """The response of tbk-pull --serve to each request: a line, and as many bytes as it announces."""
    out = tbk.run("tbk-pull", "--serve", store, input=requests.encode(), status=status, **options).out
    answers = []
    for request in requests.splitlines():
        line, _, out = out.partition(b"\n")
        size = int(line.split()[1]) if line.startswith(b"ok") and request.split()[0] in ("range", "manifest") else 0
        answers.append((line.decode(), out[:size]))
        out = out[size:]
    assert out == b""
    return answers


@pytest.fixture
def served(place, small):
    backup = place.back_up(small, "--suite", "3")
    return place, backup, next((place.store / "backups").iterdir()), next((place.store / "manifests").iterdir())


def test_any_range_of_an_archive_is_served(served):
    place, backup, archive, manifest = served
    data = archive.read_bytes()
    borders = sorted({0, 1, len(data) // 2, 16384, len(data) - 1, len(data)} & set(range(len(data) + 1)))
    asked = [(first, last - first) for first in borders for last in borders if last >= first]
    requests = "".join(f"range {backup} {first} {count}\n" for first, count in asked)
    answers = ask(place.tbk, place.store, f"hello 1\nstat {backup}\nmanifest {backup}\n" + requests)
    assert answers[0] == ("ok 1", b"")
    assert answers[1] == (f"ok {len(data)} {hashlib.sha256(data).hexdigest()}", b"")
    assert answers[2] == (f"ok {manifest.stat().st_size}", manifest.read_bytes())
    assert answers[3:] == [(f"ok {count}", data[first:first + count]) for first, count in asked]


def test_what_cannot_be_served_is_answered(served):
    place, backup, archive, manifest = served
    size = archive.stat().st_size
    other = backup[::-1]
    answers = ask(place.tbk, place.store, f"hello 1\nstat {other}\nmanifest {other}\nrange {other} 0 1\nhello 2\nbanana\n"
                  f"range {backup} 0 {size + 1}\nrange {backup} {size} 1\nrange {backup} 999999999999999999 1\n"
                  f"range {backup} 01 1\nrange {backup} -1 1\nrange {backup[:12]} 0 1\nstat {backup} 1\nstat {backup}\n")
    lines = [line for line, _ in answers]
    assert lines[:4] == ["ok 1", "missing", "missing", "missing"]
    assert [line.split()[:2] for line in lines[4:13]] == [
        ["error", kind] for kind in ["unavailable"] * 2 + ["broken"] * 3 + ["unavailable"] * 4]
    assert lines[13].startswith(f"ok {size} ")
    archive.rename(place.at / "gone")
    assert ask(place.tbk, place.store, f"hello 1\nrange {backup} 0 5\nstat {backup}\n")[1] == ("missing", b"")
    put(archive, (place.at / "gone").read_bytes()[:100])
    assert ask(place.tbk, place.store, f"hello 1\nrange {backup} 90 20\n")[1][0].startswith("error broken ")
    manifest.write_bytes(manifest.read_bytes()[:-1] + b"?")
    assert ask(place.tbk, place.store, f"hello 1\nmanifest {backup}\n")[1][0].startswith("error broken ")


def test_a_line_that_never_ends_ends_the_server(served):
    place, backup, _, _ = served
    place.tbk.run("tbk-pull", "--serve", place.store, input=b"x" * 10_000, status=65)


# tbk-open --from


@pytest.mark.parametrize("suite", SUITES)
def test_every_file_of_a_tree_is_the_original(place, tmp_path, key, suite):
    tree = random_tree(tmp_path / "tree")
    backup = place.back_up(tree, *sealing(suite, key))
    options = {"password": password(suite)}
    for path in files_of(tree):
        done = place.open(backup, *opening(suite, key), "--cat", path.relative_to(tree), **options)
        assert done.out == path.read_bytes()
    whole = place.tbk.run("tbk-pull", place.store, backup).out
    for form in (["--list"], ["--list", "-l"], ["--list", "--json"], ["--manifest"], ["--verify"]):
        assert (place.open(backup, *opening(suite, key), *form, **options).out
                == place.tbk.open(whole, *opening(suite, key), *form, **options).out)
    place.open(backup, *opening(suite, key), "-C", tmp_path / "out", **options)
    assert snapshot(tmp_path / "out") == snapshot(tree)
    assert place.tbk.leftovers() == []


@pytest.mark.parametrize("suite", SUITES)
def test_chains_of_all_suites(place, tmp_path, key, suite):
    """The full backup in one suite, increments in the others."""
    tree = random_tree(tmp_path / "tree")
    both = [*opening("age", key)]
    place.back_up(tree, *sealing(suite, key))
    put(tree / "d0" / "new", b"new\n" * 100)
    put(tree / "d1" / "file 1", b"changed\n")
    if suite == "1":
        later = "3"
    elif suite == "3":
        later = "1"
    else:
        later = "age"
    place.back_up(tree, *sealing(later, key), previous=place.manifest(place.ids[-1], *opening(suite, key)))
    put(tree / "d0" / "newer", b"newer\n")
    backup = place.back_up(tree, *sealing(later, key), previous=place.manifest(place.ids[-1], *opening(later, key)))
    identities = both if suite == "age" else []
    options = {"password": password(suite)}
    for path in files_of(tree):
        assert place.open(backup, *identities, "--cat", path.relative_to(tree), **options).out == path.read_bytes()
    place.open(backup, *identities, "-C", tmp_path / "out", "--path", "d0", "--path", "./d1/link/", "--include", "new*",
               **options)
    wanted = {name: facts for name, facts in snapshot(tree).items() if name == b"d0" or name.startswith(b"d0/")}
    restored = snapshot(tmp_path / "out")
    assert {name: restored[name] for name in wanted} == wanted
    assert set(restored) - set(wanted) <= {b"", b"d1", b"d1/link"} and (tmp_path / "out" / "d1" / "link").is_file()
    place.open(backup, *identities, "-C", tmp_path / "all", **options)
    assert snapshot(tmp_path / "all") == snapshot(tree)


@pytest.mark.parametrize("suite", ["3", "age"])
def test_no_more_is_read_than_is_needed(place, tmp_path, key, suite):
    tree = tmp_path / "tree"
    chance = random.Random(1)
    for number in range(60):
        put(tree / f"{number:03}", chance.randbytes(700_000))
    wanted, big = chance.randbytes(100_000), chance.randbytes(9 * MIB)
    put(tree / "wanted", wanted)
    backup = place.back_up(tree, *sealing(suite, key))
    options = {"password": password(suite)}
    size = next((place.store / "backups").iterdir()).stat().st_size
    assert size > 40_000_000
    place.open(backup, *opening(suite, key), "--list", **options)
    assert place.requests() == [] and len(place.requests("manifest")) == 1
    for arguments in (["--cat", "wanted"], ["-C", tmp_path / "out", "--path", "wanted"]):
        place.open(backup, *opening(suite, key), *arguments, **options)
        # Front, end, the manifest's frame, and the file's frame, each once.
        assert place.read() < FRONT + TAIL + 64 * KIB + 4 * MIB + 300 * KIB and len(place.requests()) <= 4
        spans = sorted((first, first + count) for _, first, count, _ in place.requests())
        assert all(end <= start for (_, end), (start, _) in zip(spans, spans[1:]))
    assert (tmp_path / "out" / "wanted").read_bytes() == wanted
    # A large file is read twice, but fetched once.
    put(tree / "big", big)
    backup = place.back_up(tree, *sealing(suite, key))
    assert place.open(backup, *opening(suite, key), "--cat", "big", **options).out == big
    assert place.read() < 9 * MIB + 4 * MIB + MIB
    assert place.tbk.leftovers() == []


@pytest.mark.parametrize("suite", ["3", "age"])
def test_frames_side_by_side_come_in_one_request(place, tmp_path, key, suite):
    tree = tmp_path / "tree"
    chance = random.Random(4)
    for folder in "abc":
        for number in range(30):
            put(tree / folder / f"{number:03}", chance.randbytes(500_000))
    backup = place.back_up(tree, *sealing(suite, key))
    options = {"password": password(suite)}
    place.open(backup, *opening(suite, key), "-C", tmp_path / "out", "--path", "b", **options)
    assert snapshot(tmp_path / "out" / "b") == snapshot(tree / "b")
    # Front, end, the manifest, and the 15 MB of the directory with the frames at both ends.
    assert len(place.requests()) <= 6 and place.read() < 15_000_000 + 2 * 4 * MIB + MIB


@pytest.fixture(scope="module")
def scattered(tmp_path_factory):
    """A tree, and names in it whose content is in frames far apart."""
    tree = tmp_path_factory.mktemp("scattered") / "tree"
    chance = random.Random(9)
    for number in range(6):
        put(tree / f"{number}a", chance.randbytes(100_000))
        put(tree / f"{number}b", chance.randbytes(9 * MIB))
    return tree, [f"{number}a" for number in range(6)]


def chosen(names):
    return [word for name in names for word in ("--path", name)]


@pytest.mark.parametrize("suite", ["3", "age"])
def test_what_is_next_is_asked_for_while_the_last_is_awaited(place, tmp_path, key, scattered, suite):
    tree, names = scattered
    backup = place.back_up(tree, *sealing(suite, key))
    options = {"password": password(suite)}
    # The front, then the end; then as many frames of 4 MiB as are requested ahead.
    for fault in ("ahead@1:1", "ahead@3:3", "ahead@5:3"):
        out = tmp_path / fault
        place.open(backup, *opening(suite, key), "-C", out, *chosen(names), fault=fault, **options)
        assert {path.name: path.read_bytes() for path in out.iterdir()} == {name: (tree / name).read_bytes() for name in names}
        assert len(place.requests()) <= 2 + 1 + 6 and place.read() < FRONT + TAIL + 7 * 4 * MIB
        spans = sorted((first, first + count) for _, first, count, _ in place.requests())
        assert all(end <= start for (_, end), (start, _) in zip(spans, spans[1:])), "nothing is fetched twice"
    # The whole backup, in pieces.
    for arguments in (["--verify"], ["-C", tmp_path / "all"]):
        place.open(backup, *opening(suite, key), *arguments, fault="ahead@3:1", **options)
        size = next((place.store / "backups").iterdir()).stat().st_size
        assert size <= place.read() <= size + FRONT + TAIL


@pytest.mark.parametrize("fault, statuses", [("flip", {65, 77}), ("cut", {65, 69, 75}), ("die", {75}), ("error", {75}), ("nonsense", {65})])
@pytest.mark.parametrize("number", [2, 4, 8])
def test_what_was_asked_for_ahead_and_is_wrong_is_noticed(place, tmp_path, scattered, fault, statuses, number):
    tree, names = scattered
    backup = place.back_up(tree, "--suite", "3")
    done = place.open(backup, "-C", tmp_path / "out", *chosen(names), fault=f"{fault}@{number}:-20", status=None)
    assert done.status in statuses and not (tmp_path / "out").exists()
    assert place.tbk.leftovers() == []


def test_ranges_that_change_places_are_noticed(place, tmp_path, scattered):
    """Each response is the one to the request before."""
    tree, names = scattered
    backup = place.back_up(tree, "--suite", "3")
    other = place.back_up(tree, "--suite", "3")
    data = next((place.store / "backups").glob(f"backup_{other[:12]}*"))
    for number in (3, 5, 8):
        done = place.open(backup, "-C", tmp_path / "out", *chosen(names), fault=f"swap@{number}:{data}", status=None)
        assert done.status in (65, 77) and not (tmp_path / "out").exists()


@pytest.mark.parametrize("suite", ["3", "age"])
def test_a_chain_is_consolidated_out_of_what_is_needed_of_it(place, tmp_path, key, suite):
    tree = tmp_path / "tree"
    chance = random.Random(6)
    for number in range(60):
        put(tree / f"{number:03}", chance.randbytes(500_000))
    place.back_up(tree, *sealing(suite, key))
    for number in range(2, 60):
        (tree / f"{number:03}").unlink()
    put(tree / "new", chance.randbytes(200_000))
    os.link(tree / "000", tree / "link")
    (tree / "symlink").symlink_to("000")
    backup = place.back_up(tree, *sealing(suite, key), previous=place.manifest(place.ids[-1], *opening(suite, key)))
    (place.at / "log").unlink()
    options = {"password": password(suite)}
    command = ["tbk-seal", "consolidate", "--from", backup, *(sealing(suite, key) if suite == "age" else [*FAST, "--suite", "3"]),
               *opening(suite, key)]
    archive = place.tbk.run(*command, "--", *place.server(), **options).out
    assert place.read() < 2 * 4 * MIB + 200_000 + 2 * (FRONT + TAIL) + 100 * KIB
    put(tmp_path / "whole", archive)
    place.tbk.run("tbk-open", *opening(suite, key), "-C", tmp_path / "out", tmp_path / "whole", **options)
    assert snapshot(tmp_path / "out") == snapshot(tree)
    # The id equals that of a consolidation of the complete archives.
    put(tmp_path / "chain", place.tbk.run("tbk-pull", "--chain", place.store, backup).out)
    other = place.tbk.run("tbk-seal", "consolidate", *command[4:], input=(tmp_path / "chain").read_bytes(), **options).out
    ids = [json.loads(place.tbk.run("tbk-open", *opening(suite, key), "--manifest", input=one, **options).out)["backup_id"]
           for one in (archive, other)]
    assert ids[0] == ids[1] != backup and place.tbk.leftovers() == []
    for fault, statuses in (("flip@1:100", (65, 77)), ("flip@4:9", (65, 77)), ("die@3", (75,))):
        done = place.tbk.run(*command, "-o", tmp_path / "none", "--", *place.server(fault), status=None, **options)
        assert done.status in statuses and not (tmp_path / "none").exists()


@pytest.mark.parametrize("arguments", [
    ["--from", "1234", "--", "true"], ["--from", "0" * 64], ["--from", "0" * 64, "--expect-id", "0" * 64, "--", "true"],
    ["--", "true"]])
def test_contradictions_of_consolidate_are_wrong_usage(tbk, arguments):
    tbk.run("tbk-seal", "consolidate", *arguments, status=64)


def test_of_a_chain_only_what_holds_the_file_is_read(place, tmp_path):
    tree = tmp_path / "tree"
    for number in range(3):
        put(tree / f"file {number}", os.urandom(100_000))
        backup = place.back_up(tree, "--suite", "3", previous=place.manifest(place.ids[-1]) if place.ids else None)
    assert place.open(backup, "--cat", "file 1").out == (tree / "file 1").read_bytes()
    assert {request[0] for request in place.requests()} == {place.ids[2], place.ids[1]}
    place.open(backup, "-C", tmp_path / "out", "--path", "file 2")
    assert {request[0] for request in place.requests()} == {place.ids[2]}


def test_what_is_not_there_is_named(place, tmp_path, small):
    backup = place.back_up(small, "--suite", "3")
    assert b"not in this backup" in place.open(backup, "--cat", "nothing", status=66).err
    place.open(backup, "--list", "--in", "nothing", status=66)
    place.open(backup, "-C", tmp_path / "out", "--path", "nothing", status=66)
    assert not (tmp_path / "out").exists()
    place.open(backup[::-1], "--list", status=69)
    next((place.store / "manifests").iterdir()).unlink()
    next((place.store / "backups").iterdir()).unlink()
    place.open(backup, "--list", status=66)


def test_an_archive_that_the_chain_needs_is_missing(place, tmp_path, small):
    first = place.back_up(small, "--suite", "3")
    put(pathlib.Path(small, "new"), b"new\n")
    backup = place.back_up(small, "--suite", "3", previous=place.manifest(first))
    next((place.store / "backups").glob(f"backup_{first[:12]}*")).unlink()
    old = files_of(pathlib.Path(small))[0].relative_to(small)
    place.open(backup, "--cat", old, status=66)
    place.open(backup, "-C", tmp_path / "out", status=66)
    assert place.open(backup, "--cat", "new").out == b"new\n" and not (tmp_path / "out").exists()


def test_a_directory_at_a_time_is_listed(place, tmp_path):
    tree = random_tree(tmp_path / "tree")
    backup = place.back_up(tree, "--suite", "3")
    top = sorted(os.listdir(tree))
    assert place.open(backup, "--list", "--in", ".").lines == top
    assert sorted(place.open(backup, "--list", "--in", "./d3//").lines) == sorted(f"d3/{name}" for name in os.listdir(tree / "d3"))
    assert place.open(backup, "--list", "--in", "d1/link").lines == ["d1/link"]
    assert place.open(backup, "--list", "--in", ".", "-R").out == place.open(backup, "--list").out
    inside = [name for name in place.open(backup, "--list").lines if name.startswith("d4/")]
    assert place.open(backup, "--list", "--in", "d4", "-R").lines == inside


def test_a_backup_without_a_receipt_is_its_bytes(place, small):
    archive = place.tbk.seal(small, "--suite", "3")
    place.tbk.run("tbk-push", place.store, input=archive)
    backup = hashlib.sha256(archive).hexdigest()
    name = files_of(pathlib.Path(small))[0]
    assert place.open(backup, "--cat", name.relative_to(small)).out == name.read_bytes()
    place.open(backup, "--list", fault="flip@1:5000", status=65)


# A malicious store


@pytest.fixture
def two(place, tmp_path):
    """Two backups of one tree; in the older one, a file has different content of the same size."""
    tree = tmp_path / "tree"
    put(tree / "file", random.Random(1).randbytes(3 * MIB))
    put(tree / "other", b"old")
    old = place.back_up(tree, "--suite", "3")
    put(tree / "other", b"new")
    return place, old, place.back_up(tree, "--suite", "3")


def refused(place, backup, fault, statuses, tmp_path):
    """Every way of reading the backup fails, prints nothing and restores nothing."""
    for arguments in (["--cat", "file"], ["-C", tmp_path / "out"], ["-C", tmp_path / "out", "--path", "file"], ["--verify"]):
        done = place.open(backup, *arguments, fault=fault, status=None)
        assert done.status in statuses and done.out == b"", (fault, arguments, done)
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_flipped_bit_is_noticed(two, tmp_path, number):
    place, _, backup = two
    for value in (20, 60, 100, 9000, -1):
        done = place.open(backup, "--cat", "file", fault=f"flip@{number}:{value}", status=None)
        assert done.status in (65, 77) and done.out == b"", (number, value, done)


def test_an_older_archive_under_the_name_is_noticed(two, tmp_path):
    place, old, backup = two
    refused(place, backup, f"other@0:{old}", {65}, tmp_path)
    assert place.open(backup, "--list", fault=f"other@0:{old}", status=65).out == b""


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_archive_that_changes_between_two_ranges_is_noticed(two, tmp_path, number):
    place, old, backup = two
    other = next((place.store / "backups").glob(f"backup_{old[:12]}*"))
    refused(place, backup, f"swap@{number}:{other}", {65, 77}, tmp_path)


@pytest.mark.parametrize("value", [-1, 1, -16416, 16400])
def test_a_wrong_size_is_noticed(two, tmp_path, value):
    place, _, backup = two
    refused(place, backup, f"size@0:{value}", {65, 77}, tmp_path)


@pytest.mark.parametrize("fault, statuses", [("die", {75}), ("cut", {69, 75}), ("nonsense", {65}), ("error", {75})])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_server_that_ends_or_fails_leaves_nothing(two, tmp_path, fault, statuses, number):
    place, _, backup = two
    refused(place, backup, f"{fault}@{number}", statuses | {65} if fault == "cut" else statuses, tmp_path)
    assert b"\x1b" not in place.open(backup, "--cat", "file", fault=f"{fault}@{number}", status=None).err
    place.open(backup, "-C", tmp_path / "out")
    assert place.tbk.leftovers() == []


def test_a_whole_archive_is_compared_with_its_hash(place, tmp_path, small):
    backup = place.back_up(small, "--suite", "1")
    for number in (1, 2):
        done = place.open(backup, "-C", tmp_path / "out", fault=f"flip@{number}:50", status=None)
        assert done.status in (0, 65) if number == 2 else done.status == 65
        shutil.rmtree(tmp_path / "out", ignore_errors=True)


def test_a_sealed_manifest_that_is_damaged_is_not_needed(place, small):
    backup = place.back_up(small, "--suite", "3")
    manifest = next((place.store / "manifests").iterdir())
    listed = place.open(backup, "--list").out
    manifest.unlink()
    assert place.open(backup, "--list").out == listed and place.requests()


# What the command receives


def test_the_command_gets_no_password(place, small):
    backup = place.back_up(small, "--suite", "3")
    secrets = {"TERMBACKUP_PASSWORD": PASSWORD.decode(), "TERMBACKUP_KEY_PASSWORD": "a", "TERMBACKUP_IDENTITY_PASSWORD": "b",
               "TERMBACKUP_TOKEN": "a token"}
    place.open(backup, "--list", password=None, env=secrets)
    seen = (place.at / "log.environment").read_bytes()
    assert b"PASSWORD" not in seen and PASSWORD not in seen and b"TERMBACKUP_TOKEN=a token" in seen
    given = put(place.at / "given", PASSWORD)
    with open(given, "rb") as file:
        os.set_inheritable(file.fileno(), True)
        process = place.tbk.start("tbk-open", "--from", backup, "--password-fd", str(file.fileno()), "--list", "--",
                                  *place.server(), password=None, pass_fds=[file.fileno()])
        assert process.communicate()[0] and process.returncode == 0
    assert os.fsencode(given) not in (place.at / "log.environment").read_bytes()


@pytest.mark.parametrize("folder", ["/dev/fd", "/proc/self/fd"])
def test_the_command_gets_no_descriptor_of_an_identity(place, small, key, folder):
    backup = place.back_up(small, "-r", key[1])
    with open(key[0], "rb") as file:
        os.set_inheritable(file.fileno(), True)
        process = place.tbk.start("tbk-open", "--from", backup, "-i", f"{folder}/{file.fileno()}", "--list", "--",
                                  *place.server(), password=None, pass_fds=[file.fileno()])
        assert process.communicate()[0] and process.returncode == 0
    assert os.fsencode(key[0]) not in (place.at / "log.environment").read_bytes()


@pytest.mark.parametrize("arguments", [
    ["--from", "1234", "--list", "--", "true"], ["--from", "0" * 64, "--list"],
    ["--from", "0" * 64, "--chain", "--", "true"], ["--from", "0" * 64, "--header", "--", "true"],
    ["--list", "-R"], ["--verify", "--in", "."]])
def test_contradictions_are_wrong_usage(tbk, arguments):
    tbk.run("tbk-open", *arguments, status=64)


@pytest.mark.parametrize("command", [["true"], ["false"], ["/nonexistent"], ["cat"], ["yes"], ["sh", "-c", "kill $$"]])
def test_a_command_that_serves_nothing(tbk, command):
    done = tbk.run("tbk-open", "--from", "0" * 64, "--list", "--", *command, status=None)
    assert done.status in (65, 66, 69, 70, 75, 78) and done.out == b""


# GitHub


def test_of_a_release_ranges_are_fetched(github, tbk, tmp_path):  # noqa: F811
    tbk.environment.update(github.environment)
    place = Place(tbk, tmp_path, github.address)
    tree = random_tree(tmp_path / "tree")
    for number in range(40):
        put(tree / "more" / str(number), os.urandom(MIB))
    backup = place.back_up(tree, "--suite", "3", push=["--placement", "release"])
    github.clear_log()
    path = tree / "d3" / "file 8"
    assert place.open(backup, "--cat", path.relative_to(tree)).out == path.read_bytes()
    fetched = [entry for entry in github.log() if entry["headers"].get("range")]
    assert fetched and place.read() < 6 * MIB
    for path in random.Random(3).sample(files_of(tree), 6):
        assert place.open(backup, "--cat", path.relative_to(tree)).out == path.read_bytes()
    place.open(backup, "-C", tmp_path / "out", "--path", "d1")
    assert snapshot(tmp_path / "out" / "d1") == snapshot(tree / "d1")
    # An interrupted response is resumed.
    github.fault(method="GET", origin="storage", reset_response_after=5000)
    assert place.open(backup, "--cat", "d3/file 8").out == (tree / "d3" / "file 8").read_bytes()


def test_what_is_asked_for_at_once_is_fetched_at_once(github, tbk, tmp_path):  # noqa: F811
    """While the server delays the first, it receives the others; the order of the responses is kept."""
    tbk.environment.update(github.environment)
    place = Place(tbk, tmp_path, github.address)
    tree = tmp_path / "tree"
    put(tree / "file", os.urandom(3 * MIB))
    backup = place.back_up(tree, "--suite", "3", push=["--placement", "release"])
    archive = tbk.run("tbk-pull", github.address, backup).out
    asked = [(0, 1000), (MIB, 5000), (2 * MIB, 0), (2 * MIB, 70_000), (len(archive) - 5, 5), (7, 3)]
    requests = "".join(f"range {backup} {first} {count}\n" for first, count in asked)
    expected = [(f"ok {count}", archive[first:first + count]) for first, count in asked]
    assert ask(tbk, github.address, "hello 1\n" + requests)[1:] == expected

    def fetched():
        return [entry for entry in github.log() if entry["headers"].get("range")]
    github.clear_log()
    github.fault(method="GET", origin="storage", hang=10 * PATIENCE, times=-1)
    process = tbk.start("tbk-pull", "--serve", github.address, stdin=subprocess.PIPE)
    process.stdin.write(requests.encode())
    process.stdin.flush()
    deadline = time.monotonic() + PATIENCE
    while len([entry for entry in fetched() if entry["origin"] == "storage"]) < 3:
        assert time.monotonic() < deadline and process.poll() is None, fetched()
        time.sleep(0.05)
    process.kill()
    process.communicate()
    github.clear_faults()
    # A failed one does not affect the others.
    github.fault(method="GET", origin="storage", status=404, skip=1, times=1)
    answers = ask(tbk, github.address, "hello 1\n" + requests)[1:]
    assert [answer for answer in answers if answer in expected] == [one for one, answer in zip(expected, answers) if answer == one]
    assert sum(answer == one for one, answer in zip(expected, answers)) >= len(asked) - 1


def test_ranges_at_the_borders_of_parts(github, tbk, tmp_path):  # noqa: F811
    """Within parts that are in commits, and across their boundaries."""
    part = 24 * MIB
    data = archive(1, 2 * part + MIB)
    github.push(data, "--placement", "git")
    backup = hashlib.sha256(data).hexdigest()
    ends = [0, 1, part - 1, part, part + 1, 2 * part - 1, 2 * part, 2 * part + 1, len(data) - 1, len(data)]
    asked = [(first, min(last - first, size)) for first in ends for last in ends for size in (3, 70_000) if last >= first]
    requests = "".join(f"range {backup} {first} {count}\n" for first, count in asked)
    github.clear_log()
    answers = ask(tbk, github.address, "hello 1\n" + requests, env=github.environment)
    assert answers[1:] == [(f"ok {count}", data[first:first + count]) for first, count in asked]


def test_of_git_each_part_is_fetched_once(github, tbk, tmp_path):  # noqa: F811
    tbk.environment.update(github.environment)
    place = Place(tbk, tmp_path, github.address)
    tree = random_tree(tmp_path / "tree")
    for number in range(30):
        put(tree / "more" / str(number), os.urandom(MIB))
    backup = place.back_up(tree, "--suite", "3", push=["--placement", "git"])
    small = place.back_up(random_tree(tmp_path / "few", files=16), "--suite", "3")
    for chosen, top in ((backup, tree), (small, tmp_path / "few")):
        github.clear_log()
        path = top / "d3" / "file 8"
        assert place.open(chosen, "--cat", path.relative_to(top)).out == path.read_bytes()
        objects = [entry["path"] for entry in github.log() if "/backups/" in entry["path"]]
        assert objects and len(objects) == len(set(objects))


# Helpers


@pytest.fixture
def helped(tbk, tmp_path):
    programs = tmp_path / "programs"
    root = tmp_path / "root"
    for folder in (programs, root):
        folder.mkdir()
    shutil.copy(CLI / "store_helper.py", programs / "tbk-store-ref")
    (programs / "tbk-store-ref").chmod(0o755)
    tbk.environment["PATH"] = f"{programs}:{tbk.environment['PATH']}"
    place = Place(tbk, tmp_path, f"ref:{root}")
    tree = random_tree(tmp_path / "tree")
    place.tree = tree
    place.back_up(tree, "--suite", "3")
    place.log = pathlib.Path(f"{root}.log")
    place.log.unlink()
    return place


@pytest.mark.parametrize("has_ranges", [True, False])
def test_helpers_with_and_without_ranges(helped, has_ranges):
    if has_ranges:
        helped.tbk.environment["HELPER_RANGES"] = "1"
    backup = helped.ids[0]
    path = helped.tree / "d3" / "file 8"
    assert helped.open(backup, "--cat", "d3/file 8").out == path.read_bytes()
    asked = [line.split() for line in helped.log.read_text().splitlines()]
    whole = [words for words in asked if words[0] == "get" and words[1].startswith("backups/")]
    parts = [words for words in asked if words[0] == "range"]
    assert (len(whole), bool(parts)) == ((0, True) if has_ranges else (1, False))
    assert helped.tbk.leftovers() == []


@pytest.mark.parametrize("fault, statuses", [
    ("short@range.2", {65, 75}), ("altered@range.2", {65, 77}), ("altered@range.3", {65, 77}), ("nonsense@range.2", {65}),
    ("number@range.1", {65}), ("denied@range.2", {77}), ("die@range.3", {69, 75}), ("altered@get.2", {0})])
def test_a_helper_that_lies_about_ranges(helped, tmp_path, fault, statuses):
    helped.tbk.environment.update(HELPER_RANGES="1", HELPER_FAULT=fault)
    done = helped.open(helped.ids[0], "-C", tmp_path / "out", "--path", "d3", status=None)
    assert done.status in statuses, done
    assert (tmp_path / "out").exists() == (done.status == 0)


def test_a_range_that_may_go_better_is_asked_for_again(helped):
    helped.tbk.environment.update(HELPER_RANGES="1", HELPER_FAULT="again-once@range.2")
    assert helped.open(helped.ids[0], "--cat", "d3/file 8").out == (helped.tree / "d3" / "file 8").read_bytes()

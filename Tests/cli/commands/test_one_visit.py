"""A run's two visits of a store: tbk-pull --prepare before it, tbk-push --then-prune after it."""

import json
import os
import shutil

import pytest
from conftest import put, snapshot
from github_fixture import github, github_server  # noqa: F401
from test_github_store import archive, identify
from test_json import check as described

GROUP = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"


class Place:
    """A store, and what is prepared over it."""

    def __init__(self, tbk, path):
        self.tbk, self.path = tbk, path
        self.scratch = path.parent
        self.directory = path.parent / "prepared"
        self.cache = path.parent / "cache"
        self.directory.mkdir()
        self.cache.mkdir()

    def push(self, seed, *arguments, manifest=True, group=GROUP, needs=(), status=0, complete=True):
        """A backup whose id is that of its archive, if it needs no other."""
        data = archive(seed)
        id = identify(data)
        put(self.scratch / "receipt", json.dumps({
            "receipt": 1, "id": id, "created_at": f"2026-01-{seed:02}T00:00:00+00:00", "file_count": 1,
            "mode": "incremental" if needs else "full", "depends_on": list(needs), "complete": complete}).encode())
        put(self.scratch / "sealed", archive(seed + 100))
        sealed = ["--sealed-manifest", self.scratch / "sealed"] if manifest else []
        place = ["--group", group, "--new-group"] if group else []
        self.last = self.tbk.run("tbk-push", self.path, "--receipt", self.scratch / "receipt", *sealed, *place, *arguments,
                                 input=data, status=status)
        return id

    def check(self, seed=50, *arguments):
        data = archive(seed)
        self.tbk.run("tbk-store", "password-check", self.path, "-", "--group", GROUP, "--new-group", *arguments, input=data)
        return identify(data)

    def prepare(self, *arguments, group=GROUP, status=0, **options):
        shutil.rmtree(self.directory)
        self.directory.mkdir()
        self.done = self.tbk.run("tbk-pull", self.path, "--prepare", self.directory, "--group", group, "--new-group", "--unvouched",
                                 *arguments, status=status, **options)
        if status:
            return None
        return dict(line.split("\t") for line in self.read("prepared").decode().splitlines())

    def next(self, *arguments, **options):
        """What is found for a backup that is incremental if it can be."""
        return self.prepare("--incremental", "--cache", self.cache, *arguments, **options)

    def read(self, name):
        return (self.directory / name).read_bytes()

    def names(self):
        return sorted(os.listdir(self.directory))

    def ledger(self):
        return json.loads((self.path / "metadata.json").read_text())

    def keep(self, seed):
        """The sealed manifest of a backup is at hand."""
        put(self.cache / f"{identify(archive(seed))}.tbk", archive(seed + 100))


@pytest.fixture
def place(tbk, tmp_path):
    (tmp_path / "store").mkdir()
    return Place(tbk, tmp_path / "store")


# Before a run


def test_of_an_empty_store_it_is_known_that_it_is_empty(place):
    found = place.next()
    assert found == {"last": "-", "last_count": "-", "last_suite": "-", "full": "first", "lost": "-", "manifest": "-", "check": "none", "check_sha256": "-",
                     "key_epoch": "-", "proof": "check", "prune": "no"}
    assert place.names() == ["list", "prepared", "trust"] and place.read("list") == b"" and place.read("trust") == b"unsigned\n"


def test_everything_comes_with_one_visit(place):
    first = place.push(1)
    place.push(9, group=OTHER)
    last = place.push(2, needs=[first])
    hash = place.check()
    before = snapshot(place.path)
    found = place.next()
    assert found == {"last": last, "last_count": "1", "last_suite": "password", "full": "-", "lost": "-", "manifest": "fetched", "check": "pinned",
                     "check_sha256": hash, "key_epoch": "0", "proof": "check", "prune": "no"}
    assert place.read("manifest") == archive(102) and place.read("check") == archive(50)
    assert place.read("list") == place.tbk.run("tbk-pull", place.path, "--list", "--group", GROUP).out
    assert snapshot(place.path) == before
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in place.directory.iterdir())
    # A full one needs no more of the last one than its name.
    found = place.prepare()
    assert (found["last"], found["full"], found["manifest"]) == (last, "-", "-") and "manifest" not in place.names()


def test_a_manifest_at_hand_proves_the_password_if_it_is_the_ledgers(place):
    place.push(1)
    place.check()
    place.keep(1)
    found = place.next()
    assert (found["manifest"], found["proof"]) == ("cached", "manifest") and "manifest" not in place.names()
    # The check still has to be the ledger's.
    stored, = (place.path / "checks").iterdir()
    stored.chmod(0o600)
    data = stored.read_bytes()
    stored.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    place.next(status=65)
    stored.unlink()
    assert (place.next()["check"], place.next()["proof"]) == ("lost", "check")
    stored.write_bytes(data)
    cached, = place.cache.iterdir()
    cached.write_bytes(archive(102))
    assert (place.next()["manifest"], place.next()["proof"]) == ("fetched", "check")
    for link in (lambda: cached.symlink_to("/dev/zero"), lambda: os.mkfifo(cached), cached.mkdir):
        cached.unlink(missing_ok=True)
        link()
        assert place.next()["manifest"] == "fetched"
        cached.rmdir() if cached.is_dir() else cached.unlink()


def test_an_entry_of_another_key_epoch_proves_nothing(place):
    """As a rotation leaves it that was killed: the last backup is under the new password, and the group under the old."""
    id = place.push(1)
    place.check()
    put(place.scratch / "new", archive(201))
    place.tbk.run("tbk-store", "replace", place.path, id, "--rekeyed", "--sealed-manifest", place.scratch / "new",
                  input=archive(3))
    put(place.cache / f"{id}.tbk", archive(201))
    assert (place.next()["manifest"], place.next()["proof"]) == ("cached", "check")
    place.check(51, "--replace")
    assert place.next()["proof"] == "manifest"


def test_without_a_check_that_the_ledger_names_nothing_is_proved(place):
    place.push(1)
    place.keep(1)
    assert (place.next()["check"], place.next()["proof"]) == ("none", "check")
    (place.path / "checks").mkdir()
    put(place.path / "checks" / f"{GROUP}.tbk", archive(50))
    found = place.next()
    assert (found["check"], found["check_sha256"], found["proof"]) == ("unpinned", identify(archive(50)), "check")


def test_the_manifest_of_a_signed_ledger_proves_the_password(place):
    keys = [place.scratch / "k", place.scratch / "k.pub"]
    place.tbk.run("tbk-sign", "keygen", "--no-password", "--private", keys[0], "--public", keys[1])
    place.push(1, "--sign-key", keys[0])
    place.check(50, "--sign-key", keys[0])
    assert place.next()["proof"] == "check" and place.read("trust").startswith(b"unchecked\t")
    found = place.tbk.run("tbk-pull", place.path, "--prepare", place.directory, "--group", GROUP, "--incremental",
                          "--verify-key", keys[1])
    assert b"proof\tmanifest\n" in place.read("prepared") and place.read("trust").startswith(b"verified\t"), found


@pytest.mark.parametrize("reason", ["lost", "limits", "manifest", "damaged", "none"])
def test_why_the_next_one_is_full(place, reason):
    first = place.push(1)
    last = place.push(2, needs=[first], manifest=reason != "none")
    place.check()
    rules = []
    if reason == "lost":
        (place.path / "backups" / place.ledger()["backups"][0]["filename"]).unlink()
    elif reason == "limits":
        rules = ["--rules", "max-backups=1"]
    elif reason != "none":
        path = place.path / "manifests" / place.ledger()["backups"][1]["manifest"]["filename"]
        path.chmod(0o600)
        path.unlink() if reason == "manifest" else path.write_bytes(archive(7))
    found = place.next(*rules)
    assert found["last"] == last and found["full"] == {"damaged": "manifest", "none": "manifest"}.get(reason, reason)
    assert found["lost"] == (first if reason == "lost" else "-")
    assert found["manifest"] == {"manifest": "missing", "damaged": "damaged", "none": "none"}.get(reason, "-")
    assert found["proof"] == "check"


def test_whether_rules_would_remove_something_is_known_before(place):
    for seed in (1, 2):
        place.push(seed)
    assert place.prepare("--rules", "max-backups=2")["prune"] == "no"
    assert place.prepare("--rules", "max-backups=1")["prune"] == "yes"
    assert place.prepare("--rules", "keep-last=1")["prune"] == "yes"
    assert place.prepare("--rules", "retention-days=1")["prune"] == "yes"


def test_backups_in_no_group_belong_to_a_profile_that_says_so(place):
    first = place.push(1, group=None)
    found = place.next(group="-")
    assert (found["last"], found["check"]) == (first, "none")
    last = place.push(2)
    assert place.next("--group", "-")["last"] == last and len(place.read("list").splitlines()) == 2


@pytest.mark.parametrize("wrong", [
    ["latest"], ["--list"], ["--check"], ["-o", "x"], ["--rules", "max-backups=0"], ["--rules", "x=1"], ["--rules", ""]])
def test_what_does_not_go_with_it(place, wrong):
    place.push(1)
    place.prepare(*wrong, status=64)


@pytest.mark.parametrize("wrong", [["--incremental"], ["--rules", "max-backups=1"], ["--cache", "x"]])
def test_what_goes_only_with_it(place, wrong):
    place.tbk.run("tbk-pull", place.path, "--list", *wrong, status=64)
    place.tbk.run("tbk-pull", place.path, "--prepare", place.directory, status=64)


def test_a_directory_that_is_not_there_is_not_made(place):
    place.push(1)
    shutil.rmtree(place.directory)
    place.tbk.run("tbk-pull", place.path, "--prepare", place.directory, "--group", GROUP, status=73)


# After it


def verdicts(place):
    return [line.split("\t") for line in place.last.lines[1:]]


def test_old_backups_go_after_the_new_one_is_stored(place):
    ids = [place.push(seed) for seed in (1, 2)]
    ids.append(place.push(3, "--then-prune", "max-backups=2"))
    assert place.last.lines[0].split("\t")[0] == ids[2]
    assert [line[:2] for line in verdicts(place)] == [["remove", ids[0]], ["keep", ids[1]], ["keep", ids[2]]]
    assert [entry["id"] for entry in place.ledger()["backups"]] == ids[1:]
    # Two commits: nothing was removed before the new one was there.
    assert place.ledger()["sequence"] == 4
    place.push(4, "--then-prune", "max-backups=9")
    assert {line[0] for line in verdicts(place)} == {"keep"} and place.ledger()["sequence"] == 5


def test_only_the_group_is_judged_and_what_is_in_none_if_it_is_said(place):
    bare = place.push(1, group=None)
    other = place.push(2, group=OTHER)
    first = place.push(3)
    place.push(4, "--then-prune", "max-backups=1")
    assert [line[:2] for line in verdicts(place)][0] == ["remove", first] and len(verdicts(place)) == 2
    last = place.push(5, "--then-prune", "max-backups=1", "--with-ungrouped")
    assert [entry["id"] for entry in place.ledger()["backups"]] == [other, last]
    assert bare in [line[1] for line in verdicts(place) if line[0] == "remove"]
    for wrong in (["--with-ungrouped"], ["--then-prune", "max-backups=1", "--with-ungrouped"]):
        place.tbk.run("tbk-push", place.path, *wrong, input=archive(6), status=64)


def test_what_is_not_complete_takes_no_others_place(place):
    place.push(1)
    place.push(2, "--then-prune", "max-backups=1", complete=False)
    assert len(place.last.lines) == 1 and b"not complete" in place.last.err
    assert len(place.ledger()["backups"]) == 2


def test_a_prune_that_fails_is_a_line_and_no_failure(place):
    ids = [place.push(seed) for seed in (1, 2)]
    put(place.scratch / "receipt", json.dumps({
        "receipt": 1, "id": "ab" * 32, "created_at": "2026-01-09T00:00:00+00:00", "file_count": 1, "mode": "full",
        "depends_on": [], "complete": True}).encode())
    push = ["tbk-push", place.path, "--receipt", place.scratch / "receipt", "--group", GROUP]
    # Everything is older than the limit: nothing would be left.
    done = place.tbk.run(*push, "--then-prune", "retention-days=1", input=archive(3))
    assert done.lines[0].startswith("ab" * 32) and done.lines[1].split("\t")[:2] == ["failed", "77"] and len(done.lines) == 2
    assert b"warning: the backup is stored, but old backups were not removed: " in done.err
    assert [entry["id"] for entry in place.ledger()["backups"]] == [*ids, "ab" * 32]
    again = place.tbk.run(*push, "--then-prune", "retention-days=1", "--json", input=archive(3))
    entry, failure = map(json.loads, again.lines)
    assert entry["id"] == "ab" * 32 and described(failure, "prune-failure") and failure["status"] == 77


@pytest.mark.parametrize("rules", ["", "max-backups", "max-backups=0", "keep-last=1,max-backups=1", "unknown=1"])
def test_rules_that_are_none_store_nothing(place, rules):
    place.push(1, "--then-prune", rules, status=64)
    assert not (place.path / "metadata.json").exists()


def test_pruning_goes_over_what_was_just_committed(github):
    """No request asks for the ledger again, and none is made where nothing is to go."""
    push = ["--group", GROUP, "--new-group", "--then-prune"]
    for seed in (1, 2):
        github.push(archive(seed), *push, "max-backups=2")
    github.clear_log()
    github.push(archive(3), "--group", GROUP)
    alone = len(github.log())
    github.clear_log()
    github.push(archive(4), *push, "max-backups=4")
    assert len(github.log()) == alone
    github.clear_log()
    done = github.push(archive(5), *push, "max-backups=2")
    # The tree, the commit, the branch.
    methods = [(entry["method"], entry["path"].rpartition("/git/")[2]) for entry in github.log()]
    assert sum(line.startswith("remove\t") for line in done.lines) == 3
    assert [method for method, _ in methods[alone:]].count("GET") <= 1 and methods[-1][0] == "PATCH", methods
    github.check()

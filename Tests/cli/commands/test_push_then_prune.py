"""tbk-push --then-prune: old backups are removed after the new one is stored."""

import json

import pytest
from conftest import put
from github_fixture import github, github_server  # noqa: F401
from test_github_store import archive
from test_json import check as described
from visit_fixture import GROUP, OTHER, place  # noqa: F401


def verdicts(place):
    return [line.split("\t") for line in place.last.lines[1:]]


def test_old_backups_go_after_the_new_one_is_stored(place):
    ids = [place.push(seed) for seed in (1, 2)]
    ids.append(place.push(3, "--then-prune", "max-backups=2"))
    assert place.last.lines[0].split("\t")[0] == ids[2]
    assert [line[:2] for line in verdicts(place)] == [["remove", ids[0]], ["keep", ids[1]], ["keep", ids[2]]]
    assert [entry["id"] for entry in place.ledger()["backups"]] == ids[1:]
    # Two commits: nothing was removed before the new backup was stored.
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
    # Every backup is older than the limit: none would be left.
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
    """The ledger is not requested again, and if there is nothing to remove, no request is made."""
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

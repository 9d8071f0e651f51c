"""tbk-pull --prepare: everything that a run needs to know about its store, in one visit."""

import os
import shutil

import pytest
from conftest import put, snapshot
from github_fixture import github, github_server  # noqa: F401
from test_github_store import archive, identify
from visit_fixture import GROUP, OTHER, place  # noqa: F401


def test_of_an_empty_store_it_is_known_that_it_is_empty(place):
    found = place.next()
    assert found == {"last": "-", "last_count": "-", "last_suite": "-", "full": "first", "lost": "-", "manifest": "-", "check": "none", "check_sha256": "-",
                     "key_epoch": "-", "identity": "-", "identity_state": "-", "proof": "check", "prune": "no"}
    assert place.names() == ["list", "prepared", "trust"] and place.read("list") == b"" and place.read("trust") == b"unsigned\n"


def test_everything_comes_with_one_visit(place):
    first = place.push(1)
    place.push(9, group=OTHER)
    last = place.push(2, needs=[first])
    hash = place.check()
    before = snapshot(place.path)
    found = place.next()
    assert found == {"last": last, "last_count": "1", "last_suite": "password", "full": "-", "lost": "-", "manifest": "fetched", "check": "pinned",
                     "check_sha256": hash, "key_epoch": "0", "identity": "-", "identity_state": "-", "proof": "check", "prune": "no"}
    assert place.read("manifest") == archive(102) and place.read("check") == archive(50)
    assert place.read("list") == place.tbk.run("tbk-pull", place.path, "--list", "--group", GROUP).out
    assert snapshot(place.path) == before
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in place.directory.iterdir())
    # A full backup needs only the id of the last one.
    found = place.prepare()
    assert (found["last"], found["full"], found["manifest"]) == (last, "-", "-") and "manifest" not in place.names()


def test_of_a_sealed_identity_it_is_seen_whether_the_store_has_it(place):
    place.push(1)
    place.check()
    assert (place.next("--identity")["identity_state"], place.next("--identity")["check"]) == ("-", "none")
    sealed = b"age-encryption.org/v1\n" + os.urandom(300)
    put(place.scratch / "identity", sealed)
    place.tbk.run("tbk-store", "identity", place.path, place.scratch / "identity", "--group", GROUP)
    # It is looked for only on request, and the check is not fetched then.
    assert (place.next()["identity_state"], place.next()["check"]) == ("-", "pinned")
    found = place.next("--identity")
    assert (found["identity"], found["identity_state"], found["check"]) == (identify(sealed), "whole", "none")
    assert "check" not in place.names()
    stored, = (place.path / "keys").iterdir()
    for data in (sealed[:-1], sealed + b"x", sealed[:-1] + b"?", b"", b"x" * (2 << 20)):
        stored.unlink()
        put(stored, data)
        assert place.next("--identity")["identity_state"] == "altered", data[:50]
    stored.unlink()
    assert place.next("--identity")["identity_state"] == "missing"
    stored.mkdir()
    assert place.next("--identity")["identity_state"] == "altered"
    place.tbk.run("tbk-pull", place.path, "--prepare", place.directory, "--identity", "--pin-out", place.scratch / "pin", "--group",
                  GROUP, status=64)


def test_a_manifest_at_hand_proves_the_password_if_it_is_the_ledgers(place):
    place.push(1)
    place.check()
    place.keep(1)
    found = place.next()
    assert (found["manifest"], found["proof"]) == ("cached", "manifest") and "manifest" not in place.names()
    # The check must still have the hash that the ledger gives.
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
    """A killed rotation leaves this: the last backup has the new password, and its group the old one."""
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

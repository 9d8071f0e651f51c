"""cipher_suite of profiles and of config.json, and --suite of the verbs: chains that mix suites 1 and 3."""

import json
import os
import shutil

import pytest
from conftest import put, snapshot
from github_fixture import github, github_server  # noqa: F401, fixtures
from test_consolidate import consolidate, entries, shell  # noqa: F401
from test_rotate_key import NEW, new  # noqa: F401

SUITE = 3


def suite_of(data):
    """The suite and the salt in an archive's header."""
    salt = data[14:14 + data[13]]
    at = 14 + data[13]
    return data[at + 1 + data[at]], salt


class Place:
    """Where archives and checks are: a directory, or the stand-in for GitHub."""

    def __init__(self, shell, github=None):
        self.shell, self.github = shell, github

    def read(self, path):
        if self.github:
            return self.github.server.git(self.github.name, "show", f"main:{path}")
        return (self.shell.home / "store" / path).read_bytes()

    def ledger(self):
        return json.loads(self.read("metadata.json"))

    def suites(self):
        """The suite of each archive; its sealed manifest must have the same one."""
        found = []
        for entry in self.ledger()["backups"]:
            archive, manifest = suite_of(self.read("backups/" + entry["filename"])), suite_of(self.read("manifests/" + entry["manifest"]["filename"]))
            assert archive[0] == manifest[0] and entry.get("suite", 1) == archive[0], entry
            found.append(archive[0])
        return found

    def salts(self):
        """The salts of all archives and manifests in suite 3."""
        salts = set()
        for entry in self.ledger()["backups"]:
            for path in ("backups/" + entry["filename"], "manifests/" + entry["manifest"]["filename"]):
                suite, salt = suite_of(self.read(path))
                if suite == SUITE:
                    salts.add(salt)
        return salts

    def check(self):
        group, = self.ledger()["groups"].values()
        return suite_of(self.read("checks/" + group["check"]["filename"]))


def grow(source, number):
    put(os.path.join(source, f"file{number}"), b"%d\n" % number * 500)


def restored(shell, identity, to, **options):
    shell.run("restore", identity, "-p", "p", "--to", to, "--setuid", **options)
    found = snapshot(to)
    shutil.rmtree(to)
    return found


def walk_through(shell, place, small, tmp_path, new, fields=()):
    shell.profile("p", small, "--mode", "incremental", "--cipher-suite", "3", *fields)
    trees = []

    def backup(number, *words):
        grow(small, number)
        report = json.loads(shell.run("run", "p", "--json", *words).stdout)
        assert report["mode"] == ("incremental" if trees else "full")
        trees.append(snapshot(small))

    backup(0)
    backup(1)
    backup(2, "--suite", "1")
    shell.run("profile", "edit", "p", "--cipher-suite", "1")
    backup(3)
    shell.run("profile", "edit", "p", "--unset", "cipher_suite")
    shell.tbk.run("tbk-config", "set", "cipher_suite", "3")
    backup(4)
    assert place.suites() == [3, 3, 1, 1, 3]
    assert place.check()[0] == SUITE and place.salts() == {place.check()[1]}, "one derivation opens them all"
    ids = [entry["id"] for entry in entries(shell)]
    for number in (2, 4):
        assert restored(shell, ids[number], tmp_path / "out") == trees[number]
    shell.run("restore", "latest", "-p", "p", "--to", tmp_path / "one", "--include", "file2")
    assert os.listdir(tmp_path / "one") == ["file2"]
    assert (tmp_path / "one" / "file2").read_bytes() == b"2\n" * 500
    assert shell.run("diff", ids[1], ids[2], "-p", "p", status=1).stdout.count(b"file2") == 1
    assert json.loads(shell.run("verify", "--all", "-p", "p", "--json").stdout)["checked_count"] == 5
    # In the suite of the profile, or in another one.
    whole = consolidate(shell, "latest")["id"]
    assert place.suites() == [3, 3, 1, 1, 3] and restored(shell, whole, tmp_path / "out") == trees[4]
    consolidate(shell, ids[2], "--suite", "1")
    assert place.suites()[-3:] == [1, 1, 3]
    shell.run("prune", "p", "--keep-last", "2", "--yes")
    left = entries(shell)
    kept = place.suites()
    assert kept[-1] == SUITE and 1 in kept
    # Each keeps its suite; those in suite 3 share the salt of the new check.
    shell.run("rotate-key", "p", "--new-password-file", new)
    assert place.suites() == kept and [entry["id"] for entry in entries(shell)] == [entry["id"] for entry in left]
    assert place.check()[0] == SUITE and place.salts() == {place.check()[1]}
    shell.run("verify", "--all", "-p", "p", status=77)
    shell.run("verify", "--all", "-p", "p", password=NEW)
    assert restored(shell, "latest", tmp_path / "out", password=NEW) == trees[4]
    grow(small, 9)
    assert json.loads(shell.run("run", "p", "--json", password=NEW).stdout)["mode"] == "incremental"


def test_a_chain_mixes_suites_in_a_directory(shell, small, tmp_path, new):  # noqa: F811
    walk_through(shell, Place(shell), small, tmp_path, new)


@pytest.mark.soak
def test_a_chain_mixes_suites_on_github(shell, small, tmp_path, new, github):  # noqa: F811
    shell.environment.update(github.environment)
    walk_through(shell, Place(shell, github), small, tmp_path, new, ["--repo", github.address])


def test_a_profile_of_before_may_change_to_suite_3(shell, small):  # noqa: F811
    shell.profile("p", small, "--mode", "incremental", "--compression-level", "9")
    shell.run("run", "p")
    done = shell.run("profile", "edit", "p", "--cipher-suite", "3")
    assert b"usual level" in done.stderr
    grow(small, 1)
    shell.run("run", "p")
    place = Place(shell)
    assert place.suites() == [1, 3]
    # Salts in suite 1 are never shared.
    assert place.check()[0] == 1 and place.check()[1] not in place.salts()
    shell.run("verify", "--all", "-p", "p")


def test_the_ledger_alone_vouches_for_archives_of_suite_3(shell, small, tmp_path, new):  # noqa: F811
    shell.profile("p", small, "--mode", "incremental", "--cipher-suite", "3")
    shell.run("generate-key", "--enable", "--no-password")
    shell.run("run", "p")
    grow(small, 1)
    shell.run("run", "p", "--suite", "1")
    grow(small, 2)
    shell.run("run", "p")
    place = Place(shell)

    def signed():
        return [bool(entry.get("signature")) for entry in place.ledger()["backups"]]

    assert place.suites() == [3, 1, 3] and signed() == [False, True, False]
    assert place.ledger()["ledger_signature"]
    consolidate(shell, "latest")
    shell.run("rotate-key", "p", "--new-password-file", new)
    assert place.suites() == [3, 1, 3] and signed() == [False, True, False]
    report = json.loads(shell.run("verify", "--all", "-p", "p", "--json", password=NEW).stdout)
    assert report["ledger"] == "verified" and report["failures"] == []
    shell.run("restore", "latest", "-p", "p", "--to", tmp_path / "out", "--require-signature", password=NEW)


def test_a_package_in_suite_3(shell, small, tmp_path):  # noqa: F811
    shell.run("init")
    shell.run("package", small, "-o", tmp_path / "one.tbk", "--suite", "3", "--level", "19")
    shell.tbk.run("tbk-config", "set", "cipher_suite", "3")
    shell.run("package", small, "-o", tmp_path / "two.tbk")
    shell.run("package", small, "-o", tmp_path / "three.tbk", "--suite", "1")
    assert [suite_of((tmp_path / name).read_bytes())[0] for name in ("one.tbk", "two.tbk", "three.tbk")] == [3, 3, 1]
    shell.run("unpack", tmp_path / "one.tbk", "--to", tmp_path / "out", "--setuid")
    assert snapshot(tmp_path / "out") == snapshot(small)
    shell.run("package", small, "-o", tmp_path / "two.tbk", "--suite", "3", "--level", "0", status=64)


@pytest.mark.parametrize("arguments", [
    ["--cipher-suite", "2"], ["--cipher-suite", "age"], ["--cipher-suite", "3", "--compression-level", "0"],
    ["--cipher-suite", "1", "--compression-level", "10"], ["--compression-level", "20"]], ids=str)
def test_what_no_profile_can_have(arguments, shell, small):  # noqa: F811
    shell.run("init")
    status = 64 if arguments[-1] in ("2", "age", "20") else 78
    assert shell.run("profile", "create", "p", "--source", small, *arguments, status=status).stdout == b""
    assert os.listdir(shell.home / "profiles") == []


def test_a_level_that_the_suite_of_the_configuration_lacks(shell, small):  # noqa: F811
    shell.profile("p", small, "--compression-level", "0")
    shell.tbk.run("tbk-config", "set", "cipher_suite", "3")
    assert b"compression_level" in shell.run("run", "p", status=78).stderr
    shell.run("run", "p", "--suite", "1")
    shell.run("run", "p", "--suite", "2", status=64)
    assert Place(shell).suites() == [1]

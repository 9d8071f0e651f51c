"""termbackup find: which backups contain a file, in which versions, and what it caches."""

import hashlib
import json
import os
import shutil

import pytest
from conftest import PASSWORD, put, require
from shell_fixture import Shell


@pytest.fixture
def shell(tbk, tmp_path):
    require("dash")
    return Shell(tbk, tmp_path, ["dash"])


class History:
    """Five backups of one tree, and for each path and content the backups that contain it."""

    def __init__(self, shell, source, *fields, **options):
        self.shell, self.source, self.options = shell, source, options
        self.wanted = {}
        self.ids = []
        source.mkdir()
        shell.profile("p", source, "--mode", "incremental", *fields)
        for change in (self.first, self.second, self.third, self.fourth, self.fifth):
            change()
            self.run()

    def run(self):
        self.shell.run("run", "p", **({"password": None} if "password" in self.options else {}))
        listed = [json.loads(line) for line in self.shell.run("list", "p", "--json").stdout.splitlines()]
        self.ids = [entry["id"] for entry in listed]
        top = os.fsencode(self.source)
        for folder, folders, files in os.walk(top):
            for name in folders + files:
                path = os.path.join(folder, name)
                content = os.readlink(path) if os.path.islink(path) else b"" if os.path.isdir(path) else open(path, "rb").read()
                self.wanted.setdefault((os.path.relpath(path, top), content), []).append(self.ids[-1])

    def put(self, name, data):
        put(os.path.join(os.fsencode(self.source), os.fsencode(name)), data)

    def first(self):
        for name in ("a.txt", "d/a.txt", "d/b", "e/f/g.txt", "new\nline.txt", b"\xff.txt", "tab\there.txt"):
            self.put(name, b"first\n")

    def second(self):
        self.put("d/a.txt", b"second\n")
        (self.source / "link.txt").symlink_to("a.txt")

    def third(self):
        self.put("d/a.txt", b"first\n")
        (self.source / "e" / "f" / "g.txt").unlink()
        (self.source / "link.txt").unlink()
        (self.source / "link.txt").symlink_to("d/b")

    def fourth(self):
        os.utime(self.source / "a.txt", (1, 1))
        self.put("e/f/g.txt", b"again\n")

    def fifth(self):
        self.put("d/a.txt", b"fifth\n")

    def find(self, *arguments, **options):
        return self.shell.run("find", *arguments, **{**self.options, **options})

    def found(self, *arguments, **options):
        """The backups, by path, size and type."""
        result = {}
        for line in self.find(*arguments, "--json", **options).stdout.splitlines():
            entry = json.loads(line)
            path = entry["relative_path"].encode("utf-8", "surrogateescape")
            result[path, entry["sha256"] or entry["link_target"] or ""] = entry["backups"]
        return result

    def check(self, *arguments, **options):
        wanted = {}
        for (path, content), ids in self.wanted.items():
            if not path.endswith(b".txt"):
                continue
            is_link = not content.endswith(b"\n")
            wanted[path, content.decode() if is_link else hashlib.sha256(content).hexdigest()] = ids
        assert self.found("*.txt", *arguments, **options) == wanted


@pytest.mark.parametrize("suite", ["1", "3"])
def test_each_version_of_each_path(shell, tmp_path, suite):
    history = History(shell, tmp_path / "source", "--cipher-suite", suite)
    for _ in range(2):
        history.check()
    lines = history.find("d/a.txt").stdout.decode().splitlines()
    assert lines[0].split() == ["LAST", "IN", "BACKUPS", "SIZE", "MODIFIED", "PATH"] and len(lines) == 4
    assert {tuple(line.split()[:2]) for line in lines[1:]} == {
        (history.ids[3][:12], "3"), (history.ids[1][:12], "1"), (history.ids[4][:12], "1")}
    rows = [row.split(b"\t", 5) for row in history.find("*.txt", "-0").stdout.split(b"\0")[:-1]]
    assert {row[5] for row in rows} >= {b"new\nline.txt", b"\xff.txt", b"tab\there.txt"} and len(rows[0][0]) == 64
    done = history.find("nothing")
    assert done.stdout == b"" and b"nothing in the backups matches" in done.stderr
    assert [json.loads(line)["relative_path"] for line in history.find("/e/", "--json").stdout.splitlines()] == ["e"]


def test_what_is_known_is_not_read_again(shell, tmp_path):
    history = History(shell, tmp_path / "source", "--cipher-suite", "3")
    history.check()
    kept = next((shell.home / "cache").glob("*/versions"))
    assert b"a.txt" not in kept.read_bytes() and kept.stat().st_mode & 0o77 == 0
    manifests = shell.home / "store" / "manifests"
    manifests.rename(tmp_path / "manifests")
    archives = shell.home / "store" / "backups"
    archives.rename(tmp_path / "archives")
    history.check()
    # A new manifest is read, and those of pruned backups are removed.
    (tmp_path / "manifests").rename(manifests)
    (tmp_path / "archives").rename(archives)
    history.put("more.txt", b"more\n")
    history.run()
    shell.run("consolidate", "p", history.ids[-1])
    shell.run("prune", "p", "--keep-last", "1", "--yes")
    assert len(json.loads(history.find("more.txt", "--json").stdout)["backups"]) == 1
    assert b"g.txt" in history.find("g.txt").stdout
    assert history.find("d/a.txt", "--json").stdout.count(b"\n") == 1


def test_an_index_that_is_damaged_or_under_another_password_is_made_again(shell, tmp_path):
    history = History(shell, tmp_path / "source", "--cipher-suite", "3")
    history.check()
    kept = next((shell.home / "cache").glob("*/versions"))
    good = kept.read_bytes()
    for damaged in (b"", good[:-1], good[:300] + bytes([good[300] ^ 1]) + good[301:], b"not sealed\n"):
        kept.write_bytes(damaged)
        history.check()
        assert len(kept.read_bytes()) > 300
    shell.run("rotate-key", "p", env={"TERMBACKUP_NEW_PASSWORD": "another"})
    assert not kept.exists()
    history.check(password=b"another")
    history.find("a.txt", password=PASSWORD, status=77)


def test_a_manifest_that_cannot_be_read_is_named(shell, tmp_path):
    history = History(shell, tmp_path / "source", "--cipher-suite", "3")
    lost = history.ids[1]
    for folder in ("backups", "manifests"):
        next((shell.home / "store" / folder).glob(f"*_{lost[:12]}*")).unlink()
    done = history.find("d/a.txt", status=3)
    assert lost.encode() in done.stderr and lost[:12].encode() not in done.stdout
    # The manifest in the archive is used instead.
    other = history.ids[2]
    shutil.rmtree(shell.home / "cache")
    next((shell.home / "store" / "manifests").glob(f"*_{other[:12]}*")).unlink()
    assert sum(ids.count(other) for ids in history.found("*.txt", status=3).values()) == 6


def test_what_is_sealed_to_a_recipient(shell, tmp_path):
    identity = tmp_path / "identity"
    shell.tbk.run("tbk-keygen", "-o", identity)
    recipient = shell.tbk.run("tbk-keygen", "-y", identity).out.decode().strip()
    history = History(shell, tmp_path / "source", "--recipient", recipient, password=None)
    for _ in range(2):
        history.check("-i", str(identity), "--unsigned")
    history.find("a.txt", status=64)


@pytest.mark.parametrize("arguments", [["!a"], ["a", "--json", "-0"], [], ["a", "b"]])
def test_contradictions_are_wrong_usage(shell, small, arguments):
    shell.profile("p", small)
    shell.run("run", "p")
    shell.run("find", *arguments, status=64)

"""termbackup diff: any two backups of a profile, compared by their sealed manifests alone."""

import itertools
import json
import os
import shutil

import pytest
from conftest import put, require
from github_fixture import github, github_server  # noqa: F401, fixtures
from shell_fixture import Shell


@pytest.fixture
def shell(tbk, tmp_path):
    require("dash")
    return Shell(tbk, tmp_path, ["dash"])


@pytest.fixture
def history(shell, tmp_path):
    """A profile p with full and incremental backups, and the tree's manifest at each."""
    return make_history(shell, tmp_path)


def make_history(shell, tmp_path, *fields):
    source = tmp_path / "source"

    def first():
        for name in ("same", "d/changed", "d/deleted", "becomes a link", "gets a mode", "gets a time", "new\nline \xff"):
            put(os.path.join(os.fsencode(source), name.encode("latin-1")), b"first\n", mtime_ns=10 ** 18)

    def second():
        put(source / "d" / "changed", b"second\n")
        put(source / "added", b"added\n")
        (source / "d" / "deleted").unlink()

    def third():
        (source / "becomes a link").unlink()
        (source / "becomes a link").symlink_to("same")
        (source / "gets a mode").chmod(0o600)
        os.utime(source / "gets a time", ns=(1, 1))

    def fourth():
        put(source / "d" / "deleted", b"first\n", mtime_ns=10 ** 18)
        shutil.copy(source / "same", os.path.join(os.fsencode(source), b"tab\there"))

    shell.run("init")
    manifests = []
    for number, (change, mode) in enumerate(
            ((first, []), (second, []), (third, []), (fourth, ["--full"]), (first, []))):
        change()
        if number == 0:
            shell.run("profile", "create", "p", "--source", source, "--mode", "incremental", *fields)
        manifests.append(put(tmp_path / f"manifest {number}", shell.tbk.manifest(source)))
        shell.run("run", "p", *mode)
    listed = [json.loads(line) for line in shell.run("list", "p", "--json").stdout.splitlines()]
    assert [entry["mode"] for entry in listed] == ["full", "incremental", "incremental", "full", "incremental"]
    return [entry["id"] for entry in listed], manifests


def between(shell, manifests, old, new, *arguments):
    """The output of tbk-manifest diff for the original trees."""
    done = shell.tbk.run("tbk-manifest", "diff", *arguments, manifests[old], manifests[new], status={0, 1})
    return done.status, done.out


def test_any_two_backups_in_any_order(shell, history):
    ids, manifests = history
    for old, new in [*itertools.combinations_with_replacement(range(len(ids)), 2), (4, 0), (3, 1)]:
        status, wanted = between(shell, manifests, old, new)
        assert status == (old != new)
        assert shell.run("diff", ids[old], ids[new][:12], "-p", "p", status=status).stdout == wanted
    status, lines = between(shell, manifests, 0, 2)
    assert {"modified\td/changed", "added\tadded", "deleted\td/deleted", "type\tbecomes a link", "mode\tgets a mode",
            "metadata\tgets a time"} <= set(lines.decode().splitlines())


def test_every_form_of_it(shell, history):
    ids, manifests = history
    for form in ("--json", "-0"):
        _, wanted = between(shell, manifests, 4, 1, form)
        assert shell.run("diff", "latest", ids[1], "-pp", form, status=1).stdout == wanted
    objects = [json.loads(line) for line in shell.run("diff", ids[2], ids[3], "-p", "p", "--json", status=1).stdout.splitlines()]
    assert {"status": "added", "relative_path": "tab\there"} in objects
    assert b"added\ttab\there\0" in shell.run("diff", ids[2], ids[3], "-p", "p", "-0", status=1).stdout
    assert b'added\t"tab\\there"\n' in shell.run("diff", ids[2], ids[3], "-p", "p", status=1).stdout
    assert shell.run("diff", "latest", ids[4], "-p", "p", "--json").stdout == b""


def test_no_archive_is_needed(shell, history):
    """The archives and the cache have been removed."""
    ids, manifests = history
    shutil.rmtree(shell.home / "store" / "backups")
    shutil.rmtree(shell.home / "cache")
    status, wanted = between(shell, manifests, 0, 4)
    assert shell.run("diff", ids[0], ids[4], "-p", "p", status=status).stdout == wanted


def test_where_manifests_are_lost_those_in_the_archives_are_read(shell, tmp_path):
    ids, manifests = make_history(shell, tmp_path, "--cipher-suite", "3")
    shutil.rmtree(shell.home / "store" / "manifests")
    shutil.rmtree(shell.home / "cache")
    for old, new in ((0, 4), (3, 1)):
        status, wanted = between(shell, manifests, old, new)
        assert shell.run("diff", ids[old], ids[new], "-p", "p", status=status).stdout == wanted
    shutil.rmtree(shell.home / "store" / "backups")
    shell.run("diff", ids[0], ids[4], "-p", "p", status=66)


def test_what_is_left_by_prune_and_consolidate_is_compared(shell, history):
    ids, manifests = history
    new = json.loads(shell.run("consolidate", "p", ids[2], "--json").stdout)["id"]
    assert shell.run("diff", "latest", new, "-p", "p", status=1).stdout == between(shell, manifests, 4, 2)[1]
    shell.run("prune", "p", "--keep-last", "3", "--yes")
    shutil.rmtree(shell.home / "cache")
    for old, wanted in ((new, 2), (ids[3], 3)):
        assert shell.run("diff", old, "latest", "-p", "p", status=1).stdout == between(shell, manifests, wanted, 4)[1]
    shell.run("diff", ids[0], "latest", "-p", "p", status=69)


def test_on_github_only_manifests_are_fetched(github, shell, tmp_path):  # noqa: F811
    shell.environment.update(github.environment)
    ids, manifests = make_history(shell, tmp_path, "--repo", github.address)
    shutil.rmtree(shell.home / "cache")
    github.clear_log()
    assert shell.run("diff", ids[1], "latest", "-p", "p", status=1).stdout == between(shell, manifests, 1, 4)[1]
    paths = [entry["path"] for entry in github.log() if entry["method"] == "GET"]
    assert not [path for path in paths if "backup_" in path]
    assert len([path for path in paths if "manifest_" in path]) == 2
    assert all(entry["method"] == "GET" for entry in github.log())


@pytest.mark.parametrize("arguments", [
    ["latest", "latest", "latest"], ["latest", "xyz"], ["latest", "latest", "-0", "--json"]])
def test_contradictions_are_wrong_usage(arguments, shell, small):
    shell.profile("p", small)
    shell.run("run", "p")
    shell.run("diff", *arguments, "-p", "p", status=64)

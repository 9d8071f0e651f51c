"""A group is named by its id or a prefix of it; a group that the store does not have is not created by mistake."""

import json

import pytest
from conftest import put
from shell_fixture import shell  # noqa: F401
from test_github_store import archive

ONE, TWO = "d3e3" + "1" * 28, "d3e3" + "2" * 28


@pytest.fixture
def store(tbk, tmp_path):
    """A store with two backups in one group, and one in another."""
    folder = tmp_path / "groups"
    folder.mkdir()
    for seed, group in enumerate((ONE, ONE, TWO)):
        tbk.run("tbk-push", folder, "--group", group, "--new-group", input=archive(seed))
    return folder


def groups(store):
    return [entry.get("group") for entry in json.loads((store / "metadata.json").read_text())["backups"]]


def test_the_beginning_of_a_group_is_enough(tbk, store):
    tbk.run("tbk-push", store, "--group", "d3e31", input=archive(5))
    assert groups(store) == [ONE, ONE, TWO, ONE]
    assert [line.split("\t")[5] for line in tbk.run("tbk-pull", store, "--list", "--group", "d3e32").lines] == [TWO]
    assert tbk.run("tbk-pull", store, "latest", "--group", "d3e32").out == archive(2)
    assert tbk.run("tbk-pull", store, "--summary", "--group", "d3e31").out.count(b"backup_count\t3\n") == 1
    assert tbk.run("tbk-prune", store, "--keep-last", "1", "--group", "d3e31").lines[0].startswith("remove\t")
    assert groups(store) == [TWO, ONE]
    tbk.run("tbk-store", "password-check", store, "-", "--group", "d3e32", input=archive(7))
    assert [path.name for path in (store / "checks").iterdir()] == [f"{TWO}.tbk"]
    assert tbk.run("tbk-pull", store, "--check", "--group", "d3e32").out == archive(7)


@pytest.mark.parametrize("group,status", [("d3e3", 64), ("d3e", 69), ("d3e34", 69), ("nobody", 69), (ONE + "1", 69)])
def test_a_group_that_is_not_there_is_refused(tbk, store, group, status):
    before = (store / "metadata.json").read_bytes()
    for command in (["tbk-push", store], ["tbk-pull", store, "--list"], ["tbk-pull", store, "latest"],
                    ["tbk-pull", store, "--summary"], ["tbk-pull", store, "--manifest", "latest"],
                    ["tbk-prune", store, "--keep-last", "1"], ["tbk-prune", store, "--next-mode", "--max-backups", "3"],
                    ["tbk-store", "password-check", store, "-"], ["tbk-store", "check", store]):
        done = tbk.run(*command, "--group", group, input=archive(6), status=status)
        assert done.out == b"" and group.encode() in done.err
        if status == 64:
            assert ONE.encode() in done.err and TWO.encode() in done.err
        elif command[0] == "tbk-push" or "password-check" in command:
            assert b"--new-group" in done.err
    tbk.run("tbk-pull", store, "--check", "--group", group, status=status)
    assert (store / "metadata.json").read_bytes() == before and not (store / "checks").exists()


def test_a_group_begins_when_it_is_said_to_be_new(tbk, store):
    assert tbk.run("tbk-pull", store, "--list", "--group", "d3e3", "--new-group").out == b""
    tbk.run("tbk-push", store, "--group", "d3e3", "--new-group", input=archive(6))
    assert groups(store)[-1] == "d3e3"
    # Now it is a group, whatever other ids it is a prefix of.
    tbk.run("tbk-push", store, "--group", "d3e3", input=archive(8))
    assert groups(store)[-2:] == ["d3e3", "d3e3"]
    for command in ("tbk-pull", "tbk-push", "tbk-prune"):
        assert b"--new-group needs --group" in tbk.run(command, store, "--new-group", status=64).err


def test_the_first_group_of_a_store_is_new(tbk, tmp_path):
    folder = tmp_path / "new"
    folder.mkdir()
    tbk.run("tbk-push", folder, input=archive(1))
    tbk.run("tbk-push", folder, "--group", "mine", input=archive(2))
    assert groups(folder) == [None, "mine"]


@pytest.fixture
def profiles(shell, tmp_path):
    """Two profiles in one store."""
    shell.run("init")
    for name in ("a", "b"):
        put(tmp_path / name / "file", name.encode())
        shell.run("profile", "create", name, "--source", tmp_path / name)
        shell.run("run", name)
    return shell


def group_of(shell, name):
    return json.loads((shell.home / "profiles" / f"{name}.json").read_text()).get("group")


def test_verbs_take_the_beginning_of_a_group(profiles, tmp_path):
    store, group = profiles.home / "store", group_of(profiles, "a")
    shown = profiles.run("list", "--store", store, "--group", group[:6]).stdout
    assert shown == profiles.run("list", "a").stdout
    profiles.run("restore", "latest", "--store", store, "--group", group[:6], "--to", tmp_path / "out")
    assert (tmp_path / "out" / "file").read_bytes() == b"a"
    for verb in (["list"], ["restore", "latest", "--to", tmp_path / "none"]):
        assert b"has no group" in profiles.run(*verb, "--store", store, "--group", "nobody", status=69).stderr


def test_a_profile_joins_a_group_that_is_there(profiles, tmp_path):
    group = group_of(profiles, "a")
    profiles.run("profile", "delete", "a")
    put(tmp_path / "a" / "more", b"more")
    made = ["--source", tmp_path / "a", "--group", group[:8]]
    printed = profiles.run("profile", "create", "again", *made, "--json").stdout
    assert group_of(profiles, "again") == group == json.loads(printed)["group"]
    profiles.run("run", "again")
    assert groups(profiles.home / "store").count(group) == 2


@pytest.mark.parametrize("group,status", [("nobody", 69), ("0" * 32, 69)])
def test_a_profile_joins_no_group_that_is_not_there(profiles, tmp_path, group, status):
    refused = profiles.run("profile", "create", "c", "--source", tmp_path / "a", "--group", group, status=status)
    assert b"has no group" in refused.stderr
    assert not (profiles.home / "profiles" / "c.json").exists()
    before = group_of(profiles, "b")
    profiles.run("profile", "edit", "b", "--group", group, status=status)
    assert group_of(profiles, "b") == before
    # Nor a prefix of another profile's group.
    profiles.run("profile", "edit", "b", "--group", group_of(profiles, "a")[:8], status=64)
    assert group_of(profiles, "b") == before
    profiles.run("run", "b")
    assert groups(profiles.home / "store")[-1] == before

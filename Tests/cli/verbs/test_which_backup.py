"""How a backup is chosen: by position, by time, by default; and what has changed since the last one."""

import datetime
import json
import os

import pytest
from conftest import put
from shell_fixture import shell  # noqa: F401
from test_prune import DAY


@pytest.fixture
def three(shell, small):
    """A profile with three backups; each contains one more file."""
    shell.profile("docs", small)
    for number in range(3):
        put(f"{small}/file {number}", b"x" * (number + 1))
        shell.run("run", "-q", "docs")
    return shell


def listed(shell):
    return [json.loads(line) for line in shell.run("list", "docs", "--json").stdout.splitlines()]


def restored(shell, out, *words):
    shell.run("restore", *words, "-p", "docs", "--to", out)
    return len(list(out.glob("file *")))


def test_a_backup_is_named_by_its_place_or_by_a_time(three, tmp_path):
    first, second, _ = listed(three)
    tomorrow = (datetime.datetime.now() + DAY).strftime("%Y-%m-%d")
    for number, (words, count) in enumerate([
            (["latest~0"], 3), (["latest~1"], 2), (["latest~2"], 1), (["--at", tomorrow], 3), (["--at", "0h"], 3),
            (["--at", second["created_at"]], 2), (["--at", first["created_at"]], 1)]):
        assert restored(three, tmp_path / str(number), *words) == count, words
    for words, same in ((["latest~2"], [first["id"]]), (["--at", second["created_at"]], [second["id"]]),
                        (["--manifest", "latest~1"], ["--manifest", second["id"]])):
        one, other = (three.tbk.run("tbk-pull", three.home / "store", *found).out for found in (words, same))
        assert one == other
    three.run("verify", "latest~1", "-p", "docs")
    assert [entry["verified"] for entry in listed(three)] == [False, True, False]
    three.run("verify", "--at", first["created_at"], "-p", "docs")
    assert [entry["verified"] for entry in listed(three)] == [True, True, False]


@pytest.mark.parametrize("words,status", [
    (["latest~3"], 69), (["--at", "2001-01-01"], 69), (["latest~"], 64), (["latest~-1"], 64), (["latest~x"], 64),
    (["latest~99999999999999999999"], 64), (["latests"], 64), (["--at", "2026-02-30"], 64), (["--at", "noon"], 64),
    (["--at", ""], 64), ([], 64), (["latest", "--at", "1h"], 64)])
def test_what_names_none_is_refused(three, tmp_path, words, status):
    for verb in ["restore", "--to", tmp_path / "out"], ["verify"]:
        three.run(verb[0], *words, *verb[1:], "-p", "docs", status=status)
    assert not (tmp_path / "out").exists()
    if words:
        three.tbk.run("tbk-pull", three.home / "store", *words, status=status)


def test_a_time_goes_with_paths_and_a_store_with_a_comparison(three, tmp_path):
    first, second, _ = (entry["created_at"] for entry in listed(three))
    three.run("restore", "--at", second, "file 1", "-p", "docs", "--to", tmp_path / "one")
    assert os.listdir(tmp_path / "one") == ["file 1"]
    three.run("restore", "--at", second, "file 0", "file 1", "-p", "docs", "--to", tmp_path / "two")
    assert sorted(os.listdir(tmp_path / "two")) == ["file 0", "file 1"]
    assert b"'file 2' is not in this backup" in three.run("restore", "--at", second, "file 2", "-p", "docs", "--to", tmp_path / "none", status=66).stderr
    store = ["--store", three.home / "store"]
    assert three.run("diff", *store, status=1).stdout == b"added\t-\t3\tfile 2\n"
    assert three.run("diff", *store, "--at", first, "latest~1", status=1).stdout == b"added\tfile 1\n"
    assert b"cannot be used together" in three.run("diff", *store, "-p", "docs", status=64).stderr


def test_diff_of_nothing_is_of_the_last_two(three, small):
    assert three.run("diff", "-p", "docs", status=1).stdout == b"added\t-\t3\tfile 2\n"
    assert three.run("diff", "latest~2", "-p", "docs", status=1).stdout == b"added\tfile 1\nadded\tfile 2\n"
    first, second, _ = (entry["created_at"] for entry in listed(three))
    assert three.run("diff", "--at", second, "-p", "docs", status=1).stdout == b"added\tfile 2\n"
    assert three.run("diff", "--at", first, "latest~1", "-p", "docs", status=1).stdout == b"added\tfile 1\n"
    assert three.run("diff", "latest", "latest~1", "--sizes", "-0", "-p", "docs", status=1).stdout == b"deleted\t3\t-\tfile 2\0"
    found = three.run("diff", "--json", "-p", "docs", status=1).stdout
    assert json.loads(found) == {"status": "added", "relative_path": "file 2", "old_size": None, "new_size": 3}
    assert b"--at" in three.run("diff", "--at", "1h", "latest", "latest", "-p", "docs", status=64).stderr
    put(f"{small}/file 0", b"four")
    put(f"{small}/directory/x")
    three.run("run", "-q", "docs")
    lines = three.run("diff", "-p", "docs", status=1).stdout.splitlines()
    assert b"modified\t1\t4\tfile 0" in lines and b"added\t-\t-\tdirectory" in lines and b"added\t-\t0\tdirectory/x" in lines


@pytest.mark.parametrize("mode", ["full", "incremental"])
def test_a_run_names_what_has_changed(shell, small, mode):
    shell.profile("docs", small, "--mode", mode)
    put(f"{small}/one", b"1")
    everything = shell.run("run", "--dry-run", "--list", "-q", "docs").stdout
    assert b"added\tone\n" in everything and shell.ids("docs") == []
    assert shell.run("run", "--list", "-q", "docs").stdout == everything
    put(f"{small}/one", b"22")
    put(f"{small}/two\tb", b"")
    changed = b'modified\tone\nadded\t"two\\tb"\n'
    assert shell.run("run", "--dry-run", "--list", "-q", "docs").stdout == changed
    assert len(shell.ids("docs")) == 1
    said = shell.run("run", "--list", "docs").stdout
    assert said.startswith(changed + b"Backed up docs") and len(shell.ids("docs")) == 2
    listed = [json.loads(line)["mode"] for line in shell.run("list", "docs", "--json").stdout.splitlines()]
    assert listed == ["full", mode]
    # A run without changes makes a backup in full mode only.
    assert shell.run("run", "--list", "-q", "docs").stdout == b""
    assert len(shell.ids("docs")) == (3 if mode == "full" else 2)
    assert shell.run("run", "--list", "--full", "-q", "docs").stdout == b""
    assert b"--list" in shell.run("run", "--list", "--json", "docs", status=64).stderr

"""termbackup restore: a tree, parts of it, and existing files in the target."""

import json
import os

from conftest import put, snapshot
from shell_fixture import shell  # noqa: F401


def test_a_tree_comes_back_as_it_was(shell, tree, tmp_path):
    shell.profile("everything", tree)
    said = shell.run("run", "everything").stdout.decode()
    assert said.startswith("Backed up everything as ")
    target = tmp_path / "new" / "restored here"
    shell.run("restore", "latest", "-p", "everything", "--to", target, "--setuid")
    assert snapshot(target) == snapshot(tree)


def test_an_increment_that_holds_no_file_is_restored(shell, tmp_path):
    source = tmp_path / "source"
    put(source / "kept", b"kept\n")
    put(source / "deleted", b"deleted\n")
    shell.profile("docs", source, "--mode", "incremental")
    shell.run("run", "docs")
    (source / "deleted").unlink()
    made = json.loads(shell.run("run", "docs", "--json").stdout)
    assert (made["mode"], made["added_count"], made["deleted_count"]) == ("incremental", 0, 1)
    shell.run("verify", "--all", "-p", "docs")
    shell.run("restore", "latest", "-p", "docs", "--to", tmp_path / "out")
    assert snapshot(tmp_path / "out") == snapshot(source)


def test_nothing_is_overwritten_unasked(shell, small):
    shell.profile("docs", small)
    shell.run("run", "docs")
    plain = os.path.join(small, "plain")
    put(plain, b"changed since\n")
    refused = shell.run("restore", "latest", "-p", "docs", status=73)
    assert b"--overwrite" in refused.stderr
    assert open(plain, "rb").read() == b"changed since\n"
    lines = shell.run("restore", "latest", "-p", "docs", "--dry-run").stdout.decode().splitlines()
    assert "conflict\tplain" in lines
    put(os.path.join(small, "..", "no directory"), b"")
    for place in (f"{small}/plain", f"{small}/../no directory/below"):
        assert b"--overwrite" not in shell.run("restore", "latest", "-p", "docs", "--to", place, status=73).stderr
    shell.run("restore", "latest", "-p", "docs", "--overwrite", "if-changed")
    assert open(plain, "rb").read() == b"plain\n"
    put(plain, b"changed again\n")
    os.unlink(os.path.join(small, "d", "inside"))
    shell.run("restore", "latest", "-p", "docs", "--include", "d/inside", "--overwrite", "if-changed")
    assert open(plain, "rb").read() == b"changed again\n"
    assert os.path.exists(os.path.join(small, "d", "inside"))


def test_restore_goes_where_the_profile_says(shell, small, tmp_path):
    shell.profile("docs", small, "--restore-dir", tmp_path / "there")
    assert b"'termbackup run other'" in shell.run("profile", "create", "other", "--source", small).stderr
    shell.run("run", "docs")
    assert json.loads(shell.run("restore", "latest", "-p", "docs", "--json").stdout)["to"] == str(tmp_path / "there")
    assert snapshot(tmp_path / "there") == snapshot(small)
    shell.run("restore", "latest", "-p", "docs", "--to=-dash", cwd=tmp_path)
    assert snapshot(tmp_path / "-dash") == snapshot(small)
    shell.run("package", small, "-o", "-x.tbk", cwd=tmp_path)
    assert (tmp_path / "-x.tbk").exists()


def test_what_matches_nothing_is_no_restore(shell, small, tmp_path):
    shell.profile("docs", small)
    shell.run("run", "docs")

    def restore(*arguments, **options):
        return shell.run("restore", "latest", "-p", "docs", "--to", tmp_path / "out", *arguments, **options)
    for arguments in ([], ["--dry-run"], ["--json"]):
        assert b"'nosuch'" in restore("--include", "nosuch", *arguments, status=66).stderr
        assert not (tmp_path / "out").exists()
    assert b"warning: 'nosuch'" in restore("--include", "nosuch", "--include", "plain", "--dry-run", "--json").stderr
    done = restore("--include", "nosuch", "--include", "plain", "--json")
    assert b"warning: 'nosuch'" in done.stderr and json.loads(done.stdout)["file_count"] == 1
    assert os.listdir(tmp_path / "out") == ["plain"]
    assert restore("--include", "/d/", "--exclude", "other").stdout.splitlines()[1].split() == [b"files", b"1"]
    entries = [json.loads(line)["details"] for line in shell.run("audit-log", "--json", "-o", "restore").stdout.splitlines()]
    assert [entry.get("file_count") for entry in entries][-2:] == [1, 1]
    assert b"--progress" in shell.run("diff", "latest", "latest", "-p", "docs", "--progress", "never", status=64).stderr

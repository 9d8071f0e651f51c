"""Runs when something has changed: a source that is not mounted, a wrong clock, profiles that share a store, and homes
with unexpected files."""

import json
import pathlib

from conftest import put
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from shell_fixture import shell  # noqa: F401
from test_prune import age
from test_termbackup6_store import dash, old  # noqa: F401

# An empty source


def test_a_source_without_files_does_not_take_the_place_of_one_with_some(shell, small, tmp_path):
    shell.profile("docs", small, "--mode", "full", "--max-backups", "1")
    shell.run("run", "docs")
    kept = shell.ids("docs")
    away = tmp_path / "away"
    pathlib.Path(small).rename(away)
    (pathlib.Path(small) / "mounted here").mkdir(parents=True)
    for options in [], ["--full"], ["--json"]:
        refused = shell.run("run", "docs", *options, status=66)
        assert b"no file" in refused.stderr and b"--allow-empty" in refused.stderr
    assert shell.ids("docs") == kept
    # The last backup with files is kept whatever the limit.
    for number in range(2):
        pathlib.Path(small, f"directory {number}").mkdir()
        shell.run("run", "docs", "--allow-empty")
    assert shell.ids("docs")[0] == kept[0] and len(shell.ids("docs")) == 2
    shell.run("restore", kept[0], "-p", "docs", "--to", tmp_path / "out")
    assert any(path.is_file() for path in (tmp_path / "out").rglob("*"))


def test_patterns_that_leave_out_everything_are_an_empty_source_too(shell, small):
    shell.profile("docs", small)
    shell.run("run", "docs")
    shell.run("profile", "edit", "docs", "--exclude", "*")
    assert b"left out" in shell.run("run", "docs", status=66).stderr
    assert len(shell.ids("docs")) == 1


def test_a_first_backup_may_be_empty(shell, tmp_path):
    (tmp_path / "nothing").mkdir()
    shell.profile("docs", tmp_path / "nothing")
    shell.run("run", "docs")
    (tmp_path / "nothing" / "directory").mkdir()
    shell.run("run", "docs")
    assert len(shell.ids("docs")) == 2


# A wrong clock


def test_a_run_removes_nothing_where_all_would_go_at_once(shell, small):
    shell.profile("docs", small, "--mode", "full", "--retention-days", "30")
    for number in range(3):
        put(pathlib.Path(small) / "counter", str(number).encode())
        shell.run("run", "docs")
    age(shell, 730)
    put(pathlib.Path(small) / "counter", b"again")
    done = shell.run("run", "docs")
    assert b"at once" in done.stderr and b"warning" in done.stderr, done.stderr
    assert len(shell.ids("docs")) == 4
    shell.run("prune", "docs", "--yes")
    assert len(shell.ids("docs")) == 1


# Homes


def test_a_directory_among_the_profiles_is_named_and_hides_no_other(shell, small):
    shell.profile("docs", small)
    (shell.home / "profiles" / "d.json").mkdir()
    listed = shell.run("profile", "list", status=78)
    assert b"docs" in listed.stdout and b"d.json" in listed.stderr
    told = shell.run("status", status=78)
    assert b"docs" in told.stdout and b"d.json" in told.stderr
    shell.run("run", "docs")


def test_an_import_says_what_it_takes_over(shell, small, tmp_path):
    shell.run("init")
    (tmp_path / "p.json").write_text(json.dumps({
        "name": "p", "source_dir": str(small), "repo": str(shell.home / "store"), "webhook_url": "https://user:word@hooks.example.net/secret",
        "restore_dir": "/etc", "exclude_patterns": ["*"]}))
    told = shell.run("profile", "import", tmp_path / "p.json").stderr
    for word in b"webhook_url", b"hooks.example.net", b"restore_dir", b"/etc", b"exclude_patterns":
        assert word in told, told
    assert b"secret" not in told and b"word@" not in told


# What TermBackup 6 left


def test_two_profiles_of_termbackup_6_in_one_store_are_not_taken_for_each_other(old, tmp_path):
    shell = old.shell
    (tmp_path / "second").mkdir()
    put(tmp_path / "second" / "file", b"file\n")
    other = {**json.loads(old.profile.read_text()), "name": "q", "source_dir": str(tmp_path / "second"), "max_backups": 1}
    place = old.profile.with_name("q.json")
    place.write_text(json.dumps(other))
    place.chmod(0o600)
    refused = shell.run("restore", "latest", "-p", "q", "--to", tmp_path / "out", status=64)
    assert b"'o'" in refused.stderr and not (tmp_path / "out").exists()
    # The id is unambiguous.
    assert old.restored(2, tmp_path)[1] == old.states[2]
    # A run of one profile removes nothing that may belong to the other, and is not based on it.
    shell.run("run", "q")
    assert set(old.ids) <= {entry["id"] for entry in old.ledger()["backups"]}
    shell.run("restore", "latest", "-p", "q", "--to", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"file"}


def test_manifests_in_clear_are_named_and_removed(old):
    shell = old.shell
    clear = old.path / "manifests" / f"manifest_{old.ids[0][:12]}.json"
    put(clear, json.dumps({"version": "1.0", "backup_id": old.ids[0], "files": [{"relative_path": "plain", "size": 6}]}).encode())
    shell.run("run", "o")
    assert b"unencrypted" in shell.run("status").stdout
    assert "names, sizes and hashes" in " ".join(check["message"] for check in json.loads(shell.run("doctor", "--json").stdout)["checks"])
    # Whatever its age.
    shell.run("clean", "--store")
    assert not clear.exists()
    assert b"unencrypted" not in shell.run("status").stdout


def test_a_key_of_termbackup_6_goes_on_to_sign(old):
    shell = old.shell
    (shell.home / "config.json").write_text(json.dumps({"default_repo": "me/old", "audit_log_enabled": True}))
    key = Ed25519PrivateKey.generate()
    (shell.home / "signing_key.pem").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    (shell.home / "signing_key.pem").chmod(0o600)
    (shell.home / "signing_key.pub").write_bytes(key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    shell.run("run", "o", "--adopt")
    assert old.ledger()["ledger_signature"]

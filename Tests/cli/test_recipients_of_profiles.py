"""Recipients of profiles, of config.json and of the verbs: backups that need no password, and identities that open them."""

import json
import os
import shutil

import pytest
from conftest import put, require, snapshot
from tbkref import age
from test_consolidate import entries, shell  # noqa: F401

ONE = age.Identity(bytes(range(32)))
TWO = age.Identity(bytes(range(1, 33)))


def file(path, text):
    put(path, text.encode() + b"\n", 0o600)
    return str(path)


@pytest.fixture
def keys(tmp_path):
    return [file(tmp_path / name, identity.text) for name, identity in (("one", ONE), ("two", TWO))]


def grow(source, number):
    put(os.path.join(source, f"file{number}"), b"%d\n" % number * 500)


def run(shell, *words, password=None):
    return json.loads(shell.run("run", "p", "--json", "--no-input", *words, password=password).stdout)


def archives(shell):
    ledger = json.loads((shell.home / "store" / "metadata.json").read_bytes())
    return [(entry["filename"], (shell.home / "store" / "backups" / entry["filename"]).read_bytes()) for entry in ledger["backups"]]


def test_a_profile_with_recipients_needs_no_password(shell, small, tmp_path, keys):  # noqa: F811
    shell.profile("p", small, "--mode", "incremental", "--recipient", ONE.recipient)
    shell.run("generate-key", "--enable", "--no-password", password=None)
    assert run(shell)["mode"] == "full"
    grow(small, 1)
    # Without the identity the last manifest is closed; with it the next backup is an increment.
    assert run(shell)["mode"] == "full"
    grow(small, 2)
    assert run(shell, "-i", keys[0])["mode"] == "incremental"
    middle = snapshot(small)
    assert run(shell, "-i", keys[0])["status"] == "unchanged"
    grow(small, 3)
    # One who could not open the last backup is a reader now.
    shell.run("profile", "edit", "p", "--recipient", ONE.recipient, "--recipient", TWO.recipient)
    assert run(shell, "-i", keys[0])["mode"] == "full"
    grow(small, 4)
    assert run(shell, "-i", keys[1])["mode"] == "incremental"
    for name, archive in archives(shell):
        assert name.endswith(".age") and age.read(archive, ONE)
    assert not (shell.home / "store" / "checks").exists()
    ids = [entry["id"] for entry in entries(shell)]
    reading = ["-p", "p", "--no-input"]
    shell.run("restore", ids[2], *reading, "--to", tmp_path / "out", "--setuid", "-i", keys[0], password=None)
    assert snapshot(tmp_path / "out") == middle
    shell.run("restore", "latest", *reading, "--to", tmp_path / "all", "--setuid", "-i", keys[1], password=None)
    assert snapshot(tmp_path / "all") == snapshot(small)
    assert b"identity" in shell.run("restore", "latest", *reading, "--to", tmp_path / "no", password=None, status=64).stderr
    shell.run("restore", ids[2], *reading, "--to", tmp_path / "no", "-i", keys[1], password=None, status=77)
    assert not (tmp_path / "no").exists()
    assert b"file4" in shell.run("diff", ids[3], ids[4], *reading, "-i", keys[0], password=None, status=1).stdout
    report = json.loads(shell.run("verify", "--all", *reading, "--json", "-i", keys[0], password=None).stdout)
    assert report["checked_count"] == 5 and report["failures"] == []
    # The sealed manifest that the store has lost is made again, for the same readers.
    manifest = sorted((shell.home / "store" / "manifests").iterdir())[0]
    manifest.unlink()
    done = shell.run("verify", "--all", *reading, "-i", keys[0], password=None)
    made = list(manifest.parent.glob(manifest.stem + "*"))
    assert b"recreated" in done.stderr and made[0].read_bytes().startswith(b"age-encryption.org/v1\n")
    whole = json.loads(shell.run("consolidate", "p", "latest", "--json", "--no-input", "-i", keys[0], password=None).stdout)
    grow(small, 5)
    assert run(shell, "-i", keys[0])["mode"] == "incremental"
    assert entries(shell)[-1]["depends_on"] == [whole["id"]] or whole["id"] in entries(shell)[-1]["depends_on"]
    shell.run("prune", "p", "--keep-last", "1", "--yes", password=None)
    shell.run("restore", "latest", *reading, "--to", tmp_path / "last", "--setuid", "-i", keys[1], password=None)
    assert snapshot(tmp_path / "last") == snapshot(small)
    assert b"recipients" in shell.run("rotate-key", "p", password=None, status=64).stderr


def test_between_a_password_and_recipients_the_next_backup_is_full(shell, small, tmp_path, keys):  # noqa: F811
    shell.profile("p", small, "--mode", "incremental")
    shell.run("run", "p")
    shell.tbk.run("tbk-config", "set", "recipients", ONE.recipient)
    grow(small, 1)
    assert run(shell, "-i", keys[0])["mode"] == "full"
    shell.run("profile", "edit", "p", "--no-recipients")
    grow(small, 2)
    assert b"password" in shell.run("run", "p", "--no-input", password=b"wrong", status=77).stderr
    assert json.loads(shell.run("run", "p", "--json").stdout)["mode"] == "full"
    grow(small, 3)
    assert json.loads(shell.run("run", "p", "--json").stdout)["mode"] == "incremental"
    grow(small, 4)
    # In one run alone, and with the recipients out of a file.
    assert run(shell, "-R", file(tmp_path / "to", "# one\n" + ONE.recipient))["mode"] == "full"
    assert [name[-3:] for name, _ in archives(shell)] == ["tbk", "age", "tbk", "tbk", "age"]
    # Nothing is signed: whoever has the recipient could have made them.
    reading = ["latest", "-p", "p", "--to", tmp_path / "out", "--setuid", "-i", keys[0]]
    assert b"--unsigned" in shell.run("restore", *reading, status=77).stderr
    shell.run("restore", *reading, "--unsigned")
    assert snapshot(tmp_path / "out") == snapshot(small)
    shell.run("verify", "--all", "-p", "p", "--unsigned", "-i", keys[0])
    shutil.rmtree(tmp_path / "out")
    shell.run("restore", "latest~1", "-p", "p", "--to", tmp_path / "out")
    put(tmp_path / "new", b"another horse")
    shell.run("rotate-key", "p", "--new-password-file", tmp_path / "new")
    shell.run("restore", "latest~1", "-p", "p", "--to", tmp_path / "again", password=b"another horse")


def test_the_first_password_of_a_group_that_had_recipients(shell, small):  # noqa: F811
    shell.profile("p", small, "--recipient", ONE.recipient)
    run(shell)
    grow(small, 1)
    assert json.loads(shell.run("run", "p", "--json", "--suite", "3").stdout)["mode"] == "full"
    shell.run("verify", "latest", "-p", "p")
    shell.run("schedule-run", "p", "--check", password=None)


def test_what_is_no_recipient(shell, small, tmp_path):  # noqa: F811
    shell.run("init")
    for words in (["--recipient", "age1nonsense"], ["-R", file(tmp_path / "empty", "# none")],
                  ["--recipient", ONE.recipient, "--no-recipients"]):
        assert shell.run("profile", "create", "p", "--source", small, *words, status=65 if "-R" in words else 64).stdout == b""
    shell.run("profile", "create", "p", "--source", small)
    shell.run("run", "p", "-r", ONE.recipient, "--suite", "3", status=64)
    shell.run("run", "p", "-r", "age1nonsense", status=64)

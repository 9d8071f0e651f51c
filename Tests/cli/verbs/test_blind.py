"""termbackup generate-identity: backups that the machine can make but not open."""

import hashlib
import json
import os
import re
import shutil
import subprocess

import pytest
from conftest import PASSWORD, put, require, snapshot
from shell_fixture import shell  # noqa: F401
from tbkref import age
from test_schedule import systemd  # noqa: F401


@pytest.fixture
def blind(shell, small):  # noqa: F811
    """A profile `docs` whose identity is in the store, with one backup; no file here contains the password."""
    shell.profile("docs", small, "--mode", "incremental")
    shell.run("generate-identity", "docs")
    shell.run("run", "docs", "--no-input", password=None)
    return shell


def run(shell, *words, **options):  # noqa: F811
    options.setdefault("password", None)
    return json.loads(shell.run("run", "docs", "--no-input", "--json", *words, **options).stdout)


def grow(source, name):
    put(os.path.join(source, name), name.encode() * 100)


def sealed_identity(shell):  # noqa: F811
    (file,) = (shell.home / "store" / "keys").iterdir()
    return file


def identities(shell):  # noqa: F811
    """The identities in the store that the password opens, according to the reference implementation."""
    text = age.read(sealed_identity(shell).read_bytes(), age.Passphrase(PASSWORD)).decode()
    return re.findall(r"^AGE-SECRET-KEY-1\w+$", text, re.MULTILINE)


def entries(shell):  # noqa: F811
    return json.loads((shell.home / "store" / "metadata.json").read_bytes())["backups"]


def archives(shell):  # noqa: F811
    return sorted((shell.home / "store" / "backups").iterdir())


def test_backups_need_no_secret_and_a_restore_the_password(blind, small, tmp_path):
    grow(small, "second")
    assert run(blind)["mode"] == "incremental"
    assert run(blind)["status"] == "unchanged"
    assert [path.suffix for path in archives(blind)] == [".age"] * 2
    blind.run("restore", "latest", "-p", "docs", "--to", tmp_path / "out", "--setuid")
    assert snapshot(tmp_path / "out") == snapshot(small)
    assert b"second" in blind.run("diff", "-p", "docs", status=1).stdout
    assert b"2 of 2 backups verified" in blind.run("verify", "--all", "-p", "docs").stdout
    refused = blind.run("restore", "latest", "-p", "docs", "--to", tmp_path / "no", password=b"another", status=77)
    assert b"not the password" in refused.stderr and not (tmp_path / "no").exists()
    blind.run("restore", "latest", "-p", "docs", "--to", tmp_path / "no", "--no-input", password=None, status=64)


def test_the_public_key_is_printed_for_machines_that_restore(shell, small):  # noqa: F811
    shell.profile("docs", small)
    said = shell.run("generate-identity", "docs").stdout
    assert b"needs that public key in its trusted_keys:\n" + (shell.home / "signing_key.pub").read_bytes() in said


def test_nothing_on_the_machine_opens_a_backup(blind, small, tmp_path):
    require("age")
    grow(small, "second")
    run(blind)
    keys = set()
    for folder, _, names in os.walk(blind.home):
        if os.path.join(blind.home, "store") in folder:
            continue
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                keys.update(re.findall(rb"AGE-SECRET-KEY-1[0-9A-Z]+", file.read()))
    (local,) = keys
    assert local.decode() not in identities(blind)
    put(tmp_path / "key", local + b"\n", 0o600)
    for archive in archives(blind) + sorted((blind.home / "store" / "manifests").iterdir()):
        done = subprocess.run(["age", "-d", "-i", tmp_path / "key", archive], capture_output=True)
        assert done.returncode != 0 and b"no identity matched" in done.stderr
    # It opens only the copy of the manifest kept for the next run.
    (kept,) = (blind.home / "cache").rglob("*.age")
    assert subprocess.run(["age", "-d", "-i", tmp_path / "key", kept], capture_output=True).returncode == 0
    assert (blind.home / "state" / "local_identity").stat().st_mode & 0o777 == 0o600
    # The identity in the store opens every archive.
    put(tmp_path / "theirs", identities(blind)[0].encode() + b"\n", 0o600)
    for archive in archives(blind):
        assert subprocess.run(["age", "-d", "-i", tmp_path / "theirs", archive], capture_output=True).returncode == 0


def test_without_what_is_kept_here_the_next_backup_is_full(blind, small):
    for number, gone in enumerate(["cache", "state/local_identity"]):
        path = blind.home / gone
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        grow(small, f"after {number}")
        assert run(blind)["mode"] == "full"
        grow(small, f"again {number}")
        assert run(blind)["mode"] == "incremental"


def test_an_attempt_that_was_cut_short_goes_on_with_its_identity(blind, small):
    before = identities(blind)
    blind.run("profile", "edit", "docs", "--no-recipients", password=None)
    said = json.loads(blind.run("generate-identity", "docs", "--json").stdout)
    assert identities(blind) == before and said["identity_stored"] is True
    assert said["recipients"] == json.loads(blind.run("profile", "show", "docs", "--json").stdout)["recipients"]
    assert b"recipients already" in blind.run("generate-identity", "docs", status=73).stderr
    blind.run("profile", "edit", "docs", "--no-recipients", password=None)
    blind.run("generate-identity", "docs", password=b"another", status=77)


def test_doctor_says_what_opens_the_backups(blind):
    assert b"under the password: nothing here opens its backups" in blind.run("doctor", password=None).stdout


def test_status_says_what_the_machine_can_do_and_what_not(blind, small):
    said = blind.run("status", password=None).stdout
    assert b"sealed    to 1 recipient: run, list and 'verify --stored' need no password" in said
    assert b"restore, cat, diff and verify ask for it, or take an identity with -i" in said
    (profile,) = json.loads(blind.run("status", "--json", password=None).stdout)["profiles"]
    assert profile["recipients"] == json.loads(blind.run("profile", "show", "docs", "--json", password=None).stdout)["recipients"]
    blind.run("profile", "create", "plain", "--source", small, password=None)
    _, plain = json.loads(blind.run("status", "--json", password=None).stdout)["profiles"]
    assert plain["recipients"] == []


def test_scheduling_proves_that_no_secret_is_needed(blind, systemd, small):  # noqa: F811
    assert b"It needs no password, and ran without one to prove it." in blind.run(
        "schedule-enable", "docs", "--systemd", password=None).stdout
    assert json.loads(blind.run("schedule-enable", "docs", "--systemd", "--json", password=None).stdout)["needs_password"] is False
    (service,) = blind.units.glob("*.service")
    assert "password" not in service.read_text()
    # A signing key with a password is noticed.
    blind.run("generate-key", "--force", "--enable")
    assert b"nothing is scheduled" in blind.run("schedule-enable", "docs", "--systemd", password=None, status=77).stderr


def test_the_identity_can_be_printed_for_a_safe(blind):
    said = blind.run("generate-identity", "docs", "--print").stdout.decode()
    assert re.findall(r"^AGE-SECRET-KEY-1\w+$", said, re.MULTILINE) == identities(blind)
    blind.run("generate-identity", "docs", "--print", password=b"another", status=77)
    blind.run("generate-identity", "docs", "--print", "--json", status=64)


def test_the_password_is_the_one_of_the_backups_before(shell, small, tmp_path):  # noqa: F811
    shell.profile("docs", small, "--mode", "incremental")
    shell.run("generate-key", "--enable", "--no-password", password=None)
    shell.run("run", "docs")
    shell.run("generate-identity", "docs", password=b"another", status=77)
    assert not (shell.home / "store" / "keys").exists()
    shell.run("generate-identity", "docs")
    # The reader of the last backup cannot read this one.
    assert run(shell)["mode"] == "full"
    for backup in ("latest~1", "latest"):
        shell.run("restore", backup, "-p", "docs", "--to", tmp_path / backup, "--setuid")
        assert snapshot(tmp_path / backup) == snapshot(small)


def test_over_an_unsigned_ledger_nothing_is_made_unless_it_is_adopted(shell, small):  # noqa: F811
    shell.profile("docs", small)
    shell.run("run", "docs")
    said = shell.run("generate-identity", "docs", status=65).stderr
    assert b"termbackup generate-identity docs --adopt" in said
    assert not (shell.home / "signing_key.pem").exists()
    put(os.path.join(small, "more"), b"x")
    shell.run("run", "docs")
    assert b"for all profiles here" in shell.run("generate-identity", "docs", "--adopt").stderr


def test_whoever_holds_the_identity_may_be_elsewhere(shell, small, tmp_path):  # noqa: F811
    one = age.Identity(bytes(range(32)))
    put(tmp_path / "one", one.text.encode() + b"\n", 0o600)
    shell.profile("docs", small, "--mode", "incremental")
    said = shell.run("generate-identity", "docs", "--recipient", one.recipient, password=None).stdout
    assert b"Anyone who has the identity" in said and one.recipient.encode() in said
    run(shell)
    assert not (shell.home / "store" / "keys").exists()
    shell.run("restore", "latest", "-p", "docs", "--to", tmp_path / "no", status=64)
    shell.run("restore", "latest", "-p", "docs", "--to", tmp_path / "out", "--setuid", "-i", tmp_path / "one", password=None)
    assert snapshot(tmp_path / "out") == snapshot(small)


def test_a_key_that_needs_a_password_is_not_taken(shell, small):  # noqa: F811
    shell.profile("docs", small)
    shell.run("generate-key", "--enable")
    said = shell.run("generate-identity", "docs", status=78).stderr
    assert b"--force --no-password" in said
    assert not (shell.home / "store" / "keys").exists()


def test_another_machine_restores_with_the_password_and_the_public_key(blind, small, tmp_path):
    public = (blind.home / "signing_key.pub").read_bytes()
    group = entries(blind)[0]["group"]
    other = {"TERMBACKUP_HOME": str(tmp_path / "other")}
    blind.run("init", env=other)
    store = ["--store", blind.home / "store", "--group", group, "--to", tmp_path / "out", "--setuid"]
    said = blind.run("restore", "latest", *store, env=other, status=77).stderr
    assert b"--unsigned" in said and not (tmp_path / "out").exists()
    put(tmp_path / "other" / "trusted_keys" / "first.pub", public)
    blind.run("restore", "latest", *store, env=other)
    assert snapshot(tmp_path / "out") == snapshot(small)


def test_an_identity_that_the_ledger_does_not_name_is_refused(blind, tmp_path):
    file = sealed_identity(blind)
    good = file.read_bytes()
    key = os.urandom(16)
    file.write_bytes(age.header(key, [age.Passphrase(PASSWORD).wrap(key, b"s" * 16, 10)])
                     + age.payload(key, age.Identity(b"x" * 32).text.encode(), b"n" * 16))
    for broken in (file.read_bytes(), good[:-1], good + b"x"):
        file.write_bytes(broken)
        blind.run("restore", "latest", "-p", "docs", "--to", tmp_path / "out", status=65)
    file.unlink()
    assert b"missing" in blind.run("doctor", status=1, password=None).stdout
    said = blind.run("restore", "latest", "-p", "docs", "--to", tmp_path / "out", status=66).stderr
    assert not (tmp_path / "out").exists() and b"-i" in said


def test_schedules_need_no_secret(blind, small, tmp_path):
    done = blind.run("schedule-run", "--check", "docs", password=None)
    assert b"error" not in done.stderr
    grow(small, "by cron")
    blind.run("schedule-run", "docs", password=None)
    assert len(entries(blind)) == 2


def test_a_rotation_makes_another_identity_and_keeps_the_ones_before(blind, small, tmp_path):
    (first,) = identities(blind)
    before, (recipient,) = sealed_identity(blind), json.loads(blind.run("profile", "show", "docs", "--json").stdout)["recipients"]
    former = before.read_bytes()
    new = {"TERMBACKUP_NEW_PASSWORD": "the new one"}
    blind.run("rotate-key", "docs", password=b"another", env=new, status=77)
    blind.run("rotate-key", "docs", "--dry-run", env=new, status=64)
    assert sealed_identity(blind) == before
    blind.run("rotate-key", "docs", env=new)
    text = age.read(sealed_identity(blind).read_bytes(), age.Passphrase(b"the new one")).decode()
    second, last = re.findall(r"^AGE-SECRET-KEY-1\w+$", text, re.MULTILINE)
    assert last == first != second and not before.exists()
    (now,) = json.loads(blind.run("profile", "show", "docs", "--json").stdout)["recipients"]
    assert now != recipient
    # The next backup is sealed to the new identity, and only the new password opens both backups.
    grow(small, "second")
    assert run(blind)["mode"] == "full"
    for backup in ("latest~1", "latest"):
        blind.run("restore", backup, "-p", "docs", "--to", tmp_path / backup, "--setuid", password=b"the new one")
        blind.run("restore", backup, "-p", "docs", "--to", tmp_path / "no", status=77)
    assert snapshot(tmp_path / "latest") == snapshot(small)
    # The store returns the previous identities, which the old password opens.
    ledger = blind.home / "store" / "metadata.json"
    sealed_identity(blind).unlink()
    before.write_bytes(former)
    forged = json.loads(ledger.read_bytes())
    (group,) = forged["groups"].values()
    group["identity"] = {"filename": before.name, "sha256": hashlib.sha256(former).hexdigest()}
    ledger.write_text(json.dumps(forged))
    blind.run("restore", "latest", "-p", "docs", "--to", tmp_path / "no", status=65)
    assert not (tmp_path / "no").exists()


def test_a_rotation_takes_what_is_under_a_password_along(shell, small, tmp_path):  # noqa: F811
    shell.profile("docs", small, "--mode", "incremental")
    shell.run("generate-key", "--enable", "--no-password", password=None)
    shell.run("run", "docs")
    shell.run("generate-identity", "docs")
    run(shell)
    shell.run("rotate-key", "docs", env={"TERMBACKUP_NEW_PASSWORD": "the new one"})
    for backup in ("latest~1", "latest"):
        shell.run("restore", backup, "-p", "docs", "--to", tmp_path / backup, "--setuid", password=b"the new one")
        shell.run("restore", backup, "-p", "docs", "--to", tmp_path / "no", status=77)
        assert snapshot(tmp_path / backup) == snapshot(small)


# The store has lost the identity


@pytest.fixture
def printed(blind, tmp_path):
    """The printed identities."""
    put(tmp_path / "printed", blind.run("generate-identity", "docs", "--print").stdout, 0o600)
    return tmp_path / "printed"


def lose(shell):  # noqa: F811
    sealed_identity(shell).unlink()


def alter(shell):  # noqa: F811
    file = sealed_identity(shell)
    file.write_bytes(file.read_bytes()[:-1] + b"x")


def cut(shell):  # noqa: F811
    file = sealed_identity(shell)
    file.write_bytes(file.read_bytes()[:-1])


@pytest.mark.parametrize("damage, said", [
    (lose, "the sealed identity is missing from the store"), (alter, "the sealed identity in the store has been altered"),
    (cut, "the sealed identity in the store has been altered")], ids=["lost", "altered", "cut"])
@pytest.mark.parametrize("mode", ["incremental", "full"])
def test_a_run_warns_of_an_identity_that_the_store_has_lost(shell, small, tmp_path, damage, said, mode):  # noqa: F811
    shell.profile("docs", small, "--mode", mode)
    shell.run("generate-identity", "docs")
    put(tmp_path / "note", f"#!/bin/sh\ncat >{tmp_path}/told\n".encode(), 0o755)
    shell.run("profile", "edit", "docs", "--after-command", f"{tmp_path}/note", password=None)
    assert b"warning" not in shell.run("run", "docs", "--no-input", password=None).stderr
    assert json.loads((tmp_path / "told").read_text())["warning"] is None
    damage(shell)
    grow(small, "more")
    done = shell.run("run", "docs", "--no-input", password=None)
    assert f"warning: {said}".encode() in done.stderr
    assert b"'termbackup generate-identity docs -i FILE', on this machine" in done.stderr
    assert len(entries(shell)) == 2 and entries(shell)[-1]["mode"] == mode
    told = json.loads((tmp_path / "told").read_text())
    assert (told["status"], told["warning"]) == ("success", said)

    def noted():
        entry = json.loads(shell.run("audit-log", "--json", "-o", "backup", password=None).stdout.splitlines()[-1])
        return entry["status"], entry["details"].get("warning")
    assert noted() == ("success", said)
    # Also if there is nothing to store; a dry run does not report it.
    (tmp_path / "told").unlink()
    assert said.encode() in shell.run("run", "docs", "--dry-run", "--no-input", password=None).stderr
    assert not (tmp_path / "told").exists()
    done = shell.run("run", "docs", "--no-input", "--json", password=None)
    assert said.encode() in done.stderr and noted() == ("success", said)
    assert json.loads(done.stdout)["status"] == ("unchanged" if mode == "incremental" else "success")
    assert json.loads((tmp_path / "told").read_text())["warning"] == said


def test_the_status_names_an_identity_that_the_store_has_lost(blind, small):
    def told(status):
        report = json.loads(blind.run("status", "--json", password=None, status=status).stdout)
        return report["profiles"][0]["summary"]["identity"]
    assert told(0) == "present" and b"MISSING" not in blind.run("status", password=None).stdout
    # The identity of another group does not matter.
    blind.run("profile", "create", "other", "--source", small)
    blind.run("run", "-q", "other")
    lose(blind)
    shown = blind.run("status", "-p", "other").stdout
    assert b"MISSING" not in shown
    assert told(1) == "missing"
    shown = blind.run("status", "-p", "docs", password=None, status=1).stdout
    assert re.search(rb"MISSING +the sealed identity: the password no longer opens the backups, only a printed identity does\n"
                     rb" +'termbackup generate-identity docs -i FILE' puts the printed one back\n", shown), shown


def test_no_warning_of_an_identity_that_is_elsewhere(shell, small):  # noqa: F811
    shell.profile("docs", small, "--mode", "incremental")
    shell.run("generate-identity", "docs", "--recipient", age.Identity(bytes(range(32))).recipient, password=None)
    for name in ("one", "two"):
        grow(small, name)
        assert b"warning" not in shell.run("run", "docs", "--no-input", password=None).stderr


@pytest.mark.parametrize("damage", [lose, alter])
def test_a_printed_identity_is_put_back_under_a_password(blind, small, tmp_path, printed, damage):
    before = identities(blind)
    said = blind.run("generate-identity", "docs", "-i", printed, status=73).stderr
    assert b"the store has the identity" in said
    damage(blind)
    assert b"generate-identity docs -i FILE" in blind.run("doctor", status=1, password=None).stdout
    blind.run("restore", "latest", "-p", "docs", "--to", tmp_path / "out", status=66 if damage is lose else 65)
    put(tmp_path / "wrong", age.Identity(bytes(range(32))).text.encode() + b"\n", 0o600)
    said = blind.run("generate-identity", "docs", "-i", tmp_path / "wrong", status=77).stderr
    assert b"none of the identities in it" in said
    put(tmp_path / "none", b"no identity\n", 0o600)
    blind.run("generate-identity", "docs", "-i", tmp_path / "none", status=65)
    for others in (["--print"], ["-r", age.Identity(bytes(range(32))).recipient]):
        blind.run("generate-identity", "docs", "-i", printed, *others, status=64)
    recipients = json.loads(blind.run("profile", "show", "docs", "--json", password=None).stdout)["recipients"]
    told = json.loads(blind.run("generate-identity", "docs", "-i", printed, "--json").stdout)
    assert told["recipients"] == recipients and identities(blind) == before
    blind.run("restore", "latest", "-p", "docs", "--to", tmp_path / "out", "--setuid")
    assert snapshot(tmp_path / "out") == snapshot(small)
    grow(small, "after")
    done = blind.run("run", "docs", "--no-input", password=None)
    assert b"warning" not in done.stderr and entries(blind)[-1]["mode"] == "incremental"
    assert b"1 of 1" not in blind.run("verify", "--stored", "-p", "docs", password=None).stderr
    blind.run("doctor", password=None)


def test_a_copy_of_the_sealed_identity_is_put_back_as_well(blind, tmp_path):
    before = identities(blind)
    os.replace(sealed_identity(blind), tmp_path / "copy")
    blind.run("generate-identity", "docs", "-i", tmp_path / "copy", password=b"another", status=77)
    blind.run("generate-identity", "docs", "-i", tmp_path / "copy")
    assert identities(blind) == before


def test_other_machines_warn_until_they_have_seen_what_was_put_back(blind, small, tmp_path, printed):
    other = {"TERMBACKUP_HOME": str(tmp_path / "other")}
    blind.run("init", env=other)
    put(tmp_path / "other" / "trusted_keys" / "first.pub", (blind.home / "signing_key.pub").read_bytes())
    blind.run("profile", "create", "docs", "--source", small, "--mode", "incremental", "--repo", blind.home / "store", "--group",
              entries(blind)[0]["group"], env=other)
    blind.run("generate-identity", "docs", env=other)
    put(blind.home / "trusted_keys" / "other.pub", (tmp_path / "other" / "signing_key.pub").read_bytes())
    grow(small, "by the other")
    assert b"warning" not in blind.run("run", "docs", "--no-input", env=other, password=None).stderr
    lose(blind)
    blind.run("generate-identity", "docs", "-i", printed)
    for _ in range(2):
        assert b"another machine has changed the identity" in blind.run("run", "docs", "--no-input", env=other, password=None).stderr
    blind.run("generate-identity", "docs", env=other, password=b"another", status=77)
    blind.run("generate-identity", "docs", env=other)
    assert b"warning" not in blind.run("run", "docs", "--no-input", env=other, password=None).stderr
    assert b"recipients already" in blind.run("generate-identity", "docs", env=other, status=73).stderr

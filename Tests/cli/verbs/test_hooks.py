"""The commands of a profile that run before and after a backup, and to report it."""

import json
import os
import stat

import jsonschema
import pytest
from conftest import PASSWORD, put
from shell_fixture import shell  # noqa: F401
from webhook_fixture import GENERIC

NOTE = """#!/bin/sh
# Notes what it is given, and ends with the status that a file says.
name=$1
shift
{
	printf '%s\\n' "$@" "--" "$PWD"
	ls /proc/self/fd
} >"$NOTES/$name.arguments"
env -0 >"$NOTES/$name.environment"
cat >"$NOTES/$name.input"
echo "heard of $name"
echo "said by $name" >&2
exit "$(cat "$NOTES/$name.status" 2>/dev/null || echo 0)"
"""


class Notes:
    def __init__(self, directory):
        self.directory = directory

    def environment(self, name):
        text = (self.directory / f"{name}.environment").read_bytes()
        return dict(word.split(b"=", 1) for word in text.split(b"\0") if word)

    def report(self, name):
        return json.loads((self.directory / f"{name}.input").read_text())

    def ended(self, name, status):
        put(self.directory / f"{name}.status", str(status).encode())

    def forget(self):
        for file in self.directory.glob("*.environment"):
            file.unlink()

    @property
    def ran(self):
        files = sorted(self.directory.glob("*.environment"), key=lambda file: file.stat().st_mtime_ns)
        return [file.stem for file in files]


@pytest.fixture
def notes(shell, tbk, small):
    directory = tbk.scratch / "notes"
    directory.mkdir()
    put(tbk.scratch / "note", NOTE.encode(), 0o755)
    shell.profile("docs", small, *(word for name in ("before", "after", "notify") for word in (
        f"--{name}-command", f"{tbk.scratch}/note {name} '$HOME `id`' \"a b\"")))
    shell.environment_more = {"NOTES": str(directory), "TERMBACKUP_TOKEN": "ghp_secret", "GITHUB_TOKEN": "ghp_secret"}
    return Notes(directory)


def run(shell, *arguments, **options):
    return shell.run("run", *arguments, "docs", env=shell.environment_more, **options)


def test_what_happened_is_in_their_environment_and_on_their_input(shell, notes, small):
    done = run(shell, "--json")
    report = json.loads(done.stdout)
    assert notes.ran == ["before", "after", "notify"]
    before, after, notify = map(notes.environment, notes.ran)
    assert (before[b"TERMBACKUP_PROFILE"], before[b"TERMBACKUP_SOURCE"]) == (b"docs", os.fsencode(small))
    assert b"TERMBACKUP_VERB" not in before
    assert b"TERMBACKUP_STATUS" not in before and notes.directory.joinpath("before.input").read_bytes() == b""
    for environment in after, notify:
        assert environment[b"TERMBACKUP_STATUS"] == b"success" and environment[b"TERMBACKUP_ID"] == report["id"].encode()
        assert environment[b"TERMBACKUP_SIZE"] == str(report["size"]).encode() and b"TERMBACKUP_ERROR" not in environment
    for name in "after", "notify":
        jsonschema.validate(notes.report(name), GENERIC)
        assert notes.report(name)["backup_id"] == report["id"]
    for name in notes.ran:
        arguments, _, descriptors = (notes.directory / f"{name}.arguments").read_text().partition("--\n")
        # Split into words as by a shell, but nothing is expanded.
        assert arguments == "$HOME `id`\na b\n"
        # ls has opened one more.
        assert descriptors.split()[1:] == ["0", "1", "2", "3"]
        found = b"\n".join(notes.environment(name).values())
        assert PASSWORD not in found and b"ghp_secret" not in found
        assert f"said by {name}".encode() in done.stderr and f"heard of {name}".encode() in done.stderr
    # A run that stores nothing runs the command after it, but not the notification.
    notes.forget()
    shell.run("profile", "edit", "docs", "--mode", "incremental")
    assert b"Nothing has changed" in run(shell).stdout
    assert notes.ran == ["before", "after"] and notes.environment("after")[b"TERMBACKUP_STATUS"] == b"unchanged"
    notes.forget()
    run(shell, "--dry-run")
    assert notes.ran == []


def test_one_that_fails_before_stops_the_run_and_is_reported(shell, notes, small):
    notes.ended("before", 9)
    done = run(shell, status=66)
    assert b"error: the command before the backup failed with status 9: no backup is made" in done.stderr
    assert notes.ran == ["before", "after", "notify"]
    assert notes.environment("after")[b"TERMBACKUP_STATUS"] == b"failure"
    told = notes.report("notify")
    assert told["error"] == {"type": "BackupError", "message": "the command before the backup failed with status 9"}
    assert shell.run("list", "docs").stdout == b""
    assert b"the command before the backup failed with status 9" in shell.run("audit-log").stdout
    # A missing program cannot be run.
    shell.run("profile", "edit", "docs", "--before-command", "/no/such/program")
    done = run(shell, "--json", status=66)
    assert b"cannot run '/no/such/program'" in done.stderr and b'"status":66}}' in done.stderr
    # The command may be what makes the source available.
    shell.run("profile", "edit", "docs", "--before-command", f"mv {small}.away {small}")
    os.rename(small, f"{small}.away")
    run(shell)


def test_one_that_fails_later_is_a_warning_of_a_backup_that_is_there(shell, notes):
    notes.ended("after", 3)
    notes.ended("notify", 4)
    done = run(shell)
    assert b"warning: the command after the backup failed with status 3" in done.stderr
    assert b"warning: the command for notifications failed with status 4" in done.stderr
    told = notes.report("notify")
    assert (told["status"], told["warning"]) == ("success", "the command after the backup failed with status 3")
    assert len(shell.run("list", "docs").stdout.splitlines()) == 3


def test_what_comes_from_elsewhere_runs_nothing_unasked(shell, notes, tbk):
    shell.run("profile", "export", "docs", tbk.scratch / "docs.json")
    for name in "before", "after", "notify":
        shell.run("profile", "edit", "docs", "--unset", f"{name}_command")
        assert f'"{name}_command" names a command to be run'.encode() in shell.run(
            "profile", "import", "--name", "other", tbk.scratch / "docs.json", status=78).stderr or name != "before"
    done = shell.run("profile", "import", "--trust", "--name", "other", tbk.scratch / "docs.json")
    assert b"before_command: " in done.stderr and b"notify_command: " in done.stderr
    assert stat.S_IMODE(os.stat(shell.home / "profiles" / "other.json").st_mode) == 0o600
    for wrong in "", "'unclosed", "   ":
        shell.run("profile", "edit", "docs", "--before-command", wrong, status=64)

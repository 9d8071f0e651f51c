"""Sources of secrets: pipes that can be read once. Secrets do not appear in traces and core dumps."""

import os
import resource
import subprocess

import pytest
from conftest import PASSWORD, PATIENCE, put, require
from shell_fixture import shell  # noqa: F401


class Places:
    """Files from which a secret can be read once."""

    def __init__(self, tmp_path):
        self.folder = tmp_path
        self.count = 0
        self.writers = []

    def pipe(self, secret=PASSWORD):
        """As the shell's <(command): the name, and the descriptor to pass on."""
        reading, writing = os.pipe()
        os.write(writing, secret + b"\n")
        os.close(writing)
        return f"/dev/fd/{reading}", reading

    def fifo(self, secret=PASSWORD):
        self.count += 1
        path = self.folder / f"fifo {self.count}"
        os.mkfifo(path)
        self.writers.append(subprocess.Popen(["sh", "-c", 'printf "%s\\n" "$1" >"$2"', "sh", os.fsdecode(secret), path]))
        return str(path)

    def close(self):
        for writer in self.writers:
            assert writer.wait(PATIENCE) == 0


@pytest.fixture
def places(tmp_path):
    found = Places(tmp_path)
    yield found
    found.close()


@pytest.mark.parametrize("kind", ["descriptor", "fifo", "input"])
def test_every_verb_takes_a_password_that_can_be_read_once(shell, small, tmp_path, places, kind):
    shell.profile("docs", small, "--mode", "incremental")

    def run(verb, *arguments, option="--password-file", status=0):
        if kind == "descriptor":
            place, number = places.pipe()
            done = shell.run(verb, *arguments, option, place, password=None, pass_fds=[number], status=status)
            os.close(number)
            return done
        if kind == "fifo":
            return shell.run(verb, *arguments, option, places.fifo(), password=None, status=status)
        _, number = places.pipe()
        done = shell.run(verb, *arguments, option, "/dev/stdin", password=None, stdin=number, status=status)
        os.close(number)
        return done

    run("run", "docs")
    put(os.path.join(small, "more"), b"more")
    run("run", "docs")
    run("verify", "--all", "-p", "docs")
    first, second = shell.ids("docs")
    assert b"more" in run("diff", first, second, "-p", "docs", status=1).stdout
    run("restore", "latest", "-p", "docs", "--to", tmp_path / "out")
    assert (tmp_path / "out" / "more").read_bytes() == b"more"
    run("consolidate", "docs", "latest")
    assert b"it opens the backups" in run("doctor").stdout
    run("package", small, "-o", tmp_path / "p.tbk")
    run("unpack", tmp_path / "p.tbk", "--to", tmp_path / "unpacked")
    run("generate-key", option="--key-password-file")


def test_one_descriptor_of_the_environment_is_read_before_it_is_used_for_something_else(shell, small):
    shell.profile("docs", small, "--mode", "incremental")
    for number in (5, 6, 7, 8, 9):
        put(os.path.join(small, str(number)), b"new")
        # A separate shell opens it there: the descriptor's number may be in use here.
        done = subprocess.run(
            ["sh", "-c", f'printf "%s\\n" "$0" | {{ exec "$@" {number}<&0 </dev/null; }}', os.fsdecode(PASSWORD),
             *shell.command("run", "docs")],
            env={**shell.environment, "TERMBACKUP_PASSWORD_FILE": f"/dev/fd/{number}"}, capture_output=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
    assert len(shell.ids("docs")) == 5


def test_both_passwords_of_a_rotation_come_from_pipes(shell, small, places):
    shell.profile("docs", small)
    shell.run("run", "docs")
    (old, first), (new, second) = places.pipe(), places.pipe(b"another one")
    shell.run("rotate-key", "docs", "--password-file", old, "--new-password-file", new, password=None, pass_fds=[first, second])
    for number in (first, second):
        os.close(number)
    shell.run("verify", "latest", "-p", "docs", password=b"another one")


def test_a_pipe_that_gives_nothing_is_no_password(shell, small, places):
    shell.profile("docs", small)
    place, number = places.pipe()
    os.read(number, 1000)
    refused = shell.run("run", "docs", "--password-file", place, password=None, pass_fds=[number], status=64)
    os.close(number)
    assert b"is empty" in refused.stderr


SPOKEN = "Zebra-spoken-once"


@pytest.mark.parametrize("verb", [["run", "docs"], ["schedule-run", "docs"], ["verify", "latest", "-p", "docs"], ["doctor"]])
def test_a_trace_that_the_environment_asks_for_shows_no_secret(shell, small, verb):
    require("bash")
    shell.profile("docs", small)
    shell.run("run", "docs", password=SPOKEN.encode())
    command = shell.command(*verb)
    # As on a system where sh is bash.
    script = command.index(str(shell.lib / "verbs" / verb[0]))
    done = subprocess.run(
        ["bash", "--posix", *command[script:]], capture_output=True, timeout=PATIENCE, stdin=subprocess.DEVNULL,
        env={**shell.environment, "SHELLOPTS": "xtrace:allexport:verbose", "TERMBACKUP_PASSWORD": SPOKEN, "TERMBACKUP_TOKEN": SPOKEN})
    assert done.returncode == 0, done.stderr
    assert SPOKEN.encode() not in done.stdout + done.stderr


def test_no_core_is_made_of_what_holds_a_secret(shell, small, tmp_path):
    shell.profile("docs", small)
    limits = put(tmp_path / "limits", f'#!/bin/sh\nulimit -c >"{tmp_path}/limit"\ncat "{shell.tbk.password_file}"\n'.encode(), 0o755)
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    done = subprocess.run(
        shell.command("run", "docs", "--password-command", f"'{os.fsdecode(limits)}'"), env=shell.environment, capture_output=True,
        timeout=PATIENCE, stdin=subprocess.DEVNULL, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (hard, hard)))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "limit").read_text() == "0\n"

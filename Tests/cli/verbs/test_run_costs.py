"""The cost of a run: processes, key derivations, visits to the store, requests to GitHub.

The limits are what has been achieved; none may be raised.
"""

import operator
import os
import re
import subprocess
from collections import namedtuple

import pytest
from conftest import PASSWORD, PATIENCE, SUITE_BIN, Commands, put, require
from github_fixture import TOKEN, github_server  # noqa: F401

Costs = namedtuple("Costs", "processes derivations visits")
VISITORS = {"tbk-pull", "tbk-push", "tbk-store", "tbk-prune", "tbk-token"}
# Of Argon2 at the default costs. It is mapped once to check that there is enough, and once to be used.
MEMORY = 64 << 20


def costs(trace):
    """Counts in the output of strace, which splits a call into two lines if another process interrupts it."""
    begun, processes, derivations, visits = {}, 1, 0, 0
    for line in trace.read_text().splitlines():
        number, _, call = line.partition(" ")
        call = call.lstrip()
        if call.endswith("<unfinished ...>"):
            begun[number] = call.removesuffix("<unfinished ...>")
            continue
        if resumed := re.match(r"<\.\.\. \w+ resumed>(.*)", call):
            call = begun.pop(number) + resumed[1]
        if re.match(r"(clone3?|v?fork)\(.* = [1-9]\d*$", call) and "CLONE_THREAD" not in call:
            processes += 1
        elif re.match(rf"madvise\(.*, {MEMORY}, MADV_DONTDUMP\) = 0", call):
            derivations += 1
        elif found := re.match(r'execve\("[^"]*", \["([^"]*)".* = 0$', call):
            visits += os.path.basename(found[1]) in VISITORS
    assert derivations % 2 == 0
    return Costs(processes, derivations // 2, visits)


class Machine:
    """A home with an incremental profile, run at the default costs."""

    def __init__(self, scratch, *fields, env=None):
        require("strace")
        self.scratch, self.tree = scratch, scratch / "tree"
        (scratch / "commands").mkdir()
        self.commands = Commands(scratch / "commands", SUITE_BIN)
        put(scratch / "password", PASSWORD, 0o600)
        self.env = {"TERMBACKUP_PASSWORD_FILE": str(scratch / "password"), **(env or {})}
        for number in range(5):
            put(self.tree / f"file{number}", b"content")
        self.verb("init", "--no-input")
        self.verb("profile", "create", "p", "--source", self.tree, "--mode", "incremental", *fields)

    def verb(self, *arguments):
        return self.commands.run("termbackup", *arguments, env=self.env)

    def measure(self):
        """Returns the costs of a run, and its output."""
        trace = self.scratch / "trace"
        command = ["strace", "-f", "-qq", "-s", "200", "-e", "trace=clone,clone3,fork,vfork,execve,madvise", "-o", str(trace),
                   self.commands.path("termbackup"), "run", "p"]
        done = subprocess.run(command, env={**self.commands.environment, **self.env}, capture_output=True, timeout=PATIENCE,
                              stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stderr
        return costs(trace), done.stdout

    def ready(self):
        """Makes a full backup and an incremental one."""
        for number in (5, 6):
            put(self.tree / f"file{number}", b"more")
            self.verb("run", "p")

    def unchanged(self):
        found, said = self.measure()
        assert b"Nothing has changed" in said
        return found

    def changed(self):
        put(self.tree / "last", b"last")
        found, said = self.measure()
        assert b"Backed up p" in said
        return found


@pytest.fixture
def machine(tmp_path):
    made = Machine(tmp_path)
    made.ready()
    return made


def within(found, most):
    assert all(map(operator.le, found, most)), f"{found}, and {most} at most"


def test_a_run_with_nothing_changed(machine):
    within(machine.unchanged(), Costs(processes=10, derivations=1, visits=1))


def test_a_run_with_changes(machine):
    within(machine.changed(), Costs(processes=14, derivations=2, visits=2))


def test_limits_cost_no_visit(machine):
    machine.verb("profile", "edit", "p", "--max-backups", "9")
    assert machine.unchanged().visits == 1 and machine.changed().visits == 2


def test_requests(tmp_path, github_server):  # noqa: F811
    github_server.token(TOKEN, login="me")
    github_server.make_repository("me/costs")
    env = {"TERMBACKUP_GITHUB_API": github_server.api, "TERMBACKUP_TOKEN": TOKEN}
    machine = Machine(tmp_path, "--repo", "me/costs", "--max-backups", "9", env=env)
    machine.ready()
    github_server.clear_log()
    assert machine.unchanged()[1:] == (1, 1)
    requests = [f"{entry['method']} {entry['path']}" for entry in github_server.log()]
    assert len(requests) <= 3, requests
    github_server.clear_log()
    assert machine.changed()[1:] == (2, 2)
    requests = [f"{entry['method']} {entry['path']}" for entry in github_server.log()]
    assert len(requests) <= 9, requests


def test_requests_without_a_secret(tmp_path, github_server):  # noqa: F811
    """Whether the store still has the identity is checked in the same visit."""
    github_server.token(TOKEN, login="me")
    github_server.make_repository("me/blind")
    env = {"TERMBACKUP_GITHUB_API": github_server.api, "TERMBACKUP_TOKEN": TOKEN}
    machine = Machine(tmp_path, "--repo", "me/blind", "--max-backups", "9", env=env)
    machine.verb("generate-identity", "p")
    del machine.env["TERMBACKUP_PASSWORD_FILE"]
    machine.ready()
    github_server.clear_log()
    assert machine.unchanged()[1:] == (0, 1)
    requests = [f"{entry['method']} {entry['path']}" for entry in github_server.log()]
    assert len(requests) <= 3 and sum("/keys/" in request for request in requests) == 1, requests
    github_server.clear_log()
    assert machine.changed()[1:] == (0, 2)
    requests = [f"{entry['method']} {entry['path']}" for entry in github_server.log()]
    assert len(requests) <= 9, requests
    # The identity is removed from the branch.
    clone = tmp_path / "clone"
    git = ["git", "-C", clone, "-c", "user.name=x", "-c", "user.email=x@x"]
    subprocess.run(["git", "clone", "-q", github_server.state("me/blind")["git_dir"], clone], check=True)
    for command in (["rm", "-q", "-r", "keys"], ["commit", "-q", "-m", "x"], ["push", "-q"]):
        subprocess.run([*git, *command], check=True)
    put(machine.tree / "after", b"after")
    done = machine.verb("run", "p", "--no-input")
    assert b"the sealed identity is missing from the store" in done.err and b"Backed up p" in done.out

"""The fixture `github`: a stand-in for GitHub, an empty repository on it, and the commands that speak to it."""

import json
import os
import subprocess
import sys

import pytest
from conftest import REPOSITORY, Commands, require

sys.path.insert(0, str(REPOSITORY / "Tests" / "github"))

from client import GitHub  # noqa: E402

TOKEN = "ghp_" + "0" * 36


@pytest.fixture(scope="module")
def github_server(tmp_path_factory):
    require("git")
    with GitHub(tmp_path_factory.mktemp("github")) as server:
        server.token(TOKEN, login="me")
        yield server


class Store:
    """One repository, and what tests do with it."""

    def __init__(self, server, commands, scratch, name):
        self.server = server
        self.commands = commands
        self.scratch = scratch
        self.name = name
        self.address = f"github:{name}"
        self.environment = {"TERMBACKUP_GITHUB_API": server.api, "TERMBACKUP_TOKEN": TOKEN}
        self.clones = 0

    # The commands

    def push(self, data, *arguments, status=0, env=None):
        return self.commands.run("tbk-push", self.address, *arguments, input=data, status=status,
                                 env={**self.environment, **(env or {})})

    def pull(self, *arguments, status=0, env=None):
        return self.commands.run("tbk-pull", self.address, *arguments, status=status,
                                 env={**self.environment, **(env or {})})

    def remove(self, *ids):
        return self.commands.run("tbk-push", self.address, "--remove", *ids, env=self.environment)

    def measure(self, name, *arguments, stdin=None):
        """Runs a command and returns its peak of memory in bytes."""
        process = self.commands.start(name, *arguments, env=self.environment, stdin=stdin or subprocess.DEVNULL,
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return usage.ru_maxrss * 1024

    # The server

    def fault(self, **fault):
        self.server.fault(**fault)

    def clear_faults(self):
        self.server.clear_faults()

    def log(self):
        return self.server.log()

    def clear_log(self):
        self.server.clear_log()

    def state(self):
        return self.server.state(self.name)

    def remake(self, **options):
        """The repository anew, with other files or facts."""
        self.server.remove_repository(self.name)
        self.server.make_repository(self.name, **options)

    def forget(self):
        """What this machine has seen of stores."""
        subprocess.run(["rm", "-rf", self.commands.home / ".termbackup"], check=True)

    # Git's own view

    def git(self, *arguments):
        return self.server.git(self.name, *arguments)

    def clone(self, branch="main"):
        self.clones += 1
        target = self.scratch / f"clone{self.clones}"
        subprocess.run(["git", "clone", "-q", "--branch", branch, self.state()["git_dir"], target], check=True)
        return target

    def check(self):
        assert self.git("fsck", "--strict", "--no-dangling") == ""


@pytest.fixture
def github(github_server, tmp_path):
    scratch = tmp_path / "github"
    scratch.mkdir()
    commands_scratch = tmp_path / "commands"
    commands_scratch.mkdir()
    name = "me/store"
    github_server.make_repository(name)
    yield Store(github_server, Commands(commands_scratch), scratch, name)
    github_server.clear_faults()
    github_server.reset()


def ledger_of(store):
    return json.loads((store.clone() / "metadata.json").read_bytes())

"""A home whose store is the stand-in for GitHub, and the sources of its token."""

import hashlib
import json

import pytest
from github_fixture import NUMBERS, github_server  # noqa: F401
from keyring_fixture import session  # noqa: F401
from shell_fixture import on_terminal, shell  # noqa: F401

GOOD = "ghp_" + "g" * 36
PROMPT = b"GitHub token: "


class Remote:
    """A repository on the stand-in, and verbs that use it."""

    def __init__(self, server, shell, scratch):
        self.server = server
        self.shell = shell
        self.scratch = scratch
        self.name = f"me/tokens{next(NUMBERS)}"
        server.token(GOOD, login="me")
        server.make_repository(self.name)
        self.fresh = f"me/fresh{next(NUMBERS)}"
        shell.environment["TERMBACKUP_GITHUB_API"] = server.api
        self.file = scratch / "the token"
        self.file.write_text(GOOD + "\n")
        self.file.chmod(0o600)

    def profile(self, source, *fields):
        self.shell.profile("docs", source, "--repo", self.name, *fields)

    def run(self, verb, *arguments, **options):
        """Runs a verb with the valid token."""
        options["env"] = {"TERMBACKUP_TOKEN_FILE": str(self.file), **options.get("env", {})}
        return self.shell.run(verb, *arguments, **options)

    def exists(self, name):
        try:
            return bool(self.server.state(name))
        except Exception:
            return False

    def used(self):
        """Hashes of the tokens that the server has received since the last call."""
        found = {entry["authorization"] for entry in self.server.log()}
        self.server.clear_log()
        return found

    def token(self, number, **facts):
        """Another valid token."""
        token = "ghp_" + hashlib.sha256(f"{self.name} {number}".encode()).hexdigest()[:36]
        return self.server.token(token, login="me", **facts)


@pytest.fixture
def remote(shell, github_server, tmp_path):
    github_server.clear_log()
    yield Remote(github_server, shell, tmp_path)
    github_server.clear_faults()


def configure(shell, token):
    path = shell.home / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "github_token": token}))


def asked(remote, session, answers, verb, *arguments):
    shell = remote.shell
    shell.environment.update(session.address)
    return on_terminal(shell, answers, verb, *arguments)

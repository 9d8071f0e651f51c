"""termbackup init: the home, the token, the repository."""

import json

from conftest import snapshot
from github_fixture import NUMBERS, github_server  # noqa: F401
from keyring_fixture import session  # noqa: F401
from remote_fixture import GOOD, PROMPT, asked, remote  # noqa: F401
from shell_fixture import (  # noqa: F401
    on_terminal,
    shell,  # noqa: F401
)
from test_keyring import configured, operations


def test_init_needs_no_account_and_changes_nothing_the_second_time(shell):
    first = shell.run("init").stdout.decode()
    assert str(shell.home / "store") in first
    assert (shell.home.stat().st_mode & 0o777, (shell.home / "config.json").stat().st_mode & 0o777) == (0o700, 0o600)
    before = snapshot(shell.home)
    assert b"Nothing to create" in shell.run("init").stdout
    assert snapshot(shell.home) == before
    assert shell.run("init", "-q").stdout == b""


def test_init_asks_for_a_token_checks_it_and_makes_the_repository(remote, session):
    status, shown = asked(remote, session, [(PROMPT, GOOD.encode()), (b"[y/N] ", b"y")], "init", "--repo", remote.fresh)
    assert status == 0, shown
    assert GOOD.encode() not in shown and b"ghp_***" in shown and b"private" in shown
    assert session.token() == GOOD.encode()
    assert remote.exists(remote.fresh)
    assert configured(remote.shell) is None and operations(remote.shell) == [("init", "success")]
    # The second time there is no prompt.
    status, shown = asked(remote, session, [], "init")
    assert status == 0 and PROMPT not in shown and b"comes from keyring" in shown


def test_init_makes_no_repository_that_nobody_wants(remote, session):
    session.store(GOOD.encode())
    status, shown = asked(remote, session, [(b"[y/N] ", b"n")], "init", "--repo", remote.fresh)
    assert status == 0 and b"does not exist" in shown, shown
    assert not remote.exists(remote.fresh)


def test_init_without_an_account_takes_an_empty_answer(remote, session):
    status, shown = asked(remote, session, [(PROMPT, b"")], "init")
    assert status == 0 and b"New profiles back up to" in shown, shown
    assert session.items() == 0 and remote.used() == set()
    status, shown = asked(remote, session, [], "init", "--no-input")
    assert status == 0 and PROMPT not in shown


def test_init_asks_nobody_where_there_is_no_keyring(remote):
    shell = remote.shell
    status, shown = on_terminal(shell, [], "init")
    assert status == 0 and PROMPT not in shown and b"keyring" not in shown
    status, shown = on_terminal(shell, [], "init", "--repo", remote.name)
    assert status == 0 and PROMPT not in shown and b"no keyring" in shown and b"gh auth token" in shown


def test_init_keeps_no_token_that_github_refuses(remote, session):
    status, shown = asked(remote, session, [(PROMPT, b"ghp_mistyped")], "init", "--repo", remote.name)
    assert status == 77 and b"ghp_mistyped" not in shown
    assert session.items() == 0 and operations(remote.shell) == [("init", "failure")]
    # What was created stays, and init can be run again.
    status, shown = asked(remote, session, [(PROMPT, GOOD.encode())], "init")
    assert status == 0 and session.token() == GOOD.encode()


def test_init_works_unattended(remote):
    """The token comes from the environment, as in CI: it is used, but not stored."""
    shell = remote.shell
    done = remote.run("init", "--repo", remote.fresh, "--create-repo", "--no-input")
    assert b"Created the private repository" in done.stdout and remote.exists(remote.fresh)
    again = remote.run("init", "--repo", remote.fresh, "--create-repo", "--no-input")
    assert b"Created" not in again.stdout
    assert GOOD.encode() not in done.stdout + done.stderr
    shell.run("profile", "create", "docs", "--source", shell.tbk.home)
    assert json.loads((shell.home / "profiles" / "docs.json").read_text())["repo"] == remote.fresh


def test_init_says_when_the_repository_is_not_there(remote):
    refused = remote.run("init", "--repo", remote.fresh, "--no-input", status=69)
    assert b"--create-repo" in refused.stderr and not remote.exists(remote.fresh)


def test_init_without_a_token_reaches_no_network(remote):
    done = remote.shell.run("init", "--repo", remote.name)
    assert b"no token" in done.stderr and remote.used() == set()


def test_init_creates_repositories_alone(remote):
    shell = remote.shell
    shell.run("init", "--create-repo", "--repo", remote.scratch, status=64)
    assert not shell.home.exists()
    shell.run("init")
    before = (shell.home / "config.json").read_bytes()
    shell.run("init", "--create-repo", status=64)
    shell.run("init", "--create-repo", "--repo", remote.scratch, status=64)
    assert (shell.home / "config.json").read_bytes() == before


def test_init_puts_a_token_that_is_given_into_the_keyring_or_says_why_not(remote, session):
    shell = remote.shell
    arguments = ["init", "--repo", remote.name, "--token-file", remote.file]
    refused = shell.run(*arguments, status=69)
    assert b"no keyring" in refused.stderr and b"0600" in refused.stderr
    for path in shell.home.rglob("*"):
        assert path.is_dir() or GOOD.encode() not in path.read_bytes()
    shell.run(*arguments, env=session.environment_of(shell))
    assert session.token() == GOOD.encode()


def test_init_refuses_a_token_that_cannot_write(remote, session):
    remote.server.update_repository(remote.name, collaborators={"reader": "read"})
    token = "ghp_" + "r" * 36
    remote.server.token(token, login="reader")
    refused = remote.shell.run("init", "--repo", remote.name, env={"TERMBACKUP_TOKEN": token}, status=77)
    assert b"cannot write" in refused.stderr and token.encode() not in refused.stderr

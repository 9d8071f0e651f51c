"""termbackup update-token: replaces the token in the keyring by a valid one."""

import shutil

import pytest
from github_fixture import NUMBERS, github_server  # noqa: F401
from keyring_fixture import session  # noqa: F401
from remote_fixture import GOOD, PROMPT, asked, configure, remote  # noqa: F401
from shell_fixture import on_terminal, shell  # noqa: F401
from test_keyring import configured, operations


def test_update_token_replaces_the_one_in_the_keyring(remote, session):
    shell = remote.shell
    shell.run("init", "-q")
    session.store(b"ghp_old")
    configure(shell, "ghp_older")
    done = shell.run("update-token", "--token-file", remote.file, env=session.environment_of(shell))
    # The item of TermBackup 6 stays.
    assert session.token() == session.kept(shell.home) == GOOD.encode() and session.items() == 2
    assert configured(shell) is None
    assert b"ghp_***" in done.stdout and b" of me" in done.stdout and GOOD.encode() not in done.stdout + done.stderr
    assert operations(shell)[-1] == ("update-token", "success")
    quiet = shell.run("update-token", "-q", env={**session.environment_of(shell), "TERMBACKUP_TOKEN": GOOD})
    assert quiet.stdout + quiet.stderr == b""


def test_update_token_says_what_still_comes_before_the_keyring(remote, session):
    remote.shell.run("init", "-q")
    done = remote.run("update-token", env=session.environment_of(remote.shell))
    assert b"TERMBACKUP_TOKEN_FILE" in done.stderr


def test_update_token_asks_on_a_terminal(remote, session):
    remote.shell.run("init", "-q")
    # A token in GITHUB_TOKEN is not stored.
    remote.shell.environment["GITHUB_TOKEN"] = remote.token("shared")
    status, shown = asked(remote, session, [(PROMPT, GOOD.encode())], "update-token")
    assert status == 0 and GOOD.encode() not in shown and session.token() == GOOD.encode()
    status, shown = asked(remote, session, [(PROMPT, b"")], "update-token")
    assert status == 64 and b"no token" in shown and session.token() == GOOD.encode()
    status, shown = asked(remote, session, [], "update-token", "--no-input")
    assert status == 64 and PROMPT not in shown


@pytest.mark.parametrize("facts", [None, {"expires": -60}])
def test_update_token_changes_nothing_for_a_token_that_is_not_good(remote, session, facts):
    shell = remote.shell
    shell.run("init", "-q")
    session.store(b"ghp_old")
    configure(shell, "ghp_older")
    token = "ghp_nobodys" if facts is None else remote.token("expired", **facts)
    refused = shell.run("update-token", env={**session.environment_of(shell), "TERMBACKUP_TOKEN": token}, status=77)
    assert token.encode() not in refused.stderr
    assert session.token() == b"ghp_old" and configured(shell) == "ghp_older"
    assert operations(shell)[-1] == ("update-token", "failure")


def test_update_token_may_be_held_to_a_repository(remote, session):
    shell = remote.shell
    shell.run("init", "-q")
    environment = session.environment_of(shell)
    shell.run("update-token", "--repo", remote.name, "--token-file", remote.file, env=environment)
    shell.run("update-token", "--repo", remote.fresh, "--token-file", remote.file, env=environment, status=69)
    shell.run("update-token", "--repo", "no repository", "--token-file", remote.file, env=environment, status=64)


def test_update_token_warns_of_a_token_that_expires_soon(remote, session):
    remote.shell.run("init", "-q")
    token = remote.token("short", expires=3 * 86400)
    done = remote.shell.run("update-token", env={**session.environment_of(remote.shell), "TERMBACKUP_TOKEN": token})
    assert b"warning" in done.stderr and b"expires" in done.stderr


def test_update_token_needs_a_keyring_before_it_asks(remote):
    shell = remote.shell
    shell.run("init", "-q")
    status, shown = on_terminal(shell, [], "update-token")
    assert status == 69 and PROMPT not in shown
    for words in (b"gh auth token", b"TERMBACKUP_TOKEN_FILE", b"0600", b"session that has a bus" if shutil.which("secret-tool") else b"libsecret-tools"):
        assert words in shown

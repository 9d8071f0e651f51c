"""termbackup token-info: the permissions of the token, and its source."""

import json

from github_fixture import NUMBERS, github_server  # noqa: F401
from keyring_fixture import session  # noqa: F401
from remote_fixture import GOOD, remote  # noqa: F401
from shell_fixture import on_terminal, shell  # noqa: F401


def test_token_info_shows_what_the_token_may_do_and_where_it_comes_from(remote, session, tmp_path):
    shell = remote.shell
    remote.profile(tmp_path)
    session.store(GOOD.encode())
    environment = session.environment_of(shell)

    def lines(*arguments):
        shown = shell.run("token-info", *arguments, env=environment).stdout
        assert GOOD.encode() not in shown
        return {line[:18].strip(): line[18:] for line in shown.decode().splitlines()}

    found = lines()
    assert (found["kind"], found["token"], found["user"], found["source"]) == ("classic", "ghp_***", "me", "keyring")
    assert "repository" not in found
    assert lines("-p", "docs")["repository"] == lines("--repo", remote.name)["repository"] == remote.name
    assert lines("-pdocs")["push"] == "yes"
    report = json.loads(shell.run("token-info", "--json", "--profile=docs", env=environment).stdout)
    assert (report["token"], report["repository"], report["push"]) == ("ghp_***", remote.name, "yes")
    assert report == json.loads(shell.tbk.run("tbk-token", "--json", "--repo", remote.name, env={
        "TERMBACKUP_GITHUB_API": remote.server.api, "TERMBACKUP_TOKEN": GOOD}).out) | {
            key: report[key] for key in ("rate_remaining", "rate_reset_at", "clock_skew", "source")}
    assert report["source"] == "keyring" and abs(report["clock_skew"]) < 60


def test_token_info_fails_where_the_token_does(remote, tmp_path):
    shell = remote.shell
    remote.profile(tmp_path)
    shell.run("profile", "create", "here", "--source", tmp_path, "--repo", shell.home / "store")
    assert b"is not a repository on GitHub" in remote.run("token-info", "-p", "here", status=64).stderr
    remote.run("token-info", "-p", "docs", "--repo", remote.name, status=64)
    remote.run("token-info", "--repo", remote.fresh, status=69)
    error = json.loads(shell.run("token-info", "--json", env={"TERMBACKUP_TOKEN": "ghp_wrong"}, status=77).stderr)["error"]
    assert (error["type"], error["http_status"]) == ("TokenError", 401)
    remote.server.update_repository(remote.name, private=False)
    assert b"public" in remote.run("token-info", "-p", "docs").stderr

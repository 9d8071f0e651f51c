"""The token of a store on GitHub: its sources, which processes see it, and the verbs that manage it."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest
from conftest import FAST, PASSWORD, PATIENCE, absent, put, require, snapshot
from github_fixture import NUMBERS, github_server  # noqa: F401
from keyring_fixture import session  # noqa: F401
from remote_fixture import GOOD, configure, remote  # noqa: F401
from shell_fixture import on_terminal, shell  # noqa: F401

SOURCES = ("option", "TERMBACKUP_TOKEN_FILE", "TERMBACKUP_TOKEN_COMMAND", "TERMBACKUP_TOKEN", "keyring", "GITHUB_TOKEN",
           "config.json")


def hashed(token):
    return hashlib.sha256(f"Bearer {token}".encode()).hexdigest()


@pytest.mark.parametrize("first", SOURCES)
def test_the_first_place_that_has_a_token_gives_it(remote, session, tmp_path, first):
    """Each source has its own token; those before `first` have none."""
    shell = remote.shell
    shell.run("init", "-q")
    shell.run("profile", "create", "docs", "--source", tmp_path, "--repo", remote.name)
    there = SOURCES[SOURCES.index(first):]
    tokens = {source: remote.token(source) for source in there}
    arguments, environment = [], session.environment_of(shell)
    for source, token in tokens.items():
        file = tmp_path / source
        file.write_text(token + "\n")
        if source == "option":
            arguments = ["--token-file", file]
        elif source == "keyring":
            session.store(token.encode())
        elif source == "config.json":
            configure(shell, token)
        else:
            environment[source] = {"FILE": str(file), "COMMAND": f"cat '{file}'"}.get(source.rpartition("_")[2], token)
    remote.used()
    done = shell.run("list", *arguments, "docs", env=environment)
    assert remote.used() == {hashed(tokens[first])}
    assert (b"'termbackup migrate'" in done.stderr) == (first == "config.json")
    # The commands know all of these sources except the keyring.
    if first != "keyring":
        for command in ("tbk-pull", f"github:{remote.name}", "--list"), ("tbk-token",):
            given = {**environment, "TERMBACKUP_HOME": str(shell.home)}
            result = shell.tbk.run(*command, *map(str, arguments), env=given)
            assert remote.used() == {hashed(tokens[first])}
            assert (b"'termbackup migrate'" in result.err) == (first == "config.json")
            assert not any(token.encode() in result.out + result.err for token in tokens.values())


def test_descriptors_and_commands_give_it(remote, tmp_path):
    shell = remote.shell
    remote.profile(tmp_path)
    with open(remote.file, "rb") as stream:
        shell.run("list", "--token-fd", "0", "docs", stdin=stream)
    with open(remote.file, "rb") as stream:
        number = stream.fileno()
        shell.run("list", f"--token-fd={number}", "docs", pass_fds=[number])
    shell.run("list", "--token-command", f"cat '{remote.file}'", "docs")
    shell.run("list", "--token-file", "/no/such/file", "docs", status=66)
    shell.run("list", "--token-command", "false", "docs", status=78)
    shell.run("list", "--token-fd", "x", "docs", status=64)
    assert b"only one of" in shell.run("list", "--token-fd=0", "--token-command=x", "docs", status=64).stderr


@pytest.mark.parametrize("content", [b"", b"\n", b" " + GOOD.encode(), GOOD.encode() + b" ", GOOD.encode() + b"\r\n",
                                     GOOD.encode() + b"\n\n", b"a b", b"\xff", b"x" * 1025])
def test_what_is_no_token_is_refused_and_not_shown(remote, tmp_path, content):
    remote.profile(tmp_path)
    remote.file.write_bytes(content)
    remote.used()
    for refused in (remote.run("list", "docs", status=77).stderr, remote.run("list", "--json", "docs", status=77).stderr):
        assert GOOD.encode() not in refused
    assert json.loads(refused)["error"]["type"] == "TokenError"
    assert remote.used() == set()


def test_an_empty_variable_is_no_token_but_an_error(remote, tmp_path):
    remote.profile(tmp_path)
    assert b"empty" in remote.shell.run("list", "docs", env={"TERMBACKUP_TOKEN": ""}, status=77).stderr
    # Other programs use GITHUB_TOKEN, too.
    assert b"no token" in remote.shell.run("list", "docs", env={"GITHUB_TOKEN": ""}, status=77).stderr


def test_without_a_token_it_is_said_where_one_may_come_from(remote, small, tmp_path):
    remote.profile(small)
    for verb in (["list", "docs"], ["run", "docs"], ["restore", "latest", "-p", "docs", "--to", tmp_path / "out"],
                 ["verify", "latest", "-p", "docs"], ["diff", "latest", "latest", "-p", "docs"], ["token-info"]):
        refused = remote.shell.run(*verb, status=77).stderr
        assert b"gh auth token" in refused and b"update-token" in refused
        assert json.loads(remote.shell.run(*verb, "--json", status=77).stderr)["error"]["type"] == "TokenError"
    assert remote.used() == set()


def test_a_store_on_this_machine_asks_nobody_for_a_token(shell, small, tmp_path):
    spy = tmp_path / "spy"
    for name in ("secret-tool", "gh"):
        put(spy / name, f'#!/bin/sh\ntouch "{tmp_path}/asked"\n'.encode(), 0o755)
    shell.profile("docs", small)
    environment = {"PATH": f"{spy}:{shell.environment['PATH']}", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/x",
                   "TERMBACKUP_TOKEN_FILE": "/no/such/file", "TERMBACKUP_TOKEN_COMMAND": "gh auth token",
                   "TERMBACKUP_TOKEN": ""}
    shell.run("run", "docs", env=environment)
    shell.run("verify", "latest", "-p", "docs", env=environment)
    shell.run("list", "docs", "--token-command", "gh auth token", env=environment)
    assert not (tmp_path / "asked").exists()


def test_a_locked_keyring_is_passed_over_with_a_warning(remote, session, tmp_path):
    remote.profile(tmp_path)
    session.store(remote.token("keyring").encode())
    session.lock()
    done = remote.shell.run("list", "docs", env={**session.environment_of(remote.shell), "GITHUB_TOKEN": GOOD})
    assert b"warning" in done.stderr and b"locked" in done.stderr
    assert remote.used() == {hashed(GOOD)}
    told = remote.shell.run("status", "--no-input", env=session.environment_of(remote.shell))
    assert b"locked" in told.stderr and told.stdout.splitlines()[-1].endswith(b"no token is configured")


def test_a_tree_on_github_comes_back_as_it_was(remote, session, tree, tmp_path):
    """The token from the keyring and the password from a descriptor, both in one pipeline."""
    shell = remote.shell
    session.store(GOOD.encode())
    remote.profile(tree, "--mode", "incremental")
    environment = session.environment_of(shell)

    def run(verb, *arguments, status=0):
        with open(shell.tbk.password_file, "rb") as file:
            return shell.run(verb, *arguments, "--password-fd", file.fileno(), password=None, pass_fds=[file.fileno()],
                             env=environment, status=status)

    run("run", "docs")
    put(os.path.join(tree, "added"), b"added\n")
    made = json.loads(run("run", "docs", "--json").stdout)
    assert made["mode"] == "incremental" and made["store"] == f"github:{remote.name}"
    first, second = [line.split()[0] for line in shell.run("list", "docs", env=environment).stdout.decode().splitlines()[1:-1]]
    assert "added\tadded" in run("diff", first, second, "-p", "docs", status=1).stdout.decode().splitlines()
    run("verify", "--all", "-p", "docs")
    run("restore", "latest", "-p", "docs", "--to", tmp_path / "out", "--setuid")
    assert snapshot(tmp_path / "out") == snapshot(tree)
    assert remote.used() == {hashed(GOOD)}


def test_the_keyring_is_asked_once_by_each_verb(remote, session, small, tmp_path):
    shell = remote.shell
    session.keep(GOOD.encode(), shell.home)
    real = shutil.which("secret-tool")
    put(tmp_path / "counting" / "secret-tool", f'#!/bin/sh\nprintf x >>"{tmp_path}/count"\nexec "{real}" "$@"\n'.encode(), 0o755)
    remote.profile(small)
    environment = session.environment_of(shell)
    environment["PATH"] = f"{tmp_path / 'counting'}:{environment['PATH']}"
    for number, verb in enumerate((["run", "docs"], ["list", "docs"], ["verify", "--all", "-p", "docs"],
                                   ["diff", "latest", "latest", "-p", "docs"],
                                   ["restore", "latest", "-p", "docs", "--to", tmp_path / "out"]), 1):
        shell.run(*verb, env=environment)
        assert (tmp_path / "count").read_text() == "x" * number, verb


def test_one_descriptor_cannot_give_two_secrets(remote, small):
    remote.profile(small)
    assert b"both" in remote.shell.run("run", "docs", "--password-fd=0", "--token-fd=0", password=None, status=64).stderr
    with open(remote.file, "rb") as token, open(remote.shell.tbk.password_file, "rb") as password:
        numbers = [token.fileno(), password.fileno()]
        remote.shell.run("run", "docs", f"--token-fd={numbers[0]}", f"--password-fd={numbers[1]}", password=None,
                         pass_fds=numbers)


def test_a_branch_is_a_store_of_its_own(remote, small):
    remote.profile(small)
    remote.shell.run("profile", "create", "apart", "--source", small, "--repo", f"{remote.name}#archive/2026")
    remote.run("run", "docs")
    remote.run("run", "apart")
    state = remote.server.git(remote.name, "for-each-ref", "--format=%(refname:short)", "refs/heads")
    assert state.split() == [b"archive/2026", b"main"]
    assert len(remote.run("list", "apart").stdout.splitlines()) == 3


def test_the_placement_of_the_profile_holds_unless_another_is_given(remote, small):
    def assets():
        return len(remote.server.state(remote.name)["assets"])

    remote.profile(small, "--placement", "release")
    remote.run("run", "docs")
    assert assets() == 1
    put(os.path.join(small, "more"), b"more\n")
    remote.run("run", "docs", "--placement", "git")
    assert assets() == 1
    remote.shell.run("profile", "edit", "docs", "--unset", "placement")
    put(os.path.join(small, "even more"), b"more\n")
    remote.run("run", "docs")
    assert assets() == 1
    remote.run("run", "docs", "--placement=release", "--full")
    assert assets() == 2
    remote.run("verify", "--all", "-p", "docs")
    for wrong in (["profile", "edit", "docs", "--placement", "assets"], ["run", "docs", "--placement", "assets"]):
        assert b"auto, git or release" in remote.shell.run(*wrong, status=64).stderr


def test_the_wait_is_handed_on(remote, small, tmp_path):
    remote.profile(small)
    remote.run("run", "docs")
    remote.server.fault(path="/repos/", times=-1, status=503)
    for verb in (["list", "docs"], ["run", "docs"], ["restore", "latest", "-p", "docs", "--to", tmp_path / "out"],
                 ["verify", "--all", "-p", "docs"], ["diff", "latest", "latest", "-p", "docs"]):
        # The default is a quarter of an hour, which exceeds PATIENCE.
        remote.run(*verb, "--max-wait", "1", status=75)
    for wrong in ("x", "-1", "86401", "99999999999999999999", ""):
        remote.run("list", "docs", "--max-wait", wrong, status=64)


def test_errors_keep_their_type_and_status_in_json(remote, small):
    remote.profile(small)
    refused = remote.shell.run("run", "docs", "--json", env={"TERMBACKUP_TOKEN": "ghp_wrong"}, status=77)
    error = json.loads(refused.stderr)["error"]
    assert (error["type"], error["status"], error["http_status"]) == ("TokenError", 77, 401)
    assert "update-token" in error["hint"]
    remote.server.delete_repository(remote.name)
    error = json.loads(remote.run("list", "docs", "--json", status=69).stderr)["error"]
    assert (error["type"], error["status"], error["http_status"]) == ("GitHubError", 69, 404)


def test_a_token_that_is_refused_is_no_wrong_password_in_the_audit_log(remote, small):
    remote.profile(small)
    remote.run("run", "docs")
    remote.shell.run("run", "docs", env={"TERMBACKUP_TOKEN": "ghp_wrong"}, status=77)
    last = json.loads((remote.shell.home / "audit.log").read_text().splitlines()[-1])
    assert last["details"]["error"] == "access denied by the store"


def test_verify_does_not_take_a_store_out_of_reach_for_a_lost_backup(remote, small):
    remote.profile(small)
    remote.run("run", "docs")
    listed = remote.server.log()
    remote.server.clear_log()
    remote.run("verify", "latest", "-p", "docs", "--no-mark")
    # The archive is fetched last.
    path = re.escape(remote.server.log()[-1]["path"])
    assert listed
    remote.server.fault(path=f"^{path}$", times=-1, status=401, body='{"message": "Bad credentials"}')
    assert remote.run("verify", "latest", "-p", "docs", "--no-mark", status=77).stdout == b""


@pytest.mark.parametrize("verb", ["list", "run", "verify", "token-info"])
def test_a_signal_is_heard_while_the_network_is_silent(remote, small, verb):
    remote.profile(small)
    remote.run("run", "docs")
    remote.server.clear_log()
    remote.server.fault(path="/", times=-1, hang=10 * PATIENCE)
    shell = remote.shell
    arguments = {"verify": ["latest", "-p", "docs"], "token-info": []}.get(verb, ["docs"])
    process = subprocess.Popen(shell.command(verb, *arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=shell.environment_with(PASSWORD, {"TERMBACKUP_TOKEN": GOOD}))
    start = time.monotonic()
    while not remote.server.log():
        assert process.poll() is None and time.monotonic() - start < PATIENCE
        time.sleep(0.02)
    # Only the shell itself gets the signal.
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 143
    assert list((shell.home / "tmp").iterdir()) == []


@pytest.mark.parametrize("source", ["keyring", "TERMBACKUP_TOKEN", "GITHUB_TOKEN", "--token-file", "config.json"])
def test_no_process_has_a_secret_in_its_arguments_or_environment(remote, session, small, tmp_path, source):
    """Checks every execve of these verbs, as seen by the kernel."""
    require("strace")
    shell = remote.shell
    trace = tmp_path / "trace"
    strace = ["strace", "-f", "-qq", "-v", "-s", "1048576", "-e", "trace=execve", "-o", str(trace)]
    probe = subprocess.run([*strace, "true"], capture_output=True)
    if probe.returncode != 0:
        absent("permission to trace")
    remote.profile(small)
    environment, arguments = session.environment_of(shell), []
    if source == "keyring":
        session.store(GOOD.encode())
    elif source == "--token-file":
        arguments = [source, remote.file]
    elif source == "config.json":
        configure(shell, GOOD)
    else:
        environment[source] = GOOD
    shell.interpreter = [*strace, *shell.interpreter]
    environment["TERMBACKUP_PASSWORD"] = PASSWORD.decode()
    for verb in (["run", "docs"], ["verify", "latest", "-p", "docs"],
                 ["restore", "latest", "-p", "docs", "--to", tmp_path / "out"], ["list", "docs"], ["token-info", "-p", "docs"]):
        shell.run(*verb, *arguments, password=None, env=environment)
        calls = trace.read_text(errors="replace").splitlines()
        names = {found[1] for line in calls if (found := re.search(r'execve\("[^"]*/(tbk-\w+)"', line))}
        assert names & {"tbk-pull", "tbk-push", "tbk-token"}, calls
        # The first call is the verb itself, to which the test passes the secret.
        seen = [line for line in calls[1:] if GOOD in line or PASSWORD.decode() in line]
        assert seen == [], verb
        if source not in ("TERMBACKUP_TOKEN", "GITHUB_TOKEN"):
            assert GOOD not in calls[0]
    for path in shell.home.rglob("*"):
        if path.is_file() and path.name != "config.json":
            data = path.read_bytes()
            assert GOOD.encode() not in data and PASSWORD not in data, path


@pytest.mark.parametrize("verb", ["init", "update-token", "migrate"])
def test_no_process_has_the_token_that_goes_into_the_keyring(remote, session, tmp_path, verb):
    require("strace")
    shell = remote.shell
    trace = tmp_path / "trace"
    strace = ["strace", "-f", "-qq", "-v", "-s", "1048576", "-e", "trace=execve", "-o", str(trace)]
    if subprocess.run([*strace, "true"], capture_output=True).returncode != 0:
        absent("permission to trace")
    shell.run("init", "-q")
    if verb == "migrate":
        configure(shell, GOOD)
    shell.interpreter = [*strace, *shell.interpreter]
    shell.run(verb, *([] if verb == "migrate" else ["--token-file", remote.file]), env=session.environment_of(shell))
    assert session.token() == GOOD.encode()
    calls = trace.read_text(errors="replace")
    assert 'secret-tool", ["secret-tool", "store"' in calls and GOOD not in calls


def test_the_command_for_one_secret_does_not_get_the_other(remote, small, tmp_path):
    shell, seen = remote.shell, tmp_path / "seen"

    def giving(file):
        command = put(tmp_path / f"give {file.name}", f'#!/bin/sh\nenv >>"{seen}"\nexec cat "{file}"\n'.encode(), 0o755)
        return f"'{os.fsdecode(command)}'"

    secret = {"TERMBACKUP_TOKEN": GOOD, "GITHUB_TOKEN": GOOD, "TERMBACKUP_PASSWORD": PASSWORD.decode()}
    password = ["--password-command", giving(shell.tbk.password_file)]
    token = ["--token-command", giving(remote.file)]
    remote.profile(small)
    shell.run("run", "docs", *password, password=None, env=secret)
    shell.run("run", "docs", *token, password=None, env=secret)
    # The commands themselves. They cannot know what GITHUB_TOKEN is for before they look for a token.
    shell.tbk.run("tbk-seal", "stream", "x", *password, "--", "env", password=None,
                  env={**secret, "GITHUB_TOKEN": ""})
    archive = shell.tbk.run("tbk-seal", "stream", *FAST, "x", "--", "env", env={
        **secret, "GITHUB_TOKEN": ""}).out
    shell.tbk.run("tbk-pull", f"github:{remote.name}", "--list", *token, env={
        **secret, "TERMBACKUP_GITHUB_API": remote.server.api})
    written = seen.read_text() + shell.tbk.open(archive, "--cat", "x").out.decode()
    assert written.count("PATH=") >= 5 and GOOD not in written and PASSWORD.decode() not in written


def test_without_a_configuration_the_hint_is_init(remote):
    for verb in ("update-token", "token-info", "migrate"):
        assert b"termbackup init" in remote.run(verb, status=78).stderr


def test_verbs_are_given_the_token_by_tbk_sh(shell):
    shell.run("init", "-q")

    def token(*arguments, status=0, **env):
        return shell.tbk.run("tbk-sh", "token", *arguments, status=status, env=env)

    assert token().out == b""
    assert token(GITHUB_TOKEN="ghp_a").out == b"ghp_a\n"
    assert token(GITHUB_TOKEN="ghp_a", TERMBACKUP_TOKEN="ghp_b").out == b"ghp_b\n"
    configure(shell, "ghp_c")
    assert token("--stored", GITHUB_TOKEN="ghp_a").out == b"ghp_c\n"
    assert b"migrate" in token().err and b"migrate" not in token("--stored").err
    assert token("--ask").out == b"" and token("--ask", GITHUB_TOKEN="ghp_a").out == b""
    assert token("--ask", TERMBACKUP_TOKEN="ghp_b").out == b"ghp_b\n"
    for wrong in ("a b", " x", "x\t", "é", "x" * 1025):
        assert token(GITHUB_TOKEN=wrong, status=77).out == b""
    configure(shell, "not one")
    assert b"not one" not in token("--stored", status=77).err
    (shell.home / "config.json").chmod(0o644)
    configure(shell, "ghp_c")
    assert b"read by others" in token("--stored").err


def test_the_store_of_new_profiles_is_given_as_the_commands_take_it(shell):
    shell.run("init", "-q", "--repo", "me/backups#main")
    assert shell.tbk.run("tbk-config", "store").out == b"github:me/backups#main\n"
    assert shell.tbk.run("tbk-config", "store", "you/other").out == b"github:you/other\n"
    assert shell.tbk.run("tbk-config", "store", "/a/./b").out == b"/a/b\n"
    shell.tbk.run("tbk-config", "store", "you/other#..", status=64)

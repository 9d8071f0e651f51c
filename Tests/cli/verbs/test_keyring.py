"""The token in the keyring: the real GNOME keyring in a separate session, and a stand-in for macOS's program."""

import contextlib
import json
import os
import pty
import time

import pytest
from conftest import PATIENCE, put, require, shown_on
from keyring_fixture import session, without_keyring  # noqa: F401
from shell_fixture import shell  # noqa: F401

TOKEN = "ghp_" + "k" * 36
OTHER = "github_pat_" + "o" * 40


def configure(shell, token):
    """A configuration of TermBackup 6, with the token in plain text."""
    shell.run("init", "-q")
    path = shell.home / "config.json"
    configuration = json.loads(path.read_text())
    path.write_text(json.dumps({**configuration, "github_token": token, "of_old": [1, 2.50]}))


def configured(shell):
    return json.loads((shell.home / "config.json").read_text())["github_token"]


def operations(shell):
    return [(entry["operation"], entry["status"]) for entry in
            map(json.loads, (shell.home / "audit.log").read_text().splitlines())]


def only(tmp_path, *left_out):
    """A PATH with the programs of this machine except some."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for place in reversed(os.environ["PATH"].split(os.pathsep)):
        if os.path.isdir(place):
            for name in os.listdir(place):
                if name not in left_out and os.access(os.path.join(place, name), os.X_OK):
                    (folder / name).unlink(missing_ok=True)
                    (folder / name).symlink_to(os.path.join(place, name))
    return str(folder)


def path_first(shell, *folders):
    return {"PATH": os.pathsep.join([*map(str, folders), shell.environment["PATH"]])}


# migrate


def test_a_token_moves_from_the_configuration_into_the_keyring(shell, session):
    configure(shell, TOKEN)
    done = shell.run("migrate", env=session.environment_of(shell))
    assert b"is in the keyring" in done.stdout
    assert session.token() == TOKEN.encode() and configured(shell) is None
    assert json.loads((shell.home / "config.json").read_text())["of_old"] == [1, 2.50]
    assert ("migrate-token", "success") in operations(shell)
    again = shell.run("migrate", env=session.environment_of(shell))
    assert b"nothing to move" in again.stdout and session.token() == TOKEN.encode()
    for path in (shell.home).rglob("*"):
        assert path.is_dir() or TOKEN.encode() not in path.read_bytes(), path
    assert TOKEN.encode() not in done.stdout + done.stderr


def test_the_item_belongs_to_one_home(shell, session):
    configure(shell, TOKEN)
    shell.run("migrate", env=session.environment_of(shell))
    found = session.tool("search", "--all", "service", "termbackup", "home", str(shell.home), "item", "github_token")
    assert b"label = TermBackup: GitHub token (" + os.fsencode(shell.home) in found.stdout
    assert session.items() == 1


def test_two_homes_have_a_token_each_and_both_find_the_one_of_termbackup_6(shell, session, tmp_path):
    session.store(OTHER.encode())
    homes = {tmp_path / "a": TOKEN, tmp_path / "b": TOKEN[::-1]}
    for home, token in homes.items():
        env = {**session.environment_of(shell), "TERMBACKUP_HOME": str(home)}
        shell.run("init", "-q", env=env)
        (home / "config.json").write_text(json.dumps({"github_token": token}))
        (home / "config.json").chmod(0o600)
        assert b"--force" in shell.run("migrate", status=73, env=env).stderr
        shell.run("migrate", "--force", env=env)
    assert {home: session.kept(home).decode() for home in homes} == homes
    assert session.tool("lookup", "service", "termbackup", "username", "github_token").stdout == OTHER.encode()


def test_a_token_that_the_keyring_has_already_only_leaves_the_configuration(shell, session):
    session.store(TOKEN.encode())
    configure(shell, TOKEN)
    shell.run("migrate", env=session.environment_of(shell))
    assert configured(shell) is None and session.items() == 1


def test_another_token_in_the_keyring_is_not_replaced_unasked(shell, session):
    session.store(OTHER.encode())
    configure(shell, TOKEN)
    assert b"--force" in shell.run("migrate", status=73, env=session.environment_of(shell)).stderr
    assert session.token() == OTHER.encode() and configured(shell) == TOKEN
    assert ("migrate-token", "failure") in operations(shell)
    shell.run("migrate", "--force", env=session.environment_of(shell))
    assert session.token() == TOKEN.encode() and configured(shell) is None
    # The items of TermBackup 6 and of other homes stay.
    assert session.items() == 2


def test_an_item_of_another_program_is_not_left_to_answer_first(shell, session):
    """Python's keyring library adds an attribute; a search with our attributes finds both items."""
    session.store(OTHER.encode(), "application", "Python keyring library")
    configure(shell, TOKEN)
    shell.run("migrate", "--force", env=session.environment_of(shell))
    assert session.token() == session.kept(shell.home) == TOKEN.encode() and session.items() == 2


def test_without_a_token_in_the_configuration_no_keyring_is_needed(shell):
    shell.run("init", "-q")
    assert b"nothing to move" in shell.run("migrate").stdout


def test_a_locked_keyring_takes_nothing_and_holds_nothing_up(shell, session):
    session.store(OTHER.encode())
    configure(shell, TOKEN)
    session.lock()
    refused = shell.run("migrate", status=69, env=session.environment_of(shell))
    assert b"locked" in refused.stderr and b"gh auth token" in refused.stderr
    assert configured(shell) == TOKEN
    for text in (refused.stdout, refused.stderr):
        assert TOKEN.encode() not in text and OTHER.encode() not in text


def test_a_locked_keyring_without_a_token_takes_none(shell, session):
    configure(shell, TOKEN)
    session.lock()
    assert b"locked" in shell.run("migrate", status=69, env=session.environment_of(shell)).stderr
    assert configured(shell) == TOKEN


def test_a_keyring_that_does_not_answer_is_given_up(shell, session):
    configure(shell, TOKEN)
    session.stop()
    environment = {**session.environment_of(shell), "TERMBACKUP_KEYRING_TIMEOUT": "1"}
    # The keyring may have the token: try again later.
    for options in [], ["--no-input"]:
        refused = shell.run("migrate", *options, status=75, env=environment)
        assert b"did not answer within 1 second;" in refused.stderr and configured(shell) == TOKEN


def test_time_that_runs_out_is_not_taken_for_absence(shell, session, tmp_path):
    shell.profile("docs", tmp_path)
    shell.run("profile", "create", "remote", "--source", tmp_path, "--repo", "me/backups")
    session.stop()
    environment = {**session.environment_of(shell), "TERMBACKUP_KEYRING_TIMEOUT": "1"}
    refused = shell.run("list", "remote", "--no-input", env=environment, status=75)
    assert b"not known whether there is a token" in refused.stderr and b"no token" not in refused.stderr
    refused = shell.run("run", "docs", "--no-input", password=None, env=environment, status=75)
    assert b"not known whether there is a password" in refused.stderr
    # Sources after the keyring are still used.
    unreachable = {**environment, "GITHUB_TOKEN": TOKEN, "TERMBACKUP_GITHUB_API": "http://127.0.0.1:1"}
    done = shell.run("list", "remote", "--no-input", "--max-wait", "0", env=unreachable, status=75)
    assert b"warning: the keyring returned no token: it did not answer" in done.stderr and b"not known" not in done.stderr


def programs(session):
    """The commands that the processes of a session run."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                if os.getsid(int(name)) == session:
                    with open(f"/proc/{name}/cmdline", "rb") as file:
                        found.append(os.path.basename(file.read().partition(b"\0")[0]))
    return found


def test_an_interrupt_ends_the_wait_for_a_keyring(shell, session):
    configure(shell, TOKEN)
    session.stop()
    process, terminal = pty.fork()
    if process == 0:
        os.execvpe(shell.interpreter[0], shell.command("migrate"), session.environment_of(shell))
    deadline = time.monotonic() + PATIENCE
    while not any(name.startswith(b"secret-tool") for name in programs(process)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.write(terminal, b"\x03")
    for _ in shown_on(terminal):
        pass
    _, status = os.waitpid(process, 0)
    os.close(terminal)
    # Otherwise the keyring would have timed out first.
    assert os.waitstatus_to_exitcode(status) == 130
    assert list((shell.home / "tmp").iterdir()) == [] and configured(shell) == TOKEN
    assert ("migrate-token", "failure") in operations(shell)


@without_keyring
def test_a_bus_on_which_nobody_keeps_secrets_is_no_keyring(shell, session):
    configure(shell, TOKEN)
    refused = shell.run("migrate", status=69, env=session.environment_of(shell))
    assert b"no keyring" in refused.stderr and b"TERMBACKUP_TOKEN_FILE" in refused.stderr
    assert configured(shell) == TOKEN


@pytest.mark.parametrize("address", [None, "unix:path=/nonexistent/bus"])
def test_without_a_bus_there_is_no_keyring(shell, address):
    require("secret-tool")
    configure(shell, TOKEN)
    environment = {} if address is None else {"DBUS_SESSION_BUS_ADDRESS": address}
    refused = shell.run("migrate", status=69, env=environment)
    assert b"there is no session bus" in refused.stderr and b"gh auth token" in refused.stderr
    assert configured(shell) == TOKEN


def test_without_its_program_there_is_no_keyring(shell, session, tmp_path):
    configure(shell, TOKEN)
    environment = session.environment_of(shell)
    environment["PATH"] = f"{shell.tbk.environment['PATH'].split(':')[0]}:{only(tmp_path, 'secret-tool')}"
    refused = shell.run("migrate", status=69, env=environment)
    assert b"libsecret-tools" in refused.stderr and configured(shell) == TOKEN


# A stand-in for macOS's program, which cannot run here


SECURITY = r"""#!/bin/sh
# Keeps the password of one item in a file, as security(1) would in the keychain.
{ printf 'called'; printf ' <%s>' "$@"; printf '\n'; } >>"$RECORD/calls"
cat "/proc/$$/environ" >>"$RECORD/environments"
case $1 in
find-generic-password)
	test "$*" != 'find-generic-password -s termbackup -a github_token -w' || exit 44
	test "$*" = "find-generic-password -s termbackup -a $HOME/.termbackup github_token -w" || exit 2
	test -f "$RECORD/item" || { printf 'security: the item could not be found\n' >&2; exit 44; }
	cat "$RECORD/item"
	;;
-i)
	IFS= read -r line
	prefix='add-generic-password -U -s termbackup -a "'$HOME'/.termbackup github_token" -l "TermBackup: GitHub token ('$HOME'/.termbackup)" -w "'
	case $line in
	"$prefix"*'"') ;;
	*) exit 2 ;;
	esac
	line=${line#"$prefix"}
	printf '%s\n' "${line%\"}" >"$RECORD/item"
	;;
*) exit 2 ;;
esac
"""


@pytest.fixture
def macos(tmp_path):
    """Stand-ins for programs of macOS; the item is stored in the file `item`."""
    folder = tmp_path / "macos"
    put(folder / "security", SECURITY.encode(), 0o755)
    put(folder / "uname", b"#!/bin/sh\ntest \"${1-}\" = -s && exec printf 'Darwin\\n'\nexit 2\n", 0o755)
    return folder


def test_on_macos_the_token_reaches_the_keychain_and_no_arguments(shell, macos):
    configure(shell, TOKEN)
    environment = {**path_first(shell, macos), "RECORD": str(macos)}
    shell.run("migrate", env=environment)
    assert (macos / "item").read_text() == TOKEN + "\n" and configured(shell) is None
    calls = (macos / "calls").read_text()
    own, of_all = (f"called <find-generic-password> <-s> <termbackup> <-a> <{account}> <-w>"
                   for account in (f"{shell.home} github_token", "github_token"))
    assert calls.splitlines() == [own, of_all, "called <-i>", own]
    assert TOKEN not in calls and TOKEN.encode() not in (macos / "environments").read_bytes()


def test_on_macos_what_could_be_a_command_is_not_handed_on(shell, macos):
    configure(shell, 'x"-w"y')
    refused = shell.run("migrate", status=77, env={**path_first(shell, macos), "RECORD": str(macos)})
    assert b'x"-w"y' not in refused.stderr and not (macos / "item").exists()

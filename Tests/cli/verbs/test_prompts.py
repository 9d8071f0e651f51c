"""Password prompts with job control, and with other commands in the same pipe."""

import os
import pty
import select
import shutil
import signal
import time

import pytest
import shell_fixture
from age_fixture import ONE, with_passphrase
from conftest import BIN, PASSWORD, PATIENCE, put, require
from shell_fixture import shell  # noqa: F401

SECRET = PASSWORD.decode()


class Terminal:
    """A command on a terminal, and what it has displayed."""

    def __init__(self, tbk, folder, *command):
        environment = {**tbk.environment, "TERM": "vt100", "PS1": "$ "}
        self.process, self.descriptor = pty.fork()
        if self.process == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.chdir(folder)
            os.execvpe(command[0], command, environment)
        self.shown = ""

    def type(self, text):
        os.write(self.descriptor, text.encode())

    def read(self):
        """Reads more of the display; false at the end."""
        if select.select([self.descriptor], [], [], 1)[0]:
            try:
                data = os.read(self.descriptor, 4096)
            except OSError:
                return False
            self.shown += data.decode(errors="replace")
            return bool(data)
        return True

    def until(self, text, since=0):
        """Waits until `text` appears after position `since`; returns the position behind it."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.shown[since:]:
            assert time.monotonic() < deadline and self.read(), self.shown
        return self.shown.index(text, since) + len(text)

    def status(self):
        """Waits until the command exits; returns its status."""
        deadline = time.monotonic() + PATIENCE
        while self.read():
            assert time.monotonic() < deadline, self.shown
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])

    def close(self):
        try:
            os.kill(self.process, signal.SIGKILL)
            os.waitpid(self.process, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
        os.close(self.descriptor)


@pytest.fixture
def on_terminal(tbk, tmp_path):
    put(tmp_path / "src" / "file", b"content")
    opened = []

    def start(*command):
        opened.append(Terminal(tbk, tmp_path, *command))
        return opened[-1]
    yield start
    for terminal in opened:
        terminal.close()


def seal_to_the_end(terminal, at):
    """Answers both prompts; checks that passwords were not displayed, and that text typed before a stop was not used."""
    terminal.type(SECRET + "\n")
    at = terminal.until("Password again: ", at)
    terminal.type(SECRET + "\n")
    # What is typed earlier is lost.
    at = terminal.until("$ ", terminal.until("sealed 1 file", at))
    terminal.type("echo ended $?\n")
    terminal.until("ended 0", at)
    assert SECRET not in terminal.shown and "begun" not in terminal.shown


def test_a_prompt_that_was_stopped_hides_what_is_typed_and_is_repeated(on_terminal, tbk, tmp_path):
    require("bash")
    terminal = on_terminal("bash", "--norc", "--noprofile", "-i")
    at = terminal.until("$ ")
    terminal.type("tbk-seal src -o x.tbk\n")
    at = terminal.until("Password: ", at)
    for _ in range(2):
        terminal.type("begun\x1a")
        at = terminal.until("Stopped", at)
        # The shell echoes again what is typed.
        terminal.type("echo see''n\n")
        at = terminal.until("echo see''n", at)
        at = terminal.until("seen", at)
        terminal.type("fg\n")
        at = terminal.until("Password: ", at)
    seal_to_the_end(terminal, at)
    assert tbk.open((tmp_path / "x.tbk").read_bytes(), "--cat", "file").out == b"content"


def test_a_prompt_of_a_script_that_was_stopped_goes_on_every_time(on_terminal, tbk, tmp_path):
    # The shell takes the terminal back as soon as the script has stopped; the command below it may not have stopped yet.
    require("bash")
    terminal = on_terminal("bash", "--norc", "--noprofile", "-i")
    at = terminal.until("$ ")
    terminal.type("sh -c 'tbk-seal src -o x.tbk; exit $?'\n")
    at = terminal.until("Password: ", at)
    for _ in range(15):
        terminal.type("begun\x1a")
        # What is typed before the shell's prompt may be discarded with the partial password.
        at = terminal.until("$ ", terminal.until("Stopped", at))
        terminal.type("fg\n")
        at = terminal.until("Password: ", at)
    seal_to_the_end(terminal, at)


def test_a_stopped_prompt_keeps_no_other_command_from_asking(on_terminal, tbk, tmp_path):
    require("bash")
    terminal = on_terminal("bash", "--norc", "--noprofile", "-i")
    terminal.type("tbk-seal src -o x.tbk\n")
    at = terminal.until("Password: ", terminal.until("$ "))
    terminal.type("\x1a")
    at = terminal.until("Stopped", at)
    terminal.type("tbk-seal src -o y.tbk\n")
    for prompt in ("Password: ", "Password again: "):
        at = terminal.until(prompt, at)
        terminal.type(SECRET + "\n")
    at = terminal.until("sealed 1 file", at)
    assert tbk.open((tmp_path / "y.tbk").read_bytes(), "--cat", "file").out == b"content"


def test_the_prompts_of_a_pipe_come_one_after_the_other(on_terminal, tmp_path):
    terminal = on_terminal("sh", "-c", "tbk-seal src | tbk-open -C out")
    at = 0
    for _ in range(3):
        at = terminal.until(": ", terminal.until("Password", at))
        terminal.type(SECRET + "\n")
    assert terminal.status() == 0, terminal.shown
    assert (tmp_path / "out" / "file").read_bytes() == b"content"
    # Each on its own line, answered before the next one appears.
    prompts = [line.replace("\x1b[K", "").replace("\r", "") for line in terminal.shown.split("\n") if "Password" in line]
    assert sorted(prompts) == ["Password again: ", "Password: ", "Password: "] and SECRET not in terminal.shown


def test_a_prompt_ends_with_the_command_that_would_have_read(on_terminal):
    terminal = on_terminal("sh", "-c", "tbk-seal src | false; echo over")
    terminal.until("over")
    assert terminal.status() == 0


def test_whoever_chooses_a_password_is_told_what_hangs_on_it_and_asked_again_when_the_two_differ(on_terminal, tbk, tmp_path):
    terminal = on_terminal("tbk-seal", "src", "-o", "x.tbk")
    at = terminal.until("not even you", terminal.until("Choose a password."))
    for again in ("mistyped", SECRET):
        at = terminal.until("Password: ", at)
        terminal.type(SECRET + "\n")
        at = terminal.until("Password again: ", at)
        terminal.type(again + "\n")
    assert terminal.status() == 0 and terminal.shown.count("They do not match: try again.") == 1
    assert terminal.shown.count("Choose a password.") == 1 and SECRET not in terminal.shown
    assert tbk.open((tmp_path / "x.tbk").read_bytes(), "--cat", "file").out == b"content"


def test_two_passwords_that_differ_three_times_end_it(on_terminal, tmp_path):
    terminal = on_terminal("tbk-seal", "src", "-o", "x.tbk")
    at = 0
    for _ in range(3):
        for prompt in ("Password: ", "Password again: "):
            at = terminal.until(prompt, at)
            terminal.type(prompt + "\n")
    assert terminal.status() == 64 and "the two passwords differ" in terminal.shown
    assert not (tmp_path / "x.tbk").exists()


@pytest.fixture
def key(tbk, tmp_path):
    put(tmp_path / "word", PASSWORD)
    tbk.run("tbk-sign", "keygen", "--private", tmp_path / "key", "--public", tmp_path / "key.pub",
            "--password-file", tmp_path / "word")
    return tmp_path / "key"


def test_a_mistyped_password_of_a_key_is_asked_for_again(on_terminal, key, tmp_path):
    terminal = on_terminal("tbk-sign", "public", "--key", key)
    at = 0
    for word in ("mistyped", "again", SECRET):
        at = terminal.until("Password: ", at)
        terminal.type(word + "\n")
    assert terminal.status() == 0 and terminal.shown.count("That is not the password: try again.") == 2
    assert (tmp_path / "key.pub").read_text().splitlines()[1] in terminal.shown


def test_a_wrong_password_of_a_key_ends_it_the_third_time(on_terminal, key):
    terminal = on_terminal("tbk-sign", "public", "--key", key)
    at = 0
    for _ in range(3):
        at = terminal.until("Password: ", at)
        terminal.type("mistyped\n")
    assert terminal.status() == 77 and terminal.shown.count("error: ") == 1


def test_a_wrong_password_that_nobody_entered_is_not_asked_for(on_terminal, key, tmp_path):
    put(tmp_path / "wrong", b"mistyped\n")
    terminal = on_terminal("tbk-sign", "public", "--key", key, "--password-file", "wrong")
    assert terminal.status() == 77 and "Password" not in terminal.shown


def test_a_mistyped_password_of_an_identity_file_is_asked_for_again(on_terminal, tmp_path):
    put(tmp_path / "identity", with_passphrase(f"{ONE.text}\n".encode(), PASSWORD))
    terminal = on_terminal("tbk-keygen", "-y", "identity")
    at = 0
    for word in ("mistyped", SECRET):
        at = terminal.until("Password of the identity file: ", at)
        terminal.type(word + "\n")
    assert terminal.status() == 0 and "That is not the password of the identity file: try again." in terminal.shown


def test_a_password_comes_from_where_it_is_given(shell, small, tmp_path):
    shell.profile("docs", small)
    word = b"  white space\tand 'quotes' \\n %s \xc3\xa9  "
    file = tmp_path / "pass word"
    file.write_bytes(word + b"\n")
    shell.run("run", "docs", "--password-file", file, password=None)
    with open(file, "rb") as stream:
        shell.run("verify", "latest", "-p", "docs", "--password-fd", "0", password=None, stdin=stream)
    with open(file, "rb") as stream:
        number = stream.fileno()
        shell.run("verify", "latest", "-p", "docs", f"--password-fd={number}", password=None, pass_fds=[number])
    shell.run("verify", "latest", "-p", "docs", "--password-command", f"cat '{file}'", password=None)
    for variable, value in (("TERMBACKUP_PASSWORD", word), ("TERMBACKUP_PASSWORD_FILE", str(file)),
                            ("TERMBACKUP_PASSWORD_COMMAND", f"cat '{file}'")):
        shell.run("verify", "latest", "-p", "docs", password=None, env={variable: value})
    assert b"empty" in shell.run("verify", "latest", "-p", "docs", password=None, env={"TERMBACKUP_PASSWORD": ""}, status=64).stderr
    for arguments in (["--no-input"], []):
        assert b"no password" in shell.run("verify", "latest", "-p", "docs", *arguments, password=None, status=64).stderr
    shell.run("verify", "latest", "-p", "docs", "--password-command", "false", password=None, status=78)
    # A file of arbitrary bytes is passed on unchanged.
    file.write_bytes(b"\x00binary\n\xff\n")
    shell.run("profile", "create", "other", "--source", small)
    shell.run("run", "other", "--password-file", file, password=None)
    shell.run("verify", "latest", "-p", "other", "--password-file", file, password=None)


def test_a_password_is_asked_for_once_and_twice_the_first_time(shell, small, tmp_path):
    shell.profile("docs", small, "--mode", "incremental")
    one, again = (b"Password: ", b"s3cret"), (b"Password again: ", b"s3cret")
    status, shown = shell_fixture.on_terminal(shell, [one, again], "run", "docs")
    assert status == 0 and b"Backed up docs" in shown and b"s3cret" not in shown
    put(os.path.join(small, "more"), b"more\n")
    status, shown = shell_fixture.on_terminal(shell, [one], "run", "docs")
    assert status == 0 and shown.count(b"Password") == 1
    status, shown = shell_fixture.on_terminal(shell, [one], "restore", "latest", "-p", "docs")
    assert status == 0 and b"nothing to restore" in shown and b"error" not in shown, shown
    put(os.path.join(small, "plain"), b"different\n")
    status, shown = shell_fixture.on_terminal(shell, [one, (b"[y/N/l: list them] ", b"n")], "restore", "latest", "-p", "docs")
    before, _, after = shown.partition(b"1 file in")
    assert status == 73 and b"error" not in before and b"hint" not in before, shown
    assert after.count(b"error: ") == 1 and b"nothing was changed" in after and b"--overwrite if-changed" in after
    assert open(os.path.join(small, "plain"), "rb").read() == b"different\n"
    status, shown = shell_fixture.on_terminal(shell, [one, (b"[y/N/l: list them] ", b"l"), (b"[y/N/l: list them] ", b"y")], "restore", "latest", "-p", "docs")
    assert status == 0, shown
    assert b"1 file in" in shown and b"\nplain\r\n" in shown and b"  replaced 1 entry" in shown
    assert open(os.path.join(small, "plain"), "rb").read() == b"plain\n"
    mistyped = (b"Password: ", b"mistyped")
    status, shown = shell_fixture.on_terminal(shell, [mistyped] * 3, "verify", "latest", "-p", "docs")
    assert status == 77 and b"not the password of the backups" in shown and shown.count(b"try again") == 2
    status, shown = shell_fixture.on_terminal(shell, [mistyped, one], "run", "docs")
    assert status == 0 and shown.count(b"try again") == 1, shown


def test_no_child_sees_the_password_in_its_arguments_or_environment(shell, small, tmp_path):
    layout = tmp_path / "layout"
    shutil.copytree(BIN.parent / "lib", layout / "lib", symlinks=True)
    (layout / "bin").mkdir()
    seen = tmp_path / "seen"
    for command in ("tbk-config", "tbk-audit", "tbk-manifest", "tbk-seal", "tbk-open", "tbk-push", "tbk-pull", "tbk-store"):
        put(layout / "bin" / command, f'#!/bin/sh\n{{ printf "%s\\n" "{command} $*"; env; }} >>"{seen}"\n'
            f'exec "{BIN}/{command}" "$@"\n'.encode(), 0o755)
    (layout / "lib" / "termbackup" / "tbk-sh").unlink()
    put(layout / "lib" / "termbackup" / "tbk-sh", f'#!/bin/sh\n{{ printf "%s\\n" "tbk-sh $*"; env; }} >>"{seen}"\n'
        f'exec "{BIN.parent}/lib/termbackup/tbk-sh" "$@"\n'.encode(), 0o755)
    shell.lib = layout / "lib" / "termbackup"
    shell.profile("docs", small)
    seen.unlink()
    shell.run("run", "docs", password=None, env={"TERMBACKUP_PASSWORD": "s3cret word"})
    text = seen.read_text()
    assert "tbk-seal" in text and "tbk-push" in text
    assert "s3cret" not in text

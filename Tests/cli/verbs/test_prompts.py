"""Prompts for passwords beside job control, and beside the other commands of a pipe."""

import os
import pty
import select
import signal
import time

import pytest
from conftest import PASSWORD, PATIENCE, put, require
from test_age import ONE, with_passphrase

SECRET = PASSWORD.decode()


class Terminal:
    """A command on a terminal of its own, and what it has shown."""

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
        """More of what is shown; false at the end."""
        if select.select([self.descriptor], [], [], 1)[0]:
            try:
                data = os.read(self.descriptor, 4096)
            except OSError:
                return False
            self.shown += data.decode(errors="replace")
            return bool(data)
        return True

    def until(self, text, since=0):
        """Waits until `text` is shown behind the position; returns the one behind it."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.shown[since:]:
            assert time.monotonic() < deadline and self.read(), self.shown
        return self.shown.index(text, since) + len(text)

    def status(self):
        """What the command ends with, when it does."""
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


def test_a_prompt_that_was_stopped_hides_what_is_typed_and_is_repeated(on_terminal, tbk, tmp_path):
    require("bash")
    terminal = on_terminal("bash", "--norc", "--noprofile", "-i")
    at = terminal.until("$ ")
    terminal.type("tbk-seal src -o x.tbk\n")
    at = terminal.until("Password: ", at)
    for _ in range(2):
        terminal.type("begun\x1a")
        at = terminal.until("Stopped", at)
        # The shell shows what is typed again.
        terminal.type("echo see''n\n")
        at = terminal.until("echo see''n", at)
        at = terminal.until("seen", at)
        terminal.type("fg\n")
        at = terminal.until("Password: ", at)
    terminal.type(SECRET + "\n")
    at = terminal.until("Password again: ", at)
    terminal.type(SECRET + "\n")
    # What is typed before is for nobody.
    at = terminal.until("$ ", terminal.until("sealed 1 file", at))
    terminal.type("echo ended $?\n")
    terminal.until("ended 0", at)
    assert SECRET not in terminal.shown and "begun" not in terminal.shown
    assert tbk.open((tmp_path / "x.tbk").read_bytes(), "--cat", "file").out == b"content"


def test_a_prompt_of_a_script_that_was_stopped_goes_on_every_time(on_terminal, tbk, tmp_path):
    # The shell takes the terminal back as soon as the script has stopped, which the command below it may not have.
    require("bash")
    terminal = on_terminal("bash", "--norc", "--noprofile", "-i")
    at = terminal.until("$ ")
    terminal.type("sh -c 'tbk-seal src -o x.tbk; exit $?'\n")
    at = terminal.until("Password: ", at)
    for _ in range(15):
        terminal.type("begun\x1a")
        at = terminal.until("Stopped", at)
        terminal.type("fg\n")
        at = terminal.until("Password: ", at)
    terminal.type(SECRET + "\n")
    at = terminal.until("Password again: ", at)
    terminal.type(SECRET + "\n")
    at = terminal.until("$ ", terminal.until("sealed 1 file", at))
    terminal.type("echo ended $?\n")
    terminal.until("ended 0", at)
    assert SECRET not in terminal.shown and "begun" not in terminal.shown


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
    # Each on a line of its own, answered before the next one is shown.
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

"""Prompts for passwords beside job control, and beside the other commands of a pipe."""

import os
import pty
import select
import signal
import time

import pytest
from conftest import PASSWORD, PATIENCE, put, require

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

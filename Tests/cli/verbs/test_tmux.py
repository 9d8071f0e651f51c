"""A user at a shell in a real terminal emulator: what is left on the screen."""

import base64
import os
import re
import shutil
import subprocess
import tempfile
import time

import pytest
from conftest import PATIENCE, put, require

SECRET = "correct horse"


class Window:
    """A shell in a tmux window with 80 columns."""

    def __init__(self, environment, folder):
        # The path of a socket must be short.
        self.folder = tempfile.mkdtemp(prefix="tmux")
        self.runs = 0
        self.start = ["tmux", "-S", os.path.join(self.folder, "s")]
        environment = {**environment, "PS1": "$ ", "ENV": "", "TERM": "xterm"}
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "40", "-c", folder, "exec dash -i", env=environment)

    def tmux(self, *arguments, **options):
        return subprocess.run([*self.start, *map(str, arguments)], check=True, capture_output=True, timeout=PATIENCE,
                              **options).stdout.decode()

    def type(self, line):
        self.tmux("send-keys", "-l", line)
        self.press("Enter")

    def press(self, key):
        self.tmux("send-keys", key)

    @property
    def screen(self):
        return self.tmux("capture-pane", "-p")

    def shows(self, pattern):
        """Waits until the pattern is on the screen, and returns the match."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            found = re.search(pattern, self.screen, re.MULTILINE)
            if found:
                return found
            time.sleep(0.01)
        raise AssertionError(f"{pattern} is not on the screen:\n{self.screen}")

    def run(self, command):
        """The status of a command, and the screen after it."""
        # The status of the previous command may still be on the screen.
        self.runs += 1
        self.type(f"clear; {command}; echo {self.runs}: status=$?")
        return int(self.shows(rf"^{self.runs}: status=(\d+)")[1]), self.screen

    def close(self):
        subprocess.run([*self.start, "kill-server"], capture_output=True)
        shutil.rmtree(self.folder)


@pytest.fixture
def window(tbk, tmp_path):
    require("tmux")
    tbk.path("termbackup")
    window = Window(tbk.environment, tmp_path)
    yield window
    window.close()


@pytest.fixture
def docs(window, tmp_path):
    """Text that takes some seconds to compress."""
    put(tmp_path / "docs" / "text", base64.b64encode(os.urandom(60 << 20)))
    window.run("termbackup init --no-input")
    window.run("termbackup profile create docs --source docs --compression-level 9")
    return window


def test_a_first_backup_asks_twice_and_the_next_once(window, tmp_path):
    put(tmp_path / "notes" / "one", b"one\n")
    assert window.run("termbackup init --no-input")[0] == 0
    assert window.run("termbackup profile create notes --source notes")[0] == 0
    window.type("clear; termbackup run notes; echo status=$?")
    window.shows("^Password: *$")
    window.type(SECRET)
    window.shows("(?i)again.*: *$")
    window.type(SECRET)
    window.shows("^status=0")
    window.shows("^Backed up notes")
    assert SECRET not in window.screen
    # The prompts of the first run are removed from the screen.
    window.run("clear")
    window.type("termbackup run --full notes; echo status=$?")
    window.shows("^Password: *$")
    window.type("another")
    for tries in (1, 2):
        window.shows("".join(r"try again\.\s*Password:\s*(?:That is not the password: )?" for _ in range(tries)) + r"\Z")
        window.type("another")
    window.shows("^status=77")
    assert "another" not in window.screen and "not the password" in window.screen
    status, screen = window.run("termbackup list notes")
    assert status == 0 and re.search(r"^ID +TIME +FILES +CHANGE +SIZE +MODE +VERIFIED\n[0-9a-f]{12}  ", screen, re.MULTILINE)


def test_progress_leaves_nothing_behind(docs, tmp_path):
    put(tmp_path / "password", SECRET.encode())
    docs.type("clear; termbackup run docs --password-file password; echo status=$?")
    drawn = docs.shows(r"^sealing +[0-9.]+ [KM]iB of 80.0 MiB +\d+%.*$")[0]
    assert "iB/s" in drawn or docs.shows(r"^sealing .* [0-9.]+ [KM]iB/s.*$")
    # The window is made narrower during the run.
    docs.tmux("resize-window", "-x", "30")
    docs.shows("^status=0")
    assert "%" not in docs.screen.partition("Backed up")[2] and "Backed up docs" in docs.screen


@pytest.mark.parametrize("where", ["prompt", "work"])
def test_an_interruption_gives_the_terminal_back(docs, where, tbk, tmp_path):
    put(tmp_path / "password", SECRET.encode())
    given = "" if where == "prompt" else " --password-file password"
    docs.type(f"clear; termbackup run docs{given}; echo status=$?")
    docs.shows("^Password: *$" if where == "prompt" else r"^sealing .*\d+%")
    docs.press("C-c")
    docs.shows("^status=130")
    assert "%" not in docs.screen
    status, screen = docs.run("stty -a")
    assert status == 0 and " echo " in screen and " icanon " in screen
    assert os.listdir(tbk.home / ".termbackup" / "tmp") == []

"""A terminal for commands with prompts."""

import fcntl
import os
import pty
import select
import termios

import pytest
from conftest import PATIENCE

REFUSED = set(range(64, 79))


class Terminal:
    """A command with a controlling terminal, for tests to read and type on."""

    def __init__(self, tbk, name, *arguments, **options):
        self.master, slave = pty.openpty()
        self.seen = b""
        streams = {key: slave if value == "terminal" else value for key, value in options.items()}
        self.process = tbk.start(name, *arguments, password=None, pass_fds=[slave],
                                 preexec_fn=lambda: fcntl.ioctl(slave, termios.TIOCSCTTY, 0), **streams)
        os.close(slave)

    def read_until(self, text):
        while text not in self.seen:
            ready, _, _ = select.select([self.master], [], [], PATIENCE)
            assert ready, f"{text!r} never came, but {self.seen!r}"
            try:
                self.seen += os.read(self.master, 4096)
            except OSError:
                pytest.fail(f"{text!r} never came, but {self.seen!r}")

    def answer(self, prompt, text):
        self.read_until(prompt)
        self.seen = self.seen[self.seen.index(prompt) + len(prompt):]
        # Typed once echo is off, like a user who waits for the prompt.
        while termios.tcgetattr(self.master)[3] & termios.ECHO:
            assert self.process.poll() is None
        os.write(self.master, text + b"\n")

    def end(self):
        out, err = self.process.communicate(timeout=PATIENCE)
        while select.select([self.master], [], [], 0)[0]:
            try:
                piece = os.read(self.master, 4096)
            except OSError:
                break
            if not piece:
                break
            self.seen += piece
        os.close(self.master)
        return self.process.returncode, out or b"", err or b""

"""Commands typed at a terminal of their own, and what is then to be seen there.

A Terminal is a shell's user at a new account: a pseudo-terminal, a home directory, an environment with nothing else in
it. What the commands write is kept as a screen would show it: lines of cells, each a character and its colours.
"""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

PATIENCE = 300
# A question for a secret, or for a yes, at the end of what was written so far.
PROMPT = re.compile(rb"(?:^|[\r\n])[^\r\n]*(?:[Pp]assword[^\r\n]*: |\[y/N\] )$")
CONTROL = re.compile("\x1b\\[([0-9;]*)([A-Za-z])|[\r\n\b\t]|([^\x00-\x1f\x7f])")


class Screen:
    """What is seen of bytes that went to a terminal which never scrolls: `lines` of (character, style) cells."""

    def __init__(self, columns):
        self.columns = columns
        self.lines = [[]]
        self.row = self.column = 0
        self.style = ()

    def write(self, text):
        at = 0
        while at < len(text):
            found = CONTROL.match(text, at)
            if not found:
                raise ValueError(f"the screen does not know {text[at:at + 12]!r}")
            at = found.end()
            if found[3]:
                self.put(found[3])
            elif found[2]:
                self.control(found[1], found[2])
            elif found[0] == "\n":
                self.down()
            elif found[0] == "\t":
                self.column = min(self.column // 8 * 8 + 8, self.columns - 1)
            else:
                self.column = 0 if found[0] == "\r" else max(0, self.column - 1)

    def put(self, character):
        if self.column == self.columns:
            self.column = 0
            self.down()
        line = self.lines[self.row]
        line.extend([(" ", ())] * (self.column - len(line)))
        line[self.column:self.column + 1] = [(character, self.style)]
        self.column += 1

    def down(self):
        self.row += 1
        if self.row == len(self.lines):
            self.lines.append([])

    def control(self, numbers, letter):
        line = self.lines[self.row]
        if letter == "m":
            for number in (numbers or "0").split(";"):
                self.style = () if number in ("", "0") else self.style + (int(number),)
        elif letter == "K" and numbers in ("", "0"):
            del line[self.column:]
        elif letter == "K" and numbers == "2":
            line[:] = []
        elif letter == "A":
            self.row = max(0, self.row - int(numbers or 1))
        else:
            raise ValueError(f"the screen does not know ESC [ {numbers} {letter}")

    @property
    def text(self):
        return "\n".join("".join(character for character, _ in line).rstrip() for line in self.lines)


class Terminal:
    """Runs scripts one after the other. `answer(prompt)` says what is typed where a secret or a yes is
    asked for."""

    def __init__(self, home, environment, answer, columns=80, rows=24):
        self.home = home
        self.environment = {"HOME": str(home), "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "USER": "ada",
                            "LOGNAME": "ada", "SHELL": "/bin/sh", **environment}
        self.answer = answer
        self.size = struct.pack("HHHH", rows, columns, 0, 0)

    def run(self, script):
        """The script's status, and all the bytes that it wrote to the terminal."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, self.size)
        process = subprocess.Popen(["setsid", "--ctty", "--wait", "sh", "-c", script], stdin=slave, stdout=slave,
                                   stderr=slave, cwd=self.home, env=self.environment, start_new_session=True)
        os.close(slave)
        try:
            return self.attend(master, process)
        finally:
            os.close(master)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def attend(self, master, process):
        written, answered, deadline = b"", 0, time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if not select.select([master], [], [], 0.1)[0]:
                # Nobody has the terminal open any more, or something that was left behind has.
                if process.poll() is not None:
                    break
                # A question is what stands there when nothing else comes.
                if found := PROMPT.search(written, answered):
                    answered = len(written)
                    os.write(master, self.answer(found[0].decode(errors="replace").strip()) + b"\n")
                continue
            try:
                data = os.read(master, 65536)
            except OSError:
                break
            if not data:
                break
            written += data
        else:
            raise TimeoutError(f"the terminal stayed open: {written[-500:]!r}")
        return process.wait(PATIENCE), written

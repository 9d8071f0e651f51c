"""Runs verbs under one shell, with the test's tools first in PATH."""

import os
import pty
import subprocess

import pytest
from conftest import BIN, PASSWORD, PATIENCE, absent, require, shown_on

LIB = BIN.parent / "lib" / "termbackup"


class Shell:
    """Runs verbs as `termbackup` would, under one shell and with the test's tools first in PATH."""

    def __init__(self, tbk, tmp_path, interpreter):
        self.tbk = tbk
        self.home = tbk.home / ".termbackup"
        self.interpreter = interpreter
        self.environment = dict(tbk.environment)
        self.lib = LIB
        if interpreter[0] == "busybox":
            tools = BIN.parent / "applets"
            if not tools.exists():
                tools.mkdir()
                subprocess.run(["busybox", "--install", "-s", str(tools)], check=True)
            self.environment["PATH"] = f"{tools}:{self.environment['PATH']}"

    def command(self, verb, *arguments):
        path = self.lib / "verbs" / verb
        if not path.exists():
            absent(str(path))
        return [*self.interpreter, str(path), *map(str, arguments)]

    def environment_with(self, password, env):
        given = dict(self.environment)
        if password is not None:
            file = self.tbk.scratch / "given password"
            file.write_bytes(password)
            file.chmod(0o600)
            given["TERMBACKUP_PASSWORD_FILE"] = str(file)
        return {**given, **(env or {})}

    def run(self, verb, *arguments, status=0, password=PASSWORD, env=None, **options):
        done = subprocess.run(
            self.command(verb, *arguments), env=self.environment_with(password, env), capture_output=True,
            timeout=PATIENCE, stdin=options.pop("stdin", subprocess.DEVNULL), start_new_session=True, **options)
        shown = f"{verb} {arguments}: status {done.returncode}\n{done.stdout!r}\n{done.stderr.decode(errors='replace')}"
        assert done.returncode == status, shown
        if status >= 64:
            assert b": error: " in done.stderr or b'"error"' in done.stderr, shown
        assert list((self.home / "tmp").glob("*")) == [], f"left in tmp: {shown}"
        return done

    def ids(self, profile):
        lines = self.run("list", profile).stdout.decode().splitlines()[1:-1]
        return [line.split()[0] for line in lines]

    def profile(self, name, source, *fields):
        """Creates a profile; its backups are full unless its fields say otherwise."""
        self.run("init")
        mode = [] if "--mode" in fields else ["--mode", "full"]
        self.run("profile", "create", name, "--source", source, *mode, *fields)


@pytest.fixture(params=["dash", "busybox"])
def shell(request, tbk, tmp_path):
    require(request.param)
    for name in ("tbk-config", "tbk-seal", "tbk-push"):
        tbk.path(name)
    return Shell(tbk, tmp_path, {"dash": ["dash"], "busybox": ["busybox", "sh"]}[request.param])


def on_terminal(shell, answers, verb, *arguments):
    """Runs a verb on a new terminal and answers each prompt. Returns the status and the output."""
    command = shell.command(verb, *arguments)
    process, terminal = pty.fork()
    if process == 0:
        os.execvpe(command[0], command, shell.environment)
    shown = b""
    answers = list(answers)
    for data in shown_on(terminal):
        shown += data
        if answers and shown.endswith(answers[0][0]):
            os.write(terminal, answers.pop(0)[1] + b"\n")
    _, status = os.waitpid(process, 0)
    os.close(terminal)
    assert not answers, f"never asked for {answers}: {shown}"
    return os.waitstatus_to_exitcode(status), shown

"""Where tbk-seal and tbk-open read the password from, and how they ask for it."""

import os
import subprocess

import pytest
from conftest import FAST, PASSWORD, put, reference_open
from seal_fixture import REFUSED, Terminal  # noqa: F401


def by_fd(tbk, name, *arguments, password=PASSWORD, **options):
    read, write = os.pipe()
    os.write(write, password)
    os.close(write)
    try:
        return tbk.run(name, "--password-fd", str(read), *arguments, password=None, pass_fds=[read], **options)
    finally:
        os.close(read)


def test_password_by_descriptor(tbk, small):
    archive = by_fd(tbk, "tbk-seal", *FAST, small).out
    reference_open(archive)
    assert by_fd(tbk, "tbk-open", "--list", input=archive, password=PASSWORD + b"\n").out


def test_password_by_command_is_split_and_not_expanded(tbk, small):
    archive = tbk.run("tbk-seal", *FAST, "--password-command", "printf %s\\\\n 'a  b'\"$HOME;\"\\ c", small, password=None).out
    reference_open(archive, password=b"a  b$HOME; c")


@pytest.mark.parametrize("variable", ["TERMBACKUP_PASSWORD", "TERMBACKUP_PASSWORD_FILE", "TERMBACKUP_PASSWORD_COMMAND"])
def test_password_by_environment(variable, tbk, small, tmp_path):
    put(tmp_path / "given", PASSWORD + b"\n")
    value = {"TERMBACKUP_PASSWORD": PASSWORD.decode(), "TERMBACKUP_PASSWORD_FILE": str(tmp_path / "given"),
             "TERMBACKUP_PASSWORD_COMMAND": f"cat '{tmp_path}/given'"}[variable]
    reference_open(tbk.run("tbk-seal", *FAST, small, password=None, env={variable: value}).out)


def test_options_come_before_the_environment(tbk, small):
    reference_open(tbk.seal(small, env={"TERMBACKUP_PASSWORD": "another"}))


def test_file_comes_before_command_comes_before_value(tbk, small, tmp_path):
    put(tmp_path / "given", b"from file")
    env = {"TERMBACKUP_PASSWORD_FILE": str(tmp_path / "given"), "TERMBACKUP_PASSWORD_COMMAND": "printf 'from command'",
           "TERMBACKUP_PASSWORD": "from value"}
    for gone, password in (((), b"from file"), (("TERMBACKUP_PASSWORD_FILE",), b"from command"),
                           (("TERMBACKUP_PASSWORD_FILE", "TERMBACKUP_PASSWORD_COMMAND"), b"from value")):
        left = {key: value for key, value in env.items() if key not in gone}
        reference_open(tbk.run("tbk-seal", *FAST, small, password=None, env=left).out, password=password)


@pytest.mark.parametrize("given", [b"", b"\n"])
def test_empty_password_is_refused(given, tbk, small, tmp_path):
    path = put(tmp_path / "given", given)
    for arguments, env in ((["--password-file", path], {}), (["--password-command", "true"], {}),
                           ([], {"TERMBACKUP_PASSWORD_FILE": os.fsdecode(path)})):
        assert tbk.run("tbk-seal", *FAST, *arguments, small, password=None, env=env, status=REFUSED).out == b""
    assert by_fd(tbk, "tbk-seal", *FAST, small, password=given, status=REFUSED).out == b""


@pytest.mark.parametrize("arguments", [["--password-file", "/no/such/file"], ["--password-command", "false"],
                                       ["--password-command", "sh -c 'echo secret; exit 1'"], ["--password-command", "/no/such/command"],
                                       ["--password-command", "'unclosed"], ["--password-fd", "99"], ["--password-fd", "x"], []],
                         ids=str)
def test_password_that_cannot_be_had(arguments, tbk, small):
    """There is no terminal, so no prompt."""
    assert tbk.run("tbk-seal", *FAST, *arguments, small, password=None, status=REFUSED).out == b""


def test_prompt_asks_twice_when_sealing_and_once_when_opening(tbk, small):
    manifest = tbk.manifest(small)
    terminal = Terminal(tbk, "tbk-seal", *FAST, stdin=subprocess.PIPE)
    terminal.process.stdin.write(manifest)
    terminal.process.stdin.flush()
    terminal.answer(b"Password: ", PASSWORD)
    terminal.answer(b"Password again: ", PASSWORD)
    status, archive, err = terminal.end()
    assert status == 0 and PASSWORD not in terminal.seen
    reference_open(archive)
    terminal = Terminal(tbk, "tbk-open", "--list", put(tbk.scratch / "a.tbk", archive))
    terminal.answer(b"Password: ", PASSWORD)
    status, out, _ = terminal.end()
    assert status == 0 and b"plain\n" in out and PASSWORD not in terminal.seen


def test_prompt_answered_differently_is_refused(tbk, small):
    terminal = Terminal(tbk, "tbk-seal", *FAST, small)
    for _ in range(3):
        terminal.answer(b"Password: ", PASSWORD)
        terminal.answer(b"Password again: ", b"another")
    status, out, err = terminal.end()
    assert status in REFUSED and out == b"" and b"tbk-seal: error: " in err


def test_no_input_forbids_the_prompt(tbk, small):
    status, out, err = Terminal(tbk, "tbk-seal", *FAST, "--no-input", small).end()
    assert status in REFUSED and out == b"" and b"tbk-seal: error: " in err

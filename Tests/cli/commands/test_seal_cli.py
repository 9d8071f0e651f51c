"""tbk-seal and tbk-open as commands: options, statuses, passwords, files that change, pipes that break."""

import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import termios
import threading

import pytest
from conftest import FAST, PASSWORD, PATIENCE, crypto, extract, gz, mf, put, reference_open, snapshot, tars
from tbkref import header

REFUSED = set(range(64, 79))


def listed(backup):
    return [entry["relative_path"] for entry in backup.manifest["files"]]


# Streams


def test_what_is_no_manifest_gets_a_hint_at_streams(tbk):
    assert b"tbk-seal stream" in tbk.run("tbk-seal", input=b"some text\n", status=65).err


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 65535, 65536, 65537, 131072, 131073, 3_000_001])
def test_a_stream_is_sealed_as_one_file(size, tbk):
    data = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    backup, = reference_open(tbk.run("tbk-seal", "stream", *FAST, "db.sql", input=data).out)
    assert listed(backup) == ["db.sql"]
    assert backup.bytes_of(b"db.sql") == data


@pytest.mark.parametrize("name", ["../x", "/x", "", ".", "a//b", "x/"])
def test_a_name_that_no_archive_may_hold_is_usage(name, tbk):
    assert tbk.run("tbk-seal", "stream", *FAST, name, input=b"x", status=64).out == b""


def test_what_a_command_prints_is_sealed(tbk):
    command = ["sh", "-c", "printf 'one\\n'; printf two"]
    backup, = reference_open(tbk.run("tbk-seal", "stream", *FAST, "out", "--", *command).out)
    assert backup.bytes_of(b"out") == b"one\ntwo"


@pytest.mark.parametrize("command", [["sh", "-c", "echo something; exit 3"], ["sh", "-c", "echo something; kill -9 $$"],
                                     ["/no/such/command"], ["false"]], ids=str)
def test_a_command_that_fails_fails_the_seal(command, tbk, tmp_path):
    arguments = ["stream", *FAST, "out", "--receipt", tmp_path / "receipt", "--manifest-out", tmp_path / "manifest"]
    assert tbk.run("tbk-seal", *arguments, "--", *command, status=REFUSED).out == b""
    tbk.run("tbk-seal", *arguments, "-o", tmp_path / "out.tbk", "--", *command, status=REFUSED)
    for name in ("out.tbk", "receipt", "manifest"):
        assert not os.path.exists(tmp_path / name) or os.path.getsize(tmp_path / name) == 0
    assert tbk.leftovers() == []


def test_a_command_is_not_given_the_password(tbk):
    archive = tbk.run("tbk-seal", "stream", *FAST, "env", "--", "env", password=None,
                      env={"TERMBACKUP_PASSWORD": PASSWORD.decode(), "KEPT": "yes"}).out
    seen = reference_open(archive)[0].bytes_of(b"env")
    assert PASSWORD not in seen and b"KEPT=yes" in seen


# What is written beside the archive


def test_receipt_says_what_a_store_needs_and_no_more(tbk, tree, tmp_path):
    archive = tbk.seal(tree, "--receipt", tmp_path / "receipt")
    backup, = reference_open(archive)
    text = (tmp_path / "receipt").read_text("ascii")
    assert json.loads(text) == {"receipt": 1, "id": backup.id, "created_at": backup.manifest["created_at"], "mode": "full",
                                "file_count": sum(entry["type"] == "file" for entry in backup.manifest["files"]),
                                "depends_on": [], "complete": True}


def test_sealed_manifest(tbk, tree, tmp_path):
    archive = tbk.seal(tree, "--manifest-out", tmp_path / "sealed")
    sealed = (tmp_path / "sealed").read_bytes()
    backup, = reference_open(sealed)
    assert backup.sealed_manifest and backup.manifest == reference_open(archive)[0].manifest
    # One key may seal both, never under one nonce.
    assert header.split(sealed)[0].nonce != header.split(archive)[0].nonce
    assert tbk.open(sealed, "--list").out == tbk.open(archive, "--list").out
    assert json.loads(tbk.open(sealed, "--manifest").out) == backup.manifest
    (tmp_path / "out").mkdir()
    tbk.extract(sealed, tmp_path / "out", status=65)
    assert os.listdir(tmp_path / "out") == []


def test_receipt_and_manifest_are_there_before_the_first_byte(tbk, tree, tmp_path):
    process = tbk.start("tbk-seal", *FAST, "--receipt", tmp_path / "receipt", "--manifest-out", tmp_path / "sealed", tree)
    first = process.stdout.read(1)
    receipt = json.loads((tmp_path / "receipt").read_text())
    sealed = (tmp_path / "sealed").read_bytes()
    rest = process.stdout.read()
    assert process.wait(PATIENCE) == 0, process.stderr.read()
    assert receipt["id"] == reference_open(first + rest)[0].id == reference_open(sealed)[0].id


def test_incremental_without_receipt_is_usage(tbk, small, tmp_path):
    first = mf.with_id(json.loads(tbk.manifest(small)))
    previous = put(tmp_path / "previous", mf.encode(first))
    manifest = tbk.manifest(small, "--previous", previous, "--mode", "incremental")
    assert tbk.run("tbk-seal", *FAST, input=manifest, status=64).out == b""


def test_output_file(tbk, small, tmp_path):
    tbk.run("tbk-seal", *FAST, "-o", tmp_path / "out.tbk", small)
    assert set(reference_open((tmp_path / "out.tbk").read_bytes())[0].entries) == {path for path in snapshot(small) if path}


def test_redirected_output_is_the_same_as_a_pipe(tbk, small, tmp_path):
    """A seekable standard output is written in place; what is before its position stays."""
    with open(tmp_path / "out.tbk", "wb") as file:
        tbk.run("tbk-seal", *FAST, small, stdout=file)
    reference_open((tmp_path / "out.tbk").read_bytes())


def test_failure_empties_a_seekable_output(tbk, tmp_path):
    with open(tmp_path / "out.tbk", "wb") as file:
        tbk.run("tbk-seal", "stream", *FAST, "x", "--", "sh", "-c", "head -c 5000000 /dev/urandom; exit 1",
                stdout=file, status=REFUSED)
    assert os.path.getsize(tmp_path / "out.tbk") == 0


@pytest.mark.parametrize("level", [str(level) for level in range(10)])
def test_level(level, tbk, tree, tmp_path):
    tbk.extract(tbk.seal(tree, "--level", level), tmp_path / "out", "--setuid")
    assert snapshot(tmp_path / "out") == snapshot(tree)


def test_levels_differ_in_size(tbk, tmp_path):
    put(tmp_path / "tree" / "text", b"".join(b"%d %x\n" % (n * n, n) for n in range(100_000)))
    sizes = [len(tbk.seal(tmp_path / "tree", "--level", level)) for level in ("0", "1", "9")]
    assert sizes[0] > sizes[1] > sizes[2]


@pytest.mark.parametrize("arguments", [["--level", "10"], ["--level", "-1"], ["--level", "x"], ["--lanes", "0"], ["--lanes", "256"],
                                       ["--iterations", "0"], ["--iterations", "65536"], ["--memory", "0"],
                                       ["--memory", "4294967296"], ["--memory", "8", "--lanes", "4"], ["--threads", "0"],
                                       ["--no-such-option"]], ids=str)
def test_usage(arguments, tbk, small):
    assert tbk.run("tbk-seal", *arguments, small, status=64).out == b""


def test_an_empty_command_does_not_mean_standard_input(tbk):
    assert tbk.run("tbk-seal", "stream", "x", "--", input=b"data", status=64).out == b""


# What a subcommand does, by options that another has, or that the command once had.
FOREIGN = {
    "tree": ["--strip-top", "--expect-id 01234567", "--old-password-file x"], "stream": ["-C .", "--exclude x", "--strip-top"],
    "tar": ["-C .", "--exclude x", "--old-password-file x"], "reseal": ["--receipt x", "--manifest-out x", "--group x", "-C ."],
    "consolidate": ["--group x", "-C .", "--old-password-file x"], "manifest": ["--receipt x", "--group x", "--level 3"],
}


@pytest.mark.parametrize("seal, option", [(seal, option) for seal, options in FOREIGN.items() for option in options])
def test_a_subcommand_has_its_own_options_and_no_others(seal, option, tbk):
    done = tbk.run("tbk-seal", seal, *(["x"] if seal == "stream" else []), *option.split(), input=b"", status=64)
    assert done.out == b"" and f"unknown option '{option.split()[0]}'".encode() in done.err


@pytest.mark.parametrize("former, now", [("--stdin-name", b"tbk-seal stream NAME"), ("--from-command", b"tbk-seal stream NAME -- COMMAND"),
                                         ("--from-tar", b"tbk-seal tar"), ("--reseal", b"tbk-seal reseal"),
                                         ("--consolidate", b"tbk-seal consolidate"), ("--manifest-only", b"tbk-seal manifest")])
def test_a_former_option_names_what_does_its_job(former, now, tbk):
    assert now in tbk.run("tbk-seal", "--quiet", former, status=64).err.split(b"hint: ")[1]


def test_a_directory_called_as_a_subcommand_is(tbk, small, tmp_path):
    os.rename(small, tmp_path / "tar")
    for name in (["./tar"], ["tree", "tar"], ["-q", "tar"]):
        backup, = reference_open(tbk.run("tbk-seal", *name, *FAST, cwd=tmp_path).out)
        assert backup.bytes_of(b"plain") == b"plain\n"


# Manifests on standard input


def test_pipe_of_manifest_and_seal(tbk, tree, tmp_path):
    archive = tbk.run("tbk-seal", *FAST, input=tbk.manifest(tree)).out
    tbk.extract(archive, tmp_path / "out", "--setuid")
    assert snapshot(tmp_path / "out") == snapshot(tree)


def test_deferred_hashes_are_filled_in(tbk, tree, tmp_path):
    backup, = reference_open(tbk.run("tbk-seal", *FAST, input=tbk.manifest(tree, "--defer-hash")).out)
    assert {entry["relative_path"]: entry["sha256"] for entry in backup.manifest["files"]} == \
        {entry["relative_path"]: entry["sha256"] for entry in json.loads(tbk.manifest(tree))["files"]}


def test_reading_from_another_directory(tbk, small, tmp_path):
    manifest = tbk.manifest(small)
    os.rename(small, tmp_path / "moved")
    backup, = reference_open(tbk.run("tbk-seal", *FAST, "-C", tmp_path / "moved", input=manifest).out)
    assert backup.bytes_of(b"plain") == b"plain\n"


@pytest.mark.parametrize("cut", [0, 1, 100, -1, -2, -50])
def test_cut_manifest_seals_nothing(cut, tbk, small):
    manifest = tbk.manifest(small).rstrip(b"\n")
    assert tbk.run("tbk-seal", *FAST, input=manifest[:cut], status=65).out == b""


def test_missing_directory(tbk, tmp_path):
    assert tbk.run("tbk-seal", *FAST, tmp_path / "no such", status=66).out == b""


def test_file_gone_since_the_manifest_is_named(tbk, small, tmp_path):
    manifest = tbk.manifest(small)
    os.unlink(os.path.join(small, "d", "other"))
    result = tbk.run("tbk-seal", *FAST, "--receipt", tmp_path / "receipt", input=manifest, status=3)
    assert b"d/other" in result.err
    backup, = reference_open(result.out)
    assert b"d/other" not in backup.entries and b"d/inside" in backup.entries
    assert json.loads((tmp_path / "receipt").read_text())["complete"] is False
    tbk.extract(result.out, tmp_path / "out")


def test_file_changed_since_the_manifest_is_stored_as_it_is(tbk, small):
    manifest = tbk.manifest(small)
    put(os.path.join(small, "plain"), b"quite different\n")
    backup, = reference_open(tbk.run("tbk-seal", *FAST, input=manifest, status={0, 3}).out)
    assert backup.bytes_of(b"plain") == b"quite different\n"


@pytest.mark.parametrize("what", ["plain", "d"])
def test_symlink_in_the_place_of_what_was_listed_is_not_followed(what, tbk, small, tmp_path):
    secret = put(tmp_path / "secret" / "inside", b"not in the tree\n")
    manifest = tbk.manifest(small)
    os.rename(os.path.join(small, what), tmp_path / "aside")
    os.symlink(secret if what == "plain" else os.path.dirname(secret), os.fsencode(os.path.join(small, what)))
    result = tbk.run("tbk-seal", *FAST, input=manifest, status=3)
    backup, = reference_open(result.out)
    assert all(member.data != b"not in the tree\n" for member in backup.members.values())
    assert what.encode() in result.err


def test_fifo_in_the_place_of_a_file_does_not_hang(tbk, small):
    manifest = tbk.manifest(small)
    os.unlink(os.path.join(small, "plain"))
    os.mkfifo(os.path.join(small, "plain"))
    backup, = reference_open(tbk.run("tbk-seal", *FAST, input=manifest, status=3).out)
    assert b"plain" not in backup.entries


class Restless:
    """Keeps changing a file for as long as the block lasts."""

    def __init__(self, path, change):
        self.path, self.change, self.over = path, change, threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        with open(self.path, "r+b", buffering=0) as file:
            turn = 0
            while not self.over.is_set():
                self.change(file, turn)
                turn += 1

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


SIZE = 96 << 20


@pytest.mark.parametrize("change", [
    lambda file, turn: os.pwrite(file.fileno(), b"%20d" % turn, turn * 4096 % SIZE),
    lambda file, turn: os.truncate(file.fileno(), SIZE + turn % 4096),
    lambda file, turn: os.truncate(file.fileno(), SIZE if turn % 2 else SIZE // 2),
], ids=["content", "growing", "shrinking"])
def test_file_that_changes_while_it_is_read(change, tbk, small, tmp_path):
    """The archive is whole, its manifest says what was stored, and the file is named."""
    path = os.path.join(small, "restless")
    with open(path, "wb") as file:
        file.truncate(SIZE)
    with Restless(path, change):
        result = tbk.run("tbk-seal", *FAST, "--level", "1", "--receipt", tmp_path / "receipt", small, status=3)
    assert b"restless" in result.err
    assert b"inside" not in result.err
    backup, = reference_open(result.out)
    assert b"d/inside" in backup.members
    assert json.loads((tmp_path / "receipt").read_text())["complete"] is False


# Passwords


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
    """No terminal is there, so nothing is asked."""
    assert tbk.run("tbk-seal", *FAST, *arguments, small, password=None, status=REFUSED).out == b""


def test_wrong_password(tbk, small, tmp_path):
    archive = tbk.seal(small)
    for arguments in ([], ["--list"], ["--manifest"], ["--verify"], ["--cat", "plain"]):
        assert tbk.open(archive, *arguments, password=b"wrong", status=77).out == b""
    tbk.extract(archive, tmp_path / "out", password=b"wrong", status=77)
    assert not (tmp_path / "out").exists() and tbk.leftovers() == []


def test_error_as_json(tbk, small):
    error = json.loads(tbk.open(tbk.seal(small), "--verify", "--json", password=b"wrong", status=77).err)["error"]
    assert error["status"] == 77 and error["type"] == "CryptoError" and error["message"]


# Terminals


class Terminal:
    """A command with a controlling terminal, which a person reads and types at."""

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
        # Typed once echo is off, as a person does who reads the prompt.
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


@pytest.mark.parametrize("name", ["tbk-seal", "tbk-open"])
def test_binary_output_to_a_terminal_is_refused(name, tbk, small):
    operand = small if name == "tbk-seal" else put(tbk.scratch / "a.tbk", tbk.seal(small))
    terminal = Terminal(tbk, name, "--password-file", tbk.password_file, operand, stdout="terminal")
    status, _, err = terminal.end()
    assert status in REFUSED and f"{name}: error: ".encode() in err
    assert b"TBK2" not in terminal.seen and b"ustar" not in terminal.seen


# Ends that come early


def test_reader_that_goes_away_ends_quietly(tbk, tmp_path):
    put(tmp_path / "tree" / "noise", os.urandom(3_000_000))
    archive = put(tmp_path / "a.tbk", tbk.seal(tmp_path / "tree"))
    for name, operand in (("tbk-seal", tmp_path / "tree"), ("tbk-open", archive)):
        process = tbk.start(name, "-q", *(FAST if name == "tbk-seal" else []), operand)
        process.stdout.read(10)
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(PATIENCE) in (-signal.SIGPIPE, 141) and err == b""
    assert tbk.leftovers() == []


def test_full_device(tbk, tree, tmp_path):
    archive = put(tmp_path / "a.tbk", tbk.seal(tree))
    for name, arguments in (("tbk-seal", [*FAST, tree]), ("tbk-open", [archive]), ("tbk-open", ["--list", archive]),
                            ("tbk-open", ["--manifest", archive]), ("tbk-open", ["--cat", "repeating", archive])):
        with open("/dev/full", "wb") as full:
            tbk.run(name, *arguments, stdout=full, status=74)
    assert tbk.leftovers() == []


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_clean_up(number, status, tbk, tmp_path):
    read, write = os.pipe()
    process = tbk.start("tbk-seal", "stream", *FAST, "x", "-o", tmp_path / "out.tbk", stdin=read)
    os.close(read)
    # More than fits a pipe: once it is through, the command is at work.
    os.write(write, os.urandom(1 << 20))
    process.send_signal(number)
    assert process.wait(PATIENCE) in (status, -number)
    os.close(write)
    process.communicate()
    assert not os.path.exists(tmp_path / "out.tbk") or os.path.getsize(tmp_path / "out.tbk") == 0
    assert tbk.leftovers() == []


def test_output_that_cannot_be_made(tbk, small, tmp_path):
    tbk.run("tbk-seal", *FAST, "-o", tmp_path / "no such" / "out.tbk", small, status=73)
    tbk.run("tbk-seal", *FAST, "--receipt", tmp_path / "no such" / "receipt", small, status=73)


def test_missing_archive(tbk, tmp_path):
    tbk.run("tbk-open", "--list", tmp_path / "no such", status=66)
    tbk.open(b"", "--list", status=65)


def test_nothing_is_left_in_tmpdir(tbk, tree, tmp_path):
    archive = tbk.seal(tree)
    tbk.extract(archive, tmp_path / "out")
    tbk.open(archive, "--verify")
    tbk.open(archive)
    assert tbk.leftovers() == []


OWN_MANIFESTS = {
    "file": lambda top: put(top + "/manifest.json", b"mine\n"),
    "file and its neighbours": lambda top: [put(top + "/manifest.json" + "~" * n, b"%d\n" % n) for n in range(4)],
    "directory": lambda top: put(top + "/manifest.json/inside", b"mine\n"),
    "empty directory": lambda top: os.mkdir(top + "/manifest.json"),
    "symlink": lambda top: os.symlink("plain", top + "/manifest.json"),
    "first hard link": lambda top: (put(top + "/manifest.json", b"mine\n"), os.link(top + "/manifest.json", top + "/zz")),
    "second hard link": lambda top: os.link(top + "/d/inside", top + "/manifest.json"),
    "in a directory only": lambda top: put(top + "/d/manifest.json", b"mine\n"),
}


@pytest.mark.parametrize("kind", OWN_MANIFESTS)
def test_tree_with_a_manifest_of_its_own(kind, tbk, small, tmp_path):
    OWN_MANIFESTS[kind](small)
    archive = tbk.seal(small)
    tbk.extract(archive, tmp_path / "out")
    assert snapshot(tmp_path / "out") == snapshot(small)
    (tmp_path / "reference").mkdir()
    extract.extract(reference_open(archive), tmp_path / "reference", owner=True)
    assert snapshot(tmp_path / "reference") == snapshot(small)
    # Stock tar gets everything out, too: nothing of the tree is in the way of the backup's manifest.
    (tmp_path / "tar").mkdir()
    subprocess.run(["tar", "-x", "-f", "-", "-C", tmp_path / "tar"], input=tbk.open(archive).out, check=True)
    assert json.loads((tmp_path / "tar" / "manifest.json").read_bytes()) == json.loads(tbk.open(archive, "--manifest").out)


# Opening


def test_list_forms(tbk, tree, small):
    archive = tbk.seal(tree)
    entries = json.loads(tbk.open(archive, "--manifest").out)["files"]
    assert tbk.open(archive, "--list", "-0").out.split(b"\0")[:-1] == [mf.raw(entry["relative_path"]) for entry in entries]
    assert [json.loads(line)["relative_path"] for line in tbk.open(archive, "--list", "--json").out.splitlines()] == \
        [entry["relative_path"] for entry in entries]
    assert tbk.open(archive, "--list").out == tbk.run("tbk-manifest", "show", "-", input=mf.encode({"files": entries, **{
        key: value for key, value in json.loads(tbk.open(archive, "--manifest").out).items() if key != "files"}})).out
    assert len(tbk.open(tbk.seal(small), "--list", "-l").lines) == 6


def test_verify_says_what_is_there(tbk, small):
    archive = tbk.seal(small)
    backup, = reference_open(archive)
    size = sum(entry["size"] for entry in backup.manifest["files"] if "hard_link" not in entry)
    assert tbk.open(archive, "--verify").lines == [f"ok {backup.id} 3 files {size} bytes"]
    report = json.loads(tbk.open(archive, "--verify", "--json").out)
    assert report == {"ok": True, "id": backup.id, "format": "TBK2", "mode": "full", "file_count": 3, "entry_count": 6, "size": size,
                      "missing": [], "absent": []}


def test_cat(tbk, tree):
    archive = tbk.seal(tree)
    for path in (b"repeating", b"manifest.json", b"empty file", b"z last", b"links/first", b"names/not UTF-8 \xff\xfe", b"names/new\nline"):
        with open(os.path.join(os.fsencode(tree), path), "rb") as file:
            assert tbk.open(archive, "--cat", path).out == file.read()
    for path in (b"no such", b"links", b"../tree/repeating"):
        assert tbk.open(archive, "--cat", path, status=REFUSED).out == b""


def test_expect_id(tbk, small, tmp_path):
    archive = tbk.seal(small)
    identity = reference_open(archive)[0].id
    for given in (identity, identity[:8]):
        tbk.extract(archive, tmp_path / given, "--expect-id", given)
    wrong = f"{int(identity[:8], 16) ^ 1:08x}"
    tbk.extract(archive, tmp_path / "wrong", "--expect-id", wrong, status={65, 77})
    tbk.extract(archive, tmp_path / "wrong", "--expect-id", identity[:7], status=64)
    assert not (tmp_path / "wrong").exists()


def test_against_a_manifest(tbk, small, tmp_path):
    archive = tbk.seal(small)
    right = put(tmp_path / "right", tbk.open(archive, "--manifest").out)
    wrong = put(tmp_path / "wrong", tbk.open(tbk.seal(small), "--manifest").out)
    tbk.extract(archive, tmp_path / "out", "--against", right)
    assert snapshot(tmp_path / "out") == snapshot(small)
    tbk.extract(archive, tmp_path / "other", "--against", wrong, status=65)
    assert not (tmp_path / "other").exists()


def test_include_and_exclude(tbk, small, tmp_path):
    archive = tbk.seal(small)

    def restored(*arguments):
        out = tmp_path / "-".join(map(str, arguments)).replace("/", "_")
        tbk.extract(archive, out, *arguments)
        return {path for path, found in snapshot(out).items() if path and found["kind"] != 0o40000}
    assert restored("--include", "plain") == {b"plain"}
    assert restored("--include", "d/inside") == {b"d/inside"}
    assert restored("--include", "/d/") == {b"d/inside", b"d/other"}
    assert restored("--exclude", "d/") == {b"plain", b"link"}
    assert restored("--include", "d/", "--exclude", "other") == {b"d/inside"}


def below(directory):
    """Everything in it, but not itself: it was there before, and staging touches its times."""
    return {path: found for path, found in snapshot(directory).items() if path}


def test_overwrite_never_changes_nothing(tbk, small, tmp_path):
    archive = tbk.seal(small)
    put(tmp_path / "out" / "plain", b"mine\n")
    below_before = below(tmp_path / "out")
    for arguments in ([], ["--overwrite", "never"]):
        tbk.extract(archive, tmp_path / "out", *arguments, status=73)
        assert below(tmp_path / "out") == below_before


def test_overwrite_always_replaces_and_leaves_the_rest(tbk, small, tmp_path):
    archive = tbk.seal(small)
    put(tmp_path / "out" / "plain", b"mine\n")
    put(tmp_path / "out" / "d" / "of my own", b"mine\n")
    tbk.extract(archive, tmp_path / "out", "--overwrite", "always")
    have, want = below(tmp_path / "out"), below(small)
    assert have.pop(b"d/of my own")["content"] == mf.hashlib.sha256(b"mine\n").hexdigest()
    assert have == want


def test_overwrite_if_changed_keeps_what_matches(tbk, small, tmp_path):
    archive = tbk.seal(small)
    tbk.extract(archive, tmp_path / "out")
    put(tmp_path / "out" / "plain", b"mine\n")
    kept = os.stat(tmp_path / "out" / "d" / "inside").st_ino
    tbk.extract(archive, tmp_path / "out", "--overwrite", "if-changed")
    assert os.stat(tmp_path / "out" / "d" / "inside").st_ino == kept
    assert below(tmp_path / "out") == below(small)


def test_dry_run_says_what_would_be_done(tbk, small, tmp_path):
    archive = tbk.seal(small)
    put(tmp_path / "out" / "plain", b"mine\n")
    os.makedirs(tmp_path / "out" / "d")
    put(tmp_path / "out" / "d" / "inside", b"inside\n" * 100)
    before = snapshot(tmp_path / "out")
    for policy, plain in (("never", "conflict"), ("always", "replace"), ("if-changed", "replace")):
        lines = set(tbk.extract(archive, tmp_path / "out", "--dry-run", "--overwrite", policy, status={0, 73}).lines)
        assert {f"{plain}\tplain", "create\td/other", "create\tlink", "create\tempty"} <= lines
        if policy == "if-changed":
            assert "keep\td/inside" in lines
        assert snapshot(tmp_path / "out") == before


def test_no_owner_and_owners_for_another_user(tbk, small, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    os.chown(os.path.join(small, "plain"), 54321, 54322)
    archive = tbk.seal(small)
    for arguments, owner in (([], (54321, 54322)), (["--numeric-owner"], (54321, 54322)), (["--no-owner"], (0, 0))):
        out = tmp_path / "".join(["out", *arguments])
        tbk.extract(archive, out, *arguments)
        info = os.stat(out / "plain")
        assert (info.st_uid, info.st_gid) == owner


def test_extraction_by_a_user_who_is_not_root(unprivileged):
    tbk, folder = unprivileged
    put(folder / "tree" / "plain", b"plain\n")
    archive = tbk.seal(folder / "tree", **tbk.user)
    (folder / "out").mkdir()
    os.chown(folder / "out", *([65534] * 2 if tbk.user else [-1, -1]))
    tbk.extract(archive, folder / "out", **tbk.user)
    assert (folder / "out" / "plain").read_bytes() == b"plain\n"


def test_destination_that_cannot_be_written(unprivileged):
    tbk, folder = unprivileged
    put(folder / "tree" / "plain", b"plain\n")
    archive = tbk.seal(folder / "tree", **tbk.user)
    (folder / "out").mkdir()
    os.chmod(folder / "out", 0o555)
    tbk.extract(archive, folder / "out", status={73, 74, 77}, **tbk.user)
    assert os.listdir(folder / "out") == []


# Several archives


def test_our_chain_back_to_back(tbk, small, tmp_path):
    archives = [tbk.seal(small)]
    for number in range(3):
        put(os.path.join(small, f"new {number}"), b"%d\n" % number)
        put(os.path.join(small, "plain"), b"changed %d\n" % number)
        previous = put(tmp_path / f"previous {number}", tbk.open(archives[-1], "--manifest").out)
        manifest = tbk.manifest(small, "--previous", previous, "--mode", "incremental", "--defer-hash")
        archives.append(tbk.run("tbk-seal", *FAST, "--receipt", tmp_path / "receipt", input=manifest).out)
    os.unlink(os.path.join(small, "new 0"))
    tbk.extract(b"".join(reversed(archives)), tmp_path / "chain", "--chain")
    want = tmp_path / "want"
    want.mkdir()
    extract.extract(reference_open(*archives), want, owner=True)
    assert snapshot(tmp_path / "chain") == snapshot(want)
    assert (tmp_path / "chain" / "new 0").exists()


def test_chain_that_is_cut_is_refused(tbk, small, tmp_path):
    base = tbk.seal(small)
    put(os.path.join(small, "new"), b"new\n")
    previous = put(tmp_path / "previous", tbk.open(base, "--manifest").out)
    manifest = tbk.manifest(small, "--previous", previous, "--mode", "incremental")
    changed = tbk.run("tbk-seal", *FAST, "--receipt", tmp_path / "receipt", input=manifest).out
    for cut in (changed, changed + base[:-1], changed + base[:50], changed[:-1], changed + base + b"x", changed + base + base[:50]):
        tbk.extract(cut, tmp_path / "out", "--chain", status={65, 66})
        assert not (tmp_path / "out").exists(), cut[-10:]
    tbk.extract(changed + base, tmp_path / "out", "--chain")


def test_payload_is_one_gzip_of_one_tar(tbk, small):
    _, payload = crypto.open_archive(tbk.seal(small), PASSWORD)
    assert [member.name for member in tars.read(gz.decompress(payload))][-1] == b"manifest.json"

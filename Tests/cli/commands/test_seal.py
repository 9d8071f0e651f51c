"""tbk-seal as a command: options, statuses, files that change, broken pipes."""

import json
import os
import signal
import subprocess
import threading

import pytest
from conftest import FAST, PASSWORD, PATIENCE, crypto, extract, gz, mf, put, reference_open, snapshot, tars
from seal_fixture import REFUSED, Terminal  # noqa: F401
from tbkref import header


def listed(backup):
    return [entry["relative_path"] for entry in backup.manifest["files"]]


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
    # One key may seal both, but never with the same nonce.
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
    """A seekable standard output is written in place; the bytes before its position stay."""
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


# Options of other subcommands, and former options of the command.
FOREIGN = {
    "tree": ["--strip-top", "--expect-id 01234567", "--old-password-file x"], "stream": ["-C .", "--exclude x", "--strip-top"],
    "tar": ["-C .", "--exclude x", "--old-password-file x"], "reseal": ["--manifest-out x", "--group x", "-C ."],
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
    """Keeps changing a file until the block ends."""

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
    """The archive is valid, its manifest describes what was stored, and the file is named."""
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


def test_error_as_json(tbk, small):
    error = json.loads(tbk.open(tbk.seal(small), "--verify", "--json", password=b"wrong", status=77).err)["error"]
    assert error["status"] == 77 and error["type"] == "CryptoError" and error["message"]


@pytest.mark.parametrize("name", ["tbk-seal", "tbk-open"])
def test_binary_output_to_a_terminal_is_refused(name, tbk, small):
    operand = small if name == "tbk-seal" else put(tbk.scratch / "a.tbk", tbk.seal(small))
    terminal = Terminal(tbk, name, "--password-file", tbk.password_file, operand, stdout="terminal")
    status, _, err = terminal.end()
    assert status in REFUSED and f"{name}: error: ".encode() in err
    assert b"TBK2" not in terminal.seen and b"ustar" not in terminal.seen


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
    # More than fits into a pipe: when this returns, the command is running.
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
    # Stock tar extracts everything, too: no name in the tree collides with that of the manifest.
    (tmp_path / "tar").mkdir()
    subprocess.run(["tar", "-x", "-f", "-", "-C", tmp_path / "tar"], input=tbk.open(archive).out, check=True)
    assert json.loads((tmp_path / "tar" / "manifest.json").read_bytes()) == json.loads(tbk.open(archive, "--manifest").out)


def test_payload_is_one_gzip_of_one_tar(tbk, small):
    _, payload = crypto.open_archive(tbk.seal(small), PASSWORD)
    assert [member.name for member in tars.read(gz.decompress(payload))][-1] == b"manifest.json"

"""tbk-seal reseal: an archive under another password, with the same plaintext."""

import hashlib
import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest
from conftest import FAST, PASSWORD, REPOSITORY, Commands, crypto, gz, mf, put, reference_open, snapshot, tars

NEW = b"another horse"
VECTORS = sorted((REPOSITORY / "Tests" / "Vectors" / "archives").glob("*.tbk"))
BIG = 300 << 20


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "old password"
    path.write_bytes(PASSWORD + b"\n")
    return str(path)


def reseal(tbk, old, archive, *arguments, **options):
    return tbk.run("tbk-seal", "reseal", *FAST, "--old-password-file", old, *arguments, input=archive,
                   **{"password": NEW, **options})


def test_the_new_archive_holds_the_same_bytes_under_the_new_password(tbk, tree, old):
    archive = tbk.seal(tree)
    again = reseal(tbk, old, archive).out
    assert crypto.open_archive(again, NEW)[1] == crypto.open_archive(archive, PASSWORD)[1]
    first, second = (crypto.open_archive(one, password)[0] for one, password in ((archive, PASSWORD), (again, NEW)))
    assert first.salt != second.salt and first.nonce != second.nonce
    assert (second.memory, second.time, second.lanes) == (64, 1, 1)
    tbk.open(again, "--verify", status=77)
    assert tbk.leftovers() == []


def test_the_costs_are_chosen_anew(tbk, small, old):
    again = tbk.run("tbk-seal", "reseal", "--memory", "128", "--iterations", "2", "--lanes", "2", "--old-password-file", old,
                    input=tbk.seal(small), password=NEW).out
    head = crypto.open_archive(again, NEW)[0]
    assert (head.memory, head.time, head.lanes) == (128, 2, 2)


def test_a_sealed_manifest_is_resealed_as_an_archive_is(tbk, small, old, tmp_path):
    tbk.seal(small, "--manifest-out", tmp_path / "manifest")
    again = reseal(tbk, old, (tmp_path / "manifest").read_bytes()).out
    backup, = reference_open(again, password=NEW)
    assert backup.sealed_manifest and backup.id
    reseal(tbk, old, (tmp_path / "manifest").read_bytes(), "--expect-id", backup.id)


def tbk1(directory, **sealing):
    manifest = mf.with_id(mf.build(directory))
    return crypto.seal_tbk1(gz.compress(tars.write(manifest, tars.content_of(directory), "pax"), 1, 6), PASSWORD, **sealing)


def test_tbk1_becomes_tbk2(tbk, small, old, tmp_path):
    archive = tbk1(small, iterations=1000)
    again = reseal(tbk, old, archive).out
    assert again.startswith(b"TBK2")
    assert crypto.open_archive(again, NEW)[1] == crypto.open_archive(archive, PASSWORD)[1]
    tbk.extract(again, tmp_path / "out", password=NEW)
    assert sorted(snapshot(tmp_path / "out")) == sorted(snapshot(small))


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_vectors_reseal_or_are_refused_as_they_open(path, tbk, tmp_path):
    """reseal does not look at the content: an archive that authenticates is sealed again."""
    fact = path.with_suffix(".txt").read_text()
    password = bytes.fromhex(re.search(r"^password: (\w*)$", fact, re.MULTILINE)[1])
    (tmp_path / "p").write_bytes(password + b"\n")
    archive = path.read_bytes()
    try:
        payload = crypto.open_archive(archive, password)[1]
    except Exception:
        payload = None
    if payload is None:
        assert reseal(tbk, tmp_path / "p", archive, status={64, 65, 77}).out == b""
        return
    done = reseal(tbk, tmp_path / "p", archive, status={0, 65, 77})
    if done.status == 0:
        assert crypto.open_archive(done.out, NEW)[1] == payload
    else:
        # reseal refuses only archives that tbk-open refuses for their header.
        assert done.out == b""
        assert tbk.open(archive, "--verify", password=password, status=None).status == done.status


def test_there_are_vectors_of_both_formats():
    starts = {path.read_bytes()[:4] for path in VECTORS}
    assert {b"TBK1", b"TBK2"} <= starts


@pytest.mark.parametrize("form", ["TBK2", "TBK1"])
@pytest.mark.parametrize("change", ["password", "tag", "middle", "cut", "longer"])
def test_what_does_not_authenticate_gives_no_output(form, change, tbk, small, old, tmp_path):
    archive = tbk.seal(small) if form == "TBK2" else tbk1(small, iterations=1000)
    altered = bytearray(archive)
    status = 77
    if change == "password":
        old = str(tmp_path / "wrong")
        put(old, b"wrong\n")
    elif change in ("tag", "middle"):
        altered[-1 if change == "tag" else -60] ^= 1
    else:
        altered, status = (altered[:-1] if change == "cut" else altered + b"x"), 65
    assert reseal(tbk, old, bytes(altered), status=status).out == b""
    (tmp_path / "kept").write_bytes(b"before")
    reseal(tbk, old, bytes(altered), "-o", tmp_path / "kept", status=status)
    assert (tmp_path / "kept").read_bytes() == b"before"
    with open(tmp_path / "in place", "wb") as place:
        reseal(tbk, old, bytes(altered), stdout=place, status=status)
    assert (tmp_path / "in place").read_bytes() == b""


def test_expect_id(tbk, small, old):
    archive = tbk.seal(small)
    backup, = reference_open(archive)
    for right in (backup.id, backup.id[:8]):
        reseal(tbk, old, archive, "--expect-id", right)
    done = reseal(tbk, old, archive, "--expect-id", "0" * 64, status=65)
    assert done.out == b"" and backup.id.encode() in done.err
    reseal(tbk, old, archive, "--expect-id", "xyz", status=64)


@pytest.mark.parametrize("arguments", [["."], ["-C", "."], ["--receipt", "r"], ["--manifest-out", "m"],
                                       ["--level", "3"], ["--threads", "2"], ["--exclude", "x"]], ids=str)
def test_options_of_sealing_a_tree_are_refused(arguments, tbk, small, old):
    assert reseal(tbk, old, tbk.seal(small), *arguments, status=64).out == b""


@pytest.mark.parametrize("arguments", [["--old-password-fd", "0"], ["--old-password-file", "x"], ["--old-password-command", "x"],
                                       ["--expect-id", "0" * 64]], ids=str)
def test_options_of_resealing_are_refused_elsewhere(arguments, tbk, small):
    assert tbk.run("tbk-seal", *FAST, *arguments, small, status=64).out == b""


@pytest.mark.parametrize("way", ["fd", "command", "variable", "variable file", "variable command"])
def test_the_old_password_comes_from_where_passwords_come_from(way, tbk, small, old):
    archive = tbk.seal(small)
    options, env = [], {}
    read, write = os.pipe()
    os.write(write, PASSWORD + b"\n")
    os.close(write)
    if way == "fd":
        options = ["--old-password-fd", str(read)]
    elif way == "command":
        options = ["--old-password-command", f"cat '{old}'"]
    elif way == "variable":
        env = {"TERMBACKUP_OLD_PASSWORD": PASSWORD.decode()}
    elif way == "variable file":
        env = {"TERMBACKUP_OLD_PASSWORD_FILE": old}
    else:
        env = {"TERMBACKUP_OLD_PASSWORD_COMMAND": f"cat '{old}'"}
    again = tbk.run("tbk-seal", "reseal", *FAST, *options, input=archive, password=NEW, env=env, pass_fds=[read]).out
    os.close(read)
    assert crypto.open_archive(again, NEW)


def test_a_missing_old_password_and_one_on_standard_input_are_usage(tbk, small, old):
    archive = tbk.seal(small)
    for options in ([], ["--no-input"], ["--old-password-fd", "0"], ["--old-password-file", "-"],
                    ["--old-password-file", old, "--old-password-command", "true"]):
        done = tbk.run("tbk-seal", "reseal", *FAST, *options, input=archive, password=NEW, status=64)
        assert done.out == b"" and b"old" in done.err


def test_neither_passwords_command_sees_the_other_password(tbk, small, tmp_path):
    secret = "secret-of-the-other"
    script = tmp_path / "script"
    put(script, f"#!/bin/sh\nenv >>'{tmp_path}/seen'\nprintf '%s\\n' \"$1\"\n".encode(), 0o755)
    for env in ({"TERMBACKUP_OLD_PASSWORD_COMMAND": f"'{script}' '{PASSWORD.decode()}'", "TERMBACKUP_PASSWORD": secret},
                {"TERMBACKUP_PASSWORD_COMMAND": f"'{script}' {secret}", "TERMBACKUP_OLD_PASSWORD": PASSWORD.decode()}):
        again = tbk.run("tbk-seal", "reseal", *FAST, input=tbk.seal(small), password=None, env=env).out
        assert crypto.open_archive(again, secret.encode())
        seen = (tmp_path / "seen").read_text()
        assert "PATH=" in seen and secret not in seen and PASSWORD.decode() not in seen and "_PASSWORD" not in seen
        (tmp_path / "seen").unlink()


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """An uncompressed archive of 300 MiB, made once."""
    folder = tmp_path_factory.mktemp("big")
    commands = Commands(folder)
    path = folder / "big.tbk"
    with open(folder / "zeros", "wb") as file:
        file.truncate(BIG)
    with open(folder / "zeros", "rb") as source, open(path, "wb") as target:
        commands.run("tbk-seal", "stream", *FAST, "--level", "0", "zeros", stdin=source, stdout=target)
    (folder / "old").write_bytes(PASSWORD + b"\n")
    return path


def peak(tbk, command, stdin, stdout):
    script = ("import resource, subprocess, sys\n"
              "done = subprocess.run(sys.argv[1:])\n"
              "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)\n"
              "sys.exit(done.returncode)")
    done = subprocess.run([sys.executable, "-c", script, *map(str, command)], stdin=stdin, stdout=stdout,
                          env=tbk.environment, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stderr.split()[-1]) * 1024


@pytest.mark.parametrize("piped", [False, True])
def test_memory_does_not_grow_with_the_archive(piped, big, tbk, old, tmp_path):
    new = tmp_path / "new"
    new.write_bytes(NEW)
    command = [tbk.path("tbk-seal"), "reseal", "-q", *FAST, "--old-password-file", old, "--password-file", new]
    with open(tmp_path / "again", "wb") as output:
        if piped:
            cat = subprocess.Popen(["cat", big], stdout=subprocess.PIPE)
            used = peak(tbk, command, cat.stdout, output)
            cat.stdout.close()
            cat.wait()
        else:
            with open(big, "rb") as source:
                used = peak(tbk, command, source, output)
    assert used < 64 << 20
    assert os.path.getsize(tmp_path / "again") == os.path.getsize(big)
    with open(tmp_path / "again", "rb") as again:
        tbk.run("tbk-open", "--verify", stdin=again, password=NEW)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_one_that_is_killed_half_way_leaves_nothing(number, big, tbk, old, tmp_path):
    put(tmp_path / "new", NEW)
    read, write = os.pipe()
    process = tbk.start("tbk-seal", "reseal", *FAST, "--old-password-file", old, "-o", tmp_path / "again", stdin=read,
                        password=NEW)
    os.close(read)
    with open(big, "rb") as source, os.fdopen(write, "wb") as pipe:
        pipe.write(source.read(100 << 20))
        pipe.flush()
        process.send_signal(number)
        process.wait()
    assert not (tmp_path / "again").exists() and tbk.leftovers() == []
    assert [name for name in os.listdir(tmp_path) if name.startswith(".tbk")] == []


def test_nothing_of_the_plaintext_is_on_disk_meanwhile(tbk, old, tmp_path):
    """The spool of a pipe contains only the received ciphertext."""
    put(tmp_path / "tree" / "f", hashlib.sha256(b"x").digest() * (1 << 20))
    archive = tbk.seal(tmp_path / "tree", "--level", "0")
    process = tbk.start("tbk-seal", "reseal", *FAST, "--old-password-file", old, stdin=subprocess.PIPE, password=NEW)
    process.stdin.write(archive)
    process.stdin.close()
    # Nothing reads the output pipe: the command stops half-way.
    deleted = None
    while deleted is None and process.poll() is None:
        for link in pathlib.Path(f"/proc/{process.pid}/fd").iterdir():
            if str(tbk.tmp) in os.readlink(link) and os.stat(link).st_size > 32 << 20:
                deleted = link
    held = open(deleted, "rb").read()
    assert held in archive
    out = process.stdout.read()
    process.stdout.close(), process.stderr.close()
    assert process.wait() == 0 and crypto.open_archive(out, NEW)

"""How the commands behave as processes: descriptors, signals, sources of the password."""

import json
import os
import signal
import socket
import subprocess

import pytest
from conftest import FAST, PASSWORD, PATIENCE, SECRETS, absent, crypto, has_xattrs, put, require, snapshot


@pytest.fixture
def tree(tmp_path):
    path = tmp_path / "tree"
    path.mkdir()
    (path / "file").write_bytes(b"content")
    return path


def close(*numbers):
    def prepare():
        for number in numbers:
            os.close(number)
    return prepare


def test_messages_do_not_go_into_the_output_where_standard_error_is_closed(tbk, tree, tmp_path):
    output = tmp_path / "out.tbk"
    process = tbk.start("tbk-seal", *FAST, "-o", output, "--progress", "always", tree, preexec_fn=close(2))
    process.communicate()
    assert process.returncode == 0
    crypto.open_archive(output.read_bytes(), PASSWORD)


def test_a_closed_standard_output_is_an_error(tbk, tree):
    tbk.run("tbk-seal", *FAST, tree, preexec_fn=close(1), status={70, 74})


def test_what_nohup_ignores_stays_ignored(tbk, tmp_path):
    ready, wait = tmp_path / "ready", tmp_path / "wait"
    os.mkfifo(wait)
    process = tbk.start(
        "tbk-seal", "stream", *FAST, "x", "--", "sh", "-c", f"touch '{ready}'; cat '{wait}'",
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    while not ready.exists() and process.poll() is None:
        pass
    os.kill(process.pid, signal.SIGHUP)
    wait.write_bytes(b"data")
    archive, _ = process.communicate()
    assert process.returncode == 0
    crypto.open_archive(archive, PASSWORD)


@pytest.mark.parametrize("command, status", [("yes", 64), ("false", 78), ("printf ''", 64), ("sh -c 'echo x; exit 3'", 78)])
def test_a_password_command_that_gives_none_is_refused(tbk, tree, command, status):
    result = tbk.run("tbk-seal", *FAST, "--password-command", command, tree, password=None, status=status)
    assert result.out == b""


def test_the_password_can_come_from_standard_input_beside_archives(tbk, tree, tmp_path):
    archive = tmp_path / "a.tbk"
    archive.write_bytes(tbk.seal(tree))
    tbk.run("tbk-open", "--verify", "--password-file", "-", archive, password=None, input=PASSWORD + b"\n")
    tbk.run("tbk-open", "--verify", "--password-file", "-", password=None, input=archive.read_bytes(), status=64)


def test_a_file_is_no_directory_to_extract_into(tbk, tree, tmp_path):
    archive = tmp_path / "a.tbk"
    archive.write_bytes(tbk.seal(tree))
    tbk.run("tbk-open", "-C", tree / "file", archive, status=73)
    assert (tree / "file").read_bytes() == b"content"


def test_a_directory_is_no_archive(tbk, tree):
    tbk.run("tbk-open", "--list", tree, status=66)


def test_a_device_is_not_replaced_by_an_archive(tbk, tree, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    tbk.run("tbk-seal", *FAST, "-o", fifo, tree, status=73)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".tbk")) == []


def test_a_tree_deeper_than_the_usual_limit_of_open_files(tbk, tmp_path):
    top = tmp_path / "deep"
    top.mkdir()
    at = os.open(top, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    archive = tmp_path / "a.tbk"
    archive.write_bytes(tbk.seal(top))
    tbk.run("tbk-open", "-C", tmp_path / "out", archive)
    manifest = tbk.run("tbk-open", "--manifest", archive).out
    tbk.run("tbk-manifest", "check", "-", tmp_path / "out", input=manifest)
    subprocess.run(["rm", "-rf", top, tmp_path / "out"], check=True)


def test_arguments_are_read_where_proc_is_not_mounted(tbk, small, tmp_path):
    """As in a new root, where Swift finds no arguments."""
    require("unshare", "mount")
    if subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/proc"]).returncode:
        absent("the right to mount")
    hidden = ["unshare", "--mount", "sh", "-ec", 'mount -t tmpfs none /proc; exec "$@"', "sh"]
    done = subprocess.run([*hidden, tbk.path("tbk-manifest"), "--exclude", "plain", small], env=tbk.environment,
                          capture_output=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    paths = {entry["relative_path"] for entry in json.loads(done.stdout)["files"]}
    assert "d/inside" in paths and "plain" not in paths


def test_attributes_are_kept_where_proc_is_not_mounted(tbk, small, tmp_path, monkeypatch):
    if not has_xattrs(tmp_path):
        absent("extended attributes")
    (tmp_path / "empty").mkdir()
    for name in ("", "d", "d/inside", "plain"):
        os.setxattr(os.path.join(small, name), "user.here", name.encode() or b"top")
    expected = snapshot(small)
    os.mkfifo(os.path.join(small, "fifo"))
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(small)  # The path of a socket must be short.
        listener.bind("socket")
        archive = tbk.seal(small, over=(tmp_path / "empty", "/proc"))
    expected[b""]["mtime"] = os.stat(small).st_mtime_ns
    tbk.extract(archive, tmp_path / "out", over=(tmp_path / "empty", "/proc"))
    assert snapshot(tmp_path / "out") == expected


KEPT = {"token": {"GH_TOKEN", "GH_ENTERPRISE_TOKEN"}}


@pytest.mark.parametrize("what", ["password", "old password", "key", "webhook", "token", "editor"])
def test_a_child_sees_no_secret_but_what_it_may_need_itself(tbk, tree, tmp_path, what):
    """Commands that print passwords, and editors. gh(1) has its own tokens."""
    seen, archive = tmp_path / "seen", tmp_path / "a.tbk"
    archive.write_bytes(tbk.seal(tree))
    given = {"webhook": b"http://127.0.0.1:9/", "token": b"ghp_" + b"x" * 36}.get(what, PASSWORD)
    put(tmp_path / "given", given)
    child = put(tmp_path / "child", f"#!/bin/sh\nenv >'{seen}'\ncat '{tmp_path}/given'\n".encode(), 0o755).decode()
    keys = ["--private", tmp_path / "k", "--public", tmp_path / "k.pub"]
    command = {
        "password": ["tbk-open", "--password-command", child, "--list", archive],
        "old password": ["tbk-seal", "reseal", "--old-password-command", child, "--password-file", tbk.password_file, *FAST,
                         "-o", tmp_path / "b.tbk"],
        "key": ["tbk-sign", "keygen", *keys, "--password-command", child],
        "webhook": ["tbk-notify", "--max-wait", "0", "--url-command", child],
        "token": ["tbk-pull", "--max-wait", "0", "--token-command", child, "--list", "github:o/r"],
        "editor": ["tbk-config", "profile", "edit", "docs", "--editor"],
    }[what]
    if what == "editor":
        tbk.run("tbk-config", "init")
        tbk.run("tbk-config", "profile", "create", "docs", "--source", tree)
    data = {"old password": archive.read_bytes(), "webhook": b'{"status": "success", "profile": "docs", "seconds": 2}'}
    environment = {**SECRETS, "VISUAL": child, "TERMBACKUP_GITHUB_API": "http://127.0.0.1:9", "KEPT": "yes"}
    tbk.run(*command, input=data.get(what), password=None, env=environment, status={0, 64, 69, 75})
    names = {line.partition("=")[0] for line in seen.read_text().splitlines()}
    assert "KEPT" in names and names & SECRETS.keys() == KEPT.get(what, set())


def test_a_password_that_cannot_be_had_is_no_fault_of_what_is_opened(tbk, tree, tmp_path):
    archive, private, public = (tmp_path / name for name in ("a.tbk", "k.pem", "k.pub"))
    archive.write_bytes(tbk.seal(tree))
    given = ["--password-file", tmp_path / "nope"]
    tbk.run("tbk-sign", "keygen", "--private", private, "--public", public, "--password-file", tbk.password_file)
    for result in (tbk.run("tbk-open", "--verify", *given, archive, password=None, status=66),
                   tbk.run("tbk-sign", "sign", "--key", private, *given, input=b"x", status=66)):
        assert b": error: cannot open '%s'" % bytes(tmp_path / "nope") in result.err


@pytest.mark.parametrize("limit, status, command", [
    (65536, 64, "tbk-open --list --password-file /dev/zero ARCHIVE"), (1024, 77, "tbk-pull --token-file /dev/zero --list github:o/r"),
    (8192, 64, "tbk-notify --url-file /dev/zero"), (65536, 65, "tbk-sign sign --key /dev/zero"),
    (65536, 78, "tbk-open --mbu-config /dev/zero --list ARCHIVE"), (65536, 65, "tbk-config set signing_enabled -"),
    (1 << 20, 65, "tbk-config profile import /dev/zero"), (1 << 24, 65, "tbk-manifest --exclude-from /dev/zero TREE"),
    (1 << 27, 65, "tbk-sh object a:=@/dev/zero"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_what_has_no_end_is_read_to_its_limit(limit, status, command, tbk, tree, tmp_path):
    (tmp_path / "a.tbk").write_bytes(tbk.seal(tree))
    tbk.run("tbk-config", "init")
    words = [{"ARCHIVE": tmp_path / "a.tbk", "TREE": tree}.get(word, word) for word in command.split()]
    with open("/dev/zero", "rb") as endless:
        result = tbk.run(*words, password=None if "--password-file" in command else PASSWORD, stdin=endless, status=status)
    assert b" than %d bytes" % limit in result.err


@pytest.mark.parametrize("length, status", [(65536, 0), (65537, 64)])
def test_the_longest_password(length, status, tbk, tree, tmp_path):
    given = put(tmp_path / "long", b"p" * length + b"\n")
    tbk.run("tbk-seal", *FAST, "--password-file", given, tree, password=None, status=status)

"""tbk-audit: what it writes and shows; verify, on logs that this test writes, chains and damages itself."""

import hashlib
import json
import random

import pytest
from conftest import put
from shell_fixture import shell  # noqa: F401
from test_config import config  # noqa: F401

ZEROS = "0" * 64
OLD = {"timestamp": "2026-02-18T10:00:00+00:00", "operation": "backup", "profile": "docs", "status": "success",
       "details": {"backup_id": "0123456789ab"}}


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def old(number):
    """A line as TermBackup 6 writes it."""
    return json.dumps({**OLD, "details": {"file_count": number}}).encode()


def chain(count, front=()):
    """Lines as the suite writes them, after the lines in `front`."""
    lines = list(front)
    for number in range(count):
        previous = sha256(lines[-1]) if lines else ZEROS
        lines.append(json.dumps({**OLD, "details": {"file_count": 1000 + number}, "previous": previous}).encode())
    return lines


class Log:
    def __init__(self, tbk, folder):
        self.tbk = tbk
        self.path = folder / "a log"
        self.state = folder / "a log.state"

    def write(self, lines, written=None):
        """Writes the lines to the log, and a state file as if `written` had been written."""
        written = lines if written is None else written
        self.path.write_bytes(b"".join(line + b"\n" for line in lines))
        self.state.write_text(json.dumps({
            "count": len(written), "size": sum(len(line) + 1 for line in written),
            "last": sha256(written[-1]) if written else ZEROS}))

    def verify(self, status, *arguments):
        return self.tbk.run("tbk-audit", "verify", "--file", self.path, *arguments, status=status)

    def problems(self):
        report = json.loads(self.verify(1, "--json").out)
        assert report["ok"] is False
        assert all(set(problem) == {"line", "problem", "message"} for problem in report["problems"])
        return [(problem["problem"], problem["line"]) for problem in report["problems"]]


@pytest.fixture
def log(tbk, tmp_path):
    return Log(tbk, tmp_path)


@pytest.mark.parametrize("front", [0, 3])
@pytest.mark.parametrize("count", [1, 2, 20])
def test_a_log_in_order_holds(log, front, count):
    lines = chain(count, [old(number) for number in range(front)])
    log.write(lines)
    done = log.verify(0)
    assert done.out.decode() == f"ok {len(lines)} {sha256(lines[-1])}\n"
    assert (b"3 of the lines were written by TermBackup 6" in done.err) == (front == 3)
    assert json.loads(log.verify(0, "--json").out) == {
        "ok": True, "line_count": len(lines), "unhashed_count": front, "last_hash": sha256(lines[-1]), "problems": []}
    # Lines that the suite adds continue the chain.
    log.tbk.run("tbk-audit", "append", "--file", log.path, "--operation", "backup", "--status", "success")
    assert log.verify(0).out.startswith(b"ok %d " % (len(lines) + 1))


def test_no_log_and_an_old_log_hold(log):
    assert log.verify(0).out.decode() == f"ok 0 {ZEROS}\n"
    log.path.write_bytes(old(1) + b"\n" + old(2) + b"\n")
    assert log.verify(0).out.startswith(b"ok 2 ")


def test_a_changed_line_is_named(log):
    lines = chain(6)
    for at in range(6):
        spoilt = [*lines]
        spoilt[at] = lines[at].replace(b"docs", b"socd")
        log.write(spoilt, lines)
        assert log.problems() == [("changed", at + 1)]
    done = log.verify(1)
    assert b"line 6 " in done.out and b"tbk-audit: error: " in done.err


def test_a_changed_hash_is_named(log):
    lines = chain(6)
    spoilt = [*lines]
    spoilt[3] = lines[3].replace(sha256(lines[2]).encode(), sha256(b"other").encode())
    log.write(spoilt, lines)
    assert log.problems() == [("changed", 3), ("changed", 4)]


@pytest.mark.parametrize("at", range(6))
def test_a_line_that_was_taken_out_is_named(log, at):
    lines = chain(6)
    log.write(lines[:at] + lines[at + 1:], lines)
    assert log.problems() == [("cut" if at == 5 else "missing", at + 1)]


@pytest.mark.parametrize("left", range(6))
def test_a_tail_that_was_cut_off_is_named(log, left):
    lines = chain(6)
    log.write(lines[:left], lines)
    assert log.problems() == [("cut", left + 1)]
    # It is still found after more lines are written.
    log.tbk.run("tbk-audit", "append", "--file", log.path, "--operation", "backup", "--status", "success")
    assert log.problems() == [("missing", left + 1)]


def test_lines_that_were_moved_are_named(log):
    lines = chain(6)
    log.write([lines[0], lines[2], lines[1], *lines[3:]], lines)
    assert ("moved", 2) in log.problems()
    log.write([lines[5], *lines[:5]], lines)
    assert ("moved", 1) in log.problems()
    log.write([*lines[1:], lines[0]], lines)
    assert log.problems()[0] == ("moved", 1)


@pytest.mark.parametrize("at", range(7))
def test_a_line_that_was_put_in_is_named(log, at):
    """The inserted line has the right hash of the line before it."""
    lines = chain(6)
    forged = json.dumps({**OLD, "previous": sha256(lines[at - 1]) if at else ZEROS}).encode()
    log.write(lines[:at] + [forged] + lines[at:], lines)
    if at == 6:
        # Anyone can append a line, and a crash can leave one unrecorded.
        log.verify(0)
    else:
        assert ("inserted", at + 1) in log.problems()


def test_a_line_without_a_hash_after_others_is_named(log):
    lines = chain(4)
    for at in range(1, 5):
        log.write(lines[:at] + [old(7)] + lines[at:], lines)
        assert ("unhashed", at + 1) in log.problems()
    # Even if the next line has its hash: nothing vouches for the lines before it.
    mixed = chain(2, [*lines, old(7)])
    log.write(mixed)
    assert log.problems() == [("unhashed", 5)]


def test_the_lines_of_termbackup_6_are_counted_and_measured(log):
    lines = chain(2, [old(1), old(2), old(3)])
    log.write(lines[1:], lines)
    assert log.problems() == [("missing", 1)]
    log.write([old(9), *lines], lines)
    assert log.problems() == [("inserted", 1)]
    log.write([lines[0] + b" ", *lines[1:]], lines)
    assert log.problems() == [("changed", 1)]
    log.write([*lines[:2], old(4), *lines[3:]], lines)
    assert log.problems() == [("changed", 3)]


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"\xff\xfe", b"null", b'{"operation": "backup"}', b"x" * 200_000])
def test_what_is_no_entry_is_named(log, line):
    lines = chain(4)
    log.write([*lines[:2], line, *lines[2:]], lines)
    assert ("malformed", 3) in log.problems()


@pytest.mark.parametrize("state", [b"", b"{}", b"hello", b'{"count": -1, "size": 0, "last": ""}', b"[" * 10_000])
def test_a_state_that_is_broken_or_gone_is_a_problem(log, state):
    lines = chain(3)
    log.write(lines)
    log.state.write_bytes(state)
    assert log.problems() == [("state", 1)]
    log.state.unlink()
    assert log.problems() == [("state", 3)]


def test_a_state_may_say_anything(log):
    lines = chain(3)
    log.write(lines)
    for count in (0, 1, 3, 2**63, 2**64 - 1):
        for size in (0, 5, 2**64 - 1):
            log.state.write_text(json.dumps({"count": count, "size": size, "last": "a" * 64}))
            log.verify({0, 1})
            # An impossible state is refused; with a possible one, append continues.
            log.tbk.run("tbk-audit", "append", "--file", log.path, "--operation", "backup", "--status", "success",
                        status=65 if max(count, size) > 2**60 else 0)
            log.write(lines)


def test_every_change_of_a_byte_shows(log):
    lines = chain(5)
    log.write(lines)
    whole = log.path.read_bytes()
    dice = random.Random(1)
    for _ in range(150):
        spoilt = bytearray(whole)
        at = dice.randrange(len(whole))
        kind = dice.randrange(3)
        if kind == 0:
            spoilt[at] ^= 1 << dice.randrange(8)
        elif kind == 1:
            del spoilt[at:at + dice.randrange(1, 50)]
        else:
            spoilt[at:at] = dice.randbytes(dice.randrange(1, 9))
        log.path.write_bytes(spoilt)
        log.verify(1)


@pytest.mark.parametrize("given, wanted", [("007", 7), ("0", 0), ("00", 0), ("18446744073709551615", 2**64 - 1)])
def test_a_number_is_written_as_json_has_it(log, given, wanted):
    log.tbk.run("tbk-audit", "append", "--file", log.path, "--operation", "backup", "--status", "success", "--detail", f"bytes={given}")
    line, = log.path.read_text().splitlines()
    assert json.loads(line)["details"] == {"bytes": wanted}
    log.verify(0)


def test_the_verb_hands_on(shell, tmp_path):
    shell.run("init")
    shell.run("profile", "create", "docs", "--source", tmp_path)
    assert shell.run("audit-log", "--verify").stdout.startswith(b"ok 1 ")
    assert json.loads(shell.run("audit-log", "--verify", "--json").stdout)["ok"] is True
    path = shell.home / "audit.log"
    path.write_bytes(path.read_bytes().replace(b"success", b"failure"))
    shell.run("audit-log", "--verify", status=1)
    assert json.loads(shell.run("audit-log", "--json", "--verify", status=1).stdout)["problems"][0]["line"] == 1
    assert b"--since" in shell.run("audit-log", "--verify", "--since", "3d", status=64).stderr
    put(path.with_name("audit.log.state"), b"{}")
    shell.run("audit-log", "--verify", status=1)


def test_the_audit_log_is_written_and_shown(config, tbk):
    def append(*arguments, **options):
        tbk.run("tbk-audit", "append", *arguments, **options)

    append("--operation", "backup", "--profile", "p", "--status", "success", "--detail", "backup_id=abc123def456", "--detail", "file_count=42")
    append("--operation", "restore", "--profile", "q", "--status", "failure", "--details", '{"error": "incorrect password"}')
    lines = (config.home / "audit.log").read_text().splitlines()
    assert list(json.loads(lines[0])) == ["timestamp", "operation", "profile", "status", "details", "previous"]
    assert json.loads(lines[0])["details"] == {"backup_id": "abc123def456", "file_count": 42}

    def show(*arguments):
        return [json.loads(line) for line in tbk.run("tbk-audit", "show", "--json", *arguments).lines]

    assert show() == [json.loads(line) for line in lines]
    assert show("-n", "1") == show()[1:] == show("-o", "restore") == show("-p", "q") == show("--operation", "restore", "--since", "1h")
    assert show("--since", "2200-01-01") == show("-o", "restore", "-p", "p") == []
    assert tbk.run("tbk-audit", "show", "-n", "1").out.split()[2:] == [b"restore", b"q", b"failure", b"error=incorrect", b"password"]
    for wrong in (["-n", "-1"], ["--since", "yesterday"], ["-n", "x"]):
        tbk.run("tbk-audit", "show", *wrong, status=64)


@pytest.mark.parametrize("detail", ["error=/etc/passwd", "error=ghp_0123456789abcdef", "password=x", "file_count=x", "backup_id=../..", "x"])
def test_no_secret_and_no_path_gets_into_the_log(config, tbk, detail):
    tbk.run("tbk-audit", "append", "--operation", "backup", "--status", "success", "--detail", detail, status=64)
    assert not (config.home / "audit.log").exists()


def test_the_log_can_be_turned_off(config, tbk):
    config("set", "audit_log_enabled", "false")
    tbk.run("tbk-audit", "append", "--operation", "backup", "--status", "success")
    assert not (config.home / "audit.log").exists()
    assert tbk.run("tbk-audit", "show").out == b""


def test_a_cut_tail_and_a_damaged_line_show(config, tbk):
    for _ in range(3):
        tbk.run("tbk-audit", "append", "--operation", "backup", "--status", "success")
    log = config.home / "audit.log"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:2]))
    assert b"cut off" in tbk.run("tbk-audit", "show").err
    log.write_bytes(lines[0] + b"not JSON\x1b[2J\n" + lines[2])
    result = tbk.run("tbk-audit", "show")
    assert len(result.lines) == 2 and b"line 2" in result.err and b"\x1b" not in result.err

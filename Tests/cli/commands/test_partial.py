"""Backups with a missing archive: the content of the others is restored, and the rest is named."""

import json
import os

import pytest
from conftest import BIN, PASSWORD, REPOSITORY, put, snapshot
from shell_fixture import shell  # noqa: F401, fixture
from test_lost import LOSSES, chain, entries, file_of  # noqa: F401, fixtures
from test_termbackup6_store import OldStore, dash, old  # noqa: F401, fixtures


def framed(data):
    """The frames of a chain, as pairs of magic and content."""
    found = []
    while data:
        magic, length = data[:8], int.from_bytes(data[8:16], "big")
        found.append((magic.decode(), data[16:16 + length]))
        data = data[16 + length:]
    return found


def flipped(data):
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.fixture
def gap(chain):  # noqa: F811
    """A store that has lost the base of its last backup."""
    chain.base, chain.last = entries(chain)
    chain.store = chain.home / "store"
    chain.whole = chain.tbk.run("tbk-pull", "--chain", chain.store, "latest").out
    chain.archives = [(chain.store / "backups" / entry["filename"]).read_bytes() for entry in (chain.base, chain.last)]
    file_of(chain, chain.base).unlink()
    return chain


def test_a_chain_says_what_it_holds(gap):
    base, last = gap.archives
    (_, entry), (_, first), (_, older), (magic, second) = framed(gap.whole)
    assert json.loads(entry)["id"] == gap.last["id"] and json.loads(older)["id"] == gap.base["id"]
    assert (first, second, magic) == (last, base, "TBKCHAIN")
    refused = gap.tbk.run("tbk-pull", "--chain", gap.store, "latest", status=66)
    assert b"--partial" in refused.err
    part = gap.tbk.run("tbk-pull", "--chain", "--partial", gap.store, "latest", status=3)
    assert gap.base["filename"].encode() in part.err
    (_, entry), (_, first), (_, older), (_, second) = framed(part.out)
    assert (first, second) == (last, b"")
    assert json.loads(older)["presence"] == {"archive": "missing"} and "presence" not in json.loads(entry)
    copy = gap.tbk.scratch / "copy"
    gap.tbk.run("tbk-pull", "--chain", "--partial", gap.store, "latest", "-o", copy, status=3)
    assert copy.read_bytes() == part.out
    # The requested backup itself must be present.
    gap.tbk.run("tbk-pull", "--chain", "--partial", gap.store, gap.base["id"], status=66)
    for loss in (lambda path: path.write_bytes(flipped(base)), lambda path: path.write_bytes(base[:99])):
        loss(file_of(gap, gap.base))
        done = gap.tbk.run("tbk-pull", "--chain", "--partial", gap.store, "latest", status=3)
        assert json.loads(framed(done.out)[2][1])["presence"] == {"archive": "damaged"}
        assert framed(done.out)[3][1] == b""


def test_what_is_there_is_extracted_and_the_rest_named(gap, tmp_path):
    part = gap.tbk.run("tbk-pull", "--chain", "--partial", gap.store, "latest", status=3).out
    lost = {os.fsdecode(path) for path in gap.tbk.open(gap.archives[0], "--list", "-0").out.split(b"\0") if path}
    refused = gap.tbk.open(part, "--chain", "-C", tmp_path / "out", status=66)
    assert b"--partial" in refused.err and not (tmp_path / "out").exists()
    for input, options, operands in (
            (part, ["--chain"], []), (gap.archives[1], [], []), (None, [], [put(tmp_path / "last", gap.archives[1])])):
        out = tmp_path / f"out {len(options)}{len(operands)}"
        done = gap.tbk.open(input or b"", *options, "--partial", "-C", out, *operands, status=3)
        assert gap.base["id"].encode() in done.err
        assert (out / "second").read_bytes() == b"2" and not any((out / name).is_file() for name in lost)
    report = json.loads(gap.tbk.open(part, "--chain", "--partial", "--verify", "--json", status=3).out)
    assert report["ok"] is False and report["absent"] == [gap.base["id"]] and report["missing"]
    assert gap.tbk.open(part, "--chain", "--partial", "--verify", status=3).out.startswith(b"partial ")
    report = json.loads(gap.tbk.open(
        part, "--chain", "--partial", "-C", tmp_path / "again", "--json", status=3).out)
    assert report["absent"] == [gap.base["id"]] and report["file_count"] == 1
    # Nothing that was selected is missing.
    for options in (["--partial"], []):
        gap.tbk.open(part, "--chain", *options, "--include", "/second", "-C", tmp_path / f"one{len(options)}", status=0)
    shown = gap.tbk.open(part, "--chain", "--partial", "--dry-run", "-C", tmp_path / "none", status=3)
    assert b"create\tsecond\n" in shown.out and not (tmp_path / "none").exists()
    assert gap.tbk.open(gap.archives[1], status=66).out == b""
    tar = gap.tbk.open(gap.archives[1], "--partial", status=3)
    assert b"second" in tar.out and gap.base["id"].encode() in tar.err


@pytest.mark.parametrize("loss", ["missing", "damaged", "short"])
def test_a_base_that_is_lost_is_left_out_by_ranges_too(gap, loss, tmp_path):
    base, _ = gap.archives
    if loss != "missing":
        put(file_of(gap, gap.base), flipped(base) if loss == "damaged" else base[:-1])
    command = ["--from", gap.last["id"]], ["--", BIN / "tbk-pull", "--serve", "-q", gap.store]
    lost = {os.fsdecode(path) for path in gap.tbk.open(base, "--list", "-0").out.split(b"\0") if path}
    if loss == "missing":
        assert b"--partial" in gap.tbk.open(b"", *command[0], "-C", tmp_path / "out", *command[1], status=66).err
    done = gap.tbk.open(b"", *command[0], "--partial", "-C", tmp_path / "out", *command[1], status=3)
    assert gap.base["id"].encode() in done.err
    assert ((tmp_path / "out") / "second").read_bytes() == b"2"
    assert not any((tmp_path / "out" / name).is_file() for name in lost)
    report = json.loads(gap.tbk.open(b"", *command[0], "--partial", "--verify", "--json", *command[1], status=3).out)
    assert report["ok"] is False and report["absent"] == [gap.base["id"]] and report["missing"]
    # The requested backup itself must be present.
    put(file_of(gap, gap.last), b"")
    gap.tbk.open(b"", *command[0], "--partial", "-C", tmp_path / "none", *command[1], status={65, 66})
    assert not (tmp_path / "none").exists()


def test_a_damaged_base_is_one_that_is_not_there(gap, tmp_path):
    base, last = gap.archives
    altered = flipped(gap.whole)
    gap.tbk.open(altered, "--chain", "-C", tmp_path / "out", status=77)
    done = gap.tbk.open(altered, "--chain", "--partial", "-C", tmp_path / "out", status=3)
    assert gap.base["id"].encode() in done.err
    # A truncated chain is refused: more could have followed.
    for length in (len(gap.whole) - 1, len(gap.whole) - len(base) - 5):
        gap.tbk.open(gap.whole[:length], "--chain", "--partial", "-C", tmp_path / "cut", status=65)
    assert not (tmp_path / "cut").exists()
    files = [put(tmp_path / "base", flipped(base)), put(tmp_path / "last", last)]
    gap.tbk.open(b"", "-C", tmp_path / "files", *files, status=77)
    assert b"base" in gap.tbk.open(b"", "--partial", "-C", tmp_path / "files", *files, status=3).err


def test_what_an_archive_of_termbackup_6_lost_is_named_where_many_are_verified(tbk):
    vectors = REPOSITORY / "Tests" / "Vectors" / "archives"
    facts = (vectors / "termbackup6_vanished_file.txt").read_text()
    password = bytes.fromhex(facts.split("password: ")[1].split()[0])
    done = tbk.run("tbk-open", "--verify", "--each", vectors / "termbackup6_vanished_file.tbk", password=password + b"\n", status=3)
    assert done.lines[0].startswith("ok\t") and b"'gone'" in done.err


@pytest.mark.parametrize("arguments", [["--header"], ["--cat", "x"], ["--raw"], ["--mbu-config", "x"]])
def test_what_has_no_parts_has_no_option_for_them(tbk, arguments):
    tbk.open(b"", "--partial", *arguments, status=64)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_verb_restores_what_is_there(chain, tmp_path, loss):  # noqa: F811
    base, last = entries(chain)
    LOSSES[loss](file_of(chain, base))
    refused = chain.run("restore", "latest", "-p", "p", "--to", tmp_path / "out",
                        status=65 if loss == "cut" else 66)
    assert b"--partial" in refused.stderr and not (tmp_path / "out").exists()
    done = chain.run("restore", "latest", "-p", "p", "--to", tmp_path / "out", "--partial", status=3)
    assert (tmp_path / "out" / "second").read_bytes() == b"2" and base["id"].encode() in done.stderr
    done = json.loads(chain.run(
        "restore", "latest", "-p", "p", "--to", tmp_path / "json", "--partial", "--json", status=3).stdout)
    assert done["status"] == "partial" and done["file_count"] == 1
    assert b"second" in chain.run(
        "restore", "latest", "-p", "p", "--to", tmp_path / "dry", "--partial", "--dry-run", status=3).stdout
    chain.run("restore", base["id"][:12], "-p", "p", "--to", tmp_path / "base", "--partial",
              status=65 if loss == "cut" else 66)


@pytest.mark.parametrize("drop", [True, False], ids=["pruned", "lost"])
def test_what_termbackup_6_left_of_a_chain_comes_back(old, tmp_path, drop):  # noqa: F811
    first = old.entries[0]
    (old.path / "backups" / first["filename"]).unlink()
    del old.files[f"backups/{first['filename']}"]
    if drop:
        del old.entries[0]
        old.write()
    target = tmp_path / "out"
    refused = old.shell.run("restore", old.ids[2], "-p", "o", "--to", target, status=66)
    assert b"--partial" in refused.stderr and first["id"][:12].encode() in refused.stderr and not target.exists()
    done = old.shell.run("restore", old.ids[2], "-p", "o", "--to", target, "--partial", status=3)
    assert first["id"].encode() in done.stderr
    found = {path.relative_to(target).as_posix(): path.read_bytes() for path in target.rglob("*") if path.is_file()}
    assert found == {"plain": b"changed\n", "new": b"new\n", "d/inside": b"changed too\n"}
    assert snapshot(target)
    report = json.loads(old.shell.run(
        "restore", old.ids[2], "-p", "o", "--to", tmp_path / "json", "--partial", "--json", status=3).stdout)
    assert report["status"] == "partial" and report["file_count"] == 3
    error = json.loads(old.shell.run(
        "restore", old.ids[2], "-p", "o", "--to", tmp_path / "no", "--json", status=66).stderr.splitlines()[-1])
    assert "--partial" in error["error"]["hint"]


def test_what_is_older_than_a_gap_is_left_out(old, tmp_path):  # noqa: F811
    first, _, third = [put(tmp_path / str(number), old.files[f"backups/{entry['filename']}"])
                       for number, entry in enumerate(old.entries)]
    tbk = old.shell.tbk
    tbk.open(b"", "-C", tmp_path / "out", first, third, status=65, password=PASSWORD)
    done = tbk.open(b"", "--partial", "-C", tmp_path / "out", first, third, status=3, password=PASSWORD)
    assert old.ids[1].encode() in done.err and f"{old.ids[0]} is left out".encode() in done.err
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == ["inside"]
    assert b"inside" in tbk.open(b"", "--partial", "--list", first, third, status=3, password=PASSWORD).out

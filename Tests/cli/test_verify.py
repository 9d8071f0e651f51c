"""termbackup verify: which backups it reads, what it notes in the ledger, and what it leaves."""

import json
import os
import shutil

import pytest
from conftest import BIN, FAST, put, require, snapshot
from github_fixture import github, github_server  # noqa: F401, fixtures
from test_rotate import wrapped
from test_shell_layer import Shell
from test_signed_ledger import KEY_PASSWORD, check_ledger, ledger_of

BACKUPS = 3


@pytest.fixture
def plain_shell(tbk, tmp_path):
    require("dash")
    return Shell(tbk, tmp_path, ["dash"])


@pytest.fixture(params=["dash", "busybox"])
def any_shell(request, tbk, tmp_path):
    require(request.param)
    return Shell(tbk, tmp_path, {"dash": ["dash"], "busybox": ["busybox", "sh"]}[request.param])


def fill(shell, source, *fields, backups=BACKUPS):
    """Makes a profile p with backups. Returns their ids."""
    shell.profile("p", source, *fields)
    for number in range(backups):
        put(os.path.join(source, f"file {number}"), b"%d\n" % number)
        shell.run("run", "p")
    return [json.loads(line)["id"] for line in shell.run("list", "p", "--json").stdout.splitlines()]


def verified(shell):
    """What the list says of each backup, in its order."""
    return [line.split()[-1] for line in shell.run("list", "p").stdout.decode().splitlines()[1:]]


# Which


def test_a_sample_is_as_large_as_it_says_and_names_what_it_took(any_shell, small):
    ids = fill(any_shell, small)
    for sample, wanted in (("1", 1), ("2", 2), ("7", 3), ("999999999", 3), ("1%", 1), ("33%", 1), ("34%", 2),
                           ("67%", 3), ("100%", 3)):
        report = json.loads(any_shell.run("verify", "--sample", sample, "-p", "p", "--json", "--no-mark").stdout)
        taken = report["ids"]
        assert len(taken) == wanted == report["checked_count"] and report["failures"] == [], sample
        assert taken == [id for id in ids if id in taken], "each once, oldest first"
    done = any_shell.run("verify", "--sample=50%", "-pp", "--no-mark")
    lines = done.stdout.decode().splitlines()
    assert lines[-1] == "2 of 2 backups hold"
    named = [line.split()[1] for line in lines[:-1]]
    assert f"2 of 3 backups: {' '.join(named)}\n" in done.stderr.decode()


def test_a_sample_is_another_one_each_time(plain_shell, small):
    ids = fill(plain_shell, small)
    seen = set()
    # One of three stays untaken in 60 draws once in 10 000 000 000.
    for _ in range(60):
        if seen == set(ids):
            break
        seen.update(json.loads(plain_shell.run(
            "verify", "--sample", "1", "-p", "p", "--json", "--no-mark").stdout)["ids"])
    assert seen == set(ids)


@pytest.mark.parametrize("arguments", [
    [], ["--sample"], ["--sample", "0"], ["--sample", "0%"], ["--sample", "101%"], ["--sample", "-1"], ["--sample", "%"],
    ["--sample", "10%%"], ["--sample", "1.5%"], ["--sample", "08"], ["--sample", "9999999999"], ["--sample", "1", "latest"],
    ["--sample", "1", "--all"], ["--all", "latest"], ["--no-mark=yes", "latest"]])
def test_contradictions_are_wrong_usage(arguments, plain_shell, small):
    plain_shell.profile("p", small)
    plain_shell.run("verify", *arguments, "-p", "p", status=64)


def test_a_sample_of_nothing_is_no_answer(plain_shell, small):
    plain_shell.profile("p", small)
    assert b"has no backups" in plain_shell.run("verify", "--sample", "10%", "-p", "p", status=69).stderr


# The mark


def test_what_holds_is_marked_in_one_step(any_shell, small):
    ids = fill(any_shell, small)
    before = ledger_of(any_shell)
    assert verified(any_shell) == ["no", "no", "no"]
    assert json.loads(any_shell.run("verify", ids[0], "-p", "p", "--json").stdout)["marked_count"] == 1
    assert verified(any_shell) == ["yes", "no", "no"]
    assert json.loads(any_shell.run("verify", "--all", "-p", "p", "--json").stdout)["marked_count"] == 3
    after = ledger_of(any_shell)
    assert verified(any_shell) == ["yes", "yes", "yes"] and after["sequence"] == before["sequence"] + 2
    times = [entry["verified_at"] for entry in after["backups"]]
    assert all(time.endswith("+00:00") for time in times) and len(set(times)) == 1
    # Nothing else has changed.
    for entry in after["backups"]:
        entry.update(verified=False, verified_at=None)
    assert after["backups"] == before["backups"]


def test_nothing_is_marked_where_that_is_not_wanted(plain_shell, small):
    fill(plain_shell, small)
    before = snapshot(plain_shell.home / "store")
    report = json.loads(plain_shell.run("verify", "--all", "-p", "p", "--no-mark", "--json").stdout)
    assert report["marked_count"] == 0 and report["checked_count"] == BACKUPS
    assert snapshot(plain_shell.home / "store") == before


def test_what_is_replaced_or_removed_while_it_is_read_is_not_marked(plain_shell, small, tmp_path):
    """Another machine's rotation and prune, between the last read and the mark."""
    ids = fill(plain_shell, small)
    store = plain_shell.home / "store"
    ours = plain_shell.lib
    plain_shell.lib = wrapped(tmp_path, f"""
        case "$*" in *tbk-push*--mark-verified*)
            set -- tbk-push "$@"
            '{BIN}/tbk-pull' -q '{store}' {ids[0]} | '{BIN}/tbk-seal' -q --reseal {" ".join(FAST)} \\
                --old-password-file '{plain_shell.tbk.password_file}' --password-file '{plain_shell.tbk.password_file}' |
                '{BIN}/tbk-push' -q '{store}' --replace {ids[0]} >/dev/null
            '{BIN}/tbk-push' -q '{store}' --remove {ids[2]} >/dev/null
            shift ;;
        esac""")
    report = json.loads(plain_shell.run("verify", "--all", "-p", "p", "--json").stdout)
    plain_shell.lib = ours
    assert (report["checked_count"], report["failures"], report["marked_count"]) == (3, [], 1)
    assert verified(plain_shell) == ["no", "yes"]


@pytest.mark.parametrize("operand", ["{id}", "{id}:", "{id}:{id}:{id}", ":{id}", "{short}:{id}", "latest:{id}"])
def test_a_mark_names_an_archive(operand, plain_shell, small):
    id, _, _ = fill(plain_shell, small)
    before = snapshot(plain_shell.home / "store")
    plain_shell.tbk.run("tbk-push", plain_shell.home / "store", "--mark-verified",
                        operand.format(id=id, short=id[:12]), status=64)
    assert plain_shell.tbk.run("tbk-push", plain_shell.home / "store", "--mark-verified", f"{id}:{id}").out == b""
    assert snapshot(plain_shell.home / "store") == before


def test_what_does_not_hold_is_not_marked(plain_shell, small):
    ids = fill(plain_shell, small)
    archive = plain_shell.home / "store" / "backups" / ledger_of(plain_shell)["backups"][1]["filename"]
    archive.chmod(0o600)
    archive.write_bytes(archive.read_bytes()[:-1] + b"\0\0")
    report = json.loads(plain_shell.run("verify", "--all", "-p", "p", "--json", status=1).stdout)
    assert (report["checked_count"], report["marked_count"]) == (3, 2)
    assert [entry["id"] for entry in report["failures"]] == [ids[1]]
    assert verified(plain_shell) == ["yes", "no", "yes"]
    before = snapshot(plain_shell.home / "store")
    plain_shell.run("verify", ids[1], "-p", "p", status=1)
    assert snapshot(plain_shell.home / "store") == before


def test_a_signed_ledger_stays_signed(any_shell, small):
    any_shell.run("init")
    any_shell.run("generate-key", "--enable")
    fill(any_shell, small)
    done = any_shell.run("verify", "--all", "-p", "p", "--require-signature")
    assert done.stdout.count(b"  signed\n") == BACKUPS
    assert all(entry["verified"] for entry in check_ledger(any_shell)["backups"])
    assert verified(any_shell) == ["yes"] * BACKUPS


def test_the_password_of_the_key_is_taken_from_where_it_is_given(plain_shell, small, tmp_path):
    file = os.fsdecode(put(tmp_path / "key password", KEY_PASSWORD))
    plain_shell.run("init")
    plain_shell.run("generate-key", "--enable", "--key-password-file", file)
    plain_shell.environment["TERMBACKUP_KEY_PASSWORD_FILE"] = file
    fill(plain_shell, small)
    del plain_shell.environment["TERMBACKUP_KEY_PASSWORD_FILE"]
    done = plain_shell.run("verify", "latest", "-p", "p")
    assert b"warning: what holds could not be marked" in done.stderr and b"does not open the key" in done.stderr
    assert verified(plain_shell) == ["no"] * BACKUPS
    assert b"warning" not in plain_shell.run("verify", "latest", "-p", "p", "--key-password-file", file).stderr
    assert verified(plain_shell) == ["no", "no", "yes"]
    check_ledger(plain_shell)


def test_a_reader_without_a_key_has_its_answer_and_a_warning(plain_shell, small):
    plain_shell.run("init")
    plain_shell.run("generate-key", "--enable")
    fill(plain_shell, small)
    plain_shell.tbk.run("tbk-config", "set", "signing_enabled", "false")
    before = snapshot(plain_shell.home / "store")
    done = plain_shell.run("verify", "--all", "-p", "p")
    assert b"warning: what holds could not be marked" in done.stderr and b"is signed" in done.stderr
    assert b"error:" not in done.stderr and b"3 of 3 backups hold" in done.stdout
    report = plain_shell.run("verify", "--all", "-p", "p", "--json")
    assert json.loads(report.stdout)["marked_count"] == 0 and b"warning" in report.stderr
    assert b"warning" not in plain_shell.run("verify", "--all", "-p", "p", "--no-mark").stderr
    assert snapshot(plain_shell.home / "store") == before


def test_a_ledger_of_termbackup_6_stays_as_it_is(plain_shell, small):
    ids = fill(plain_shell, small)
    path = plain_shell.home / "store" / "metadata.json"
    ledger = json.loads(path.read_text())
    for name in ("store_id", "sequence", "history", "groups"):
        del ledger[name]
    for entry in ledger["backups"]:
        for name in ("mode", "depends_on", "group", "manifest"):
            entry.pop(name, None)
    path.write_text(json.dumps(ledger))
    profile = plain_shell.home / "profiles" / "p.json"
    settings = json.loads(profile.read_text())
    del settings["group"]
    profile.write_text(json.dumps(settings))
    # That the ledger had more before is known there.
    shutil.rmtree(plain_shell.home / "state")
    before = path.read_bytes()
    done = plain_shell.run("verify", ids[0], "-p", "p")
    assert b"stays as it is" in done.stderr and b"warning" not in done.stderr
    assert path.read_bytes() == before


# On a store that is far away


@pytest.fixture
def far(github, tbk, tmp_path, small):  # noqa: F811
    """A shell whose profile p has two backups on the stand-in for GitHub."""
    require("dash")
    shell = Shell(tbk, tmp_path, ["dash"])
    shell.environment.update(github.environment)
    shell.run("init")
    shell.run("generate-key", "--enable")
    shell.github = github
    fill(shell, small, "--repo", github.address, backups=2)
    github.clear_log()
    return shell


def test_a_signed_archive_is_fetched_once(far):
    done = far.run("verify", "--all", "-p", "p", "--no-mark")
    assert done.stdout.count(b"  signed\n") == 2
    fetched = [entry["path"] for entry in far.github.log() if "/backups/backup_" in entry["path"]]
    assert len(fetched) == len(set(fetched)) == 2


def test_a_store_that_takes_nothing_is_a_warning(far):
    far.github.fault(method="POST|PATCH|PUT", path="", status=403, times=-1,
                     body='{"message": "Resource not accessible by personal access token"}')
    done = far.run("verify", "--all", "-p", "p")
    assert b"warning: what holds could not be marked" in done.stderr and b"2 of 2 backups hold" in done.stdout
    far.github.clear_faults()
    assert verified(far) == ["no", "no"]
    far.run("verify", "--all", "-p", "p")
    assert verified(far) == ["yes", "yes"]

"""termbackup verify: which backups it reads, what it records in the ledger, and what it leaves unchanged."""

import json
import os
import re
import shutil
import subprocess

import pytest
from conftest import BIN, FAST, put, require, snapshot
from github_fixture import github, github_server  # noqa: F401, fixtures
from shell_fixture import (
    Shell,
    shell,  # noqa: F401
)
from test_partial import flipped
from test_rotate_key import wrapped
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
    """Creates a profile p with backups. Returns their ids."""
    shell.profile("p", source, *fields)
    for number in range(backups):
        put(os.path.join(source, f"file {number}"), b"%d\n" % number)
        shell.run("run", "p")
    return [json.loads(line)["id"] for line in shell.run("list", "p", "--json").stdout.splitlines()]


def verified(shell):
    """The state of each backup in the output of list, in order."""
    return [line.split()[-1] for line in shell.run("list", "p").stdout.decode().splitlines()[1:-1]]


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
    assert lines[-1] == "2 of 2 backups verified"
    named = [line.split()[1] for line in lines[:-1]]
    assert f"2 of 3 backups: {' '.join(named)}\n" in done.stderr.decode()


def test_a_sample_is_another_one_each_time(plain_shell, small):
    ids = fill(plain_shell, small)
    seen = set()
    # The probability that 60 draws miss one of three is 1 in 10 000 000 000.
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
    """Another machine rotates and prunes between the last read and the mark."""
    ids = fill(plain_shell, small)
    store = plain_shell.home / "store"
    ours = plain_shell.lib
    plain_shell.lib = wrapped(tmp_path, f"""
        case "$*" in "tbk-store mark"*)
            set -- tbk-store "$@"
            '{BIN}/tbk-pull' -q '{store}' {ids[0]} | '{BIN}/tbk-seal' reseal -q {" ".join(FAST)} \\
                --old-password-file '{plain_shell.tbk.password_file}' --password-file '{plain_shell.tbk.password_file}' |
                '{BIN}/tbk-store' replace -q '{store}' {ids[0]} >/dev/null
            '{BIN}/tbk-store' remove -q '{store}' {ids[2]} >/dev/null
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
    plain_shell.tbk.run("tbk-store", "mark", plain_shell.home / "store",
                        operand.format(id=id, short=id[:12]), status=64)
    assert plain_shell.tbk.run("tbk-store", "mark", plain_shell.home / "store", f"{id}:{id}").out == b""
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
    assert b"warning: verified backups could not be marked" in done.stderr and b"does not open the key" in done.stderr
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
    assert b"warning: verified backups could not be marked" in done.stderr and b"is signed" in done.stderr
    assert b"error:" not in done.stderr and b"3 of 3 backups verified" in done.stdout
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
    # Otherwise the state would show that the ledger was changed.
    shutil.rmtree(plain_shell.home / "state")
    before = path.read_bytes()
    done = plain_shell.run("verify", ids[0], "-p", "p")
    assert b"stays as it is" in done.stderr and b"warning" not in done.stderr
    assert path.read_bytes() == before


@pytest.fixture
def far(github, tbk, tmp_path, small):  # noqa: F811
    """A shell with a profile p, which has two backups on the stand-in for GitHub."""
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
    assert b"warning: verified backups could not be marked" in done.stderr and b"2 of 2 backups verified" in done.stdout
    far.github.clear_faults()
    assert verified(far) == ["no", "no"]
    far.run("verify", "--all", "-p", "p")
    assert verified(far) == ["yes", "yes"]


def test_each_archive_of_a_chain_is_read_once(plain_shell, small, tmp_path):
    require("strace")
    trace = tmp_path / "trace"
    strace = ["strace", "-f", "-qq", "-y", "-s", "4096", "-e", "trace=open,openat", "-o", str(trace)]
    if subprocess.run([*strace, "true"], capture_output=True).returncode:
        pytest.skip("strace may not look on here")
    ids = fill(plain_shell, small, "--mode", "incremental", backups=4)
    assert [len(entry["depends_on"]) for entry in ledger_of(plain_shell)["backups"]] == [0, 1, 2, 3]
    interpreter = plain_shell.interpreter
    plain_shell.interpreter = [*strace, *interpreter]
    report = json.loads(plain_shell.run("verify", "--all", "-p", "p", "--json", "--no-mark").stdout)
    plain_shell.interpreter = interpreter
    assert report["ids"] == ids and report["failures"] == []
    names = {entry["filename"] for entry in ledger_of(plain_shell)["backups"]}
    text = trace.read_text(errors="replace")
    for name in names:
        # The end of a call: strace splits a call into two lines if another thread makes one in between.
        opened = [line for line in text.splitlines() if re.search(rf" = \d+<[^>]*/{re.escape(name)}>$", line)]
        assert len(opened) == 1, opened


def test_a_damaged_base_is_named_by_those_that_need_it(plain_shell, small):
    ids = fill(plain_shell, small, "--mode", "incremental", backups=3)
    base, middle, last = ledger_of(plain_shell)["backups"]
    file = plain_shell.home / "store" / "backups" / base["filename"]
    file.chmod(0o600)
    sound = file.read_bytes()
    for bytes, reason in ((flipped(sound), "corrupt or incomplete"), (None, "missing from the store")):
        if bytes is None:
            file.unlink()
        else:
            file.write_bytes(bytes)
        done = plain_shell.run("verify", "--all", "-p", "p", "--json", status=1)
        report = json.loads(done.stdout)
        assert report["checked_count"] == 3 and report["marked_count"] == 0
        reasons = {entry["id"]: entry["reason"] for entry in report["failures"]}
        assert reasons[ids[0]] == reason
        assert all(reasons[id].startswith(f"depends on {base['id'][:12]}") for id in ids[1:])
        # The others are not reported.
        report = json.loads(plain_shell.run("verify", ids[2], "-p", "p", "--json", status=1).stdout)
        assert [entry["id"] for entry in report["failures"]] == [ids[2]]
    file.write_bytes(sound)
    (plain_shell.home / "store" / "backups" / middle["filename"]).unlink()
    report = json.loads(plain_shell.run("verify", "--all", "-p", "p", "--json", status=1).stdout)
    assert [entry["id"] for entry in report["failures"]] == ids[1:] and report["marked_count"] == 1


def test_a_damaged_sealed_manifest_is_found(plain_shell, small):
    fill(plain_shell, small, "--mode", "incremental", backups=2)
    sealed = plain_shell.home / "store" / "manifests" / ledger_of(plain_shell)["backups"][0]["manifest"]["filename"]
    sealed.chmod(0o600)
    sealed.write_bytes(flipped(sealed.read_bytes()))
    report = json.loads(plain_shell.run("verify", "--all", "-p", "p", "--json", "--no-mark", status=1).stdout)
    assert [entry["reason"] for entry in report["failures"]] == ["its sealed manifest is missing or damaged"]


def test_a_run_does_without_a_damaged_manifest(plain_shell, small):
    first, second = fill(plain_shell, small, "--mode", "incremental", backups=2)
    sealed = plain_shell.home / "store" / "manifests" / ledger_of(plain_shell)["backups"][1]["manifest"]["filename"]
    sealed.chmod(0o600)
    sealed.write_bytes(flipped(sealed.read_bytes()))
    shutil.rmtree(plain_shell.home / "cache", ignore_errors=True)
    assert b"added\tfile 1\n" in plain_shell.run("diff", first, second, "-p", "p", status=1).stdout
    put(os.path.join(small, "later"), b"later")
    assert b"warning: the sealed manifest" in plain_shell.run("run", "p").stderr
    assert ledger_of(plain_shell)["backups"][2]["mode"] == "full"


@pytest.mark.parametrize("loss", ["damaged", "missing"])
def test_a_sealed_manifest_is_made_anew_from_its_archive(any_shell, small, loss):
    fill(any_shell, small, "--mode", "incremental", backups=2)
    store = any_shell.home / "store"
    entry = ledger_of(any_shell)["backups"][1]
    sealed = store / "manifests" / entry["manifest"]["filename"]
    sealed.chmod(0o600)
    if loss == "damaged":
        sealed.write_bytes(flipped(sealed.read_bytes()))
    else:
        sealed.unlink()
    any_shell.run("verify", "latest", "-p", "p", "--no-mark", status=1)
    done = any_shell.run("verify", "--all", "-p", "p")
    assert entry["id"][:12].encode() in done.stderr and b"2 of 2 backups verified" in done.stdout
    new = ledger_of(any_shell)["backups"][1]
    assert new["manifest"] != entry["manifest"] and new["verified"]
    assert {name: new[name] for name in ("id", "sha256", "filename", "signature")} == {
        name: entry[name] for name in ("id", "sha256", "filename", "signature")}
    assert not sealed.exists()
    assert any_shell.tbk.open((store / "manifests" / new["manifest"]["filename"]).read_bytes(), "--manifest").out == \
        any_shell.tbk.open((store / "backups" / new["filename"]).read_bytes(), "--manifest").out
    assert any_shell.run("verify", "--all", "-p", "p").stderr.count(b"sealed manifest") == 0
    shutil.rmtree(any_shell.home / "cache", ignore_errors=True)
    put(os.path.join(small, "later"), b"later")
    any_shell.run("run", "p")
    assert ledger_of(any_shell)["backups"][2]["mode"] == "incremental"


def test_a_manifest_is_replaced_where_the_archive_is_the_one_it_was_made_from(plain_shell, small):
    ids = fill(plain_shell, small, backups=2)
    tbk, store = plain_shell.tbk, plain_shell.home / "store"
    archive = tbk.run("tbk-pull", store, ids[0]).out
    sealed = tbk.run("tbk-seal", "manifest", *FAST, "--expect-id", ids[0], input=archive).out
    assert tbk.open(sealed, "--manifest").out == tbk.open(archive, "--manifest").out
    tbk.open(sealed, "--verify", status=65)
    tbk.run("tbk-seal", "manifest", *FAST, "--expect-id", ids[1], input=archive, status=65)
    tbk.run("tbk-seal", "manifest", *FAST, input=archive, password=b"wrong", status=77)
    tbk.run("tbk-store", "replace-manifest", store, f"{ids[0]}:{ids[1]}", input=sealed, status=75)
    tbk.run("tbk-store", "replace-manifest", store, "0f" * 32, input=sealed, status=69)
    tbk.run("tbk-store", "replace-manifest", store, ids[0], input=sealed[:-1], status=65)
    tbk.run("tbk-store", "replace-manifest", store, f"{ids[0]}:x", input=sealed, status=64)
    tbk.run("tbk-store", "replace-manifest", store, ids[0], ids[0], input=sealed, status=64)
    tbk.run("tbk-store", "replace-manifest", store, ids[0], input=sealed)
    assert tbk.run("tbk-pull", store, "--manifest", ids[0]).out == sealed
    assert b"already" in tbk.run("tbk-store", "replace-manifest", store, ids[0], input=sealed).err
    for wrong in (["."], ["--receipt", "r"], ["--group", "g"], ["--level", "3"], ["--manifest-out", "m"]):
        tbk.run("tbk-seal", "manifest", *wrong, input=archive, status=64)


def test_the_commands_verify_many_without_a_verb(plain_shell, small, tmp_path):
    fill(plain_shell, small, "--mode", "incremental", backups=3)
    tbk, store = plain_shell.tbk, plain_shell.home / "store"
    entries = ledger_of(plain_shell)["backups"]
    ids = [entry["id"] for entry in entries]
    stream = tbk.run("tbk-pull", store, "--each").out
    lines = tbk.open(stream, "--verify", "--each").out.decode().splitlines()
    assert [line.split("\t")[:2] for line in lines] == [["ok", id] for id in ids]
    assert all(line.split("\t")[4:] == ["whole", "none", "-", "-"] for line in lines)
    objects = [json.loads(line) for line in tbk.open(stream, "--verify", "--each", "--json").lines]
    assert [entry["result"] for entry in objects] == ["ok"] * 3 and [entry["manifest"] for entry in objects] == ["whole"] * 3
    # Only the requested backup is reported, though those it needs are read, too.
    for arguments in ([ids[2]], [ids[2][:12]], ["latest"], ["--ids", put(tmp_path / "ids", f"{ids[2]}\tx\n".encode())]):
        stream = tbk.run("tbk-pull", store, "--each", *arguments).out
        assert [line.split("\t")[1] for line in tbk.open(stream, "--verify", "--each").lines] == [ids[2]]
    gone = put(tmp_path / "ids", f"{'0f' * 32}\n{ids[0]}\n".encode())
    stream = tbk.run("tbk-pull", store, "--each", "--ids", gone, status=3).out
    assert [line.split("\t")[0] for line in tbk.open(stream, "--verify", "--each", status=1).lines] == ["ok", "missing"]
    assert tbk.run("tbk-pull", store, "--each", "--ids", put(tmp_path / "none", b"")).out == b""
    # Archives in files, oldest first.
    files = [store / "backups" / entry["filename"] for entry in entries]
    assert [line.split("\t")[0] for line in tbk.open(b"", "--verify", "--each", *files).lines] == ["ok"] * 3
    assert [line.split("\t")[0] for line in tbk.open(b"", "--verify", "--each", *files[1:], status=1).lines] == ["depends"] * 2
    broken = put(tmp_path / "broken", flipped(files[0].read_bytes()))
    assert [line.split("\t")[0] for line in tbk.open(
        b"", "--verify", "--each", broken, *files[1:], status=1).lines] == ["altered", "depends", "depends"]
    for wrong in (["--each"], ["--each", "--list"], ["--each", "--verify", "--chain"], ["--each", "--verify", "--partial"],
                  ["--each", "--verify", "--expect-id", ids[0]]):
        tbk.open(b"", *wrong, status=64)
    for wrong in (["--each", "--chain"], ["--ids", "x", "latest"], ["latest", ids[0]], ["--each", "--list"]):
        tbk.run("tbk-pull", store, *wrong, status=64)


def test_a_signature_that_does_not_hold_is_found(plain_shell, small):
    plain_shell.run("init")
    plain_shell.run("generate-key", "--enable")
    fill(plain_shell, small, backups=2)
    store = plain_shell.home / "store"
    assert [line.split("\t")[5] for line in plain_shell.tbk.open(
        plain_shell.tbk.run("tbk-pull", store, "--each").out, "--verify", "--each").lines] == ["holds"] * 2
    done = plain_shell.run("verify", "--all", "-p", "p", "--no-mark")
    assert done.stdout.count(b"  signed\n") == 2


def test_verify_says_what_does_not_hold(shell, small):
    shell.profile("docs", small)
    shell.run("run", "docs")
    put(os.path.join(small, "more"), b"more\n")
    shell.run("run", "docs")
    assert shell.run("verify", "--all", "-p", "docs").stdout.decode().splitlines()[-1] == "2 of 2 backups verified"
    first, second = shell.ids("docs")
    archive = shell.home / "store" / "backups" / f"backup_{first}.tbk"
    archive.chmod(0o600)
    data = bytearray(archive.read_bytes())
    data[-1] ^= 1
    archive.write_bytes(data)
    shown = shell.run("verify", "--all", "-p", "docs", status=1).stdout.decode()
    assert f"FAILED  {first}" in shown and f"ok      {second}" in shown
    report = json.loads(shell.run("verify", first, "-p", "docs", "--json", status=1).stdout)
    assert report["checked_count"] == 1 and report["failures"][0]["id"].startswith(first)
    (shell.home / "store" / "backups" / f"backup_{second}.tbk").unlink()
    assert b"missing" in shell.run("verify", second, "-p", "docs", status=1).stdout

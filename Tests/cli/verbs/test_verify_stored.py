"""termbackup verify --stored, which needs no secret, and --restore, which writes, compares and removes."""

import json
import os
import pathlib
import re
import signal
import subprocess
import time

import pytest
from conftest import BIN, PASSWORD, PATIENCE, put
from shell_fixture import Shell, shell  # noqa: F401
from test_blind import blind, grow, run, sealed_identity  # noqa: F401
from test_rotate_key import wrapped


def entries(shell):  # noqa: F811
    return json.loads((shell.home / "store" / "metadata.json").read_bytes())["backups"]


def archive(shell, number):  # noqa: F811
    return shell.home / "store" / "backups" / entries(shell)[number]["filename"]


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def audited(shell):  # noqa: F811
    lines = [json.loads(line) for line in (shell.home / "audit.log").read_text().splitlines()]
    return [(line["status"], line["details"]) for line in lines if line["operation"] == "verify"]


def stored(shell, *words, **options):  # noqa: F811
    options.setdefault("password", None)
    return shell.run("verify", "--stored", "-p", "docs", "--no-input", *words, **options)


@pytest.fixture
def two(blind, small):  # noqa: F811
    grow(small, "second")
    run(blind)
    return blind


def test_without_a_secret_what_is_stored_is_compared_with_the_ledger(two):
    assert b"2 of 2 backups verified" in stored(two).stdout
    told = json.loads(stored(two, "--json").stdout)
    assert (told["checked_count"], told["marked_count"], told["failures"]) == (2, 0, [])
    assert told["ids"] == [entry["id"] for entry in entries(two)] and "group_failures" not in told
    assert not any(entry["verified"] for entry in entries(two))
    assert [status for status, _ in audited(two)] == ["success"] * 4
    assert json.loads(stored(two, "latest", "--json").stdout)["ids"] == [entries(two)[1]["id"]]
    assert json.loads(stored(two, "--sample", "1", "--json").stdout)["checked_count"] == 1


def test_a_changed_byte_is_named_with_what_depends_on_it(two):
    flip(archive(two, 0), -5)
    first, second = [entry["id"] for entry in entries(two)]
    said = stored(two, status=1).stdout
    assert f"FAILED  {first[:12]}  its archive has other bytes than in the ledger".encode() in said
    assert f"FAILED  {second[:12]}  depends on {first[:12]}, missing or damaged in the store".encode() in said
    assert b"0 of 2 backups verified" in said
    assert [status for status, _ in audited(two)] == ["failure"] * 2
    told = json.loads(stored(two, "latest", "--json", status=1).stdout)
    assert [failure["id"] for failure in told["failures"]] == [second]


@pytest.mark.parametrize("how", ["cut", "gone", "manifest"])
def test_what_is_cut_or_gone_is_named(two, how):
    path = archive(two, 1)
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    elif how == "gone":
        path.unlink()
    else:
        path = two.home / "store" / "manifests" / entries(two)[1]["manifest"]["filename"]
        flip(path, 200)
    reason = {"cut": b"its archive has another size", "gone": b"its archive is missing", "manifest": b"its sealed manifest has other"}
    said = stored(two, status=1).stdout
    assert reason[how] in said and b"1 of 2 backups verified" in said
    # The other backup alone is whole.
    assert stored(two, entries(two)[0]["id"]).stdout == f"ok      {entries(two)[0]['id'][:12]}\n".encode() + b"1 of 1 backups verified\n"


def test_a_sealed_identity_that_was_changed_is_named(two):
    flip(sealed_identity(two), -1)
    said = stored(two, status=1).stdout
    assert b"the sealed identity has other bytes than in the ledger" in said and b"2 of 2 backups verified" in said
    told = json.loads(stored(two, "--json", status=1).stdout)
    assert told["failures"] == [] and told["group_failures"] == ["the sealed identity has other bytes than in the ledger"]


def test_a_store_that_is_not_there_is_no_answer(two):
    (two.home / "store").rename(two.home / "away")
    stored(two, status=69)


def test_options_that_do_not_go_together_are_refused(two):
    for words in (["--stored", "--restore"], ["--restore", "--all"], ["--stored", "--all", "--sample", "1"], []):
        two.run("verify", "-p", "docs", *words, status=64)


# A trial restore


def tried(shell, *words, **options):  # noqa: F811
    return shell.run("verify", "--restore", "-p", "docs", *words, **options)


def test_a_trial_restore_writes_compares_and_removes(two, small):
    said = tried(two)
    assert re.search(rb"^ok      [0-9a-f]{12}\nrestored and compared \d+ files?, ", said.stdout, re.MULTILINE), said.stdout
    files = sum(1 for path in pathlib.Path(os.fsdecode(small)).rglob("*") if path.is_file() and not path.is_symlink())
    told = json.loads(tried(two, "--json").stdout)
    assert told["restored_count"] == files and told["failures"] == [] and told["marked_count"] == 0
    assert told["ids"] == [entries(two)[1]["id"]]
    told = json.loads(tried(two, "--json", "--sample", "1", entries(two)[0]["id"]).stdout)
    assert told["restored_count"] <= 1 and told["ids"] == [entries(two)[0]["id"]]
    assert [status for status, _ in audited(two)] == ["success"] * 3
    tried(two, password=b"another", status=77)
    tried(two, "--no-input", password=None, status=64)


def test_a_trial_restore_reads_no_more_than_it_needs(blind, tmp_path):  # noqa: F811
    for number in range(40):
        put(tmp_path / "many" / f"{number}", os.urandom(1 << 20))
    blind.run("profile", "create", "many", "--source", tmp_path / "many", "--repo", blind.home / "store")
    blind.run("generate-identity", "many")
    blind.run("run", "many", "--no-input", password=None)
    blind.lib = wrapped(tmp_path, f"""
        case "$*" in *--serve*)
            shift
            '{BIN}/tbk-pull' "$@" | tee -a '{tmp_path}/served'
            exit ;;
        esac""", ["tbk-pull"])
    done = blind.run("verify", "--restore", "--sample", "1", "-p", "many", "--json")
    assert json.loads(done.stdout)["restored_size"] == 1 << 20
    # A few frames: around the file, the table and the manifest.
    assert 1 << 20 < (tmp_path / "served").stat().st_size < 12 << 20


def test_what_differs_after_a_trial_restore_is_named(two, tmp_path, small):
    """Like a file system that alters what is written; here a wrapper reports a difference."""
    script = f"""
        case "$*" in *--trial*)
            shift
            '{BIN}/tbk-open' "$@"
            status=$?
            printf 'content\\tsecond\\n'
            exit $((status + 1)) ;;
        esac"""
    two.lib = wrapped(tmp_path, script, ["tbk-open"])
    said = tried(two, status=1)
    assert b"FAILED" in said.stdout and b"what was restored differs from the backup" in said.stdout and b"content\tsecond" in said.stdout
    assert audited(two)[-1][0] == "failure"


@pytest.mark.parametrize("how", ["altered", "gone"])
def test_what_cannot_be_restored_is_the_answer_1(two, how):
    first = archive(two, 0)
    if how == "gone":
        first.unlink()
    else:
        data = bytearray(first.read_bytes())
        for at in range(300, len(data) - 300):
            data[at] ^= 1
        first.write_bytes(data)
    said = tried(two, status=1)
    assert b"FAILED" in said.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_stays_of_a_trial_restore_that_is_killed(blind, tmp_path, number):  # noqa: F811
    """Even directories that their owner cannot write to are removed: at once, or by the next cleanup."""
    for at in range(200):
        put(tmp_path / "many" / "closed" / f"{at}", os.urandom(1 << 18))
    (tmp_path / "many" / "closed").chmod(0o500)
    blind.run("profile", "create", "many", "--source", tmp_path / "many", "--repo", blind.home / "store")
    blind.run("generate-identity", "many")
    blind.run("run", "many", "--no-input", password=None)
    process = subprocess.Popen(blind.command("verify", "--restore", "-p", "many"), env=blind.environment_with(PASSWORD, {}),
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + PATIENCE
    while not list((blind.home / "tmp").glob("*/trial/*")):
        assert process.poll() is None and time.monotonic() < deadline
    if number == signal.SIGKILL:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    process.communicate(timeout=PATIENCE)
    if number == signal.SIGKILL:
        assert list((blind.home / "tmp").iterdir())
        blind.run("clean", password=None)
    else:
        assert process.returncode == 143
    assert list((blind.home / "tmp").iterdir()) == []

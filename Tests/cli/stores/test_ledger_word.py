"""What the ledger says about a backup, and what the archive says: an altered ledger is detected on opening."""

import hashlib
import json
import pathlib
import shutil

import pytest
from conftest import FAST, put
from test_partial import framed
from test_termbackup6_store import OldStore, dash, old  # noqa: F401, fixtures


def seal_into(tbk, store, source, *options, push=()):
    receipt = tbk.scratch / "receipt"
    archive = tbk.run("tbk-seal", *FAST, "--receipt", receipt, *options, source).out
    tbk.run("tbk-push", store, "--receipt", receipt, *push, input=archive)
    return json.loads(receipt.read_text())["id"]


@pytest.fixture
def store(tbk, small, tmp_path):
    place = tmp_path / "store"
    place.mkdir()
    tbk.id = seal_into(tbk, place, small, "--group", "ours", push=["--group", "ours", "--new-group"])
    return place


def forget(home):
    """Deletes what this machine has seen of stores: it can notice nothing in a store that it sees for the first time."""
    shutil.rmtree(home / "state", ignore_errors=True)


def alter(store, number=0, **members):
    ledger = json.loads((store / "metadata.json").read_text())
    ledger["backups"][number].update(members)
    (store / "metadata.json").write_text(json.dumps(ledger))
    forget(store.parent / "home" / ".termbackup")


LIES = [{"created_at": "2031-01-01T00:00:00+00:00"}, {"file_count": 77}, {"mode": "incremental"}, {"group": "theirs"}]


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: next(iter(lie)))
def test_a_plain_pipe_notices(tbk, store, tmp_path, lie):
    tbk.open(tbk.run("tbk-pull", "--chain", store, "latest").out, "--chain", "--verify")
    alter(store, **lie)
    chain = tbk.run("tbk-pull", "--chain", store, "latest").out
    for arguments in (["-C", tmp_path / "out"], ["--verify"], ["--list"], ["--manifest"], ["--cat", "x"], []):
        refused = tbk.open(chain, "--chain", *arguments, status=65)
        assert next(iter(lie)).encode() in refused.err
    assert not (tmp_path / "out").exists()
    assert next(iter(lie)).encode() in tbk.run("tbk-seal", "consolidate", *FAST, input=chain, status=65).err


@pytest.mark.parametrize("form", [[], ["--json"], ["--present"], ["--present", "--json"]])
def test_a_list_is_compared_with_archives_and_manifests(tbk, store, tmp_path, form):
    archive = tbk.run("tbk-pull", store, "latest").out
    listing = tmp_path / "list"

    def check(status, *more):
        listing.write_bytes(tbk.run("tbk-pull", store, "--list", *form).out)
        for arguments in (["--verify"], ["--manifest"], ["--list"], ["-C", tmp_path / "out"], []):
            tbk.open(archive, "--expect", listing, *arguments, *more, status=status)

    for lie in LIES:
        kept = (store / "metadata.json").read_bytes()
        alter(store, **lie)
        check(65)
        (store / "metadata.json").write_bytes(kept)
        forget(tmp_path / "home" / ".termbackup")
    assert not (tmp_path / "out").exists()
    check(0, "--expect-id", tbk.id)


def test_one_that_is_not_listed_is_not_expected(tbk, store, small, tmp_path):
    listing = put(tmp_path / "list", tbk.run("tbk-pull", store, "--list").out)
    other = tbk.seal(small)
    assert b"not among those expected" in tbk.open(other, "--verify", "--expect", listing, status=65).err
    for wrong in (b"no list\n", b"{}\n", b"{\"id\": 3}\n", b"\t" * 20 + b"\n", b"\xff\n"):
        tbk.open(other, "--verify", "--expect", put(tmp_path / "wrong", wrong), status=65)
    tbk.open(other, "--verify", "--expect", tmp_path / "absent", status=66)
    tbk.open(other, "--header", "--expect", listing, status=64)
    tbk.open(other, "--verify", "--expect", "-", status=64)


def test_an_archive_in_the_place_of_another_is_noticed(tbk, store, small, tmp_path):
    put(pathlib.Path(small) / "more", b"more")
    seal_into(tbk, store, small, "--group", "ours", push=["--group", "ours"])
    one, two = json.loads((store / "metadata.json").read_text())["backups"]
    for number, other in ((1, one), (0, two)):
        alter(store, number, **{key: other[key] for key in ("filename", "sha256", "size")})
    refused = tbk.open(tbk.run("tbk-pull", "--chain", store, "latest").out, "--chain", "-C", tmp_path / "out", status=65)
    assert one["id"].encode() in refused.err and two["id"].encode() in refused.err


def test_what_no_receipt_describes_is_opened_and_said(tbk, small, tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    tbk.run("tbk-push", store, input=tbk.seal(small))
    chain = tbk.run("tbk-pull", "--chain", store, "latest").out
    assert tbk.open(chain, "--chain", "--verify").err.count(b"without a receipt") == 1


def test_the_verbs_take_what_was_stored_without_a_receipt(dash, small, tmp_path):  # noqa: F811
    dash.profile("p", small)
    store = dash.home / "store"
    put(tmp_path / "one" / "file", b"piped")
    dash.tbk.run("tbk-push", store, input=dash.tbk.seal(tmp_path / "one"))
    id = json.loads((store / "metadata.json").read_text())["backups"][0]["id"]
    dash.run("profile", "edit", "p", "--ungrouped")
    dash.run("run", "p")
    for number, arguments in enumerate(([], ["--json"])):
        dash.run("restore", id, "-p", "p", "--to", tmp_path / f"out{number}", *arguments)
        assert (tmp_path / f"out{number}" / "file").read_bytes() == b"piped"
    assert b"2 of 2 backups verified" in dash.run("verify", "--all", "-p", "p").stdout
    dash.run("diff", id, "latest", "-p", "p", status=1)


@pytest.mark.parametrize("newest", [False, True])
def test_a_backup_that_the_ledger_calls_empty_is_not_passed_over(dash, small, tmp_path, newest):  # noqa: F811
    dash.profile("p", small)
    for content in (b"1", b"2"):
        put(pathlib.Path(small) / "new", content)
        dash.run("run", "p")
    store = dash.home / "store"
    entry = json.loads((store / "metadata.json").read_text())["backups"][-1 if newest else 0]
    (store / "backups" / entry["filename"]).write_bytes(b"")
    alter(store, -1 if newest else 0, size=0, sha256=hashlib.sha256(b"").hexdigest())
    forget(dash.home)
    report = json.loads(dash.run("verify", "--all", "-p", "p", "--json", status=1).stdout)
    assert report["checked_count"] == 2 and [failure["id"] for failure in report["failures"]] == [entry["id"]]
    dash.run("verify", entry["id"], "-p", "p", status=1)
    pulled = dash.tbk.run("tbk-pull", "--chain", store, entry["id"], status=65)
    assert b"is empty" in pulled.err and pulled.out == b""


def test_the_group_is_under_the_tag(tbk, store, small):
    archive = tbk.run("tbk-pull", store, "latest").out
    assert json.loads(tbk.open(archive, "--manifest").out)["group"] == "ours"
    # An archive that names no group is accepted into any.
    plain = tbk.seal(small)
    assert "group" not in json.loads(tbk.open(plain, "--manifest").out)
    receipt = tbk.scratch / "receipt"
    for arguments, data in ((["stream", "n"], b"data"), (["tar"], bytes(1024))):
        stream = tbk.run("tbk-seal", *arguments, *FAST, "--group", "g", "--receipt", receipt, input=data).out
        assert json.loads(receipt.read_text())["group"] == "g"
        assert json.loads(tbk.open(stream, "--manifest").out)["group"] == "g"
        for wrong in ([], ["--group", "h", "--new-group"]):
            refused = tbk.run("tbk-push", store, "--receipt", receipt, *wrong, input=stream, status=64)
            assert b"--group g" in refused.err
    for wrong in (["--group", "../x"], ["--group", ""], ["reseal", "--group", "g"], ["consolidate", "--group", "g"]):
        tbk.run("tbk-seal", *wrong, input=b"", status=64)


def test_verbs_notice_an_older_backup_as_the_latest(dash, small, tmp_path):  # noqa: F811
    dash.profile("p", small)
    dash.run("run", "p")
    put(pathlib.Path(small) / "new", b"new")
    dash.run("run", "p")
    store = dash.home / "store"
    ledger = json.loads((store / "metadata.json").read_text())
    assert json.loads(dash.tbk.run(
        "tbk-open", "--manifest", store / "backups" / ledger["backups"][0]["filename"]).out)["group"] == \
        ledger["backups"][0]["group"]
    first, second = ledger["backups"]
    first["created_at"] = second["created_at"][:11] + "23:59:59.000000+00:00"
    ledger["backups"] = [second, first]
    ledger["sequence"] += 1
    (store / "metadata.json").write_text(json.dumps(ledger))
    forget(dash.home)
    refused = dash.run("restore", "latest", "-p", "p", "--to", tmp_path / "out", status=65)
    assert b"created_at" in refused.stderr and not (tmp_path / "out").exists()
    dash.run("verify", "latest", "-p", "p", status=1)
    for pair in ([first["id"][:12], "latest"], ["latest", second["id"][:12]]):
        assert b"created_at" in dash.run("diff", *pair, "-p", "p", status=65).stderr


def test_what_termbackup_6_says_is_compared_but_for_its_count(old, tmp_path):  # noqa: F811
    old.change(2, file_count=77)
    assert old.restored(2, tmp_path)[1] == old.states[2]
    old.shell.run("verify", old.ids[2], "-p", "o")
    for number in (2, 0):
        kept = old.entries[number]["created_at"]
        old.change(number, created_at="2026-03-01T00:00:00+00:00")
        refused = old.shell.run("restore", old.ids[2], "-p", "o", "--to", tmp_path / "out", status=65)
        assert b"created_at" in refused.stderr and not (tmp_path / "out").exists()
        old.change(number, created_at=kept)
    assert framed(old.shell.tbk.run("tbk-pull", "--chain", old.path, old.ids[1]).out)[0][0] == "TBKENTRY"

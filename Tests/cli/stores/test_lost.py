"""The store has lost an archive, or part of it: what is reported, and what becomes of the backups based on it."""

import json
import pathlib
import shutil

import pytest
from conftest import snapshot
from github_fixture import github, github_server  # noqa: F401
from shell_fixture import shell  # noqa: F401
from test_doctor import examine
from test_github_store import archive, identify


def entries(shell):
    return json.loads((shell.home / "store" / "metadata.json").read_text())["backups"]


def file_of(shell, entry):
    return shell.home / "store" / "backups" / entry["filename"]


def cut(file):
    file.chmod(0o600)
    file.write_bytes(file.read_bytes()[:-1])


LOSSES = {"removed": lambda file: file.unlink(), "cut": cut}


@pytest.fixture
def chain(shell, small):
    """A profile with a full backup and an increment."""
    shell.profile("p", small, "--mode", "incremental")
    shell.run("run", "p")
    (pathlib.Path(small) / "second").write_bytes(b"2")
    shell.run("run", "p")
    return shell


def restored(shell, tmp_path):
    shell.run("restore", "latest", "-p", "p", "--to", tmp_path / "restored")
    return snapshot(tmp_path / "restored")


def columns(result):
    return [line.split("\t")[10:] for line in result.decode().splitlines()]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("number", [0, 1], ids=["base", "last"])
@pytest.mark.parametrize("changed", [True, False], ids=["changed", "unchanged"])
def test_a_run_over_a_lost_archive_is_full(chain, small, tmp_path, loss, number, changed):
    LOSSES[loss](file_of(chain, entries(chain)[number]))
    if changed:
        (pathlib.Path(small) / "third").write_bytes(b"3")
    told = chain.run("run", "p", "--dry-run").stderr
    lost = entries(chain)[number]["id"]
    done = chain.run("run", "p")
    for said in (told, done.stderr):
        assert b"warning: " in said and lost[:12].encode() in said
    assert [entry["mode"] for entry in entries(chain)] == ["full", "incremental", "full"]
    assert restored(chain, tmp_path) == snapshot(small)
    # After that everything is as before.
    (pathlib.Path(small) / "fourth").write_bytes(b"4")
    assert b"warning" not in chain.run("run", "p").stderr
    assert entries(chain)[-1]["depends_on"] == [entries(chain)[-2]["id"]]


def test_a_run_needs_no_archive_of_another_backup(chain, small):
    (pathlib.Path(small) / "third").write_bytes(b"3")
    chain.run("run", "p", "--full")
    file_of(chain, entries(chain)[1]).unlink()
    assert b"warning" not in chain.run("run", "p").stderr
    assert len(entries(chain)) == 3


def test_a_run_over_a_lost_manifest_is_full(chain, small, tmp_path):
    (chain.home / "store" / "manifests" / entries(chain)[1]["manifest"]["filename"]).unlink()
    shutil.rmtree(chain.home / "cache")
    chain.run("run", "p")
    assert entries(chain)[-1]["mode"] == "full"
    assert restored(chain, tmp_path) == snapshot(small)


def test_nothing_is_pushed_over_a_lost_archive(tbk, small, tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    first, second = tmp_path / "first", tmp_path / "second"
    base = tbk.seal(small, "--receipt", first)
    tbk.run("tbk-push", store, "--receipt", first, input=base)
    receipt = json.loads(first.read_text())
    second.write_text(json.dumps({**receipt, "id": "ab" * 32, "mode": "incremental", "depends_on": [receipt["id"]]}))
    stored, = (store / "backups").iterdir()
    for loss in (cut, LOSSES["removed"]):
        loss(stored)
        before = snapshot(store)
        refused = tbk.run("tbk-push", store, "--receipt", second, input=base, status=75)
        assert receipt["id"].encode() in refused.err and b"full backup" in refused.err
        assert snapshot(store) == before
    # Pushing the archive again restores it.
    assert tbk.run("tbk-push", store, "--receipt", first, input=base).out
    assert tbk.run("tbk-pull", store, "latest").out == base
    tbk.run("tbk-push", store, "--receipt", second, input=base)


@pytest.mark.parametrize("loss,status,state", [("removed", 66, "missing"), ("cut", 65, "damaged")])
def test_what_is_lost_is_listed_and_not_sent(chain, loss, status, state):
    store = chain.home / "store"
    base, last = entries(chain)
    assert columns(chain.tbk.run("tbk-pull", store, "--list", "--present").out) == [["whole", "whole", "-"]] * 2
    LOSSES[loss](file_of(chain, base))
    assert columns(chain.tbk.run("tbk-pull", store, "--list", "--present").out) == [
        [state, "whole", base["id"]], ["whole", "whole", base["id"]]]
    listed = [json.loads(line) for line in chain.tbk.run("tbk-pull", store, "--list", "--present", "--json").lines]
    assert [entry["presence"] for entry in listed] == [
        {"archive": state, "manifest": "whole", "lost": [base["id"]]},
        {"archive": "whole", "manifest": "whole", "lost": [base["id"]]}]
    for arguments in ([base["id"]], ["latest", "--chain"], ["latest", "--chain", "-o", chain.tbk.scratch / "copy"]):
        chain.tbk.run("tbk-pull", store, *arguments, status=status)
    assert not (chain.tbk.scratch / "copy").exists()
    chain.tbk.run("tbk-pull", store, last["id"])
    LOSSES[loss](store / "manifests" / last["manifest"]["filename"])
    assert columns(chain.tbk.run("tbk-pull", store, "--list", "--present").out)[1] == ["whole", state, base["id"]]
    chain.tbk.run("tbk-pull", store, "--manifest", last["id"], status=status)


@pytest.mark.parametrize("loss,status", [("removed", 66), ("cut", 65)])
def test_a_restore_says_that_an_archive_is_lost(chain, tmp_path, loss, status):
    LOSSES[loss](file_of(chain, entries(chain)[0]))
    chain.run("restore", "latest", "-p", "p", "--to", tmp_path / "out", status=status)
    assert not (tmp_path / "out").exists()
    report = json.loads(chain.run("verify", "--all", "-p", "p", "--json", status=1).stdout)
    assert len(report["failures"]) == 2


def test_the_doctor_names_what_is_lost(chain):
    assert "fail" not in {entry["result"] for entry in examine(chain)["stores"]}
    base, last = entries(chain)
    file_of(chain, base).unlink()
    found = examine(chain, status=1)["stores"]
    failed = " ".join(entry["message"] for entry in found if entry["result"] == "fail")
    assert base["filename"] in failed and "2 of 2 backups cannot be restored" in failed
    assert last["filename"] not in failed


def test_the_doctor_warns_of_a_lost_manifest(chain):
    (chain.home / "store" / "manifests" / entries(chain)[0]["manifest"]["filename"]).unlink()
    warned, = [entry for entry in examine(chain)["stores"] if entry["result"] == "warn"]
    assert entries(chain)[0]["id"][:12] in warned["message"]


def test_pruning_leaves_one_that_can_be_restored(shell, small):
    shell.profile("p", small)
    for number in range(3):
        (pathlib.Path(small) / "number").write_bytes(b"%d" % number)
        shell.run("run", "p")
    ids = [entry["id"] for entry in entries(shell)]
    file_of(shell, entries(shell)[2]).unlink()
    for arguments in (["--keep-last", "1"], ["--keep-last", "1", "--dry-run"]):
        refused = shell.tbk.run("tbk-prune", shell.home / "store", *arguments, status=77).err
        assert b"none that can be restored" in refused
    assert b"none that can be restored" in shell.run("prune", "p", "--keep-last", "1", "--yes", status=77).stderr
    assert [entry["id"] for entry in entries(shell)] == ids
    shell.run("prune", "p", "--keep-last", "2", "--yes")
    shell.run("restore", ids[1][:12], "-p", "p", "--to", shell.tbk.scratch / "out")
    # A new run makes a backup that can be restored.
    shell.run("profile", "edit", "p", "--max-backups", "1")
    shell.run("run", "p")
    assert len(entries(shell)) == 1


def test_on_github_one_request_compares_all(github):
    for seed in (1, 2):
        github.push(archive(seed))
    github.push(archive(3), "--placement", "release")
    # A tree never changes: the next command need not request it again.
    for requests in (1, 0):
        github.clear_log()
        rows = columns(github.pull("--list", "--present").out)
        assert rows == [["whole", "-", "-"]] * 3
        assert sum("/git/trees/" in entry["path"] for entry in github.log()) == requests
    path = f"backups/backup_{identify(archive(1))[:12]}.tbk"
    sha = github.git("rev-parse", f"HEAD:{path}").strip()
    github.call("DELETE", f"contents/{path}", {"message": "x", "sha": sha})
    path = f"backups/backup_{identify(archive(2))[:12]}.tbk"
    sha = github.git("rev-parse", f"HEAD:{path}").strip()
    github.call("PUT", f"contents/{path}", {"message": "x", "sha": sha, "content": ""})
    for asset in github.state()["assets"]:
        github.call("DELETE", f"releases/assets/{asset['id']}")
    states = [row[0] for row in columns(github.pull("--list", "--present").out)]
    assert states == ["missing", "damaged", "missing"]
    github.pull(identify(archive(1)), status=66)
    github.pull(identify(archive(2)), status=65)
    github.pull(identify(archive(3)), status=66)


def test_on_github_a_listing_that_is_cut_short_is_completed(github):
    for seed in (1, 2):
        github.push(archive(seed))
    path = f"backups/backup_{identify(archive(2))[:12]}.tbk"
    sha = github.git("rev-parse", f"HEAD:{path}").strip()
    github.call("DELETE", f"contents/{path}", {"message": "x", "sha": sha})
    # More names than one response holds, all of them sorted before ours.
    head = github.call("GET", "branches/main")["commit"]
    blob = github.call("POST", "git/blobs", {"content": "x", "encoding": "utf-8"})["sha"]
    tree = github.call("POST", "git/trees", {"base_tree": head["commit"]["tree"]["sha"], "tree": [
        {"path": f"backups/a{number:0200}", "mode": "100644", "type": "blob", "sha": blob} for number in range(25_000)]})
    commit = github.call("POST", "git/commits", {"message": "x", "tree": tree["sha"], "parents": [head["sha"]]})
    github.call("PATCH", "git/refs/heads/main", {"sha": commit["sha"], "force": False})
    github.clear_log()
    assert [row[0] for row in columns(github.pull("--list", "--present").out)] == ["whole", "missing"]
    assert sum("/contents/backups/" in entry["path"] for entry in github.log()) == 2

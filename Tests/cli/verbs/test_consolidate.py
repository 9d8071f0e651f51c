"""termbackup consolidate, and beneath it tbk-seal consolidate and tbk-store replace with --receipt."""

import json
import os
import shutil
import signal
import subprocess
import time

import pytest
from conftest import FAST, PASSWORD, PATIENCE, put, require, snapshot, some
from github_fixture import github, github_server  # noqa: F401, fixtures
from shell_fixture import Shell
from tbkref import crypto, gz, tars
from tbkref import manifest as mf
from test_signed_ledger import check_ledger, ledger_of


@pytest.fixture
def shell(tbk, tmp_path):
    require("dash")
    return Shell(tbk, tmp_path, ["dash"])


@pytest.fixture(params=["dash", "busybox"])
def any_shell(request, tbk, tmp_path):
    require(request.param)
    return Shell(tbk, tmp_path, {"dash": ["dash"], "busybox": ["busybox", "sh"]}[request.param])


def entries(shell, profile="p"):
    return [json.loads(line) for line in shell.run("list", profile, "--json").stdout.splitlines()]


def chain(shell, source, *changes, fields=()):
    """A profile p with a full backup, and an increment after each change. Returns their entries."""
    shell.profile("p", source, "--mode", "incremental", *fields)
    shell.run("run", "p")
    for change in changes:
        change()
        shell.run("run", "p")
    listed = entries(shell)
    assert [entry["mode"] for entry in listed] == ["full"] + ["incremental"] * len(changes)
    return listed


def adding(source, name):
    return lambda: put(os.path.join(os.fsencode(source), os.fsencode(name)), b"%s\n" % os.fsencode(name))


def consolidate(shell, id, *arguments, **options):
    return json.loads(shell.run("consolidate", "p", id, "--json", *arguments, **options).stdout)


def opened(data):
    """The members of an archive's tar and its manifest, read by the reference implementation."""
    _, packed = crypto.open_archive(data, PASSWORD)
    members = tars.read(gz.decompress(packed))
    return members, json.loads(members[-1].data)


def stored(shell, entry):
    return (shell.home / "store" / "backups" / entry["filename"]).read_bytes()


def test_a_chain_becomes_one_archive_of_the_same_tree(any_shell, tree, tmp_path):
    top = os.fsencode(tree)

    def second():
        put(os.path.join(top, b"new"), b"new\n")
        put(os.path.join(top, b"a-b"), b"changed\n")
        os.unlink(os.path.join(top, b"a.b"))
        os.link(os.path.join(top, b"sizes", b"513"), os.path.join(top, b"a", b"0 linked"))

    def third():
        os.chmod(os.path.join(top, b"sizes", b"1"), 0o640)
        os.link(os.path.join(top, b"new"), os.path.join(top, b"z linked"))
        shutil.rmtree(os.path.join(top, b"times"))

    before = chain(any_shell, tree, second, third)
    report = consolidate(any_shell, "latest")
    after = entries(any_shell)
    assert [entry["id"] for entry in after] == [before[0]["id"], before[1]["id"], report["id"]]
    assert report["status"] == "consolidated" and report["replaces"] == before[2]["id"] and report["kept"] is False
    assert report["prunable"] == [before[0]["id"], before[1]["id"]] and report["archive_count"] == 3
    new, old = after[-1], before[-1]
    assert (new["mode"], new["depends_on"]) == ("full", [])
    assert [new[key] for key in ("created_at", "group", "file_count")] == [
        old[key] for key in ("created_at", "group", "file_count")]
    assert old["filename"] not in os.listdir(any_shell.home / "store" / "backups")
    assert len(os.listdir(any_shell.home / "store" / "manifests")) == 3
    # The reference, which shares no code, accepts it.
    members, manifest = opened(stored(any_shell, new))
    assert mf.backup_id(manifest) == manifest["backup_id"] == new["id"]
    assert manifest["backup_mode"] == "full" and manifest["parent_backup_id"] is None
    assert not [file for file in manifest["files"] if "stored_in" in file]
    assert len(members) == len(manifest["files"]) + 1
    names = [member.name for member in members]
    assert len(set(names)) == len(names) and names[-1] == b"manifest.json"
    any_shell.run("verify", "latest", "-p", "p")
    # Only the new archive is left, and the tree can be restored.
    any_shell.run("prune", "p", "--keep-last", "1", "--yes")
    assert [entry["id"] for entry in entries(any_shell)] == [new["id"]]
    assert os.listdir(any_shell.home / "store" / "backups") == [new["filename"]]
    any_shell.run("restore", "latest", "-p", "p", "--to", tmp_path / "out", "--setuid")
    assert snapshot(tmp_path / "out") == snapshot(tree)


def test_stock_tar_takes_it_apart(shell, tmp_path):
    require("tar")
    source = tmp_path / "source"
    put(source / "closed" / "file", b"file\n")
    put(source / "other", b"other\n")
    os.link(source / "other", source / "a linked name")
    os.symlink("closed/file", source / "link")
    os.utime(source / "closed", ns=(10 ** 18, 10 ** 18))
    os.chmod(source / "closed", 0o555)
    chain(shell, source, adding(source, "more"))
    consolidate(shell, "latest")
    data = shell.tbk.open(stored(shell, entries(shell)[-1])).out
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["tar", "-C", out, "-xpf", "-"], input=data, check=True)
    os.unlink(out / "manifest.json")
    shutil.copystat(source, out)
    assert snapshot(out) == snapshot(source)


def test_the_next_run_is_over_the_new_one(shell, small):
    before = chain(shell, small, adding(small, "more"))
    cache = shell.home / "cache" / before[-1]["group"]
    new = consolidate(shell, "latest")["id"]
    assert os.listdir(cache) == [f"{new}.tbk"]
    assert b"Nothing has changed" in shell.run("run", "p").stdout
    put(os.path.join(small, "yet more"), b"yet more\n")
    made = json.loads(shell.run("run", "p", "--json").stdout)
    assert (made["mode"], made["added_count"]) == ("incremental", 1)
    assert entries(shell)[-1]["depends_on"] == [new]
    # Without a cache the manifest comes from the store.
    shutil.rmtree(shell.home / "cache")
    second = consolidate(shell, "latest")["id"]
    put(os.path.join(small, "and more"), b"and more\n")
    assert json.loads(shell.run("run", "p", "--json").stdout)["mode"] == "incremental"
    assert entries(shell)[-1]["depends_on"] == [second]
    shell.run("prune", "p", "--keep-last", "1", "--yes")
    assert [entry["id"] for entry in entries(shell)][0] == second
    shell.run("verify", "--all", "-p", "p")


def test_one_in_the_middle_stays_in_the_middle(shell, small):
    def rewrite():
        for name in ("plain", "d/inside", "d/other", "second"):
            put(os.path.join(small, name), b"rewritten\n")
    before = chain(shell, small, adding(small, "second"), rewrite)
    assert before[2]["depends_on"] == []
    new = consolidate(shell, before[1]["id"][:8])["id"]
    assert [entry["id"] for entry in entries(shell)] == [before[0]["id"], new, before[2]["id"]]
    # Retention uses its original time: it is the last but one.
    shell.run("prune", "p", "--keep-last", "2", "--yes")
    assert [entry["id"] for entry in entries(shell)] == [new, before[2]["id"]]
    shell.run("verify", "--all", "-p", "p")


def test_one_that_others_need_stays_beside_the_new_one(any_shell, small):
    before = chain(any_shell, small, adding(small, "second"), adding(small, "third"))
    said = any_shell.run("consolidate", "p", before[1]["id"]).stdout.decode()
    after = [entry["id"] for entry in entries(any_shell)]
    assert after[:2] == [before[0]["id"], before[1]["id"]] and after[3] == before[2]["id"] and len(after) == 4
    assert f"{before[1]['id'][:12]} stays, with what it needs" in said and before[2]["id"][:12] in said
    state = snapshot(any_shell.home / "store")
    report = consolidate(any_shell, before[1]["id"])
    assert (report["status"], report["id"], report["dependents"], report["prunable"]) == (
        "already", after[2], [before[2]["id"]], [])
    assert snapshot(any_shell.home / "store") == state
    any_shell.run("verify", "--all", "-p", "p")
    # When the last one needs no others either, the older ones can be removed.
    assert consolidate(any_shell, "latest")["prunable"] == [before[0]["id"], before[1]["id"]]
    any_shell.run("prune", "p", "--keep-last", "1", "--yes")
    any_shell.run("verify", "--all", "-p", "p")


def test_one_that_needs_no_others_is_left_alone(any_shell, small):
    chain(any_shell, small)
    state = snapshot(any_shell.home / "store")
    report = consolidate(any_shell, "latest")
    assert report["status"] == "self-contained" and report["id"] is None
    assert b"needs no other backups" in any_shell.run("consolidate", "p", "latest").stdout
    assert snapshot(any_shell.home / "store") == state


def test_a_preview_stores_nothing_and_names_the_id(any_shell, small):
    before = chain(any_shell, small, adding(small, "second"))
    state = snapshot(any_shell.home / "store")
    preview = consolidate(any_shell, "latest", "--dry-run")
    assert preview["status"] == "would-consolidate" and preview["prunable"] == [before[0]["id"]]
    assert preview["read_size"] == sum(entry["size"] for entry in before)
    assert b"Would consolidate" in any_shell.run("consolidate", "p", "latest", "-n").stdout
    assert snapshot(any_shell.home / "store") == state
    assert consolidate(any_shell, "latest")["id"] == preview["id"]


def test_a_signed_store_stays_signed(any_shell, small):
    any_shell.run("init")
    any_shell.run("generate-key", "--enable")
    chain(any_shell, small, adding(small, "second"))
    sequence = ledger_of(any_shell)["sequence"]
    consolidate(any_shell, "latest")
    assert check_ledger(any_shell)["sequence"] == sequence + 1
    assert any_shell.run("verify", "--all", "-p", "p", "--require-signature").stdout.count(b"  signed\n") == 2
    # Without the key nothing is changed.
    put(os.path.join(small, "third"), b"third\n")
    any_shell.run("run", "p")
    any_shell.tbk.run("tbk-config", "set", "signing_enabled", "false")
    state = snapshot(any_shell.home / "store")
    assert b"is signed" in any_shell.run("consolidate", "p", "latest", status=77).stderr
    assert snapshot(any_shell.home / "store") == state


def test_what_cannot_be_consolidated_changes_nothing(shell, small):
    before = chain(shell, small, adding(small, "second"))
    state = snapshot(shell.home / "store")
    for arguments in ([], ["p"], ["p", "latest", "more"], ["p", "xyz"], ["p", "latest", "--placement", "moon"]):
        shell.run("consolidate", *arguments, status=64)
    shell.run("consolidate", "p", "00000000", status=69)
    assert b"not the password" in shell.run("consolidate", "p", "latest", password=b"wrong", status=77).stderr
    assert snapshot(shell.home / "store") == state
    base = shell.home / "store" / "backups" / before[0]["filename"]
    whole = base.read_bytes()
    base.chmod(0o600)
    # A file that is too long is read up to the size in the ledger.
    for damage in (whole[:-1], whole[:-1] + b"\0"):
        base.write_bytes(damage)
        assert b"error" in shell.run("consolidate", "p", "latest", status=65).stderr
        assert entries(shell) == before
    base.unlink()
    shell.run("consolidate", "p", "latest", status=66)
    assert entries(shell) == before
    operations = [json.loads(line) for line in (shell.home / "audit.log").read_text().splitlines()]
    assert [entry["status"] for entry in operations if entry["operation"] == "consolidate"] == ["failure"] * 3


def test_a_backup_of_termbackup_6_is_refused(shell, small):
    chain(shell, small)
    path = shell.home / "store" / "metadata.json"
    ledger = json.loads(path.read_text())
    del ledger["backups"][0]["mode"], ledger["backups"][0]["depends_on"]
    path.write_text(json.dumps(ledger))
    shutil.rmtree(shell.home / "state")
    assert b"TermBackup 6" in shell.run("consolidate", "p", "latest", status=64).stderr


@some(4)
def test_killed_at_any_time_one_of_the_two_is_there(shell, small, stride):
    before = chain(shell, small, adding(small, "second"), adding(small, "third"))
    old = before[-1]["id"]
    killed = 0
    for delay in (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1, 1.2, 1.5)[::stride]:
        process = subprocess.Popen(
            shell.command("consolidate", "p", old), env=shell.environment_with(PASSWORD, None), start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(delay)
        try:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        except ProcessLookupError:
            pass
        process.wait(PATIENCE)
        shutil.rmtree(shell.home / "tmp")
        listed = entries(shell)
        assert [entry["id"] for entry in listed[:2]] == [entry["id"] for entry in before[:2]] and len(listed) == 3
        shell.run("verify", "latest", "-p", "p", "--no-mark")
        if listed[-1]["id"] != old:
            break
    assert killed
    if listed[-1]["id"] == old:
        consolidate(shell, old)
    assert entries(shell)[-1]["depends_on"] == []
    put(os.path.join(small, "fourth"), b"fourth\n")
    assert json.loads(shell.run("run", "p", "--json").stdout)["mode"] == "incremental"


def test_on_github_each_archive_is_fetched_once_and_one_commit_is_made(github, shell, small):  # noqa: F811
    shell.environment.update(github.environment)
    before = chain(shell, small, adding(small, "second"), adding(small, "third"), fields=["--repo", github.address])
    commits = len(github.git("log", "--format=%H", "main").split())
    github.clear_log()
    report = consolidate(shell, "latest")
    fetched = [entry["path"] for entry in github.log() if entry["method"] == "GET" and "/backups/backup_" in entry["path"]]
    assert len(fetched) == len(set(fetched)) == 3
    assert len(github.git("log", "--format=%H", "main").split()) == commits + 1
    assert [entry["id"] for entry in entries(shell)] == [before[0]["id"], before[1]["id"], report["id"]]
    shell.run("prune", "p", "--keep-last", "1", "--yes")
    shell.run("verify", "--all", "-p", "p")


@pytest.fixture
def pipe(tbk, small, tmp_path):
    """A store with two backups, the second based on the first, made with the commands."""
    store, base = tmp_path / "store", tmp_path / "base.json"
    store.mkdir()
    options = ["--receipt", tmp_path / "receipt", "--manifest-out", tmp_path / "sealed"]
    push = [store, "--group", "g", "--receipt", tmp_path / "receipt", "--sealed-manifest", tmp_path / "sealed"]
    archive = tbk.seal(small, *options)
    tbk.run("tbk-push", *push, input=archive)
    base.write_bytes(tbk.open(archive, "--manifest").out)
    put(os.path.join(small, "second"), b"second\n")
    manifest = tbk.manifest(small, "--mode", "incremental", "--previous", base)
    tbk.run("tbk-push", *push, input=tbk.run("tbk-seal", *FAST, *options, input=manifest).out)
    tbk.store, tbk.ids = store, [line.split("\t")[0] for line in tbk.run("tbk-pull", store, "--list").lines]
    return tbk


def test_the_list_says_what_depends_on_what(pipe):
    rows = [line.split("\t") for line in pipe.run("tbk-pull", pipe.store, "--list").lines]
    assert [row[8] for row in rows] == ["-", pipe.ids[0]]


def test_sealing_makes_the_same_id_each_time_as_the_manifest_foretells(pipe, small, tmp_path):
    archives = pipe.run("tbk-pull", pipe.store, "--chain", "latest").out
    made = [pipe.run("tbk-seal", "consolidate", *FAST, "--receipt", tmp_path / f"r{number}", "--manifest-out",
                     tmp_path / f"m{number}", input=archives).out for number in range(2)]
    assert made[0] != made[1]
    receipts = [json.loads((tmp_path / f"r{number}").read_text()) for number in range(2)]
    assert receipts[0] == receipts[1] and receipts[0]["mode"] == "full" and receipts[0]["depends_on"] == []
    sealed = pipe.run("tbk-pull", pipe.store, "--manifest", "latest").out
    manifest = pipe.open(sealed, "--manifest").out
    told = pipe.run("tbk-manifest", "id", "--consolidated", "-", input=manifest).out.decode().strip()
    assert told == receipts[0]["id"]
    consolidated = pipe.open((tmp_path / "m1").read_bytes(), "--manifest").out
    assert pipe.run("tbk-manifest", "id", "--consolidated", "-", input=consolidated).out.decode().strip() == told
    pipe.extract(made[0], tmp_path / "out")
    assert snapshot(tmp_path / "out") == snapshot(small)
    # A backup that needs no others is refused.
    assert b"nothing to consolidate" in pipe.run("tbk-seal", "consolidate", *FAST, input=made[0], status=64).err


def test_sealing_refuses_what_is_not_one_whole_chain(pipe):
    new = pipe.run("tbk-pull", pipe.store, pipe.ids[1]).out
    base = pipe.run("tbk-pull", pipe.store, pipe.ids[0]).out

    def seal(data, status, *arguments):
        result = pipe.run("tbk-seal", "consolidate", *FAST, *arguments, input=data, status=status)
        assert result.out == b""
        return result.err

    assert pipe.ids[0].encode() in seal(new, 66)
    seal(b"", 65)
    seal(new + base[:-1], 65)
    seal(new + base + b"x", 65)
    seal(new[:-1] + bytes([new[-1] ^ 1]) + base, 77)
    seal(new + base[:-1] + bytes([base[-1] ^ 1]), 77)
    seal(new + base, 65, "--expect-id", pipe.ids[0][:12])
    seal(new + base, 64, ".")
    seal(new + base, 64, "--old-password-file", "x")


def test_pushing_into_the_place_of_another_takes_its_group_too(pipe, tmp_path):
    archives = pipe.run("tbk-pull", pipe.store, "--chain", "latest").out
    options = ["--receipt", tmp_path / "r", "--manifest-out", tmp_path / "m"]
    made = pipe.run("tbk-seal", "consolidate", *FAST, *options, input=archives).out
    push = ["replace", pipe.store, pipe.ids[1], "--receipt", tmp_path / "r"]
    # The receipt belongs to another backup.
    pipe.run("tbk-store", *push, "--rekeyed", input=made, status=65)
    pipe.run("tbk-store", *push, "--group", "other", input=made, status=64)
    pipe.run("tbk-store", *push, input=made[:-1], status=65)
    pipe.run("tbk-store", "replace", pipe.store, "0" * 64, "--receipt", tmp_path / "r", input=made, status=69)
    read = pipe.run("tbk-pull", pipe.store, "--list").lines[1].split("\t")[9]
    for other, status in (("", 64), (read[:-1], 64), (read + ":", 64), (pipe.ids[0], 75)):
        pipe.run("tbk-store", "replace", pipe.store, f"{pipe.ids[1]}:{other}", *push[3:], input=made, status=status)
    push[2] = f"{pipe.ids[1]}:{read}"
    done = pipe.run("tbk-store", *push, "--sealed-manifest", tmp_path / "m", input=made)
    ledger = json.loads((pipe.store / "metadata.json").read_text())
    assert done.lines[0].split("\t")[0] == ledger["backups"][1]["id"] and len(ledger["backups"]) == 2
    assert ledger["backups"][1]["group"] == "g" and ledger["sequence"] == 3
    assert len(os.listdir(pipe.store / "backups")) == len(os.listdir(pipe.store / "manifests")) == 2
    # An increment cannot replace the backup that it depends on.
    manifest = pipe.run("tbk-pull", pipe.store, "--manifest", "latest").out
    (tmp_path / "previous").write_bytes(pipe.open(manifest, "--manifest").out)
    more = pipe.manifest(tmp_path / "small", "--mode", "incremental", "--previous", tmp_path / "previous")
    archive = pipe.run("tbk-seal", *FAST, "--receipt", tmp_path / "r", input=more).out
    push[2] = ledger["backups"][1]["id"]
    assert b"depends on" in pipe.run("tbk-store", *push, input=archive, status=64).err

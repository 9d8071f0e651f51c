"""termbackup clean and tbk-store clean: leftovers are removed, and nothing that is still needed."""

import json
import os
import shutil
import subprocess
import time

import pytest
from conftest import PATIENCE, put, snapshot, without
from github_fixture import NUMBERS, TOKEN, github, github_server  # noqa: F401
from shell_fixture import shell  # noqa: F401  # noqa: F401
from test_keyring import operations

DAY = 86400
ORPHANS = ("backups/backup_aaaaaaaaaaaa.tbk", "backups/backup_0123456789ab-01234567.tbk", "manifests/manifest_aaaaaaaaaaaa.tbk")
FOREIGN = ("backups/notes.txt", "backups/new_backup_aaaaaaaaaaaa.tbk", "checks/backup_aaaaaaaaaaaa.tbk",
           "checks/" + "0" * 32 + ".tbk")
# As TermBackup 6 left them: unencrypted file names, removed whatever their age.
CLEAR = "manifests/manifest_aaaaaaaaaaaa.json"


def old(path, days=2):
    when = time.time() - days * DAY
    os.utime(path, (when, when))


@pytest.fixture
def docs(shell, small):
    shell.profile("docs", small)
    shell.run("run", "-q", "docs")
    return shell


def removed(shell, *arguments, **options):
    report = json.loads(shell.run("clean", "--json", *arguments, **options).stdout)
    assert report["removed_count"] == len(report["leftovers"])
    assert report["size"] == sum(entry["size"] for entry in report["leftovers"])
    assert report["dry_run"] == ("--dry-run" in arguments)
    return report["leftovers"]


def test_the_cache_of_a_group_without_a_profile_goes(docs, small):
    docs.run("profile", "edit", "docs", "--mode", "incremental")
    put(os.path.join(small, "more"), b"more")
    docs.run("run", "-q", "docs")
    group = json.loads((docs.home / "profiles" / "docs.json").read_text())["group"]
    cache = docs.home / "cache"
    assert (cache / group).is_dir()
    put(cache / ("f" * 32) / "x.tbk", b"x" * 5000)
    put(cache / "github" / "facts.json", b"{}")
    assert [(entry["kind"], entry["name"]) for entry in removed(docs, "--dry-run")] == [("cache", str(cache / ("f" * 32)))]
    assert (cache / ("f" * 32)).exists()
    entry, = removed(docs)
    assert entry["size"] >= 5000 and entry["store"] is None
    assert sorted(os.listdir(cache)) == sorted([group, "github"])
    # An unreadable profile may be one that needs it.
    put(cache / ("e" * 32) / "x.tbk", b"x")
    put(docs.home / "profiles" / "broken.json", b"{")
    assert removed(docs) == []
    assert (cache / ("e" * 32)).exists()


def test_sizes_are_shown(docs):
    put(docs.home / "tmp" / "old.tar.gz", b"x" * 100_000)
    old(docs.home / "tmp" / "old.tar.gz")
    done = docs.run("clean")
    assert b"KiB  " in done.stdout and b"old.tar.gz" in done.stdout and b"removed 1, " in done.stderr
    assert b"nothing to remove" in docs.run("clean").stderr


def test_a_profile_alone_needs_the_store(docs):
    assert b"--store" in docs.run("clean", "-p", "docs", status=64).stderr


def test_what_is_young_or_named_stays(docs):
    store = docs.home / "store"
    for name in ORPHANS + FOREIGN:
        put(store / name, b"x")
        # The mtime can be set back, the ctime cannot.
        old(store / name)
    def files():
        # Reading the store's clock creates a file, which changes the mtime of the directory.
        return without(snapshot(store), "mtime")
    before = files()
    assert removed(docs, "--store") == []
    assert files() == before
    assert b"nothing to remove" in docs.tbk.run("tbk-store", "clean", store).err
    assert files() == before
    put(store / CLEAR, b"x")
    assert [entry["name"] for entry in removed(docs, "--store")] == [CLEAR]
    assert files() == before


def test_abandoned_temporary_files_go(docs, small):
    store = docs.home / "store"
    ledger = (store / "metadata.json").read_bytes()
    for name in (".tbk-0123456789abcdef.tmp", "backups/.tbk-0123456789abcdef.tmp"):
        put(store / name, b"x" * 1000)
        old(store / name)
    put(store / "backups" / ".tbk-ffffffffffffffff.tmp", b"young")
    for dry in (["--dry-run"], []):
        found = removed(docs, "--store", "-p", "docs", *dry)
        assert [(entry["kind"], entry["name"], entry["size"], entry["store"]) for entry in found] == [
            ("temporary", ".tbk-0123456789abcdef.tmp", 1000, str(store)),
            ("temporary", "backups/.tbk-0123456789abcdef.tmp", 1000, str(store))]
    assert removed(docs, "--store") == []
    assert (store / "backups" / ".tbk-ffffffffffffffff.tmp").exists()
    assert (store / "metadata.json").read_bytes() == ledger
    assert operations(docs)[-1] == ("clean", "success")
    entry = json.loads((docs.home / "audit.log").read_text().splitlines()[-1])
    assert entry["details"] == {"removed_count": 2, "bytes": 2000}
    docs.run("verify", "--all", "-p", "docs")


def test_a_name_in_the_store_forges_no_line(docs):
    store = os.fsencode(docs.home / "store")
    name = b".tbk-x\t\x1b[31mEVIL\nobject\tbackups-y\xff.tmp"
    old(put(os.path.join(store, name), b"xyz"))
    for dry in (["--dry-run"], []):
        done = docs.tbk.run("tbk-store", "clean", store, *dry)
        line, = done.lines
        assert line.split("\t")[:3] == ["temporary", r'".tbk-x\t\033[31mEVIL\nobject\tbackups-y\377.tmp"', "3"]
        assert (b"would remove 1" if dry else b"removed 1 object, 3 bytes") in done.err
        assert os.path.exists(os.path.join(store, name)) == bool(dry)
    old(put(os.path.join(store, name), b"xyz"))
    entry, = removed(docs, "--store")
    assert entry["name"] == r'".tbk-x\t\033[31mEVIL\nobject\tbackups-y\377.tmp"'


def test_a_store_is_cleaned_once_and_the_others_in_spite_of_one(docs, small, tmp_path):
    docs.run("profile", "create", "twin", "--source", small)
    (tmp_path / "gone").mkdir()
    docs.run("profile", "create", "away", "--source", small, "--repo", tmp_path / "gone")
    shutil.rmtree(tmp_path / "gone")
    store = docs.home / "store"
    put(store / ".tbk-0123456789abcdef.tmp", b"x")
    old(store / ".tbk-0123456789abcdef.tmp")
    done = docs.run("clean", "--store", status=69)
    assert done.stdout.count(b".tbk-0123456789abcdef.tmp") == 1 and b"does not exist" in done.stderr
    assert not (store / ".tbk-0123456789abcdef.tmp").exists()


def test_a_ledger_of_termbackup_6_is_not_gone_by(docs):
    path = docs.home / "store" / "metadata.json"
    ledger = json.loads(path.read_text())
    for key in ("store_id", "sequence", "history", "groups"):
        del ledger[key]
    path.write_text(json.dumps(ledger))
    shutil.rmtree(docs.home / "state")
    assert b"TermBackup 6" in docs.tbk.run("tbk-store", "clean", docs.home / "store", status=77).err


@pytest.mark.parametrize("option", (["--keep-last", "1"], ["--max-backups", "1"], ["--group", "-"], ["--allow-empty"],
                                    ["--next-mode"]))
def test_no_rule_goes_with_it(tbk, tmp_path, option):
    (tmp_path / "store").mkdir()
    assert option[0].encode() in tbk.run("tbk-store", "clean", tmp_path / "store", *option, status=64).err


def strand(github, names, age):
    """Commits files that no ledger names, dated `age` seconds ago."""
    head = github.call("GET", "git/ref/heads/main")["object"]["sha"]
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - age))
    tree = github.call("POST", "git/trees", {"base_tree": head, "tree": [
        {"path": name, "mode": "100644", "type": "blob", "content": name} for name in names]})["sha"]
    person = {"name": "somebody", "email": "somebody@example.org", "date": when}
    commit = github.call("POST", "git/commits", {"message": "strand", "tree": tree, "parents": [head], "author": person,
                                                 "committer": person})["sha"]
    github.call("PATCH", "git/refs/heads/main", {"sha": commit})


def clean(github, *arguments, status=0):
    done = github.commands.run("tbk-store", "clean", github.address, *arguments, env=github.environment,
                               status=status)
    return [line.split("\t")[:3] for line in done.lines]


def test_files_that_nothing_names_go_in_one_commit(github, tbk, small):
    archive = tbk.seal(small)
    github.push(archive)
    strand(github, ORPHANS[:2] + FOREIGN, 2 * DAY)
    strand(github, [*ORPHANS[2:], CLEAR], 60)
    ledger = github.git("show", "main:metadata.json")
    count = int(github.git("rev-list", "--count", "main"))
    wanted = sorted(["object", name, str(len(name))] for name in (*ORPHANS[:2], CLEAR))
    assert clean(github, "--dry-run") == wanted
    assert int(github.git("rev-list", "--count", "main")) == count
    assert clean(github) == wanted
    assert int(github.git("rev-list", "--count", "main")) == count + 1
    assert github.git("show", "--format=", "--name-status", "main").split() == [
        word for name in sorted((*ORPHANS[:2], CLEAR)) for word in ("D", name)]
    assert github.git("show", "main:metadata.json") == ledger
    files = github.git("ls-tree", "-r", "--name-only", "main").split()
    assert set(ORPHANS[2:] + FOREIGN) <= set(files)
    assert clean(github) == []
    assert github.pull("latest").out == archive
    github.check()


def test_assets_that_nothing_names_go(github, tbk, small):
    archive = tbk.seal(small)
    github.push(archive, "--placement", "release")
    github.fault(method="POST", path="/git/commits", status=403, times=1)
    lost = tbk.seal(small)
    github.push(lost, "--placement", "release", status=77)
    github.clear_faults()
    github.fault(method="POST", path="/assets", origin="uploads", starter=True, times=1)
    third = tbk.seal(small)
    github.push(third, "--placement", "release", status=None)
    github.clear_faults()
    names = {asset["name"]: asset["state"] for asset in github.state()["assets"]}
    assert len(names) >= 2
    assert clean(github) == []
    github.server.age(github.name, 2 * DAY)
    ledger = github.git("rev-parse", "main")
    found = clean(github)
    assert {kind for kind, _, _ in found} <= {"asset", "upload"} and len(found) >= 1
    left = {asset["name"] for asset in github.state()["assets"]}
    named = {part["name"] for entry in json.loads(github.git("show", "main:metadata.json"))["backups"]
             for part in entry.get("parts", [])}
    assert left == named
    assert github.git("rev-parse", "main") == ledger
    assert github.pull("--list").lines
    for line in github.pull("--list").lines:
        github.pull(line.split("\t")[0])


def test_unfinished_uploads_go(github, tbk, small):
    archive = tbk.seal(small)
    github.push(archive, "--placement", "release")
    release = github.state()["releases"][0]["id"]
    github.fault(method="POST", path="/assets", origin="uploads", starter=True, times=1)
    import http.client
    from urllib.parse import urlsplit
    name = "part_" + "0" * 32 + ".tbk"
    connection = http.client.HTTPConnection(urlsplit(github.server.listen["uploads"]).netloc, timeout=PATIENCE)
    connection.request("POST", f"/repos/{github.name}/releases/{release}/assets?name={name}", b"half", {
        "Authorization": f"Bearer {TOKEN}", "User-Agent": "tests", "Content-Type": "application/octet-stream"})
    connection.getresponse().read()
    connection.close()
    assert {asset["name"]: asset["state"] for asset in github.state()["assets"]}[name] == "starter"
    assert clean(github) == []
    github.server.age(github.name, DAY + 3600)
    assert [row[:2] for row in clean(github)] == [["upload", f"termbackup-1/{name}"]]
    assert github.pull("latest").out == archive


def test_a_branch_whose_ledger_cannot_be_read_keeps_all_assets(github, tbk, small):
    github.push(tbk.seal(small), "--placement", "release")
    github.fault(method="POST", path="/git/commits", status=403, times=1)
    github.push(tbk.seal(small), "--placement", "release", status=77)
    github.clear_faults()
    github.server.age(github.name, 2 * DAY)
    sha = github.call("GET", "git/ref/heads/main")["object"]["sha"]
    tree = github.call("POST", "git/trees", {"tree": [
        {"path": "metadata.json", "mode": "100644", "type": "blob", "content": "not a ledger"}]})["sha"]
    commit = github.call("POST", "git/commits", {"message": "other", "tree": tree, "parents": [sha]})["sha"]
    github.call("POST", "git/refs", {"ref": "refs/heads/other", "sha": commit})
    before = github.state()["assets"]
    clean(github, status=65)
    assert github.state()["assets"] == before


def test_the_verb_cleans_a_repository(shell, small, github_server):
    name = f"me/clean{next(NUMBERS)}"
    github_server.make_repository(name)
    shell.environment["TERMBACKUP_GITHUB_API"] = github_server.api
    shell.environment["TERMBACKUP_TOKEN"] = TOKEN
    shell.profile("docs", small, "--repo", name)
    shell.run("run", "-q", "docs", "--placement", "release")
    github_server.fault("POST", "/git/commits", status=403, times=1)
    put(os.path.join(small, "more"), b"more")
    shell.run("run", "-q", "docs", "--placement", "release", status=77)
    github_server.clear_faults()
    github_server.age(name, 2 * DAY)
    entry, = removed(shell, "--store")
    assert (entry["kind"], entry["store"]) == ("asset", f"github:{name}") and entry["size"] > 0
    shell.run("verify", "latest", "-p", "docs")


def test_clean_removes_what_dead_processes_left(shell):
    shell.run("init")
    dead = subprocess.Popen(["true"])
    dead.wait()
    tmp = shell.home / "tmp"
    for name in (f"run.{dead.pid}.0", f"edit.{dead.pid}.abc"):
        put(tmp / name / "file", b"left\n")
    put(tmp / f"run.{os.getpid()}.0" / "file", b"in use\n")
    put(tmp / "recent", b"of nobody\n")
    put(tmp / "old.tar.gz", b"of nobody\n", mtime_ns=0)

    def clean(*arguments):
        done = subprocess.run(shell.command("clean", *arguments), env=shell.environment, capture_output=True, check=True)
        return sorted(line.split("  ")[-1] for line in done.stdout.decode().splitlines())

    wanted = sorted(str(tmp / name) for name in (f"run.{dead.pid}.0", f"edit.{dead.pid}.abc", "old.tar.gz"))
    assert clean("--dry-run") == wanted
    assert clean() == wanted
    assert clean() == []
    assert sorted(os.listdir(tmp)) == sorted(["recent", f"run.{os.getpid()}.0"])

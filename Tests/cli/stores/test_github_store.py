"""GitHub as a store: what the commands put there, with how many requests, and how git sees it."""

import base64
import hashlib
import json
import random
import re
import struct
import subprocess
import sys

import pytest
from conftest import PASSWORD, require
from github_fixture import github, github_server  # noqa: F401

MIB = 1 << 20
PART = 24 * MIB


def archive(seed, payload=3000):
    """Bytes with the beginning and the length of an archive, which is all that a store checks."""
    salt = hashlib.sha256(b"salt %d" % seed).digest()
    nonce = hashlib.sha256(b"nonce %d" % seed).digest()[:12]
    header = b"TBK2" + struct.pack(">BBIHB", 2, 1, 65536, 3, 4) + b"\x20" + salt + b"\x0c" + nonce
    header += b"\x01" + struct.pack(">Q", payload)
    if payload < MIB:
        return header + hashlib.shake_256(b"payload %d" % seed).digest(payload)
    numbers = random.Random(seed)
    return header + b"".join(numbers.randbytes(min(MIB, payload - start)) for start in range(0, payload, MIB))


def identify(data):
    return hashlib.sha256(data).hexdigest()


# Commits


def test_a_backup_is_one_commit(github):
    first, second = archive(1), archive(2)
    github.push(first)
    github.push(second)
    clone = github.clone()
    ledger = json.loads((clone / "metadata.json").read_bytes())
    assert [entry["id"] for entry in ledger["backups"]] == [identify(first), identify(second)]
    assert ledger["repository"] == github.name and ledger["sequence"] == 2
    for entry, data in zip(ledger["backups"], (first, second)):
        assert (clone / "backups" / entry["filename"]).read_bytes() == data
        assert entry["commit_sha"] == "" and "parts" not in entry
    messages = github.git("log", "--format=%s").splitlines()
    assert messages == [f"Add backup_{identify(second)[:12]}.tbk", f"Add backup_{identify(first)[:12]}.tbk",
                        "Start a store of backups"]
    changed = github.git("show", "--format=", "--name-only", "HEAD").split()
    assert changed == [f"backups/backup_{identify(second)[:12]}.tbk", "metadata.json"]
    github.check()


def test_what_was_pushed_comes_back(github):
    data = archive(1)
    github.push(data)
    assert github.pull("latest").out == data
    assert github.pull(identify(data)[:8]).out == data
    github.commands.run("tbk-pull", github.address, "latest", "-o", github.scratch / "copy", env=github.environment)
    assert (github.scratch / "copy").read_bytes() == data


def test_a_small_backup_takes_seven_requests_and_eight_the_first_time(github, tmp_path):
    manifest = tmp_path / "manifest.tbk"
    counts = []
    for seed in (1, 2, 3):
        manifest.write_bytes(archive(100 + seed))
        github.clear_log()
        github.push(archive(seed), "--sealed-manifest", manifest)
        counts.append(len(github.log()))
    assert counts[0] <= 8 and max(counts[1:]) <= 7, counts
    # Another machine, which has never seen the store.
    manifest.write_bytes(archive(200))
    github.clear_log()
    github.push(archive(4), "--sealed-manifest", manifest, env={"TERMBACKUP_HOME": str(tmp_path / "other")})
    assert len(github.log()) <= 8


def test_a_ledger_that_has_not_changed_is_not_fetched_again(github):
    github.push(archive(1))
    github.pull("--list")
    github.clear_log()
    listed = github.pull("--list").lines
    assert len(listed) == 1
    assert [(entry["method"], entry["status"]) for entry in github.log()] == [("GET", 304)]


def test_a_cache_that_is_damaged_is_as_none(github):
    github.push(archive(1))
    cache = github.commands.home / ".termbackup" / "cache" / "github"
    for damage in (b"", b"{", b"x" * 1000, b"{}", b'{"branch": 7}'):
        for suffix in ("*.json", "*.ledger"):
            for file in cache.glob(suffix):
                file.write_bytes(damage)
            assert len(github.pull("--list").lines) == 1


def test_every_body_is_ciphertext(github, tmp_path):
    """No request contains file names, contents, the password or the manifest in plain text."""
    bodies = tmp_path / "bodies"
    bodies.mkdir()
    github.server.record(bodies)
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a-name-nobody-may-see.txt").write_text("content that nobody may see\n" * 50)
    commands = github.commands
    commands.run("termbackup", "init", "--no-input")
    commands.run("termbackup", "profile", "create", "p", "--source", tree, "--repo", github.name)
    commands.run("termbackup", "run", "p", "--password-file", commands.password_file, env=github.environment)
    github.server.record(None)
    files = [file for file in bodies.iterdir() if file.stat().st_size]
    assert len(files) >= 5
    everything = b""
    for file in files:
        data = file.read_bytes()
        everything += data
        for text in re.findall(rb'"content":"([A-Za-z0-9+/=]{16,})"', data):
            everything += base64.b64decode(text)
    for secret in (b"a-name-nobody", b"nobody may see", PASSWORD, b"relative_path", str(tree).encode()):
        assert secret not in everything
    assert b'\\"backups\\"' in everything or b'"backups"' in everything


def test_the_token_is_sent_to_the_api_and_to_uploads_alone(github):
    github.push(archive(1), "--placement", "release")
    github.pull("latest")
    seen = {entry["origin"]: entry["authorization"] is not None for entry in github.log()}
    assert seen == {"api": True, "uploads": True, "storage": False}


def test_two_processes_push_twenty_archives_each(github):
    script = (
        "import subprocess, sys\n"
        "for seed in range(int(sys.argv[2]), int(sys.argv[2]) + 20):\n"
        "    with open(f'{sys.argv[1]}/{seed}', 'rb') as data:\n"
        "        done = subprocess.run(sys.argv[3:], stdin=data, stdout=subprocess.DEVNULL)\n"
        "    sys.exit(done.returncode) if done.returncode else None\n")
    for seed in [*range(20), *range(100, 120)]:
        (github.scratch / str(seed)).write_bytes(archive(seed))
    environment = {**github.commands.environment, **github.environment}
    push = [github.commands.path("tbk-push"), github.address, "-q"]
    writers = [
        subprocess.Popen([sys.executable, "-c", script, str(github.scratch), str(start), *push],
                         env={**environment, "TERMBACKUP_HOME": str(github.scratch / f"home{start}")})
        for start in (0, 100)]
    assert [writer.wait(300) for writer in writers] == [0, 0]
    clone = github.clone()
    ledger = json.loads((clone / "metadata.json").read_bytes())
    wanted = {identify(archive(seed)) for seed in [*range(20), *range(100, 120)]}
    assert {entry["id"] for entry in ledger["backups"]} == wanted and len(ledger["backups"]) == 40
    assert ledger["sequence"] == 40
    for entry in ledger["backups"]:
        assert identify((clone / "backups" / entry["filename"]).read_bytes()) == entry["sha256"]
    assert len(list((clone / "backups").iterdir())) == 40
    assert len(github.git("log", "--format=%H").splitlines()) == 41
    assert github.git("log", "--min-parents=2", "--format=%H") == ""
    github.check()


def test_a_branch_that_moves_under_the_push_costs_no_blob_twice(github):
    github.push(archive(1))
    github.clear_log()
    github.fault(method="PATCH", path="/git/refs/", move_branch=1, times=4)
    github.push(archive(2))
    log = github.log()
    assert sum(entry["path"].endswith("/git/blobs") for entry in log) == 1
    assert sum(entry["path"].endswith("/git/trees") for entry in log) == 5
    ledger = json.loads((github.clone() / "metadata.json").read_bytes())
    assert len(ledger["backups"]) == 2
    github.check()


# Repositories


def test_another_branch_has_a_history_of_its_own(github):
    github.remake(files={"program.c": b"int main;\n", "doc/x": b"y"})
    refused = github.push(archive(1), status=69)
    assert b"it holds " in refused.err and b"#backups" in refused.err
    github.address += "#backups"
    github.push(archive(1))
    github.push(archive(2))
    assert github.git("ls-tree", "-r", "--name-only", "main").split() == ["doc/x", "program.c"]
    names = github.git("ls-tree", "-r", "--name-only", "backups").split()
    assert len(names) == 3 and "metadata.json" in names
    assert len(github.git("log", "--format=%H", "backups").splitlines()) == 2
    assert github.pull("latest").out == archive(2)
    plain = github.address.removesuffix("#backups")
    done = github.commands.run("tbk-pull", plain, "latest", "--branch", "backups", env=github.environment)
    assert done.out == archive(2)


def test_a_branch_of_an_empty_repository(github):
    github.address += "#deep/er"
    github.push(archive(1))
    assert github.pull("latest").out == archive(1)
    assert "metadata.json" in github.git("ls-tree", "--name-only", "deep/er").split()


@pytest.mark.parametrize("files", [{"README.md": b"# x\n"}, {"README": b"", "LICENSE": b"", ".gitignore": b""}])
def test_a_new_repository_with_a_readme_becomes_a_store(github, files):
    github.remake(files=files)
    github.push(archive(1))
    assert github.pull("latest").out == archive(1)
    names = set(github.git("ls-tree", "--name-only", "HEAD").split())
    assert names == {*files, "backups", "metadata.json"}


def test_a_store_that_lost_its_ledger_gets_no_new_one(github):
    github.push(archive(1))
    github.remake(files={"backups/backup_x.tbk": b"x"})
    github.forget()
    refused = github.push(archive(2), status=65)
    assert b"has no metadata.json" in refused.err


def test_the_default_branch_need_not_be_main(github):
    github.remake(default_branch="trunk")
    github.push(archive(1))
    assert github.pull("latest").out == archive(1)
    assert github.git("for-each-ref", "--format=%(refname:short)").split() == ["trunk"]


def test_a_store_of_termbackup_6_is_read_and_extended(github):
    old = archive(1)
    name = "backup_2026.tbk"
    entry = {"id": "ab" * 32, "filename": name, "sha256": identify(old), "commit_sha": "c" * 40, "size": len(old),
             "created_at": "2026-02-18T10:00:00.000000+00:00", "file_count": 3, "verified": True, "verified_at": None,
             "archive_version": 2, "signature": None, "mystery": {"kept": [1, 2.50, "ä"]}}
    ledger = {"tool_version": "6.0.0", "repository": github.name, "created_at": "2026-02-18T09:00:00+00:00",
              "backups": [entry], "extra": "kept"}
    github.remake(files={"metadata.json": json.dumps(ledger, indent=2).encode(), f"backups/{name}": old,
                         "backups/backup_other.tbk": b"no entry names it"})
    listed = github.pull("--list")
    assert b"TermBackup 6" in listed.err and len(listed.lines) == 1
    assert github.pull("abab").out == old
    github.push(archive(2))
    clone = github.clone()
    after = json.loads((clone / "metadata.json").read_bytes())
    assert after["backups"][0] == entry and after["extra"] == "kept" and after["sequence"] == 1
    assert (clone / "backups" / name).read_bytes() == old
    assert (clone / "backups" / "backup_other.tbk").exists()
    assert github.pull("latest").out == archive(2)


def test_a_name_that_holds_other_bytes_is_not_taken(github):
    """Next to a ledger of TermBackup 6 there may be a file that no entry names."""
    data = archive(2)
    taken = f"backups/backup_{identify(data)[:12]}.tbk"
    ledger = {"tool_version": "6.0.0", "repository": github.name, "created_at": "2026-02-18T09:00:00+00:00",
              "backups": []}
    github.remake(files={"metadata.json": json.dumps(ledger).encode(), taken: b"other bytes"})
    github.push(data)
    clone = github.clone()
    assert (clone / taken).read_bytes() == b"other bytes"
    entry = json.loads((clone / "metadata.json").read_bytes())["backups"][0]
    assert entry["filename"] == f"backup_{identify(data)[:12]}-{identify(data)[:8]}.tbk"
    assert (clone / "backups" / entry["filename"]).read_bytes() == data


def test_a_renamed_repository_is_found_with_a_detour(github):
    github.push(archive(1))
    github.server.rename(github.name, github.name + "-renamed")
    pushed = github.push(archive(2))
    assert b"has been renamed" in pushed.err
    assert github.pull("latest").out == archive(2)


def test_a_public_repository_is_pointed_out(github):
    github.remake(private=False)
    assert b"is public" in github.push(archive(1)).err


def test_create_makes_a_private_repository(github):
    github.name += "-made-now"
    github.address = f"github:{github.name}"
    assert github.push(archive(1), status=69).err.count(b"tbk-store create") == 1
    run = github.commands.run
    run("tbk-store", "create", github.address, env=github.environment)
    assert run("tbk-store", "create", github.address, env=github.environment, status=73)
    github.push(archive(1))
    assert github.pull("latest").out == archive(1)
    assert not run("tbk-store", "create", "github:nobody/x", env=github.environment, status=77).out


def test_create_makes_a_directory(github, tmp_path):
    run = github.commands.run
    run("tbk-store", "create", tmp_path / "new")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    run("tbk-store", "create", tmp_path / "new", status=73)


# Placement


def test_a_large_archive_goes_to_a_release(github):
    data = archive(1, 30 * MIB)
    github.push(data)
    clone = github.clone()
    assert sorted(path.name for path in clone.iterdir()) == [".git", ".gitattributes", "metadata.json"]
    entry = json.loads((clone / "metadata.json").read_bytes())["backups"][0]
    part = {"name": f"part_{identify(data)[:32]}.tbk", "size": len(data), "sha256": identify(data),
            "place": "termbackup-1"}
    assert entry["parts"] == [part]
    assets = github.state()["assets"]
    assert [(asset["name"], asset["size"], asset["state"]) for asset in assets] == [
        (part["name"], len(data), "uploaded")]
    assert github.pull("latest").out == data
    github.remove(identify(data))
    assert github.state()["assets"] == []
    assert github.pull("--list").out == b""


def test_a_large_archive_in_commits_has_parts(github):
    data = archive(1, 2 * PART + 1000)
    github.push(data, "--placement", "git")
    clone = github.clone()
    entry = json.loads((clone / "metadata.json").read_bytes())["backups"][0]
    assert [part["place"] for part in entry["parts"]] == ["git"] * 3
    assert [part["size"] for part in entry["parts"]] == [PART, PART, len(data) - 2 * PART]
    joined = b"".join((clone / "backups" / part["name"]).read_bytes() for part in entry["parts"])
    assert joined == data
    assert github.pull("latest").out == data
    # Also from a clone, on a machine that has seen neither.
    elsewhere = {"TERMBACKUP_HOME": str(github.scratch / "elsewhere")}
    assert github.commands.run("tbk-pull", clone, "latest", env=elsewhere).out == data
    assert len(github.git("log", "--format=%H").splitlines()) == 2
    github.remove(identify(data))
    assert github.git("ls-tree", "-r", "--name-only", "HEAD").split() == [".gitattributes", "metadata.json"]


def test_a_small_archive_can_go_to_a_release(github):
    github.push(archive(1), "--placement", "release")
    github.push(archive(2))
    assert len(github.state()["assets"]) == 1
    names = github.git("ls-tree", "-r", "--name-only", "HEAD").split()
    assert sum(name.startswith("backups/") for name in names) == 1
    assert [github.pull(identify(archive(seed))).out == archive(seed) for seed in (1, 2)] == [True, True]


def test_the_parts_of_an_archive_under_two_ids_stay_while_one_is_left(github, tmp_path):
    data = archive(1)
    receipt = tmp_path / "receipt"
    receipt.write_text(json.dumps({
        "receipt": 1, "id": "cd" * 32, "file_count": 1, "mode": "full", "depends_on": [], "complete": True,
        "created_at": "2026-11-01T00:00:00+00:00"}))
    github.push(data, "--placement", "release")
    github.push(data, "--placement", "release", "--receipt", receipt)
    github.remove(identify(data))
    assert github.pull("cdcd").out == data
    github.remove("cd" * 32)
    assert github.state()["assets"] == []


@pytest.mark.parametrize("change", [("tbk-store", "remove", "{store}", "{id}"), ("tbk-store", "replace", "{store}", "{id}"),
                                    ("tbk-prune", "{store}", "--keep-last", "1")], ids=["remove", "replace", "prune"])
def test_the_parts_of_a_backup_on_another_branch_stay(github, change):
    data, command = archive(1), [word.format(id=identify(archive(1)), store=github.address) for word in change]
    there = github.address + "#other"

    def on_the_other(*arguments, **options):
        return github.commands.run(*arguments, env=github.environment, **options)
    for seed in (1, 2):
        github.push(archive(seed), "--placement", "release")
    on_the_other("tbk-push", there, "--placement", "release", input=data)
    assert len(github.state()["assets"]) == 2
    with (github.scratch / "third").open("w+b") as third:
        third.write(archive(3))
        third.seek(0)
        github.commands.run(*command, env=github.environment, stdin=third)
    assert on_the_other("tbk-pull", there, "latest").out == data
    # They are removed once no branch names them.
    on_the_other("tbk-store", "remove", there, identify(data))
    named = {part["name"] for entry in json.loads(github.git("show", "main:metadata.json"))["backups"]
             for part in entry.get("parts", [])}
    assert {asset["name"] for asset in github.state()["assets"]} == named


def test_parts_stay_where_a_branch_cannot_be_asked(github):
    github.push(archive(1), "--placement", "release")
    github.fault(method="GET", path="/branches$", status=403, times=-1)
    assert b"still takes room" in github.remove(identify(archive(1))).err
    github.clear_faults()
    assert len(github.state()["assets"]) == 1


def test_a_removal_without_assets_asks_for_no_branch(github):
    github.push(archive(1))
    github.clear_log()
    github.remove(identify(archive(1)))
    assert [entry["path"] for entry in github.log() if entry["path"].endswith("/branches")] == []


def test_a_sealed_manifest_of_several_parts_comes_back(github, tmp_path):
    manifest = archive(9, PART + 5000)
    (tmp_path / "manifest").write_bytes(manifest)
    github.push(archive(1), "--sealed-manifest", tmp_path / "manifest")
    entry = json.loads((github.clone() / "metadata.json").read_bytes())["backups"][0]
    assert [part["place"] for part in entry["manifest"]["parts"]] == ["git", "git"]
    done = github.commands.run("tbk-pull", github.address, "--manifest", "latest", env=github.environment)
    assert done.out == manifest


def test_replacing_removes_what_was_there(github):
    data = archive(1, 30 * MIB)
    github.push(data)
    github.store("replace", identify(data), input=archive(2))
    assert github.state()["assets"] == []
    assert github.pull("latest").out == archive(2)
    github.store("replace", identify(data), input=data)
    assert github.pull("latest").out == data
    assert not [name for name in github.git("ls-tree", "-r", "--name-only", "HEAD").split() if "backups/" in name]


# Resuming


def test_an_upload_that_broke_off_goes_on_with_the_missing_blobs(github):
    data = archive(1, 3 * PART)
    github.fault(method="POST", path="/git/blobs", skip=2, times=-1, status=403,
                 body='{"message": "Resource not accessible by personal access token"}')
    github.push(data, "--placement", "git", status=77, env={"TERMBACKUP_CONNECTIONS": "1"})
    github.clear_faults()
    github.clear_log()
    github.push(data, "--placement", "git")
    sent = [entry for entry in github.log() if entry["path"].endswith("/git/blobs")]
    assert len(sent) == 2
    assert github.pull("latest").out == data


def test_an_upload_that_broke_off_goes_on_with_the_missing_assets(github):
    require("git")
    data = archive(1, 300 * MIB)
    github.fault(method="POST", path="/assets", origin="uploads", skip=1, times=-1, status=403,
                 body='{"message": "Resource not accessible by personal access token"}')
    github.push(data, status=77, env={"TERMBACKUP_CONNECTIONS": "1"})
    assert len(github.state()["assets"]) == 1
    github.clear_faults()
    github.clear_log()
    github.push(data)
    assert len([entry for entry in github.log() if entry["origin"] == "uploads"]) == 1
    assert github.pull("latest").out == data


def test_a_starter_is_replaced(github):
    github.fault(method="POST", path="/assets", origin="uploads", starter=True)
    github.push(archive(1), "--placement", "release", "--max-wait", "30")
    assert [asset["state"] for asset in github.state()["assets"]] == ["uploaded"]
    assert github.pull("latest").out == archive(1)


@pytest.mark.parametrize("placement", ["git", pytest.param("release", marks=pytest.mark.soak)])
def test_parts_that_are_alike_are_kept_once(github, placement):
    """No real archive has equal parts; a file that only looks like an archive may."""
    size = PART if placement == "git" else 256 * MIB
    front = archive(1, 0)[:-8]
    data = front + struct.pack(">Q", 3 * size - len(front) - 8) + bytes(3 * size - len(front) - 8)
    github.push(data, "--placement", placement)
    entry = json.loads(github.git("show", "HEAD:metadata.json"))["backups"][0]
    assert len(entry["parts"]) == 3 and len({part["name"] for part in entry["parts"]}) == 2
    assert github.pull("latest").out == data
    github.remove(entry["id"])
    assert github.state()["assets"] == []
    assert github.git("ls-tree", "-r", "--name-only", "HEAD").split() == [".gitattributes", "metadata.json"]


@pytest.mark.parametrize("placement", ["git", "release"])
def test_memory_does_not_grow_with_the_archive(github, placement):
    peaks = []
    for megabytes in (120, 300):
        file = github.scratch / "large"
        file.write_bytes(archive(megabytes, megabytes * MIB))
        with file.open("rb") as data:
            pushed = github.measure("tbk-push", github.address, "--placement", placement, "-q", stdin=data)
        # How many parts are transferred at once depends on timing.
        pulled = [github.measure("tbk-pull", github.address, "latest", "-o", str(github.scratch / "copy")) for _ in range(2)]
        assert (github.scratch / "copy").read_bytes() == file.read_bytes()
        peaks.append(([pushed], pulled))
    for small, large in zip(*peaks):
        assert min(large) < max(small) + 24 * MIB and max(large) < 200 * MIB, peaks

"""tbk-open as a command: what it lists, verifies, extracts and leaves unchanged."""

import json
import os
import subprocess
import time

import pytest
from conftest import FAST, PATIENCE, extract, mf, put, reference_open, snapshot
from seal_fixture import REFUSED  # noqa: F401


def test_wrong_password(tbk, small, tmp_path):
    archive = tbk.seal(small)
    for arguments in ([], ["--list"], ["--manifest"], ["--verify"], ["--cat", "plain"]):
        assert tbk.open(archive, *arguments, password=b"wrong", status=77).out == b""
    tbk.extract(archive, tmp_path / "out", password=b"wrong", status=77)
    assert not (tmp_path / "out").exists() and tbk.leftovers() == []


def test_missing_archive(tbk, tmp_path):
    tbk.run("tbk-open", "--list", tmp_path / "no such", status=66)
    tbk.open(b"", "--list", status=65)


def test_list_forms(tbk, tree, small):
    archive = tbk.seal(tree)
    entries = json.loads(tbk.open(archive, "--manifest").out)["files"]
    assert tbk.open(archive, "--list", "-0").out.split(b"\0")[:-1] == [mf.raw(entry["relative_path"]) for entry in entries]
    assert [json.loads(line)["relative_path"] for line in tbk.open(archive, "--list", "--json").out.splitlines()] == \
        [entry["relative_path"] for entry in entries]
    assert tbk.open(archive, "--list").out == tbk.run("tbk-manifest", "show", "-", input=mf.encode({"files": entries, **{
        key: value for key, value in json.loads(tbk.open(archive, "--manifest").out).items() if key != "files"}})).out
    assert len(tbk.open(tbk.seal(small), "--list", "-l").lines) == 6


def test_verify_says_what_is_there(tbk, small):
    archive = tbk.seal(small)
    backup, = reference_open(archive)
    size = sum(entry["size"] for entry in backup.manifest["files"] if "hard_link" not in entry)
    assert tbk.open(archive, "--verify").lines == [f"ok {backup.id} 3 files {size} bytes"]
    report = json.loads(tbk.open(archive, "--verify", "--json").out)
    assert report == {"ok": True, "id": backup.id, "format": "TBK2", "mode": "full", "file_count": 3, "entry_count": 6, "size": size,
                      "missing": [], "absent": []}


def test_cat(tbk, tree):
    archive = tbk.seal(tree)
    for path in (b"repeating", b"manifest.json", b"empty file", b"z last", b"links/first", b"names/not UTF-8 \xff\xfe", b"names/new\nline"):
        with open(os.path.join(os.fsencode(tree), path), "rb") as file:
            assert tbk.open(archive, "--cat", path).out == file.read()
    for path in (b"no such", b"links", b"../tree/repeating"):
        assert tbk.open(archive, "--cat", path, status=REFUSED).out == b""


def test_expect_id(tbk, small, tmp_path):
    archive = tbk.seal(small)
    identity = reference_open(archive)[0].id
    for given in (identity, identity[:8]):
        tbk.extract(archive, tmp_path / given, "--expect-id", given)
    wrong = f"{int(identity[:8], 16) ^ 1:08x}"
    tbk.extract(archive, tmp_path / "wrong", "--expect-id", wrong, status={65, 77})
    tbk.extract(archive, tmp_path / "wrong", "--expect-id", identity[:7], status=64)
    assert not (tmp_path / "wrong").exists()


def test_against_a_manifest(tbk, small, tmp_path):
    archive = tbk.seal(small)
    right = put(tmp_path / "right", tbk.open(archive, "--manifest").out)
    wrong = put(tmp_path / "wrong", tbk.open(tbk.seal(small), "--manifest").out)
    tbk.extract(archive, tmp_path / "out", "--against", right)
    assert snapshot(tmp_path / "out") == snapshot(small)
    tbk.extract(archive, tmp_path / "other", "--against", wrong, status=65)
    assert not (tmp_path / "other").exists()


def test_include_and_exclude(tbk, small, tmp_path):
    archive = tbk.seal(small)

    def restored(*arguments):
        out = tmp_path / "-".join(map(str, arguments)).replace("/", "_")
        tbk.extract(archive, out, *arguments)
        return {path for path, found in snapshot(out).items() if path and found["kind"] != 0o40000}
    assert restored("--include", "plain") == {b"plain"}
    assert restored("--include", "d/inside") == {b"d/inside"}
    assert restored("--include", "/d/") == {b"d/inside", b"d/other"}
    assert restored("--exclude", "d/") == {b"plain", b"link"}
    assert restored("--include", "d/", "--exclude", "other") == {b"d/inside"}


def below(directory):
    """Everything below the directory, without itself: it existed before, and staging changes its times."""
    return {path: found for path, found in snapshot(directory).items() if path}


def test_overwrite_never_changes_nothing(tbk, small, tmp_path):
    archive = tbk.seal(small)
    put(tmp_path / "out" / "plain", b"mine\n")
    below_before = below(tmp_path / "out")
    for arguments in ([], ["--overwrite", "never"]):
        tbk.extract(archive, tmp_path / "out", *arguments, status=73)
        assert below(tmp_path / "out") == below_before


def test_overwrite_always_replaces_and_leaves_the_rest(tbk, small, tmp_path):
    archive = tbk.seal(small)
    put(tmp_path / "out" / "plain", b"mine\n")
    put(tmp_path / "out" / "d" / "of my own", b"mine\n")
    tbk.extract(archive, tmp_path / "out", "--overwrite", "always")
    have, want = below(tmp_path / "out"), below(small)
    assert have.pop(b"d/of my own")["content"] == mf.hashlib.sha256(b"mine\n").hexdigest()
    assert have == want


def test_overwrite_if_changed_keeps_what_matches(tbk, small, tmp_path):
    archive = tbk.seal(small)
    tbk.extract(archive, tmp_path / "out")
    put(tmp_path / "out" / "plain", b"mine\n")
    kept = os.stat(tmp_path / "out" / "d" / "inside").st_ino
    tbk.extract(archive, tmp_path / "out", "--overwrite", "if-changed")
    assert os.stat(tmp_path / "out" / "d" / "inside").st_ino == kept
    assert below(tmp_path / "out") == below(small)


def test_dry_run_says_what_would_be_done(tbk, small, tmp_path):
    archive = tbk.seal(small)
    put(tmp_path / "out" / "plain", b"mine\n")
    os.makedirs(tmp_path / "out" / "d")
    put(tmp_path / "out" / "d" / "inside", b"inside\n" * 100)
    before = snapshot(tmp_path / "out")
    for policy, plain in (("never", "conflict"), ("always", "replace"), ("if-changed", "replace")):
        lines = set(tbk.extract(archive, tmp_path / "out", "--dry-run", "--overwrite", policy, status={0, 73}).lines)
        assert {f"{plain}\tplain", "create\td/other", "create\tlink", "create\tempty"} <= lines
        if policy == "if-changed":
            assert "keep\td/inside" in lines
        assert snapshot(tmp_path / "out") == before


def test_no_owner_and_owners_for_another_user(tbk, small, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    os.chown(os.path.join(small, "plain"), 54321, 54322)
    archive = tbk.seal(small)
    for arguments, owner in (([], (54321, 54322)), (["--numeric-owner"], (54321, 54322)), (["--no-owner"], (0, 0))):
        out = tmp_path / "".join(["out", *arguments])
        tbk.extract(archive, out, *arguments)
        info = os.stat(out / "plain")
        assert (info.st_uid, info.st_gid) == owner


def test_extraction_by_a_user_who_is_not_root(unprivileged):
    tbk, folder = unprivileged
    put(folder / "tree" / "plain", b"plain\n")
    archive = tbk.seal(folder / "tree", **tbk.user)
    (folder / "out").mkdir()
    os.chown(folder / "out", *([65534] * 2 if tbk.user else [-1, -1]))
    tbk.extract(archive, folder / "out", **tbk.user)
    assert (folder / "out" / "plain").read_bytes() == b"plain\n"


def test_destination_that_cannot_be_written(unprivileged):
    tbk, folder = unprivileged
    put(folder / "tree" / "plain", b"plain\n")
    archive = tbk.seal(folder / "tree", **tbk.user)
    (folder / "out").mkdir()
    os.chmod(folder / "out", 0o555)
    tbk.extract(archive, folder / "out", status={73, 74, 77}, **tbk.user)
    assert os.listdir(folder / "out") == []


def test_our_chain_back_to_back(tbk, small, tmp_path):
    archives = [tbk.seal(small)]
    for number in range(3):
        put(os.path.join(small, f"new {number}"), b"%d\n" % number)
        put(os.path.join(small, "plain"), b"changed %d\n" % number)
        previous = put(tmp_path / f"previous {number}", tbk.open(archives[-1], "--manifest").out)
        manifest = tbk.manifest(small, "--previous", previous, "--mode", "incremental", "--defer-hash")
        archives.append(tbk.run("tbk-seal", *FAST, "--receipt", tmp_path / "receipt", input=manifest).out)
    os.unlink(os.path.join(small, "new 0"))
    tbk.extract(b"".join(reversed(archives)), tmp_path / "chain", "--chain")
    want = tmp_path / "want"
    want.mkdir()
    extract.extract(reference_open(*archives), want, owner=True)
    assert snapshot(tmp_path / "chain") == snapshot(want)
    assert (tmp_path / "chain" / "new 0").exists()


def test_progress_may_wait_for_the_end_of_the_input(tbk, tmp_path):
    put(tmp_path / "tree" / "random", os.urandom(16 << 20))
    (tmp_path / "store").mkdir()
    tbk.run("tbk-push", tmp_path / "store", input=tbk.seal(tmp_path / "tree"))
    chain = tbk.run("tbk-pull", "--chain", tmp_path / "store", "latest").out
    process = tbk.start("tbk-open", "--quiet", "--chain", "--cat", "random", "--progress", "always", "--progress-after-input",
                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdin.write(chain)
    process.stdin.flush()
    os.set_blocking(process.stderr.fileno(), False)
    for _ in range(8):
        assert process.stdout.read(1 << 20)
        time.sleep(0.1)
    assert b"opening" not in (process.stderr.read() or b"")
    process.stdin.close()
    shown = b""
    while process.stdout.read(1 << 18):
        time.sleep(0.05)
        shown += process.stderr.read() or b""
    assert process.wait(PATIENCE) == 0 and b"\ropening  " in shown, shown


def test_progress_after_the_input_needs_some(tbk, small, tmp_path):
    put(tmp_path / "archive", tbk.seal(small))
    done = tbk.run("tbk-open", "--list", "--progress-after-input", tmp_path / "archive", status=64)
    assert b"--progress-after-input" in done.err
    # Short operations show no progress.
    always = ["--list", "--progress", "always", "--progress-after-input"]
    assert tbk.run("tbk-open", *always, input=tbk.seal(small)).err == b""


def test_chain_that_is_cut_is_refused(tbk, small, tmp_path):
    base = tbk.seal(small)
    put(os.path.join(small, "new"), b"new\n")
    previous = put(tmp_path / "previous", tbk.open(base, "--manifest").out)
    manifest = tbk.manifest(small, "--previous", previous, "--mode", "incremental")
    changed = tbk.run("tbk-seal", *FAST, "--receipt", tmp_path / "receipt", input=manifest).out
    for cut in (changed, changed + base[:-1], changed + base[:50], changed[:-1], changed + base + b"x", changed + base + base[:50]):
        tbk.extract(cut, tmp_path / "out", "--chain", status={65, 66})
        assert not (tmp_path / "out").exists(), cut[-10:]
    tbk.extract(changed + base, tmp_path / "out", "--chain")

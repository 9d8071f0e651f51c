"""Archives between the suite and the reference, in both directions."""

import json
import os
import shutil

import pytest
from conftest import (
    COST,
    FAST,
    PASSWORD,
    SUITE_BIN,
    Commands,
    crypto,
    extract,
    gz,
    mf,
    no_set_id,
    put,
    reference_archive,
    reference_open,
    snapshot,
    tars,
    without,
)
from tbkref import header, tbk6

# Written by us, read by the reference


def test_reference_restores_the_whole_tree(tbk, tree, tmp_path):
    backups = reference_open(tbk.seal(tree))
    (tmp_path / "out").mkdir()
    extract.extract(backups, tmp_path / "out", owner=os.geteuid() == 0, setuid=True)
    assert snapshot(tmp_path / "out") == snapshot(tree)


def test_manifest_says_what_the_reference_says(tbk, tree):
    """Compares entry by entry, except what differs between two runs."""
    ours = json.loads(tbk.manifest(tree))
    theirs = json.loads(mf.encode(mf.build(tree)))
    assert [entry["relative_path"] for entry in ours["files"]] == [entry["relative_path"] for entry in theirs["files"]]
    for ours_entry, theirs_entry in zip(ours["files"], theirs["files"]):
        assert abs(ours_entry.pop("modified_at") - theirs_entry.pop("modified_at")) < 1e-5
        # Reading changes no time that is compared, and implementations may choose how to rename a file.
        assert ours_entry.pop("stored_as", None) is None or theirs_entry["stored_as"]
        theirs_entry.pop("stored_as", None)
        assert ours_entry == theirs_entry
    for key in ("version", "os_name", "architecture", "backup_mode", "parent_backup_id", "backup_id", "source_dir",
                "unreadable"):
        assert ours[key] == theirs[key], key
    ours["root"].pop("modified_at"), theirs["root"].pop("modified_at")
    assert ours["root"] == theirs["root"]


def test_manifest_fields_have_their_form(tbk, small):
    import re
    manifest = json.loads(tbk.manifest(small))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", manifest["created_at"])
    assert re.fullmatch(r"[0-9a-f]{32}", manifest["nonce"])
    assert json.loads(tbk.manifest(small))["nonce"] != manifest["nonce"]


def test_backup_id_is_what_json_dumps_gives(tbk, tree):
    stored = json.loads(tbk.open(tbk.seal(tree), "--manifest").out)
    assert stored["backup_id"] == mf.backup_id(stored)


def test_stored_manifest_is_what_manifest_prints(tbk, tree):
    archive = tbk.seal(tree)
    tar = gz.decompress(crypto.open_archive(archive, PASSWORD)[1])
    inside = [member.data for member in tars.read(tar) if member.name == b"manifest.json"]
    assert [json.loads(data) for data in inside] == [json.loads(tbk.open(archive, "--manifest").out)]


def test_tar_keeps_manifest_order_and_ends_with_the_manifest(tbk, tree):
    backup, = reference_open(tbk.seal(tree))
    tar = tars.read(gz.decompress(crypto.open_archive(tbk.seal(tree), PASSWORD)[1]))
    assert [member.name for member in tar] == \
        [mf.raw(mf.stored_name(entry)) for entry in backup.manifest["files"]] + [b"manifest.json"]
    paths = [mf.raw(entry["relative_path"]) for entry in backup.manifest["files"]]
    assert paths == sorted(paths)


def test_defaults_of_the_header(tmp_path, small):
    archive = Commands(tmp_path, SUITE_BIN).run("tbk-seal", small).out
    head, _ = header.split(archive)
    assert (head.memory, head.time, head.lanes, head.kdf, head.suite) == (65536, 3, 4, 1, 1)
    assert (len(head.salt), len(head.nonce)) == (32, 12)
    extract.read(archive, PASSWORD)


def test_salt_and_nonce_are_never_used_again(tbk, small):
    heads = [header.split(tbk.seal(small))[0] for _ in range(3)]
    assert len({head.salt for head in heads}) == len({head.nonce for head in heads}) == 3


COSTS = [(8, 1, 1), (64, 1, 1), (67, 2, 2), (1024, 5, 4), (4096, 1, 16), (65536, 3, 4)]


@pytest.mark.parametrize("memory, time, lanes", COSTS)
def test_argon2_costs_in_both_directions(memory, time, lanes, tbk, small, tmp_path):
    archive = tbk.run("tbk-seal", "--memory", str(memory), "--iterations", str(time), "--lanes", str(lanes), small).out
    reference_open(archive)
    archive, _ = reference_archive(small, memory=memory, time=time, lanes=lanes)
    tbk.extract(archive, tmp_path / "out")
    assert snapshot(tmp_path / "out") == snapshot(small)


@pytest.mark.parametrize("password", [b"a", b" ", b"\xff\xfe\xfd", "p\u00e4ssword".encode(), "pa\u0308ssword".encode(), b"tab\tand\rreturn",
                                      b"two\nlines", b"ends in two newlines\n", b"p" * 1024], ids=repr)
def test_passwords_are_bytes(password, tbk, small, tmp_path):
    # In a password file, one trailing newline is not part of the password.
    given = password + b"\n"
    reference_open(tbk.seal(small, password=given), password=password)
    archive, _ = reference_archive(small, password)
    tbk.extract(archive, tmp_path / "out", password=given)
    tbk.open(archive, "--list", password=given + b"\n", status=77)


# Written by the reference, read by us


@pytest.mark.parametrize("options", [
    {}, {"kdf": 2, "suite": 2}, {"kdf": 1, "suite": 2}, {"members": 2}, {"members": 50}, {"level": 0}, {"level": 9},
    {"salt": bytes(8)}, {"salt": bytes(255)},
], ids=str)
def test_whole_tree_from_the_reference(options, tbk, tree, tmp_path):
    archive, manifest = reference_archive(tree, **options)
    tbk.extract(archive, tmp_path / "out", "--setuid")
    assert snapshot(tmp_path / "out") == snapshot(tree)
    assert json.loads(tbk.open(archive, "--manifest").out) == manifest


@pytest.mark.parametrize("form", ["gnu", "pax"])
def test_tar_formats_from_the_reference(form, tbk, tree, tmp_path):
    archive, _ = reference_archive(tree, form=form)
    tbk.extract(archive, tmp_path / "out", "--setuid")
    assert without(snapshot(tmp_path / "out"), "xattrs") == without(snapshot(tree), "xattrs")


def test_ustar_from_the_reference(tbk, small, tmp_path):
    put(os.path.join(small, "d" * 100, "e" * 50, "f" * 90), b"prefix\n")
    archive, _ = reference_archive(small, form="ustar")
    tbk.extract(archive, tmp_path / "out")
    assert snapshot(tmp_path / "out") == snapshot(small)


@pytest.mark.parametrize("length", [8, 13, 16, 32])
def test_nonce_of_another_length_is_read_right_or_refused(length, tbk, small, tmp_path):
    archive, _ = reference_archive(small, nonce=os.urandom(length))
    if tbk.extract(archive, tmp_path / "out", status={0, 65}).status == 0:
        assert snapshot(tmp_path / "out") == snapshot(small)
    else:
        assert os.listdir(tmp_path / "out") == []


def test_manifest_may_come_first(tbk, small, tmp_path):
    manifest = mf.with_id(mf.build(small))
    payload = gz.compress(tars.write(manifest, tars.content_of(small), manifest_first=True))
    tbk.extract(crypto.seal_tbk2(payload, PASSWORD, **COST), tmp_path / "out")
    assert snapshot(tmp_path / "out") == snapshot(small)


def test_members_may_end_anywhere(tbk, small, tmp_path):
    """Gzip members of one byte each: no boundary in the tar coincides with theirs."""
    manifest = mf.with_id(mf.build(small))
    tar = tars.write(manifest, tars.content_of(small))
    archive = crypto.seal_tbk2(gz.compress(tar, members=len(tar)), PASSWORD, **COST)
    tbk.extract(archive, tmp_path / "out")
    assert snapshot(tmp_path / "out") == snapshot(small)


@pytest.mark.parametrize("iterations", [1, 1000, 100_000, 600_000])
def test_tbk1(iterations, tbk, tree, tmp_path):
    manifest = mf.with_id(mf.build(tree))
    payload = gz.compress(tars.write(manifest, tars.content_of(tree)))
    archive = crypto.seal_tbk1(payload, PASSWORD, iterations)
    tbk.extract(archive, tmp_path / "out", "--setuid")
    assert snapshot(tmp_path / "out") == snapshot(tree)
    assert gz.decompress(payload) == tbk.open(archive).out
    tbk.open(archive, "--list", password=b"wrong", status=77)


def test_header_of_both_formats(tbk, small):
    archive, _ = reference_archive(small, kdf=2, suite=2)
    head, body = header.split(archive)
    assert json.loads(tbk.open(archive, "--header", "--json", password=None).out) == {
        "format": "TBK2", "kdf": "argon2id", "kdf_id": 2, "memory_kib": 64, "iterations": 1, "lanes": 1, "salt": head.salt.hex(),
        "nonce": head.nonce.hex(), "cipher": "aes-256-gcm", "cipher_id": 2, "payload_length": len(body),
        "header_length": len(archive) - len(body), "total_length": len(archive)}
    archive = crypto.seal_tbk1(b"x", PASSWORD, 1000, salt=bytes(16))
    found = json.loads(tbk.open(archive, "--header", "--json", password=None).out)
    head, body = header.split(archive)
    assert (found["format"], found["iterations"], found["salt"], found["iv"], found["payload_length"]) == \
        ("TBK1", 1000, "00" * 16, head.iv.hex(), 16)
    lines = tbk.open(archive, "--header", password=None).lines
    assert "format: TBK1" in lines and "iterations: 1000" in lines


# Incrementals


def reference_incremental(directory, previous):
    return reference_archive(directory, manifest=mf.build(directory, "incremental", previous))


def test_incremental_of_the_reference_restores(tbk, small, tmp_path):
    os.link(os.path.join(small, "plain"), os.path.join(small, "same"))
    base, first = reference_archive(small)
    put(os.path.join(small, "new"), b"new\n")
    os.unlink(os.path.join(small, "d", "other"))
    put(os.path.join(small, "d", "inside"), b"changed\n")
    changed, second = reference_incremental(small, first)
    put(os.path.join(small, "newest"), b"newest\n")
    again, third = reference_incremental(small, second)
    assert mf.depends_on(third) == sorted({first["backup_id"], second["backup_id"]})
    files = [put(tmp_path / name, data) for name, data in (("1", base), ("2", changed), ("3", again))]
    (tmp_path / "out").mkdir()
    tbk.run("tbk-open", "-C", tmp_path / "out", *files)
    assert snapshot(tmp_path / "out") == snapshot(small)
    # Concatenated, newest first, as a pipe from a store delivers them.
    tbk.extract(again + changed + base, tmp_path / "chain", "--chain")
    assert snapshot(tmp_path / "chain") == snapshot(small)


@pytest.mark.parametrize("given", [[2], [0, 2], [1, 2]], ids=str)
def test_incremental_without_what_it_needs_is_refused_by_name(given, tbk, small, tmp_path):
    base, first = reference_archive(small)
    put(os.path.join(small, "new"), b"new\n")
    changed, second = reference_incremental(small, first)
    put(os.path.join(small, "newest"), b"newest\n")
    again, _ = reference_incremental(small, second)
    files = [put(tmp_path / str(n), data) for n, data in enumerate((base, changed, again))]
    (tmp_path / "out").mkdir()
    result = tbk.run("tbk-open", "-C", tmp_path / "out", *[files[n] for n in given], status={65, 66})
    lacking = {first["backup_id"], second["backup_id"]} - {[first, second][n]["backup_id"] for n in given if n < 2}
    for identity in lacking:
        assert identity[:12].encode() in result.err
    assert os.listdir(tmp_path / "out") == []
    assert b"newest" in tbk.open(again, "--list").out


@pytest.mark.parametrize("lie", ["hash", "gone", "points on"])
def test_stored_in_that_lies_is_refused(lie, tbk, small, tmp_path):
    base, first = reference_archive(small)
    entry = next(entry for entry in first["files"] if entry["relative_path"] == "plain")
    put(os.path.join(small, "new"), b"new\n")
    if lie == "hash":
        changed_base = mf.build(small)
        for entry in changed_base["files"]:
            if entry["relative_path"] == "plain":
                entry["sha256"] = "ab" * 32
        first = {**changed_base, "backup_id": first["backup_id"]}
        put(os.path.join(small, "plain"), b"plain\n")
        manifest = mf.build(small, "incremental", json.loads(json.dumps(first)))
        for entry in manifest["files"]:
            if entry["relative_path"] == "plain":
                entry["sha256"], entry["stored_in"] = "ab" * 32, first["backup_id"]
    else:
        manifest = mf.build(small, "incremental", first)
        if lie == "gone":
            manifest["files"] += [{**entry, "relative_path": "zz", "stored_in": first["backup_id"]}]
        else:
            middle = mf.with_id(mf.build(small, "incremental", first))
            base = reference_archive(small, manifest={**middle, "backup_id": None})[0]
            for entry in manifest["files"]:
                if "stored_in" in entry:
                    entry["stored_in"] = middle["backup_id"]
    again, _ = reference_archive(small, manifest=manifest)
    files = [put(tmp_path / "1", base), put(tmp_path / "2", again)]
    (tmp_path / "out").mkdir()
    result = tbk.run("tbk-open", "-C", tmp_path / "out", *files, status={65, 66})
    assert os.listdir(tmp_path / "out") == []
    if lie == "gone":
        assert result.status == 65 and b"not given" not in result.err


def test_our_incremental_restores_by_the_reference(tbk, small, tmp_path):
    os.link(os.path.join(small, "plain"), os.path.join(small, "same"))
    base = tbk.seal(small)
    previous = put(tmp_path / "previous", tbk.open(base, "--manifest").out)
    put(os.path.join(small, "new"), b"new\n")
    os.unlink(os.path.join(small, "d", "other"))
    manifest = tbk.manifest(small, "--previous", previous, "--mode", "incremental")
    receipt = tmp_path / "receipt"
    changed = tbk.run("tbk-seal", *FAST, "--receipt", receipt, input=manifest).out
    backups = reference_open(base, changed)
    (tmp_path / "out").mkdir()
    extract.extract(backups, tmp_path / "out", owner=True)
    assert snapshot(tmp_path / "out") == snapshot(small)
    body = backups[1].manifest
    assert body["backup_mode"] == "incremental"
    assert {e["relative_path"] for e in body["files"] if mf.kind(e) == "file" and "stored_in" not in e} == {"new"}
    assert mf.depends_on(body) == json.loads(receipt.read_text())["depends_on"] == [backups[0].id]


# TermBackup 6


def old_archive(directory, manifest=None):
    manifest = manifest or tbk6.build(directory)[0]
    return crypto.seal_tbk2(gz.compress(tbk6.write(manifest, directory)), PASSWORD, **COST, kdf=2, suite=2)


@pytest.fixture
def old_tree(tmp_path):
    top = tmp_path / "old"
    put(top / "plain", b"plain\n", mode=0o640, mtime_ns=1_500_000_000_250_000_000)
    put(top / "d" / "e" / "inside", b"inside\n")
    put(top / "empty file")
    put(top / "caf\u00e9", b"utf-8\n")
    put(os.fsencode(top) + b"/latin \xe9", b"bytes\n")
    return top


def same_files(left, right):
    keep = ("kind", "content", "mode", "link")

    def files(top):
        return {path: {key: found[key] for key in keep if key in found} for path, found in snapshot(top).items()
                if found["kind"] != 0o40000}
    return files(left) == files(right)


def test_termbackup6_full(tbk, old_tree, tmp_path):
    tbk.extract(old_archive(old_tree), tmp_path / "out")
    assert same_files(old_tree, tmp_path / "out")
    assert (tmp_path / "out" / "plain").stat().st_mtime == 1_500_000_000.25


def test_termbackup6_in_tbk1(tbk, old_tree, tmp_path):
    payload = gz.compress(tbk6.write(tbk6.build(old_tree)[0], old_tree))
    tbk.extract(crypto.seal_tbk1(payload, PASSWORD, 1000), tmp_path / "out")
    assert same_files(old_tree, tmp_path / "out")


def test_termbackup6_does_not_keep_empty_directories_and_dangling_links(tbk, old_tree, tmp_path):
    want = tmp_path / "want"
    shutil.copytree(old_tree, want, symlinks=True)
    (old_tree / "empty").mkdir()
    (old_tree / "dangling").symlink_to("nowhere")
    tbk.extract(old_archive(old_tree), tmp_path / "out")
    assert same_files(want, tmp_path / "out")
    assert not (tmp_path / "out" / "empty").exists()


def test_termbackup6_symlink_to_a_file(tbk, old_tree, tmp_path):
    (old_tree / "link").symlink_to("plain")
    (old_tree / "d" / "absolute").symlink_to(old_tree / "plain")
    archive = old_archive(old_tree)
    tbk.extract(archive, tmp_path / "out")
    assert same_files(old_tree, tmp_path / "out")
    tbk.open(archive, "--verify")
    assert tbk.open(archive).status == 0


def test_termbackup6_hard_link(tbk, old_tree, tmp_path):
    os.link(old_tree / "plain", old_tree / "zz second")
    os.link(old_tree / "plain", old_tree / "d" / "another")
    tbk.extract(old_archive(old_tree), tmp_path / "out")
    assert same_files(old_tree, tmp_path / "out")


def test_termbackup6_vanished_file_is_named_and_the_rest_restored(tbk, old_tree, tmp_path):
    manifest, _ = tbk6.build(old_tree)
    (old_tree / "plain").unlink()
    result = tbk.extract(old_archive(old_tree, manifest), tmp_path / "out", status=3)
    assert b"plain" in result.err
    assert same_files(old_tree, tmp_path / "out")


def test_termbackup6_own_manifest(tbk, old_tree, tmp_path):
    put(old_tree / "manifest.json", b"not a manifest\n")
    archive = old_archive(old_tree)
    tbk.extract(archive, tmp_path / "out")
    assert same_files(old_tree, tmp_path / "out")
    assert tbk.open(archive, "--cat", "manifest.json").out == b"not a manifest\n"
    assert json.loads(tbk.open(archive, "--manifest").out)["version"] == "1.0"


def old_chain(old_tree):
    first, listing = tbk6.build(old_tree)
    archives = [old_archive(old_tree, first)]
    put(old_tree / "plain", b"changed\n")
    put(old_tree / "new", b"new\n")
    second, listing = tbk6.build(old_tree, first["backup_id"], listing)
    assert second["backup_id"] != mf.backup_id(second)
    archives.append(old_archive(old_tree, second))
    put(old_tree / "d" / "e" / "inside", b"changed too\n")
    third, _ = tbk6.build(old_tree, second["backup_id"], listing)
    archives.append(old_archive(old_tree, third))
    return archives


def test_termbackup6_chain(tbk, old_tree, tmp_path):
    archives = old_chain(old_tree)
    files = [put(tmp_path / str(n), archive) for n, archive in enumerate(archives)]
    (tmp_path / "out").mkdir()
    tbk.run("tbk-open", "-C", tmp_path / "out", *files)
    assert same_files(old_tree, tmp_path / "out")
    tbk.extract(b"".join(reversed(archives)), tmp_path / "chain", "--chain")
    assert same_files(old_tree, tmp_path / "chain")


@pytest.mark.parametrize("order", [[2, 1, 0], [1, 0, 2], [0, 2], [1, 2], [2], [0, 1, 1]], ids=str)
def test_termbackup6_chain_that_is_none_is_refused(order, tbk, old_tree, tmp_path):
    archives = old_chain(old_tree)
    files = [put(tmp_path / str(n), archive) for n, archive in enumerate(archives)]
    (tmp_path / "out").mkdir()
    tbk.run("tbk-open", "-C", tmp_path / "out", *[files[n] for n in order], status={65, 66})
    assert os.listdir(tmp_path / "out") == []


def given(tmp_path, archives):
    return [put(tmp_path / f"archive {n}", archive) for n, archive in enumerate(archives)]


def chain_of(top, *changes):
    """A full backup of `top`, and an increment after each of `changes`."""
    manifest, listing = tbk6.build(top)
    archives = [old_archive(top, manifest)]
    for change in changes:
        change()
        manifest, listing = tbk6.build(top, manifest["backup_id"], listing)
        archives.append(old_archive(top, manifest))
    return archives


def replaced_first_name(top):
    os.link(top / "plain", top / "zz second")

    def change():
        (top / "plain").unlink()
        put(top / "plain", b"two\n")
    return chain_of(top, change)


def test_termbackup6_hard_link_has_the_content_of_its_own_archive(tbk, old_tree, tmp_path):
    files = given(tmp_path, replaced_first_name(old_tree))
    (tmp_path / "out").mkdir()
    tbk.run("tbk-open", "-C", tmp_path / "out", *files)
    assert same_files(old_tree, tmp_path / "out")
    assert tbk.run("tbk-open", "--cat", "zz second", *files).out == b"plain\n"
    assert tbk.run("tbk-open", "--cat", "plain", *files).out == b"two\n"


def test_termbackup6_hard_links_of_a_file_that_changed_stay_one_file(tbk, old_tree, tmp_path):
    os.link(old_tree / "plain", old_tree / "zz second")
    os.link(old_tree / "plain", old_tree / "zz third")

    def change():
        (old_tree / "plain").unlink()
        put(old_tree / "plain", b"two\n")
    files = given(tmp_path, chain_of(old_tree, change))
    (tmp_path / "out").mkdir()
    tbk.run("tbk-open", "-C", tmp_path / "out", *files)
    assert same_files(old_tree, tmp_path / "out")
    assert (tmp_path / "out" / "zz second").samefile(tmp_path / "out" / "zz third")


@pytest.mark.parametrize("options, wanted", [
    (["--include=plain"], ["plain"]), (["--include=d"], ["d", "d/e", "d/e/inside"]), (["--include=zz second"], ["zz second"]),
    (["--exclude=plain", "--exclude=zz*", "--exclude=*\udce9"], ["caf\u00e9", "d", "d/e", "d/e/inside", "empty file"]),
])
@pytest.mark.parametrize("length", [1, 2])
def test_termbackup6_chosen_files(options, wanted, length, tbk, old_tree, tmp_path):
    files = given(tmp_path, replaced_first_name(old_tree)[:length])
    (tmp_path / "out").mkdir()
    tbk.run("tbk-open", "-C", tmp_path / "out", *options, *files)
    found = snapshot(tmp_path / "out")
    assert {path for path in map(os.fsdecode, found) if path not in ("", ".")} == set(wanted)
    if "zz second" in wanted:
        assert (tmp_path / "out" / "zz second").read_bytes() == b"plain\n"


def directory_becomes_file(top):
    shutil.rmtree(top / "d")
    put(top / "d", b"a file\n")


def file_becomes_directory(top):
    (top / "plain").unlink()
    put(top / "plain" / "below" / "it", b"a directory\n")
    put(top / "plain.d", b"beside it\n")


@pytest.mark.parametrize("change", [directory_becomes_file, file_becomes_directory])
def test_termbackup6_chain_with_a_change_of_type(change, tbk, old_tree, tmp_path):
    files = given(tmp_path, chain_of(old_tree, lambda: change(old_tree), lambda: put(old_tree / "later", b"later\n")))
    assert tbk.run("tbk-open", "--verify", *files).out.startswith(b"ok ")
    (tmp_path / "out").mkdir()
    tbk.run("tbk-open", "-C", tmp_path / "out", *files)
    assert same_files(old_tree, tmp_path / "out")


def test_termbackup6_dry_run_and_cat_look_at_the_whole_chain(tbk, old_tree, tmp_path):
    files = given(tmp_path, old_chain(old_tree))
    shown = tbk.run("tbk-open", "-C", tmp_path / "out", "--dry-run", *files).lines
    assert {"create\tplain", "create\tempty file", "create\td/e/inside"} <= set(shown)
    for name, content in [("plain", b"changed\n"), ("d/e/inside", b"changed too\n"), ("caf\u00e9", b"utf-8\n")]:
        assert tbk.run("tbk-open", "--cat", name, *files).out == content
    tbk.run("tbk-open", "--cat", "nothing", *files, status=66)
    tbk.run("tbk-open", "--cat", "plain", files[2], status=66)


def test_termbackup6_cat_of_a_second_name(tbk, old_tree):
    os.link(old_tree / "plain", old_tree / "zz second")
    assert tbk.open(old_archive(old_tree), "--cat", "zz second").out == b"plain\n"


def test_termbackup6_file_that_vanished_in_every_archive_is_named(tbk, old_tree, tmp_path):
    first, listing = tbk6.build(old_tree)
    put(old_tree / "new", b"new\n")
    second, _ = tbk6.build(old_tree, first["backup_id"], listing)
    base = old_archive(old_tree, first)
    (old_tree / "new").unlink()
    files = given(tmp_path, [base, old_archive(old_tree, second)])
    (tmp_path / "out").mkdir()
    result = tbk.run("tbk-open", "-C", tmp_path / "out", *files, status=3)
    assert b"'new': listed" in result.err
    assert same_files(old_tree, tmp_path / "out")


def test_tar_of_what_needs_others_is_refused(tbk, small, old_tree, tmp_path):
    _, first = reference_archive(small)
    put(os.path.join(small, "new"), b"new\n")
    archive, _ = reference_incremental(small, first)
    result = tbk.open(archive, status=66)
    assert first["backup_id"].encode() in result.err
    result = tbk.open(old_chain(old_tree)[1], status=66)
    assert result.out == b""


def test_tar_of_a_sealed_manifest_is_refused(tbk, small, tmp_path):
    tbk.seal(small, "--manifest-out", tmp_path / "sealed")
    tbk.open((tmp_path / "sealed").read_bytes(), status=65)


def test_set_id_bits_only_when_asked(tbk, tree, tmp_path):
    archive, _ = reference_archive(tree)
    tbk.extract(archive, tmp_path / "without")
    tbk.extract(archive, tmp_path / "with", "--setuid")
    assert snapshot(tmp_path / "with") == snapshot(tree)
    assert snapshot(tmp_path / "without") == no_set_id(snapshot(tree))

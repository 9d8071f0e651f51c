"""tbk-seal tar: the content of a tar becomes a backup."""

import gzip
import json
import os
import random
import subprocess
import tarfile

import pytest
from conftest import FAST, PASSWORD, reference_open, require, snapshot, without
from tbkref import mbu
from test_mbu import DEVICES, HOSTILE, directory, member, tar_of


def seal(tbk, tar, *arguments, **options):
    return tbk.run("tbk-seal", "tar", *FAST, *arguments, input=tar, **options)


def names(tbk, archive):
    return [json.loads(line)["relative_path"] for line in tbk.open(archive, "--list", "--json").lines]


@pytest.mark.parametrize("strip", [False, True])
def test_a_tree_comes_back_out_of_a_tar_by_tar(tbk, tree, tmp_path, strip):
    require("tar")
    tar = subprocess.run(["tar", "--xattrs", "--format=pax", "-cf", "-", "-C", os.path.dirname(tree), "tree"],
                         check=True, capture_output=True).stdout
    archive = seal(tbk, tar, *(["--strip-top"] if strip else [])).out
    tbk.extract(archive, tmp_path / "out", "--setuid")
    came = tmp_path / "out" if strip else tmp_path / "out" / "tree"
    # tar stores the content of a sparse file; a directory's own attributes are included.
    assert snapshot(came) == snapshot(tree)


def test_the_reference_reads_what_was_a_tar(tbk, small):
    archive = seal(tbk, mbu.tar(small), "--strip-top").out
    found, = reference_open(archive)
    assert [entry["relative_path"] for entry in found.manifest["files"]] == [
        "d", "d/inside", "d/other", "empty", "link", "plain"]
    assert found.manifest["unreadable"] == [] and "source_dir" not in found.manifest


def test_output_to_a_file_and_a_pipe_open_alike(tbk, small, tmp_path):
    tar = mbu.tar(small)
    seal(tbk, tar, "-o", tmp_path / "archive")
    assert names(tbk, (tmp_path / "archive").read_bytes()) == names(tbk, seal(tbk, tar).out)
    with open(tmp_path / "place", "wb") as place:
        tbk.run("tbk-seal", "tar", *FAST, stdin=None, input=tar, stdout=place)
    assert names(tbk, (tmp_path / "place").read_bytes()) == names(tbk, seal(tbk, tar).out)


def test_receipt_and_sealed_manifest_are_made(tbk, small, tmp_path):
    archive = seal(tbk, mbu.tar(small), "--receipt", tmp_path / "receipt", "--manifest-out", tmp_path / "manifest").out
    receipt = json.loads((tmp_path / "receipt").read_text())
    manifest = json.loads(tbk.open(archive, "--manifest").out)
    assert receipt["id"] == manifest["backup_id"] and receipt["complete"] is True
    assert json.loads(tbk.open((tmp_path / "manifest").read_bytes(), "--manifest").out) == manifest


ORDERS = {
    "first name sorts last": [member("z", b"content"), member("a", kind=tarfile.LNKTYPE, link="z")],
    "links to a link": [member("m", b"content"), member("z", kind=tarfile.LNKTYPE, link="m"),
                        member("a", kind=tarfile.LNKTYPE, link="z")],
    "in the middle": [member("m", b"content"), member("a", kind=tarfile.LNKTYPE, link="m"), directory("b"),
                      member("b/z", kind=tarfile.LNKTYPE, link="m"), member("c", b"another")],
    "with a manifest.json": [member("manifest.json", b"content"), member("a", kind=tarfile.LNKTYPE, link="manifest.json"),
                             member("manifest.json~", b"mine")],
    "to a symlink": [member("l", kind=tarfile.SYMTYPE, link="nowhere"), member("h", kind=tarfile.LNKTYPE, link="l")],
    "to a set-id file": [member("z", b"content", mode=0o600), member("a", kind=tarfile.LNKTYPE, link="z", mode=0o4755)],
}


@pytest.mark.parametrize("order", ORDERS)
def test_hard_links_in_any_order_come_back(tbk, tmp_path, order):
    archive = seal(tbk, tar_of(*ORDERS[order])).out
    reference_open(archive)
    assert tbk.open(archive, "--verify").status == 0
    tbk.extract(archive, tmp_path / "ours")
    (tmp_path / "theirs").mkdir()
    subprocess.run(["tar", "-xf", "-", "-C", tmp_path / "theirs"], input=tar_of(*ORDERS[order]), check=True)
    assert without(snapshot(tmp_path / "ours"), "mtime") == without(snapshot(tmp_path / "theirs"), "mtime")
    for name in ("z", "a"):
        if (tmp_path / "ours" / name).is_file() and order != "with a manifest.json":
            assert tbk.open(archive, "--cat", name).out == b"content"


def test_many_hard_links_in_random_order_come_back(tbk, tmp_path):
    chance = random.Random(11)
    for round in range(5):
        members, paths = [], [f"{chance.choice('abcdef')}{number}" for number in range(60)]
        chance.shuffle(paths)
        first = {}
        for path in paths:
            group = chance.randrange(12)
            if group in first:
                members.append(member(path, kind=tarfile.LNKTYPE, link=chance.choice(first[group])))
                first[group].append(path)
            else:
                members.append(member(path, b"group %d" % group))
                first[group] = [path]
        archive = seal(tbk, tar_of(*members)).out
        reference_open(archive)
        out = tmp_path / f"out{round}"
        tbk.extract(archive, out)
        for group, all_paths in first.items():
            assert {(out / path).stat().st_ino for path in all_paths} == {(out / all_paths[0]).stat().st_ino}
            assert (out / all_paths[0]).read_bytes() == b"group %d" % group


@pytest.mark.parametrize("taken", [[], ["manifest.json~"], ["manifest.json~", "manifest.json~~"]])
@pytest.mark.parametrize("last", [True, False])
def test_a_manifest_json_of_the_tree_keeps_its_name(tbk, tmp_path, taken, last):
    members = [member(name, name.encode()) for name in taken]
    members.insert(len(members) if last else 0, member("manifest.json", b"{}"))
    archive = seal(tbk, tar_of(*members)).out
    reference_open(archive)
    tbk.extract(archive, tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out")) == sorted(["manifest.json", *taken])
    assert (tmp_path / "out" / "manifest.json").read_bytes() == b"{}"
    for name in taken:
        assert (tmp_path / "out" / name).read_bytes() == name.encode()


def test_a_directory_called_manifest_json_keeps_its_name(tbk, tmp_path):
    archive = seal(tbk, tar_of(directory("manifest.json"), member("manifest.json/x", b"inside"))).out
    reference_open(archive)
    tbk.extract(archive, tmp_path / "out")
    assert (tmp_path / "out" / "manifest.json" / "x").read_bytes() == b"inside"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_tar_is_not_sealed(tbk, tmp_path, name):
    tar = tar_of(*HOSTILE[name])
    seal(tbk, tar, "-o", tmp_path / "archive", status=65)
    assert not (tmp_path / "archive").exists()
    assert seal(tbk, tar, status=65).out == b""
    assert tbk.leftovers() == []


@pytest.mark.parametrize("cut", [1, 511, 512, 1024, 5000])
def test_a_tar_that_broke_off_is_not_sealed(tbk, small, cut):
    tar = mbu.tar(small).rstrip(b"\0")
    whole = tar + bytes(-len(tar) % 512)
    assert seal(tbk, whole[:-cut] if cut < 1024 else whole[:cut], status=65).out == b""


@pytest.mark.parametrize("data", [b"", b"x", b"not a tar" * 100, gzip.compress(bytes(2048), mtime=0)], ids=["nothing", "a letter", "words", "gzip"])
def test_what_is_no_tar_is_refused(tbk, data):
    assert seal(tbk, data, status=65).out == b""


def test_devices_are_left_out_and_the_backup_is_not_complete(tbk, tmp_path):
    result = seal(tbk, tar_of(*DEVICES), "--receipt", tmp_path / "receipt", status=3)
    assert names(tbk, result.out) == ["d", "d/file"]
    assert [entry["relative_path"] for entry in json.loads(tbk.open(result.out, "--manifest").out)["unreadable"]] == [
        "d/fifo", "d/null", "d/disk"]
    assert json.loads((tmp_path / "receipt").read_text())["complete"] is False


@pytest.mark.parametrize("arguments", [["."], ["-C", "."], ["reseal"], ["--exclude", "x"]])
def test_a_tar_is_all_that_is_sealed(tbk, small, arguments):
    seal(tbk, mbu.tar(small), *arguments, status=64)


def test_strip_top_wants_a_tar_of_one_directory(tbk, small):
    tbk.run("tbk-seal", *FAST, "--strip-top", small, status=64)
    seal(tbk, tar_of(member("a", b"1"), member("b", b"2")), "--strip-top", status=65)


def test_overwrite_decides_what_becomes_of_a_file(tbk, small, tmp_path):
    archive = tmp_path / "archive"
    whole, partial = mbu.tar(small), tar_of(*DEVICES)
    seal(tbk, partial, "-o", archive, "--overwrite", "if-complete", status=3)
    first = archive.read_bytes()
    said = seal(tbk, partial, "-o", archive, "--overwrite", "if-complete", status=73).err
    assert b"not complete" in said and archive.read_bytes() == first
    seal(tbk, whole, "-o", archive, "--overwrite", "never", status=73)
    assert archive.read_bytes() == first
    seal(tbk, whole, "-o", archive, "--overwrite", "if-complete")
    second = archive.read_bytes()
    assert names(tbk, second)[0] == "small"
    seal(tbk, partial, "-o", archive, "--overwrite", "always", status=3)
    assert names(tbk, archive.read_bytes()) == ["d", "d/file"]
    assert sorted(os.listdir(tmp_path)).count("archive") == 1
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".tbk")]
    seal(tbk, whole, "--overwrite", "never", status=64)


def test_a_package_of_mbu_becomes_an_archive(tbk, small, tmp_path):
    salt = bytes(16)
    (tmp_path / "config.toml").write_bytes(mbu.settings(salt, 20))
    package = mbu.seal(gzip.compress(mbu.tar(small)), PASSWORD, salt, 20)
    tar = tbk.open(package, "--mbu-config", tmp_path / "config.toml").out
    archive = seal(tbk, tar, "--strip-top").out
    tbk.extract(archive, tmp_path / "out")
    assert without(snapshot(tmp_path / "out"), "mtime") == without(snapshot(small), "mtime")

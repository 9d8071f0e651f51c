"""What one way of reading an archive refuses, every other way refuses with the same status."""

import os
import subprocess

import pytest
from conftest import COST, FAST, PASSWORD, put
from tbkref import crypto, gz, hostile
from tbkref import manifest as mf

WAYS = {"extract": ["-C", "{out}"], "dry run": ["-C", "{out}", "--dry-run"], "include": ["-C", "{out}", "--include", "plain"],
        "tar": [], "verify": ["--verify"], "cat": ["--cat", "plain"]}
# These read only the manifest, which is all that a sealed manifest has.
MANIFEST = {"list": ["--list"], "manifest": ["--manifest"]}
SEALING = {"reseal": ["reseal"], "consolidate": ["consolidate"]}


def read(tbk, tmp_path, way, *archives, password=PASSWORD, chain=False):
    """(status, standard output) of one way of reading; the archives are in order, oldest first."""
    out = tmp_path / "out"
    out.mkdir(exist_ok=True)
    arguments = [word.format(out=out) for word in {**WAYS, **MANIFEST}[way]]
    if chain:
        result = tbk.open(b"".join(reversed(archives)), "--chain", *arguments, password=password, status=None)
    else:
        files = [put(tmp_path / f"{at}.tbk", archive) for at, archive in enumerate(archives)]
        result = tbk.run("tbk-open", *arguments, *files, password=password, status=None)
    if result.status not in (0, 3):
        assert os.listdir(out) == [], way
    return result


def sealed(directory, tbk, *arguments, **options):
    """Seals a directory: (archive, sealed manifest, manifest)."""
    sealed = tbk.scratch / "sealed-manifest"
    archive = tbk.seal(directory, "--manifest-out", sealed, *arguments, **options)
    manifest = tbk.open(archive, "--manifest").out
    return archive, sealed.read_bytes(), manifest


def increment(directory, tbk, manifest):
    previous = put(tbk.scratch / "previous", manifest)
    made = tbk.manifest(directory, "--mode", "incremental", "--previous", previous)
    sealed, receipt = tbk.scratch / "sealed-manifest", tbk.scratch / "receipt"
    archive = tbk.run("tbk-seal", *FAST, "--receipt", receipt, "--manifest-out", sealed, input=made).out
    return archive, sealed.read_bytes(), tbk.open(archive, "--manifest").out


# A manifest in place of an archive


@pytest.mark.parametrize("way", WAYS)
def test_a_sealed_manifest_is_no_archive(way, tbk, small, tmp_path):
    _, manifest, _ = sealed(small, tbk)
    result = read(tbk, tmp_path, way, manifest)
    assert result.status == 65 and b"sealed manifest" in result.err
    assert result.out == b"", "its tar would be taken for an empty tree"


@pytest.mark.parametrize("way", MANIFEST)
def test_a_sealed_manifest_is_read_as_a_manifest(way, tbk, small, tmp_path):
    archive, manifest, _ = sealed(small, tbk)
    assert read(tbk, tmp_path, way, manifest).out == read(tbk, tmp_path, way, archive).out != b""


@pytest.mark.parametrize("way", WAYS)
def test_a_sealed_manifest_of_an_increment_is_no_archive(way, tbk, small, tmp_path):
    base, _, manifest = sealed(small, tbk)
    put(os.path.join(small, "plain"), b"changed, and longer\n")
    _, newest, _ = increment(small, tbk, manifest)
    assert read(tbk, tmp_path, way, base, newest).status in ({64} if way == "tar" else {65})
    if way != "tar":
        assert read(tbk, tmp_path, way, base, newest, chain=True).status == 65


@pytest.mark.parametrize("way", [way for way in WAYS if way != "tar"])
def test_a_sealed_manifest_supplies_nothing(way, tbk, small, tmp_path):
    _, base, manifest = sealed(small, tbk)
    put(os.path.join(small, "new"), b"new\n")
    archive, _, _ = increment(small, tbk, manifest)
    for chain in (False, True):
        assert read(tbk, tmp_path, way, base, archive, chain=chain).status == 65


def test_a_sealed_manifest_is_not_consolidated(tbk, small, tmp_path):
    base, _, manifest = sealed(small, tbk)
    put(os.path.join(small, "new"), b"new\n")
    archive, newest, _ = increment(small, tbk, manifest)
    for chain in (newest + base, archive + sealed(small, tbk)[1]):
        result = tbk.run("tbk-seal", "consolidate", *FAST, input=chain, status={65, 66})
        assert result.out == b""


@pytest.mark.parametrize("way", [way for way in WAYS if way != "tar"])
def test_what_is_missing_is_missing_to_all(way, tbk, small, tmp_path):
    _, _, manifest = sealed(small, tbk)
    put(os.path.join(small, "new"), b"new\n")
    archive, _, _ = increment(small, tbk, manifest)
    result = read(tbk, tmp_path, way, archive)
    assert result.status == 66 and mf.json.loads(manifest)["backup_id"].encode() in result.err


# Sealing again


@pytest.mark.parametrize("name", ["stored_as_below_a_link", "wrong_hash", "unlisted_file", "listed_and_missing_file",
                                  "tar_truncated_inside_content", "manifest_missing", "gzip_wrong_crc"])
def test_what_does_not_hold_is_not_sealed_again(name, tbk):
    archive = next(case for case in hostile.catalogue() if case.name == name).build()
    old = put(tbk.scratch / "old", hostile.PASSWORD)
    result = tbk.run("tbk-seal", "reseal", *FAST, "--old-password-file", old, input=archive, status=65)
    assert result.out == b"" and tbk.leftovers() == []


def test_a_sealed_manifest_is_sealed_again(tbk, small):
    _, manifest, plain = sealed(small, tbk)
    again = tbk.run("tbk-seal", "reseal", *FAST, "--old-password-file", tbk.password_file, input=manifest).out
    assert tbk.open(again, "--manifest").out == plain


# The tar on standard output


def large(pairs, tail=b"", size=1 << 20):
    """An archive larger than what is held back, with `tail` before its manifest."""
    noise = hostile.file("aaa", os.urandom(size))
    return hostile.seal_tar([noise, *pairs], extra=tail)


BAD_TAILS = {"unlisted": hostile.member(*hostile.file("evil")), "below a link": hostile.member(*hostile.file("link/evil")),
             "twice": hostile.member(*hostile.TREE[3])}


@pytest.mark.parametrize("size", [(1 << 20) - 1024, (1 << 20) - 700, (1 << 20) - 512, 1 << 20, (1 << 20) + 511, 1_111_111])
@pytest.mark.parametrize("tail", BAD_TAILS)
def test_a_tar_that_fails_is_no_tar(tail, size, tbk, tmp_path):
    archive = large(hostile.TREE, BAD_TAILS[tail], size)
    result = tbk.open(archive, password=hostile.PASSWORD, status=65)
    assert len(result.out) % 512 == 0 and result.out[-512:] == b"\xff" * 512
    assert b"link/evil" not in result.out, "never sent on"
    out = tmp_path / "out"
    out.mkdir()
    extracted = subprocess.run(["tar", "-x", "-C", out], input=result.out, capture_output=True)
    assert extracted.returncode != 0, "tar took a part for all"


def test_a_tar_that_fails_before_it_begins_is_nothing(tbk):
    assert tbk.open(hostile.seal_tar(extra=BAD_TAILS["unlisted"]), password=hostile.PASSWORD, status=65).out == b""


def test_the_tar_of_another_backup_is_no_tar(tbk):
    result = tbk.open(large(hostile.TREE), "--expect-id", "0" * 64, password=hostile.PASSWORD, status=65)
    assert result.out[-512:] == b"\xff" * 512
    assert tbk.open(hostile.GOOD, "--expect-id", "0" * 64, password=hostile.PASSWORD, status=65).out == b""


def test_a_good_tar_is_sent_to_its_last_byte(tbk):
    for archive in (hostile.GOOD, hostile.OWN_GOOD, large(hostile.TREE)):
        tar = gz.decompress(crypto.open_archive(archive, hostile.PASSWORD)[1])
        assert tbk.open(archive, password=hostile.PASSWORD).out == tar


def test_what_termbackup_6_lost_is_named_by_every_way(tbk, tmp_path):
    archive = hostile._old(hostile.OLD, [hostile.member(*hostile.OLD[1])])
    for way in ("extract", "tar", "verify"):
        result = read(tbk, tmp_path, way, archive, password=hostile.PASSWORD)
        assert result.status == 3 and b"d/inside" in result.err


# The same message for a wrong key


def test_a_wrong_password_and_what_is_no_gzip_get_one_answer(tbk, tmp_path):
    wrong = crypto.seal_tbk2(hostile.GOOD_GZIP, b"another", **COST)
    none = crypto.seal_tbk2(hostile.GOOD_TAR, PASSWORD, **COST)
    destination = tmp_path / "out"
    destination.mkdir()
    for arguments in (["--verify"], ["--list"], ["--cat", "plain"], [], ["-C", destination], ["--verify", "--json"]):
        for place in ("pipe", "file"):
            answers = set()
            for archive in (wrong, none):
                if place == "pipe":
                    result = tbk.open(archive, *arguments, status=77)
                else:
                    file = put(tmp_path / "archive.tbk", archive)
                    result = tbk.run("tbk-open", *arguments, file, status=77)
                answers.add((result.out, result.err))
            assert len(answers) == 1 and next(iter(answers))[0] == b""
    answers = {tbk.run("tbk-seal", *way, *FAST, input=archive, status=77).err
               for archive in (wrong, none) for way in (["reseal", "--old-password-file", tbk.password_file],)}
    assert len(answers) == 1
    answers = {tbk.run("tbk-seal", "consolidate", *FAST, input=archive, status=77).err for archive in (wrong, none)}
    assert len(answers) == 1
    assert os.listdir(destination) == []

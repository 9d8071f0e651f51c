"""Hostile archives are refused by every way of opening, and nothing is written."""

import os
import subprocess

import pytest
from conftest import mf, put, snapshot
from tbkref import Failure, crypto, gz, hostile, tars

CASES = hostile.catalogue()
# A bomb must not use much memory. Argon2 takes 64 KiB here, so this is plenty for a reader.
LIMITS = {"data": 1 << 30, "fsize": 1 << 30, "core": 0}


class Place:
    """A destination next to a file that must not change."""

    def __init__(self, tmp_path):
        self.around = tmp_path / "around"
        self.destination = self.around / "destination"
        self.destination.mkdir(parents=True)
        put(self.around / "sentinel" / "kept", b"kept\n")
        put(self.around / "beside", b"beside\n")
        self.before = self.outside()

    def outside(self):
        top = os.fsencode(self.around)
        found = snapshot(top)
        return {path: (entry, os.lstat(os.path.join(top, path)).st_nlink) for path, entry in found.items()
                if path and not path.startswith(b"destination")}

    def check(self):
        assert os.listdir(self.destination) == []
        assert self.outside() == self.before
        assert sorted(os.listdir(self.around)) == ["beside", "destination", "sentinel"]
        assert not os.path.lexists(hostile.OUTSIDE)


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_the_good_archives_behind_the_hostile_ones_open(tbk, tmp_path):
    for number, archive in enumerate((hostile.GOOD, hostile.GOOD1, hostile._old(hostile.OLD))):
        tbk.extract(archive, tmp_path / str(number), password=hostile.PASSWORD)
        assert (tmp_path / str(number) / "plain").read_bytes() == b"plain\n" * 200


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_refused(case, tbk, tmp_path, place):
    archive = case.build()
    file = put(tmp_path / "hostile.tbk", archive)
    options = {"password": hostile.PASSWORD, "status": case.expect, "limits": LIMITS}
    # From a pipe, and from a file, which can be read twice.
    tbk.open(archive, "-C", place.destination, **options)
    place.check()
    tbk.run("tbk-open", "-C", place.destination, file, **options)
    place.check()
    for mode in ("list", "verify"):
        options["status"] = case.expect if mode in case.modes else {0, *case.expect}
        result = tbk.run("tbk-open", "--" + mode, file, cwd=place.destination, **options)
        assert result.status != 77 or not result.out, "something was shown before the tag held"
        place.check()
    assert tbk.leftovers() == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_refused_as_a_tar(case, tbk, tmp_path, place):
    file = put(tmp_path / "hostile.tbk", case.build())
    # The output of a bomb would be gigabytes: it is discarded.
    tbk.run("tbk-open", file, cwd=place.destination, password=hostile.PASSWORD, status=case.statuses("tar"),
            limits=LIMITS, stdout=subprocess.DEVNULL)
    place.check()
    assert tbk.leftovers() == []


@pytest.mark.parametrize("good, name", [(hostile.GOOD, "TBK2"), (hostile.GOOD1, "TBK1")], ids=["TBK2", "TBK1"])
def test_every_bit_of_the_header(good, name, tbk, place):
    size = hostile.HEADER_SIZE if name == "TBK2" else hostile.HEADER1_SIZE
    for bit in range(8 * size):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 0x80 >> bit % 8
        if name == "TBK1" and 5 <= bit // 8 < 9 and bit < 5 * 8 + 14:
            continue  # Hundreds of thousands of iterations and more would be slow.
        tbk.open(bytes(flipped), "--max-memory", "4096", "-C", place.destination, password=hostile.PASSWORD,
                 status={65, 77}, limits=LIMITS)
    place.check()


@pytest.mark.parametrize("good, size", [(hostile.GOOD, hostile.HEADER_SIZE), (hostile.GOOD1, hostile.HEADER1_SIZE)],
                         ids=["TBK2", "TBK1"])
def test_cut_at_every_byte_of_the_header(good, size, tbk, place):
    for at in range(size + 1):
        tbk.open(good[:at], "-C", place.destination, password=hostile.PASSWORD, status=65)
    place.check()


@pytest.mark.parametrize("good", [hostile.GOOD, hostile.GOOD1], ids=["TBK2", "TBK1"])
def test_altered_payload_shows_nothing(good, tbk, place):
    for at in (-1, -17, -33, -200):
        altered = bytearray(good)
        altered[at] ^= 1
        for arguments in ([], ["--list"], ["--manifest"], ["--cat", "plain"], ["--verify"]):
            assert tbk.open(bytes(altered), *arguments, password=hostile.PASSWORD, status=77).out == b""


def test_header_of_a_lying_archive_needs_no_password_and_no_memory(tbk, place):
    for memory in (2**32 - 1, 2**31):
        tbk.open(hostile.with_header(memory=memory), "--header", password=None, status={0, 65}, limits=LIMITS)
    tbk.open(hostile.with_header(payload_length=2**64 - 1), "--header", password=None, status={0, 65},
             limits=LIMITS)


def test_argon2_costs_are_refused_before_they_are_paid(tbk):
    """An archive just above a given limit is refused as such, and not as a wrong password."""
    for limit, changes in ((["--max-memory", "63"], {}), (["--max-iterations", "1"], {}),
                           (["--max-lanes", "1"], {"lanes": 2})):
        tbk.open(hostile.with_header(**changes), *limit, "--list", password=hostile.PASSWORD, status=65)


@pytest.mark.parametrize("policy", ["if-changed", "always"])
@pytest.mark.parametrize("name", ["wrong_hash", "listed_and_missing_last_file", "gzip_wrong_crc", "tar_truncated_without_end",
                                  "wrong_link_target", "member_twice_last", "tbk1_padding_count_0", "manifest_missing"])
def test_what_was_there_stays_as_it_was(name, policy, tbk, tmp_path):
    case = next(case for case in CASES if case.name == name)
    destination = tmp_path / "destination"
    put(destination / "plain", b"precious\n", mtime_ns=10**18)
    put(destination / "d" / "inside", b"precious too\n", mtime_ns=10**18)
    os.symlink("d", destination / "link")
    put(destination / "of my own", b"mine\n")
    before = snapshot(destination)
    tbk.extract(case.build(), destination, "--overwrite", policy, password=hostile.PASSWORD, status=case.expect)
    assert {k: v for k, v in snapshot(destination).items() if k} == {k: v for k, v in before.items() if k}


@pytest.mark.parametrize("link", ["../sentinel", "absolute", "dangling"])
def test_symlink_already_in_the_destination_is_not_followed(link, tbk, place):
    """A directory in the archive exists as a symlink in the destination."""
    target = {"absolute": str(place.around / "sentinel"), "dangling": "../sentinel/new"}.get(link, link)
    os.symlink(target, place.destination / "d")
    for policy in ("never", "if-changed", "always"):
        result = tbk.extract(hostile.GOOD, place.destination, "--overwrite", policy, password=hostile.PASSWORD, status=None)
        assert place.outside() == place.before
        if result.status == 0:
            assert not (place.destination / "d").is_symlink()


def test_symlink_as_a_file_in_the_destination_is_replaced_and_not_written_through(tbk, place):
    os.symlink("../sentinel/kept", place.destination / "plain")
    tbk.extract(hostile.GOOD, place.destination, "--overwrite", "always", password=hostile.PASSWORD)
    assert (place.destination / "plain").read_bytes() == b"plain\n" * 200
    assert not (place.destination / "plain").is_symlink()
    assert place.outside() == place.before


# The manifests of hostile archives, for commands that read manifests


def hostile_manifests():
    seen = set()
    for case in CASES:
        if case.name == "sha256_in_manifest_null":
            continue  # A deferred hash, which is allowed in a manifest that is not sealed.
        if "manifest" not in case.name and not case.name.startswith(("name_is", "entry", "stored", "link_target", "two_sp")):
            continue
        if "gigabyte" in case.name:
            continue  # Too large, and would take seconds each time.
        try:
            archive = case.build()
            if len(archive) > 50_000:
                continue
            members = tars.read(gz.decompress(crypto.open_archive(archive, hostile.PASSWORD)[1]))
        except Failure:
            continue
        bodies = [member.data for member in members if member.name == b"manifest.json"]
        if len(bodies) != 1 or bodies[0] in seen:
            continue
        try:
            manifest = mf.json.loads(bodies[0], object_pairs_hook=mf._no_duplicates)
            mf.validate(mf.with_id(manifest))
        except (Failure, ValueError, RecursionError, TypeError):
            seen.add(bodies[0])
            yield pytest.param(bodies[0], id=case.name)


MANIFESTS = list(hostile_manifests())


def test_there_are_hostile_manifests():
    assert len(MANIFESTS) > 50


@pytest.mark.parametrize("body", MANIFESTS)
def test_hostile_manifest_is_refused(body, tbk, tmp_path):
    put(tmp_path / "tree" / "plain", b"plain\n" * 200)
    tbk.run("tbk-manifest", "show", "-", input=body, status=65, limits=LIMITS)
    tbk.run("tbk-manifest", "check", "-", tmp_path / "tree", input=body, status=65, limits=LIMITS)
    result = tbk.run("tbk-seal", "-C", tmp_path / "tree", "--memory", "64", "--iterations", "1", "--lanes", "1", input=body,
                     status=65, limits=LIMITS)
    assert result.out == b""
    assert tbk.leftovers() == []

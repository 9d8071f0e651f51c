"""Unusual times: before 1678, after 2262, before 1970 with a fraction, and times that a file system cannot store."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest
from conftest import COST, FAST, PASSWORD, absent, crypto, gz, mf, put, reference_archive, reference_open, require, snapshot
from restore_fixture import need_root
from tbkref import tbk6
from test_mbu import directory, member, tar_of

SECOND = 10**9
# In nanoseconds: the limits of 64 bits, and times beyond.
TIMES = {
    "2300": 10_413_792_000 * SECOND + 123_456_789,
    "1600": -11_676_096_000 * SECOND + 1,
    "last": 2**63 - 1,
    "after": 2**63,
    "first": -2**63,
    "before": -2**63 - 1,
    "far": 2**62 * SECOND + 999_999_999,
    "long-ago": -2**62 * SECOND - 1,
    "half": -SECOND // 2,
}


def keeps(folder, *times):
    probe = put(os.path.join(os.fsencode(folder), b"time probe"))
    try:
        for time in times:
            os.utime(probe, ns=(time, time))
            if os.stat(probe).st_mtime_ns != time:
                return False
        return True
    finally:
        os.unlink(probe)


def find(wanted, tmp_path, what):
    """A new directory on a file system that stores all of TIMES, or that does not, as `wanted`."""
    for place in (str(tmp_path), "/dev/shm", "/run", "/var/tmp"):
        if not os.access(place, os.W_OK):
            continue
        folder = pathlib.Path(tempfile.mkdtemp(prefix="termbackup-test-", dir=place))
        if keeps(folder, *TIMES.values()) == wanted:
            return folder
        folder.rmdir()
    absent(what)


@pytest.fixture
def wide(tmp_path):
    """A directory whose file system stores every time."""
    folder = find(True, tmp_path, "a file system that keeps every time")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def narrow(tmp_path):
    """A directory whose file system stores the nearest time that it can."""
    folder = find(False, tmp_path, "a file system that ends")
    yield folder
    shutil.rmtree(folder)


def far_tree(top):
    """Every kind of entry, each with every time."""
    for name, time in TIMES.items():
        put(top / name / "file", name.encode(), mtime_ns=time)
        os.symlink("file", top / name / "link")
        os.utime(top / name / "link", ns=(time, time), follow_symlinks=False)
        os.link(top / name / "file", top / name / "twin")
        os.utime(top / name, ns=(time, time))
    os.utime(top, ns=(TIMES["2300"], TIMES["2300"]))
    return top


def manifest_of(tbk, archive):
    return json.loads(tbk.open(archive, "--manifest").out)


def test_every_time_comes_back(tbk, wide):
    source = far_tree(wide / "source")
    archive = tbk.seal(source)
    entries = {entry["relative_path"]: entry for entry in manifest_of(tbk, archive)["files"]}
    for name, time in TIMES.items():
        for path in (name, f"{name}/file", f"{name}/link", f"{name}/twin"):
            assert entries[path]["mtime_ns"] == time
            assert entries[path]["modified_at"] == pytest.approx(time / SECOND, abs=1e-6)
    assert manifest_of(tbk, archive)["root"]["mtime_ns"] == TIMES["2300"]
    tbk.extract(archive, wide / "out")
    assert snapshot(wide / "out") == snapshot(source)
    # Over existing files with other times, and with the same ones.
    for path in (wide / "out").rglob("*"):
        os.utime(path, ns=(1, 1), follow_symlinks=False)
    for _ in range(2):
        tbk.extract(archive, wide / "out", "--overwrite", "if-changed")
        assert snapshot(wide / "out") == snapshot(source)


def test_the_reference_reads_and_writes_the_same(tbk, wide):
    source = far_tree(wide / "source")
    archive = tbk.seal(source)
    found, = reference_open(archive)
    assert {entry["mtime_ns"] for entry in found.manifest["files"]} == set(TIMES.values())
    assert found.manifest["backup_id"] == mf.backup_id(found.manifest)
    tbk.extract(reference_archive(source)[0], wide / "out")
    assert snapshot(wide / "out") == snapshot(source)


def test_a_manifest_that_was_read_is_written_as_it_was(tbk, wide):
    text = tbk.manifest(far_tree(wide / "source"))
    archive = tbk.run("tbk-seal", *FAST, input=text).out
    stored, given = manifest_of(tbk, archive), json.loads(text)
    assert [(entry["mtime_ns"], entry["ctime_ns"]) for entry in stored["files"]] == \
        [(entry["mtime_ns"], entry["ctime_ns"]) for entry in given["files"]]
    assert stored["backup_id"] == mf.backup_id(stored)


def test_check_and_diff_tell_far_times_apart(tbk, wide):
    source = wide / "source"
    for name in ("file", "other"):
        put(source / name, b"1", mtime_ns=TIMES["2300"])
    first = tbk.manifest(source)
    (wide / "first").write_bytes(first)
    assert tbk.run("tbk-manifest", "check", wide / "first", source).out == b""
    for time in (TIMES["2300"] + 100 * 365 * 86400 * SECOND, TIMES["2300"] + 1, TIMES["1600"], 2**63 - 1):
        os.utime(source / "file", ns=(time, time))
        assert tbk.run("tbk-manifest", "check", wide / "first", source, status=1).lines == ["mtime\tfile"]
        (wide / "second").write_bytes(tbk.manifest(source))
        assert "metadata\tfile" in tbk.run("tbk-manifest", "diff", wide / "first", wide / "second", status=(0, 1)).lines


def test_a_change_from_one_far_time_to_another_is_read_again(tbk, wide):
    put(wide / "source" / "file", b"1", mtime_ns=TIMES["2300"])
    (wide / "first").write_bytes(tbk.manifest(wide / "source"))
    put(wide / "source" / "file", b"2", mtime_ns=TIMES["2300"] + SECOND)
    second = json.loads(tbk.run("tbk-manifest", "--previous", wide / "first", wide / "source").out)
    first = json.loads((wide / "first").read_bytes())
    assert first["files"][0]["sha256"] != second["files"][0]["sha256"]


@pytest.mark.parametrize("form", ["pax", "gnu"])
def test_tar_has_the_same_times(tbk, wide, form):
    require("tar")
    source = far_tree(wide / "source")
    for name in ("far", "long-ago"):
        # GNU tar itself does not support these.
        shutil.rmtree(source / name)
    os.utime(source, ns=(0, 0))
    tar = tbk.open(tbk.seal(source)).out
    (wide / "out").mkdir()
    subprocess.run(["tar", "-xpf", "-", "-C", wide / "out"], input=tar, check=True, capture_output=True)
    os.unlink(wide / "out" / "manifest.json")
    os.utime(wide / "out", ns=(0, 0))
    assert {path: found["mtime"] for path, found in snapshot(wide / "out").items()} == \
        {path: found["mtime"] for path, found in snapshot(source).items()}
    made = subprocess.run(["tar", f"--format={form}", "-C", source, "-cf", "-", "."], check=True, capture_output=True).stdout
    tbk.extract(tbk.run("tbk-seal", "tar", *FAST, input=made).out, wide / "back")
    for name in set(TIMES) - {"far", "long-ago"}:
        wanted = TIMES[name] if form == "pax" else TIMES[name] // SECOND * SECOND
        assert os.stat(wide / "back" / name / "file").st_mtime_ns == wanted


def test_a_tar_of_python_has_them_too(tbk, wide):
    # Python writes numbers with more digits than a double in exponent notation.
    times = {"a": 1e16, "b": -2.5e17, "c": -0.5, "d": 12e9, "e": 4611686018427387904}
    members = [member(name, b"x", mtime=time) for name, time in times.items()]
    archive = tbk.run("tbk-seal", "tar", *FAST, input=tar_of(*members)).out
    tbk.extract(archive, wide / "out")
    for name, time in times.items():
        assert os.stat(wide / "out" / name).st_mtime_ns == int(time * 2) * SECOND // 2


def test_what_the_file_system_cannot_keep_is_named(tbk, narrow):
    times = [name for name, time in TIMES.items() if not keeps(narrow, time)]
    manifest = mf.build(put_all(narrow / "source"))
    for entry in manifest["files"]:
        entry["mtime_ns"] = TIMES[entry["relative_path"].split("/")[0]]
    archive, _ = reference_archive(narrow / "source", manifest=manifest)
    for options in ((), ("--overwrite", "if-changed"), ("--overwrite", "always")):
        told = tbk.extract(archive, narrow / "out", *options, status=3).err.decode()
        for name in TIMES:
            for path in (name, f"{name}/file", f"{name}/link"):
                assert (f"time of '{path}':" in told) == (name in times), (path, told)
                assert (narrow / "out" / path).exists()
                kept = os.lstat(narrow / "out" / path).st_mtime_ns
                assert (kept == TIMES[name]) == (name not in times)
    assert tbk.run("tbk-manifest", "check", written(narrow, manifest), narrow / "out", status=1).lines


def written(folder, manifest):
    (folder / "manifest").write_bytes(mf.encode(mf.with_id(manifest)))
    return folder / "manifest"


def put_all(top):
    for name in TIMES:
        put(top / name / "file", name.encode(), mtime_ns=0)
        os.symlink("file", top / name / "link")
    return top


def test_the_top_is_named_too(tbk, narrow):
    put(narrow / "source" / "file", b"1")
    manifest = mf.build(narrow / "source")
    manifest["root"]["mtime_ns"] = TIMES["far"]
    archive, _ = reference_archive(narrow / "source", manifest=manifest)
    told = tbk.extract(archive, narrow / "out", status=3).err.decode()
    assert "time of" in told and "out" in told and (narrow / "out" / "file").exists()


def test_the_report_says_that_it_is_not_exact(tbk, narrow):
    put(narrow / "source" / "file", b"1")
    manifest = mf.build(narrow / "source")
    manifest["files"][0]["mtime_ns"] = TIMES["1600"]
    archive, _ = reference_archive(narrow / "source", manifest=manifest)
    assert json.loads(tbk.extract(archive, narrow / "out", "--json", status=3).out)["exact"] is False


# TermBackup 6 stored seconds in floating point


def old_archive(folder, times):
    for name in times:
        put(folder / name, name.encode())
    manifest, _ = tbk6.build(folder)
    for entry in manifest["files"]:
        entry["modified_at"] = times[entry["relative_path"]]
    manifest = {**manifest, "backup_id": mf.backup_id(manifest)}
    return crypto.seal_tbk2(gz.compress(tbk6.write(manifest, folder)), PASSWORD, **COST, kdf=2, suite=2), manifest


def test_old_times_out_of_any_range_are_named(tbk, tmp_path):
    archive, _ = old_archive(tmp_path / "source", {"a": 1e300, "b": -1e19, "c": 1.5})
    for options in ((), ("--overwrite", "if-changed"), ("--overwrite", "always")):
        told = tbk.extract(archive, tmp_path / "out", *options, status=3).err.decode()
        for name in ("a", "b"):
            assert f"time of '{name}': " in told and (tmp_path / "out" / name).read_bytes() == name.encode()
        assert "time of 'c'" not in told
    assert os.stat(tmp_path / "out" / "c").st_mtime_ns == 1_500_000_000
    assert tbk.open(archive, "--list", "-l").lines[0].split()[-1] == "a"


def test_old_times_of_any_year_come_back(tbk, wide):
    archive, manifest = old_archive(wide / "source", {"a": 12e9, "b": -12e9 - 0.5, "c": 1e18})
    tbk.extract(archive, wide / "out")
    for entry in manifest["files"]:
        kept = os.stat(wide / "out" / entry["relative_path"]).st_mtime_ns
        assert kept == int(entry["modified_at"] * 2) * SECOND // 2
    tbk.run("tbk-manifest", "check", written(wide, manifest), wide / "out")


# Displayed times


def test_a_list_shows_any_year(tbk, tmp_path):
    times = {"a": TIMES["2300"], "b": TIMES["1600"], "c": -SECOND // 2, "d": 2**62 * SECOND, "e": -2**63 * SECOND,
             "f": 67768036191676799 * SECOND, "g": 67768036191676800 * SECOND, "h": -62_167_219_201 * SECOND}
    for name in times:
        put(tmp_path / "source" / name)
    manifest = mf.build(tmp_path / "source")
    for entry in manifest["files"]:
        entry["mtime_ns"] = times[entry["relative_path"]]
    archive, _ = reference_archive(tmp_path / "source", manifest=manifest)
    shown = [line.split() for line in tbk.open(archive, "--list", "-l", env={"TZ": "UTC0"}).lines]
    assert [" ".join(words[3:-1]) for words in shown] == [
        "2300-01-01 00:00", "1600-01-01 00:00", "1969-12-31 23:59", f"@{2**62}", f"@{-2**63}",
        "2147485547-12-31 23:59", "@67768036191676800", "-1-12-31 23:59"]


# Unknown owners


def test_ids_of_a_tar_that_no_file_can_have_are_named(tbk, tmp_path):
    tar = tar_of(directory("d"), member("d/large", b"1", uid=2**32, gid=2**40), member("d/none", b"2", uid=2**32 - 1),
                 member("d/greatest", b"3", uid=2**32 - 2, gid=2**32 - 2))
    result = tbk.run("tbk-seal", "tar", *FAST, input=tar, status=3)
    told = result.err.decode()
    assert f"'d/large': no file can belong to user {2**32} and group {2**40}" in told
    assert f"'d/none': no file can belong to user {2**32 - 1}" in told and "d/greatest" not in told
    found = {entry["relative_path"]: entry for entry in manifest_of(tbk, result.out)["files"]}
    assert "uid" not in found["d/large"] and "gid" not in found["d/large"]
    assert "uid" not in found["d/none"] and found["d/none"]["gid"] == 0
    assert found["d/greatest"]["uid"] == 2**32 - 2
    tbk.extract(result.out, tmp_path / "out")
    assert (tmp_path / "out" / "d" / "large").read_bytes() == b"1"


def test_the_id_that_means_none_is_named_and_gives_nothing(tbk, tmp_path):
    need_root()
    for name in ("file", "program"):
        put(tmp_path / "source" / name, name.encode(), mode=0o755)
    os.symlink("file", tmp_path / "source" / "link")
    manifest = mf.build(tmp_path / "source")
    for entry in manifest["files"]:
        entry.update(uid=2**32 - 1, gid=2**32 - 1)
        entry.pop("user", None), entry.pop("group", None)
        if entry["relative_path"] == "program":
            entry["permissions"] |= 0o6000
    archive, _ = reference_archive(tmp_path / "source", manifest=manifest)
    for options in ((), ("--overwrite", "if-changed"), ("--overwrite", "always")):
        told = tbk.extract(archive, tmp_path / "out", "--setuid", *options, status=3).err.decode()
        for name in ("file", "link", "program"):
            assert f"owner of '{name}': " in told
    assert os.stat(tmp_path / "out" / "program").st_mode & 0o7777 == 0o755
    told = tbk.extract(archive, tmp_path / "other", "--no-owner").err
    assert b"owner of" not in told


@pytest.mark.parametrize("known", [{}, {"gid": 0}, {"uid": 0}])
def test_an_owner_that_is_not_listed_lends_nothing(tbk, tmp_path, known):
    need_root()
    put(tmp_path / "source" / "program", b"1", mode=0o755)
    manifest = mf.build(tmp_path / "source")
    entry, = manifest["files"]
    for key in ("uid", "gid", "user", "group"):
        entry.pop(key, None)
    entry.update(known)
    entry["permissions"] |= 0o6000
    archive, _ = reference_archive(tmp_path / "source", manifest=manifest)
    tbk.extract(archive, tmp_path / "out", "--setuid", status=3)
    wanted = 0o755 | (0o2000 if "gid" in known else 0) | (0o4000 if "uid" in known else 0)
    assert os.stat(tmp_path / "out" / "program").st_mode & 0o7777 == wanted


# Removing files by their times


def test_leftovers_of_any_time_are_judged(tbk, wide):
    for digit, time in zip("abcd", (-2**63 * SECOND, TIMES["1600"], TIMES["2300"], (2**63 - 1) * SECOND)):
        path = put(wide / f".tbk-{digit * 16}.tmp", b"ciphertext", mode=0o600)
        os.utime(path, ns=(time, time))
    put(wide / "mine", b"mine")
    tbk.run("tbk-sh", "leftovers", wide)
    assert sorted(os.listdir(wide)) == [f".tbk-{'c' * 16}.tmp", f".tbk-{'d' * 16}.tmp", "mine"]


def test_what_a_store_dates_in_the_future_is_not_old(tbk, wide, small):
    (wide / "store").mkdir()
    tbk.run("tbk-push", "--quiet", wide / "store", input=tbk.seal(small))
    for digit, time in zip("ab", (TIMES["2300"], TIMES["1600"])):
        path = put(wide / "store" / f".tbk-{digit * 16}.tmp", b"x", mode=0o600)
        os.utime(path, ns=(time, time))
    removed = tbk.run("tbk-store", "clean", wide / "store", "--dry-run").out.decode()
    assert ".tbk-" + "b" * 16 in removed and ".tbk-" + "a" * 16 not in removed

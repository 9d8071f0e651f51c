"""Every vector in Tests/Vectors, checked with the reference implementation and with tbk-open."""

import hashlib
import os

import pytest
from conftest import REPOSITORY, mf
from tbkref import Failure, crypto, extract, gz, tars

FOLDER = REPOSITORY / "Tests" / "Vectors"
NAMES = sorted(path.stem for path in (FOLDER / "archives").glob("*.txt"))
MANIFESTS = sorted(path.stem for path in (FOLDER / "manifest").glob("*.txt"))


class Vector:
    def __init__(self, name):
        self.archive = (FOLDER / "archives" / f"{name}.tbk").read_bytes()
        self.values = {}
        for line in (FOLDER / "archives" / f"{name}.txt").read_text("ascii").splitlines():
            key, _, value = line.partition(": ")
            self.values.setdefault(key, []).append(value)
        self.password = bytes.fromhex(self.values["password"][0])
        pairs = (pair.split("=") for pair in self.values["expect"][0].split())
        self.expect = {mode: {int(status) for status in statuses.split(",")} for mode, statuses in pairs}
        self.needs = self.values.get("needs", [])

    def files(self):
        return [FOLDER / "archives" / need for need in self.needs]

    def check(self, top):
        """Compares a restored directory with the entries."""
        top, listed = os.fsencode(top), set()
        for line in self.values.get("entry", []):
            kind, mode, size, sha256, path, *link = line.split(" ")
            path = bytes.fromhex(path)
            place = os.path.join(top, path)
            if kind == "vanished":
                assert not os.path.lexists(place)
                continue
            listed.add(path)
            if kind == "symlink":
                assert os.readlink(place) == bytes.fromhex(link[0])
                continue
            info = os.lstat(place)
            assert f"{info.st_mode & ~0o6000:o}" == f"{int(mode, 8) & ~0o6000:o}"
            if kind != "directory":
                with open(place, "rb") as file:
                    data = file.read()
                assert (len(data), hashlib.sha256(data).hexdigest()) == (int(size), sha256)
            if kind == "hardlink" and link:
                assert os.path.samefile(place, os.path.join(top, bytes.fromhex(link[0])))
        there = {os.path.relpath(os.path.join(folder, name), top)
                 for folder, folders, files in os.walk(top) for name in folders + files}
        parents = {path[:at] for path in listed for at in range(len(path)) if path[at:at + 1] == b"/"}
        assert there == listed | parents


def test_there_are_vectors():
    assert len(NAMES) > 100 and len(MANIFESTS) > 5
    assert {path.stem for path in (FOLDER / "archives").glob("*.tbk")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_reference_agrees_with_vector(name, tmp_path):
    vector = Vector(name)
    try:
        backups = [extract.read(path.read_bytes(), vector.password) for path in vector.files()]
        payload = extract.payload_of(vector.archive, vector.password)
        backups.append(extract.Backup(payload))
        lost = extract.extract(backups, tmp_path)
    except Failure as failure:
        assert failure.status in vector.expect["extract"]
        return
    assert (3 if lost else 0) in vector.expect["extract"]
    assert backups[-1].id == vector.values["backup-id"][0]
    assert hashlib.sha256(gz.decompress(payload)).hexdigest() == vector.values["tar-sha256"][0]
    if not vector.needs or not backups[-1].old:
        vector.check(tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_tbk_open_agrees_with_vector(name, tbk, tmp_path):
    vector = Vector(name)
    operands = [*map(str, vector.files()), str(FOLDER / "archives" / f"{name}.tbk")]
    destination = tmp_path / "out"
    destination.mkdir()
    result = tbk.run("tbk-open", "-C", destination, *operands, password=vector.password + b"\n", status=vector.expect["extract"])
    if result.status in (0, 3):
        if not (vector.needs and name.startswith("termbackup6")):
            vector.check(destination)
    else:
        assert os.listdir(destination) == []
    if not vector.needs:
        for mode in ("list", "verify"):
            tbk.run("tbk-open", "--" + mode, *operands, password=vector.password + b"\n", status=vector.expect[mode])
        result = tbk.run("tbk-open", *operands, password=vector.password + b"\n", status=vector.expect["tar"])
        if result.status == 0:
            assert [(m.name, m.kind) for m in tars.read(result.out)] == \
                [(m.name, m.kind) for m in tars.read(gz.decompress(crypto.open_archive(vector.archive, vector.password)[1]))]


@pytest.mark.parametrize("name", MANIFESTS)
def test_reference_agrees_with_manifest_vector(name):
    manifest = mf.json.loads((FOLDER / "manifest" / f"{name}.json").read_bytes())
    values = dict(line.split(": ") for line in (FOLDER / "manifest" / f"{name}.txt").read_text().splitlines())
    assert mf.canonical({**manifest, "backup_id": None}) == (FOLDER / "manifest" / f"{name}.canonical").read_bytes()
    assert mf.backup_id(manifest) == manifest["backup_id"] == values["backup-id"]


@pytest.mark.parametrize("name", MANIFESTS)
def test_tbk_manifest_id_agrees_with_vector(name, tbk):
    values = dict(line.split(": ") for line in (FOLDER / "manifest" / f"{name}.txt").read_text().splitlines())
    assert tbk.run("tbk-manifest", "id", FOLDER / "manifest" / f"{name}.json").lines == [values["backup-id"]]

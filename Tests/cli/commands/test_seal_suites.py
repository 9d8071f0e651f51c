"""tbk-seal --suite 3, and to recipients: such archives open, here and with stock tools, are stored, and sealed again."""

import hashlib
import io
import json
import os
import subprocess
import tarfile

import pytest
from conftest import COST, FAST, PASSWORD, PATIENCE, crypto, gz, mf, put, require, snapshot, tars
from tbkref import age, frames, mbu
from test_seal_reseal import tbk1

IDENTITY = age.Identity(bytes(range(32)))
SUITES = ["1", "3", "age"]


class Sealing:
    """Seals and opens in each suite."""

    def __init__(self, tbk, folder):
        self.tbk = tbk
        self.key = put(folder / "identity", IDENTITY.text.encode() + b"\n")
        self.recipients = put(folder / "recipients", b"# mine\n" + IDENTITY.recipient.encode() + b"\n")

    def options(self, suite):
        return ["-r", IDENTITY.recipient] if suite == "age" else [*FAST, "--suite", suite]

    def seal(self, suite, *words, **options):
        """`words` may start with a subcommand."""
        password = options.pop("password", None if suite == "age" else PASSWORD)
        at = 1 if words and words[0] in ("stream", "tar") else 0
        return self.tbk.run("tbk-seal", *words[:at], *self.options(suite), *words[at:], password=password, **options)

    def open(self, archive, *words, **options):
        return self.tbk.run("tbk-open", "-i", self.key, *words, input=archive, **options)

    def payload(self, suite, archive):
        """The payload as the reference decrypts it."""
        return age.read(archive, IDENTITY) if suite == "age" else frames.open3(archive, PASSWORD)


@pytest.fixture
def sealing(tbk, tmp_path):
    return Sealing(tbk, tmp_path)


@pytest.mark.parametrize("to", ["pipe", "output", "redirected"])
@pytest.mark.parametrize("suite", ["3", "age"])
def test_a_tree_comes_back(suite, to, sealing, tbk, tree, tmp_path):
    place = tmp_path / "archive"
    if to == "pipe":
        archive = sealing.seal(suite, tree).out
    elif to == "output":
        assert sealing.seal(suite, "-o", place, tree).out == b""
        archive = place.read_bytes()
    else:
        with open(place, "wb") as file:
            sealing.seal(suite, tree, stdout=file)
        archive = place.read_bytes()
    assert archive.startswith(b"age-encryption.org/v1\n" if suite == "age" else b"TBK2")
    sealing.open(archive, "-C", tmp_path / "out", "--setuid")
    assert snapshot(tmp_path / "out") == snapshot(tree)
    put(place, archive)
    tbk.run("tbk-open", "-i", sealing.key, "-C", tmp_path / "again", "--setuid", place)
    assert snapshot(tmp_path / "again") == snapshot(tree)
    assert tbk.leftovers() == []


@pytest.mark.parametrize("suite", ["3", "age"])
def test_the_payload_is_as_tbk_5_says(suite, sealing, small):
    payload = sealing.payload(suite, sealing.seal(suite, small).out)
    assert payload.startswith(b"\x28\xb5\x2f\xfd") and payload[-4:] == bytes.fromhex("b1ea928f")
    count = int.from_bytes(payload[-9:-5], "little")
    table = payload[-9 - 8 * count:-9]
    sizes = [(int.from_bytes(table[at:at + 4], "little"), int.from_bytes(table[at + 4:at + 8], "little"))
             for at in range(0, len(table), 8)]
    assert sizes[-1] == (28, 0) and sum(size for size, _ in sizes) + 8 + len(table) + 9 == len(payload)
    where = sum(size for size, _ in sizes[:-1])
    assert payload[where:where + 12] == bytes.fromhex("502a4d1814000000") + b"TBKM"
    assert int.from_bytes(payload[where + 12:where + 20], "big") == sum(length for _, length in sizes[:-2])


@pytest.mark.parametrize("suite", ["3", "age"])
def test_stock_zstd_and_tar_read_the_payload(suite, sealing, small, tmp_path):
    require("zstd"), require("tar")
    payload = sealing.payload(suite, sealing.seal(suite, small).out)
    tar = subprocess.run(["zstd", "-dc"], input=payload, capture_output=True, check=True, timeout=PATIENCE).stdout
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-xf", "-", "-C", tmp_path / "out"], input=tar, check=True, timeout=PATIENCE)
    listed = json.loads((tmp_path / "out" / "manifest.json").read_bytes())
    os.unlink(tmp_path / "out" / "manifest.json")
    assert {path for path in snapshot(tmp_path / "out")} == {path for path in snapshot(small)}
    for entry in listed["files"]:
        content = (tmp_path / "out" / entry["relative_path"]).read_bytes() if entry["type"] == "file" else b""
        assert ("offset" in entry) == (len(content) > 0 and "hard_link" not in entry)
        if "offset" in entry:
            assert tar[entry["offset"]:entry["offset"] + len(content)] == content
    assert mf.backup_id(listed) == listed["backup_id"]


@pytest.mark.parametrize("armored", [False, True])
def test_stock_age_opens_what_is_sealed_to_its_recipients(armored, sealing, tbk, small, tmp_path):
    require("age"), require("age-keygen")
    subprocess.run(["age-keygen", "-o", tmp_path / "stock"], check=True, capture_output=True, timeout=PATIENCE)
    recipient = subprocess.run(["age-keygen", "-y", tmp_path / "stock"], check=True, capture_output=True,
                               timeout=PATIENCE).stdout.decode().strip()
    archive = tbk.run("tbk-seal", "-r", recipient, "-R", sealing.recipients, *(["-a"] if armored else []), small, password=None).out
    assert archive.startswith(b"-----BEGIN AGE" if armored else b"age-encryption.org/v1")
    plain = subprocess.run(["age", "-d", "-i", tmp_path / "stock"], input=archive, capture_output=True, check=True,
                           timeout=PATIENCE).stdout
    assert plain.startswith(b"\x28\xb5\x2f\xfd")
    # Each of the two identities opens it.
    for key in (tmp_path / "stock", sealing.key):
        tbk.run("tbk-open", "-i", key, "--verify", input=archive)


@pytest.mark.parametrize("suite", ["3", "age"])
def test_receipt_and_sealed_manifest_go_with_the_archive(suite, sealing, small, tmp_path):
    receipt, sealed = tmp_path / "receipt", tmp_path / "sealed"
    put(receipt, b"of before"), put(sealed, b"of before")
    archive = sealing.seal(suite, "--receipt", receipt, "--manifest-out", sealed, small).out
    said = json.loads(receipt.read_text())
    assert said["size"] == len(archive) and said["sha256"] == hashlib.sha256(archive).hexdigest()
    manifest = sealing.open(archive, "--manifest").out
    assert json.loads(manifest)["backup_id"] == said["id"]
    assert sealing.open(sealed.read_bytes(), "--manifest").out == manifest
    assert b"sealed manifest" in sealing.open(sealed.read_bytes(), "--verify", status=65).err


@pytest.mark.parametrize("suite", ["3", "age"])
def test_a_seal_that_fails_leaves_nothing_that_is_whole(suite, sealing, tbk, tmp_path):
    receipt, sealed = tmp_path / "receipt", tmp_path / "sealed"
    put(receipt, b"of before"), put(sealed, b"of before")
    words = ["stream", "--receipt", receipt, "--manifest-out", sealed, "x", "--", "sh", "-c", "head -c 5000000 /dev/urandom; exit 1"]
    cut = sealing.seal(suite, *words, status=74).out
    assert not receipt.exists() and not sealed.exists()
    if cut:
        sealing.open(cut, "--verify", status={65, 77})
    with open(tmp_path / "place", "wb") as place:
        sealing.seal(suite, *words, stdout=place, status=74)
    assert os.path.getsize(tmp_path / "place") == 0 and tbk.leftovers() == []


@pytest.mark.parametrize("suite", ["3", "age"])
@pytest.mark.parametrize("size", [0, 1, 700, (1 << 20) - 1, 1 << 20, 5_000_001])
def test_a_stream(size, suite, sealing):
    data = os.urandom(size // 2) + bytes(size - size // 2)
    archive = sealing.seal(suite, "stream", "db.sql", input=data).out
    assert sealing.open(archive, "--cat", "db.sql").out == data
    assert json.loads(sealing.open(archive, "--manifest").out)["files"][0]["size"] == size


def renamed_tar():
    """A link that sorts before its file, and the tree's own `manifest.json` beside another file."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, data in (("b", b"one"), ("manifest.json", b"mine"), ("manifest.json~", b"too"), ("z", b"last")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("a")
        link.type, link.linkname = tarfile.LNKTYPE, "b"
        tar.addfile(link)
    return file.getvalue()


@pytest.mark.parametrize("names", ["as they are", "renamed"])
@pytest.mark.parametrize("suite", ["3", "age"])
def test_a_tar(suite, names, sealing, tbk, small, tmp_path):
    words, tar = (["--strip-top"], mbu.tar(small)) if names == "as they are" else ([], renamed_tar())
    archive = sealing.seal(suite, "tar", *words, input=tar).out
    put(tmp_path / "archive", archive)
    plain = tbk.run("tbk-seal", "tar", *FAST, *words, input=tar).out
    for place, data in (("out", archive), ("plain", plain)):
        sealing.open(data, "-C", tmp_path / place)
    # The tar does not describe the top directory.
    one, other = ({path: found for path, found in snapshot(tmp_path / place).items() if path} for place in ("out", "plain"))
    assert one == other
    # Each content is at the offset that the manifest gives.
    entries = [entry for entry in json.loads(sealing.open(archive, "--manifest").out)["files"] if "offset" in entry]
    assert len(entries) > 2
    for entry in entries:
        content = tbk.run("tbk-open", "-i", sealing.key, "--cat", entry["relative_path"], tmp_path / "archive").out
        assert content == (tmp_path / "out" / entry["relative_path"]).read_bytes()


# Sealed again


@pytest.mark.parametrize("old", SUITES)
@pytest.mark.parametrize("new", SUITES)
def test_an_archive_is_sealed_again_in_every_suite(new, old, sealing, tbk, tree, tmp_path):
    archive = sealing.seal(old, tree).out
    opening = ["-i", sealing.key] if old == "age" else ["--old-password-file", tbk.password_file]
    for way in ("pipe", "file"):
        put(tmp_path / "old", archive)
        source = {"input": archive} if way == "pipe" else {"stdin": open(tmp_path / "old", "rb")}
        again = tbk.run("tbk-seal", "reseal", *sealing.options(new), *opening, password=None if new == "age" else PASSWORD,
                        **source).out
        assert sealing.open(again, "--manifest").out == sealing.open(archive, "--manifest").out
        assert sealing.open(again).out == sealing.open(archive).out, "the tar is the same, byte for byte"
        if old != "1" and new != "1":
            assert sealing.payload(new, again) == sealing.payload(old, archive)
        out = tmp_path / way
        sealing.open(again, "-C", out, "--setuid")
        assert snapshot(out) == snapshot(tree)


@pytest.mark.parametrize("old", ["1", "3", "age"])
def test_what_does_not_hold_is_not_sealed_again(old, sealing, tbk, tree):
    archive = sealing.seal(old, tree).out
    opening = ["-i", sealing.key] if old == "age" else ["--old-password-file", tbk.password_file]
    middle = len(archive) // 2
    for bad in (archive[:-1], archive[:middle] + bytes([archive[middle] ^ 1]) + archive[middle + 1:], archive + b"x"):
        for new in SUITES:
            again = tbk.run("tbk-seal", "reseal", *sealing.options(new), *opening, input=bad, status={65, 77},
                            password=None if new == "age" else PASSWORD).out
            if again:
                sealing.open(again, "--verify", status={65, 77})
    tbk.run("tbk-seal", "reseal", *sealing.options("3"), *opening, "--expect-id", "0" * 64, input=archive, status=65)


def test_older_archives_are_sealed_again_in_suite_3(sealing, tbk, small):
    """TBK1, and a manifest in front of the files."""
    manifest = mf.with_id(mf.build(small))
    first = frames.tar(manifest, tars.content_of(small), offsets=False, first=True)[0]
    for archive in (tbk1(small, iterations=1000), crypto.seal_tbk2(gz.compress(first, 1, 6), PASSWORD, **COST)):
        again = tbk.run("tbk-seal", "reseal", *sealing.options("3"), "--old-password-file", tbk.password_file, input=archive).out
        assert sealing.open(again).out == sealing.open(archive).out
        assert sealing.open(again, "--list").out == sealing.open(archive, "--list").out


@pytest.mark.parametrize("suite", SUITES)
def test_a_manifest_is_sealed_alone(suite, sealing, tbk, small):
    archive = sealing.seal("age", small).out
    alone = tbk.run("tbk-seal", "manifest", *sealing.options(suite), "-i", sealing.key, input=archive,
                    password=None if suite == "age" else PASSWORD).out
    assert sealing.open(alone, "--manifest").out == sealing.open(archive, "--manifest").out
    sealing.open(alone, "--verify", status=65)


# A chain of all suites, through a store


def backup(sealing, tbk, suite, store, source, tmp_path, last=None):
    """Makes and stores a backup; with the manifest `last`, an increment."""
    receipt, sealed = tmp_path / "receipt", tmp_path / "sealed"
    words = ["--mode", "incremental", "--previous", put(tmp_path / "last", last)] if last else []
    manifest = tbk.run("tbk-manifest", *words, source).out
    archive = sealing.seal(suite, "--receipt", receipt, "--manifest-out", sealed, input=manifest).out
    entry = tbk.run("tbk-push", store, "--json", "--receipt", receipt, "--sealed-manifest", sealed, input=archive).out
    return json.loads(entry), sealing.open(archive, "--manifest").out


def test_a_chain_of_every_suite_through_a_store(sealing, tbk, small, tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    last = None
    entries = []
    for number, suite in enumerate(["age", "3", "1", "3", "age"]):
        put(os.path.join(small, f"more{number}"), b"%d\n" % number * 1000)
        entry, last = backup(sealing, tbk, suite, store, small, tmp_path, last)
        entries.append(entry)
        end = "age" if suite == "age" else "tbk"
        assert entry["filename"] == f"backup_{entry['id'][:12]}.{end}"
        assert entry["manifest"]["filename"] == f"manifest_{entry['id'][:12]}.{end}"
        assert (entry["archive_version"], entry.get("suite")) == {"1": (2, None), "3": (2, 3), "age": (0, "age")}[suite]
    chain = tbk.run("tbk-pull", "--chain", store, "latest").out
    sealing.open(chain, "--chain", "-C", tmp_path / "out", "--setuid")
    assert snapshot(tmp_path / "out") == snapshot(small)
    assert sealing.open(chain, "--chain", "--cat", "more0").out == b"0\n" * 1000
    for entry in entries:
        alone = tbk.run("tbk-pull", store, entry["id"]).out
        assert hashlib.sha256(alone).hexdigest() == entry["sha256"]
        sealed = tbk.run("tbk-pull", store, "--manifest", entry["id"]).out
        assert json.loads(sealing.open(sealed, "--manifest").out)["backup_id"] == entry["id"]
    for suite in SUITES:
        whole = tbk.run("tbk-seal", "consolidate", *sealing.options(suite), "-i", sealing.key, "--receipt", tmp_path / "r",
                        input=chain).out
        out = tmp_path / ("whole" + suite)
        sealing.open(whole, "-C", out, "--setuid")
        assert snapshot(out) == snapshot(small)
        told = tbk.run("tbk-manifest", "id", "--consolidated", "-", input=last).out.decode().strip()
        assert json.loads((tmp_path / "r").read_text())["id"] == told
    # The store lists only the five backups.
    assert tbk.run("tbk-pull", "--list", store).out.count(b"\n") == 5


@pytest.mark.parametrize("suite", ["3", "age"])
def test_a_store_takes_what_is_whole_alone(suite, sealing, tbk, small, tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    receipt = tmp_path / "receipt"
    archive = sealing.seal(suite, "--receipt", receipt, small).out
    for cut in (0, 1, 100, len(archive) // 2, len(archive) - 1):
        tbk.run("tbk-push", store, "--receipt", receipt, input=archive[:cut], status=65)
    tbk.run("tbk-push", store, "--receipt", receipt, input=archive + b"x", status=65)
    other = json.loads(receipt.read_text())
    other["sha256"] = "0" * 64
    tbk.run("tbk-push", store, "--receipt", put(tmp_path / "other", json.dumps(other).encode()), input=archive, status=65)
    tbk.run("tbk-push", store, "--sha256", "0" * 64, input=archive, status=65)
    assert not (store / "metadata.json").exists()
    if suite == "age":
        assert b"--receipt" in tbk.run("tbk-push", store, input=archive, status=65).err
        armored = tbk.run("tbk-seal", "-a", "-r", IDENTITY.recipient, small, password=None).out
        assert b"armor" in tbk.run("tbk-push", store, "--receipt", receipt, input=armored, status=65).err
        tbk.run("tbk-push", store, "--sha256", hashlib.sha256(archive).hexdigest(), input=archive)
    else:
        tbk.run("tbk-push", store, input=archive)
    assert tbk.run("tbk-pull", store, "latest").out == archive
    assert tbk.leftovers() == []


# Options


@pytest.mark.parametrize("arguments", [
    ["--suite", "2"], ["--suite", "3", "-r", IDENTITY.recipient], ["--armor"], ["--salt-from", "x"],
    ["--suite", "1", "--salt-from", "x"], ["-r", IDENTITY.recipient, "--memory", "64"], ["-r", "age1nonsense"],
    ["--suite", "3", "--level", "0"], ["--suite", "3", "--level", "20"], ["-r", IDENTITY.recipient, "--level", "20"],
    ["--level", "10"], ["-R", "-"], ["-r", IDENTITY.recipient, "--password-file", "x"]], ids=str)
def test_usage(arguments, tbk, small):
    assert tbk.run("tbk-seal", *arguments, small, status=64, password=None if "-r" in arguments else PASSWORD).out == b""


def test_the_salt_of_a_check_is_shared(sealing, tbk, small, tmp_path):
    check = put(tmp_path / "check", sealing.seal("3", "stream", "check", input=b"check").out)
    salt = (tmp_path / "check").read_bytes()[14:46]
    assert sealing.seal("3", "--salt-from", check, small).out[14:46] == salt
    more = tbk.run("tbk-seal", "--suite", "3", "--memory", "128", "--iterations", "1", "--lanes", "1", "--salt-from", check, small).out
    assert more[14:46] != salt
    old = put(tmp_path / "old", sealing.seal("1", "stream", "check", input=b"check").out)
    assert sealing.seal("3", "--salt-from", old, small).out[14:46] != (tmp_path / "old").read_bytes()[14:46]
    sealing.seal("3", "--salt-from", check, small, password=b"wrong", status=77)
    sealing.seal("3", "--salt-from", put(tmp_path / "none", b"none"), small, status=65)


def test_no_child_sees_a_password_that_is_not_needed(sealing, tbk):
    archive = sealing.seal("age", "stream", "env", "--", "env", env={"TERMBACKUP_PASSWORD": "hunter2", "KEPT": "yes"}).out
    seen = sealing.open(archive, "--cat", "env").out
    assert b"hunter2" not in seen and b"KEPT=yes" in seen


def test_levels(sealing, tmp_path):
    put(tmp_path / "tree" / "text", b"".join(b"%d %x\n" % (n * n, n) for n in range(100_000)))
    sizes = [len(sealing.seal("3", "--level", level, tmp_path / "tree").out) for level in ("1", "19")]
    assert sizes[0] > sizes[1]

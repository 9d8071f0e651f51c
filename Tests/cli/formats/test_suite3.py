"""Archives of suite 3 and age, written by the reference implementation: opened in every way, from files and from pipes."""

import json
import os
import random
import subprocess

import pytest
from conftest import FAST, PASSWORD, mf, no_set_id, put, reference_archive, require, snapshot, some, tars
from tbkref import age, frames, gz, hostile

ONE, TWO = age.Identity(bytes(range(1, 33))), age.Identity(bytes(range(2, 34)))
SMALL = 700  # bytes of tar in a frame, so that even small trees have many frames
KINDS = ["suite 3", "age", "armor"]
WAYS = {"extract": ["-C", "{out}"], "include": ["-C", "{out}", "--include", "big"], "dry run": ["-C", "{out}", "--dry-run"],
        "tar": [], "verify": ["--verify"], "cat": ["--cat", "big"], "list": ["--list"]}


def seal(kind, payload, **options):
    if kind == "suite 3":
        return frames.seal3(payload, PASSWORD, **options)
    return frames.seal_age(payload, TWO, ONE, armored=kind == "armor", **options)


@pytest.fixture
def one(tmp_path):
    return put(tmp_path / "one", ONE.text.encode() + b"\n", 0o600)


@pytest.fixture
def opened(tbk, tmp_path, one):
    """Opens archives, oldest first, with the password and the identity ONE: from files, or a single one from a pipe."""
    def run(*archives, by="file", way=(), status=0, **options):
        arguments = ["-i", one, *way]
        if by == "pipe":
            return tbk.run("tbk-open", *arguments, input=archives[0], status=status, **options)
        files = [put(tmp_path / f"{at}.archive", archive) for at, archive in enumerate(archives)]
        return tbk.run("tbk-open", *arguments, *files, status=status, **options)
    return run


def zstd(data):
    """A frame written by stock zstd."""
    require("zstd")
    return subprocess.run(["zstd", "-q", "-3", "--no-check", f"--stream-size={len(data)}", "-c"], input=data, capture_output=True,
                          check=True).stdout


@pytest.fixture
def grown(small):
    """`small`, with a file of many chunks added."""
    put(os.path.join(small, "big"), random.Random(1).randbytes(300_000))
    put(os.path.join(small, "manifest.json"), b"mine\n")
    os.link(os.path.join(small, "plain"), os.path.join(small, "z link"))
    return small


def made(directory, **options):
    return frames.of(mf.build(directory), tars.content_of(directory), **options)


@pytest.mark.parametrize("by", ["file", "pipe"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [SMALL, frames.LIMIT])
def test_it_opens_in_every_way(size, kind, by, opened, grown, tmp_path):
    data, at, manifest = frames.tar(mf.build(grown), tars.content_of(grown))
    payload = frames.payload(data, at, len(mf.encode(manifest)), size)
    archive = seal(kind, payload)

    def run(*way, **options):
        return opened(archive, by=by, way=way, **options)
    run("-C", tmp_path / "out")
    assert snapshot(tmp_path / "out") == snapshot(grown)
    run("-C", tmp_path / "part", "--include", "d", "--include", "z link")
    assert sorted(path for path in snapshot(tmp_path / "part") if path) == [b"d", b"d/inside", b"d/other", b"z link"]
    want = snapshot(grown)
    for path, found in snapshot(tmp_path / "part").items():
        if path not in (b"", b"z link"):
            assert found == want[path]
    assert run().out == data
    assert run("--raw").out == payload
    assert json.loads(run("--manifest").out) == manifest
    assert run("--list").lines == sorted(entry["relative_path"] for entry in manifest["files"])
    assert run("--verify").out.startswith(b"ok " + manifest["backup_id"].encode())
    assert run("--cat", "d/inside").out == b"inside\n" * 100
    assert run("--cat", "z link").out == b"plain\n"
    assert run("--cat", "manifest.json").out == b"mine\n"
    assert run("--cat", "no such", status=66).out == b""
    run("--verify", "--expect-id", "0" * 64, status=65)
    assert run("-C", tmp_path / "none", "--include", "no such", status=66).out == b""
    assert b"create" in run("-C", tmp_path / "other", "--dry-run").out and not (tmp_path / "other").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_entry_comes_back(kind, opened, tree, tmp_path):
    payload, _ = made(tree, frame=zstd)
    for by in ("file", "pipe"):
        opened(seal(kind, payload), by=by, way=["-C", tmp_path / by], status={0, 3})
        assert snapshot(tmp_path / by) == no_set_id(snapshot(tree))


def test_the_manifest_may_stand_first_and_need_not_say_where_content_is(opened, grown, tmp_path):
    body = mf.with_id(mf.build(grown))
    data = tars.write(body, tars.content_of(grown), manifest_first=True)
    for name, archive in (("first", frames.payload(data, 0, len(mf.encode(body)), SMALL)),
                          ("without", made(grown, size=SMALL, offsets=False)[0])):
        archive = seal("suite 3", archive)
        for by in ("file", "pipe"):
            out = tmp_path / name / by
            os.makedirs(out)
            opened(archive, by=by, way=["-C", out / "all"])
            assert snapshot(out / "all") == snapshot(grown)
            opened(archive, by=by, way=["-C", out / "part", "--include", "d/inside"])
            assert (out / "part" / "d" / "inside").read_bytes() == b"inside\n" * 100
            assert opened(archive, by=by, way=["--cat", "plain"]).out == b"plain\n"


def test_a_large_archive_goes_through_all_stages(opened, tmp_path):
    top = tmp_path / "large"
    for at in range(5):
        put(top / f"{at}", random.Random(at).randbytes(3 << 20))
    payload, _ = made(top, frame=zstd)
    for kind in ("suite 3", "age"):
        archive = seal(kind, payload)
        for by in ("file", "pipe"):
            opened(archive, by=by, way=["-C", tmp_path / kind / by] if (tmp_path / kind).mkdir(exist_ok=True) is None else [])
            assert snapshot(tmp_path / kind / by) == snapshot(top)


def test_a_sealed_manifest_is_listed_and_is_no_archive(opened, grown, tmp_path):
    _, manifest = made(grown)
    data = tars.only_manifest(manifest)
    archive = seal("suite 3", frames.payload(data, 0, len(mf.encode(manifest)), SMALL))
    for by in ("file", "pipe"):
        assert json.loads(opened(archive, by=by, way=["--manifest"]).out) == manifest
        for name, way in WAYS.items():
            if name != "list":
                way = [word.format(out=tmp_path / "out") for word in way]
                result = opened(archive, by=by, way=way, status=65)
                assert b"sealed manifest" in result.err and result.out == b"", name
    assert not (tmp_path / "out").exists()


def test_nothing_is_kept_of_what_comes_on_a_pipe(opened, tbk, grown, tmp_path):
    payload, manifest = made(grown, size=SMALL)
    nowhere = {"env": {"TMPDIR": str(tmp_path / "nowhere")}, "by": "pipe"}
    for kind in KINDS:
        archive = seal(kind, payload)
        opened(archive, way=["-C", tmp_path / kind], **nowhere)
        assert snapshot(tmp_path / kind) == snapshot(grown)
        assert json.loads(opened(archive, way=["--manifest"], **nowhere).out) == manifest
        for way in ([], ["--verify"], ["--list"], ["--raw"]):
            opened(archive, way=way, **nowhere)
        for way in (["--cat", "plain"], ["-C", tmp_path / f"part of {kind}", "--include", "d"]):
            opened(archive, by="pipe", way=way)
    assert tbk.leftovers() == []


def test_one_file_is_read_without_the_rest(opened, grown, tmp_path):
    payload, manifest = made(grown, size=SMALL)
    places = {entry["relative_path"]: entry.get("offset") for entry in manifest["files"]}

    def altered(chunks):
        assert places["big"] < 16384 * 3, "the third chunk is in the middle of it"
        return [*chunks[:3], bytes([chunks[3][0] ^ 1]) + chunks[3][1:], *chunks[4:]]
    archive = seal("suite 3", payload, parts=altered)
    assert opened(archive, way=["--cat", "plain"]).out == b"plain\n"
    opened(archive, way=["-C", tmp_path / "part", "--include", "d"])
    assert (tmp_path / "part" / "d" / "inside").read_bytes() == b"inside\n" * 100
    opened(archive, way=["--list"])
    assert opened(archive, way=["--cat", "big"], status=77).out == b""
    for way in (["-C", tmp_path / "all"], ["--verify"], ["-C", tmp_path / "all", "--include", "big"]):
        opened(archive, way=way, status=77)
    assert not (tmp_path / "all").exists()


# Opening


def test_the_header_is_shown_without_a_password(tbk, grown):
    payload, _ = made(grown)
    shown = json.loads(tbk.open(seal("suite 3", payload), "--header", "--json", password=None).out)
    assert shown == {"format": "TBK2", "kdf": "argon2id", "kdf_id": 1, "memory_kib": 64, "iterations": 1, "lanes": 1,
                     "salt": frames.SALT.hex(), "cipher": "aes-256-gcm, in chunks of 16 KiB", "cipher_id": 3,
                     "header_length": 56}
    for kind in ("age", "armor"):
        archive = seal(kind, payload)
        shown = json.loads(tbk.open(archive, "--header", "--json", password=None).out)
        assert shown["format"] == "age" and shown["sealed_to"] == "X25519, X25519" and shown["armored"] is (kind == "armor")
        assert b"sealed_to: X25519, X25519\n" in tbk.open(frames.chain(archive), "--chain", "--header", password=None).out


def test_a_wrong_password_or_identity_is_77(tbk, opened, grown, tmp_path):
    payload, _ = made(grown)
    other = put(tmp_path / "other", age.Identity(bytes(32)).text.encode(), 0o600)
    for by in ("file", "pipe"):
        assert opened(seal("suite 3", payload), by=by, status=77, password=b"wrong").out == b""
    for kind in ("age", "armor"):
        file = put(tmp_path / "x", seal(kind, payload))
        assert tbk.run("tbk-open", "-i", other, file, status=77).out == b""
        assert b"-i" in tbk.run("tbk-open", file, status=64).err
        assert b"-i" in tbk.run("tbk-open", "--list", file, status=64).err
    assert b"no password" in tbk.open(seal("suite 3", payload), password=None, status=64).err


def test_a_passphrase_is_the_password(tbk, grown, tmp_path):
    payload, _ = made(grown)
    stanza = age.Passphrase(PASSWORD).wrap(frames.FILE_KEY, bytes(16), 10)
    archive = age.header(frames.FILE_KEY, [stanza]) + age.payload(frames.FILE_KEY, payload, frames.NONCE)
    tbk.extract(archive, tmp_path / "out")
    assert snapshot(tmp_path / "out") == snapshot(grown)
    tbk.open(archive, "--list", password=b"wrong", status=77)


@pytest.mark.parametrize("over", [{"memory": 4 << 20}, {"time": 1000}, {"lanes": 200, "memory": 1 << 20}])
def test_what_a_header_asks_for_is_limited(over, opened):
    header = frames.header3(**over).pack()
    for by in ("file", "pipe"):
        opened(header + bytes(200), by=by, status=65)


def test_what_stock_age_and_zstd_make_of_it(opened, grown, tmp_path):
    """age -d | zstd -d | tar x: without our programs."""
    require("age")
    data, at, manifest = frames.tar(mf.build(grown), tars.content_of(grown))
    payload = frames.payload(data, at, len(mf.encode(manifest)), SMALL, zstd)
    identity = put(tmp_path / "id", ONE.text.encode() + b"\n")
    for kind in ("age", "armor"):
        plain = subprocess.run(["age", "-d", "-i", identity], input=seal(kind, payload), capture_output=True, check=True).stdout
        assert plain == payload
    assert subprocess.run(["zstd", "-q", "-d", "-c"], input=payload, capture_output=True, check=True).stdout == data
    theirs = subprocess.run(["age", "-r", ONE.recipient], input=payload, capture_output=True, check=True).stdout
    opened(theirs, way=["-C", tmp_path / "out"])
    assert snapshot(tmp_path / "out") == snapshot(grown)


# Malformed archives


def wrong(name):
    def register(build):
        WRONG[name] = build
        return build
    return register


WRONG = {}


def parts_of(grown):
    data, at, manifest = frames.tar(mf.build(grown), tars.content_of(grown))
    return data, at, len(mf.encode(manifest)), manifest


def assembled(cut, front=b"", sizes=None, table=None):
    sizes = sizes or [*((len(each), count) for each, count in cut), (len(front), 0)]
    return b"".join(each for each, _ in cut) + front + (frames.seek_table(sizes) if table is None else table)


def register_payloads():
    def given(name, build):
        def payload(grown):
            data, at, length, manifest = parts_of(grown)
            return build(data, at, length, frames.frames(data, at, 50_000), frames.locator(at, length))
        WRONG[name] = payload

    given("no locator", lambda d, at, n, cut, front: assembled(cut, sizes=[(len(e), c) for e, c in cut]))
    given("no table", lambda d, at, n, cut, front: assembled(cut, front, table=b""))
    given("two tables", lambda d, at, n, cut, front: assembled(cut, front) + assembled(cut, front)[-60:])
    given("a byte behind", lambda d, at, n, cut, front: assembled(cut, front) + b"\0")
    given("a frame behind", lambda d, at, n, cut, front: assembled(cut, front) + frames.raw_frame(b"x"))
    given("a skippable frame in front", lambda d, at, n, cut, front: frames.skippable(b"x") + assembled(cut, front))
    given("table of other sizes", lambda d, at, n, cut, front: assembled(
        cut, front, [(len(cut[0][0]), cut[0][1] - 1), *((len(e), c) for e, c in cut[1:]), (28, 0)]))
    given("table of overlapping frames", lambda d, at, n, cut, front: assembled(
        cut, front, [(len(cut[0][0]) + 9, cut[0][1]), *((len(e), c) for e, c in cut[1:]), (28, 0)]))
    given("table without a frame", lambda d, at, n, cut, front: assembled(
        cut, front, [*((len(e), c) for e, c in cut[1:]), (28, 0)]))
    given("table that counts 2^27 frames", lambda d, at, n, cut, front: assembled(cut, front)[:-9]
          + frames.struct.pack("<IBI", 1 << 27, 0, 0x8F92EAB1))
    given("locator in the middle of a frame", lambda d, at, n, cut, front: assembled(cut, frames.locator(at + 512, n)))
    given("locator behind the end", lambda d, at, n, cut, front: assembled(cut, frames.locator(1 << 62, n)))
    given("locator of another member", lambda d, at, n, cut, front: assembled(cut, frames.locator(0, n)))
    given("locator of another length", lambda d, at, n, cut, front: assembled(cut, frames.locator(at, n - 1)))
    given("locator of all ones", lambda d, at, n, cut, front: assembled(cut, frames.locator(2**64 - 1, 2**64 - 1)))
    given("frame that does not say its size", lambda d, at, n, cut, front: assembled(
        [(frames.struct.pack("<IBB", 0xFD2FB528, 0, 0x58) + cut[0][0][9:], cut[0][1]), *cut[1:]], front))
    given("frame that lies about its size", lambda d, at, n, cut, front: assembled(
        [(cut[0][0][:5] + frames.struct.pack("<I", cut[0][1] + 1) + cut[0][0][9:], cut[0][1] + 1), *cut[1:]], front))
    given("frame of more than 4 MiB", lambda d, at, n, cut, front: assembled(
        [(frames.raw_frame(bytes(frames.LIMIT + 1)), frames.LIMIT + 1), *cut], front))
    given("empty frame", lambda d, at, n, cut, front: assembled([(frames.raw_frame(b""), 0), *cut], front))
    given("cut", lambda d, at, n, cut, front: assembled(cut, front)[:-1])
    given("gzip", lambda d, at, n, cut, front: gz.compress(d))
    given("nothing", lambda d, at, n, cut, front: b"")
    given("the tar alone", lambda d, at, n, cut, front: d)


def register_manifests():
    def given(name, change):
        def payload(grown):
            content = tars.content_of(grown)
            data, at, manifest = frames.tar(mf.build(grown), content)
            for entry in manifest["files"]:
                change(entry)
            manifest = mf.with_id(manifest)
            data = data[:at] + tars.only_manifest(manifest)
            return frames.payload(data, at, len(mf.encode(manifest)), 50_000)
        WRONG[name] = payload

    def set_offset(path, value):
        def change(entry):
            if entry["relative_path"] == path:
                entry["offset"] = value(entry) if callable(value) else value
        return change
    def other_hash(entry):
        if entry["relative_path"] == "big":
            entry.pop("offset")
            entry["sha256"] = 64 * "0"
    given("no offset and another hash", other_hash)
    given("offset of another place", set_offset("big", lambda entry: entry["offset"] + 512))
    given("offset outside", set_offset("big", 1 << 40))
    given("offset that is as large as a number can be", set_offset("big", 2**63 - 1))
    given("offset past any number", set_offset("big", 2**64))
    given("offset below zero", set_offset("big", -1))
    given("offset of a directory", set_offset("d", 512))
    given("offset of a hard link", set_offset("z link", 512))


register_payloads()
register_manifests()


@pytest.mark.parametrize("name", WRONG)
def test_a_payload_that_is_wrong_is_refused(name, opened, grown, tmp_path):
    archive = seal("suite 3" if len(name) % 2 else "age", WRONG[name](grown))
    for by in ("file", "pipe"):
        for way, arguments in WAYS.items():
            # The manifest alone is valid.
            if way == "list" and by == "file" and name in (
                    "no offset and another hash", "offset of another place", "offset outside", "offset that is as large as a number can be",
                    "frame that lies about its size", "frame that does not say its size", "a skippable frame in front",
                    "empty frame"):
                continue
            arguments = [word.format(out=tmp_path / "out") for word in arguments]
            result = opened(archive, by=by, way=arguments, status=65)
            if way == "tar":
                assert result.out == b"" or result.out[-512:] == b"\xff" * 512
            else:
                assert result.out == b"", way
            assert not (tmp_path / "out").exists()


FAULTS = {
    "cut at a border": lambda chunks: chunks[:-1], "cut in a chunk": lambda chunks: [*chunks[:-1], chunks[-1][:-1]],
    "first chunk lost": lambda chunks: chunks[1:], "chunk lost": lambda chunks: [*chunks[:2], *chunks[3:]],
    "chunks exchanged": lambda chunks: [chunks[1], chunks[0], *chunks[2:]],
    "chunk doubled": lambda chunks: [*chunks[:2], chunks[1], *chunks[2:]],
    "bit flipped": lambda chunks: [*chunks[:1], bytes([chunks[1][0] ^ 1]) + chunks[1][1:], *chunks[2:]],
    "last chunk first": lambda chunks: [chunks[-1], *chunks[:-1]], "nothing left": lambda chunks: [],
    "something behind": lambda chunks: [*chunks, b"x"], "a chunk behind": lambda chunks: [*chunks, chunks[0]],
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", FAULTS)
def test_chunks_that_are_wrong_are_refused(fault, kind, opened, grown, tmp_path):
    payload, _ = made(grown, size=50_000)
    archive = seal(kind, payload, parts=FAULTS[fault])
    for by in ("file", "pipe"):
        for way in (["-C", tmp_path / "out"], ["--verify"], []):
            result = opened(archive, by=by, way=way, status={65, 77})
            assert result.out == b"" or result.out[-512:] == b"\xff" * 512
    assert not (tmp_path / "out").exists()


# Changes to chunk `at` of several, and whether this invalidates a tag. A message that ends at a boundary merely lacks
# its last chunk.
AT_A_BORDER = {
    "cut": (lambda chunks, at: chunks[:at], False),
    "cut a byte later": (lambda chunks, at: [*chunks[:at], chunks[at][:1]], False),
    "cut a byte before": (lambda chunks, at: [*chunks[:at], chunks[at][:-1]], True),
    "first bit": (lambda chunks, at: [*chunks[:at], bytes([chunks[at][0] ^ 1]) + chunks[at][1:], *chunks[at + 1:]], True),
    "last byte": (lambda chunks, at: [*chunks[:at], chunks[at][:-1] + bytes([chunks[at][-1] ^ 1]), *chunks[at + 1:]], True),
    "lost": (lambda chunks, at: [*chunks[:at], *chunks[at + 1:]], True),
    "doubled": (lambda chunks, at: [*chunks[:at], chunks[at], *chunks[at:]], True),
    "exchanged": (lambda chunks, at: [*chunks[:at], *chunks[at:at + 2][::-1], *chunks[at + 2:]], True),
    "a byte more": (lambda chunks, at: [*chunks[:at], b"x", *chunks[at:]], True),
    "another between": (lambda chunks, at: [*chunks[:at], bytes(len(chunks[0])), *chunks[at:]], True),
    "the last here": (lambda chunks, at: [*chunks[:at], chunks[-1]], True),
}


@some(5)
@pytest.mark.parametrize("by", ["file", "pipe"])
@pytest.mark.parametrize("kind", KINDS[:2])
def test_every_border_of_a_chunk(kind, by, stride, opened, grown, tmp_path):
    payload, _ = made(grown, size=50_000)
    chunk = 16_384 if kind == "suite 3" else 65_536
    count = -(-len(payload) // chunk)
    borders = [(name, at) for at in range(count) for name in AT_A_BORDER]
    good = seal(kind, payload)
    tried = 0
    for name, at in borders[::stride]:
        change, breaks = AT_A_BORDER[name]
        archive = seal(kind, payload, parts=lambda chunks: change(chunks, at))
        if archive == good:
            continue  # The last chunk cannot be exchanged with a next one, or is in its place already.
        result = opened(archive, by=by, way=["-C", tmp_path / "out"], status=77 if breaks and at < count - 1 else {65, 77})
        assert result.out == b"" and not (tmp_path / "out").exists(), (name, at)
        tried += 1
    assert tried > len(borders) // stride * 0.9


def test_a_cut_anywhere_puts_nothing_in_place(opened, grown, tmp_path):
    payload, _ = made(grown, size=50_000)
    archive = seal("suite 3", payload)
    for cut in (*range(1, 120, 17), 16_384, 60_000, len(archive) - 17, len(archive) - 16, len(archive) - 1):
        for by in ("file", "pipe"):
            opened(archive[:cut], by=by, way=["-C", tmp_path / "out"], status={65, 77})
        opened(archive[:cut], way=["-C", tmp_path / "out"], status=65)
    for behind in (b"x", b"TBK2 end", archive):
        opened(archive + behind, way=["-C", tmp_path / "out"], status=65)
        opened(archive + behind, by="pipe", way=["-C", tmp_path / "out"], status={65, 77})
    trailer = archive[:-16] + (1).to_bytes(8, "big") + b"TBK2 end"
    for by in ("file", "pipe"):
        opened(trailer, by=by, way=["-C", tmp_path / "out"], status=65)
    assert not (tmp_path / "out").exists()


def test_a_cut_tar_is_noticed_by_stock_tar(opened, grown):
    payload, _ = made(grown)
    archive = seal("age", payload)
    out = opened(archive[:-40], by="pipe", status={65, 77}).out
    require("tar")
    assert out == b"" or subprocess.run(["tar", "-t"], input=out, capture_output=True).returncode != 0


@pytest.mark.parametrize("name", ["stored_as_below_a_link", "unlisted_file", "member_is_a_fifo", "path_escapes_by_dot_dot"])
def test_hostile_tars_are_as_hostile_here(name, opened, tmp_path):
    """The tars of the hostile archives, as payloads of these kinds."""
    cases = [case for case in hostile.catalogue() if case.name.startswith(name.split("_is_")[0])]
    for case in cases[:1]:
        _, inner = frames.crypto.open_archive(case.build(), hostile.PASSWORD)
        data = gz.decompress(inner)
        at = data.find(b"manifest.json\0")
        payload = frames.payload(data, at, int(data[at + 124:at + 135], 8), SMALL)
        for by in ("file", "pipe"):
            opened(seal("suite 3", payload), by=by, way=["-C", tmp_path / "out"], status=65)
        assert not (tmp_path / "out").exists()


# Chains


@pytest.fixture
def history(grown, tmp_path):
    """(archives of suite 3, age and suite 1, oldest first; the tree at the end)"""
    archives, previous = [], None
    for number, kind in enumerate(("suite 3", "age", "suite 1")):
        put(os.path.join(grown, f"new {number}"), b"%d\n" % number * 1000)
        put(os.path.join(grown, "plain"), b"plain %d\n" % number)
        body = mf.build(grown, "incremental" if previous else "full", previous)
        if kind == "suite 1":
            archive, previous = reference_archive(grown, manifest=body)
        else:
            payload, previous = frames.of(body, tars.content_of(grown), size=SMALL)
            archive = seal(kind, payload)
        archives.append(archive)
    os.unlink(os.path.join(grown, "new 0"))
    body = mf.build(grown, "incremental", previous)
    payload, _ = frames.of(body, tars.content_of(grown), size=SMALL)
    return [*archives, seal("suite 3", payload)], grown


def test_a_mixed_chain_is_restored_whole_and_by_file(history, tbk, opened, one, tmp_path):
    archives, tree = history
    want = snapshot(tree)
    opened(*archives, way=["-C", tmp_path / "files"])
    assert snapshot(tmp_path / "files") == want
    sent = frames.chain(*reversed(archives))
    # An archive that marks its own end needs no frame.
    bare = frames.chain(archives[3]) + archives[2] + frames.chain(archives[1], archives[0])
    for name, chain in (("framed", sent), ("bare", bare)):
        tbk.open(chain, "--chain", "-i", one, "-C", tmp_path / name)
        assert snapshot(tmp_path / name) == want
    for run in (lambda *way, **more: opened(*archives, way=way, **more),
                lambda *way, **more: tbk.open(sent, "--chain", "-i", one, *way, **more)):
        assert run("--cat", "big").out == open(os.path.join(tree, "big"), "rb").read()
        assert run("--cat", "new 1").out == b"1\n" * 1000
        assert run("--cat", "new 2").out == b"2\n" * 1000
        assert run("--verify").out.startswith(b"ok ")
        assert "new 2" in run("--list").lines
        assert run(status=64).out == b""
    opened(*archives, way=["-C", tmp_path / "part", "--include", "new 1", "--include", "z link"])
    assert sorted(os.listdir(tmp_path / "part")) == ["new 1", "z link"]
    tbk.open(sent, "--chain", "-i", one, "-C", tmp_path / "piped", "--include", "new 1")
    assert os.listdir(tmp_path / "piped") == ["new 1"]


def test_what_a_chain_lacks_is_named(history, tbk, opened, one, tmp_path):
    archives, _ = history
    assert b"needs others" in opened(*archives[1:], way=["-C", tmp_path / "out"], status=66).err
    sent = frames.chain(*reversed(archives))
    for cut in (3, 15, 20, len(archives[3]), len(archives[3]) + 20, len(sent) - 1, len(sent) - len(archives[0]) - 1):
        tbk.open(sent[:cut], "--chain", "-i", one, "-C", tmp_path / "out", status={65, 66, 77})
    tbk.open(sent + b"x", "--chain", "-i", one, "-C", tmp_path / "out", status=65)
    unframed = b"".join(reversed(archives))
    assert b"no length" in tbk.open(unframed, "--chain", "-i", one, "-C", tmp_path / "out", status=65).err
    huge = b"TBKCHAIN" + b"\xff" * 8 + archives[3]
    tbk.open(huge, "--chain", "-i", one, "-C", tmp_path / "out", status=65)
    assert not (tmp_path / "out").exists()


def test_what_is_not_needed_is_verified_too(grown, opened, tbk, one, tmp_path):
    payload, _ = made(grown)
    good, old = seal("suite 3", payload), seal("age", payload)
    bad = old[:-30] + bytes([old[-30] ^ 1]) + old[-29:]
    middle = good[:20_000] + bytes([good[20_000] ^ 1]) + good[20_001:]
    for other in (bad, middle):
        opened(other, good, way=["-C", tmp_path / "out"], status=77)
        tbk.open(frames.chain(good, other), "--chain", "-i", one, "-C", tmp_path / "out", status=77)
        tbk.open(frames.chain(good, other), "--chain", "-i", one, "--list", status=77)
    assert not (tmp_path / "out").exists()
    opened(old, good, way=["-C", tmp_path / "out"])


def test_a_pointer_leads_to_a_place_in_a_tar_whatever_its_name(grown, opened, tbk, one, tmp_path):
    body = mf.build(grown)
    payload, first = frames.of(body, tars.content_of(grown), size=SMALL)
    base = seal("suite 3", payload)
    os.rename(os.path.join(grown, "big"), os.path.join(grown, "bigger"))
    place = next(entry["offset"] for entry in first["files"] if entry["relative_path"] == "big")
    body = mf.build(grown, "incremental", first)
    for entry in body["files"]:
        if entry["relative_path"] == "bigger":
            entry |= {"stored_in": first["backup_id"], "offset": place}
    payload, _ = frames.of(body, tars.content_of(grown), size=SMALL)
    for kind in ("suite 3", "age"):
        newest = seal(kind, payload)
        opened(base, newest, way=["-C", tmp_path / kind])
        assert snapshot(tmp_path / kind) == snapshot(grown)
        tbk.open(frames.chain(newest, base), "--chain", "-i", one, "-C", tmp_path / (kind + " piped"))
        assert snapshot(tmp_path / (kind + " piped")) == snapshot(grown)
    content = open(os.path.join(grown, "bigger"), "rb").read()
    assert opened(base, newest, way=["--cat", "bigger"]).out == content
    assert tbk.open(frames.chain(newest, base), "--chain", "-i", one, "--cat", "bigger").out == content


    done = opened(base, newest, way=["--verify", "--each"])
    assert [line.split("\t")[0] for line in done.lines] == ["ok", "ok"]


@pytest.mark.parametrize("kind", KINDS[:2])
def test_a_base_that_is_damaged_in_the_middle_is_skipped(kind, grown, opened, tbk, one, tmp_path):
    payload, first = made(grown)
    base = seal(kind, payload)
    base = base[:len(base) // 2] + bytes([base[len(base) // 2] ^ 1]) + base[len(base) // 2 + 1:]
    put(os.path.join(grown, "later"), b"later")
    payload, _ = frames.of(mf.build(grown, "incremental", first), tars.content_of(grown))
    newest = seal(kind, payload)
    opened(base, newest, way=["-C", tmp_path / "out"], status={65, 77})
    assert not (tmp_path / "out").exists()
    done = opened(base, newest, way=["--partial", "-C", tmp_path / "out"], status=3)
    assert (tmp_path / "out" / "later").read_bytes() == b"later" and b"big" in done.err
    assert not (tmp_path / "out" / "big").exists()
    tbk.open(frames.chain(newest, base), "--chain", "--partial", "-i", one, "-C", tmp_path / "piped", status=3)
    assert (tmp_path / "piped" / "later").read_bytes() == b"later"


def test_verifying_many_blames_no_archive_for_a_wrong_identity(grown, tbk, tmp_path):
    sealed = seal("age", made(grown)[0])
    archive = put(tmp_path / "x.age", sealed)
    junk = put(tmp_path / "junk", b"no identity\n", 0o600)
    done = tbk.run("tbk-open", "--verify", "--each", "-i", junk, archive, archive, status=65)
    assert done.out == b"" and b"junk" in done.err
    fine = put(tmp_path / "one", ONE.text.encode() + b"\n", 0o600)
    done = tbk.run("tbk-open", "--verify", "--each", "-i", fine, archive, put(tmp_path / "cut.age", sealed[:-9]), status=1)
    assert [line.split("\t")[0] for line in done.lines] == ["ok", "altered"] and "cut.age" in done.lines[1]


def test_a_manifest_is_sealed_only_of_what_is_whole(grown, tbk, tmp_path):
    archive = seal("suite 3", made(grown)[0])
    broken = archive[:len(archive) // 2] + bytes([archive[len(archive) // 2] ^ 1]) + archive[len(archive) // 2 + 1:]
    with open(put(tmp_path / "broken", broken), "rb") as file:
        assert tbk.run("tbk-seal", "manifest", *FAST, stdin=file, status={65, 77}).out == b""
    assert tbk.run("tbk-seal", "manifest", *FAST, input=archive).out


# Resealed in suite 1


def test_an_archive_of_suite_3_is_sealed_again_in_suite_1(tbk, grown, tmp_path):
    data, at, manifest = frames.tar(mf.build(grown), tars.content_of(grown))
    archive = seal("suite 3", frames.payload(data, at, len(mf.encode(manifest)), SMALL))
    new = put(tmp_path / "new", b"another")
    for source in ({"input": archive}, {"stdin": open(put(tmp_path / "x.tbk", archive), "rb")}):
        again = tbk.run("tbk-seal", "reseal", *FAST, "--suite", "1", "--old-password-file", tbk.password_file, "--password-file",
                        new, password=None, **source).out
        assert tbk.open(again, password=b"another").out == data
        assert tbk.open(again, "--verify", password=b"another").out.startswith(b"ok " + manifest["backup_id"].encode())
    bad = archive[:-30] + bytes([archive[-30] ^ 1]) + archive[-29:]
    done = tbk.run("tbk-seal", "reseal", *FAST, "--suite", "1", "--old-password-file", tbk.password_file, input=bad, status=77)
    assert done.out == b"" and tbk.leftovers() == []
    done = tbk.run("tbk-seal", "reseal", *FAST, "--old-password-file", tbk.password_file,
                   input=seal("age", frames.payload(data, at, len(mf.encode(manifest)))), status=64)
    assert done.out == b"" and b"recipients" in done.err


def test_a_mixed_chain_is_consolidated(tbk, grown, tmp_path):
    payload, first = made(grown, size=SMALL)
    base = seal("suite 3", payload)
    put(os.path.join(grown, "new"), b"new\n")
    newest, _ = reference_archive(grown, manifest=mf.build(grown, "incremental", first))
    whole = tbk.run("tbk-seal", "consolidate", *FAST, input=frames.chain(newest, base)).out
    tbk.extract(whole, tmp_path / "out")
    assert snapshot(tmp_path / "out") == snapshot(grown)
    assert b"offset" not in tbk.open(whole, "--manifest").out


def test_an_increment_over_suite_3_says_where_content_is(tbk, grown, tmp_path, opened):
    payload, first = made(grown, size=SMALL)
    previous = put(tmp_path / "previous", opened(seal("suite 3", payload), way=["--manifest"]).out)
    put(os.path.join(grown, "plain"), b"changed\n")
    again = tbk.run("tbk-manifest", "--mode", "incremental", "--previous", previous, grown).out
    places = {entry["relative_path"]: entry.get("offset") for entry in first["files"]}
    for entry in json.loads(again)["files"]:
        held = "stored_in" in entry
        assert entry.get("offset") == (places[entry["relative_path"]] if held else None), entry
    newest = tbk.run("tbk-seal", *FAST, "--receipt", tmp_path / "receipt", input=again).out
    opened(seal("suite 3", payload), newest, way=["-C", tmp_path / "out"])
    assert snapshot(tmp_path / "out") == snapshot(grown)

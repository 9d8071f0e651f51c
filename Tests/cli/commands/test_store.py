"""tbk-store check: objects that are missing or altered; and the options of tbk-push that it replaced."""

import json

import pytest
from conftest import put, snapshot
from github_fixture import github, github_server  # noqa: F401
from test_github_store import archive, identify
from test_json import check as described

GROUP = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def store(tbk, tmp_path):
    """Two backups with sealed manifests, the second based on the first, and a password check; a third in another group."""
    path = tmp_path / "store"
    tbk.run("tbk-store", "create", path)
    put(tmp_path / "receipt", json.dumps({
        "receipt": 1, "id": "ab" * 32, "created_at": "2026-01-01T00:00:00+00:00", "file_count": 1, "mode": "incremental",
        "depends_on": [identify(archive(1))], "complete": True}).encode())
    for seed in (11, 12):
        put(tmp_path / f"manifest{seed}", archive(seed))
    tbk.run("tbk-push", path, "--group", GROUP, "--sealed-manifest", tmp_path / "manifest11", input=archive(1))
    tbk.run("tbk-push", path, "--group", GROUP, "--sealed-manifest", tmp_path / "manifest12", "--receipt", tmp_path / "receipt",
            input=archive(2))
    tbk.run("tbk-push", path, "--group", "other", "--new-group", input=archive(3))
    tbk.run("tbk-store", "password-check", path, "-", "--group", GROUP, input=archive(4))
    return path


def ids_of(store):
    return [entry["id"] for entry in json.loads((store / "metadata.json").read_text())["backups"]]


def objects(store):
    """The files that the ledger names, by kind, with the id or group they belong to."""
    ledger = json.loads((store / "metadata.json").read_text())
    for entry in ledger["backups"]:
        yield "archive", entry["id"], store / "backups" / entry["filename"]
        if entry.get("manifest"):
            yield "manifest", entry["id"], store / "manifests" / entry["manifest"]["filename"]
    for name, group in ledger["groups"].items():
        yield "check", name, store / "checks" / group["check"]["filename"]


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def grow(path):
    path.write_bytes(path.read_bytes() + b"x")


def flip(path):
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def test_a_store_that_holds_all_is_in_order(tbk, store):
    before = snapshot(store)
    for more in ([], ["--stored"], ["--json"], ["--group", "other"], [ids_of(store)[1][:12]]):
        done = tbk.run("tbk-store", "check", store, *more)
        assert done.out == b"" and b"in order" in done.err
    assert b"6 objects in order, by size" in tbk.run("tbk-store", "check", store).err
    assert b"6 objects in order\n" in tbk.run("tbk-store", "check", store, "--stored").err
    assert snapshot(store) == before


@pytest.mark.parametrize("kind,owner", [("archive", 0), ("archive", 1), ("manifest", 0), ("manifest", 1), ("check", 0)])
def test_each_fault_is_a_line_and_the_answer_is_no(tbk, store, kind, owner):
    *_, (_, name, path) = [found for found in objects(store) if found[0] == kind][:owner + 1]
    path.chmod(0o600)
    data = path.read_bytes()
    where = f"{path.parent.name}/{path.name}"
    changes = {flip: "altered", cut: "damaged", grow: "damaged", lambda path: path.unlink(): "missing"}
    for change, problem in changes.items():
        change(path)
        read = tbk.run("tbk-store", "check", store, "--stored", status=1)
        # The ledger does not record the size of a check.
        word = "altered" if kind == "check" and problem == "damaged" else problem
        assert read.lines == [f"{word}\t{kind}\t{name}\t{where}"] and b"1 of 6 objects" in read.err
        seen = problem == "missing" or problem == "damaged" and kind != "check"
        assert tbk.run("tbk-store", "check", store, status=1 if seen else 0).lines == (read.lines if seen else [])
        said = json.loads(tbk.run("tbk-store", "check", store, "--stored", "--json", status=1).out)
        assert described(said, "store-fault") and (said["problem"], said["name"]) == (word, where)
        assert (said["id"], said["group"]) == (None if kind == "check" else name, GROUP)
        path.write_bytes(data)
    tbk.run("tbk-store", "check", store, "--stored")


def test_of_a_backup_its_own_and_what_it_depends_on_is_checked(tbk, store):
    base, last, other = ids_of(store)
    next(objects(store))[2].unlink()
    tbk.run("tbk-store", "check", store, last, status=1)
    tbk.run("tbk-store", "check", store, base, other, status=1)
    tbk.run("tbk-store", "check", store, other)
    tbk.run("tbk-store", "check", store, "--group", "other")
    tbk.run("tbk-store", "check", store, "--group", GROUP, status=1)
    tbk.run("tbk-store", "check", store, "--group", "other", last, status=69)
    tbk.run("tbk-store", "check", store, "0" * 64, status=69)


def test_an_empty_store_is_in_order_and_none_is_no_store(tbk, tmp_path):
    (tmp_path / "empty").mkdir()
    assert tbk.run("tbk-store", "check", tmp_path / "empty").out == b""
    tbk.run("tbk-store", "check", tmp_path / "none", status=69)


def test_a_link_in_the_place_of_an_archive_is_not_followed(tbk, store, tmp_path):
    _, _, path = next(objects(store))
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert tbk.run("tbk-store", "check", store, "--stored", status=1).lines[0].startswith("missing\tarchive\t")


def test_what_was_stored_in_parts_is_read_as_one(github, tbk):
    data = archive(1, 30 << 20)
    github.push(data)
    github.push(archive(2))
    github.store("check", "--stored")
    asset = github.state()["assets"][0]
    github.call("DELETE", f"releases/assets/{asset['id']}")
    done = github.store("check", status=1)
    assert [line.split("\t")[:3] for line in done.lines] == [["missing", "archive", identify(data)]]


@pytest.mark.parametrize("command,option,verb", [
    ("tbk-push", "--create", "create"), ("tbk-push", "--remove", "remove"), ("tbk-push", "--replace", "replace"),
    ("tbk-push", "--replace-manifest", "replace-manifest"), ("tbk-push", "--mark-verified", "mark"),
    ("tbk-push", "--check", "password-check"), ("tbk-push", "--take-over", "take-over"), ("tbk-push", "--adopt", "adopt"),
    ("tbk-prune", "--unreferenced", "clean")])
def test_an_option_that_has_moved_names_its_place(tbk, tmp_path, command, option, verb):
    said = tbk.run(command, tmp_path, option, "x", status=64).err.decode()
    assert said == f"{command}: error: unknown option '{option}'\n{command}: hint: use 'tbk-store {verb}'\n"


def test_each_verb_has_only_its_own_options(tbk, tmp_path):
    for verb, option in (("create", "--sign-key"), ("remove", "--receipt"), ("mark", "--placement"), ("clean", "--rekeyed"),
                         ("check", "--sign-key"), ("adopt", "--group"), ("replace", "--group")):
        assert b"unknown option" in tbk.run("tbk-store", verb, tmp_path, option, "x", status=64).err
    assert b"one of create, check" in tbk.run("tbk-store", status=64).err

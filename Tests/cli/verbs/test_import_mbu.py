"""termbackup import-mbu: settings converted, packages resealed."""

import json
import os

import pytest
from conftest import put, snapshot, without
from package_fixture import Mbu, old, place  # noqa: F401
from shell_fixture import on_terminal, shell  # noqa: F401


def test_import_carries_settings_over(shell, old):  # noqa: F811
    shell.run("init")
    said = shell.run("import-mbu", old.config).stdout.decode()
    assert f"set     package_dir: {old.packaging}\n" in said
    assert f"set     restore_dir: {old.packaging}/contents\n" in said
    assert "user_password" in said and "watcher.module: it has no counterpart" in said and "--reseal" in said
    assert shell.tbk.run("tbk-config", "get", "package_dir").out.decode() == f"{old.packaging}\n"
    assert "as is   package_dir" in shell.run("import-mbu", old.config).stdout.decode()


def test_import_keeps_what_is_set(place, old):
    said = place.shell.run("import-mbu", old.config).stdout.decode()
    assert f"kept    package_dir: {place.packages}, where mbu has {old.packaging}\n" in said
    assert place.shell.tbk.run("tbk-config", "get", "package_dir").out.decode() == f"{place.packages}\n"


def test_reseal_seals_every_package_and_removes_none(place, old, small):
    before = snapshot(old.packaging)
    place.shell.run("import-mbu", old.config, "--reseal")
    assert sorted(os.listdir(place.packages)) == ["d.tbk", "small.tbk"]
    assert snapshot(old.packaging) == before
    for name in ("small", "d"):
        place.shell.run("unpack", name)
    assert without(snapshot(place.restored / "small"), "mtime") == without(snapshot(small), "mtime")
    answer = json.loads(place.shell.run("import-mbu", old.config, "--reseal", "--json").stdout)
    assert (answer["resealed_count"], answer["skipped_count"], answer["failed_count"]) == (0, 2, 0)
    assert place.shell.tbk.leftovers() == []


def test_a_package_of_one_file_is_unpacked_and_sealed_anew(place, old, small):
    old.package(os.path.join(small, "plain"))
    place.shell.run("unpack", "plain", "--mbu-config", old.config)
    assert (place.restored / "plain" / "plain").read_bytes() == b"plain\n"
    place.shell.run("import-mbu", old.config, "--reseal", "--remove-old")
    assert sorted(os.listdir(place.packages)) == ["d.tbk", "plain.tbk", "small.tbk"] and not (old.packaging / "plain").exists()
    place.shell.run("unpack", "plain", "--to", place.restored / "again")
    assert os.listdir(place.restored / "again") == ["plain"]


def test_what_no_backup_holds_is_left_out_of_a_new_package(place, old, small):
    os.mkfifo(os.path.join(small, "fifo"))
    old.package(small)
    result = place.shell.run("import-mbu", old.config, "--reseal", "--remove-old", "--json", status=3)
    answer = json.loads(result.stdout)
    assert (answer["status"], answer["resealed_count"], answer["removed_count"]) == ("partial", 2, 1)
    assert b"small/fifo" in result.stderr and (old.packaging / "small").exists()
    place.shell.run("unpack", "small")
    assert not (place.restored / "small" / "fifo").exists() and (place.restored / "small" / "plain").exists()


def test_reseal_into_the_directory_of_mbu_itself(shell, old):  # noqa: F811
    shell.run("init")
    shell.run("import-mbu", old.config, "--reseal")
    assert sorted(os.listdir(old.packaging)) == ["d", "d.tbk", "small", "small.tbk"]
    shell.run("import-mbu", old.config, "--reseal")
    assert sorted(os.listdir(old.packaging)) == ["d", "d.tbk", "small", "small.tbk"]


@pytest.mark.parametrize("way", ["file", "command", "fd"])
def test_mbu_may_have_another_password(place, tmp_path, small, way):
    made = Mbu(tmp_path / "other mbu", password=b"the old one")
    made.package(small)
    put(tmp_path / "old password", b"the old one\n")
    given = {"file": str(tmp_path / "old password"), "command": f"cat '{tmp_path}/old password'", "fd": "0"}[way]
    with open(tmp_path / "old password", "rb") as password:
        place.shell.run("import-mbu", made.config, "--reseal", f"--mbu-password-{way}", given, stdin=password)
    place.shell.run("unpack", "small")
    assert without(snapshot(place.restored / "small"), "mtime") == without(snapshot(small), "mtime")


def test_a_package_that_does_not_open_is_named_and_the_others_go_on(place, old):
    damaged = old.packaging / "a damaged one"
    damaged.write_bytes(bytes(100))
    said = place.shell.run("import-mbu", old.config, "--reseal", status=77).stderr
    assert b"a damaged one" in said and b"end marker" not in said
    assert sorted(os.listdir(place.packages)) == ["d.tbk", "small.tbk"]
    answer = json.loads(place.shell.run("import-mbu", old.config, "--reseal", "--json", status=77).stdout)
    assert (answer["status"], answer["skipped_count"], answer["failed_count"]) == ("failure", 2, 1)


def test_old_packages_are_removed_when_the_new_ones_hold_as_much(place, old):
    damaged = old.packaging / "damaged"
    damaged.write_bytes(bytes(100))
    put(old.packaging / "left.tar.gz", b"plain")
    put(old.packaging / "contents" / "x", b"unpacked")
    said = place.shell.run("import-mbu", old.config, "--reseal", "--remove-old", status=77)
    assert sorted(os.listdir(old.packaging)) == ["contents", "damaged", "left.tar.gz"]
    assert b"left.tar.gz" in said.stderr and b"removed " in said.stdout
    place.shell.run("unpack", "small")


def test_packages_may_be_elsewhere(place, old, small, tmp_path):
    more = tmp_path / "more packages"
    os.rename(old.packaging, more)
    place.shell.run("import-mbu", old.config, "--reseal", status=66)
    place.shell.run("import-mbu", old.config, "--reseal", "--packages", more)
    assert sorted(os.listdir(place.packages)) == ["d.tbk", "small.tbk"]


def test_settings_that_cannot_be_read_stop_an_import(place, tmp_path):
    put(tmp_path / "bad.toml", b"salt = [")
    assert b"line 1" in place.shell.run("import-mbu", tmp_path / "bad.toml", status=78).stderr
    place.shell.run("import-mbu", tmp_path / "none.toml", status=66)

"""termbackup unpack: packages of TermBackup and of mbu."""

import os

from conftest import put, snapshot, without
from package_fixture import old, place  # noqa: F401
from shell_fixture import on_terminal, shell  # noqa: F401


def test_unpack_overwrites_only_when_told(place, small):
    place.shell.run("package", small)
    put(place.restored / "small" / "plain", b"mine\n")
    said = place.shell.run("unpack", "small", status=73).stderr
    assert b"--overwrite" in said and (place.restored / "small" / "plain").read_bytes() == b"mine\n"
    place.shell.run("unpack", "small", "--overwrite", "if-changed")
    assert (place.restored / "small" / "plain").read_bytes() == b"plain\n"


def test_unpack_asks_on_a_terminal(place, small):
    place.shell.run("package", small)
    put(place.restored / "small" / "plain", b"mine\n")
    place.shell.environment["TERMBACKUP_PASSWORD_FILE"] = str(place.shell.tbk.password_file)
    for answer, status, content in ((b"n", 73, b"mine\n"), (b"y", 0, b"plain\n")):
        ended, _ = on_terminal(place.shell, [(b"[y/N] ", answer)], "unpack", "small")
        assert ended == status and (place.restored / "small" / "plain").read_bytes() == content


def test_unpack_of_an_altered_package_changes_nothing(place, small):
    place.shell.run("package", small)
    package = bytearray(place.file("small.tbk"))
    package[-1] ^= 1
    (place.packages / "small.tbk").write_bytes(package)
    place.shell.run("unpack", "small", status=77)
    assert os.listdir(place.restored) == []


def test_unpack_opens_packages_of_mbu(place, old, small):
    place.shell.run("unpack", "small", "--mbu-config", old.config)
    assert without(snapshot(place.restored / "small"), "mtime") == without(snapshot(small), "mtime")
    place.shell.run("unpack", old.packaging / "d", "--mbu-config", old.config, "--to", place.restored / "elsewhere")
    assert sorted(os.listdir(place.restored / "elsewhere")) == ["inside", "other"]
    place.shell.run("unpack", "small", "--mbu-config", old.config, "--to", place.restored / "x", status=77, password=b"no")
    assert not (place.restored / "x").exists()


def test_unpack_goes_to_mbu_s_directory_if_there_is_no_other(place, old, small):
    place.shell.tbk.run("tbk-config", "unset", "restore_dir")
    place.shell.run("unpack", "small", "--mbu-config", old.config)
    assert (old.packaging / "contents" / "small" / "plain").read_bytes() == b"plain\n"

"""A directory for packages, and one of mbu."""

import os

import pytest
from conftest import PASSWORD
from shell_fixture import on_terminal, shell  # noqa: F401
from tbkref import gz, mbu

SALT = bytes(range(16))


class Place:
    """A home with a directory for packages and one to unpack them to."""

    def __init__(self, shell, folder):
        self.shell = shell
        self.packages = folder / "packages"
        self.restored = folder / "restored"
        self.packages.mkdir()
        self.restored.mkdir()
        shell.run("init")
        for key, value in (("package_dir", self.packages), ("restore_dir", self.restored)):
            shell.tbk.run("tbk-config", "set", key, str(value))

    def file(self, name):
        return (self.packages / name).read_bytes()


@pytest.fixture
def place(shell, tmp_path):  # noqa: F811
    return Place(shell, tmp_path)


class Mbu:
    """A directory of mbu: settings and packages."""

    def __init__(self, folder, password=PASSWORD, **settings):
        self.folder = folder
        self.password = password
        self.packaging = folder / "packaging"
        self.packaging.mkdir(parents=True)
        self.config = folder / "config.toml"
        self.config.write_bytes(mbu.settings(SALT, 30, password, **settings))

    def package(self, directory, name=None):
        name = name or os.path.basename(directory)
        tar = mbu.tar(directory, name)
        (self.packaging / name).write_bytes(mbu.seal(gz.compress(tar), self.password, SALT, 30))


@pytest.fixture
def old(tmp_path, small):
    made = Mbu(tmp_path / "mbu")
    made.package(small)
    made.package(os.path.join(small, "d"))
    return made

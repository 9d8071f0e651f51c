"""A store for tests of a visit."""

import json
import os
import shutil

import pytest
from conftest import put
from github_fixture import github, github_server  # noqa: F401
from test_github_store import archive, identify

GROUP = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"


class Place:
    """A store, and the results of tbk-pull --prepare on it."""

    def __init__(self, tbk, path):
        self.tbk, self.path = tbk, path
        self.scratch = path.parent
        self.directory = path.parent / "prepared"
        self.cache = path.parent / "cache"
        self.directory.mkdir()
        self.cache.mkdir()

    def push(self, seed, *arguments, manifest=True, group=GROUP, needs=(), status=0, complete=True):
        """Pushes a backup; without dependencies its id is the hash of its archive. Returns the id."""
        data = archive(seed)
        id = identify(data)
        put(self.scratch / "receipt", json.dumps({
            "receipt": 1, "id": id, "created_at": f"2026-01-{seed:02}T00:00:00+00:00", "file_count": 1,
            "mode": "incremental" if needs else "full", "depends_on": list(needs), "complete": complete}).encode())
        put(self.scratch / "sealed", archive(seed + 100))
        sealed = ["--sealed-manifest", self.scratch / "sealed"] if manifest else []
        place = ["--group", group, "--new-group"] if group else []
        self.last = self.tbk.run("tbk-push", self.path, "--receipt", self.scratch / "receipt", *sealed, *place, *arguments,
                                 input=data, status=status)
        return id

    def check(self, seed=50, *arguments):
        data = archive(seed)
        self.tbk.run("tbk-store", "password-check", self.path, "-", "--group", GROUP, "--new-group", *arguments, input=data)
        return identify(data)

    def prepare(self, *arguments, group=GROUP, status=0, **options):
        shutil.rmtree(self.directory)
        self.directory.mkdir()
        self.done = self.tbk.run("tbk-pull", self.path, "--prepare", self.directory, "--group", group, "--new-group", "--unvouched",
                                 *arguments, status=status, **options)
        if status:
            return None
        return dict(line.split("\t") for line in self.read("prepared").decode().splitlines())

    def next(self, *arguments, **options):
        """What is found for a backup that is incremental if possible."""
        return self.prepare("--incremental", "--cache", self.cache, *arguments, **options)

    def read(self, name):
        return (self.directory / name).read_bytes()

    def names(self):
        return sorted(os.listdir(self.directory))

    def ledger(self):
        return json.loads((self.path / "metadata.json").read_text())

    def keep(self, seed):
        """Puts the sealed manifest of a backup into the cache."""
        put(self.cache / f"{identify(archive(seed))}.tbk", archive(seed + 100))


@pytest.fixture
def place(tbk, tmp_path):
    (tmp_path / "store").mkdir()
    return Place(tbk, tmp_path / "store")

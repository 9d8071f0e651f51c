"""The state of the server, shared by all its hosts."""

import hashlib
import hmac
import itertools
import os
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .accounts import Accounts
from .faults import Faults
from .log import Log
from .objects import Changes, Entry, Person
from .repository import Asset, Repository
from .settings import Settings


@dataclass
class Addresses:
    """The root URL of each host, as given to clients."""

    api: str
    uploads: str
    storage: str
    # The URL of web pages, which are not served.
    web: str = "https://github.invalid"


class NameTaken(Exception):
    """A repository with this name exists."""


class Site:
    def __init__(self, root: Path, addresses: Addresses, faults: Faults) -> None:
        self.root = root
        self.addresses = addresses
        self.settings = Settings()
        self.accounts = Accounts(self.settings)
        self.log = Log()
        self.faults = faults
        self.key = os.urandom(32)
        self._lock = threading.RLock()
        self._repositories: dict[int, Repository] = {}
        # Names in lower case, current and former.
        self._names: dict[str, int] = {}
        self._former: dict[str, int] = {}
        self._numbers = itertools.count(1)
        self._still_hidden: dict[int, int] = {}
        for folder in (self.repositories_root, self.assets_root):
            folder.mkdir(parents=True, exist_ok=True)

    def reset(self) -> None:
        """Returns to the initial state: removes everything that was created, set or logged."""
        with self._lock:
            for folder in (self.repositories_root, self.assets_root):
                shutil.rmtree(folder, ignore_errors=True)
            self.__init__(self.root, self.addresses, Faults())  # type: ignore[misc]

    @property
    def repositories_root(self) -> Path:
        return self.root / "repositories"

    @property
    def assets_root(self) -> Path:
        return self.root / "assets"

    def number(self) -> int:
        """A new number for a release, asset or repository."""
        with self._lock:
            return next(self._numbers)

    def create(self, full_name: str, *, private: bool = True, default_branch: str = "main",
               description: str | None = None, files: Mapping[str, bytes] | None = None) -> Repository:
        """Creates a repository, with one commit if there are files. Raises NameTaken."""
        with self._lock:
            if full_name.lower() in self._names:
                raise NameTaken
            number = self.number()
            repository = Repository(number, full_name, self.repositories_root / f"{number}.git", private=private,
                                    default_branch=default_branch, description=description)
            if files:
                self._first_commit(repository, files)
            self._repositories[number] = repository
            self._names[full_name.lower()] = number
            self._former.pop(full_name.lower(), None)
            return repository

    def hide_for_now(self, repository: Repository) -> None:
        """After a creation through the API, the next requests may not find the repository."""
        with self._lock:
            self._still_hidden[repository.id] = self.settings.not_found_after_create

    def is_hidden(self, repository: Repository) -> bool:
        with self._lock:
            left = self._still_hidden.get(repository.id, 0)
            self._still_hidden[repository.id] = max(0, left - 1)
            return left > 0

    def remove(self, repository: Repository) -> None:
        with self._lock:
            del self._repositories[repository.id]
            self._names = {name: number for name, number in self._names.items() if number != repository.id}
            self._former = {name: number for name, number in self._former.items() if number != repository.id}
        for release in repository.releases.values():
            for asset in release.assets.values():
                asset.path.unlink(missing_ok=True)
        shutil.rmtree(repository.git_dir)

    def rename(self, repository: Repository, full_name: str) -> None:
        with self._lock:
            if full_name.lower() in self._names:
                raise NameTaken
            old = repository.full_name.lower()
            del self._names[old]
            self._former[old] = self._names[full_name.lower()] = repository.id
            self._former.pop(full_name.lower(), None)
            repository.full_name = full_name

    def named(self, full_name: str) -> Repository | None:
        with self._lock:
            number = self._names.get(full_name.lower())
            return None if number is None else self._repositories[number]

    def formerly_named(self, full_name: str) -> Repository | None:
        with self._lock:
            number = self._former.get(full_name.lower())
            return None if number is None else self._repositories[number]

    def numbered(self, number: int) -> Repository | None:
        with self._lock:
            return self._repositories.get(number)

    def asset(self, number: int) -> Asset | None:
        """A completely uploaded asset of any repository."""
        with self._lock:
            repositories = list(self._repositories.values())
        for repository in repositories:
            with repository.lock:
                found = repository.asset(number)
            if found and found[1].state == "uploaded":
                return found[1]
        return None

    def signed_path(self, asset: int) -> str:
        """Path and query on the storage host that give access to an asset for some time."""
        expires = f"{time.time() + self.settings.signed_url_seconds:.3f}"
        return f"/assets/{asset}?se={expires}&sig={self.signature(asset, expires)}"

    def signature(self, asset: int, expires: str) -> str:
        return hmac.new(self.key, f"{asset} {expires}".encode(), hashlib.sha256).hexdigest()

    def _first_commit(self, repository: Repository, files: Mapping[str, bytes]) -> None:
        changes: Changes = {}
        for path, content in files.items():
            entry = Entry(0o100644, repository.objects.write("blob", content))
            level = changes
            *folders, name = path.encode().split(b"/")
            for folder in folders:
                below = level.setdefault(folder, {})
                assert isinstance(below, dict), path
                level = below
            level[name] = entry
        person = Person(repository.owner, f"{repository.owner}@github.invalid", int(time.time()))
        repository.commit_changes(repository.default_branch, changes, "Initial commit", person, person)

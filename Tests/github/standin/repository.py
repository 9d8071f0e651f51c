"""A repository as on GitHub: a bare git repository, its references and its releases."""

import os
import re
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from .objects import Changes, Commit, Entry, MissingObject, ObjectStore, Person

BAD_REFERENCE = re.compile(r"[\0-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(/|$)|[/.]$|/$")


class ReferenceClash(Exception):
    """A reference is a prefix of another one, as directory and file."""


def valid_reference(name: str) -> bool:
    """Whether git accepts `name`, a full name such as `refs/heads/main`."""
    return name.startswith("refs/") and name.count("/") >= 2 and not BAD_REFERENCE.search(name)


def changes_for(path: list[bytes], change: Entry | None) -> Changes:
    """The change of one path, in the form that ObjectStore.change_tree takes."""
    result: Changes = {path[-1]: change}
    for name in reversed(path[:-1]):
        result = {name: result}
    return result


@dataclass
class Asset:
    id: int
    name: str
    label: str | None
    content_type: str
    uploader: str
    path: Path
    created: float
    state: str = "starter"
    size: int = 0
    digest: str | None = None
    downloads: int = 0
    updated: float = 0


@dataclass
class Release:
    id: int
    tag: str
    target: str
    author: str
    created: float
    name: str | None = None
    body: str | None = None
    draft: bool = False
    prerelease: bool = False
    published: float | None = None
    assets: dict[int, Asset] = field(default_factory=dict)


class References:
    """The references of a bare repository, as files, so that git sees them immediately."""

    def __init__(self, git_dir: Path) -> None:
        self.git_dir = git_dir

    def get(self, name: str) -> str | None:
        if not valid_reference(name):
            return None
        try:
            return (self.git_dir / name).read_text().strip() or None
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return self._packed().get(name)

    def set(self, name: str, sha: str) -> None:
        place = self.git_dir / name
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(prefix="tmp_ref_", dir=self.git_dir)
            with os.fdopen(handle, "w") as file:
                file.write(sha + "\n")
            os.replace(temporary, place)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise ReferenceClash from error

    def delete(self, name: str) -> None:
        """Uses git, which may have to rewrite packed-refs."""
        subprocess.run(["git", f"--git-dir={self.git_dir}", "update-ref", "-d", name], check=True,
                       stderr=subprocess.DEVNULL)

    def all(self, prefix: str) -> dict[str, str]:
        """Every reference whose name starts with `prefix`, sorted."""
        found = self._packed()
        for place in (self.git_dir / "refs").rglob("*"):
            if place.is_file():
                found[str(place.relative_to(self.git_dir))] = place.read_text().strip()
        return {name: sha for name, sha in sorted(found.items()) if name.startswith(prefix)}

    def _packed(self) -> dict[str, str]:
        try:
            lines = (self.git_dir / "packed-refs").read_text().splitlines()
        except FileNotFoundError:
            return {}
        return {name: sha for sha, _, name in (line.partition(" ") for line in lines if line[:1] not in "#^")}


class Repository:
    """A change to references or releases requires holding `lock`; objects do not."""

    def __init__(self, number: int, full_name: str, git_dir: Path, *, private: bool, default_branch: str,
                 description: str | None) -> None:
        self.id = number
        self.full_name = full_name
        self.private = private
        self.default_branch = default_branch
        self.description = description
        self.archived = False
        self.created = time.time()
        self.pushed = self.created
        self.collaborators: dict[str, str] = {}
        self.releases: dict[int, Release] = {}
        self.lock = threading.RLock()
        subprocess.run(["git", "init", "--quiet", "--bare", "--template=", f"--initial-branch={default_branch}",
                        str(git_dir)], check=True, stdout=subprocess.DEVNULL)
        self.git_dir = git_dir
        self.objects = ObjectStore(git_dir)
        self.references = References(git_dir)

    @property
    def owner(self) -> str:
        return self.full_name.split("/")[0]

    @property
    def name(self) -> str:
        return self.full_name.split("/")[1]

    @property
    def empty(self) -> bool:
        return self.references.get(f"refs/heads/{self.default_branch}") is None \
            and not self.references.all("refs/heads/")

    def branch(self, name: str) -> str | None:
        return self.references.get(f"refs/heads/{name}")

    def ancestor(self, sha: str, generations: int) -> str:
        """The commit this many first parents back, or the first commit."""
        for _ in range(generations):
            parents = self.objects.commit(sha).parents
            if not parents:
                break
            sha = parents[0]
        return sha

    def resolve(self, text: str) -> str | None:
        """The commit that a SHA, branch, tag or full reference names."""
        for sha in (text, self.branch(text), self.references.get(f"refs/tags/{text}"), self.references.get(text),
                    self.references.get(f"refs/{text}")):
            if not sha:
                continue
            try:
                return self._peel(sha)
            except MissingObject:
                continue
        return None

    def commit_changes(self, branch: str, changes: Changes, message: str, author: Person, committer: Person) -> str:
        """Adds a commit to `branch`, which is created if it is missing. The caller holds the lock."""
        head = self.branch(branch)
        base = self.objects.commit(head).tree if head else None
        tree = self.objects.change_tree(base, changes)
        commit = Commit(tree, (head,) if head else (), author, committer, message)
        sha = self.objects.write("commit", commit.encode())
        self.references.set(f"refs/heads/{branch}", sha)
        self.pushed = time.time()
        return sha

    def move_by_other(self, commits: int) -> None:
        """Simulates another writer: commits to a file that nothing else uses."""
        with self.lock:
            for _ in range(commits):
                text = f"{time.time_ns()}\n".encode()
                entry = Entry(0o100644, self.objects.write("blob", text))
                writer = Person("Another writer", "writer@github.invalid", int(time.time()))
                self.commit_changes(self.default_branch, {b"elsewhere.txt": entry}, "Change something else",
                                    writer, writer)

    def release(self, number: int) -> Release | None:
        return self.releases.get(number)

    def asset(self, number: int) -> tuple[Release, Asset] | None:
        for release in self.releases.values():
            if number in release.assets:
                return release, release.assets[number]
        return None

    def _peel(self, sha: str) -> str:
        kind, data = self.objects.read(sha)
        while kind == "tag":
            sha = data.split(b"\n", 1)[0].removeprefix(b"object ").decode()
            kind, data = self.objects.read(sha)
        if kind != "commit":
            raise MissingObject
        return sha

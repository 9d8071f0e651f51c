"""Git objects, written loose and read from wherever git stores them."""

import hashlib
import os
import re
import subprocess
import tempfile
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Union

SHA = re.compile(r"[0-9a-f]{40}")
EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
TREE_MODE, LINK_MODE, COMMIT_MODE = 0o040000, 0o120000, 0o160000
MODES = {"100644": 0o100644, "100755": 0o100755, "040000": TREE_MODE, "120000": LINK_MODE, "160000": COMMIT_MODE}
# Trees and commits are small and read repeatedly; this many are cached.
CACHED = 4096
# Larger objects are stored uncompressed: archives cannot be compressed.
COMPRESSED = 1 << 16
PIECE = 1 << 20


class MissingObject(Exception):
    """There is no such object, or it is of another kind."""


class EmptyChange(Exception):
    """A path to be removed does not exist."""


@dataclass(frozen=True)
class Entry:
    """A tree's entry for one name."""

    mode: int
    sha: str

    @property
    def kind(self) -> str:
        return {TREE_MODE: "tree", COMMIT_MODE: "commit"}.get(self.mode, "blob")


Tree = Mapping[bytes, Entry]
# Changes to the names in a directory: an entry, None to remove it, or changes in a subdirectory.
Changes = dict[bytes, Union[Entry, None, "Changes"]]


@dataclass(frozen=True)
class Person:
    name: str
    email: str
    # Seconds since 1970, and the offset from UTC in minutes.
    seconds: int
    offset: int = 0

    @classmethod
    def at(cls, name: str, email: str, date: str | None, now: int) -> "Person":
        """Raises ValueError if `date` is not ISO 8601."""
        if date is None:
            return cls(name, email, now)
        moment = datetime.fromisoformat(date)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        offset = moment.utcoffset() or timedelta(0)
        return cls(name, email, int(moment.timestamp()), int(offset.total_seconds()) // 60)

    def encode(self) -> bytes:
        plain = [re.sub(r"[<>\n\0]", "", text).strip() or "unknown" for text in (self.name, self.email)]
        sign = "-" if self.offset < 0 else "+"
        hours, minutes = divmod(abs(self.offset), 60)
        return f"{plain[0]} <{plain[1]}> {self.seconds} {sign}{hours:02}{minutes:02}".encode()

    @classmethod
    def decode(cls, line: bytes) -> "Person":
        found = re.fullmatch(rb"(.*?) ?<([^>]*)> (-?\d+) ([+-])(\d\d)(\d\d)", line)
        if not found:
            raise MissingObject
        name, email, seconds, sign, hours, minutes = (part.decode(errors="replace") for part in found.groups())
        offset = int(hours) * 60 + int(minutes)
        return cls(name, email, int(seconds), -offset if sign == "-" else offset)

    @property
    def date(self) -> str:
        return datetime.fromtimestamp(self.seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Commit:
    tree: str
    parents: tuple[str, ...]
    author: Person
    committer: Person
    message: str

    def encode(self) -> bytes:
        lines = [f"tree {self.tree}".encode(), *(f"parent {sha}".encode() for sha in self.parents),
                 b"author " + self.author.encode(), b"committer " + self.committer.encode(), b""]
        return b"\n".join(lines) + b"\n" + self.message.replace("\0", "").encode(errors="surrogateescape")

    @classmethod
    def decode(cls, data: bytes) -> "Commit":
        head, _, message = data.partition(b"\n\n")
        fields: dict[bytes, list[bytes]] = {}
        for line in head.split(b"\n"):
            key, _, value = line.partition(b" ")
            fields.setdefault(key, []).append(value)
        return cls(fields[b"tree"][0].decode(), tuple(sha.decode() for sha in fields.get(b"parent", [])),
                   Person.decode(fields[b"author"][0]), Person.decode(fields[b"committer"][0]),
                   message.decode(errors="surrogateescape"))


class ObjectStore:
    """The objects of a bare repository. Safe for use by several threads."""

    def __init__(self, git_dir: Path) -> None:
        self.git_dir = git_dir
        # Bytes written so far, which is approximately what GitHub calls the size of a repository.
        self.bytes_written = 0
        self._cache: OrderedDict[str, tuple[str, bytes]] = OrderedDict()
        # The kind and size of objects that were written here.
        self._heads: dict[str, tuple[str, int]] = {}
        self._lock = threading.Lock()

    def write(self, kind: str, data: bytes | bytearray) -> str:
        head = f"{kind} {len(data)}\0".encode()
        digest = hashlib.sha1(head, usedforsecurity=False)
        digest.update(data)
        sha = digest.hexdigest()
        place = self._loose(sha)
        if place.exists():
            return sha
        packer = zlib.compressobj(1 if len(data) <= COMPRESSED else 0)
        place.parent.mkdir(exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix="tmp_obj_", dir=self.git_dir / "objects")
        with os.fdopen(handle, "wb") as file:
            file.write(packer.compress(head))
            for at in range(0, len(data), PIECE):
                file.write(packer.compress(memoryview(data)[at:at + PIECE]))
            file.write(packer.flush())
            os.fchmod(file.fileno(), 0o444)
        os.replace(temporary, place)
        with self._lock:
            self._heads[sha] = kind, len(data)
            self.bytes_written += len(data)
        return sha

    def read(self, sha: str) -> tuple[str, bytes]:
        """The kind and the bytes of an object. Raises MissingObject."""
        with self._lock:
            if sha in self._cache:
                self._cache.move_to_end(sha)
                return self._cache[sha]
        found = self._read_loose(sha) or self._read_packed(sha)
        if found[0] != "blob":
            with self._lock:
                self._cache[sha] = found
                while len(self._cache) > CACHED:
                    self._cache.popitem(last=False)
        return found

    def kind(self, sha: str) -> str | None:
        """The kind of an object, or None if it does not exist."""
        head = self._head(sha)
        return head[0] if head else None

    def size(self, sha: str) -> int:
        head = self._head(sha)
        if head is None:
            raise MissingObject
        return head[1]

    def blob(self, sha: str) -> bytes:
        return self._of_kind(sha, "blob")

    def tree(self, sha: str) -> Tree:
        if sha == EMPTY_TREE:
            return {}
        data, at, entries = self._of_kind(sha, "tree"), 0, {}
        while at < len(data):
            end = data.index(b"\0", at)
            mode, name = data[at:end].split(b" ", 1)
            entries[name] = Entry(int(mode, 8), data[end + 1:end + 21].hex())
            at = end + 21
        return entries

    def commit(self, sha: str) -> Commit:
        return Commit.decode(self._of_kind(sha, "commit"))

    def write_tree(self, entries: Tree) -> str:
        def order(item: tuple[bytes, Entry]) -> bytes:
            return item[0] + b"/" if item[1].mode == TREE_MODE else item[0]

        return self.write("tree", b"".join(
            b"%o %s\0%s" % (entry.mode, name, bytes.fromhex(entry.sha))
            for name, entry in sorted(entries.items(), key=order)))

    def change_tree(self, base: str | None, changes: Changes) -> str:
        """Applies `changes` to the tree `base`; returns the new tree, without empty directories. Raises EmptyChange."""
        return self._change(base, changes) or self.write_tree({})

    def find(self, tree: str, path: Iterable[bytes]) -> Entry:
        """The entry at a path in `tree`. Raises MissingObject."""
        entry = Entry(TREE_MODE, tree)
        for name in path:
            if entry.mode != TREE_MODE:
                raise MissingObject
            found = self.tree(entry.sha).get(name)
            if found is None:
                raise MissingObject
            entry = found
        return entry

    def walk(self, tree: str, prefix: bytes = b"") -> Iterable[tuple[bytes, Entry]]:
        """Every entry below `tree`, directories before their content."""
        for name, entry in self.tree(tree).items():
            yield prefix + name, entry
            if entry.mode == TREE_MODE:
                yield from self.walk(entry.sha, prefix + name + b"/")

    def is_ancestor(self, older: str, newer: str) -> bool:
        seen, waiting = {newer}, [newer]
        while waiting:
            sha = waiting.pop()
            if sha == older:
                return True
            parents = [parent for parent in self.commit(sha).parents if parent not in seen]
            seen.update(parents)
            waiting.extend(parents)
        return False

    def _change(self, base: str | None, changes: Changes) -> str | None:
        entries = dict(self.tree(base)) if base else {}
        for name, change in changes.items():
            old = entries.get(name)
            if isinstance(change, dict):
                inside = old.sha if old and old.mode == TREE_MODE else None
                below = self._change(inside, change)
                if below is None:
                    entries.pop(name, None)
                else:
                    entries[name] = Entry(TREE_MODE, below)
            elif change is not None:
                entries[name] = change
            elif old is None:
                raise EmptyChange
            else:
                del entries[name]
        return self.write_tree(entries) if entries else None

    def _of_kind(self, sha: str, kind: str) -> bytes:
        found, data = self.read(sha)
        if found != kind:
            raise MissingObject
        return data

    def _loose(self, sha: str) -> Path:
        return self.git_dir / "objects" / sha[:2] / sha[2:]

    def _head(self, sha: str) -> tuple[str, int] | None:
        with self._lock:
            known = self._heads.get(sha)
        if known:
            return known
        if not SHA.fullmatch(sha):
            return None
        try:
            with self._loose(sha).open("rb") as file:
                head = zlib.decompressobj().decompress(file.read(128), 64)
        except FileNotFoundError:
            answer = self._ask("--batch-check", sha)
            head = answer.split(b" ", 1)[1].rstrip(b"\n") + b"\0" if b" missing" not in answer else b""
        if not head:
            return None
        kind, size = head.split(b"\0", 1)[0].split(b" ")
        return kind.decode(), int(size)

    def _read_loose(self, sha: str) -> tuple[str, bytes] | None:
        if not SHA.fullmatch(sha):
            return None
        try:
            packed = self._loose(sha).read_bytes()
        except FileNotFoundError:
            return None
        head, _, data = zlib.decompress(packed).partition(b"\0")
        return head.split(b" ")[0].decode(), data

    def _read_packed(self, sha: str) -> tuple[str, bytes]:
        if not SHA.fullmatch(sha):
            raise MissingObject
        answer = self._ask("--batch", sha)
        head, _, data = answer.partition(b"\n")
        if head.endswith(b" missing"):
            raise MissingObject
        return head.split(b" ")[1].decode(), data[:-1]

    def _ask(self, mode: str, sha: str) -> bytes:
        """Runs git itself: only pushes and `git gc` make packs, so this is rare."""
        return subprocess.run(["git", f"--git-dir={self.git_dir}", "cat-file", mode], input=sha.encode() + b"\n",
                              stdout=subprocess.PIPE, check=True).stdout

"""Trees to back up.

A separate program, `trees.py KIND TOP ARGUMENT...`: the memory of the harness would otherwise count in the peaks of
the processes that it starts.
"""

import hashlib
import itertools
import os
import random
import shutil
import stat
import sys

MIB = 1 << 20


class Content:
    """A stream of bytes of one kind. Lines come in random order, so that tools that deduplicate chunks find no equal
    ones."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.lines = None

    def text(self, size):
        """Compresses to less than half, like sources and prose."""
        if self.lines is None:
            self._make_lines()
        data = b"".join(self.random.choices(self.lines, k=size // 40 + 1))
        return data[:size].ljust(size, b"\n")

    def _make_lines(self):
        words = ["".join(self.random.choices("etaoinshrdlucmfwypvbgkqjxz", k=self.random.randint(2, 11)))
                 for _ in range(20_000)]
        common = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(words))))
        self.lines = [(" " * self.random.choice((0, 0, 4, 8)) + " ".join(
            self.random.choices(words, cum_weights=common, k=self.random.randint(3, 12))) + "\n").encode()
            for _ in range(100_000)]

    def noise(self, size):
        """Does not compress, like pictures and archives."""
        return self.random.randbytes(size)


def real(top, megabytes):
    """Copies of files below /usr, chosen by a hash of their names until this many MiB: programs, libraries, headers,
    documentation, as on real machines. Returns their number."""
    found = []
    for folder, folders, names in os.walk("/usr"):
        folders[:] = [name for name in folders if not os.path.ismount(os.path.join(folder, name))]
        for name in names:
            path = os.path.join(folder, name)
            try:
                info = os.lstat(path)
            except OSError:
                continue
            if stat.S_ISREG(info.st_mode) and info.st_size <= 32 * MIB and os.access(path, os.R_OK):
                found.append((hashlib.sha1(os.fsencode(path)).digest(), path, info.st_size))
    number, left = 0, megabytes * MIB
    for _, path, size in sorted(found):
        if left <= 0:
            break
        target = os.path.join(top, os.path.relpath(path, "/usr"))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy2(path, target)
        number, left = number + 1, left - size
    return number


def one_file(top, megabytes, compressible):
    """One file of this size."""
    os.makedirs(top)
    content = Content(2)
    with open(os.path.join(top, "data"), "wb") as file:
        for _ in range(megabytes):
            file.write((content.text if compressible else content.noise)(MIB))


def many(top, count, size=0):
    """This many files, a thousand in a directory; empty, or with `size` bytes that differ."""
    for number in range(count):
        folder = os.path.join(top, f"directory-{number // 1000:04}")
        if number % 1000 == 0:
            os.makedirs(folder)
        with open(os.path.join(folder, f"a file with a name {number:07}"), "wb") as file:
            if size:
                file.write((b"%d\n" % number * (size // 2))[:size])


def dense(top, count, size):
    """This many files, a hundred in a directory, with `size` bytes each, half of them compressible."""
    content = Content(5)
    for number in range(count):
        folder = os.path.join(top, f"directory-{number // 100:04}")
        if number % 100 == 0:
            os.makedirs(folder)
        with open(os.path.join(folder, f"a file {number:07}"), "wb") as file:
            file.write(content.noise(size // 2) + content.text(size - size // 2))


if __name__ == "__main__":
    kind, folder, *arguments = sys.argv[1:]
    print({"real": real, "one_file": one_file, "many": many, "dense": dense}[kind](folder, *map(int, arguments)))

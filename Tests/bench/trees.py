"""Trees to back up: the same bytes every time, different enough that nothing can be left out twice.

A program of its own, `trees.py KIND TOP ARGUMENT...`: the memory of the harness would otherwise show in the peaks
of what it starts.
"""

import itertools
import os
import random
import struct
import sys

MIB = 1 << 20


class Content:
    """A stream of bytes of one kind. Lines come in an order of their own everywhere, so that tools that store
    equal chunks once find none."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        words = ["".join(self.random.choices("etaoinshrdlucmfwypvbgkqjxz", k=self.random.randint(2, 11)))
                 for _ in range(20_000)]
        common = list(itertools.accumulate(1 / (rank + 3) for rank in range(len(words))))
        self.lines = [(" " * self.random.choice((0, 0, 4, 8)) + " ".join(
            self.random.choices(words, cum_weights=common, k=self.random.randint(3, 12))) + "\n").encode()
            for _ in range(100_000)]

    def text(self, size):
        """Compresses about fourfold, as sources and prose do."""
        data = b"".join(self.random.choices(self.lines, k=size // 40 + 1))
        return data[:size].ljust(size, b"\n")

    def records(self, size):
        """Compresses a little, as programs and tables do."""
        count = size // 24 + 1
        base = self.random.getrandbits(40)
        data = b"".join(struct.pack("<QIIQ", base + 8 * index, index & 0xFF, 7, value & 0xFFFFFF)
                        for index, value in enumerate(self.random.choices(range(1 << 24), k=count)))
        return data[:size]

    def noise(self, size):
        """Does not compress, as pictures and archives do not."""
        return self.random.randbytes(size)


def mixed(top, megabytes):
    """Files of 1 KiB to 8 MiB, most of them small: 60 % text, 25 % records, 15 % noise. Gives their number."""
    content, number, left = Content(1), 0, megabytes * MIB
    while left > 0:
        size = min(left, int(1024 * 2 ** (13 * content.random.random() ** 1.6)))
        kind = content.random.choices((content.text, content.records, content.noise), (60, 25, 15))[0]
        folder = os.path.join(top, f"d{number // 2000:03}", f"e{number // 50 % 40:02}")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, f"file-{number:06}.dat"), "wb") as file:
            file.write(kind(size))
        number, left = number + 1, left - size
    return number


def one_file(top, megabytes, compressible):
    """One file of that size."""
    os.makedirs(top)
    content = Content(2)
    with open(os.path.join(top, "data"), "wb") as file:
        for _ in range(megabytes):
            file.write((content.text if compressible else content.noise)(MIB))


def many(top, count, size=0):
    """So many files, a thousand in a directory; empty, or of `size` bytes that differ."""
    for number in range(count):
        folder = os.path.join(top, f"directory-{number // 1000:04}")
        if number % 1000 == 0:
            os.makedirs(folder)
        with open(os.path.join(folder, f"a file with a name {number:07}"), "wb") as file:
            if size:
                file.write((b"%d\n" % number * (size // 2))[:size])


if __name__ == "__main__":
    kind, folder, *arguments = sys.argv[1:]
    print({"mixed": mixed, "one_file": one_file, "many": many}[kind](folder, *map(int, arguments)))

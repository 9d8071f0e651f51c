"""Reading one file from a large backup, and looking into many backups: how much is read, and how long it takes."""

import os
import pathlib
import random

from processes import Contender, make, note, race, remove

MIB = 1 << 20
PROXY = pathlib.Path(__file__).resolve().parents[1] / "cli" / "range_proxy.py"


class BrowsingParts:
    """The parts for ls, find, cat, and restoring one file."""

    def backups(self, top, count):
        """A profile and a restic repository with this many backups of a tree with small changes."""
        self.do(["termbackup", "init", "--no-input"])
        self.do(["termbackup", "profile", "create", "looked", "--source", top, "--mode", "incremental", "--cipher-suite", "3"])
        repository = self.work / "restic-looked"
        if self.have("restic"):
            self.do(["restic", "-q", "-r", repository, "init"])
        for number in range(count):
            if number:
                self.change(top, 10)
            self.do(["termbackup", "run", "looked"])
            if self.have("restic"):
                self.do(["restic", "-q", "-r", repository, "backup", top])
        return repository

    def part_one(self):
        """One file of 100 KB from one archive."""
        count, kilobytes = self.number("ONE_FILE"), self.number("ONE_FILE_KB")
        top, store = self.work / "large", self.work / "termbackup" / "store"
        note(f"making {count} files of {kilobytes} KB")
        make("dense", top, count, kilobytes * 1000)
        path = random.choice(self.files_of(top)).with_name("the file")
        path.write_bytes(random.randbytes(100_000))
        repository = self.backups(top, 1)
        inside = path.relative_to(top)
        archive = next((store / "backups").iterdir())
        what = f"one file of 100 KB out of {archive.stat().st_size / MIB:.0f} MiB, {count} files"
        found = self.work / "list"
        self.do(["tbk-pull", "--list", store], stdout=found)
        backup, log = found.read_text().split("\t")[0], self.work / "log"
        parts = ["tbk-open", "--from", backup, "--cat", inside, "--"]
        self.do([*parts, PROXY, log, "none", "tbk-pull", "--serve", store], stdout=os.devnull)
        read = sum(int(line.split()[-1]) for line in log.read_text().splitlines())
        self.row(f"{what}: read from the store", f"{read / MIB:.1f} MiB", "12 MiB", read <= 12 * MIB)

        whole = f"tbk-pull '{store}' latest | tbk-open --cat '{inside}'"
        contenders = [
            Contender("by parts", lambda: self.do([*parts, "tbk-pull", "--serve", store], stdout=os.devnull)),
            Contender("reading all of it", lambda: self.do(whole, stdout=os.devnull))]
        if self.have("restic"):
            contenders.append(Contender("restic dump", lambda: self.do(
                ["restic", "-q", "-r", repository, "dump", "latest", path], stdout=os.devnull)))
        times = race(contenders, self.number("ROUNDS"), note)
        # The target is for 10 GiB: the time for reading all of it is proportional to the size.
        targets = {"reading all of it": 30.0} if archive.stat().st_size >= 10 << 30 else {}
        self.against(what, times, "by parts", {**targets, "restic dump": 1.0})
        for gone in (top, repository, store.parent):
            remove(gone)

    def part_browse(self):
        """ls, find, cat and restore of one file when there are many backups."""
        count, files = self.number("BACKUPS"), self.number("FILES")
        top, out = self.work / "looked-at", self.work / "some"
        note(f"making {count} backups of {files} files")
        make("many", top, files, 200)
        repository = self.backups(top, count)
        path = random.choice(self.files_of(top))
        inside, kept = path.relative_to(top), self.work / "termbackup" / "cache"

        def forget():
            for index in kept.glob("*/versions"):
                index.unlink()
        forget()
        what = f"{count} backups of {files} files"
        pairs = {
            "ls": (["ls", "latest", "-R"], ["ls", "latest"]), "find": (["find", path.name], ["find", path.name]),
            "cat": (["cat", "latest", inside], ["dump", "latest", path]),
            "restore of one file": (["restore", "latest", inside, "--to", out],
                                    ["restore", "latest", "--include", path, "--target", out])}
        first = self.do(["termbackup", "find", path.name, "-p", "looked"], stdout=os.devnull)
        self.row(f"find, {what}, the first time", f"{first.seconds:.1f} s")
        for name, (ours, theirs) in pairs.items():
            contenders = [Contender("termbackup", lambda ours=ours: self.do(["termbackup", *ours, "-p", "looked"], stdout=os.devnull),
                                    before=lambda: remove(out))]
            if self.have("restic"):
                contenders.append(Contender(f"restic {theirs[0]}", lambda theirs=theirs: self.do(
                    ["restic", "-q", "-r", repository, *theirs], stdout=os.devnull), before=lambda: remove(out)))
            times = race(contenders, self.number("ROUNDS"), note)
            self.against(f"{name}, {what}", times, "termbackup", {f"restic {theirs[0]}": 1.0})
        for gone in (top, repository, out, self.work / "termbackup"):
            remove(gone)

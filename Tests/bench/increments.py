"""The cost of an incremental backup after few changes, and of restoring from many of them."""

import os
import pathlib
import random

from processes import Contender, bytes_below, make, note, race, remove

MIB = 1 << 20


def mib(count):
    return f"{count / MIB:.0f} MiB"


class IncrementParts:
    """The parts for incremental backups."""

    def change(self, top, count):
        """Rewrites `count` random files of a tree."""
        files = self.files_of(top)
        for path in random.sample(files, min(count, len(files))):
            path.write_bytes(os.urandom(200))

    def files_of(self, top):
        if top not in self.known_files:
            self.known_files[top] = [path for path in pathlib.Path(top).rglob("*") if path.is_file()]
        return self.known_files[top]

    def part_changes(self):
        self.changes("run", [], ["restic", "borg"], {0: 2.0})

    def changes(self, what, fields, wanted, targets):
        """A run over 100,000 files after none, one or a thousand changes. `fields` are options of the profile; `targets` are
        ratios to restic, by the number of changes."""
        count = self.number("FILES")
        top = self.work / "changing"
        note(f"making {count} files")
        make("many", top, count, 200)
        self.do(["termbackup", "init", "--no-input"])
        self.do(["termbackup", "profile", "create", "changes", "--source", top, "--mode", "incremental", *fields])
        self.do(["termbackup", "run", "changes"])
        peers = {}
        if "restic" in wanted and self.have("restic"):
            repository = self.work / "restic-changes"
            peers["restic backup"] = ["restic", "-q", "-r", repository, "backup", top]
            self.do(["restic", "-q", "-r", repository, "init"])
        if "borg" in wanted and self.have("borg"):
            borg = self.work / "borg-changes"
            peers["borg create"] = ["borg", "create", f"{borg}::{{now:%Y-%m-%dT%H:%M:%S.%f}}", top]
            self.do(["borg", "init", "-e", "repokey-blake2", borg])
        for command in peers.values():
            self.do(command)
        for changes in (0, 1, 1000):
            contenders = [Contender("termbackup run", lambda: self.do(["termbackup", "run", "changes"]))]
            contenders += [Contender(name, lambda command=command: self.do(command)) for name, command in peers.items()]
            # Before each round: every contender then finds the same number of changes since its last run.
            times = race(contenders, self.number("ROUNDS"), note, lambda changes=changes: self.change(top, changes), top)
            self.against(f"{what}, {changes} of {count} files changed", times, "termbackup run",
                         {"restic backup": targets.get(changes)})
        for name in ("changing", "restic-changes", "borg-changes"):
            remove(self.work / name)

    def part_tenth(self):
        """Restores the tenth incremental backup, whose content is in eleven archives, against one full backup."""
        count = self.number("FILES") // 10
        top, out = self.work / "ten", self.work / "restored"
        note(f"making {count} files")
        make("many", top, count, 4000)
        self.do(["termbackup", "init", "--no-input"])
        for name, mode in (("ten", "incremental"), ("one", "full")):
            self.do(["termbackup", "profile", "create", name, "--source", top, "--mode", mode])
        for number in range(11):
            if number:
                self.change(top, count // 100)
            self.do(["termbackup", "run", "ten"])
        self.do(["termbackup", "run", "one"])

        def restore(profile):
            return Contender(f"restore of {profile}", lambda: self.do(
                ["termbackup", "restore", "latest", "-p", profile, "--to", out]), before=lambda: remove(out))
        times = race([restore("ten"), restore("one")], self.number("ROUNDS"), note)
        self.against(f"restore the tenth increment, {count} files: the same as one full backup",
                     {"restore of ten": times["restore of ten"], "one archive": times["restore of one"]},
                     "restore of ten", {})
        for path in (top, out):
            remove(path)

    def part_verify(self):
        """All backups of a chain, against opening each of their archives separately: no archive should be read twice."""
        count, files = self.number("VERIFY"), self.number("FILES") // 100
        top, store = self.work / "chained", self.work / "chained-store"
        store.mkdir()
        note(f"making {count} backups of {files} files")
        make("many", top, files, 4000)
        self.do(["termbackup", "init", "--no-input"])
        self.do(["termbackup", "profile", "create", "chained", "--source", top, "--repo", store, "--mode", "incremental"])
        for _ in range(count):
            self.change(top, 1)
            self.do(["termbackup", "run", "chained"])
        archives = sorted((store / "backups").iterdir())

        each = ["sh", "-c", 'for archive; do tbk-open --raw "$archive" || exit; done', "each", *archives]
        times = race([Contender("verify --all", lambda: self.do(
            ["termbackup", "verify", "--all", "-p", "chained", "--no-mark"], stdout=os.devnull)),
            Contender("each archive decrypted", lambda: self.do(each, stdout=os.devnull))], self.number("ROUNDS"), note)
        self.against(f"verify --all of {count} backups", times, "verify --all", {"each archive decrypted": 0.5})
        for path in (top, store):
            remove(path)

    def part_rotation(self):
        """Rotates all backups of a profile to a new password: time, temporary disk, and the growth of the store."""
        count, size = self.numbers("ROTATE")
        top, home, store = self.work / "turning", self.work / "termbackup", self.work / "turning-store"
        top.mkdir()
        store.mkdir()
        self.do(["termbackup", "init", "--no-input"])
        self.do(["termbackup", "profile", "create", "turning", "--source", top, "--repo", store])
        note(f"making {count} backups of {size} MiB")
        for _ in range(count):
            (top / "content").write_bytes(os.urandom(size * MIB))
            self.do(["termbackup", "run", "turning"])
        (self.work / "new-password").write_text("another password for the benchmark\n")
        before = bytes_below(store)
        usage = self.do(["termbackup", "rotate-key", "turning", "--new-password-file", self.work / "new-password"],
                        watch_below=[self.work / "tmp", home / "tmp", store])
        what = f"rotate-key, {count} archives of {size} MiB"
        self.row(f"memory of {what}: the largest process", mib(usage.peak_rss), mib(128 * MIB),
                 usage.peak_rss <= 128 * MIB)
        self.row(f"disk of {what}: temporary files, and what the store takes more meanwhile", mib(usage.temporary),
                 "two archives", usage.temporary <= 2 * size * MIB + 4 * MIB)
        self.row(f"disk of {what}: what the store takes more afterwards", mib(bytes_below(store) - before))
        for path in (top, store):
            remove(path)

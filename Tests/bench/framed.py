"""Archives of suite 3 and age against other tools that compress with zstd and encrypt."""

import os

from picture import draw
from processes import Contender, bytes_below, make, note, race, remove, times_as_fast

MIB = 1 << 20
ARGON2 = 64 * MIB
LEVELS = {"tbk-seal, suite 1": [1, 6, 9], "tbk-seal, suite 3": [1, 3, 6, 12], "tbk-seal to age": [1, 3, 6, 12]}


class FramedParts:
    """The parts for these two kinds of archive."""

    def framed(self):
        """For each kind: its name, and the arguments of tbk-seal and tbk-open."""
        recipient = self.age_key()
        return [("suite 3", ["--suite", "3"], []), ("age", ["-r", recipient], ["-i", self.work / "age.key"])]

    def tar_zstd_age(self, top, level=3):
        return f"set -e; tar -C '{top}' -c . | zstd -q -{level} -T{len(os.sched_getaffinity(0))} | age -r {self.age_key()}"

    def repository(self, kind, top, level=None):
        """An empty repository of another tool: the contender's (before, action, after)."""
        place = self.work / f"{kind}-repository"
        if kind == "restic":
            begin = ["restic", "-q", "-r", place, "init"]
            command = ["restic", "-q", "-r", place, "backup", *(["--compression", level] if level else []), top]
        else:
            begin = ["borg", "init", "-e", "repokey-blake2", place]
            command = ["borg", "create", "-C", level or "zstd,3", f"{place}::one", top]

        def before():
            remove(place)
            self.do(begin)
        return place, before, lambda: self.do(command)

    def part_seal3(self):
        top, what = self.tree()
        out = {name: self.work / f"out-{name}" for name in ("suite 3", "age", "peer")}
        contenders = [Contender(f"tbk-seal, {name}", lambda sealing=sealing, place=out[name]: self.do(
            ["tbk-seal", *sealing, "--level", "3", top], stdout=place)) for name, sealing, _ in self.framed()]
        targets = {}
        pipe, restic, borg = "tar, zstd -3, age", "restic backup", "borg create -C zstd,3"
        if self.have("zstd", "age"):
            line = self.tar_zstd_age(top)
            contenders.append(Contender(pipe, lambda: self.do(line, stdout=out["peer"])))
            targets[pipe] = 1
        for kind, name in (("restic", restic), ("borg", borg)):
            if self.have(kind):
                place, before, action = self.repository(kind, top)
                contenders.append(Contender(name, action, before, lambda place=place: remove(place)))
        targets[restic] = 2
        times = race(contenders, self.number("ROUNDS"), note, tree=top)
        self.each_against(f"seal {what}", times, targets)
        if pipe in times:
            used = {contender.name: contender.processor for contender in contenders}
            for name in ("suite 3", "age"):
                ratio = times_as_fast(used[pipe], used[f"tbk-seal, {name}"])
                self.row(f"processor time of sealing {what}, {name}: {pipe}", f"theirs is {ratio:.2f} x as much")
            theirs = out["peer"].stat().st_size
            for name in ("suite 3", "age"):
                share = out[name].stat().st_size / theirs
                self.row(f"size of {what}, {name}: {pipe}", f"{share:.3f} of it", "1.03 of it", share <= 1.03)
        for path in out.values():
            remove(path)

    def each_against(self, what, times, targets):
        """Each of ours against all other tools."""
        theirs = {name: seconds for name, seconds in times.items() if not name.startswith("tbk-")}
        for name in times:
            if name not in theirs:
                self.against(f"{what}, {name.partition(', ')[2]}", {**theirs, name: times[name]}, name, targets)

    def part_open3(self):
        top, what = self.tree()
        into = self.work / "into"

        def before():
            remove(into)
            into.mkdir()
        contenders = []
        archives = []
        for name, sealing, opening in self.framed():
            archive = self.work / f"archive-{name}"
            self.do(["tbk-seal", *sealing, top], stdout=archive)
            archives.append(archive)
            contenders.append(Contender(f"tbk-open -C, {name}", lambda archive=archive, opening=opening: self.do(
                ["tbk-open", *opening, "-C", into, archive]), before))
        targets = {}
        pipe, restic = "age -d, zstd -d, tar -x", "restic restore"
        if self.have("zstd", "age"):
            aged = self.work / "peer.age"
            archives.append(aged)
            self.do(self.tar_zstd_age(top), stdout=aged)
            line = f"age -d -i '{self.work}/age.key' '{aged}' | zstd -q -d | tar -x -C '{into}'"
            contenders.append(Contender(pipe, lambda: self.do(line), before))
            targets[pipe] = 1.2
        if self.have("restic"):
            place, begin, action = self.repository("restic", top)
            begin()
            action()
            archives.append(place)
            contenders.append(Contender(restic, lambda: self.do(
                ["restic", "-q", "-r", place, "restore", "latest", "--target", into]), before))
            targets[restic] = 1.5
        self.each_against(f"open {what}", race(contenders, self.number("ROUNDS"), note), targets)
        for path in (*archives, into):
            remove(path)

    def part_memory3(self):
        """Neither memory nor temporary disk grows with the size, on the whole way to a store and back."""
        top, into = self.work / "one", self.work / "into"
        archive, receipt = self.work / "one.archive", self.work / "one.receipt"
        for megabytes in self.numbers("MEMORY_MB"):
            for compressible in (True, False):
                kind = f"{megabytes} MiB, {'compressible' if compressible else 'incompressible'}"
                note(f"making a file of {kind}")
                make("one_file", top, megabytes, int(compressible))
                # Incompressible data takes longest: if it is large, only one kind is measured.
                once = not compressible and megabytes > min(self.numbers("MEMORY_MB"))
                for name, sealing, opening in self.framed()[:1 if once else 2]:
                    # A new store each time: this machine remembers what a store contained.
                    store = self.work / f"store-{megabytes}-{compressible}-{name}"
                    store.mkdir()
                    watching = {"watch_below": [self.work / "tmp"]}
                    steps = [
                        ("tbk-seal", self.do(["tbk-seal", "--threads", "2", *sealing, "--receipt", receipt, top],
                                             stdout=archive, **watching)),
                        ("tbk-push", self.do(["tbk-push", store, "--receipt", receipt], stdin=archive, **watching)),
                        ("tbk-pull", self.do(f"tbk-pull '{store}' latest | cat >'{archive}'", **watching)),
                        ("tbk-open -C", self.do(f"cat '{archive}' | tbk-open {self.words(opening)} -C '{into}'",
                                                **watching))]
                    remove(into)
                    self.judge(name, kind, steps, megabytes)
                    for path in (store, archive, receipt):
                        remove(path)
                remove(top)

    def part_changes3(self):
        self.changes("run in suite 3", ["--cipher-suite", "3"], ["restic"], {0: 3, 1: 1.5, 1000: 1.5})

    def words(self, words):
        return " ".join(f"'{word}'" for word in words)

    def judge(self, name, kind, steps, megabytes):
        for command, usage in steps:
            most = 64 * MIB + 8 * megabytes // 4
            if command in ("tbk-seal", "tbk-open -C") and name == "suite 3":
                most += ARGON2
            self.row(f"memory of {command}, {name}, {kind}", f"{usage.peak_rss / MIB:.0f} MiB", f"{most / MIB:.0f} MiB",
                     usage.peak_rss <= most)
        most = max(usage.temporary for _, usage in steps)
        self.row(f"temporary disk of these, {name}, {kind}", f"{most / MIB:.0f} MiB", "none", most < MIB)

    def part_levels(self):
        """Speed and ratio at several levels, with a picture."""
        top, what = self.tree()
        size = bytes_of(top)
        out = self.work / "out"
        sizes, contenders = {}, []

        def add(name, action, measured, before=None, after=None):
            def measure():
                sizes[name] = measured()
                if after:
                    after()
            contenders.append(Contender(name, action, before, measure))
        yardstick = ("tar, zstd, age", "-3")
        if self.have("zstd", "age"):
            for level in (1, 3, 6, 12):
                line = self.tar_zstd_age(top, level)
                add(("tar, zstd, age", f"-{level}"), lambda line=line: self.do(line, stdout=out), lambda: out.stat().st_size)
        ways = {"tbk-seal, suite 1": [], **{series: sealing for series, (_, sealing, _) in zip(
            ("tbk-seal, suite 3", "tbk-seal to age"), self.framed())}}
        for series, sealing in ways.items():
            for level in LEVELS[series]:
                add((series, f"-{level}"), lambda sealing=sealing, level=level: self.do(
                    ["tbk-seal", *sealing, "--level", str(level), top], stdout=out), lambda: out.stat().st_size)
        for kind, levels in (("restic", ["auto", "max"]), ("borg", ["lz4", "zstd,3", "zlib,6"])):
            if self.have(kind):
                for level in levels:
                    place, before, action = self.repository(kind, top, level)
                    add((kind, level), action, lambda place=place: bytes_below(place), before, lambda place=place: remove(place))
        times = race(contenders, max(1, self.number("ROUNDS") - 1), note, tree=top)
        if yardstick not in times:
            return
        series = {}
        for name, seconds in times.items():
            speed, ratio = times_as_fast(times[yardstick], seconds), size / sizes[name]
            self.row(f"{name[0]} {name[1]}, {what}", f"ratio {ratio:.2f}, {speed:.2f} x as fast as {' '.join(yardstick)}")
            series.setdefault(name[0], []).append((ratio, speed, name[1]))
        self.pictures["speed-against-ratio"] = draw(
            f"Sealing {what}: speed against ratio", "size of the tree / size of what is stored",
            f"times as fast as {' '.join(yardstick)}", list(series.items()))
        remove(out)


def bytes_of(top):
    """The total size of the files in a tree."""
    return sum(os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(top) for name in names)

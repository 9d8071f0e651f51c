#!/usr/bin/env python3
"""Measures the suite against other tools: whole processes, in turn, on the same tree.

    Tests/bench/bench.py [--quick] [--only PART,...] [--update]

Prints a table in Markdown; --update also writes it to docs/BENCHMARKS.md, and pictures to docs/pictures. Sizes come from
the environment (BENCH_ROUNDS, BENCH_TREE_MB, BENCH_MEMORY_MB, BENCH_ENTRIES, BENCH_FILES, BENCH_STARTS); BENCH_TREE names
a tree to seal instead of a generated one, BENCH_DIR the directory to work in.
"""

import argparse
import datetime
import os
import pathlib
import platform
import re
import shutil
import statistics
import sys
import tempfile

from browsing import BrowsingParts
from framed import FramedParts
from increments import IncrementParts
from network import NetworkParts
from processes import Contender, Failed, make, note, race, remove, run, start_up, times_as_fast, version

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
SUITE = REPOSITORY / ".build" / "suite"
DOCUMENT = REPOSITORY / "docs" / "BENCHMARKS.md"
PICTURES = REPOSITORY / "docs" / "pictures"
# The document has one table for each of these groups.
GROUPS = {
    "local": ["seal", "open", "memory", "entries", "startup", "run", "size"],
    "framed": ["seal3", "open3", "memory3", "changes3", "levels"],
    "increments": ["changes", "tenth", "verify", "rotation"],
    "browsing": ["one", "browse"],
    "network": ["requests", "upload", "parallel", "large"],
}
MIB = 1 << 20
CORES = len(os.sched_getaffinity(0))
ARGON2 = 64 * MIB
PEERS = {
    "tar": ["tar", "--version"], "pigz": ["pigz", "--version"], "zstd": ["zstd", "--version"],
    "curl": ["curl", "--version"], "age": ["age", "--version"], "borg": ["borg", "--version"], "restic": ["restic", "version"],
}
SIZES = {  # name: (whole, quick, smoke)
    "ROUNDS": ("5", "3", "1"), "TREE_MB": ("1000", "150", "4"), "MEMORY_MB": ("100,4096", "50,500", "2,4"),
    "ENTRIES": ("100000,1000000", "20000,100000", "500,1000"), "FILES": ("100000", "10000", "200"),
    "STARTS": ("200", "60", "3"), "UPLOAD_MB": ("512", "64", "2"), "PARALLEL_MB": ("96", "96", "2"),
    "LARGE_MB": ("5120", "300", "30"), "ROTATE": ("50,20", "10,20", "3,1"), "VERIFY": ("42", "12", "3"),
    "ONE_FILE": ("10000", "3000", "30"), "ONE_FILE_KB": ("100", "100", "100"), "BACKUPS": ("100", "10", "3"),
}


def number_of(version):
    """The number in a tool's version line."""
    found = re.search(r"\d+(\.\d+)+", version or "")
    return found[0] if found else "unknown"


class Bench(NetworkParts, IncrementParts, FramedParts, BrowsingParts):
    def __init__(self, work, sizes):
        self.work = work
        self.sizes = sizes
        self.server = None
        self.repositories = 0
        self.known_files = {}
        self.rows = []
        self.load = os.getloadavg()[0]
        self.missed = []
        self.pictures = {}
        self.absent = [name for name, command in PEERS.items() if version(command) is None]
        temporary = work / "tmp"
        temporary.mkdir()
        (work / "password").write_text("a password for the benchmark\n")
        self.env = {
            "PATH": f"{SUITE / 'bin'}:{os.environ['PATH']}", "HOME": str(work), "LC_ALL": "C.UTF-8",
            "TMPDIR": str(temporary), "TERMBACKUP_HOME": str(work / "termbackup"),
            "TERMBACKUP_PASSWORD_FILE": str(work / "password"),
            "BORG_BASE_DIR": str(work / "borg-home"), "BORG_PASSPHRASE": "a password for the benchmark",
            "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes", "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes",
            "RESTIC_PASSWORD": "a password for the benchmark", "RESTIC_CACHE_DIR": str(work / "restic-cache"),
        }

    def have(self, *names):
        return not set(names) & set(self.absent)

    def do(self, command, **options):
        options.setdefault("env", self.env)
        return run(command, **options)

    def number(self, name):
        return int(self.sizes[name])

    def numbers(self, name):
        return [int(number) for number in self.sizes[name].split(",")]

    def row(self, what, value, target="", met=None):
        """`met`: whether the target is met; None if there is no target."""
        self.rows.append((what, value, target, {None: "", True: "yes", False: "**no**"}[met]))
        if met is False:
            self.missed.append(what)
        note(f"  {what}: {value} {target} {'' if met is None else 'met' if met else 'MISSED'}")

    # Parts

    def against(self, what, times, ours, targets):
        mine = times[ours]
        for name, theirs in times.items():
            if name != ours:
                ratio, target = times_as_fast(theirs, mine), targets.get(name)
                self.row(f"{what}: {name}", f"ours is {ratio:.2f} x as fast",
                         f"{target:.2f} x" if target else "", ratio >= target if target else None)

    def tree(self):
        given = os.environ.get("BENCH_TREE")
        if given:
            return pathlib.Path(given), f"`{given}`"
        top = self.work / "tree"
        if not top.exists():
            note(f"making a tree of {self.number('TREE_MB')} MiB")
            top.mkdir()
            self.tree_files = make("real", top, self.number("TREE_MB"))
        return top, f"{self.number('TREE_MB')} MiB in {self.tree_files} files"

    def age_key(self):
        key = self.work / "age.key"
        if not key.exists():
            self.do(["age-keygen", "-o", key])
        return next(line.split(": ")[1] for line in key.read_text().splitlines() if "public key" in line)

    def part_seal(self):
        top, what = self.tree()
        out = self.work / "out"
        contenders = [Contender("tbk-seal", lambda: self.do(["tbk-seal", "--level", "6", "--threads", str(CORES), top],
                                                            stdout=out))]
        targets = {}

        def pipe(name, compressor, target=None):
            line = f"set -e; tar -C '{top}' -c . | {compressor} | age -r {self.age_key()}"
            contenders.append(Contender(name, lambda: self.do(line, stdout=out)))
            if target:
                targets[name] = target
        if self.have("pigz", "age"):
            pipe("tar, pigz -6, age", f"pigz -6 -p {CORES}", 1 / 1.05)
        if self.have("zstd", "age"):
            pipe("tar, zstd -6, age", f"zstd -q -6 -T{CORES}")
        repository = self.work / "repository"

        def fresh(*command):
            def before():
                remove(repository)
                self.do(list(command))
            return before
        if self.have("borg"):
            contenders.append(Contender(
                "borg create -C zlib,6", lambda: self.do(["borg", "create", "-C", "zlib,6", f"{repository}::one", top]),
                before=fresh("borg", "init", "-e", "repokey-blake2", repository), after=lambda: remove(repository)))
            targets["borg create -C zlib,6"] = 2
        if self.have("restic"):
            contenders.append(Contender(
                "restic backup", lambda: self.do(["restic", "-q", "-r", repository, "backup", top]),
                before=fresh("restic", "-q", "-r", repository, "init"), after=lambda: remove(repository)))
            targets["restic backup"] = 3
        self.against(f"seal {what}", race(contenders, self.number("ROUNDS"), note, tree=top), "tbk-seal", targets)
        remove(out)

    def part_open(self):
        top, what = self.tree()
        archive, aged, into = self.work / "a.tbk", self.work / "a.age", self.work / "into"
        self.do(["tbk-seal", top], stdout=archive)

        def before():
            remove(into)
            into.mkdir()
        contenders = [Contender("tbk-open -C", lambda: self.do(["tbk-open", "-C", into, archive]), before)]
        targets = {}
        if self.have("pigz", "age"):
            self.do(f"tar -C '{top}' -c . | pigz -6 -p {CORES} | age -r {self.age_key()}", stdout=aged)
            line = f"age -d -i '{self.work}/age.key' '{aged}' | pigz -d | tar -x -C '{into}'"
            contenders.append(Contender("age -d, pigz -d, tar -x", lambda: self.do(line), before))
            targets["age -d, pigz -d, tar -x"] = 1 / 1.05
        self.against(f"open {what}", race(contenders, self.number("ROUNDS"), note), "tbk-open -C", targets)
        for path in (archive, aged, into):
            remove(path)

    def part_memory(self):
        """Peak memory must not grow with the size; temporary disk is at most the size of one archive."""
        most = 64 * MIB + ARGON2
        top, archive, into = self.work / "one", self.work / "one.tbk", self.work / "into"
        for compressible in (True, False):
            for megabytes in self.numbers("MEMORY_MB"):
                kind = "compressible" if compressible else "incompressible"
                note(f"making a file of {megabytes} MiB, {kind}")
                make("one_file", top, megabytes, int(compressible))
                seal = self.do(["tbk-seal", top], stdout=archive)
                name = f"{megabytes} MiB, {kind}"
                self.row(f"memory of tbk-seal, {name}", f"{seal.peak_rss / MIB:.0f} MiB", f"{most // MIB} MiB",
                         seal.peak_rss <= most)
                piped = self.do(f"exec tbk-seal '{top}' >'{self.work}/fifo'", watch_disk=True) \
                    if self.fifo() else None
                if piped:
                    self.disk(f"temporary disk of tbk-seal to a pipe, {name}", piped, archive)
                remove(top)
                into.mkdir()
                opened = self.do(["tbk-open", "-C", into], stdin=archive)
                self.row(f"memory of tbk-open -C, {name}", f"{opened.peak_rss / MIB:.0f} MiB", f"{most // MIB} MiB",
                         opened.peak_rss <= most)
                remove(into)
                remove(archive)

    def fifo(self):
        """A named pipe with a reader that discards its content."""
        path = self.work / "fifo"
        remove(path)
        os.mkfifo(path)
        if os.fork() == 0:
            try:
                with open(path, "rb") as source:
                    while source.read(MIB):
                        pass
            finally:
                os._exit(0)
        return True

    def disk(self, what, usage, archive):
        try:
            os.wait()
        except ChildProcessError:
            pass
        size = os.path.getsize(archive)
        self.row(what, f"{usage.temporary / MIB:.0f} MiB; the archive has {size / MIB:.0f} MiB", "the archive, once",
                 usage.temporary <= size + MIB)

    def part_entries(self):
        """The memory for each further entry, from the difference between two sizes."""
        counts = self.numbers("ENTRIES")
        base = pathlib.Path("/dev/shm") if shutil.disk_usage("/dev/shm").free > counts[-1] * 2000 else self.work
        peaks = {}
        with tempfile.TemporaryDirectory(dir=base, prefix="bench") as folder:
            folder = pathlib.Path(folder)
            top, manifest, archive, into = (folder / name for name in ("many", "manifest", "many.tbk", "into"))
            for count in counts:
                note(f"making {count} files")
                make("many", top, count)
                into.mkdir()
                for name, usage in (
                        ("tbk-manifest", lambda: self.do(["tbk-manifest", top], stdout=manifest)),
                        ("tbk-seal", lambda: self.do(["tbk-seal"], stdin=manifest, stdout=archive)),
                        ("tbk-open -C", lambda: self.do(["tbk-open", "-C", into, archive]))):
                    usage = usage()
                    peaks.setdefault(name, []).append(usage.peak_rss)
                    limit = 64 * MIB + (0 if name == "tbk-manifest" else ARGON2) + 600 * count
                    self.row(f"memory of {name}, {count} entries", f"{usage.peak_rss / MIB:.0f} MiB",
                             f"{limit / MIB:.0f} MiB", usage.peak_rss <= limit)
                for path in (top, into):
                    remove(path)
        if len(counts) > 1:
            for name, peak in peaks.items():
                each = (peak[-1] - peak[0]) / (counts[-1] - counts[0])
                self.row(f"memory of {name}, for each entry", f"{each:.0f} bytes", "600 bytes", each <= 600)

    def part_startup(self):
        commands = {"tbk-manifest": 2.5, "tbk-seal": 2.5, "tbk-open": 2.5, "tbk-push": 5, "tbk-pull": 5}
        peers = [name for name in ("age", "restic") if self.have(name)]
        argv = {name: [name, "--version"] for name in (*commands, *peers)}
        if "restic" in argv:
            argv["restic"] = ["restic", "version"]
        times = {name: [] for name in argv}
        for _ in range(self.number("STARTS") + 3):
            for name in argv:
                times[name].append(start_up(argv[name], self.env))
        median = {name: statistics.median(seconds[3:]) for name, seconds in times.items()}
        for name, target in commands.items():
            against = median[name] / median["age"] if "age" in median else None
            shown = [f"{median[name] / median[peer]:.2f} x {peer}" for peer in peers]
            self.row(f"start-up of {name}", ", ".join(shown) or "no peer is here", f"{target} x age",
                     against <= target if against else None)

    def part_run(self):
        """`termbackup run` and `restic backup` on an unchanged tree."""
        count = self.number("FILES")
        top, repository = self.work / "files", self.work / "repository"
        note(f"making {count} files")
        make("many", top, count, 200)
        self.do(["termbackup", "init", "--no-input"])
        self.do(["termbackup", "profile", "create", "bench", "--source", top, "--mode", "incremental"])
        first = self.do(["termbackup", "run", "bench"]).seconds
        contenders = [Contender("termbackup run", lambda: self.do(["termbackup", "run", "bench"]))]
        if self.have("restic"):
            self.do(["restic", "-q", "-r", repository, "init"])
            theirs = self.do(["restic", "-q", "-r", repository, "backup", top]).seconds
            self.row(f"first run, {count} files: restic backup", f"ours is {theirs / first:.2f} x as fast")
            contenders.append(Contender("restic backup", lambda: self.do(["restic", "-q", "-r", repository, "backup", top])))
        times = race(contenders, self.number("ROUNDS"), note, tree=top)
        self.against(f"run with nothing changed, {count} files", times, "termbackup run", {"restic backup": 2})
        for path in (top, repository):
            remove(path)

    def part_size(self):
        files = [path for path in SUITE.rglob("*") if path.is_file() and not path.is_symlink()]
        size = sum(path.stat().st_size for path in files)
        self.row("the installed suite", f"{size / 1e6:.1f} MB", "40 MB", size <= 40e6)

    # Report

    def machine(self):
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
        flags = set()
        try:
            with open("/proc/cpuinfo") as file:
                flags = next((set(line.split()) for line in file if line.startswith("flags")), set())
        except OSError:
            pass
        known = [name for name, flag in (("AES-NI", "aes"), ("VAES", "vaes"), ("SHA-NI", "sha_ni")) if flag in flags]
        return f"{CORES} cores, {platform.machine()}{' with ' + ', '.join(known) if known else ''}, {memory:.0f} GiB of memory"

    def report(self):
        suite = number_of(version([str(SUITE / "bin" / "tbk-seal"), "--version"]))
        lines = [f"Measured on {datetime.date.today().isoformat()}: {self.machine()}; {platform.system()} {number_of(platform.release()).rpartition('.')[0]}. "
                 f"Load before it began: {self.load:.1f}.",
                 "", f"Versions: TermBackup {suite}, "
                 + ", ".join(f"{name} {number_of(version(command))}" for name, command in PEERS.items() if name not in self.absent) + "."]
        if self.absent:
            lines += ["", "Absent, and not measured: " + ", ".join(self.absent) + "."]
        lines += ["", f"Sizes: {', '.join(f'{name.lower()} {value}' for name, value in self.sizes.items())}.", "",
                  "| what | measured | target | met |", "|---|---|---|---|"]
        lines += [f"| {' | '.join(row)} |" for row in self.rows]
        lines += ["", f"Missed: {'; '.join(self.missed)}." if self.missed else "Every target with a peer present was met."]
        return "\n".join(lines) + "\n"


PARTS = {name.removeprefix("part_"): getattr(Bench, name) for names in GROUPS.values()
         for name in (f"part_{part}" for part in names)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes: minutes instead of an hour")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: does everything work? The numbers mean nothing")
    parser.add_argument("--only", help=f"some of {', '.join([*GROUPS, *PARTS])}")
    parser.add_argument("--update", action="store_true", help="put the table into docs/BENCHMARKS.md")
    options = parser.parse_args()
    column = 2 if options.smoke else 1 if options.quick else 0
    sizes = {name: os.environ.get(f"BENCH_{name}") or values[column] for name, values in SIZES.items()}
    chosen = options.only.split(",") if options.only else list(PARTS)
    chosen = [name for group in chosen for name in GROUPS.get(group, [group])]
    for name in chosen:
        if name not in PARTS:
            parser.error(f"no part is called {name}")
    base = pathlib.Path(os.environ.get("BENCH_DIR") or REPOSITORY / ".build" / "bench")
    base.mkdir(parents=True, exist_ok=True)
    status = 0
    for group, parts in GROUPS.items():
        parts = [name for name in parts if name in chosen]
        if parts:
            status = max(status, measure(group, parts, sizes, base, options.update))
    return status


def measure(group, parts, sizes, base, update):
    """Runs the parts of one group, and reports the results."""
    with tempfile.TemporaryDirectory(dir=base, prefix="run") as work:
        bench = Bench(pathlib.Path(work), sizes)
        for name in bench.absent:
            note(f"skipped: {name} is not installed")
        try:
            for name in parts:
                note(f"{name}:")
                PARTS[name](bench)
        except Failed as failure:
            note(f"bench: error: {failure}")
            return 1
        finally:
            remove(bench.work / "into")
            if bench.server:
                bench.server.stop()
        report = bench.report()
    sys.stdout.write(report)
    if update:
        text = DOCUMENT.read_text("utf-8")
        begin, end = f"<!-- bench {group}: begin -->", f"<!-- bench {group}: end -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        DOCUMENT.write_text(f"{before}{begin}\n{report}{end}{after}", "utf-8")
        for name, picture in bench.pictures.items():
            (PICTURES / f"{name}.svg").write_text(picture, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

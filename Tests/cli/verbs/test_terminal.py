"""What a user sees on terminals, wide and narrow; none of it is written to a pipe."""

import datetime
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios

import pytest
from conftest import PASSWORD, PATIENCE, absent, put, require, shown_on
from shell_fixture import shell  # noqa: F401

COLOUR = re.compile(rb"\x1b\[3[0-9]m")
MEBIBYTE = 1 << 20


class Screen:
    """A terminal with this many columns: the bytes written to it, and the final content of its lines."""

    def __init__(self, columns):
        self.columns = columns
        self.written = b""
        # The contents of a line over time, and whether one was ever longer than the terminal.
        self.lines = [""]
        self.seen = []
        self.wrapped = False

    def show(self, data):
        self.written += data
        for part in re.findall(rb"\x1b\[[0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", data):
            if part == b"\r":
                self.seen.append(self.lines[-1])
                self.back = True
            elif part == b"\n":
                self.lines.append("")
                self.back = False
            elif part == b"\x1b[K":
                if self.back:
                    self.lines[-1] = ""
                    self.back = False
            elif not part.startswith(b"\x1b"):
                if self.back:
                    self.lines[-1] = ""
                    self.back = False
                self.lines[-1] += part.decode("ascii")
                self.wrapped |= len(self.lines[-1]) > self.columns
    back = False

    @property
    def text(self):
        return "\n".join(self.lines)


def on_screen(shell, columns, verb, *arguments, env=None, password=PASSWORD, through=()):  # noqa: F811
    """Runs a verb or a command on a terminal of this width, `through` another command. Returns its status and screen."""
    environment = {**shell.environment_with(password, None), "TERM": "xterm", **(env or {})}
    command = shell.command(verb, *arguments) if not verb.startswith("tbk-") else [shell.tbk.path(verb), *map(str, arguments)]
    terminal, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen([*through, *command], stdin=other, stdout=other, stderr=other, env=environment, start_new_session=True)
    os.close(other)
    screen = Screen(columns)
    for data in shown_on(terminal):
        screen.show(data)
    status = process.wait(PATIENCE)
    os.close(terminal)
    return status, screen


@pytest.fixture
def docs(shell, small):  # noqa: F811
    shell.profile("docs", small)
    shell.run("run", "-q", "docs")
    shell.run("run", "-q", "--full", "docs")
    return shell


@pytest.fixture
def large(tmp_path):
    """A file that takes more than a tenth of a second to seal."""
    put(tmp_path / "large" / "random", os.urandom(24 * MEBIBYTE))
    return tmp_path / "large"


# Tables


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 200])
@pytest.mark.parametrize("verb", [["list", "docs"], ["profile", "list"], ["prune", "docs", "--keep-last", "1", "--dry-run"]])
def test_a_table_fits_the_terminal(docs, verb, columns):
    status, screen = on_screen(docs, columns, *verb)
    assert status == 0
    rows = screen.lines[:-1]
    table = rows[:-1] if verb[0] == "prune" else rows
    assert all(len(line) <= columns for line in table), table
    title = {"list": "ID", "profile": "NAME", "prune": "WHAT"}[verb[0]]
    assert table[0].startswith(title) and len(table) == {"list": 4, "profile": 2, "prune": 3}[verb[0]]
    if columns == 200:
        # The columns are aligned with their titles, as in a pipe.
        assert rows == docs.run(*verb).stdout.decode().splitlines()
        starts = [match.start() for match in re.finditer(r"(?<=  )\S|^\S", table[0])]
        assert len(starts) >= 4
    else:
        assert len(table[0].split("  ")) > 0


def test_narrow_lists_keep_what_matters(docs):
    _, wide = on_screen(docs, 80, "list", "docs")
    assert wide.lines[0].split() == ["ID", "TIME", "FILES", "CHANGE", "SIZE", "MODE", "VERIFIED"]
    _, narrow = on_screen(docs, 40, "list", "docs")
    assert narrow.lines[0].split() == ["ID", "TIME", "SIZE"]
    ids = docs.ids("docs")
    assert [line.split()[0] for line in narrow.lines[1:3]] == ids and "..." not in narrow.text
    _, tiny = on_screen(docs, 20, "list", "docs")
    assert [line[:12] for line in tiny.lines[1:3]] == ids


@pytest.mark.parametrize("columns, titles", [
    (160, "GROUP BACKUPS SIZE LAST TIME FILES PROFILE"), (60, "GROUP TIME PROFILE"), (50, "GROUP TIME")])
def test_the_groups_of_a_store_are_shown_with_their_times(docs, columns, titles):
    _, screen = on_screen(docs, columns, "list", "--store", docs.home / "store")
    assert screen.lines[0].split() == titles.split() and "..." not in screen.text
    assert len(screen.lines[1].split()[0]) == 32


@pytest.mark.parametrize("zone, hours", [("UTC0", 0), ("JST-9", 9), ("HST10", -10)])
def test_people_read_local_time_and_programs_utc(docs, zone, hours):
    zoned = {"TZ": zone}
    made = [json.loads(line)["created_at"] for line in docs.run("list", "docs", "--json", env=zoned).stdout.splitlines()]
    assert all(time.endswith("+00:00") for time in made)
    local = [(datetime.datetime.fromisoformat(time) + datetime.timedelta(hours=hours)).strftime("%Y-%m-%d %H:%M") for time in made]
    for command in (["list", "docs"], ["prune", "docs", "--keep-last", "5", "--dry-run"]):
        shown = re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d", docs.run(*command, env=zoned).stdout.decode())
        assert shown == local
    assert local[-1] in docs.run("list", "--store", docs.home / "store", env=zoned).stdout.decode()


def test_numbers_stand_to_the_right(docs, large):
    docs.run("profile", "create", "large", "--source", large)
    docs.run("run", "-q", "large", password=PASSWORD)
    title, row, *_ = docs.run("list", "large").stdout.decode().splitlines()
    assert row.index("MiB") + 3 == title.index("SIZE") + 4


# Progress


@pytest.mark.parametrize("columns", [12, 40, 80, 160])
def test_progress_is_one_line_that_fits(docs, large, columns):
    docs.run("profile", "create", "large", "--source", large)
    status, screen = on_screen(docs, columns, "run", "large")
    assert status == 0
    drawn = [line for line in screen.seen if "%" in line]
    assert drawn, screen.written
    assert all(len(line) < columns for line in drawn), drawn
    assert "%" not in screen.text and "Backed up large" in screen.text
    if columns >= 40:
        assert all(line.startswith("sealing  ") for line in drawn)
        assert any(re.search(r"[KM]iB/s", line) for line in drawn), drawn
    if columns >= 80:
        assert any(re.search(r"of 24\.0 MiB +\d+%", line) for line in drawn), drawn
    if columns >= 160:
        assert any(re.search(r"\[#*-*\]  [0-9.]+ [KM]iB/s", line) for line in drawn), drawn


@pytest.mark.parametrize("quiet", [{"TERM": "dumb"}, {"TERM": ""}, "--quiet", "--json"])
def test_no_progress_where_it_is_not_wanted(docs, large, quiet):
    docs.run("profile", "create", "large", "--source", large)
    more, environment = ([quiet], None) if isinstance(quiet, str) else ([], quiet)
    status, screen = on_screen(docs, 80, "run", "large", *more, env=environment)
    assert status == 0 and b"%" not in screen.written and b"\x1b" not in screen.written


def test_nothing_of_a_terminal_is_piped(docs, large):
    docs.run("profile", "create", "large", "--source", large)
    for verb in (["run", "large"], ["verify", "--all", "-p", "docs"], ["list", "docs"], ["doctor"], ["status"],
                 ["restore", "latest", "-p", "large", "--to", docs.tbk.scratch / "out"]):
        done = docs.run(*verb, env={"TERM": "xterm"})
        assert not re.search(rb"\x1b|\r|%", done.stdout + done.stderr), verb


def test_a_restore_says_how_long_it_takes(docs, large):
    docs.run("profile", "create", "large", "--source", large)
    docs.run("run", "-q", "large")
    status, screen = on_screen(docs, 80, "restore", "latest", "-p", "large", "--to", docs.tbk.scratch / "out")
    drawn = [line for line in screen.seen if "%" in line]
    assert status == 0 and drawn and all(line.startswith("fetching  ") for line in drawn), drawn


@pytest.mark.parametrize("verb, word", [("restore", "opening"), ("verify", "verifying")])
def test_what_comes_after_fetching_is_shown_too_and_not_before(docs, large, verb, word):
    """An archive in suite 1 is used only after all of it is verified: most of the work follows when tbk-pull has ended."""
    require("strace")
    if subprocess.run(["strace", "-f", "-o", "/dev/null", "true"], capture_output=True).returncode != 0:
        absent("permission to trace")
    docs.run("profile", "create", "large", "--source", large, "--cipher-suite", "1")
    docs.run("run", "-q", "large")
    more = ["--to", docs.tbk.scratch / "out"] if verb == "restore" else []
    # Reads from the pipe are of up to 64 KiB; the later ones, when tbk-open reads its temporary file again, are slowed down.
    slow = ["strace", "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=read", "-e", "inject=read:delay_enter=20ms:when=384+"]
    status, screen = on_screen(docs, 80, verb, "latest", "-p", "large", *more, through=slow)
    drawn = [line.split()[0] for line in screen.seen if "iB" in line]
    assert status == 0 and {"fetching", word} == set(drawn), drawn
    # One after the other, and each on an empty line.
    assert drawn == sorted(drawn, key=["fetching", word].index)
    assert re.search(rb"fetching[^\r]*\r\x1b\[K\r" + word.encode(), screen.written), screen.written
    assert "iB" not in screen.text.partition(" size")[0] and word not in screen.text


# Colour


def damaged(shell):  # noqa: F811
    archive = sorted((shell.home / "store" / "backups").iterdir())[0]
    archive.write_bytes(archive.read_bytes()[:-1] + b"\0")


def test_results_are_coloured_on_a_terminal(docs):
    damaged(docs)
    status, screen = on_screen(docs, 80, "verify", "--all", "-p", "docs", "--no-mark")
    assert status == 1
    assert b"\x1b[32mok\x1b[0m " in screen.written and b"\x1b[31mFAILED\x1b[0m " in screen.written
    status, screen = on_screen(docs, 80, "list", "none")
    assert status == 78 and b"termbackup list: \x1b[31merror: \x1b[0mthere is no profile" in screen.written
    status, screen = on_screen(docs, 80, "list", "docs", "docs")
    assert status == 64 and b"termbackup list: \x1b[31merror: \x1b[0munexpected" in screen.written
    _, screen = on_screen(docs, 80, "doctor")
    assert b"\x1b[32mok\x1b[0m    " in screen.written


@pytest.mark.parametrize("off", [{"NO_COLOR": "1"}, {"NO_COLOR": "0"}, {"TERM": "dumb"}, {"TERM": ""}, "--json"])
def test_colour_is_off_when_told(docs, off):
    damaged(docs)
    more, environment = ([off], None) if isinstance(off, str) else ([], off)
    for verb in (["verify", "--all", "-p", "docs", "--no-mark"], ["doctor"], ["list"], ["list", "none"]):
        _, screen = on_screen(docs, 80, *verb, *more, env=environment)
        assert screen.written and not COLOUR.search(screen.written), verb


def test_an_empty_no_color_means_nothing(docs):
    _, screen = on_screen(docs, 80, "list", "docs", "docs", env={"NO_COLOR": ""})
    assert COLOUR.search(screen.written)


# Names


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_names_are_quoted_in_every_locale(shell, tmp_path, locale):  # noqa: F811
    shell.environment["LC_ALL"] = locale
    source = tmp_path / "caf\u00e9 \"1\"\n\x1b[31m"
    put(source / "na\u00efve", b"x")
    shell.run("init")
    store = tmp_path / "d\u00e9p\u00f4t"
    store.mkdir()
    shell.run("profile", "create", "odd", "--source", source, "--repo", store, "--mode", "incremental")
    shell.run("run", "-q", "odd")
    put(source / "new", b"y")
    shell.run("run", "-q", "odd")
    target = tmp_path / "z\u00fcrich"
    said = b""
    for verb in (["profile", "list"], ["profile", "show", "odd"], ["status"], ["list", "odd"], ["run", "odd"],
                 ["restore", "latest", "-p", "odd", "--to", target], ["consolidate", "odd", "latest"],
                 ["package", source, "--to", tmp_path]):
        _, screen = on_screen(shell, 300, *verb, env={"NO_COLOR": "1"})
        clean = screen.written.replace(b"\x1b[K", b"")
        assert all(byte < 127 and (byte >= 32 or byte in b"\r\n") for byte in clean), (verb, clean)
        said += clean
    assert rb'caf\303\251 \"1\"\n\033[31m"' in said and rb'z\303\274rich"' in said
    assert (target / "na\u00efve").read_bytes() == b"x"

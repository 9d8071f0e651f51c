"""README.md and the pages in docs/: every block of commands runs as it is written, on a terminal, in a new home.

A page is run from its first block to its last. A how-to page starts with the profile that docs/start-here.md creates.
There are stand-ins for what a test cannot use: GitHub, a webhook, pg_dump, gh, an editor, the crontab.
"""

import contextlib
import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as xml

import pytest
import webhook_fixture
import yaml
from conftest import BIN, REPOSITORY, absent, require
from github_fixture import TOKEN, ControlError, GitHub

sys.path.insert(0, str(REPOSITORY / "docs" / "pictures"))

import session  # noqa: E402
from terminal import Screen, Terminal  # noqa: E402

START = REPOSITORY / "docs" / "start-here.md"
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
# ```LANGUAGE, after a comment for this test, if any.
BLOCK = re.compile(r"^(?:<!-- tests: ([^\n]*) -->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Tests/packaging covers building and installing.
BUILDING = re.compile(r"(?:apt-get|make)\b")
PASSWORD, NEW_PASSWORD = b"correct horse battery staple", b"another horse"
# Text that differs from run to run, and its placeholder.
VARYING = [
    (r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?\+00:00)?", "TIME"),
    (r"(?<![0-9a-z])(?:[0-9a-f]{64}|[0-9a-f]{12})(?![0-9a-z])", "ID"),
    (r"\b\d+(?:\.\d+)? (?:[KMG]i)?B\b", "SIZE"),
    (r"\b\d+ s\b", "SECONDS"),
    (r"(?<=\s)\d{3,}(?=\s)|(?<=0/0)\s+\d+(?=\s)", " N"),
]


def blocks(page):
    return [(found[1], found[2], found[3]) for found in BLOCK.finditer(page.read_text())]


def runs(page):
    return any(language in ("sh", "console") for _, language, _ in blocks(page))


def steady(text):
    for pattern, stands in VARYING:
        text = re.sub(pattern, stands, text)
    # The width of columns depends on their content.
    return [" ".join(line.split()) for line in text.splitlines()]


STUBS = {
    "gh": 'test "$*" = "auth token" && printf "%s\\n" "$STAND_IN_TOKEN"',
    "pg_dump": 'echo "CREATE TABLE letters (id int);"',
    "an-editor": 'printf "%s\\n" "$STAND_IN_PASSWORD" >"$1"',
    "crontab": """
        case ${1-} in
        -l) cat "$HOME/.crontab" 2>/dev/null || { echo 'no crontab for ada' >&2; exit 1; } ;;
        -r) rm "$HOME/.crontab" ;;
        -) cat >"$HOME/.crontab" ;;
        esac""",
    # A command that runs until it is stopped is stopped after its first backup.
    "termbackup": """
        case ${1-} in
        daemon | watch) ;;
        *) exec "$REAL/termbackup" "$@" ;;
        esac
        # The daemon looks at once, and then in a quarter of an hour.
        date >"$HOME/notes/now"
        "$REAL/termbackup" "$@" >"$HOME/.until-stopped" 2>&1 &
        until grep -q '^Backed up' "$HOME/.until-stopped"; do
            if ! kill -0 $! 2>/dev/null; then cat "$HOME/.until-stopped"; exit 1; fi
            sleep 0.2
            date >"$HOME/notes/now"
        done
        kill $!
        wait $! || test $? = 143""",
}


class Account:
    """A new account, and the user who types its passwords."""

    def __init__(self, folder, more):
        self.home = folder / "ada"
        self.home.mkdir(mode=0o700)
        stubs = folder / "stubs"
        stubs.mkdir()
        for name, script in STUBS.items():
            (stubs / name).write_text(f"#!/bin/sh\n{script}\n")
            (stubs / name).chmod(0o755)
        (folder / "tmp").mkdir()
        self.current = PASSWORD
        self.exports = []
        self.terminal = Terminal(self.home, {
            "PATH": f"{stubs}:{BIN}:/usr/local/bin:/usr/bin:/bin", "TMPDIR": str(folder / "tmp"), "TZ": "UTC",
            "REAL": str(BIN), "EDITOR": "an-editor", "STAND_IN_PASSWORD": PASSWORD.decode(), "STAND_IN_TOKEN": TOKEN,
            **more}, self.answer, 200)

    def answer(self, prompt):
        if prompt.endswith("[y/N]"):
            return b"y"
        if "new" in prompt.lower():
            self.current = NEW_PASSWORD
            return NEW_PASSWORD
        return PASSWORD if "old" in prompt.lower() else self.current

    def run(self, script):
        """Runs a block of commands; returns the screen. Each must succeed, but diff may report differences."""
        exports = "".join(self.exports)
        status, written = self.terminal.run(f"set -e\n{exports}{script}")
        screen = Screen(200)
        screen.write(written.decode().replace(str(self.home), "/home/ada"))
        said = f"{script}\nstatus {status}\n{screen.text}"
        assert status == 0 or (status == 1 and script.startswith("termbackup diff ")), said
        assert "error:" not in screen.text, said
        self.exports += re.findall(r"^export .*\n", script, re.MULTILINE)
        return screen.text

    def transcript(self, block):
        """Runs the commands of a block that shows their output; returns the output in the page, and the actual output."""
        shown, printed = [], []
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            shown += ["$ " + command, *steady(output)]
            seen = [line for line in steady(self.run(command)) if not re.search(r"^(Choose a )?[Pp]assword", line)]
            while seen and not seen[-1]:
                seen.pop()
            printed += ["$ " + command, *seen]
        return shown, printed

    def leave(self, *kept):
        """Replaces this machine by a new one, which has only the files in `kept`."""
        former = self.home.with_name("former")
        self.home.rename(former)
        self.home.mkdir(mode=0o700)
        for name in kept:
            (former / name).rename(self.home / name)
        self.exports = []

    def prepare(self, note):
        """Follows the comment of a block: replaces the machine by a new one, or deletes files."""
        if found := re.fullmatch(r"without (.*)", note):
            for name in found[1].split(" and "):
                path = self.home / name
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        elif found := re.fullmatch(r"a new home, with (\w+) and (\w+)", note):
            self.leave(*found.groups())
        else:
            assert note == "a new home, and GROUP as listed"
            self.leave()


@pytest.fixture(scope="module")
def services(tmp_path_factory):
    for name in ("termbackup", "tbk-seal", "tbk-push"):
        if not (BIN / name).exists():
            absent(name)
    require("git", "rclone", "setsid")
    with GitHub(tmp_path_factory.mktemp("github")) as github, contextlib.ExitStack() as more:
        github.token(TOKEN, login="ada")
        yield github, more.enter_context(webhook_fixture.running())


@pytest.fixture
def account(services, tmp_path):
    github, webhook = services
    webhook.requests.clear()
    cloud = tmp_path / "cloud"
    cloud.mkdir()
    yield Account(tmp_path, {
        "TERMBACKUP_GITHUB_API": github.api, "SLACK_WEBHOOK": webhook.url, "PING_URL": webhook.url + "/ping",
        "RCLONE_CONFIG": str(tmp_path / "rclone.conf"), "RCLONE_CONFIG_CLOUD_TYPE": "alias",
        "RCLONE_CONFIG_CLOUD_REMOTE": str(cloud)})
    for name in ("ada/backups", "ada/letters"):
        with contextlib.suppress(ControlError):
            github.delete_repository(name)


def placed(account, github, block):
    """The block with its placeholders replaced: ID by an id of a backup, GROUP by the store's group."""
    if re.search(r"\bID\b", block):
        ids = json.loads((account.home / ".termbackup" / "store" / "metadata.json").read_text())["backups"]
        block = re.sub(r"\bID\b", ids[0]["id"][:12], block)
    if re.search(r"\bGROUP\b", block):
        disk = account.home / "disk" / "metadata.json"
        ledger = json.loads(disk.read_text() if disk.exists() else github.git("ada/backups", "show", "HEAD:metadata.json"))
        group, = ledger["groups"]
        block = re.sub(r"\bGROUP\b", group, block)
    return block


@pytest.mark.parametrize("page", [page for page in PAGES if runs(page)], ids=lambda page: page.name)
def test_every_block_runs_as_it_is_written(page, account, services):
    github, webhook = services
    text = page.read_text()
    if page.parent.name == "how-to":
        assert "](../start-here.md)" in text
        for _, language, block in blocks(START):
            if "termbackup run notes" in block and "termbackup restore" not in block and "notes-disk" not in block:
                account.run(block) if language == "sh" else account.transcript(block)
    done = 0
    for note, language, block in blocks(page):
        if language not in ("sh", "console") or BUILDING.match(block):
            continue
        done += 1
        if note:
            account.prepare(note)
        block = placed(account, github, block)
        if language == "sh":
            account.run(block)
        else:
            shown, printed = account.transcript(block)
            assert shown == printed
    assert done
    assert ("SLACK_WEBHOOK" in text) == any(request[0] == "POST" for request in webhook.requests)
    assert ("PING_URL" in text) == any(path.endswith("/ping") for path in webhook.paths)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_are_of_a_kind_that_is_tried(page):
    """Or contains no commands."""
    for note, language, block in blocks(page):
        # Blocks in Swift are built by test_examples.py.
        assert language in ("sh", "console", "yaml", "json", "") or (page.name, language) == ("swift.md", "swift"), language
        assert not note or language == "sh"
        if not language or language == "json":
            assert not re.search(r"^(?:\$ |tbk-\S+ |termbackup )", block, re.MULTILINE), block
    # Every fence must belong to a block that the expression above finds; others would not be tested.
    assert len(re.findall(r"^```", page.read_text(), re.MULTILINE)) == 2 * len(blocks(page))


def test_what_is_built_and_installed_has_its_targets_and_packages():
    makefile = (REPOSITORY / "Makefile").read_text()
    wanted = re.findall(r"\|\| printf ' (\S+)'", makefile)
    assert len(wanted) == 5
    found = 0
    for page in PAGES + [REPOSITORY / "CONTRIBUTING.md"]:
        for _, language, block in blocks(page):
            if language != "sh" or not BUILDING.match(block):
                continue
            for line in block.splitlines():
                words = line.partition("#")[0].split()
                if words[0] == "apt-get":
                    assert words[1:] == ["install", *wanted], page
                    found += 1
                elif words[0] == "make" and len(words) > 1:
                    assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), f"{page}: {line}"
                    found += 1
    assert found > 6


def test_the_workflow_that_is_shown_is_one_of_the_action():
    action = yaml.safe_load((REPOSITORY / "action.yml").read_text())
    version = subprocess.run([BIN / "tbk-seal", "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    shown = [(page, block) for page in PAGES for _, language, block in blocks(page) if language == "yaml"]
    assert shown
    for page, block in shown:
        step, = yaml.safe_load(block)
        assert step["uses"] == f"OWNER/termbackup@v{version}", page
        assert set(step["with"]) <= set(action["inputs"])
    page = (REPOSITORY / "docs" / "how-to" / "automate.md").read_text()
    told = re.search(r"Its outputs are (.*?)\.", page, re.DOTALL)[1]
    assert set(re.findall(r"`(\w+)`", told)) == set(action["outputs"])


def test_all_commands_and_verbs_are_in_the_reference():
    page = (REPOSITORY / "docs" / "reference.md").read_text()
    pages = {path.stem for path in (REPOSITORY / "man").glob("*.1")}
    row = re.search(r"^\| `termbackup` \| (.*) \|$", page, re.MULTILINE)[1]
    assert {f"termbackup-{verb}" for verb in re.findall(r"`([\w-]+)`", row)} == {
        name for name in pages if name.startswith("termbackup-")}
    table = page[:page.index(row)]
    assert {name for name in re.findall(r"`(tbk-[\w-]+)`", table)} == {
        name for name in pages if name.startswith("tbk-")} - {"tbk-store-rclone"}
    statuses = re.search(r"^## Exit statuses\n(.*?)^## ", page, re.MULTILINE | re.DOTALL)[1]
    overview = re.search(r"^\.Sh EXIT STATUS\n(.*?)^\.Sh ", (REPOSITORY / "man" / "termbackup.1").read_text(),
                         re.MULTILINE | re.DOTALL)[1]

    def numbers(lines):
        return [int(number) for line in lines for number in re.findall(r"\d+", line)]
    assert numbers(re.findall(r"^\| ([\d, ]+) \|", statuses, re.MULTILINE)) == numbers(
        re.findall(r"^\.It (.*)$", overview, re.MULTILINE))


# The picture


def lines_of(picture):
    """The text in a picture of a terminal, line by line."""
    rows = {}
    for piece in xml.fromstring(picture).iter("{http://www.w3.org/2000/svg}text"):
        column = round((float(piece.get("x")) - session.MARGIN) / session.WIDTH)
        row = rows.get(float(piece.get("y")), "")
        assert len(row) <= column
        rows[float(piece.get("y"))] = row.ljust(column) + piece.text
    return [row for _, row in sorted(rows.items())]


def test_the_picture_is_what_these_commands_show(services):
    kept = (REPOSITORY / "docs" / "pictures" / "session.svg").read_text()
    commands = session.commands((REPOSITORY / "README.md").read_text())
    shown = session.record(commands, BIN)
    picture = session.draw(shown)
    assert picture == session.draw(shown)
    assert steady("\n".join(lines_of(picture))) == steady("\n".join(lines_of(kept)))
    for command in commands:
        assert f"$ {command}" in lines_of(kept)
    # It shows no other home, and refers to no external resource.
    assert set(re.findall(r"/(?:home|tmp|root|var)/[\w-]*", kept)) == {"/home/ada"}
    assert not re.search(r"(?:href|src)=|url\(|@import", kept)


def test_the_picture_keeps_every_piece_in_its_cells():
    picture = xml.fromstring((REPOSITORY / "docs" / "pictures" / "session.svg").read_text())
    width = float(picture.get("width"))
    pieces = list(picture.iter("{http://www.w3.org/2000/svg}text"))
    assert len(pieces) > 20
    for piece in pieces:
        assert float(piece.get("textLength")) == pytest.approx(len(piece.text) * session.WIDTH)
        assert float(piece.get("x")) + float(piece.get("textLength")) < width


def test_the_screen_shows_what_a_terminal_would():
    screen = Screen(6)
    screen.write("abcdefgh\r\nwork 5%\r\x1b[Kdone\r\n\x1b[1;32mok\x1b[0m no\r\nlast\x1b[A\rX")
    assert screen.text == "abcdef\ngh\nwork 5\ndone\nXk no\nlast"
    assert screen.lines[4][1] == ("k", (1, 32)) and screen.lines[4][0] == ("X", ())
    with pytest.raises(ValueError):
        screen.write("\x1b[5;5H")

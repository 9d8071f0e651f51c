"""The manual: it is well-formed, agrees with --help, and every command in its examples works."""

import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
from conftest import BIN, PATIENCE, REPOSITORY, absent, require
from github_fixture import TOKEN, ControlError, GitHub
from keyring_fixture import open_session
from tbkref import age, crypto, frames, gz, header, mbu, tars
from tbkref import manifest as mf

PAGES = sorted((REPOSITORY / "man").glob("*.[157]"))
COMMANDS = [page for page in PAGES if page.suffix == ".1"]
SECTIONS = ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "PATTERNS", "ENVIRONMENT", "FILES", "EXIT STATUS",
            "EXAMPLES", "SEE ALSO", "CAVEATS"]
STATUSES = {0, 1, 3, 64, 65, 66, 69, 70, 73, 74, 75, 77, 78, 130, 143}
# Ids of backups in the examples, older first; they are replaced by those in the sandbox.
EXAMPLE_IDS = ("1f3c9a7e5b20", "9d24c6e81a07")
EXAMPLE_GROUP = "5b0f6de1a2c94d7788e3a1f0c46d92b7"
OPTION = re.compile(r"(?<![\w-])--?[A-Za-z0-9][\w-]*")
# Pages whose examples write to the keyring.
KEYRING_PAGES = ("termbackup-init.1", "termbackup-update-token.1")
HAS_KEYRING = all(map(shutil.which, ("dbus-run-session", "dbus-send", "gnome-keyring-daemon", "secret-tool")))
# Pages whose examples use rclone.
RCLONE_PAGES = ("tbk-store-rclone.1",)
# Verbs for which exit status 1 is a negative result.
ANSWERS = re.compile(r"\b(diff|check|verify|doctor)\b")

assert PAGES


def named(pages):
    return pytest.mark.parametrize("page", pages, ids=[page.name for page in pages])


def plain(text):
    """mdoc source as plain text, as far as commands and options need it."""
    return re.sub(r"\\(?:\((dq|aq)|(.))", lambda m: {"dq": '"', "aq": "'"}.get(m[1]) or
                  {"e": "\\", "-": "-", "&": ""}[m[2]], text)


# Form


@named(PAGES)
def test_mandoc_has_no_complaint(page):
    require("mandoc")
    done = subprocess.run(["mandoc", "-Tlint", "-Wwarning", page], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@named(PAGES)
def test_a_page_begins_as_whatis_wants_it(page):
    found = re.search(r"^\.Dt (\S+) (\d)\n\.Os .*\n\.Sh NAME\n\.Nm (\S+)\n\.Nd (.*)\n\.Sh ", page.read_text(), re.MULTILINE)
    assert found, "no NAME"
    title, section, name, description = found.groups()
    assert (name, "." + section) == (page.stem, page.suffix)
    assert title == name.upper()
    assert 10 <= len(description) <= 70 and not description.endswith(".")
    assert description[0].islower() or description.startswith("TermBackup")


@named(PAGES)
def test_whatis_finds_a_page(page, tmp_path):
    require("makewhatis", "mwhatis")
    folder = tmp_path / f"man{page.suffix[1:]}"
    folder.mkdir()
    shutil.copy(page, folder)
    subprocess.run(["makewhatis", tmp_path], check=True, capture_output=True)
    shown = subprocess.run(["mwhatis", "-M", tmp_path, page.stem], check=True, capture_output=True, text=True).stdout
    assert re.match(rf"{page.stem}\({page.suffix[1:]}\) +- ", shown)


@named(PAGES)
def test_sections_come_in_their_order(page):
    found = re.findall(r"^\.Sh (.*)$", page.read_text(), re.MULTILINE)
    assert len(set(found)) == len(found)
    if page.suffix != ".7":
        assert found == [section for section in SECTIONS if section in found]
    wanted = {"NAME", "DESCRIPTION", "EXAMPLES", "SEE ALSO"}
    if page.suffix == ".1":
        wanted |= {"SYNOPSIS", "EXIT STATUS"}
    assert wanted <= set(found)


@named(PAGES)
def test_references_to_our_own_pages_lead_somewhere(page):
    for name, section in re.findall(r"^\.Xr (\S+) (\d)", page.read_text(), re.MULTILINE):
        if name.startswith(("tbk", "termbackup")):
            assert (REPOSITORY / "man" / f"{name}.{section}").exists(), f"{name}({section})"


@named(COMMANDS)
def test_exit_statuses_are_those_of_the_suite(page):
    text = re.search(r"^\.Sh EXIT STATUS\n(.*?)^\.Sh ", page.read_text(), re.MULTILINE | re.DOTALL)[1]
    found = [int(number) for line in re.findall(r"^\.It (.*)$", text, re.MULTILINE) for number in re.findall(r"\d+", line)]
    assert found and found == sorted(set(found))
    assert set(found) <= STATUSES


def test_a_status_of_1_is_known_to_the_pages_of_all():
    """If a page lists status 1, termbackup(1) names the verb, and docs/JSON.md the call."""
    overview = re.search(r"^\.It 1\n(.*?)^\.It ", (REPOSITORY / "man" / "termbackup.1").read_text(), re.MULTILINE | re.DOTALL)[1]
    paragraph = re.search(r"^A status of 1 .*?\n\n", (REPOSITORY / "docs" / "JSON.md").read_text(), re.MULTILINE | re.DOTALL)[0]
    having = [page.stem for page in COMMANDS if re.search(r"^\.It 1$", page.read_text(), re.MULTILINE)]
    assert "termbackup-doctor" in having and "tbk-sign" in having
    for name in set(having) - {"termbackup"}:
        program, _, verb = name.partition("-")
        assert f"`{verb if program == 'termbackup' else name}" in paragraph, name
        assert program == "tbk" or re.search(rf" {verb}\b", overview), name


@named(COMMANDS)
def test_a_page_whose_options_name_a_secrets_file_has_the_status_of_its_absence(page):
    text = page.read_text()
    if page.stem == "termbackup-doctor" or not re.search(r"^\.It Fl .*\b(?:password|token)-file\b", text, re.MULTILINE):
        return
    found = re.search(r"^\.It 66\n(.*?)^\.It ", text, re.MULTILINE | re.DOTALL)
    assert found and "file" in found[1].lower()


def test_the_environment_in_the_overview_is_what_the_code_asks_for():
    code = "".join(path.read_text() for folder in ("Sources", "bin") for path in sorted((REPOSITORY / folder).rglob("*"))
                   if path.is_file())
    # Internal variables, which scripts pass to each other and to commands.
    asked = set(re.findall(r"\bTERMBACKUP_[A-Z_]*[A-Z]\b", code)) - {"TERMBACKUP_BUSY", "TERMBACKUP_STAGE", "TERMBACKUP_VERB"}
    for secret in [name for name in asked if name.endswith(("PASSWORD", "TOKEN", "URL"))]:
        asked |= {secret + "_FILE", secret + "_COMMAND"}
    text = re.search(r"^\.Sh ENVIRONMENT\n(.*?)^\.Sh ", (REPOSITORY / "man" / "termbackup.1").read_text(),
                     re.MULTILINE | re.DOTALL)[1]
    told = {name for line in re.findall(r"^\.It Ev (.*)$", text, re.MULTILINE) for name in line.split(" , ")}
    assert {name for name in told if name.startswith("TERMBACKUP_")} == asked
    assert {"GITHUB_TOKEN", "CURL_CA_BUNDLE", "VISUAL", "EDITOR", "NO_COLOR", "TMPDIR"} <= told


# The manual and --help


def options_of_page(page):
    found = set()
    for line in re.findall(r"^\.It (Fl .*)$", page.read_text(), re.MULTILINE):
        flags = False
        for word in plain(line).split():
            if word == "Fl":
                flags = True
            elif word in ("Ar", "Cm", "Ns", "Op", "Pa", "No"):
                flags = False
            elif flags and word not in (",", "|"):
                found.add("-" + word)
    return found


def options_of_help(text):
    """Options at the start of a line, up to the gap before their description."""
    found = set()
    for line in text.splitlines():
        match = re.match(r"\s{1,8}(-.*?)(?:\s{2,}|$)", line)
        if match:
            found |= set(OPTION.findall(match[1]))
    return found


def subcommands_of_help(text):
    if "SUBCOMMANDS:" not in text:
        return []
    names = re.findall(r"^  ([a-z][\w-]*)(?:, [\w-]+)?(?: \(default\))?(?:\s{2,}|$)", text.split("SUBCOMMANDS:")[1],
                       re.MULTILINE)
    return [name for name in names if name != "help"]


def help_of(command, *words):
    done = subprocess.run([*command, *words, "--help"], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          timeout=PATIENCE, env={**os.environ, "COLUMNS": "100"})
    assert done.returncode == 0, f"{command} {words}: {done.stderr}"
    assert not done.stderr
    texts = [done.stdout]
    for name in subcommands_of_help(done.stdout):
        texts += help_of(command, *words, name)
    return texts


def command_of(page):
    """The command to run: a tbk command, or a verb of termbackup."""
    program, _, verb = page.stem.partition("-")
    path = BIN / (page.stem if program == "tbk" else "termbackup")
    if not path.exists():
        absent(path.name)
    return [str(path)] + ([verb] if program == "termbackup" and verb else [])


@named(COMMANDS)
def test_manual_and_help_name_the_same_options(page):
    texts = help_of(command_of(page))
    in_help, anywhere = set(), set()
    for text in texts:
        in_help |= options_of_help(text)
        anywhere |= set(OPTION.findall(text))
    in_page = options_of_page(page)
    assert in_page - anywhere == set(), "in the manual alone"
    assert in_help - in_page == set(), "in --help alone"


# Examples


def examples(page):
    """The blocks of commands, in order. Pages of section 5 also show data: there, the ones that open an archive."""
    text = page.read_text()
    if page.suffix != ".7":
        text = re.search(r"^\.Sh EXAMPLES\n(.*?)(?=^\.Sh |\Z)", text, re.MULTILINE | re.DOTALL)[1]
    if page.suffix == ".5":
        text = text[text.index(".Ss Opening"):]
    blocks = re.findall(r"^\.Dl (.*)$|^\.Bd -literal.*\n((?:.*\n)*?)\.Ed$", text, re.MULTILINE)
    return [plain(one or several) for one, several in blocks]


class Sandbox:
    """A home directory in which all examples work: a project, a password, a store, a profile.

    GitHub is a stand-in with a repository me/store, and there is a keyring.
    """

    PREPARE = r"""
        set -eu
        mkdir -p project/src project/build project/.git notes photos sources stubs backups
        printf '# A project\n' >project/README.md
        printf 'int main(void) { return 0; }\n' >project/src/main.c
        printf 'object\n' >project/build/main.o
        printf 'keep\n' >project/build/keep
        printf 'build/\n' >project/.gitignore
        printf '[core]\n' >project/.git/config
        ln -s README.md project/link
        ln project/README.md project/hard
        printf 'buy milk\n' >notes/today
        printf 'sea\n' >photos/one
        printf '%s\n' 'a password for examples' >.password
        printf '%s\n' 'another password' >.new-password
        printf '%s\n' 'the password of a key' >.key-password
        printf '%s\n' "$TOKEN" >.token
        chmod 600 .password .new-password .key-password .token
        printf '#!/bin/sh\ntest "$*" = "auth token" && cat "$HOME/.token"\n' >stubs/gh
        printf '#!/bin/sh\necho "CREATE TABLE letters (id int);"\n' >stubs/pg_dump
        cat >stubs/crontab <<'END'
#!/bin/sh
case ${1-} in
-l) cat "$HOME/.crontab" 2>/dev/null || { echo 'no crontab for ada' >&2; exit 1; } ;;
-r) rm "$HOME/.crontab" ;;
-) cat >"$HOME/.crontab" ;;
esac
END
        chmod +x stubs/pg_dump stubs/gh stubs/crontab
        tbk-manifest project >old.json
        tbk-manifest project >new.json
        tbk-seal --receipt receipt --manifest-out sealed project >base.tbk
        tbk-push -q ./backups --receipt receipt --sealed-manifest sealed <base.tbk >/dev/null
        tbk-open --manifest base.tbk >base.json
        printf 'int more;\n' >project/src/more.c
        tbk-manifest --mode incremental --previous base.json project |
            tbk-seal --receipt receipt --manifest-out sealed >changes.tbk
        tbk-push -q ./backups --receipt receipt --sealed-manifest sealed <changes.tbk >/dev/null
        tbk-seal -q project >project.tbk
        tbk-sign keygen --private laptop.pem --public laptop.pub --password-file .key-password >/dev/null
        rm receipt sealed
        tbk-pull --list ./backups | cut -f 1 >ids.tbk
    """
    # The verbs, if they are installed.
    PREPARE_PROFILE = r"""
        set -eu
        termbackup init -q --no-input
        termbackup profile create project -q --source "$HOME/project" --mode incremental
        termbackup run -q project
        printf 'int most;\n' >project/src/most.c
        termbackup run -q project
        tbk-pull --list "$TERMBACKUP_HOME/store" | cut -f 1 >ids.termbackup
    """

    def __init__(self, folder, github, session):
        self.github = github
        self.home = folder / "home"
        self.template = folder / "template"
        self.environment = {
            "HOME": str(self.home), "TERMBACKUP_HOME": str(self.home / ".termbackup"),
            "TERMBACKUP_PASSWORD_FILE": str(self.home / ".password"),
            "TERMBACKUP_TOKEN_FILE": str(self.home / ".token"), "TOKEN": TOKEN, "TERMBACKUP_GITHUB_API": github.api,
            "PASSWORD": "a password for examples",
            "PATH": f"{BIN}:{self.home / 'stubs'}:{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
            "TMPDIR": str(folder), "LC_ALL": "C.UTF-8", "USER": "ada", **session,
        }
        self.home.mkdir()
        self.ready = self.run(self.PREPARE)
        self.make_mbu_package()
        self.make_age_file()
        self.seal_for_stock_tools()
        self.profile = SimpleNamespace(returncode=None, stderr="")
        if (BIN / "termbackup").exists():
            self.profile = self.run(self.PREPARE_PROFILE)
        self.home.rename(self.template)

    def make_mbu_package(self):
        salt = bytes(range(16))
        packaging = self.home / "mbu" / "packaging"
        packaging.mkdir(parents=True)
        (packaging.parent / "config.toml").write_bytes(mbu.settings(salt, 3000))
        (packaging / "notes").write_bytes(
            mbu.seal(gz.compress(mbu.tar(self.home / "notes")), b"a password for examples", salt, 3000))

    def make_age_file(self):
        identity, file_key = age.Identity(bytes(range(32))), bytes(range(16))
        (self.home / "laptop.key").write_text(identity.text + "\n")
        header = age.header(file_key, [identity.wrap(file_key, bytes(range(1, 33)))])
        (self.home / "letter.age").write_bytes(header + age.payload(file_key, b"Dear Ada\n", bytes(16)))
        letters = self.home / "to age"
        letters.mkdir()
        (letters / "letter").write_text("Dear Ada\n")
        payload, _ = frames.of(mf.build(letters), tars.content_of(letters))
        shutil.rmtree(letters)
        (self.home / "letters.age").write_bytes(header + age.payload(file_key, payload, bytes(16)))

    def seal_for_stock_tools(self):
        recipient = age.Identity(bytes(range(32))).recipient
        done = self.run(f"tbk-seal -q --suite 3 project >project3.tbk && tbk-seal -q -r {recipient} project >project.age")
        assert done.returncode == 0, done.stderr

    def run(self, script):
        return subprocess.run(["sh", "-c", script], cwd=self.home, env=self.environment, capture_output=True, text=True,
                              errors="replace", stdin=subprocess.DEVNULL, timeout=PATIENCE, start_new_session=True)

    def enter(self, page):
        """Restores everything to its prepared state. Returns the ids that replace those in the examples."""
        wrapper = page.stem.startswith("termbackup")
        assert self.ready.returncode == 0, f"preparing: {self.ready.stderr}"
        if wrapper:
            if self.profile.returncode is None:
                absent("termbackup")
            assert self.profile.returncode == 0, f"preparing: {self.profile.stderr}"
        # Except for ctimes, a command sees the same files as before.
        subprocess.run(["chmod", "-R", "u+rwX", self.home], capture_output=True)
        shutil.rmtree(self.home, ignore_errors=True)
        subprocess.run(["cp", "-a", self.template, self.home], check=True)
        for name in ("me/store", "me/backups"):
            try:
                self.github.delete_repository(name)
            except ControlError:
                pass
        self.github.make_repository("me/store")
        ids = (self.home / ("ids.termbackup" if wrapper else "ids.tbk")).read_text().split()
        assert len(ids) == 2
        shown = dict(zip(EXAMPLE_IDS, ids))
        if page.stem == "termbackup-profile":
            # A machine that has lost the profile of a group.
            (self.home / ".termbackup" / "profiles" / "project.json").unlink()
            shown[EXAMPLE_GROUP], = json.loads((self.home / ".termbackup" / "store" / "metadata.json").read_text())["groups"]
        return shown


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    for name in ("tbk-manifest", "tbk-seal", "tbk-open", "tbk-sign", "tbk-push", "tbk-pull"):
        if not (BIN / name).exists():
            absent(name)
    require("git")
    with GitHub(tmp_path_factory.mktemp("github")) as github, contextlib.ExitStack() as more:
        github.token(TOKEN, login="me")
        session = more.enter_context(open_session()).address if HAS_KEYRING else {}
        yield Sandbox(tmp_path_factory.mktemp("examples"), github, session)


def check(sandbox, ids, block):
    for shown, real in ids.items():
        block = block.replace(shown, real[:12])
    done = sandbox.run(block)
    right = {0, 1} if ANSWERS.search(block) else {0}
    said = f"{block}\nstatus {done.returncode}\n{done.stdout}{done.stderr}"
    assert done.returncode in right, said
    assert "error:" not in done.stderr, said


@named(PAGES)
def test_every_example_works(page, sandbox):
    blocks = examples(page)
    assert blocks
    if page.name in KEYRING_PAGES and not HAS_KEYRING:
        absent("a keyring")
    if page.name in RCLONE_PAGES:
        require("rclone")
    if page.name == "tbk.5":
        require("age", "zstd")
    ids = sandbox.enter(page)
    for block in blocks:
        check(sandbox, ids, block)


# The worked example of tbk(5)


def block_after(words, text):
    return re.search(r"\.Bd -literal.*\n((?:.*\n)*?)\.Ed\n", text[text.index(words):])[1].splitlines()


@pytest.fixture(scope="module")
def worked():
    text = (REPOSITORY / "man" / "tbk.5").read_text()
    rows = []
    for line in block_after(".Ss An archive, byte by byte", text):
        offset, data, what = re.fullmatch(r"([0-9a-f]{4})  ((?:[0-9a-f]{2} ?)+)(?: {2,}(.*))?", line.ljust(60)).groups()
        rows.append((int(offset, 16), bytes.fromhex(data), (what or "").strip()))
    return SimpleNamespace(
        text=text, rows=rows, archive=b"".join(data for _, data, _ in rows),
        password=re.search(r"The password is\n\.Ql (.*) \.", text)[1].encode(),
        key=bytes.fromhex("".join(block_after("is the\nkey:", text))),
        tar=block_after("uncompressed they are a tar", text),
        manifest="".join(plain(line) for line in block_after("without the line breaks:", text)).encode())


def test_worked_example_names_every_field_at_its_offset(worked):
    at = 0
    for offset, data, _ in worked.rows:
        assert offset == at
        at += len(data)
    parsed, payload = header.parse(worked.archive)
    parsed.check()
    starts = {offset for offset, _, what in worked.rows if what}
    fields = [(name, offset) for name, offset, _ in parsed.fields()] + [("ciphertext", payload)]
    assert starts == {offset for _, offset in fields} | {len(worked.archive) - 16}
    said = {offset: what for offset, _, what in worked.rows if what}
    for name, offset in fields:
        assert said[offset].lower().startswith(
            {"kdf": "kdf", "suite": "cipher suite"}.get(name, name.replace("_", " "))), name
    numbers = {int(number) for what in said.values() for number in re.findall(r"(?<![\w-])\d+(?![\w-])", what)}
    assert {parsed.memory, parsed.time, parsed.lanes, len(parsed.salt), len(parsed.nonce),
            parsed.payload_length, parsed.payload_length - 16} <= numbers


def test_worked_example_is_what_it_says(worked):
    parsed, at = header.parse(worked.archive)
    assert crypto.argon2id(worked.password, parsed.salt, parsed.memory, parsed.time, parsed.lanes) == worked.key
    _, packed = crypto.open_archive(worked.archive, worked.password)
    tar = gz.decompress(packed)
    assert f"{len(packed)} bytes that begin with\n.Ql 1f 8b 08" in worked.text and packed[:3] == b"\x1f\x8b\x08"
    assert f"a tar of {len(tar)} bytes" in worked.text
    assert parsed.pack() + crypto.gcm_encrypt(worked.key, parsed.nonce, packed) == worked.archive
    manifest = json.loads(worked.manifest)
    assert mf.canonical(manifest) == worked.manifest
    assert mf.backup_id(manifest) == manifest["backup_id"]
    members = {member.name: member for member in tars.read(tar)}
    assert list(members) == [b"hello", b"manifest.json"]
    assert members[b"manifest.json"].data == worked.manifest
    assert manifest["files"][0]["sha256"] == hashlib.sha256(members[b"hello"].data).hexdigest()
    for line in worked.tar:
        offset, what = line.split("  ", 1)
        offset = int(offset, 16)
        if found := re.match(r'header of "(.*)": mode (\d+), size (\d+)', what):
            assert tar[offset:].startswith(found[1].encode() + b"\0")
            assert tar[offset + 100:offset + 107] == found[2].encode()
            assert int(tar[offset + 124:offset + 135], 8) == int(found[3])
        elif what.startswith("two blocks"):
            assert offset == len(tar) - 1024 and not any(tar[offset:])
        elif what.startswith('"hi"'):
            assert tar[offset:offset + 512] == b"hi\n".ljust(512, b"\0")
        else:
            assert tar[offset:offset + len(worked.manifest)] == worked.manifest


def test_worked_example_opens_here(worked, tbk):
    assert tbk.open(worked.archive, "--cat", "hello", password=worked.password).out == b"hi\n"
    assert json.loads(tbk.open(worked.archive, "--manifest", password=worked.password).out) == json.loads(worked.manifest)
    assert tbk.run("tbk-open", "--header", input=worked.archive, password=None).status == 0


@pytest.fixture(scope="module")
def worked3(worked):
    """The rows of the archive in suite 3 and of its payload, and the numbers between the blocks."""
    text = worked.text[worked.text.index(".Ss Another, in suite 3"):worked.text.index(".Ss Opening an archive without")]

    def rows(words):
        found = []
        for line in block_after(words, text):
            offset, data, what = re.fullmatch(r"([0-9a-f]{4})  ((?:[0-9a-f]{2} ?)+)(?: {2,}(.*))?", line.ljust(60)).groups()
            found.append((int(offset, 16), bytes.fromhex(data), (what or "").strip()))
        return found
    archive = rows("same password and salt:")
    return SimpleNamespace(
        rows=archive, archive=b"".join(data for _, data, _ in archive), table=rows("the seek table:"), text=text,
        chunk_key=bytes.fromhex("".join(block_after("the key of the chunks,", text))),
        nonce=bytes.fromhex("".join(block_after("the nonce, which", text))))


def test_worked_example_of_suite_3_is_what_it_says(worked, worked3, tbk):
    archive, at = worked3.archive, 0
    for offset, data, _ in worked3.rows:
        assert offset == at
        at += len(data)
    starts = {what: offset for offset, _, what in worked3.rows if what}
    header = archive[:starts["salt of the message"]]
    parsed = frames.header3(salt=bytes(range(0x10, 0x20)))
    assert parsed.pack() == header
    assert crypto.argon2id(worked.password, parsed.salt, parsed.memory, parsed.time, parsed.lanes) == worked.key
    chunk, = (offset for what, offset in starts.items() if what.startswith("chunk 0"))
    tag = starts["tag of chunk 0"]
    assert chunk == len(header) + 56 and archive[-16:] == (tag + 16 - len(header)).to_bytes(8, "big") + b"TBK2 end"
    payload = frames.open3(archive, worked.password)
    assert crypto.gcm_encrypt(worked3.chunk_key, worked3.nonce, payload) == archive[chunk:tag + 16]
    assert f"a payload of {len(payload)} bytes" in worked3.text and tag - chunk == len(payload)
    said = b"".join(data for _, data, _ in worked3.table)
    assert worked3.table[0][0] == len(payload) - len(said) and payload.endswith(said)
    place, length = (int(what.rpartition(" ")[2]) for _, _, what in worked3.table if what.startswith(("place", "length of the m")))
    assert frames.locator(place, length) in said
    pairs = [tuple(int(number) for number in re.findall(r"\d+", what)[:2]) for _, _, what in worked3.table if " and " in what]
    assert frames.seek_table(pairs) == said[28:] and f"a frame of {pairs[0][0]} bytes" in worked3.text
    tar = tbk.open(archive, password=worked.password).out
    assert f"a tar of {len(tar)} bytes" in worked3.text and tar[place:].startswith(b"manifest.json\0")
    manifest = json.loads(tbk.open(archive, "--manifest", password=worked.password).out)
    assert len(mf.encode(manifest)) == length and manifest["files"][0]["offset"] == 512
    assert tbk.open(archive, "--cat", "hello", password=worked.password).out == b"hi\n"


# Opening without TermBackup

# Runs a program, and prints how much memory it used.
MEASURED = """import runpy, sys
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0])
sys.stderr.write(open("/proc/self/status").read())
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """The program printed in tbk(5): its exit status, its output, and its memory in KiB."""
    text = "".join(examples(REPOSITORY / "man" / "tbk.5"))
    path = tmp_path_factory.mktemp("recipe") / "open.py"
    path.write_text(re.search(r"^cat >open\.py <<'END'\n(.*?)^END$", text, re.MULTILINE | re.DOTALL)[1])

    def run(archive, password):
        done = subprocess.run([sys.executable, "-c", MEASURED, path, archive], capture_output=True, timeout=PATIENCE,
                              env={**os.environ, "PASSWORD": password.decode()}, stdin=subprocess.DEVNULL)
        memory = re.search(rb"^VmHWM:\s+(\d+) kB", done.stderr, re.MULTILINE)
        return done.returncode, done.stdout, memory and int(memory[1])
    return run


def test_recipe_gives_nothing_of_what_is_not_authentic(worked, recipe, tmp_path):
    archive = tmp_path / "archive"
    archive.write_bytes(worked.archive)
    tar = gz.decompress(crypto.open_archive(worked.archive, worked.password)[1])
    assert recipe(archive, worked.password)[:2] == (0, tar)
    assert recipe(archive, b"another")[:2] == (1, b"")
    for what, data in (("altered", worked.archive[:-1] + bytes([worked.archive[-1] ^ 1])),
                       ("truncated", worked.archive[:-1]), ("longer", worked.archive + b"\0")):
        archive.write_bytes(data)
        assert recipe(archive, worked.password)[:2] == (1, b""), what


def test_recipe_takes_several_gzip_members_and_holds_none_of_them_whole(recipe, tmp_path):
    small, large = tmp_path / "small", tmp_path / "large"
    noise = os.urandom(32 << 20)
    for path, parts in ((small, [b"a", b"", b"b"]), (large, [noise, b"", b"end"])):
        payload = b"".join(gz.member(part, level=0) for part in parts)
        path.write_bytes(crypto.seal_tbk2(payload, b"password", memory=64, time=1, lanes=1))
        assert recipe(path, b"password")[:2] == (0, b"".join(parts))
    assert recipe(large, b"password")[2] < recipe(small, b"password")[2] + (8 << 10)


def test_recipe_for_suite_3_gives_the_payload_of_what_is_authentic(tmp_path):
    text = "".join(examples(REPOSITORY / "man" / "tbk.5"))
    program = tmp_path / "open3.py"
    program.write_text(re.search(r"^cat >open3\.py <<'END'\n(.*?)^END$", text, re.MULTILINE | re.DOTALL)[1])

    def run(archive, password=b"password"):
        path = tmp_path / "archive"
        path.write_bytes(archive)
        done = subprocess.run([sys.executable, program, path], capture_output=True, timeout=PATIENCE, stdin=subprocess.DEVNULL,
                              env={**os.environ, "PASSWORD": password.decode()})
        return done.returncode, done.stdout
    for size in (0, 1, 16383, 16384, 16385, 100_000):
        payload = os.urandom(size)
        archive = frames.seal3(payload, b"password")
        assert run(archive) == (0, payload)
        assert run(archive, b"another") == (1, b"")
        for wrong in (archive[:-17] + archive[-16:], archive[:-17] + bytes([archive[-17] ^ 1]) + archive[-16:]):
            # All chunks except the last one, which may be empty.
            assert run(wrong) == (1, payload[:size - size % 16384])


def test_incremental_archives_open_with_the_recipe_as_with_tbk_open(sandbox):
    """The examples of tbk(5) leave the tree in 'again', and name the archive that the increment needs."""
    sandbox.enter(REPOSITORY / "man" / "tbk.5")
    blocks = examples(REPOSITORY / "man" / "tbk.5")
    said = [sandbox.run(block) for block in blocks]
    assert all(done.returncode == 0 for done in said), said
    base = json.loads((sandbox.home / "base.json").read_text())["backup_id"]
    assert base + "\n" in [done.stdout for done in said]
    (sandbox.home / "again" / "manifest.json").unlink()
    done = sandbox.run("tbk-open -C opened base.tbk changes.tbk && touch -r opened again && "
                       "tbk-open --manifest base.tbk changes.tbk | "
                       "tbk-manifest check - again && diff -r --no-dereference again opened")
    assert done.returncode == 0, done.stdout + done.stderr

"""The --json output of every command, checked against docs/schema."""

import json
import os
import pathlib
import re
import shutil
import signal

import jsonschema
import pytest
import referencing
from conftest import BIN, PASSWORD, PATIENCE, REPOSITORY, VERBS, put, require
from github_fixture import NUMBERS, TOKEN, github_server  # noqa: F401
from keyring_fixture import session  # noqa: F401
from package_fixture import Mbu
from shell_fixture import Shell
from tbkref import crypto
from test_rotate_key import wrapped
from test_unattended import Loop
from webhook_fixture import running

SCHEMAS = REPOSITORY / "docs" / "schema"
COMMANDS = json.loads((SCHEMAS / "commands.json").read_text())["commands"]
PROGRAMS = ["tbk-manifest", "tbk-seal", "tbk-open", "tbk-sign", "tbk-audit", "tbk-config", "tbk-watch", "tbk-push", "tbk-pull",
            "tbk-store", "tbk-prune", "tbk-token", "tbk-notify"]
KEYS = {"TERMBACKUP_KEY_PASSWORD": "the key's own"}


def strict(schema):
    """The schema without its allowance for unknown members: a new member must be described."""
    if isinstance(schema, dict):
        return {key: False if key == "additionalProperties" and value is True else strict(value) for key, value in schema.items()}
    return [strict(value) for value in schema] if isinstance(schema, list) else schema


def load(name):
    return strict(json.loads((SCHEMAS / name).read_text()))


REGISTRY = referencing.Registry().with_resources(
    (path.name, referencing.Resource.from_contents(load(path.name), default_specification=referencing.jsonschema.DRAFT202012))
    for path in SCHEMAS.glob("*.json"))


def check(value, *names):
    """Checks a value against these schemas; one of them must accept it. Returns its name."""
    complaints = []
    for name in names:
        validator = jsonschema.Draft202012Validator(load(f"{name}.json"), registry=REGISTRY)
        found = [f"{name}: {'/'.join(map(str, error.absolute_path))}: {error.message}" for error in validator.iter_errors(value)]
        if not found:
            return name
        complaints += found
    pytest.fail(f"{value}\n" + "\n".join(complaints), pytrace=False)


def answers(out, command):
    """The objects on standard output, each checked against the command's schemas."""
    text = out.decode()
    assert text == "" or text.endswith("\n")
    said = [json.loads(line) for line in text.splitlines()]
    assert COMMANDS[command]["lines"] or len(said) == 1, (command, text)
    for value in said:
        check(value, *COMMANDS[command]["objects"])
    return said


def failure(done, status):
    """The only error on standard error."""
    lines = [line for line in done.err.decode().splitlines() if line.startswith("{")]
    assert len(lines) == 1, done.err
    error = json.loads(lines[0])
    check(error, "error")
    assert error["error"]["status"] == status
    return error["error"]


class Machine:
    """Verbs and commands with --json."""

    def __init__(self, shell):
        self.shell = shell
        self.tbk = shell.tbk
        self.home = shell.home

    def __call__(self, command, *arguments, status=0, env=None, **options):
        """Runs a command, named as in commands.json, with arguments; returns the objects that it prints."""
        words = command.split()
        if words[0].startswith("tbk-"):
            done = self.tbk.run(words[0], *words[1:], *map(str, arguments), "--json", status=status, env=env, **options)
            return answers(done.out, command)
        done = self.shell.run(words[0], *words[1:], *arguments, "--json", status=status, env=env, **options)
        assert b'{"error"' not in done.stderr, done.stderr
        return answers(done.stdout, command)

    def one(self, *arguments, **options):
        value, = self(*arguments, **options)
        return value


@pytest.fixture
def machine(tbk, tmp_path):
    require("dash")
    for name in ("tbk-config", "tbk-seal", "tbk-push"):
        tbk.path(name)
    return Machine(Shell(tbk, tmp_path, ["dash"]))


@pytest.fixture
def docs(machine, small):
    machine.shell.profile("docs", small, "--mode", "incremental")
    return machine


# The schemas


def test_the_schemas_are_schemas():
    for path in SCHEMAS.glob("*.json"):
        if path.name == "commands.json":
            continue
        schema = json.loads(path.read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["type"] == "object" and schema["description"], path
        assert isinstance(schema["additionalProperties"], bool)
        for name, member in schema["properties"].items():
            assert member["description"].endswith("."), (path, name)
            for other in re.findall(r'"\$ref": "([^"]*)"', json.dumps(member)):
                assert (SCHEMAS / other).exists(), other


def test_a_member_that_is_not_described_is_noticed(docs):
    made = docs.one("run", "docs")
    with pytest.raises(pytest.fail.Exception):
        check({**made, "more": 1}, "run")
    with pytest.raises(pytest.fail.Exception):
        check({key: value for key, value in made.items() if key != "size"}, "run")


def test_every_schema_is_printed_by_some_command():
    used = {name for command in COMMANDS.values() for name in command["objects"]} | {"error", "receipt"}
    referred = {other for path in SCHEMAS.glob("*.json") for other in re.findall(r'"\$ref": "([^"]*)\.json"', path.read_text())}
    assert {path.stem for path in SCHEMAS.glob("*.json")} - {"commands"} == used | referred


def test_the_page_has_the_table_of_the_commands():
    rows = re.findall(r"^\| `((?:termbackup|tbk-)[^`]*)` \| (.*) \|$", (REPOSITORY / "docs" / "JSON.md").read_text(), re.MULTILINE)
    shown = {name.removeprefix("termbackup "): (re.findall(r"\(schema/([a-z-]*)\.json\)", links), "one per line" in links)
             for name, links in rows}
    assert shown == {name: (command["objects"], command["lines"]) for name, command in COMMANDS.items()}


# cat prints a file as it is, and has no --json.
@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"cat"}))
def test_each_verb_has_a_schema_and_the_option(machine, verb):
    known = [name for name in COMMANDS if name.split()[0] == verb]
    assert known
    # The subcommands of `profile` have the option, not `profile` itself.
    for words in {tuple(word for word in name.split() if not word.startswith("-")) for name in known}:
        usage = machine.shell.run(*words, "--help").stdout.decode()
        assert re.search(r"^  --json  ", usage, re.MULTILINE), words
    assert ".It Fl -json" in (REPOSITORY / "man" / f"termbackup-{verb}.1").read_text()


def test_each_command_that_has_the_option_has_a_schema(tbk):
    for program in PROGRAMS:
        pending = [[]]
        while pending:
            words = pending.pop()
            usage = tbk.run(program, *words, "--help").out.decode()
            name = " ".join([program, *words])
            if "--json " in usage.partition("OPTIONS:")[2]:
                assert [known for known in COMMANDS if known == name or known.startswith(name + " ")], name
            for line in usage.partition("SUBCOMMANDS:")[2].splitlines():
                if match := re.match(r"  ([a-z][a-z-]*)", line):
                    pending.append([*words, match[1]])


# Errors


@pytest.mark.parametrize("verb", VERBS)
def test_an_error_is_one_object(machine, verb, tmp_path):
    machine.shell.run("init")

    def fails(*arguments, status):
        done = machine.shell.run(verb, *arguments, "--json", status=status)
        assert done.stdout == b""
        done.err = done.stderr
        return failure(done, status)
    assert fails("--no-such-option", status=64)["type"] == "UsageError"
    missing = {
        "consolidate": ["none", "latest"], "daemon": ["none"], "list": ["none"], "prune": ["none"], "rotate-key": ["none"],
        "run": ["none"], "schedule-enable": ["none"], "schedule-run": ["none", "--check"], "watch": ["none"],
        "restore": ["latest", "-p", "none"], "verify": ["latest", "-p", "none"], "diff": ["latest", "latest", "-p", "none"],
        "token-info": ["-p", "none"], "profile": ["show", "none"], "migrate": ["--archives", "none"],
    }.get(verb)
    if missing is not None:
        assert fails(*missing, status=78)["message"] == "there is no profile 'none'"
    elsewhere = {"init": (["--repo", tmp_path / "none"], 66), "package": ([tmp_path / "none"], 66),
                 "unpack": ([tmp_path / "none.tbk"], 66), "import-mbu": ([tmp_path / "none"], 66)}.get(verb)
    if elsewhere is not None:
        fails(*elsewhere[0], status=elsewhere[1])
    if verb == "profile":
        for name in ("one", "two"):
            put(machine.home / "profiles" / f"{name}.json", b"[]")
        for arguments in (["list"], ["validate"]):
            message = fails(*arguments, status=78)["message"]
            assert "one.json" in message and "two.json" in message


def test_a_variable_makes_all_errors_json(docs, tmp_path):
    """Also those of the commands that a verb runs, and without --json."""
    env = {"TERMBACKUP_ERRORS": "json"}

    def fails(*command, status, given=env, **options):
        done = docs.shell.run(*command, status=status, env=given, **options)
        done.err = done.stderr
        return failure(done, status)
    docs.one("run", "docs")
    assert fails("run", "docs", "docs", status=64)["type"] == "UsageError"
    assert fails("run", "docs", status=77, password=b"wrong")["type"] == "CryptoError"
    fails("init", "--repo", tmp_path / "none", status=66)
    put(docs.home / "profiles" / "bad.json", b"{")
    for command in (["status"], ["list", "bad"], ["profile", "list"]):
        fails(*command, status=78)
        fails(*command, "--json", status=78, given={})
    os.rename(docs.home / "store", docs.home / "gone")
    assert fails("list", "docs", status=69)["type"] == "StoreError"
    shutil.rmtree(docs.home / "state")
    put(docs.home / "state")
    fails("schedule-run", "docs", "--json", status=73, given={})


def test_lists_need_no_room_in_a_command_line(machine, tmp_path):
    put(tmp_path / "list", json.dumps(["x" * 64] * 10_000).encode())
    made = machine.shell.tbk.run("tbk-sh", "object", f"ids:=@{tmp_path / 'list'}")
    assert len(json.loads(made.out)["ids"]) == 10_000


def test_an_error_of_a_stage_is_passed_on_once(docs):
    docs.one("run", "docs")
    for command in (["run", "docs"], ["verify", "latest", "-p", "docs"], ["restore", "latest", "-p", "docs", "--to", "/nowhere"]):
        done = docs.shell.run(*command, "--json", password=b"wrong", status=77)
        done.err = done.stderr
        assert done.stdout == b"" and failure(done, 77)["type"] == "CryptoError"
    os.rename(docs.home / "store", docs.home / "gone")
    for command in (["run", "docs"], ["list", "docs"], ["prune", "docs", "--keep-last", "1"], ["schedule-run", "docs"]):
        done = docs.shell.run(*command, "--json", status=69)
        done.err = done.stderr
        assert done.stdout == b"" and failure(done, 69)["type"] == "StoreError"
    assert docs.one("status")["profiles"][0]["error"]["status"] == 69
    assert docs.one("doctor", status=1)["ok"] is False


def test_a_preview_of_what_is_not_complete_says_so(docs, tmp_path):
    docs.one("run", "docs")
    docs.shell.lib = wrapped(
        tmp_path, f"""case " $* " in
            *" --dry-run "*) shift; TERMBACKUP_STAGE= '{BIN}/tbk-open' "$@"; exit 3 ;;
            esac""", ["tbk-open"])
    for more in ([], ["--json"]):
        docs.shell.run("restore", "latest", "-p", "docs", "--to", tmp_path / "out", "--dry-run", *more, status=3)


# Verbs


def test_settings(machine, small, tmp_path):
    made = machine.one("init")
    assert made["home"] == str(machine.home) and made["made"] and machine.one("init")["made"] == []
    created = machine.one("profile create", "docs", "--source", small, "--exclude", "x")
    assert machine.one("profile show", "docs") == created == machine("profile list")[0]
    assert machine.one("profile edit", "docs", "--max-backups", "3")["max_backups"] == 3
    assert machine.one("profile rename", "docs", "letters")["name"] == "letters"
    assert machine.one("profile rename", "letters", "docs")["name"] == "docs"
    assert machine.one("profile export", "docs", tmp_path / "docs.json")["file"] == str(tmp_path / "docs.json")
    assert machine.one("profile import", tmp_path / "docs.json", "--name", "copy")["name"] == "copy"
    assert machine.one("profile validate")["profiles"] == ["copy", "docs"]
    assert machine.one("profile delete", "copy") == {"profile": "copy", "status": "deleted"}
    machine.one("tbk-config init")
    machine.one("tbk-config show")
    machine.one("tbk-config version")
    assert machine.one("tbk-config validate") == {"ok": True, "profiles": ["docs"]}
    done = machine.shell.run("profile", "export", "docs", "-", "--json", status=64)
    assert done.stdout == b""


def test_backups(docs, small, tmp_path):
    assert docs.one("run", "docs", "--dry-run")["entry_count"] == 6
    first = docs.one("run", "docs")
    assert (first["file_count"], first["entry_count"]) == (3, None)
    assert docs.one("run", "docs")["status"] == "unchanged"
    put(os.path.join(small, "more"), b"more\n")
    second = docs.one("run", "docs")
    listed = docs("list", "docs")
    assert [(entry["id"], entry["size"], entry["file_count"]) for entry in listed] == [
        (made["id"], made["size"], made["file_count"]) for made in (first, second)]
    assert docs("diff", first["id"], second["id"], "-p", "docs", status=1) == [{"status": "added", "relative_path": "more"}]
    assert docs("diff", "latest", "latest", "-p", "docs") == []
    assert len(docs("restore --dry-run", "latest", "-p", "docs", "--to", tmp_path / "out")) == 7
    assert docs.one("restore", "latest", "-p", "docs", "--to", tmp_path / "out")["id"] == second["id"]
    assert docs.one("verify", "--all", "-p", "docs")["ids"] == [first["id"], second["id"]]
    docs.one("consolidate", "docs", "latest", "--dry-run")
    docs.one("consolidate", "docs", "latest")
    assert [verdict["action"] for verdict in docs("prune", "docs", "--keep-last", "1", "--dry-run")] == ["remove", "keep"]
    docs("prune", "docs", "--keep-last", "1")
    docs.one("rotate-key --dry-run", "docs")
    docs.one("rotate-key", "docs", env={"TERMBACKUP_NEW_PASSWORD": "another"})
    docs.one("status")
    docs.one("doctor", password=b"another")
    entries = docs("audit-log")
    assert entries and docs.one("audit-log --verify")["line_count"] == len(entries)
    docs("tbk-audit show")
    docs.one("tbk-audit verify")
    archive = next((docs.home / "store" / "backups").iterdir())
    archive.write_bytes(archive.read_bytes()[:-1])
    found = docs.one("verify", "latest", "-p", "docs", status=1, password=b"another")
    assert found["failures"][0]["id"] == found["ids"][0]


def test_what_is_left_behind(docs):
    docs.one("run", "docs")
    put(docs.home / "tmp" / "run.999999999.0" / "x", b"x")
    path = put(docs.home / "store" / ".tbk-0123456789abcdef.tmp", b"x" * 1000)
    os.utime(path, (0, 0))
    assert docs.one("clean")["removed_count"] == 1
    assert docs("tbk-store clean", docs.home / "store", "--dry-run")[0]["size"] == 1000
    assert docs.one("clean", "--store")["leftovers"][0]["size"] == 1000


def test_packages(machine, small, tmp_path):
    machine.shell.run("init")
    (tmp_path / "packages").mkdir()
    machine.one("package --dry-run", small, "--to", tmp_path / "packages")
    made = machine.one("package", small, "--to", tmp_path / "packages")
    machine("unpack --dry-run", made["file"], "--to", tmp_path / "out")
    assert machine.one("unpack", made["file"], "--to", tmp_path / "out")["summary"]["id"] == made["receipt"]["id"]
    old = Mbu(tmp_path / "mbu")
    old.package(small)
    machine.one("tbk-config mbu", old.config)
    given = ["--reseal", "--packages", old.packaging]
    machine.shell.tbk.run("tbk-config", "set", "package_dir", str(tmp_path / "packages"))
    (tmp_path / "packages" / "small.tbk").unlink()
    assert machine.one("import-mbu", old.config, *given)["resealed_count"] == 1
    put(old.packaging / "broken", b"x" * 100)
    done = machine.shell.run("import-mbu", old.config, *given, "--json", status=77)
    assert answers(done.stdout, "import-mbu")[0]["failed_count"] == 1
    done.err = done.stderr
    failure(done, 77)


def test_signing(docs, tmp_path):
    made = docs.one("generate-key", "--enable", env=KEYS)
    docs.one("run", "docs", env=KEYS)
    assert docs.one("verify", "latest", "-p", "docs")["signed_count"] == 1
    assert docs.one("status")["profiles"][0]["summary"]["key"] == made["fingerprint"]
    docs.one("tbk-sign keygen", "--no-password", "--private", tmp_path / "k", "--public", tmp_path / "k.pub")
    docs.one("tbk-sign fingerprint", "--key", tmp_path / "k.pub")
    signature = docs.tbk.run("tbk-sign", "sign", "--any", "--key", tmp_path / "k", input=b"data").out
    put(tmp_path / "signature", signature)
    for data, status in ((b"data", 0), (b"other", 1)):
        docs.one("tbk-sign verify", "--key", tmp_path / "k.pub", tmp_path / "signature", input=data, status=status)


def test_timetables(docs, tmp_path):
    put(tmp_path / "tools" / "crontab", f'#!/bin/sh\ncase $1 in -l) cat "{tmp_path}/table" 2>/dev/null || '
        f'{{ echo "no crontab for ada" >&2; exit 1; }};; -r) rm "{tmp_path}/table";; *) cat "$1" >"{tmp_path}/table";; esac\n'.encode(), 0o755)
    docs.shell.environment["PATH"] = f"{tmp_path}/tools:{docs.shell.environment['PATH']}"
    given = tmp_path / "given"
    put(given, PASSWORD, 0o600)
    assert docs("schedule-status") == []
    enabled = docs.one("schedule-enable", "docs", "--password-file", given)
    docs.one("schedule-run --check", "docs")
    made = docs.one("schedule-run", "docs")
    assert made["id"] and made["id"] in pathlib.Path(enabled["log"]).read_text()
    listed, = docs("schedule-status")
    assert (listed["backend"], listed["last_status"]) == ("cron", 0)
    assert docs.one("schedule-disable", "docs")["status"] == "disabled"
    assert docs.one("schedule-disable", "docs")["status"] == "unchanged"


@pytest.mark.parametrize("verb, what", [("daemon", "docs"), ("watch", "docs"), ("watch", "package")])
def test_loops(docs, small, tmp_path, verb, what):
    (tmp_path / "packages").mkdir()
    docs.tbk.run("tbk-config", "set", "package_dir", str(tmp_path / "packages"))
    loop = Loop(docs.shell, verb, small if what == "package" else what, "--json")
    loop.until('"status"')
    loop.process.send_signal(signal.SIGTERM)
    loop.process.wait(PATIENCE)
    for reader in loop.readers:
        reader.join(PATIENCE)
    while not loop.lines.empty():
        loop.said.append(loop.lines.get() or "")
    said = [json.loads(line) for line in loop.said if line.startswith("{")]
    kinds = [check(value, *COMMANDS[verb]["objects"]) for value in said]
    assert kinds == ["package" if what == "package" else "run", "loop"] and said[-1]["run_count"] == 1


def test_archives_of_earlier_versions(docs):
    assert docs.one("migrate") == {"status": "unchanged"}
    docs.one("run", "docs")
    assert docs.one("migrate --archives", "docs")["migrated_count"] == 0
    assert docs.one("tbk-open --header", input=crypto.seal_tbk1(b"payload", PASSWORD))["format"] == "TBK1"


# GitHub


def test_tokens(machine, github_server, session, small):  # noqa: F811
    github_server.token(TOKEN, login="me")
    machine.shell.environment["TERMBACKUP_GITHUB_API"] = github_server.api
    environment = {**session.environment_of(machine.shell), "TERMBACKUP_TOKEN": TOKEN}
    name = f"me/json{next(NUMBERS)}"
    made = machine.one("init", "--repo", name, "--create-repo", env=environment)
    assert made["created_repository"] is True and made["token"]["user"] == "me"
    assert machine.one("token-info", "--repo", name, env=environment)["repository"] == name
    machine.one("tbk-token", "--repo", name, env={"TERMBACKUP_GITHUB_API": github_server.api, "TERMBACKUP_TOKEN": TOKEN})
    kept = machine.one("update-token", "--repo", name, env=environment)
    assert kept["status"] == "kept" and kept["source"] == "TERMBACKUP_TOKEN"
    machine.shell.run("profile", "create", "far", "--source", small)
    assert machine.one("run", "far", env=environment)["store"] == f"github:{name}"
    assert machine("list", "far", env=environment)[0]["commit_sha"] == ""
    assert machine.one("status", env=environment)["token"]["kind"] == "classic"
    for verb, arguments, status in (("token-info", ["--repo", "me/none"], 69), ("init", ["--repo", "me/none"], 69),
                                    ("update-token", ["--repo", "me/none"], 69)):
        done = machine.shell.run(verb, *arguments, "--json", status=status, env=environment)
        done.err = done.stderr
        assert done.stdout == b"" and failure(done, status)["type"] == "GitHubError"
    put(machine.home / "config.json", json.dumps({"github_token": TOKEN}).encode(), 0o600)
    assert machine.one("migrate", env=session.environment_of(machine.shell)) == {"status": "migrated"}


# Commands


def test_archives_and_manifests(machine, small, tmp_path):
    tbk = machine.tbk
    archive = tbk.seal(small, "--receipt", str(tmp_path / "receipt"))
    check(json.loads((tmp_path / "receipt").read_text()), "receipt")
    machine.one("tbk-open --header", input=archive)
    verified = machine.one("tbk-open --verify", input=archive)
    assert (verified["file_count"], verified["entry_count"]) == (3, 6)
    each, = machine("tbk-open --verify --each", input=archive)
    assert (each["result"], each["size"], each["reason"]) == ("ok", verified["size"], None)
    put(tmp_path / "altered", archive[:-1] + bytes([archive[-1] ^ 1]))
    each, = machine("tbk-open --verify --each", tmp_path / "altered", status=1)
    assert each["result"] == "altered"
    assert len(machine("tbk-open --list", input=archive)) == 6
    (tmp_path / "out").mkdir()
    done = tbk.run("tbk-open", "-C", str(tmp_path / "out"), "--dry-run", "--json", input=archive)
    assert len(answers(done.out, "tbk-open -C --dry-run")) == 6
    done = tbk.run("tbk-open", "-C", str(tmp_path / "out"), "--json", input=archive)
    assert answers(done.out, "tbk-open -C")[0]["size"] == verified["size"]
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_bytes(tbk.manifest(small))
    assert len(machine("tbk-manifest show", old)) == 6
    put(os.path.join(small, "plain"), b"other")
    new.write_bytes(tbk.manifest(small))
    assert {change["status"] for change in machine("tbk-manifest diff", old, new, status=1)} == {"modified"}
    assert machine("tbk-manifest check", old, small, status=1)
    failure(tbk.run("tbk-push", str(machine.tbk.home), "--no-such-option", "--json", status=64), 64)


def test_stores(machine, small, tmp_path):
    store = tmp_path / "store"
    machine.tbk.run("tbk-store", "create", store)
    assert machine.one("tbk-pull --summary", store)["backup_count"] == 0
    archive = machine.tbk.seal(small, "--receipt", str(tmp_path / "receipt"))
    pushed, = machine("tbk-push", store, "--receipt", tmp_path / "receipt", input=archive)
    assert machine("tbk-pull --list", store) == [pushed]
    machine.one("tbk-pull --summary", store)
    assert machine.one("tbk-pull --seen", store)["sequence"] == 1
    assert machine("tbk-prune", store, "--keep-last", "1")[0]["id"] == pushed["id"]
    machine("tbk-store mark", store, f"{pushed['id']}:{pushed['sha256']}")
    machine("tbk-store replace", store, pushed["id"], input=archive)
    machine("tbk-store replace-manifest", store, pushed["id"], input=archive)
    assert machine("tbk-store check", store) == []
    machine.tbk.run("tbk-sign", "keygen", "--no-password", "--private", tmp_path / "k", "--public", tmp_path / "k.pub")
    assert len(machine("tbk-store adopt", store, "--sign-key", tmp_path / "k")) == 1
    machine.tbk.run("tbk-sign", "keygen", "--no-password", "--private", tmp_path / "n", "--public", tmp_path / "n.pub")
    lost = machine.tbk.run("tbk-sign", "fingerprint", "--key", tmp_path / "k.pub").lines[0].split()[0]
    assert len(machine("tbk-store take-over", store, lost, "--sign-key", tmp_path / "n")) == 1
    assert len(machine("tbk-store remove", store, pushed["id"], "--sign-key", tmp_path / "n")) == 1


def test_a_watch(machine, small):
    done = machine.tbk.run("tbk-watch", "--initial", "--timeout", "0.01", "--json", small, status=75)
    assert answers(done.out, "tbk-watch")[0]["changes"] == [{"status": "unknown", "relative_path": "."}]
    assert failure(done, 75)["type"] == "StoreError"


def test_a_webhook(docs):
    with running() as service:
        put(docs.tbk.scratch / "url", service.url.encode(), 0o600)
        put(docs.tbk.scratch / "report", json.dumps(docs.one("run", "docs")).encode())
        docs.one("tbk-notify", "--url-file", docs.tbk.scratch / "url", docs.tbk.scratch / "report")

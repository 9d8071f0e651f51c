"""termbackup doctor: each check against the fault that it should find, one at a time."""

import json
import resource
import shutil
import signal
import stat

import pytest
from conftest import PASSWORD, put
from github_fixture import NUMBERS, github_server  # noqa: F401
from keyring_fixture import session  # noqa: F401
from shell_fixture import shell  # noqa: F401
from test_keyring import only

TOKEN = "ghp_" + "d" * 36
CHECKS = ["home", "configuration", "profiles", "sources", "password", "keyring", "token", "stores", "schedule", "clock", "signing",
          "audit-log", "temporary", "space", "dependencies", "programs"]


@pytest.fixture
def docs(shell, small):
    """A profile with one backup."""
    shell.profile("docs", small)
    shell.run("run", "-q", "docs")
    return shell


def examine(shell, *arguments, status=0, **options):
    """The results, by check."""
    done = shell.run("doctor", "--json", *arguments, status=status, **options)
    report = json.loads(done.stdout)
    assert report["ok"] == (status == 0)
    found = {}
    for entry in report["checks"]:
        assert set(entry) == {"check", "result", "message", "hint"} and entry["message"]
        assert entry["hint"] or entry["result"] not in ("fail",), entry
        found.setdefault(entry["check"], []).append(entry)
    return found


def worst(found, check):
    return max((entry["result"] for entry in found[check]), key=["ok", "note", "warn", "fail"].index)


def one(found, check, result):
    """The only entry of this check with this result."""
    entry, = [entry for entry in found[check] if entry["result"] == result]
    return entry


def test_patterns_that_do_not_do_what_they_seem_to_are_named(docs, tmp_path):
    patterns = tmp_path / "patterns"
    put(patterns, b"*.o\n")
    docs.run("profile", "edit", "docs", "--exclude", "build/", "--exclude", "!build/keep", "--exclude-from", patterns)
    warned = one(examine(docs), "profiles", "warn")
    assert "docs: the pattern '!build/keep' has no effect" in warned["message"] and "directory/*" in warned["hint"]
    patterns.unlink()
    failed = one(examine(docs, status=1), "profiles", "fail")
    assert failed["message"].startswith("docs: exclude_from: ") and "--unset exclude_from" in failed["hint"]


def test_a_home_in_order_passes_every_check(docs):
    found = examine(docs)
    assert set(found) == set(CHECKS)
    for check in ("home", "configuration", "profiles", "sources", "password", "audit-log", "temporary", "space", "dependencies"):
        assert worst(found, check) == "ok", found[check]
    assert [entry["result"] for entry in found["password"]] == ["ok", "ok"]
    assert "1 backup" in one(found, "stores", "ok")["message"]
    # The store was never verified, nothing is scheduled, and the store may be on the same disk as the source.
    assert [entry["result"] for entry in found["stores"][1:] + found["schedule"]] in (["note"] * 3, ["note"] * 2)
    libcurl = [entry["message"] for entry in found["dependencies"] if "libcurl" in entry["message"]]
    assert len(libcurl) == 1 and "HTTP/2" in libcurl[0] and "async DNS" in libcurl[0]


def test_what_needs_no_home_is_judged_without_one(shell, tmp_path):
    shell.home.mkdir()
    (shell.home / "tmp").mkdir()
    missing = tmp_path / "none"
    found = examine(shell, status=1, env={"TERMBACKUP_HOME": str(missing)})
    assert set(found) == {"home", "keyring", "space", "dependencies", "programs"}
    assert str(missing) in one(found, "home", "fail")["message"]
    assert not missing.exists() and shell.tbk.leftovers() == []


def test_people_see_the_environment_first(docs):
    shown = docs.run("doctor").stdout.decode()
    panel, _, rest = shown.partition("\n\n")
    for name in ("termbackup", "openssl", "argon2", "zlib", "system", "architecture", "home", "temporary"):
        assert any(line.split()[0] == name for line in panel.splitlines())
    assert rest.rstrip().endswith("0 failed")
    assert docs.run("doctor", "-q").stdout == b""


def test_it_changes_nothing_and_asks_for_nothing(docs):
    before = {path: path.read_bytes() for path in docs.home.rglob("*") if path.is_file()}
    found = examine(docs, password=None)
    assert worst(found, "password") == "note"
    assert {path: path.read_bytes() for path in docs.home.rglob("*") if path.is_file()} == before


def test_no_home_is_one_failure(shell):
    assert b"'termbackup init'" in shell.run("doctor", status=1).stdout
    found = examine(shell, status=1)
    assert [entry["result"] for entry in found["home"]] == ["fail"]


def test_a_profile_alone_is_looked_at(docs, tmp_path, small):
    (tmp_path / "other").mkdir()
    docs.run("profile", "create", "gone", "--source", tmp_path / "other")
    (tmp_path / "other").rmdir()
    entry = one(examine(docs, status=1), "sources", "fail")
    assert entry["message"].startswith("gone: ") and "--source" in entry["hint"]
    assert worst(examine(docs, "-p", "docs"), "sources") == "ok"
    assert "nobody" in one(examine(docs, "-p", "nobody", status=1), "profiles", "fail")["message"]


def break_config(shell):
    put(shell.home / "config.json", b'{"signing_enabled": "yes"}')


def break_profile(shell):
    put(shell.home / "profiles" / "docs.json", b"{")


def break_store(shell):
    shutil.rmtree(shell.home / "store")


def break_ledger(shell):
    put(shell.home / "store" / "metadata.json", b"{}")


def break_log(shell):
    path = shell.home / "audit.log"
    path.write_bytes(path.read_bytes().replace(b'"success"', b'"failure"', 1))


def lose_key(shell):
    shell.tbk.run("tbk-config", "set", "signing_enabled", "true")


def spoil_key(shell):
    lose_key(shell)
    put(shell.home / "signing_key.pem", b"not a key\n")


@pytest.mark.parametrize("fault,check", [
    (break_config, "configuration"), (break_profile, "profiles"), (break_store, "stores"), (break_ledger, "stores"),
    (break_log, "audit-log"), (lose_key, "signing"), (spoil_key, "signing")])
def test_what_is_broken_fails_with_a_hint(docs, fault, check):
    fault(docs)
    entry = one(examine(docs, status=1), check, "fail")
    assert entry["hint"]
    assert entry["hint"].encode() in docs.run("doctor", "-q", status=1).stdout


def test_a_key_without_a_password_is_no_failure(docs):
    docs.run("generate-key", "--no-password", "--enable", password=None)
    docs.run("run", "docs", "--adopt")
    found = examine(docs)
    copy, key = [entry["message"] for entry in found["signing"] if entry["result"] == "note"]
    assert "only known copy" in copy and "no password" in key and one(found, "signing", "ok")


def test_a_store_that_runs_will_refuse_because_signing_is_on_fails(docs):
    docs.run("generate-key", "--no-password", "--enable", password=None)
    failed = one(examine(docs, status=1), "stores", "fail")
    assert "not signed, and signing is on" in failed["message"]
    docs.run("run", "docs", status=65)
    assert failed["hint"].endswith("termbackup run docs --adopt")
    docs.run("run", "docs", "--adopt")
    assert worst(examine(docs), "stores") != "fail"


def test_a_disk_that_is_full_is_a_failure(docs):
    def full():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    assert b"make room" in docs.run("doctor", status=1, preexec_fn=full).stdout
    assert list(examine(docs, status=1, preexec_fn=full)) == ["home"]


def test_the_password_in_the_keyring_is_looked_at(docs, session, small):  # noqa: F811
    env = session.environment_of(docs)
    found = examine(docs, password=None, env=env)
    assert one(found, "password", "note")["message"].startswith("docs: a run would ask")
    for word, result, said in ((PASSWORD, "ok", "opens the backups"), (b"another", "fail", "not the password of the backups")):
        session.tool("store", "--label=x", "service", "termbackup", "profile", "docs", input=word)
        found = examine(docs, password=None, env=env, status=int(result == "fail"))
        first, second = found["password"]
        assert (first["result"], second["result"]) == ("ok", result) and "keyring" in first["message"] and said in second["message"]
    session.lock()
    assert "locked" in one(examine(docs, password=None, env=env), "password", "warn")["message"]


def test_what_cannot_be_tried_is_not_called_another_password(docs):
    check, = (docs.home / "store" / "checks").iterdir()
    whole = check.read_bytes()
    check.write_bytes(whole[:-1])
    message = one(examine(docs, status=1), "password", "fail")["message"]
    assert "not the password of the backups" not in message
    check.write_bytes(whole)
    shutil.rmtree(docs.home / "cache")
    put(docs.home / "cache", b"no directory")
    assert "cache" in one(examine(docs, status=1), "temporary", "fail")["message"]


def test_a_wrong_password_is_found(docs):
    assert "docs" in one(examine(docs, password=b"another", status=1), "password", "fail")["message"]
    missing = examine(docs, "--password-file", "/no/such/file", status=1)
    assert "/no/such/file" in one(missing, "password", "fail")["message"]
    assert worst(examine(docs, "--password-command", f"printf %s '{PASSWORD.decode()}'", password=None), "password") == "ok"


@pytest.mark.parametrize("name", ("", "config.json", "profiles/docs.json", "audit.log"))
def test_what_others_can_read_is_a_warning(docs, name):
    path = docs.home / name
    path.chmod(path.stat().st_mode | stat.S_IRGRP)
    entry = one(examine(docs), "home", "warn")
    assert str(path) in entry["message"] and "chmod" in entry["hint"]


def test_leftovers_are_counted(docs):
    left = docs.home / "tmp" / "run.999999999.0"
    left.mkdir()
    done = docs.tbk.run("termbackup", "doctor", "--json")
    found = {entry["check"]: entry for entry in json.loads(done.out)["checks"]}
    assert found["temporary"]["result"] == "warn" and "termbackup clean" in found["temporary"]["hint"]
    left.rmdir()


def test_the_space_of_each_place_is_told(docs, tmp_path):
    found = examine(docs, env={"TMPDIR": str(tmp_path)})["space"]
    places = [("temporary files", tmp_path), ("home", docs.home), ("store of docs", docs.home / "store")]
    assert [entry["message"].partition(":")[0] for entry in found] == [what for what, _ in places]
    assert all(str(path) in entry["message"] for entry, (_, path) in zip(found, places, strict=True))


def test_a_backup_of_the_future_is_a_warning(docs):
    path = docs.home / "store" / "metadata.json"
    ledger = json.loads(path.read_text())
    ledger["backups"][0]["created_at"] = "2099-01-01T00:00:00.000000+00:00"
    path.write_text(json.dumps(ledger))
    shutil.rmtree(docs.home / "state")
    entry = one(examine(docs), "clock", "warn")
    assert "2099" in entry["message"]


def test_programs_that_are_missing_are_no_fault(docs, tmp_path):
    folder = only(tmp_path, "git", "crontab", "rclone", "secret-tool")
    found = examine(docs, env={"PATH": f"{docs.tbk.path('tbk-seal').rpartition('/')[0]}:{folder}", "EDITOR": "no-such-editor -x"})
    missing = [entry["message"] for entry in found["programs"] if "is not installed" in entry["message"]]
    for name in ("git", "crontab", "rclone", "secret-tool", "no-such-editor"):
        assert any(name in message for message in missing), missing
    assert worst(found, "keyring") == "note"


# GitHub


@pytest.fixture
def remote(shell, small, github_server):
    name = f"me/doctor{next(NUMBERS)}"
    github_server.token(TOKEN, login="me")
    github_server.make_repository(name)
    shell.environment["TERMBACKUP_GITHUB_API"] = github_server.api
    shell.environment["TERMBACKUP_TOKEN"] = TOKEN
    shell.profile("docs", small, "--repo", name)
    shell.server = github_server
    shell.repository = name
    yield shell
    github_server.clear_faults()
    github_server.token(TOKEN, login="me")


def test_a_token_in_order_is_described(remote):
    found = examine(remote)
    message = one(found, "token", "ok")["message"]
    assert "classic of me" in message and remote.repository in message and "write yes" in message
    assert worst(found, "stores") == "ok" and worst(found, "clock") == "ok"
    for shown in (remote.run("doctor").stdout, remote.run("doctor", "--json").stdout):
        assert TOKEN.encode() not in shown


def test_a_token_that_is_missing_or_refused_fails(remote):
    del remote.environment["TERMBACKUP_TOKEN"]
    assert "update-token" in one(examine(remote, status=1), "token", "fail")["hint"]
    remote.environment["TERMBACKUP_TOKEN"] = "ghp_" + "0" * 35 + "x"
    found = examine(remote, status=1)
    assert worst(found, "token") == "fail" and worst(found, "stores") == "fail"


def test_a_token_that_ends_soon_is_a_warning(remote):
    remote.server.token(TOKEN, login="me", expires=3 * 86400)
    assert "expires" in one(examine(remote), "token", "warn")["message"]


def test_a_repository_that_is_not_there_fails(remote):
    remote.server.delete_repository(remote.repository)
    found = examine(remote, status=1)
    assert remote.repository in one(found, "token", "fail")["message"]
    assert remote.repository in one(found, "stores", "fail")["message"]

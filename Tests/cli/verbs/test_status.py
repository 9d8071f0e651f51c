"""termbackup status, and tbk-pull --summary and --seen beneath it."""

import json
import re
import shutil

import pytest
from conftest import put
from github_fixture import NUMBERS, TOKEN, github_server  # noqa: F401
from shell_fixture import shell  # noqa: F401


@pytest.fixture
def docs(shell, small):
    shell.profile("docs", small)
    return shell


def report(shell, *arguments, status=0):
    return json.loads(shell.run("status", "--json", *arguments, status=status).stdout)


def of(shell, name="docs"):
    found, = [entry for entry in report(shell)["profiles"] if entry["profile"] == name]
    return found


def test_a_profile_without_backups_says_so(docs):
    assert b"no backup yet" in docs.run("status").stdout
    docs.run("run", "-q", "docs")
    assert b"verified  none of 1\n" in docs.run("status").stdout
    docs.run("verify", "-q", "latest", "-p", "docs")
    assert b"verified  the only one\n" in docs.run("status").stdout


def test_a_profile_without_a_run_has_none(docs):
    found = of(docs)
    assert (found["reached"], found["summary"]["backup_count"], found["summary"]["last_id"], found["last_run"]) == (True, 0, None, None)


def test_what_is_told_of_a_store_goes_into_a_file(docs, tmp_path):
    docs.run("run", "-q", "docs")
    store, pull = docs.home / "store", docs.tbk.run
    for what in ("--summary", "--seen"):
        shown = pull("tbk-pull", store, what).out
        assert pull("tbk-pull", store, what, "-o", tmp_path / "told").out == b""
        told = (tmp_path / "told").read_bytes()
        assert [line for line in told.splitlines() if b"last_age" not in line] == [
            line for line in shown.splitlines() if b"last_age" not in line]


@pytest.mark.parametrize("what,option", [("--seen", ["--trust-out", "x"]), ("--seen", ["--group", "g"]), ("--ledger", ["--group", "g"]),
                                         ("--seen", ["--require-signature"]), ("--seen", ["--verify-key", "x"])])
def test_an_option_that_does_nothing_is_wrong_usage(docs, what, option):
    done = docs.tbk.run("tbk-pull", docs.home / "store", what, *option, status=64)
    assert what.encode() in done.err and option[0].encode() in done.err


def listed(docs, id):
    entries = [json.loads(line) for line in docs.run("list", "--json", "docs").stdout.splitlines()]
    return next(entry for entry in entries if entry["id"] == id)


def test_a_ledger_from_before_the_telegraph_is_told_of_too(docs):
    docs.run("run", "docs")
    path = docs.home / "store" / "metadata.json"
    ledger = json.loads(path.read_bytes())
    ledger["backups"][0]["created_at"] = "1700-01-01T00:00:00+00:00"
    path.write_text(json.dumps(ledger))
    shutil.rmtree(docs.home / "state")
    store = of(docs)["summary"]
    assert store["last_created_at"].startswith("1700") and store["last_age"] > 300 * 365 * 86400


def test_the_last_backup_is_told(docs, small):
    ids = [json.loads(docs.run("run", "--json", "docs").stdout) for _ in range(2)]
    docs.tbk.run("tbk-store", "mark", docs.home / "store", f"{ids[1]['id']}:{listed(docs, ids[1]['id'])['sha256']}")
    found = of(docs)
    store = found["summary"]
    entries = [json.loads(line) for line in docs.run("list", "--json", "docs").stdout.splitlines()]
    assert (store["last_id"], store["backup_count"], store["verified_count"], store["last_verified"]) == (ids[1]["id"], 2, 1, True)
    assert store["size"] == sum(entry["size"] + entry["manifest"]["size"] for entry in entries)
    assert 0 <= store["last_age"] < 3600 and store["sequence"] >= 2 and store["signature"] == "unsigned"
    assert (found["last_run"]["status"], found["last_run"]["details"]["backup_id"]) == ("success", ids[1]["id"][:12])
    shown = docs.run("status", "-p", "docs", env={"TZ": "UTC0"}).stdout.decode()
    ran = re.search(r"last run (.*), success: backup_id=", shown)[1].strip()
    assert found["last_run"]["timestamp"].replace("T", " ").startswith(ran) and len(ran) == 16
    for words in (ids[1]["id"][:12], "backups   2, ", "verified  the last one, and 1 of 2", f"number {store['sequence']}",
                  "success: backup_id=", small):
        assert words in shown


def test_only_the_profiles_own_backups_count(docs, small):
    docs.run("profile", "create", "twin", "--source", small)
    docs.run("run", "-q", "docs")
    docs.run("run", "-q", "twin")
    assert [of(docs, name)["summary"]["backup_count"] for name in ("docs", "twin")] == [1, 1]
    assert of(docs, "docs")["summary"]["last_id"] != of(docs, "twin")["summary"]["last_id"]
    assert [entry["profile"] for entry in report(docs, "-p", "twin")["profiles"]] == ["twin"]


def test_a_store_that_is_away_leaves_what_is_known_here(docs):
    docs.run("run", "-q", "docs")
    sequence = of(docs)["summary"]["sequence"]
    shutil.move(docs.home / "store", docs.home / "elsewhere")
    found = of(docs)
    assert (found["reached"], found["summary"]["sequence"], found["last_run"]["status"]) == (False, sequence, "success")
    assert "does not exist" in found["error"]["message"] and found["error"]["status"] == 69
    shown = docs.run("status").stdout.decode()
    assert "offline" in shown and f"last seen here: number {sequence}" in shown and "success" in shown


def test_a_store_that_went_back_is_no_store_that_is_away(docs):
    docs.run("run", "-q", "docs")
    shutil.copytree(docs.home / "store", docs.home / "before")
    docs.run("run", "-q", "docs")
    shutil.rmtree(docs.home / "store")
    shutil.move(docs.home / "before", docs.home / "store")
    done = docs.run("status", status=1).stdout.decode()
    assert re.search("ALTERED +the store .* was rolled back", done) and "offline" not in done
    assert json.loads(docs.run("status", "--json", status=1).stdout)["profiles"][0]["error"]["status"] == 65


def test_a_run_that_failed_is_told(docs, small):
    docs.run("run", "-q", "docs")
    shutil.rmtree(small)
    docs.run("run", "-q", "docs", status=66)
    assert of(docs)["last_run"]["status"] == "failure"
    assert re.search(rb"last run .*failure: error='?\"?source missing", docs.run("status").stdout)


def test_a_profile_that_is_wrong_does_not_hide_the_others(docs):
    put(docs.home / "profiles" / "broken.json", b"{")
    done = docs.run("status", "--json", status=78)
    assert [entry["profile"] for entry in json.loads(done.stdout)["profiles"]] == ["docs"]
    assert b"broken" in done.stderr
    assert b"docs\n" in docs.run("status", status=78).stdout
    docs.run("status", "-p", "nobody", status=78)
    # Only this profile is read.
    for asked in (["docs"], ["-p", "docs"]):
        assert b"docs\n" in docs.run("status", *asked).stdout
        docs.run("doctor", *asked)
    docs.run("doctor", status=1)
    docs.run("status", "broken", status=78)
    docs.run("status", "docs", "-p", "docs", status=64)


def test_it_needs_no_password_and_changes_no_backup(docs):
    docs.run("run", "-q", "docs")
    before = (docs.home / "store" / "metadata.json").read_bytes()
    docs.run("status", password=None)
    assert (docs.home / "store" / "metadata.json").read_bytes() == before


def test_no_profiles_is_no_error(shell):
    shell.run("init")
    assert b"profile create" in shell.run("status").stderr
    assert report(shell)["profiles"] == []


def test_a_token_is_described_and_not_shown(shell, small, github_server):
    name = f"me/status{next(NUMBERS)}"
    github_server.token(TOKEN, login="me")
    github_server.make_repository(name)
    shell.environment["TERMBACKUP_GITHUB_API"] = github_server.api
    shell.environment["TERMBACKUP_TOKEN"] = TOKEN
    shell.profile("docs", small, "--repo", name)
    shell.run("run", "-q", "docs")
    found = report(shell)
    assert (found["token"]["kind"], found["token"]["user"]) == ("classic", "me") and found["profiles"][0]["summary"]["backup_count"] == 1
    shell.environment["TERMBACKUP_TOKEN"] = "ghp_" + "x" * 36
    found = report(shell)
    assert found["profiles"][0]["reached"] is False and found["profiles"][0]["summary"]["sequence"] >= 1
    shown = shell.run("status")
    assert b"ghp_" not in shown.stdout + shown.stderr


def test_the_status_asks_no_more_of_github_because_of_the_identity(shell, small, github_server):  # noqa: F811
    name = f"me/status{next(NUMBERS)}"
    github_server.token(TOKEN, login="me")
    github_server.make_repository(name)
    env = {"TERMBACKUP_GITHUB_API": github_server.api, "TERMBACKUP_TOKEN": TOKEN}
    shell.profile("docs", small, "--repo", name)

    def asked():
        # No local state.
        shutil.rmtree(shell.home / "cache", ignore_errors=True)
        github_server.clear_log()
        found = json.loads(shell.run("status", "--json", password=None, env=env).stdout)["profiles"][0]["summary"]["identity"]
        return found, [entry["method"] + re.sub("[0-9a-f]{40}", "", entry["path"]) for entry in github_server.log()]
    shell.run("run", "-q", "docs", env=env)
    found, before = asked()
    assert found is None
    shell.run("generate-identity", "docs", "--adopt", env=env)
    assert asked() == ("present", before)


# The command


def rows(done):
    return dict(line.split("\t") for line in done.lines)


def test_why_there_is_no_token_is_told(shell, small):
    shell.profile("docs", small, "--repo", "me/none")
    arguments = ["--max-wait", "0", "--token-command", "/bin/no-such-program"]
    told = report(shell, *arguments)
    assert "no-such-program" in told["token"]["error"]
    # Local knowledge is still reported.
    profile, = told["profiles"]
    assert (profile["profile"], profile["reached"]) == ("docs", False) and "no-such-program" in profile["error"]["message"]
    lines = shell.run("status", *arguments).stdout.splitlines()
    assert lines[0] == b"docs" and b"no-such-program" in lines[-1]


def test_a_summary_as_lines_and_as_json_is_the_same(tbk, small, tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    assert rows(tbk.run("tbk-pull", store, "--summary"))["backup_count"] == "0"
    archive = tbk.seal(small)
    tbk.run("tbk-push", store, input=archive)
    lines = rows(tbk.run("tbk-pull", store, "--summary"))
    found = json.loads(tbk.run("tbk-pull", store, "--summary", "--json").out)
    assert list(lines) == list(found)
    assert (lines["backup_count"], lines["last_size"], lines["last_verified"]) == ("1", str(len(archive)), "no")
    assert rows(tbk.run("tbk-pull", store, "--summary", "--group", "0" * 32, "--new-group"))["backup_count"] == "0"
    tbk.run("tbk-pull", store, "--summary", "--list", status=64)


def test_what_was_seen_needs_no_store(tbk, small, tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    assert rows(tbk.run("tbk-pull", store, "--seen")) == {"store_id": "-", "sequence": "-", "was_signed": "no"}
    tbk.run("tbk-push", store, input=tbk.seal(small))
    told = json.loads(tbk.run("tbk-pull", store, "--summary", "--json").out)
    shutil.rmtree(store)
    seen = json.loads(tbk.run("tbk-pull", store, "--seen", "--json").out)
    assert seen == {"store_id": told["store_id"], "sequence": told["sequence"], "was_signed": False}

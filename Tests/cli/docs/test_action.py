"""action.yml: its documentation, and its steps."""

import os
import re
import shutil

import pytest
from action_fixture import ACTION, Runner, site  # noqa: F401
from conftest import PASSWORD, REPOSITORY, put, require, snapshot
from github_fixture import TOKEN, github, github_server  # noqa: F401

SECRET = "pass%word\nof two lines"
STEPS = {step["id"]: step for step in ACTION["runs"]["steps"]}


@pytest.fixture
def runner(tbk, tmp_path):
    """A job with the suite installed, sources in data, and an empty store."""
    job = Runner(tmp_path / "job", tbk.environment)
    put(job.workspace / "data" / "a", b"first\n")
    put(job.workspace / "data" / "b c", b"second\n")
    put(job.workspace / "data" / "skip.tmp", b"not this\n")
    (job.workspace / "store").mkdir()
    return job


def backup(runner, environment=None, **inputs):
    given = {"store": "store", "password": SECRET, "version": "installed", **inputs}
    if "command" not in given:
        given.setdefault("path", "data")
    return runner.run_action({name.replace("_", "-"): value for name, value in given.items()}, environment)


def ids(tbk, runner, *arguments):
    listed = tbk.run("tbk-pull", runner.workspace / "store", "--list", *arguments, status=None)
    return [line.split("\t")[0] for line in listed.lines]


def restored(tbk, runner, to, password=SECRET):
    archive = tbk.run("tbk-pull", runner.workspace / "store", "latest").out
    tbk.extract(archive, to, password=password.encode())
    return snapshot(to)


def listening(tbk, runner, names=("tbk-seal", "tbk-push", "tbk-prune")):
    """Puts commands first in PATH that log their arguments and environment; returns the log file."""
    heard, stubs = runner.folder / "heard", runner.folder / "stubs"
    stubs.mkdir()
    for name in names:
        (stubs / name).write_text(f'#!/bin/sh\n{{ printf "%s\\n" "$0" "$@"; env; }} >>"{heard}"\nexec "{tbk.path(name)}" "$@"\n')
        (stubs / name).chmod(0o755)
    runner.paths.insert(0, str(stubs))
    return heard


# Its documentation


def test_every_input_and_output_says_what_it_is():
    for kind in ("inputs", "outputs"):
        for name, declared in ACTION[kind].items():
            assert re.fullmatch(r"[a-z0-9]+(-[a-z]+)*", name)
            assert len(declared["description"]) > 10, name
    for name, declared in ACTION["inputs"].items():
        assert declared.get("required") or isinstance(declared["default"], str), name


def test_no_step_has_an_expression_in_its_script():
    for step in STEPS.values():
        assert "${{" not in step["run"] and step["shell"] == "sh"


def test_scripts_get_what_they_read_and_read_what_they_get():
    for name, step in STEPS.items():
        text = (REPOSITORY / "action" / name).read_text()
        read = set(re.findall(r"\bTB_[A-Z_0-9]+", text + step["run"]))
        assert read == set(step["env"]), name


def test_every_input_reaches_a_step():
    used = {match for step in STEPS.values() for value in step["env"].values()
            for match in re.findall(r"inputs\.([\w-]+)", value)}
    assert used == set(ACTION["inputs"])


def test_secrets_reach_the_step_that_needs_them_alone():
    for name, step in STEPS.items():
        has = {secret for secret in ("password", "token") if f"inputs.{secret}" in str(step["env"])}
        assert has == ({"password", "token"} if name == "backup" else set())


# Its steps


def test_a_directory_is_stored_and_comes_back(runner, tbk, tmp_path):
    done = backup(runner, exclude="*.tmp\n")
    assert done.status == 0, done.log
    store = tbk.run("tbk-pull", runner.workspace / "store", "--list", "--json").out.decode()
    assert ids(tbk, runner) == [done.outputs["id"]] and f'"size":{done.outputs["size"]}' in store.replace(" ", "")
    assert (done.outputs["files"], done.outputs["complete"]) == ("2", "true")
    os.unlink(runner.workspace / "data" / "skip.tmp")
    wanted = snapshot(runner.workspace / "data")
    found = restored(tbk, runner, tmp_path / "restored")
    assert {name: entry.get("content") for name, entry in found.items()} == \
        {name: entry.get("content") for name, entry in wanted.items()}


def test_nothing_stays_behind(runner, tbk):
    before = set(os.listdir(runner.temporary))
    backup(runner)
    new = {name for name in set(os.listdir(runner.temporary)) - before if name.startswith("termbackup.")}
    assert not new and tbk.leftovers() == []


@pytest.mark.parametrize("way", ["inputs", "environment"])
def test_secrets_are_in_no_argument_environment_or_log(runner, tbk, way):
    heard = listening(tbk, runner)
    token = "ghp_" + "7" * 36
    done = backup(runner, keep_last="1", token=token) if way == "inputs" else \
        backup(runner, {"TERMBACKUP_PASSWORD": SECRET, "TERMBACKUP_TOKEN": token}, keep_last="1", password="")
    assert done.status == 0, done.log
    noted = heard.read_text()
    assert noted.count("/stubs/tbk-") >= 3
    for secret in (SECRET, *SECRET.splitlines(), token):
        assert secret not in noted and secret not in done.log
    # Masked in the output of later steps, too.
    assert SECRET in runner.masks and token in runner.masks
    assert runner.shown(f"the token is {token}\n") == "the token is ***\n"
    without = "\n".join(line for line in done.raw.splitlines() if not line.startswith("::add-mask::"))
    assert token not in without and SECRET.splitlines()[0] not in without


def test_names_and_messages_are_no_commands_to_the_runner(runner, tbk):
    """What a command prints on standard error is between the marks; the fixture fails on output that is not."""
    done = backup(runner, command="printf '::add-mask::of\\n::error::no\\n' >&2; echo data")
    assert done.status == 0
    assert "::error::no" in done.log and "of" not in runner.masks


def test_old_backups_go(runner, tbk):
    first = backup(runner, keep_last="1").outputs["id"]
    put(runner.workspace / "data" / "c", b"third\n")
    second = backup(runner, keep_last="1", keep_within="1h")
    assert ids(tbk, runner) == [first, second.outputs["id"]], second.log
    put(runner.workspace / "data" / "c", b"fourth\n")
    third = backup(runner, keep_last="2")
    assert ids(tbk, runner) == [second.outputs["id"], third.outputs["id"]], third.log


def test_groups_are_kept_apart(runner, tbk):
    mine = backup(runner, group="mine").outputs["id"]
    assert backup(runner, command="echo other", group="other", keep_last="1").status == 0
    assert backup(runner, command="echo none", keep_last="1").status == 0
    assert ids(tbk, runner, "--group", "mine") == [mine] and len(ids(tbk, runner)) == 3


def test_what_a_command_prints_is_stored_under_its_name(runner, tbk):
    done = backup(runner, command="printf '%s\\n' \"one $((1 + 1))\"", name="numbers.txt")
    assert (done.status, done.outputs["files"]) == (0, "1"), done.log
    archive = tbk.run("tbk-pull", runner.workspace / "store", "latest").out
    assert tbk.open(archive, "--cat", "numbers.txt", password=SECRET.encode()).out == b"one 2\n"


def test_a_command_that_fails_stores_nothing(runner, tbk):
    done = backup(runner, command="echo half; exit 3")
    assert done.status == 74 and done.outputs["id"] == ""
    assert ids(tbk, runner) == []


def test_what_could_not_be_read_fails_the_step_after_the_rest_is_stored(runner, tbk):
    stubs = runner.folder / "stubs"
    stubs.mkdir()
    (stubs / "tbk-seal").write_text(f'#!/bin/sh\n"{tbk.path("tbk-seal")}" "$@"\ntest "$1" = --version || exit 3\n')
    (stubs / "tbk-seal").chmod(0o755)
    runner.paths.insert(0, str(stubs))
    done = backup(runner)
    assert (done.status, done.outputs["complete"]) == (3, "false")
    assert ids(tbk, runner) == [done.outputs["id"]]


@pytest.mark.parametrize("text", ["$(touch pwned)", "`touch pwned`", "\"; touch pwned; \"", "'; touch pwned; '",
                                  "x\ntouch pwned\n", "${IFS}touch", "--version", "$TB_PASSWORD"])
@pytest.mark.parametrize("name", ["store", "path", "name", "exclude", "group", "keep-daily", "version", "sha256"])
def test_inputs_are_never_code(runner, name, text):
    before = set(os.listdir(runner.workspace))
    given = {name.replace("-", "_"): text}
    if name == "name":
        given["command"] = "echo data"
    done = backup(runner, **given)
    assert set(os.listdir(runner.workspace)) == before
    for secret in SECRET.splitlines():
        assert secret not in done.log


@pytest.mark.parametrize("wrong", [
    {"store": ""}, {"store": "--list"}, {"path": ""}, {"path": "data", "command": "true"}, {"password": ""},
    {"keep_last": "many"}, {"keep_within": "d"}, {"keep_within": "3x"}, {"keep_daily": "-1"}, {"keep_yearly": "1 2"},
], ids=str)
def test_wrong_inputs_are_refused_before_anything_is_stored(runner, tbk, wrong):
    done = backup(runner, **wrong)
    assert done.status == 64 and "error: " in done.log
    assert ids(tbk, runner) == []


def test_a_store_that_is_not_there_fails(runner):
    assert backup(runner, store="elsewhere").status in (66, 69)


def test_github(runner, github, tbk, tmp_path):  # noqa: F811
    api = {"TERMBACKUP_GITHUB_API": github.server.api}
    heard = listening(tbk, runner)
    done = backup(runner, api, store=github.address, token=TOKEN, keep_last="1")
    assert done.status == 0, done.log
    assert TOKEN not in heard.read_text() + done.log
    archive = github.pull(done.outputs["id"]).out
    assert len(archive) == int(done.outputs["size"])
    tbk.extract(archive, tmp_path / "restored", password=SECRET.encode())
    assert (tmp_path / "restored" / "a").read_bytes() == b"first\n"
    assert backup(runner, api, store=github.address, token="ghp_" + "1" * 36).status in (69, 77)


# Installing


@pytest.fixture
def bare(runner):
    """A job without the suite in PATH."""
    require("curl", "sha256sum")
    runner.environment["PATH"] = os.environ["PATH"]
    return runner


def test_the_release_of_its_own_version_is_installed(bare, site):  # noqa: F811
    address, version, _ = site
    bare.environment["GITHUB_SERVER_URL"] = address
    done = backup(bare, version="")
    assert done.status == 0, done.log
    assert done.log.startswith(f"tbk-seal {version}\n")
    assert bare.paths[0].startswith(str(bare.temporary))


def test_another_version_and_its_sum_can_be_named(bare, site):  # noqa: F811
    address, version, folder = site
    bare.environment["GITHUB_SERVER_URL"] = address
    sums = next(folder.rglob("SHA256SUMS")).read_text()
    right = re.search(rf"^(\w+)  termbackup-{re.escape(version)}-linux-", sums, re.MULTILINE)[1]
    assert backup(bare, version=version, sha256=right).status == 0
    done = backup(bare, version=version, sha256="0" * 64)
    assert done.status == 70 and "the SHA-256 of 'termbackup-" in done.log
    assert backup(bare, version="6.9.9").status == 70


def test_an_archive_that_the_sums_do_not_know_is_refused(bare, site, tmp_path):  # noqa: F811
    """A different file under the right name, and a list of hashes without it."""
    address, version, folder = site
    release = next(folder.rglob("SHA256SUMS")).parent
    copy = folder / "me" / "other" / "releases" / "download"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(release.parent, copy)
    bare.environment["GITHUB_SERVER_URL"] = address
    bare.context["github"]["repository"] = "me/other"
    assert backup(bare, version="").status == 0
    sums = copy / f"v{version}" / "SHA256SUMS"
    sums.write_text("")
    assert backup(bare, version="").status == 70
    shutil.copy(release / "SHA256SUMS", sums)
    archive = next(sums.parent.glob("*.tar.gz"))
    archive.write_bytes(archive.read_bytes() + b"\0")
    done = backup(bare, version="")
    assert done.status == 70 and "the SHA-256 of 'termbackup-" in done.log


def test_a_missing_installation_is_said(bare):
    if shutil.which("tbk-seal"):
        pytest.skip("the machine has a tbk-seal of its own")
    done = backup(bare, version="installed")
    assert done.status == 70 and "not on the PATH" in done.log


def test_passwords_are_the_bytes_that_were_given(runner, tbk):
    """A trailing newline is kept."""
    assert backup(runner, password=PASSWORD.decode() + "\n").status == 0
    archive = tbk.run("tbk-pull", runner.workspace / "store", "latest").out
    assert tbk.open(archive, "--verify", password=PASSWORD + b"\n\n", status=None).status == 0
    assert tbk.open(archive, "--verify", password=PASSWORD + b"\n", status=None).status == 77

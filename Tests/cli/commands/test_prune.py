"""tbk-prune against a model, on stores of every kind; and the verbs that remove old backups."""

import calendar
import contextlib
import datetime
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import PATIENCE, absent, put, snapshot
from github_fixture import github, github_server  # noqa: F401
from shell_fixture import on_terminal, shell  # noqa: F401
from test_github_store import archive, identify

UTC = datetime.UTC
DAY = datetime.timedelta(days=1)
SEEDS = 20
KEEP = ["last", "within", "daily", "weekly", "monthly", "yearly"]


def now():
    return datetime.datetime.now(UTC)


# The model


def period(rule, when):
    return {"daily": when.date(), "weekly": when.isocalendar()[:2], "monthly": (when.year, when.month),
            "yearly": when.year}[rule]


def back(when, text):
    """The time that `text` (as 3m) lies before `when`; None if the calendar does not have it."""
    number, unit = int(text[:-1]), text[-1]
    if unit in "hdw":
        return when - datetime.timedelta(hours=number * {"h": 1, "d": 24, "w": 168}[unit])
    months = when.year * 12 + when.month - 1 - number * (12 if unit == "y" else 1)
    year, month = divmod(months, 12)
    if year < 1:
        return None
    return when.replace(year=year, month=month + 1, day=min(when.day, calendar.monthrange(year, month + 1)[1]))


def expected(entries, rules, group="every"):
    """{id: (keep or remove, reasons)} of the entries in the group."""
    def judged(entry):
        return group in ("every", entry.get("group"))

    when = {entry["id"]: datetime.datetime.fromisoformat(entry["created_at"]).astimezone(UTC) for entry in entries}
    place = {entry["id"]: number for number, entry in enumerate(entries)}
    today = now()
    reasons = {entry["id"]: set() for entry in entries}
    kept = {entry["id"] for entry in entries if not judged(entry)}
    for name in {entry.get("group") for entry in entries if judged(entry)}:
        members = [entry["id"] for entry in entries if entry.get("group") == name]
        future = [one for one in members if when[one] > today + DAY]
        for one in future:
            reasons[one].add("future")
        members = [one for one in members if one not in future]
        latest = sorted(members, key=lambda one: (when[one], place[one]), reverse=True)

        def newest(count):
            return set(latest[:count]) | set(members[-count:])

        if "max-backups" in rules or "retention-days" in rules:
            for one in members:
                over, within = set(), set()
                if "max-backups" in rules:
                    (within if one in newest(rules["max-backups"]) else over).add("count")
                if "retention-days" in rules:
                    (within if when[one] >= today - rules["retention-days"] * DAY else over).add("age")
                reasons[one] = {f"over-{word}" for word in over} or within
                if not over:
                    kept.add(one)
        for rule in KEEP:
            if f"keep-{rule}" not in rules:
                continue
            value = rules[f"keep-{rule}"]
            if rule == "last":
                found = newest(value)
            elif rule == "within":
                start = back(today, value)
                found = {one for one in members if start is None or when[one] >= start}
            else:
                firsts = {}
                for one in latest:
                    firsts.setdefault(period(rule, when[one]), one)
                found = set(list(firsts.values())[:value])
            for one in found:
                reasons[one].add(rule)
            kept |= found
        kept |= set(future)
    # Entries that kept ones need, until there are no more.
    while True:
        more = set()
        for entry in entries:
            if entry["id"] not in kept:
                continue
            more |= {one for one in entry["depends_on"] if one in place and one not in kept}
            if "mode" not in entry:
                for other in entries:
                    same = "mode" not in other and other.get("group") == entry.get("group")
                    older = place[other["id"]] < place[entry["id"]] or when[other["id"]] <= when[entry["id"]]
                    if same and older and other["id"] not in kept:
                        more.add(other["id"])
        if not more:
            break
        for one in more:
            reasons[one] = set()
        kept |= more
    named = {one for entry in entries if entry["id"] in kept for one in entry["depends_on"]}
    for one in kept:
        reasons[one] = reasons[one] or {"needed" if one in named else "termbackup6"}
    return {entry["id"]: ("keep" if entry["id"] in kept else "remove", reasons[entry["id"]])
            for entry in entries if judged(entry)}


def make_ledger(dice):
    """Entries in and out of order, in several groups, with arbitrary dependencies."""
    count = dice.randrange(1, 30)
    ids = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(count)]
    tidy = dice.random() < 0.5
    spread = dice.choice([3, 40, 800, 6000])
    today = now().replace(minute=30, second=0)
    entries = []
    for number in range(count):
        if tidy:
            days = spread * (count - number) / count
        else:
            days = dice.choice([dice.uniform(0, spread), dice.randrange(spread), -dice.uniform(2, 900)])
        when = today - datetime.timedelta(days=round(days * 24) / 24, hours=2)
        if dice.random() < 0.2:
            when = when.astimezone(datetime.timezone(datetime.timedelta(hours=dice.randrange(-12, 14), minutes=30)))
        entry = {"id": ids[number], "filename": f"backup_{number}.tbk", "sha256": ids[number], "size": number,
                 "created_at": when.isoformat(), "depends_on": []}
        if dice.random() < 0.85:
            others = ids[:number] if tidy else [one for one in ids if one != ids[number]] + ["f" * 64]
            entry["depends_on"] = dice.sample(others, min(len(others), dice.choice([0, 0, 1, 3])))
            entry["mode"] = "incremental" if entry["depends_on"] else "full"
            if dice.random() < 0.7:
                entry["group"] = dice.choice(["a", "b"])
        entries.append(entry)
    return entries


def make_rules(dice):
    if dice.random() < 0.3:
        rules = {"max-backups": dice.randrange(1, 9), "retention-days": dice.randrange(1, 900)}
        return dict(dice.sample(sorted(rules.items()), dice.randrange(1, 3)))
    rules = {"keep-within": f"{dice.randrange(1, 60)}{dice.choice('hdwmy')}",
             **{f"keep-{rule}": dice.randrange(1, 8) for rule in KEEP if rule != "within"}}
    return dict(dice.sample(sorted(rules.items()), dice.randrange(1, 5)))


def options(rules):
    return [word for rule, value in rules.items() for word in (f"--{rule}", str(value))]


def put_ledger(store, entries):
    store.mkdir(exist_ok=True)
    (store / "metadata.json").write_text(json.dumps(
        {"tool_version": "6.0.0", "repository": "", "created_at": "2026-01-01T00:00:00+00:00", "backups": entries}))


def read_ids(store):
    return [entry["id"] for entry in json.loads((store / "metadata.json").read_text())["backups"]]


@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_stays_is_what_the_model_keeps(tbk, tmp_path, seed):
    dice = random.Random(seed)
    for number in range(4):
        entries, rules = make_ledger(dice), make_rules(dice)
        store = tmp_path / f"store{number}"
        put_ledger(store, entries)
        group = dice.choice(["every", "every", "a", None])
        chosen = [] if group == "every" else ["--group", "-"] if group is None else ["--group", group, "--new-group"]
        done = tbk.run("tbk-prune", store, *options(rules), *chosen, "--allow-empty", "--dry-run")
        rows = [line.split("\t") for line in done.lines]
        wanted = expected(entries, rules, group)
        found = {row[1]: (row[0], set(row[4].split(",")) - {"-"}) for row in rows}
        assert found == wanted, f"{rules} {group}"
        judged = [entry for entry in entries if entry["id"] in wanted]
        assert [row[1:4] for row in rows] == [
            [entry["id"], entry["created_at"], str(entry["size"])] for entry in judged]
        assert read_ids(store) == [entry["id"] for entry in entries]
        if number > 0:
            continue
        tbk.run("tbk-prune", store, *options(rules), *chosen, "--allow-empty")
        assert read_ids(store) == [entry["id"] for entry in entries
                                   if wanted.get(entry["id"], ("keep",))[0] == "keep"]
        again = tbk.run("tbk-prune", store, *options(rules), *chosen, "--allow-empty")
        assert all(line.startswith("keep\t") for line in again.lines)


def test_the_model_is_tried_on_every_reason():
    seen = set()
    for seed in range(SEEDS):
        dice = random.Random(seed)
        for _ in range(4):
            entries, rules = make_ledger(dice), make_rules(dice)
            dice.choice(["every", "every", "a", None])
            for action, reasons in expected(entries, rules).values():
                seen |= {(action, reason) for reason in reasons or {""}}
    assert seen == {("keep", reason) for reason in [*KEEP, "count", "age", "needed", "termbackup6", "future"]} | {
        ("remove", ""), ("remove", "over-count"), ("remove", "over-age")}


# Stores


def push(tbk, store, seed, days=0, needs=(), group=None, manifest=True, env=None, status=0):
    """Pushes archive number `seed`, made so many days ago; returns its id."""
    data = archive(seed)
    receipt = tbk.scratch / f"receipt{os.getpid()}.{seed}"
    receipt.write_text(json.dumps({
        "receipt": 1, "id": identify(data), "created_at": (now() - days * DAY).isoformat(), "file_count": 1,
        "mode": "incremental" if needs else "full", "depends_on": list(needs), "complete": True}))
    arguments = ["-q", "--receipt", receipt]
    if manifest:
        sealed = tbk.scratch / f"sealed{seed}"
        sealed.write_bytes(archive(seed + 1000))
        arguments += ["--sealed-manifest", sealed]
    if group:
        arguments += ["--group", group, "--new-group"]
    tbk.run("tbk-push", store, *arguments, input=data, env=env, status=status)
    return identify(data)


@pytest.fixture
def store(tmp_path):
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


def files_of(store):
    return sorted(path.name for folder in ("backups", "manifests") for path in (store / folder).glob("*"))


def names_of(ids):
    return sorted(f"{kind}_{one[:12]}.tbk" for one in ids for kind in ("backup", "manifest"))


def test_archives_and_manifests_go_with_their_entries(tbk, store):
    ids = [push(tbk, store, seed, days=20 - seed) for seed in range(6)]
    needed = push(tbk, store, 6, needs=[ids[1]])
    before = json.loads((store / "metadata.json").read_text())
    done = tbk.run("tbk-prune", store, "--keep-last", "2")
    assert [line.split("\t")[0] == "keep" for line in done.lines] == [False, True, False, False, False, True, True]
    assert done.lines[1].endswith("\tneeded") and done.lines[6].endswith("\tlast")
    stay = [ids[1], ids[5], needed]
    assert read_ids(store) == stay and files_of(store) == names_of(stay)
    after = json.loads((store / "metadata.json").read_text())
    assert after["sequence"] == before["sequence"] + 1
    for one in stay:
        tbk.run("tbk-pull", store, one)
    assert b"removed 4 of 7 backups" in done.err


def test_a_dry_run_changes_nothing(tbk, store):
    for seed in range(4):
        push(tbk, store, seed)
    before = snapshot(store)
    done = tbk.run("tbk-prune", store, "--keep-last", "1", "-n")
    assert [line.split("\t")[0] for line in done.lines] == ["remove", "remove", "remove", "keep"]
    assert b"would remove 3 of 4 backups" in done.err
    assert snapshot(store) == before
    assert tbk.run("tbk-prune", store, "--keep-last", "1", "--dry-run", "-q").err == b""


def test_json_lines_say_the_same(tbk, store):
    first = push(tbk, store, 1, days=3, group="g")
    last = push(tbk, store, 2)
    push(tbk, store, 3)
    text = tbk.run("tbk-prune", store, "--keep-daily", "1", "--keep-last", "1", "--dry-run")
    done = tbk.run("tbk-prune", store, "--keep-daily", "1", "--keep-last", "1", "--json")
    objects = [json.loads(line) for line in done.lines]
    assert [[one["action"], one["id"], one["created_at"], str(one["size"]), ",".join(one["reasons"]) or "-"]
            for one in objects] == [line.split("\t") for line in text.lines]
    assert [set(one) for one in objects] == [{"action", "id", "created_at", "size", "group", "reasons", "needed_by"}] * 3
    assert (objects[0]["id"], objects[0]["group"], objects[0]["reasons"]) == (first, "g", ["last", "daily"])
    assert (objects[1]["id"], objects[1]["group"], objects[1]["reasons"]) == (last, None, [])


@pytest.mark.parametrize("arguments", [
    [], ["--group", "g"], ["--keep-last", "0"], ["--keep-last", "-1"], ["--keep-last", "many"], ["--keep-last", "1.5"],
    ["--keep-daily", "99999999999"], ["--keep-within", "3"], ["--keep-within", "d"], ["--keep-within", "3 d"],
    ["--keep-within", "0d"], ["--max-backups", "0"], ["--retention-days", "0"],
    ["--keep-last", "3", "--max-backups", "3"],
    ["--keep-last", "3", "--group", "../x"], ["--keep-last", "3", "--group", ""], ["--next-mode", "--keep-last", "3"],
    ["--next-mode", "--max-backups", "3"], ["--next-mode", "--max-backups", "3", "--group", "g", "--dry-run"],
])
def test_wrong_rules_are_refused_before_the_store_is_asked(tbk, tmp_path, arguments):
    assert tbk.run("tbk-prune", tmp_path / "absent", *arguments, status=64).out == b""


def test_the_last_backup_of_a_group_goes_only_where_that_is_meant(tbk, store):
    old = push(tbk, store, 1, days=40, group="old")
    push(tbk, store, 2, days=40, group="new")
    new = push(tbk, store, 3, days=1, group="new")
    for more in ([], ["--dry-run"], ["--group", "old"]):
        refused = tbk.run("tbk-prune", store, "--retention-days", "30", *more, status=77)
        assert refused.out == b"" and b"group old" in refused.err and b"--allow-empty" in refused.err
    error = json.loads(tbk.run("tbk-prune", store, "--retention-days", "30", "--json", status=77).err)["error"]
    assert (error["type"], error["status"]) == ("AccessError", 77)
    assert len(read_ids(store)) == 3
    tbk.run("tbk-prune", store, "--retention-days", "30", "--group", "new")
    assert read_ids(store) == [old, new]
    tbk.run("tbk-prune", store, "--retention-days", "30", "--allow-empty")
    assert read_ids(store) == [new] and files_of(store) == names_of([new])


def test_a_store_without_backups_has_nothing_to_remove(tbk, store, tmp_path):
    done = tbk.run("tbk-prune", store, "--keep-last", "1")
    assert done.out == b"" and list(store.iterdir()) == []
    push(tbk, store, 1)
    assert b"has no group nobody" in tbk.run("tbk-prune", store, "--keep-last", "1", "--group", "nobody", status=69).err
    assert tbk.run("tbk-prune", store, "--keep-last", "1", "--group", "nobody", "--new-group").out == b""
    tbk.run("tbk-prune", tmp_path / "absent", "--keep-last", "1", status=69)
    (store / "metadata.json").write_text("{")
    tbk.run("tbk-prune", store, "--keep-last", "1", status=65)


def test_a_clock_ahead_or_behind_removes_nothing_more(tbk, store):
    ids = [push(tbk, store, seed, days=days) for seed, days in enumerate([3, 2, 1, -400, 900])]
    done = tbk.run("tbk-prune", store, "--max-backups", "2")
    # The last two by time, the last two by position, and the one from the future.
    assert read_ids(store) == [ids[1], ids[2], ids[3], ids[4]]
    assert done.lines[3].endswith("\tfuture") and b"in the future" in done.err and ids[3].encode() in done.err


def test_what_termbackup_6_stored_stays_as_long_as_it_may_be_needed(tbk, store):
    def entry(number, days):
        return {"id": hashlib.sha256(b"%d" % number).hexdigest(), "filename": f"backup_{number}.tbk",
                "sha256": "0" * 64, "commit_sha": "x", "size": 9,
                "created_at": (now() - days * DAY).isoformat(), "file_count": 1,
                "verified": False, "verified_at": None, "archive_version": 2, "signature": None}
    old = [entry(number, 10 - number) for number in range(4)]
    put_ledger(store, old)
    done = tbk.run("tbk-prune", store, "--keep-last", "1")
    assert [line.split("\t")[4] for line in done.lines] == ["termbackup6"] * 3 + ["last"]
    assert b"3 backups of TermBackup 6" in done.err
    assert read_ids(store) == [one["id"] for one in old]
    ours = [push(tbk, store, seed) for seed in range(2)]
    tbk.run("tbk-prune", store, "--keep-last", "3")
    assert len(read_ids(store)) == 6
    tbk.run("tbk-prune", store, "--keep-last", "2")
    assert read_ids(store) == ours


def test_the_mode_of_the_next_backup(tbk, store):
    def mode(*limits, group="g"):
        return tbk.run("tbk-prune", store, "--next-mode", "--group", group, *limits).out.decode().strip()
    assert mode("--new-group", "--max-backups", "3") == "full"
    base = push(tbk, store, 1, days=10, group="g")
    push(tbk, store, 2, days=2, group="g", needs=[base])
    assert mode("--max-backups", "3") == mode("--retention-days", "11") == "incremental"
    assert mode("--max-backups", "2") == mode("--retention-days", "9") == "full"
    assert mode("--max-backups", "3", "--retention-days", "9") == "full"
    assert mode("--new-group", "--max-backups", "9", group="other") == "full"
    assert b"no group other" in tbk.run("tbk-prune", store, "--next-mode", "--group", "other", "--max-backups", "9", status=69).err
    push(tbk, store, 3, group="g")
    assert mode("--max-backups", "2") == mode("--retention-days", "1") == "incremental"
    assert len(read_ids(store)) == 3


def test_a_store_that_went_back_is_not_pruned(tbk, store):
    for seed in range(3):
        push(tbk, store, seed)
    old = (store / "metadata.json").read_bytes()
    push(tbk, store, 3)
    (store / "metadata.json").write_bytes(old)
    tbk.run("tbk-prune", store, "--keep-last", "1", status=65)
    assert len(read_ids(store)) == 3
    tbk.run("tbk-prune", store, "--keep-last", "1", "--accept-store-state")
    assert len(read_ids(store)) == 1


# Concurrent writers


WRITER = r"""
import hashlib, json, os, subprocess, sys
sys.path[:0] = sys.argv[1].split(os.pathsep)
from test_github_store import archive, identify
store, group, start, folder = sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5]
ids, again = [], 0
for seed in range(start, start + 15):
    data = archive(seed, 400)
    for attempt in range(50):
        receipt = {"receipt": 1, "id": identify(data), "created_at": "2026-01-01T00:00:00+00:00", "file_count": 1,
                   "mode": "incremental" if ids else "full", "depends_on": ids[-2:], "complete": True}
        with open(f"{folder}/receipt{start}", "w") as file:
            json.dump(receipt, file)
        done = subprocess.run([*sys.argv[6:], store, "-q", "--group", group, "--new-group", "--receipt", f"{folder}/receipt{start}"],
                              input=data, stdout=subprocess.DEVNULL)
        if done.returncode == 0:
            ids.append(identify(data))
            break
        if done.returncode != 75:
            sys.exit(done.returncode)
        # What it depends on has been pruned: start anew.
        ids, again = [], again + 1
    else:
        sys.exit(99)
print(json.dumps(identify(data)))
"""


def run_beside_writers(tbk, address, folder, environment, prune, kill=False):
    """Two writers of chains in different groups, and a pruner that runs all the time. Returns the last backup of each."""
    environment = {**tbk.environment, **environment}
    writers = []
    for group, start in (("one", 0), ("two", 100)):
        writers.append(subprocess.Popen(
            [sys.executable, "-c", WRITER, os.pathsep.join(sys.path), str(address), group, str(start), str(folder),
             tbk.path("tbk-push")], stdout=subprocess.PIPE,
            env={**environment, "TERMBACKUP_HOME": str(folder / f"home-{group}")}))
    dice, rounds, removed = random.Random(1), 0, 0
    deadline = time.monotonic() + PATIENCE
    while any(writer.poll() is None for writer in writers):
        assert time.monotonic() < deadline
        process = subprocess.Popen(
            [tbk.path("tbk-prune"), str(address), "--keep-last", "3", *prune], env=environment, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        if kill and dice.random() < 0.7:
            time.sleep(dice.uniform(0, 0.02))
            process.send_signal(signal.SIGKILL)
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0 or (kill and process.returncode == -signal.SIGKILL), err
        rounds += 1
        removed += out.count(b"remove\t")
    assert rounds > 2
    return [json.loads(writer.communicate()[0]) for writer in writers if writer.wait() == 0]


@pytest.mark.parametrize("kill", [False, True], ids=["whole", "killed"])
def test_a_pruner_and_two_writers_lose_nothing(tbk, store, tmp_path, kill):
    last = run_beside_writers(tbk, store, tmp_path, {}, [], kill)
    assert len(last) == 2
    tbk.run("tbk-prune", store, "--keep-last", "3")
    entries = json.loads((store / "metadata.json").read_text())["backups"]
    ids = [entry["id"] for entry in entries]
    assert set(last) <= set(ids)
    for entry in entries:
        assert set(entry["depends_on"]) <= set(ids)
        assert identify((store / "backups" / entry["filename"]).read_bytes()) == entry["sha256"]
    # One more commit removes what a killed process left; nothing else remains.
    push(tbk, store, 500, manifest=False)
    names = {entry["filename"] for entry in json.loads((store / "metadata.json").read_text())["backups"]}
    assert {name for name in files_of(store) if not name.startswith(".")} == names


def test_a_store_on_github_is_pruned_in_one_commit(github):
    for seed in range(4):
        push(github.commands, github.address, seed, env=github.environment, manifest=seed > 1)
    before = github.git("log", "--format=%H").splitlines()
    done = github.commands.run("tbk-prune", github.address, "--keep-last", "2", env=github.environment)
    assert [line.split("\t")[0] for line in done.lines] == ["remove", "remove", "keep", "keep"]
    assert b"git keeps what was ever committed" in done.err
    assert github.git("log", "--format=%H").splitlines()[1:] == before
    assert github.git("log", "-1", "--format=%s").strip() == "Remove 2 backups"
    clone = github.clone()
    assert len(list((clone / "backups").iterdir())) == len(list((clone / "manifests").iterdir())) == 2
    assert b"git keeps" not in github.commands.run(
        "tbk-prune", github.address, "--keep-last", "2", env=github.environment).err
    github.check()


# termbackup prune


def make_backups(shell, small, count, *fields, name="docs"):
    shell.profile(name, small, *fields)
    for number in range(count):
        put(os.path.join(small, "counter"), b"%d\n" % number)
        shell.run("run", name, "--no-prune", "-q")
    return shell.ids(name)


def age(shell, days):
    """Makes every backup of the store older, as seen by a machine that has not seen the store before."""
    ledger = shell.home / "store" / "metadata.json"
    text = json.loads(ledger.read_text())
    for entry in text["backups"]:
        entry["created_at"] = (datetime.datetime.fromisoformat(entry["created_at"]) - days * DAY).isoformat()
    ledger.write_text(json.dumps(text))
    shutil.rmtree(shell.home / "state")


def replace_program(shell, tmp_path, name, script):
    """Replaces a command of the suite by a script."""
    suite = shell.lib.parent.parent
    for folder in ("bin", "lib"):
        shutil.copytree(suite / folder, tmp_path / "suite" / folder, symlinks=True)
    (tmp_path / "suite" / "bin" / name).unlink()
    put(tmp_path / "script", script.encode(), 0o755)
    # It records its exit status, as the commands do.
    put(tmp_path / "suite" / "bin" / name, f"""#!/bin/sh
        TERMBACKUP_STAGE= '{tmp_path}/script' "$@"
        status=$?
        test -z "$TERMBACKUP_STAGE" || echo $status >"$TERMBACKUP_STAGE"
        exit $status
        """.encode(), 0o755)
    shell.lib = tmp_path / "suite" / "lib" / "termbackup"


def failing_prune(program):
    """A tbk-push that stores, but fails to remove old backups."""
    return f"""#!/bin/sh
        skipped=
        for word do
            shift
            case $word in
            --then-prune) skipped=1; continue ;;
            esac
            test -z "$skipped" || {{ skipped=; continue; }}
            set -- "$@" "$word"
        done
        '{program}' tbk-push "$@" || exit
        printf 'failed\\t75\\tanother one is faster\\n'
        echo 'tbk-push: warning: the backup is stored, but old backups were not removed: another one is faster' >&2
        """


def audit(shell):
    return [entry for entry in map(json.loads, (shell.home / "audit.log").read_text().splitlines())
            if entry["operation"] == "prune"]


def test_prune_shows_what_stays_and_removes_the_rest(shell, small, tmp_path):
    ids = make_backups(shell, small, 4)
    shown = shell.run("prune", "docs", "--keep-last", "2", "--dry-run").stdout.decode().splitlines()
    assert shown[0].split() == ["WHAT", "ID", "TIME", "SIZE", "WHY"]
    actions = ["remove", "remove", "keep", "keep"]
    assert [line.split()[:2] for line in shown[1:5]] == [list(pair) for pair in zip(actions, ids)]
    assert shown[5].startswith("Would remove 2 of 4 backups, ")
    assert shell.ids("docs") == ids and audit(shell) == []
    shown = shell.run("prune", "docs", "--keep-last=2").stdout.decode().splitlines()
    assert shown[5].startswith("Removed 2 of 4 backups, ")
    assert shell.ids("docs") == ids[2:]
    (entry,) = audit(shell)
    assert (entry["profile"], entry["status"]) == ("docs", "success")
    details = entry["details"]
    assert (details["removed_count"], details["kept_count"]) == (2, 2) and details["bytes"] > 0
    assert b"\nNothing to remove: 2 backups stay\n" in shell.run("prune", "docs", "--keep-last", "2").stdout
    assert shell.run("prune", "docs", "--keep-last", "1", "-q").stdout == b""
    assert shell.ids("docs") == ids[3:]
    shell.run("restore", "latest", "-p", "docs", "--to", tmp_path / "out")


def test_the_limits_of_the_profile_are_the_rules_unless_others_are_given(shell, small):
    ids = make_backups(shell, small, 4, "--max-backups", "3")
    objects = [json.loads(line) for line in shell.run("prune", "docs", "--dry-run", "--json").stdout.splitlines()]
    assert [one["action"] for one in objects] == ["remove", "keep", "keep", "keep"]
    shell.run("prune", "docs", "--max-backups", "10")
    assert shell.ids("docs") == ids
    done = shell.run("prune", "docs", "--json")
    assert [json.loads(line)["action"] for line in done.stdout.splitlines()] == ["remove", "keep", "keep", "keep"]
    assert shell.ids("docs") == ids[1:]
    shell.run("profile", "edit", "docs", "--unset", "max_backups")
    assert b"no rule is given" in shell.run("prune", "docs", status=64).stderr
    assert b"--keep-last" in shell.run("prune", "docs", "--keep-last", "none", status=64).stderr
    assert shell.ids("docs") == ids[1:]


def test_other_profiles_of_the_store_are_not_touched(shell, small):
    mine = make_backups(shell, small, 2)
    others = make_backups(shell, small, 2, name="other")
    shell.run("prune", "docs", "--keep-last", "1")
    assert shell.ids("docs") == mine[1:] and shell.ids("other") == others


def test_a_terminal_is_asked_first(shell, small):
    ids = make_backups(shell, small, 3)
    question = b"Remove 2 of 3 backups? [y/N] "
    status, shown = on_terminal(shell, [(question, b"n")], "prune", "docs", "--keep-last", "1")
    assert status == 0 and ids[0].encode() in shown and b"nothing was removed" in shown
    assert shell.ids("docs") == ids and audit(shell) == []
    status, shown = on_terminal(shell, [(question, b"y")], "prune", "docs", "--keep-last", "1")
    assert status == 0 and b"Removed 2 of 3 backups" in shown
    assert shell.ids("docs") == ids[2:]
    status, shown = on_terminal(shell, [], "prune", "docs", "--keep-last", "1")
    assert status == 0 and b"Nothing to remove" in shown
    put(os.path.join(small, "counter"), b"again\n")
    shell.run("run", "docs")
    status, shown = on_terminal(shell, [], "prune", "docs", "--keep-last", "1", "--yes")
    assert status == 0 and len(shell.ids("docs")) == 1


def test_a_prune_that_is_refused_is_in_the_audit_log(shell, small):
    make_backups(shell, small, 1)
    age(shell, 50)
    refused = shell.run("prune", "docs", "--retention-days", "30", status=77)
    assert b"--allow-empty" in refused.stderr
    error = json.loads(shell.run("prune", "docs", "--retention-days", "30", "--json", status=77).stderr)["error"]
    assert error["type"] == "AccessError"
    assert [(entry["status"], entry["details"]) for entry in audit(shell)] == [
        ("failure", {"error": "refused by the store or by the rules"})] * 2
    shell.run("prune", "docs", "--retention-days", "30", "--allow-empty")
    assert read_ids(shell.home / "store") == []


# Retention after a run


def change(small, word):
    put(os.path.join(small, "counter"), word.encode())


def test_a_run_ends_with_the_retention(shell, small):
    shell.profile("docs", small, "--max-backups", "2")
    for number in range(2):
        change(small, str(number))
        assert json.loads(shell.run("run", "docs", "--json").stdout)["removed_count"] == 0
    assert audit(shell) == []
    change(small, "more")
    assert b"removed  1 old, " in shell.run("run", "docs").stdout
    assert len(shell.ids("docs")) == 2
    assert [entry["details"]["removed_count"] for entry in audit(shell)] == [1]
    change(small, "and more")
    made = json.loads(shell.run("run", "docs", "--json", "--no-prune").stdout)
    assert made["removed_count"] is None and len(shell.ids("docs")) == 3
    change(small, "again")
    assert json.loads(shell.run("run", "docs", "--json").stdout)["removed_count"] == 2
    assert len(shell.ids("docs")) == 2


def test_without_limits_a_run_removes_nothing(shell, small):
    make_backups(shell, small, 3)
    change(small, "more")
    assert json.loads(shell.run("run", "docs", "--json").stdout)["removed_count"] is None
    assert len(shell.ids("docs")) == 4 and audit(shell) == []


def test_an_incremental_profile_begins_anew_when_its_base_is_too_old(shell, small, tmp_path):
    shell.profile("docs", small, "--mode", "incremental", "--max-backups", "3")
    modes, counts = [], []
    for number in range(7):
        change(small, str(number))
        modes.append(json.loads(shell.run("run", "docs", "--json").stdout)["mode"])
        counts.append(len(shell.ids("docs")))
        entries = json.loads((shell.home / "store" / "metadata.json").read_text())["backups"]
        ids = {entry["id"] for entry in entries}
        assert all(set(entry["depends_on"]) <= ids for entry in entries)
    assert modes == ["full", "incremental", "incremental"] * 2 + ["full"]
    # The last three, and the backups that the oldest of them needs.
    assert max(counts) <= 5
    shell.run("verify", "--all", "-p", "docs")
    shell.run("restore", "latest", "-p", "docs", "--to", tmp_path / "out")
    assert snapshot(tmp_path / "out") == snapshot(small)


def test_what_is_too_old_goes_once_there_is_something_newer(shell, small):
    shell.profile("docs", small, "--mode", "incremental", "--retention-days", "30")
    shell.run("run", "docs")
    change(small, "1")
    shell.run("run", "docs")
    age(shell, 31)
    # Nothing has changed, but every backup is too old: a full one replaces them.
    made = json.loads(shell.run("run", "docs", "--json").stdout)
    assert (made["status"], made["mode"], made["removed_count"]) == ("success", "full", 2)
    assert len(shell.ids("docs")) == 1
    assert b"Nothing has changed" in shell.run("run", "docs").stdout


def test_a_dry_run_removes_nothing_and_tells_the_mode(shell, small):
    shell.profile("docs", small, "--mode", "incremental", "--max-backups", "1")
    shell.run("run", "docs")
    change(small, "1")
    done = shell.run("run", "docs", "--dry-run", "--json")
    assert json.loads(done.stdout)["mode"] == "full" and len(shell.ids("docs")) == 1


def test_a_retention_that_fails_changes_nothing_else(shell, small, tmp_path):
    """The backup is stored, and the run reports success."""
    shell.profile("docs", small, "--max-backups", "1")
    shell.run("run", "docs", "-q")
    change(small, "more")
    replace_program(shell, tmp_path, "tbk-push", failing_prune(shell.lib / "tbk-net"))
    done = shell.run("run", "docs")
    assert b"another one is faster" in done.stderr
    assert b"the backup is complete, but old backups were not removed: busy" in done.stderr
    assert len(shell.ids("docs")) == 2
    assert [(entry["status"], entry["details"]) for entry in audit(shell)] == [("failure", {"error": "busy"})]
    change(small, "more still")
    done = shell.run("run", "docs", "--json")
    assert json.loads(done.stdout)["status"] == "success" and b"old backups were not removed" in done.stderr


def test_a_retention_that_fails_with_nothing_changed_changes_nothing_else(shell, small, tmp_path):
    """With a tbk-prune that fails."""
    shell.profile("docs", small, "--mode", "incremental")
    for word in ("one", "two", "three"):
        change(small, word)
        shell.run("run", "docs", "-q", "--full")
    shell.run("profile", "edit", "docs", "--max-backups", "2")
    replace_program(shell, tmp_path, "tbk-prune", "#!/bin/sh\necho 'tbk-prune: error: no more' >&2\nexit 69\n")
    done = shell.run("run", "docs")
    assert b"Nothing has changed" in done.stdout and b"tbk-prune: error: no more" in done.stderr
    assert b"the backup is complete, but old backups were not removed: store unavailable" in done.stderr
    assert [(entry["status"], entry["details"]) for entry in audit(shell)] == [("failure", {"error": "store unavailable"})]


def test_no_backup_is_removed_for_one_that_is_not_complete(shell, small, tmp_path):
    """A run with exit status 3 removes nothing."""
    shell.profile("docs", small, "--max-backups", "1")
    shell.run("run", "docs", "-q")
    program = shell.lib / "tbk"
    replace_program(shell, tmp_path, "tbk-manifest", f"#!/bin/sh\n'{program}' tbk-manifest \"$@\" |\n"
                    """sed 's|"unreadable":\\[]|"unreadable":[{"relative_path":"secret","reason":"denied"}]|'\nexit 3\n""")
    change(small, "more")
    done = shell.run("run", "docs", status=3)
    assert b"not complete" in done.stderr and len(shell.ids("docs")) == 2 and audit(shell) == []


# On a full disk


def fill(disk):
    """Fills the file system to the last block."""
    for size in (65536, 4096, 1):
        with contextlib.suppress(OSError), open(disk / "other", "ab", buffering=0) as file:
            while True:
                file.write(bytes(size))


def test_removing_needs_no_room_where_home_and_store_are(shell, small, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], capture_output=True).returncode:
        absent("the right to mount a file system")
    try:
        shell.home = disk / "home"
        shell.environment["TERMBACKUP_HOME"] = str(shell.home)
        shell.profile("p", small)
        for number in range(4):
            put(os.path.join(small, "number"), b"%d" % number)
            shell.run("run", "p")
        store = shell.home / "store"
        ids = read_ids(store)
        put(shell.home / "cache" / ("0" * 32) / "old.tbk", b"x" * 9000)
        fill(disk)
        shell.run("prune", "p", "--keep-last", "3", "--yes")
        assert read_ids(store) == ids[1:] and files_of(store) == names_of(ids[1:])
        fill(disk)
        shell.run("clean")
        assert not (shell.home / "cache" / ("0" * 32)).exists()
        fill(disk)
        shell.tbk.run("tbk-store", "remove", store, ids[1], env={"TERMBACKUP_HOME": str(shell.home)})
        assert read_ids(store) == ids[2:]
        (disk / "other").unlink()
        shell.run("verify", "--all", "-p", "p")
        shell.run("run", "p")
    finally:
        subprocess.run(["umount", disk], check=True)

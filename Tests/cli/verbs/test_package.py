"""termbackup package, under each supported shell."""

import json
import os

import pytest
from conftest import PASSWORD, PATIENCE, put, snapshot
from package_fixture import old, place  # noqa: F401
from shell_fixture import on_terminal, shell  # noqa: F401

NEW = b"another password"


def test_a_directory_comes_back_out_of_its_package(place, tree):
    said = place.shell.run("package", tree).stdout.decode()
    assert said.startswith("Packaged tree\n") and str(place.packages / "tree.tbk") in said
    assert os.listdir(place.packages) == ["tree.tbk"]
    said = place.shell.run("unpack", "tree", "--setuid").stdout.decode()
    assert said.startswith(f"Unpacked to {place.restored / 'tree'}\n")
    assert snapshot(place.restored / "tree") == snapshot(tree)


@pytest.mark.parametrize("given", ["{}/", "{}//", "./small", "small", "{}/d/.."])
def test_the_name_is_that_of_the_directory(place, small, tmp_path, given):
    place.shell.run("package", given.format(small), cwd=tmp_path)
    assert os.listdir(place.packages) == ["small.tbk"]


@pytest.mark.parametrize("name", ["-r", " a b ", "quote'\"$(touch x)", "new\nline", "star*", "--to"])
def test_awkward_names_come_back(place, tmp_path, name):
    put(tmp_path / "odd" / name / "file", b"content\n")
    place.shell.run("package", "--", name, cwd=tmp_path / "odd")
    assert os.listdir(place.packages) == [name + ".tbk"]
    place.shell.run("unpack", "--", name, cwd=tmp_path)
    assert (place.restored / name / "file").read_bytes() == b"content\n"


def test_to_and_output_say_where(place, small, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    place.shell.run("package", small, "--to", other)
    place.shell.run("package", small, "-o", tmp_path / "one.tbk")
    sent = place.shell.run("package", small, "-o", "-").stdout
    assert os.listdir(other) == ["small.tbk"] and os.listdir(place.packages) == []
    (tmp_path / "sent").write_bytes(sent)
    for number, package in enumerate((other / "small.tbk", tmp_path / "one.tbk", tmp_path / "sent")):
        place.shell.run("unpack", package, "--to", tmp_path / f"out{number}")
        assert snapshot(tmp_path / f"out{number}") == snapshot(small)
    with open(tmp_path / "sent", "rb") as package:
        place.shell.run("unpack", "-", "--to", tmp_path / "from pipe", stdin=package)
    assert snapshot(tmp_path / "from pipe") == snapshot(small)
    place.shell.run("unpack", "-", status=64)


def test_packages_open_with_the_commands_of_the_suite(place, small):
    place.shell.run("package", small, "--level", "9")
    assert place.shell.tbk.open(place.file("small.tbk"), "--cat", "plain").out == b"plain\n"


def test_patterns_leave_things_out(place, small, tmp_path):
    put(tmp_path / "patterns", b"other\n")
    put(os.path.join(small, ".git", "config"), b"x")
    place.shell.run("package", small, "--exclude", "/empty/", "--exclude-from", tmp_path / "patterns",
                    "--exclude-defaults", "--exclude=lin*")
    place.shell.run("unpack", "small")
    assert sorted(snapshot(place.restored / "small")) == [b"", b"d", b"d/inside", b"plain"]


def test_a_new_package_replaces_the_old_when_it_is_complete(place, small):
    place.shell.run("package", small)
    before = place.file("small.tbk")
    put(os.path.join(small, "more"), b"more\n")
    place.shell.run("package", small)
    assert place.file("small.tbk") != before
    place.shell.run("unpack", "small")
    assert (place.restored / "small" / "more").read_bytes() == b"more\n"


def test_an_incomplete_package_does_not_replace_a_complete_one(unprivileged):
    tbk, folder = unprivileged
    source = folder / "docs"
    put(source / "open", b"open\n")
    put(source / "closed", b"closed\n")
    (folder / "packages").mkdir()
    for path in (folder, source, source / "open", source / "closed", folder / "packages"):
        os.chown(path, 65534, 65534)

    def run(*arguments, status=0):
        process = tbk.start("termbackup", *arguments, env=given, **tbk.user)
        _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == status, said
        return said

    given = {"TERMBACKUP_PASSWORD_FILE": str(tbk.password_file)}
    run("init", "-q")
    package = folder / "packages" / "docs.tbk"
    command = ["package", str(source), "--to", str(folder / "packages"), "-q"]
    (source / "closed").chmod(0)
    run(*command, status=3)
    (source / "closed").chmod(0o600)
    run(*command)
    before = package.read_bytes()
    (source / "closed").chmod(0)
    said = run(*command, status=73)
    assert b"closed" in said and b"not complete" in said
    assert b"--accept-incomplete" in said and b"--overwrite" not in said
    assert package.read_bytes() == before
    run(*command, "--accept-incomplete", status=3)
    assert package.read_bytes() != before
    assert tbk.open(package.read_bytes(), "--list").lines == ["open"]
    assert sorted(os.listdir(folder / "packages")) == ["docs.tbk"]


def test_packages_below_the_directory_are_not_in_it(place, small):
    inside = os.path.join(small, "packages")
    os.mkdir(inside)
    put(os.path.join(inside, "old.tbk"), b"old")
    for _ in range(2):
        place.shell.run("package", small, "--to", inside)
    place.shell.run("unpack", os.path.join(inside, "small.tbk"), "--to", place.restored / "x")
    assert os.listdir(place.restored / "x") and not (place.restored / "x" / "packages").exists()
    for _ in range(2):
        place.shell.run("package", small, "-o", os.path.join(small, "me.tbk"))
    place.shell.run("unpack", os.path.join(small, "me.tbk"), "--to", place.restored / "y")
    assert "me.tbk" not in os.listdir(place.restored / "y")
    assert (place.restored / "y" / "packages" / "old.tbk").exists()


def test_dry_run_writes_nothing_and_needs_no_password(place, small):
    said = place.shell.run("package", small, "--dry-run", password=None).stdout.decode()
    assert said == f"Would package small as {place.packages}/small.tbk: 6 entries\n"
    answer = json.loads(place.shell.run("package", small, "--dry-run", "--json", "--exclude", "d", password=None).stdout)
    assert (answer["status"], answer["entry_count"]) == ("would-package", 3)
    assert os.listdir(place.packages) == [] and not (place.shell.home / "package-check.tbk").exists()
    place.shell.run("package", small)
    said = place.shell.run("unpack", "small", "--dry-run").stdout
    assert b"create\tplain\n" in said and os.listdir(place.restored) == []


def test_json_reports_and_errors(place, small, tmp_path):
    made = json.loads(place.shell.run("package", small, "--json").stdout)
    assert (made["name"], made["status"], made["receipt"]["file_count"]) == ("small", "success", 3)
    assert made["size"] == (place.packages / "small.tbk").stat().st_size
    back = json.loads(place.shell.run("unpack", "small", "--json").stdout)
    assert (back["status"], back["to"], back["summary"]["file_count"]) == ("success", str(place.restored / "small"), 3)
    for arguments, status in ((("unpack", "none"), 66), (("package", tmp_path / "none"), 66), (("unpack", "small"), 73)):
        result = place.shell.run(arguments[0], *arguments[1:], "--json", status=status)
        assert json.loads(result.stderr.splitlines()[-1])["error"]["status"] == status


def test_quiet_is_quiet(place, small):
    for verb, operand in (("package", small), ("unpack", "small")):
        result = place.shell.run(verb, operand, "-q")
        assert (result.stdout, result.stderr) == (b"", b"")


@pytest.mark.parametrize("arguments", [
    ["package"], ["package", "a", "b"], ["package", ".", "--to", "x", "-o", "y"], ["package", ".", "--level", "10"],
    ["package", ".", "-o", "-", "--json"], ["package", "/"], ["unpack"], ["unpack", "a", "b"], ["unpack", "a", "--overwrite", "x"],
    ["import-mbu"], ["import-mbu", "a", "b"], ["import-mbu", "a", "--packages", "x"], ["import-mbu", "a", "--remove-old"],
    ["import-mbu", "a", "--reseal", "--mbu-password-fd", "x"]])
def test_wrong_usage_is_64(place, arguments, tmp_path):
    place.shell.run(*arguments, status=64, cwd=tmp_path)


def test_directories_have_to_be_configured_and_there(place, small, tmp_path):
    place.shell.tbk.run("tbk-config", "unset", "package_dir")
    assert b"tbk-config set package_dir" in place.shell.run("package", small, status=78).stderr
    place.shell.run("package", small, "--to", tmp_path / "none", status=73)
    place.shell.run("package", tmp_path / "none", "--to", tmp_path, status=66)
    place.shell.run("package", small, "-o", tmp_path / "p.tbk")
    place.shell.tbk.run("tbk-config", "unset", "restore_dir")
    place.shell.run("unpack", tmp_path / "p.tbk", status=78)


def test_a_mistyped_password_makes_no_package(place, small):
    place.shell.run("package", small)
    before = place.file("small.tbk")
    said = place.shell.run("package", small, status=77, password=b"mistyped").stderr
    assert b"--new-password" in said and place.file("small.tbk") == before
    assert b"mistyped" not in said


def test_another_password_is_taken_when_told(place, small):
    place.shell.run("package", small)
    check = place.shell.home / "package-check.tbk"
    assert check.stat().st_mode & 0o777 == 0o600
    place.shell.run("package", small, "--new-password", password=NEW)
    place.shell.run("package", small, password=NEW)
    place.shell.run("package", small, status=77)
    place.shell.run("unpack", "small", password=NEW)
    check.unlink()
    place.shell.run("package", small)


def test_the_first_password_is_asked_for_twice(place, small):
    ended, shown = on_terminal(place.shell, [(b"Password: ", b"one"), (b"again: ", b"two")] * 3, "package", small)
    assert ended == 64 and not (place.shell.home / "package-check.tbk").exists(), shown
    ended, shown = on_terminal(place.shell, [(b"Password: ", PASSWORD), (b"again: ", PASSWORD)], "package", small)
    assert ended == 0, shown
    ended, shown = on_terminal(place.shell, [(b"Password: ", PASSWORD)], "package", small)
    assert ended == 0 and b"again" not in shown


def test_a_check_that_was_altered_stops_a_package(place, small):
    place.shell.run("package", small)
    check = place.shell.home / "package-check.tbk"
    check.write_bytes(check.read_bytes()[:-3])
    place.shell.run("package", small, status=65)


def test_what_is_done_is_in_the_audit_log_without_a_name(place, small):
    place.shell.run("package", small)
    place.shell.run("unpack", "small")
    place.shell.run("unpack", "small", status=73)
    lines = [json.loads(line) for line in (place.shell.home / "audit.log").read_text().splitlines()]
    found = [(line["operation"], line["status"]) for line in lines if line["operation"] in ("package", "unpack")]
    assert found == [("package", "success"), ("unpack", "success"), ("unpack", "failure")]
    assert "small" not in (place.shell.home / "audit.log").read_text()


def test_no_password_is_seen_by_other_processes(place, old, small, tmp_path):
    """Every command that is run records its arguments and environment."""
    spy = tmp_path / "spy"
    spy.mkdir()
    log = tmp_path / "log"
    for name in ("cat", "sed", "mkdir", "rm", "sh"):
        put(spy / name, f"#!/bin/sh\n{{ printf '%s\\n' \"$0 $*\"; env; }} >>'{log}'\nPATH=${{PATH#*:}}\nexec {name} \"$@\"\n"
            .encode(), 0o755)
    environment = {"PATH": f"{spy}:{place.shell.environment['PATH']}", "TERMBACKUP_PASSWORD": PASSWORD.decode()}
    place.shell.run("package", small, password=None, env=environment)
    place.shell.run("import-mbu", old.config, "--reseal", password=None, env=environment)
    assert PASSWORD not in log.read_bytes() and log.stat().st_size > 0

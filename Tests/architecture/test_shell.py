"""The shell layer only composes commands: what belongs in tbk-sh is not in bin/."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(path for path in (ROOT / "bin").rglob("*") if path.is_file() and not path.name.startswith(("tbk-store-", ".")))
# Lists in documented formats, by the file in the verb's directory that contains them: backups and ids as tbk-pull prints
# them, leftovers in a store, the preview of a restore, and the stores of profiles.
LISTS = ("/list", "/ids", "/done", ".left", "/preview", "/store ", "/results", "/others", "/header", "--summary")


def code(script):
    """The numbered lines of a script, without comments."""
    lines = enumerate(script.read_text().splitlines(), 1)
    return [(number, line) for number, line in lines if not line.lstrip().startswith("#") or number == 1]


def test_there_are_scripts():
    names = {path.name for path in SCRIPTS}
    assert {"termbackup", "run", "setup.sh"} <= names


def test_it_is_short():
    """Further code belongs in tbk-sh or in a command."""
    assert sum(len(path.read_text().splitlines()) for path in SCRIPTS) <= 3_500


def test_no_file_is_long():
    assert {path.name: count for path in SCRIPTS if (count := len(path.read_text().splitlines())) > 150} == {}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_only_composes(script):
    for number, line in code(script):
        where = f"{script.name}:{number}: {line.strip()}"
        assert not re.search(r"""\{\\?"|\w\\?":|:=null|tb_sh" object\b""", line), f"JSON: {where}"
        assert not re.search(r"\bgetopts\b|\bwhile test \$#|case \$1 in -", line), f"an option loop: {where}"
        assert not re.search(r"(?i)\busage:", line), f"a help text: {where}"
        if re.search(r"\b(sed|awk|grep)\b", line):
            assert not re.search(r"\.(err|said|status)\b", line), f"a message is read: {where}"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_only_lists_for_scripts_are_read(script):
    for number, line in code(script):
        if re.search(r"\b(sed|awk)\b", line):
            assert any(name in line for name in LISTS), f"{script.name}:{number}: {line.strip()}"


def test_every_function_that_is_called_is_there():
    text = "\n".join(line for script in SCRIPTS for _, line in code(script))
    defined = set(re.findall(r"^(tb_\w+)\(\) [{(]", text, re.MULTILINE))
    called = set(re.findall(r"^\s*(?:! )?(tb_\w+)(?= |$)", text, re.MULTILINE))
    assert {"tb_start", "tb_must", "tb_with"} <= defined
    assert called - defined == set()


def test_every_part_of_lib_is_declared():
    """Parts that all verbs use are listed in setup.sh, those of a single verb beside its options."""
    shared = re.search(r"^tb_use ([a-z ]+)$", (ROOT / "bin" / "lib" / "setup.sh").read_text(), re.MULTILINE)[1].split()
    declared = [re.findall(r'"(\w+)"', words) for path in (ROOT / "Sources" / "TBKWorkflow" / "Verbs").glob("*.swift")
                for words in re.findall(r"static let parts = \[(.*?)\]", path.read_text())]
    assert len(declared) > 10
    parts = {path.stem for path in (ROOT / "bin" / "lib").glob("*.sh")} - {"setup"}
    assert set(shared) | {word for words in declared for word in words} == parts
    assert not any(set(words) & set(shared) for words in declared)


def test_every_function_is_called():
    text = "\n".join(line for script in SCRIPTS for _, line in code(script))
    text += "\n".join(path.read_text() for path in (ROOT / "Sources" / "TBKWorkflow").rglob("*.swift"))
    for name in re.findall(r"^(tb_\w+)\(\) [{(]", text, re.MULTILINE):
        assert len(re.findall(rf"\b{name}\b", text)) > 1, name

"""Which module may import which, and a few rules for every source file."""

import pathlib
import re
import subprocess

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
SOURCES = REPOSITORY / "Sources"

# The same arrows as in docs/ARCHITECTURE.md. Every module may import what comes with the language.
LANGUAGE = {"Glibc", "Synchronization", "Dispatch"}
ARROWS = {
    "TBKCore": {"CSystem"},
    "TBKCrypto": {"TBKCore", "CCrypto", "CArgon2"},
    "TBKFormat": {"TBKCore"},
    "TBKArchive": {"TBKCore", "TBKCrypto", "TBKFormat", "CSystem", "CZlib", "CZstd"},
    "TBKStore": {"TBKCore", "TBKCrypto", "TBKFormat", "CSystem", "CCurl"},
    "TBKSettings": {"TBKCore", "TBKCrypto", "TBKFormat", "CSystem"},
    "TermBackup": {"TBKArchive", "TBKCore", "TBKCrypto", "TBKFormat"},
    "TBKWatch": {"TBKArchive", "TBKCore", "TBKFormat", "CSystem"},
    "TBKCommand": {"TBKCore", "CSystem", "ArgumentParser"},
    "TBKWorkflow": {"TBKArchive", "TBKSettings", "TBKCommand", "TBKCore", "TBKCrypto", "TBKFormat", "CSystem",
                    "ArgumentParser"},
    "tbk": {"TBKArchive", "TBKWatch", "TBKSettings", "TBKCommand", "TBKWorkflow", "TBKCore", "TBKCrypto", "TBKFormat", "CMemory",
            "CSystem", "ArgumentParser"},
    "tbk-net": {"TBKStore", "TBKSettings", "TBKCommand", "TBKCore", "TBKCrypto", "TBKFormat", "CMemory", "CSystem",
                "ArgumentParser"},
}
# Parsers do no I/O.
WITHOUT_SYSTEM = {"TBKFormat"}
LIBRARIES = {"CCrypto": "TBKCrypto", "CArgon2": "TBKCrypto", "CZlib": "TBKArchive", "CZstd": "TBKArchive", "CCurl": "TBKStore"}
LONGEST_FILE = 600
IMPORT = re.compile(
    r"^\s*(?:@\w+(?:\([^)]*\))?\s+)*(?:(?:public|package|internal|private|fileprivate)\s+)?"
    r"import\s+(?:(?:struct|class|enum|protocol|func|var|let|typealias)\s+)?(\w+)", re.MULTILINE)
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)


def swift_files():
    files = sorted(SOURCES.rglob("*.swift"))
    assert files
    return files


def module_of(path):
    return path.relative_to(SOURCES).parts[0]


def imports(path):
    return set(IMPORT.findall(COMMENT.sub("", path.read_text("utf-8"))))


def tracked(*suffixes):
    """The project's files: those that git tracks or would add; in an unpacked archive, all except build products."""
    if (REPOSITORY / ".git").exists():
        listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                                cwd=REPOSITORY, capture_output=True, check=True)
        paths = [REPOSITORY / name for name in listed.stdout.decode().split("\0") if name]
    else:
        paths = [path for path in REPOSITORY.rglob("*")
                 if not path.relative_to(REPOSITORY).parts[0].startswith(".build") and "__pycache__" not in path.parts]
    return [path for path in paths if path.is_file() and (not suffixes or path.suffix in suffixes)]


def test_every_module_has_its_arrows():
    modules = {module_of(path) for path in swift_files()}
    assert modules <= set(ARROWS), f"modules without arrows here: {modules - set(ARROWS)}"


@pytest.mark.parametrize("module", sorted(ARROWS))
def test_a_module_imports_only_what_its_arrows_allow(module):
    for path in swift_files():
        if module_of(path) == module:
            extra = imports(path) - ARROWS[module] - LANGUAGE
            assert not extra, f"{path.relative_to(REPOSITORY)} imports {', '.join(sorted(extra))}"


def test_arrows_form_no_circle():
    done = set()
    while len(done) < len(ARROWS):
        ready = {module for module in ARROWS if module not in done and not (ARROWS[module] & set(ARROWS)) - done}
        assert ready, f"a circle among {set(ARROWS) - done}"
        done |= ready


def test_each_library_is_imported_by_one_module():
    for path in swift_files():
        for library in imports(path) & set(LIBRARIES):
            assert module_of(path) == LIBRARIES[library], path


def test_formats_are_free_of_the_system():
    for path in swift_files():
        if module_of(path) in WITHOUT_SYSTEM:
            assert not imports(path) & {"Glibc", "CSystem", "Dispatch"}, path


def test_nothing_imports_foundation():
    for path in swift_files():
        found = {name for name in imports(path) if name.startswith("Foundation")}
        assert not found, f"{path.relative_to(REPOSITORY)} imports {found}"


def test_local_commands_do_not_know_stores():
    for path in (SOURCES / "tbk").rglob("*.swift"):
        assert not imports(path) & {"TBKStore", "CCurl"}, path


def test_the_package_declares_these_arrows():
    """Package.swift lets a target depend only on what the arrows allow."""
    package = (REPOSITORY / "Package.swift").read_text("utf-8")
    for module, arrows in ARROWS.items():
        declared = re.search(rf'arget\(\s*name: "{module}",?(.*?)swiftSettings', package, re.DOTALL)
        assert declared, module
        for name in re.findall(r'"(\w+)"', declared[1]):
            assert name in arrows, f"{module} is given {name}"


def test_no_file_is_too_long():
    for path in tracked(".swift", ".h", ".c", "") + list(SOURCES.rglob("*.[ch]")):
        if path.is_relative_to(SOURCES) or path.is_relative_to(REPOSITORY / "bin"):
            count = path.read_bytes().count(b"\n")
            assert count <= LONGEST_FILE, f"{path.relative_to(REPOSITORY)} has {count} lines"


def test_nothing_is_left_to_do():
    marks = re.compile(rb"\b(TO" rb"DO|FIX" rb"ME|X" rb"XX)\b")
    for path in tracked():
        if path.is_relative_to(REPOSITORY / "Tests" / "Vectors") or path.suffix == ".tbk":
            continue
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            # A template for mktemp(1) is allowed.
            assert not marks.search(line.replace(b"XXXX", b"")), f"{path.relative_to(REPOSITORY)}:{number}"

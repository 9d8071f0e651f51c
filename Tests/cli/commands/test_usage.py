"""Options and arguments that would have no effect are refused, before anything is read or written."""

import os

import pytest


@pytest.fixture
def archive(tbk, small, tmp_path):
    path = tmp_path / "a.tbk"
    path.write_bytes(tbk.seal(small))
    return path


IGNORED = {
    "tbk-open": [
        "--list --json -l ARCHIVE", "--list --json -0 ARCHIVE", "--header --expect-id 01234567 ARCHIVE", "-l ARCHIVE",
        "--verify -l ARCHIVE", "--verify -0 ARCHIVE", "-C OUT -0 ARCHIVE", "-C OUT --dry-run -0 -l ARCHIVE",
        "-C OUT --dry-run --json -0 ARCHIVE", "-C OUT --dry-run --counts-out OUT ARCHIVE", "--counts-out OUT ARCHIVE",
        "-C OUT --counts-out - ARCHIVE",
        "--list --include plain ARCHIVE", "--verify --overwrite always ARCHIVE", "--cat plain --json ARCHIVE",
        "--list --against MANIFEST ARCHIVE", "--strip-top --list ARCHIVE",
        "--list - -", "--verify --against -", "-C OUT --against - ARCHIVE -",
    ],
    "tbk-seal": [
        "--receipt - TREE", "--manifest-out - TREE", "--overwrite never TREE", "--overwrite never -o - TREE", "--strip-top TREE", "stream x TREE",
        "--iterations 65 TREE", "--lanes 65 TREE", "--memory 2097153 TREE", "--exclude x --directory TREE",
    ],
    "tbk-manifest": [
        "create --changes - --previous MANIFEST TREE", "create --changes OUT TREE", "show --json -l MANIFEST",
        "show --json -0 MANIFEST", "id --consolidated --needed MANIFEST", "diff --json -0 MANIFEST MANIFEST",
        "check --json -0 MANIFEST TREE", "diff - -",
    ],
    "tbk-config": ["profile show --json --shell docs"],
}


@pytest.mark.parametrize("name, arguments", [(name, each) for name, all in IGNORED.items() for each in all])
def test_what_would_not_be_heeded_is_refused(name, arguments, tbk, small, archive, tmp_path):
    words = {"ARCHIVE": archive, "TREE": small, "MANIFEST": tmp_path / "manifest", "OUT": tmp_path / "out"}
    words["MANIFEST"].write_bytes(tbk.manifest(small))
    before = sorted(os.listdir(tmp_path))
    result = tbk.run(name, *(words.get(word, word) for word in arguments.split()), status=64, cwd=tmp_path)
    assert result.out == b"" and sorted(os.listdir(tmp_path)) == before


def test_a_dash_is_a_standard_stream(tbk, small, archive, tmp_path):
    """If the command has one; no file of that name is created."""
    whole = archive.read_bytes()
    listed = tbk.run("tbk-open", "--list", archive).out
    assert tbk.run("tbk-open", "--list", "-", input=whole, cwd=tmp_path).out == listed
    assert tbk.open(tbk.seal(small, "-o", "-", cwd=tmp_path), "--list").out == listed
    manifest = tbk.open(whole, "--manifest").out
    tbk.run("tbk-open", "--verify", "--against", "-", archive, input=manifest, cwd=tmp_path)
    assert tbk.run("tbk-manifest", "show", "-", input=manifest, cwd=tmp_path).out == listed
    assert not (tmp_path / "-").exists()

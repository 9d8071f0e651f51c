"""The settings for editors and GitHub: .editorconfig and .github, as far as they can be tested here."""

import re

import pytest
import yaml
from test_sources import REPOSITORY, tracked

GITHUB = REPOSITORY / ".github"
FORMS = sorted(path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
# https://docs.github.com/en/communities/using-templates-to-encourage-useful-issues-and-pull-requests
ATTRIBUTES = {
    "markdown": ({"value"}, {"value"}),
    "textarea": ({"label"}, {"label", "description", "placeholder", "value", "render"}),
    "input": ({"label"}, {"label", "description", "placeholder", "value"}),
    "dropdown": ({"label", "options"}, {"label", "options", "description", "multiple", "default"}),
    "checkboxes": ({"label", "options"}, {"label", "options", "description"}),
}


def ours(*suffixes):
    """Text files, except generated ones and those that are test data."""
    for path in tracked(*suffixes):
        name = path.relative_to(REPOSITORY).as_posix()
        if not name.startswith(("Tests/Fuzz/Seeds/", "Tests/Vectors/", "completions/")) or path.suffix in (".py", ".md"):
            yield name, path.read_bytes()


def test_files_end_and_break_their_lines_as_editors_are_told():
    count = 0
    for name, data in ours():
        if not data or b"\0" in data:
            continue
        count += 1
        assert data.endswith(b"\n"), f"{name} has no line feed at its end"
        assert b"\r" not in data, f"{name} has carriage returns"
        assert not re.search(rb"[ \t]$", data, re.MULTILINE), f"{name} has white space at the end of a line"
        data.decode()
    assert count > 500


def test_files_are_indented_as_editors_are_told():
    for name, data in ours(".md", ".json", ".yml"):
        assert not re.search(rb"^ *\t", data, re.MULTILINE), f"{name} is indented with tabs"
    for name, data in ours(""):
        if name.startswith("bin/") or name in (".ci/run", "packaging/dist", "Makefile"):
            # Printed text and continuation lines of make may be indented with spaces.
            spaces = re.findall(rb"^(?:  | {8})+(?:if|for|while|case|then|else|fi|done|return|local)\b", data, re.MULTILINE)
            assert name == "Makefile" or not spaces, f"{name} is indented with spaces"


def test_editorconfig_is_well_formed():
    section, names = None, []
    for line in (REPOSITORY / ".editorconfig").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            assert line.endswith("]")
            section = line[1:-1]
            names.append(section)
            continue
        assert re.fullmatch(r"(?:root|charset|end_of_line|insert_final_newline|trim_trailing_whitespace|indent_style"
                            r"|indent_size|tab_width|max_line_length) = [\w-]+", line), line
        assert (section is None) == line.startswith("root")
    assert names[0] == "*" and len(set(names)) == len(names)
    # The paths that it names must exist.
    paths = set(re.findall(r"(?:Tests|\.ci|bin|action|packaging)(?:/\w+)*", "".join(names)))
    assert len(paths) > 5
    assert all((REPOSITORY / path).exists() for path in paths)


def test_the_workflow_runs_what_runs_everything():
    workflows = sorted((GITHUB / "workflows").glob("*.yml"))
    assert workflows
    steps = []
    for path in workflows:
        text = path.read_text()
        workflow = yaml.safe_load(text)
        assert "secrets." not in text and workflow["permissions"] == {"contents": "read"}
        # YAML parses "on" as true. Code from outside must not run with the project's permissions.
        assert set(workflow[True]) == {"push", "pull_request"}
        for job in workflow["jobs"].values():
            assert job["timeout-minutes"] > 60
            image, = re.findall(r"^swift:(\d+)\.(\d+)-noble$", job["container"]["image"])
            tools, = re.findall(r"^// swift-tools-version: (\d+)\.(\d+)$", (REPOSITORY / "Package.swift").read_text(),
                                re.MULTILINE)
            assert tuple(map(int, image)) >= tuple(map(int, tools))
            steps += job["steps"]
    commands = [step["run"] for step in steps if "run" in step]
    assert ".ci/run" in commands
    assert (REPOSITORY / ".ci" / "run").stat().st_mode & 0o111 == 0o111
    # No script contains an expression: its value may come from outside.
    assert not any("${{" in command for command in commands)
    for step in steps:
        if "uses" in step:
            assert re.fullmatch(r"actions/checkout@v\d+", step["uses"])
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_an_issue_form_is_one_that_github_takes(path):
    form = yaml.safe_load(path.read_text())
    assert set(form) <= {"name", "description", "title", "labels", "assignees", "projects", "type", "body"}
    assert form["name"] and form["description"]
    assert any(field["type"] != "markdown" for field in form["body"])
    seen = set()
    for field in form["body"]:
        assert set(field) <= {"type", "id", "attributes", "validations"}
        needed, known = ATTRIBUTES[field["type"]]
        assert needed <= set(field["attributes"]) <= known
        assert set(field.get("validations", {})) <= {"required"}
        if field["type"] != "markdown":
            assert re.fullmatch(r"[\w-]+", field["id"])
            seen |= {field["id"], field["attributes"]["label"]}
    assert len(seen) == 2 * sum(field["type"] != "markdown" for field in form["body"])


def test_there_are_forms_and_a_template():
    assert {"bug.yml", "feature.yml"} <= {path.name for path in FORMS}
    assert yaml.safe_load((GITHUB / "ISSUE_TEMPLATE" / "config.yml").read_text()) == {"blank_issues_enabled": True}
    template = (GITHUB / "pull_request_template.md").read_text()
    assert "CONTRIBUTING.md" in template and "- [ ]" in template

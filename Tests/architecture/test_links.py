"""Links between the pages: each leads to an existing file of the project, and to an existing heading."""

import posixpath
import re

import pytest
from test_sources import REPOSITORY, tracked

PAGES = tracked(".md")
LINK = re.compile(r"\]\(<?([^()\s>]+)>?(?: \"[^\"]*\")?\)")
CODE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
# Names of files in the text.
NAMED = re.compile(r"`((?:docs|man|examples|packaging|completions|Tests|Sources)/[\w./@-]+\.\w+|[A-Z]+\.md)`")


def name(page):
    return str(page.relative_to(REPOSITORY))


def anchors(page):
    """Anchors as GitHub makes them from headings: no markup, no punctuation, and -1 for the second of the same name."""
    found, seen = set(), {}
    for heading in re.findall(r"^#{1,6} +(.*?) *#*$", CODE.sub("", page.read_text("utf-8")), re.MULTILINE):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        count = seen.get(slug, 0)
        seen[slug] = count + 1
        found.add(slug if not count else f"{slug}-{count}")
    return found


def links(page):
    return LINK.findall(re.sub(r"`[^`\n]*`", "", CODE.sub("", page.read_text("utf-8"))))


def test_anchors_are_those_of_github(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Why, `x`?\n## A [link](b.md) here\n## Why, x\n```sh\n# none\n```\n## On GitHub: C++\n")
    assert anchors(page) == {"why-x", "a-link-here", "why-x-1", "on-github-c"}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page):
    known = {name(path) for path in tracked()}
    known |= {folder for path in known for folder in (path.rpartition("/")[0],) if folder}
    for link in links(page):
        if re.match(r"https://|mailto:", link):
            continue
        assert not re.match(r"[a-z]+:|/", link), f"'{link}' is neither of this project nor of the web"
        path, _, anchor = link.partition("#")
        target = posixpath.normpath(posixpath.join(posixpath.dirname(name(page)), path)) if path else name(page)
        assert target in known, f"'{link}' leads to no file"
        if anchor:
            assert anchor in anchors(REPOSITORY / target), f"'{link}' leads to no heading"


@pytest.mark.parametrize("page", [page for page in PAGES if name(page) != "CHANGELOG.md"], ids=name)
def test_files_that_are_named_are_there(page):
    for path in NAMED.findall(CODE.sub("", page.read_text("utf-8"))):
        assert any(folder.joinpath(path).exists() for folder in (REPOSITORY, page.parent)), path


def test_every_page_of_the_documentation_is_reached_from_its_index():
    def reached(start, seen):
        for link in links(REPOSITORY / start):
            target = posixpath.normpath(posixpath.join(posixpath.dirname(start), link.partition("#")[0]))
            if target.endswith(".md") and "://" not in link and target not in seen:
                seen.add(target)
                reached(target, seen)
        return seen
    pages = {name(page) for page in PAGES if name(page).startswith(("docs/", "examples/"))}
    assert len(pages) > 10
    assert pages - reached("docs/README.md", {"docs/README.md"}) == set()
    assert pages - reached("README.md", {"README.md"}) == set()

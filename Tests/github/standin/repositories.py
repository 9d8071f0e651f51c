"""The user, repositories, branches and commits."""

import re
import subprocess
import time
from typing import Any

from . import shapes
from .objects import MissingObject
from .refusal import Refusal, invalid, missing
from .repository import Repository
from .routes import Call, route, top
from .site import NameTaken
from .wire import Response

FILES_PER_COMMIT = 300
# Longer patches of a file are omitted.
PATCH_BYTES = 100_000
STATUS = {"A": "added", "M": "modified", "D": "removed", "R": "renamed", "T": "changed"}


@top("GET", "/")
def root(call: Call) -> Response:
    api = call.site.addresses.api
    return Response.json({"current_user_url": f"{api}/user", "rate_limit_url": f"{api}/rate_limit",
                          "repository_url": f"{api}/repos/{{owner}}/{{repo}}"})


@top("GET", "/meta")
def meta(_: Call) -> Response:
    return Response.json({"verifiable_password_authentication": False, "api": ["127.0.0.0/8"]})


@top("GET", "/rate_limit")
def rate_limit(call: Call) -> Response:
    with call.site.accounts.lock:
        call.token.bucket.renew()
        core = call.token.bucket.describe()
    return Response.json({"resources": {"core": core}, "rate": core})


@top("GET", "/user")
def user(call: Call) -> Response:
    if not call.token.login:
        raise Refusal(401, "Requires authentication")
    if call.token.kind == "installation":
        raise Refusal(403, call.token.refusal)
    return Response.json({**shapes.user(call.site, call.token.login), "name": None, "email": None,
                          "plan": {"name": "free", "space": 976562499, "private_repos": 10000, "collaborators": 0}})


@top("POST", "/user/repos", "administration=write")
def create_for_user(call: Call) -> Response:
    return _create(call, call.token.login)


@top("POST", "/orgs/([^/]+)/repos", "administration=write")
def create_for_organization(call: Call, organization: str) -> Response:
    members = call.site.accounts.members(organization)
    if members is None or call.token.login.lower() not in members:
        raise missing()
    return _create(call, organization)


@route("GET", "", "metadata")
def get(call: Call) -> Response:
    return Response.json(shapes.repository(call))


@route("GET", "/branches", "contents")
def branches(call: Call) -> Response:
    found, links = call.page(list(call.repository.references.all("refs/heads/")))
    shape = [{"name": name.removeprefix("refs/heads/"), "protected": False,
              "commit": _link(call, call.head(name.removeprefix("refs/heads/")) or "")} for name in found]
    return Response.json(shape, headers=links)


@route("GET", "/branches/(.+)", "contents")
def branch(call: Call, name: str) -> Response:
    sha = call.head(name)
    if sha is None:
        raise Refusal(404, "Branch not found")
    url = f"{call.url}/branches/{name}"
    return Response.json({
        "name": name, "commit": shapes.commit(call, sha, call.repository.objects.commit(sha)),
        "_links": {"self": url, "html": f"{call.site.addresses.web}/{call.repository.full_name}/tree/{name}"},
        "protected": False, "protection": {"enabled": False}, "protection_url": f"{url}/protection"})


@route("GET", "/commits", "contents", needs_commit=True)
def commits(call: Call) -> Response:
    objects = call.repository.objects
    sha: str | None = call.commit(call.query.get("sha") or call.repository.default_branch)
    if sha is None:
        raise missing()
    history = []
    path = call.query.get("path")
    while sha:
        commit = objects.commit(sha)
        parent = commit.parents[0] if commit.parents else None
        if path is None or _at(call, commit.tree, path) != (parent and _at(call, objects.commit(parent).tree, path)):
            history.append((sha, commit))
        sha = parent
    found, links = call.page(history)
    return Response.json([shapes.commit(call, sha, commit) for sha, commit in found], headers=links)


def _at(call: Call, tree: str, path: str) -> str | None:
    """The object at a path in a tree, or None."""
    try:
        return call.repository.objects.find(tree, path.encode().split(b"/")).sha
    except MissingObject:
        return None


@route("GET", "/commits/(.+)", "contents", needs_commit=True)
def commit(call: Call, name: str) -> Response:
    sha = call.commit(name)
    if sha is None:
        raise Refusal(422, f"No commit found for SHA: {name}")
    try:
        shape = shapes.commit(call, sha, call.repository.objects.commit(sha))
    except MissingObject:
        raise missing() from None
    files = changed_files(call.repository, sha)[:FILES_PER_COMMIT]
    for file in files:
        file["contents_url"] = f"{call.url}/contents/{file['filename']}?ref={sha}"
    additions, deletions = (sum(file[key] for file in files) for key in ("additions", "deletions"))
    stats = {"total": additions + deletions, "additions": additions, "deletions": deletions}
    return Response.json({**shape, "stats": stats, "files": files})


def changed_files(repository: Repository, sha: str) -> list[dict[str, Any]]:
    """The changes of a commit against its first parent, as reported by git, with patches."""
    def diff(*options: str) -> bytes:
        return subprocess.run(["git", f"--git-dir={repository.git_dir}", "diff-tree", "-r", "-M", "--root", "-m",
                               "--first-parent", "--no-commit-id", *options, sha], check=True,
                              stdout=subprocess.PIPE).stdout

    fields = iter(diff("--raw", "-z", "--no-abbrev").split(b"\0"))
    counts = iter(diff("--numstat", "-z").split(b"\0"))
    patches = re.split(rb"^diff --git .*\n", diff("-p", "--full-index"), flags=re.MULTILINE)[1:]
    files = []
    for number, raw in enumerate(field for field in fields if field):
        _, _, old, new, letter = raw.decode().split(" ")
        name = next(fields).decode(errors="replace")
        file: dict[str, Any] = {"sha": old if letter == "D" else new, "filename": name, "status": STATUS[letter[0]]}
        added, removed, _ = next(counts).split(b"\t")
        if letter[0] == "R":
            file["previous_filename"], file["filename"] = name, next(fields).decode(errors="replace")
            next(counts), next(counts)
        file["additions"], file["deletions"] = (int(count) if count != b"-" else 0 for count in (added, removed))
        file["changes"] = file["additions"] + file["deletions"]
        _, marker, hunks = patches[number].partition(b"\n@@ ")
        if marker and len(hunks) <= PATCH_BYTES:
            file["patch"] = "@@ " + hunks.rstrip(b"\n").decode(errors="replace")
        files.append(file)
    return files


def _link(call: Call, sha: str) -> dict[str, str]:
    return {"sha": sha, "url": f"{call.url}/commits/{sha}"}


def _create(call: Call, owner: str) -> Response:
    site, token = call.site, call.token
    if not token.login:
        raise Refusal(401, "Requires authentication")
    body = call.json()
    private = bool(body.get("private", False))
    if token.scopes is not None:
        if "repo" not in token.scopes and (private or "public_repo" not in token.scopes):
            raise missing()
    elif token.permissions.get("administration") != "write":
        raise Refusal(403, token.refusal)
    name = body.get("name")
    if not isinstance(name, str) or not name:
        raise invalid("Repository", "missing_field", "name")
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", name)
    if len(name) > 100 or name in (".", ".."):
        raise invalid("Repository", "custom", "name", "name is not valid")
    files = {"README.md": f"# {name}\n".encode()} if body.get("auto_init") else None
    try:
        repository = site.create(f"{owner}/{name}", private=private, description=body.get("description"), files=files)
    except NameTaken:
        error = invalid("Repository", "custom", "name", "name already exists on this account")
        error.message = "Repository creation failed."
        raise error from None
    repository.created = repository.pushed = time.time()
    site.hide_for_now(repository)
    call.here = repository
    return Response.json(shapes.repository(call), 201, {"Location": call.url})

"""The contents API: files by path, one commit for each change."""

import binascii
from typing import Any

from . import shapes
from .objects import LINK_MODE, TREE_MODE, Entry, MissingObject, Person
from .refusal import Refusal, missing, unsupplied
from .repository import changes_for
from .routes import RAW, Call, route
from .wire import Response

OBJECT = "application/vnd.github.object+json"
# Files up to the first size are sent as JSON, up to the second one raw.
JSON_SIZE, RAW_SIZE = 1 << 20, 100 << 20
DIRECTORY_LIMIT = 1000
WEB_FLOW = ("GitHub", "noreply@github.com")


def path_of(text: str, what: str = "path") -> list[bytes]:
    """The components of a path. Raises 422 for a path that git would refuse."""
    if text.startswith("/"):
        raise Refusal(422, f"{what} cannot start with a slash")
    parts = text.encode(errors="surrogateescape").split(b"/")
    for part in parts:
        if part.lower() in (b"", b".", b"..", b".git") or b"\0" in part:
            raise Refusal(422, f"{what} contains a malformed path component")
    return parts


def too_large() -> Refusal:
    return Refusal(403, "This API returns blobs up to 100 MB in size. The requested blob is too large to fetch via the "
                   "API, but you can always clone the repository via Git.",
                   [{"resource": "Blob", "field": "data", "code": "too_large"}])


def too_large_to_store(call: Call, size: int) -> None:
    """Raises 422 for a file that GitHub accepts only in a push."""
    if size > call.site.settings.blob_limit:
        message = ("Sorry, your input was too large to process. Consider creating the blob in a local clone of the "
                   "repository and then pushing it to GitHub.")
        raise Refusal(422, message, [{"resource": "Blob", "code": "custom", "field": "data", "message": message}])


def decoded(text: str) -> bytes:
    """Decodes base64, which may contain line breaks."""
    try:
        return binascii.a2b_base64(text.replace("\r", "").replace("\n", ""), strict_mode=True)
    except ValueError:
        raise Refusal(422, "content is not valid Base64") from None


@route("GET", r"/contents/?(.*)")
def get(call: Call, text: str) -> Response:
    repository = call.repository
    if repository.empty:
        raise Refusal(404, "This repository is empty.")
    ref = call.query.get("ref") or repository.default_branch
    commit = call.commit(ref)
    if commit is None:
        raise Refusal(404, f"No commit found for the ref {ref}")
    path = path_of(text.rstrip("/")) if text.strip("/") else []
    try:
        entry = repository.objects.find(repository.objects.commit(commit).tree, path)
    except MissingObject:
        raise missing() from None
    if entry.mode == TREE_MODE:
        return _directory(call, b"/".join(path), entry, ref)
    return _file(call, b"/".join(path), entry, ref)


@route("PUT", r"/contents/(.+)")
def put(call: Call, text: str) -> Response:
    body = call.json()
    path = path_of(text)
    for field in ("message", "content"):
        if not isinstance(body.get(field), str):
            raise unsupplied(field)
    content = decoded(body["content"])
    too_large_to_store(call, len(content))
    repository = call.repository
    with repository.lock:
        branch, head = _branch(call, body)
        try:
            old = repository.objects.find(repository.objects.commit(head).tree, path) if head else None
        except MissingObject:
            old = None
        # GitHub ignores the SHA if the file does not exist.
        if old:
            _check_old(text, old, body.get("sha"))
        mode = old.mode if old and old.mode != LINK_MODE else 0o100644
        entry = Entry(mode, repository.objects.write("blob", content))
        author, committer = _people(call, body)
        commit = repository.commit_changes(branch, changes_for(path, entry), body["message"], author, committer)
    shape = {"content": shapes.content(call, b"/".join(path), entry, branch),
             "commit": shapes.git_commit(call, commit, repository.objects.commit(commit))}
    return Response.json(shape, 200 if old else 201)


@route("DELETE", r"/contents/(.+)")
def delete(call: Call, text: str) -> Response:
    body = {**call.query, **call.json()}
    path = path_of(text)
    for field in ("message", "sha"):
        if not isinstance(body.get(field), str):
            raise unsupplied(field)
    repository = call.repository
    with repository.lock:
        branch, head = _branch(call, body)
        try:
            if head is None:
                raise MissingObject
            old = repository.objects.find(repository.objects.commit(head).tree, path)
        except MissingObject:
            raise missing() from None
        _check_old(text, old, body["sha"])
        author, committer = _people(call, body)
        commit = repository.commit_changes(branch, changes_for(path, None), body["message"], author, committer)
    return Response.json({"content": None,
                          "commit": shapes.git_commit(call, commit, repository.objects.commit(commit))})


def _directory(call: Call, path: bytes, entry: Entry, ref: str) -> Response:
    prefix = path + b"/" if path else b""
    names = list(call.repository.objects.tree(entry.sha).items())[:DIRECTORY_LIMIT]
    listing = [shapes.content(call, prefix + name, inside, ref) for name, inside in names]
    if call.request.accepts(OBJECT):
        return Response.json({**shapes.content(call, path, entry, ref), "entries": listing})
    return Response.json(listing)


def _file(call: Call, path: bytes, entry: Entry, ref: str) -> Response:
    objects = call.repository.objects
    shape = shapes.content(call, path, entry, ref)
    if entry.kind == "commit":
        return Response.json(shape)
    size = objects.size(entry.sha)
    if size > RAW_SIZE:
        raise too_large()
    if call.request.accepts(*RAW):
        return Response(200, {"Content-Type": "application/vnd.github.raw+json; charset=utf-8",
                              "ETag": f'W/"{entry.sha}"'}, objects.blob(entry.sha))
    if entry.mode == LINK_MODE:
        return Response.json({**shape, "target": shapes.text(objects.blob(entry.sha))})
    small = size <= JSON_SIZE
    return Response.json({**shape, "content": shapes.lines_of_base64(objects.blob(entry.sha)) if small else "",
                          "encoding": "base64" if small else "none"})


def _branch(call: Call, body: dict[str, Any]) -> tuple[str, str | None]:
    """The branch to commit to and its head, which is None in an empty repository."""
    repository = call.repository
    branch = str(body.get("branch") or repository.default_branch).removeprefix("refs/heads/")
    head = repository.branch(branch)
    if head is None and not repository.empty:
        raise Refusal(404, f"Branch {branch} not found")
    return branch, head


def _check_old(text: str, old: Entry, sha: Any) -> None:
    if old.mode == TREE_MODE:
        raise Refusal(422, f"{text} is a directory")
    if not sha:
        raise unsupplied("sha")
    if sha != old.sha:
        raise Refusal(409, f"{text} does not match {sha}")


def _people(call: Call, body: dict[str, Any]) -> tuple[Person, Person]:
    author = call.person(body.get("author"), None if body.get("committer") is None else
                         call.person(body["committer"]))
    flow = Person(*WEB_FLOW, author.seconds)
    return author, call.person(body.get("committer"), author if body.get("author") else flow)

"""The git data API: blobs, trees, commits and references, one by one."""

import base64
import time
from collections.abc import Iterable
from typing import Any

from . import shapes
from .contents import RAW_SIZE, decoded, path_of, too_large, too_large_to_store
from .objects import MODES, SHA, Changes, Commit, EmptyChange, Entry, MissingObject
from .refusal import Refusal, missing, unsupplied
from .repository import ReferenceClash, valid_reference
from .routes import RAW, Call, route
from .wire import Response

TREE_ENTRIES, TREE_BYTES = 100_000, 7 << 20
# The size of a tree entry's JSON without its path, for TREE_BYTES.
ENTRY_BYTES = 120


def check_sha(sha: Any, field: str) -> str:
    if not isinstance(sha, str) or not SHA.fullmatch(sha):
        raise Refusal(422, f"The {field} parameter must be exactly 40 characters and contain only [0-9a-f].")
    return sha


@route("POST", "/git/blobs", needs_commit=True)
def create_blob(call: Call) -> Response:
    body = call.json()
    content, encoding = body.get("content"), body.get("encoding", "utf-8")
    if not isinstance(content, str):
        raise unsupplied("content")
    if encoding == "base64":
        data = decoded(content)
    elif encoding in ("utf-8", "utf8"):
        data = content.encode(errors="replace")
    else:
        raise Refusal(422, f"'{encoding}' is not a supported encoding.")
    if len(data) > RAW_SIZE:
        raise Refusal(413, "Request entity too large")
    too_large_to_store(call, len(data))
    sha = call.repository.objects.write("blob", data)
    url = f"{call.url}/git/blobs/{sha}"
    return Response.json({"sha": sha, "url": url}, 201, {"Location": url})


@route("GET", "/git/blobs/([^/]+)", needs_commit=True)
def get_blob(call: Call, sha: str) -> Response:
    objects = call.repository.objects
    if objects.kind(check_sha(sha, "sha")) != "blob":
        raise missing()
    size = objects.size(sha)
    if size > RAW_SIZE:
        raise too_large()
    data = objects.blob(sha)
    if call.request.accepts(*RAW):
        return Response(200, {"Content-Type": "application/vnd.github.raw+json; charset=utf-8",
                              "ETag": f'W/"{sha}"'}, data)
    return Response.json({"sha": sha, "node_id": shapes.node("Blob", sha), "size": size,
                          "url": f"{call.url}/git/blobs/{sha}", "content": base64.encodebytes(data).decode(),
                          "encoding": "base64"})


@route("POST", "/git/trees", needs_commit=True)
def create_tree(call: Call) -> Response:
    body = call.json()
    entries = body.get("tree")
    if not isinstance(entries, list) or not entries:
        raise Refusal(422, "Invalid tree info")
    objects = call.repository.objects
    base = body.get("base_tree")
    if base is not None:
        kind = objects.kind(base) if isinstance(base, str) else None
        if kind == "commit":
            base = objects.commit(base).tree
        elif kind != "tree":
            raise Refusal(422, "base_tree is not a valid tree oid")
    changes: Changes = {}
    for entry in entries:
        _add_change(call, changes, entry)
    try:
        sha = objects.change_tree(base, changes)
    except EmptyChange:
        raise Refusal(422, "GitRPC::BadObjectState") from None
    return _tree(call, sha, ((name, entry) for name, entry in objects.tree(sha).items()), 201)


@route("GET", "/git/trees/(.+)", needs_commit=True)
def get_tree(call: Call, name: str) -> Response:
    objects = call.repository.objects
    sha = name if objects.kind(name) == "tree" else None
    if sha is None:
        commit = call.commit(name)
        if commit is None:
            raise missing()
        sha = objects.commit(commit).tree
    # Any value turns it on, including "0" and "false".
    entries = objects.walk(sha) if "recursive" in call.query else objects.tree(sha).items()
    return _tree(call, sha, entries, 200)


@route("POST", "/git/commits", needs_commit=True)
def create_commit(call: Call) -> Response:
    body = call.json()
    objects = call.repository.objects
    if not isinstance(body.get("message"), str):
        raise unsupplied("message")
    if "tree" not in body:
        raise unsupplied("tree")
    if objects.kind(check_sha(body["tree"], "tree")) != "tree":
        raise Refusal(422, "Tree SHA does not exist")
    parents = body.get("parents", [])
    if not isinstance(parents, list):
        raise Refusal(422, "Invalid request.\n\nFor 'properties/parents', the value is not an array.")
    for parent in parents:
        if objects.kind(check_sha(parent, "parents")) != "commit":
            raise Refusal(422, "Parent SHA does not exist or is not a commit object")
    author = call.person(body.get("author"))
    commit = Commit(body["tree"], tuple(parents), author, call.person(body.get("committer"), author), body["message"])
    sha = objects.write("commit", commit.encode())
    return Response.json(shapes.git_commit(call, sha, objects.commit(sha)), 201,
                         {"Location": f"{call.url}/git/commits/{sha}"})


@route("GET", "/git/commits/([^/]+)", needs_commit=True)
def get_commit(call: Call, sha: str) -> Response:
    try:
        return Response.json(shapes.git_commit(call, sha, call.repository.objects.commit(check_sha(sha, "sha"))))
    except MissingObject:
        raise missing() from None


@route("GET", "/git/ref/(.+)", needs_commit=True)
def get_reference(call: Call, name: str) -> Response:
    name = f"refs/{name}"
    sha = call.head(name.removeprefix("refs/heads/")) if name.startswith("refs/heads/") else \
        call.repository.references.get(name)
    if sha is None:
        raise missing()
    return Response.json(shapes.reference(call, name, sha))


@route("GET", "/git/matching-refs/(.*)", needs_commit=True)
def matching_references(call: Call, prefix: str) -> Response:
    found, links = call.page(list(call.repository.references.all(f"refs/{prefix}").items()))
    return Response.json([shapes.reference(call, name, sha) for name, sha in found], headers=links)


@route("POST", "/git/refs", needs_commit=True)
def create_reference(call: Call) -> Response:
    body = call.json()
    name, repository = body.get("ref"), call.repository
    if not isinstance(name, str):
        raise unsupplied("ref")
    if "sha" not in body:
        raise unsupplied("sha")
    if not valid_reference(name):
        raise Refusal(422, f"{name} is not a valid ref name.")
    with repository.lock:
        if repository.references.get(name):
            raise Refusal(422, "Reference already exists")
        _check_target(call, name, body["sha"])
        _set(call, name, body["sha"])
    return Response.json(shapes.reference(call, name, body["sha"]), 201, {"Location": f"{call.url}/git/{name}"})


@route("PATCH", "/git/refs/(.+)", needs_commit=True)
def update_reference(call: Call, name: str) -> Response:
    body = call.json()
    name, repository = f"refs/{name}", call.repository
    if "sha" not in body:
        raise unsupplied("sha")
    force = body.get("force", False)
    if not isinstance(force, bool):
        raise Refusal(422, f"Invalid request.\n\nFor 'properties/force', {force!r} is not a boolean.")
    with repository.lock:
        old = repository.references.get(name)
        if old is None:
            raise Refusal(422, "Reference does not exist")
        sha = _check_target(call, name, body["sha"])
        if not force and not repository.objects.is_ancestor(old, sha):
            raise Refusal(422, "Update is not a fast forward")
        _set(call, name, sha)
    return Response.json(shapes.reference(call, name, sha))


@route("DELETE", "/git/refs/(.+)", needs_commit=True)
def delete_reference(call: Call, name: str) -> Response:
    name, repository = f"refs/{name}", call.repository
    with repository.lock:
        if repository.references.get(name) is None:
            raise Refusal(422, "Reference does not exist")
        if name == f"refs/heads/{repository.default_branch}":
            raise Refusal(422, "Cannot delete the default branch")
        repository.references.delete(name)
    return Response(204)


def _add_change(call: Call, changes: Changes, fields: Any) -> None:
    """Adds one entry of a request for a tree to the changes."""
    if not isinstance(fields, dict) or not isinstance(fields.get("path"), str):
        raise Refusal(422, "Must supply a valid tree.path")
    *folders, name = path_of(fields["path"], "tree.path")
    level = changes
    for folder in folders:
        below = level.setdefault(folder, {})
        if not isinstance(below, dict):
            raise Refusal(422, f"tree.path {fields['path']} is inside another entry of the tree")
        level = below
    if name in level:
        raise Refusal(422, f"tree.path {fields['path']} is given twice")
    level[name] = _entry(call, fields)


def _entry(call: Call, fields: dict[str, Any]) -> Entry | None:
    objects = call.repository.objects
    if "content" in fields:
        if fields.get("sha") is not None or not isinstance(fields["content"], str):
            raise Refusal(422, "Must supply either tree.sha or tree.content")
        content = fields["content"].encode(errors="replace")
        too_large_to_store(call, len(content))
        sha = objects.write("blob", content)
    elif "sha" not in fields:
        raise Refusal(422, "Must supply either tree.sha or tree.content")
    elif fields["sha"] is None:
        return None
    else:
        sha = check_sha(fields["sha"], "tree.sha")
    mode = MODES.get(str(fields.get("mode")))
    if mode is None:
        raise Refusal(422, "Must supply a valid tree.mode")
    entry = Entry(mode, sha)
    if fields.get("type", entry.kind) != entry.kind:
        raise Refusal(422, "Must supply a valid tree.type")
    if entry.kind != "commit" and objects.kind(sha) != entry.kind:
        raise Refusal(422, "GitRPC::BadObjectState")
    return entry


def _tree(call: Call, sha: str, entries: Iterable[tuple[bytes, Entry]], status: int) -> Response:
    listing: list[dict[str, Any]] = []
    size, truncated = 0, False
    for path, entry in entries:
        size += len(path) + ENTRY_BYTES
        if len(listing) == TREE_ENTRIES or size > TREE_BYTES:
            truncated = True
            break
        listing.append(shapes.tree_entry(call, path, entry))
    url = f"{call.url}/git/trees/{sha}"
    return Response.json({"sha": sha, "url": url, "tree": listing, "truncated": truncated}, status,
                         {"Location": url} if status == 201 else None)


def _check_target(call: Call, name: str, sha: Any) -> str:
    kind = call.repository.objects.kind(check_sha(sha, "sha"))
    if kind is None or name.startswith("refs/heads/") and kind != "commit":
        raise Refusal(422, "Object does not exist")
    return str(sha)


def _set(call: Call, name: str, sha: str) -> None:
    try:
        call.repository.references.set(name, sha)
    except ReferenceClash:
        raise Refusal(422, "Reference update failed") from None
    call.repository.pushed = time.time()

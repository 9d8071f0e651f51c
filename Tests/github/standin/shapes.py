"""The JSON that GitHub returns for each kind of object."""

import base64
import time
from typing import Any
from urllib.parse import quote

from .accounts import ROLES
from .objects import LINK_MODE, Commit, Entry, Person
from .repository import Asset, Release, Repository
from .routes import Call
from .site import Site

# Commits are never signed here.
UNSIGNED = {"verified": False, "reason": "unsigned", "signature": None, "payload": None, "verified_at": None}


def date(moment: float | None) -> str | None:
    return None if moment is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


def node(kind: str, number: int | str) -> str:
    return base64.b64encode(f"{kind}:{number}".encode()).decode()


def text(name: bytes) -> str:
    return name.decode(errors="replace")


def lines_of_base64(data: bytes) -> str:
    """Base64 with GitHub's line breaks: 60 characters a line."""
    plain = base64.b64encode(data).decode()
    return "".join(plain[at:at + 60] + "\n" for at in range(0, len(plain), 60))


def user(site: Site, login: str) -> dict[str, Any]:
    number = site.accounts.number(login)
    kind = "User" if site.accounts.members(login) is None else "Organization"
    return {"login": login, "id": number, "node_id": node(kind, number), "avatar_url": "", "gravatar_id": "",
            "url": f"{site.addresses.api}/users/{login}", "html_url": f"{site.addresses.web}/{login}", "type": kind,
            "site_admin": False}


def repository(call: Call) -> dict[str, Any]:
    site, here = call.site, call.repository
    role = site.accounts.role(call.token, here)
    web = f"{site.addresses.web}/{here.full_name}"
    return {"id": here.id, "node_id": node("Repository", here.id), "name": here.name, "full_name": here.full_name,
            "private": here.private, "owner": user(site, here.owner), "html_url": web, "description": here.description,
            "fork": False, "url": call.url, "created_at": date(here.created), "updated_at": date(here.pushed),
            "pushed_at": date(here.pushed), "git_url": f"{web}.git", "clone_url": f"{web}.git",
            "size": here.objects.bytes_written // 1024, "stargazers_count": 0, "language": None, "has_issues": False,
            "archived": here.archived, "disabled": False, "visibility": "private" if here.private else "public",
            "default_branch": here.default_branch,
            "permissions": {"admin": role >= ROLES["admin"], "maintain": role >= ROLES["admin"],
                            "push": role >= ROLES["write"], "triage": role >= ROLES["write"],
                            "pull": role >= ROLES["read"]}}


def person(who: Person) -> dict[str, str]:
    return {"name": who.name, "email": who.email, "date": who.date}


def git_commit(call: Call, sha: str, commit: Commit) -> dict[str, Any]:
    """A commit in the git data API."""
    web = f"{call.site.addresses.web}/{call.repository.full_name}/commit"
    return {"sha": sha, "node_id": node("Commit", sha), "url": f"{call.url}/git/commits/{sha}",
            "html_url": f"{web}/{sha}", "author": person(commit.author), "committer": person(commit.committer),
            "tree": {"sha": commit.tree, "url": f"{call.url}/git/trees/{commit.tree}"}, "message": commit.message,
            "parents": [{"sha": parent, "url": f"{call.url}/git/commits/{parent}", "html_url": f"{web}/{parent}"}
                        for parent in commit.parents],
            "verification": UNSIGNED}


def commit(call: Call, sha: str, what: Commit) -> dict[str, Any]:
    """A commit in the rest of the API."""
    web = f"{call.site.addresses.web}/{call.repository.full_name}/commit"
    return {"sha": sha, "node_id": node("Commit", sha), "url": f"{call.url}/commits/{sha}", "html_url": f"{web}/{sha}",
            "comments_url": f"{call.url}/commits/{sha}/comments",
            "commit": {"author": person(what.author), "committer": person(what.committer), "message": what.message,
                       "tree": {"sha": what.tree, "url": f"{call.url}/git/trees/{what.tree}"},
                       "url": f"{call.url}/git/commits/{sha}", "comment_count": 0, "verification": UNSIGNED},
            "author": None, "committer": None,
            "parents": [{"sha": parent, "url": f"{call.url}/commits/{parent}", "html_url": f"{web}/{parent}"}
                        for parent in what.parents]}


def reference(call: Call, name: str, sha: str) -> dict[str, Any]:
    kind = call.repository.objects.kind(sha) or "commit"
    return {"ref": name, "node_id": node("Ref", name), "url": f"{call.url}/git/{quote(name)}",
            "object": {"sha": sha, "type": kind, "url": f"{call.url}/git/{kind}s/{sha}"}}


def tree_entry(call: Call, path: bytes, entry: Entry) -> dict[str, Any]:
    shape: dict[str, Any] = {"path": text(path), "mode": f"{entry.mode:06o}", "type": entry.kind, "sha": entry.sha}
    if entry.kind == "blob":
        shape["size"] = call.repository.objects.size(entry.sha)
    if entry.kind != "commit":
        shape["url"] = f"{call.url}/git/{entry.kind}s/{entry.sha}"
    return shape


def content(call: Call, path: bytes, entry: Entry, ref: str) -> dict[str, Any]:
    """A file or directory in the contents API, without its content."""
    here = call.repository
    where, kind = quote(path), entry.kind
    web = f"{call.site.addresses.web}/{here.full_name}"
    url, git_url = f"{call.url}/contents/{where}?ref={quote(ref)}", f"{call.url}/git/{kind}s/{entry.sha}"
    html = f"{web}/{kind}/{quote(ref)}/{where}"
    return {"name": text(path.rsplit(b"/", 1)[-1]), "path": text(path), "sha": entry.sha,
            "size": here.objects.size(entry.sha) if kind == "blob" else 0, "url": url, "html_url": html,
            "git_url": git_url, "download_url": f"{web}/raw/{quote(ref)}/{where}" if kind == "blob" else None,
            "type": {"tree": "dir", "commit": "submodule"}.get(kind, "symlink" if entry.mode == LINK_MODE else "file"),
            "_links": {"self": url, "git": git_url, "html": html}}


def asset(site: Site, here: Repository, release_of: Release, what: Asset) -> dict[str, Any]:
    return {"url": f"{site.addresses.api}/repos/{here.full_name}/releases/assets/{what.id}", "id": what.id,
            "node_id": node("ReleaseAsset", what.id), "name": what.name, "label": what.label,
            "uploader": user(site, what.uploader), "content_type": what.content_type, "state": what.state,
            "size": what.size, "digest": what.digest, "download_count": what.downloads,
            "created_at": date(what.created), "updated_at": date(what.updated or what.created),
            "browser_download_url": f"{site.addresses.web}/{here.full_name}/releases/download/"
                                    f"{quote(release_of.tag)}/{quote(what.name)}"}


def release(call: Call, what: Release) -> dict[str, Any]:
    here, addresses = call.repository, call.site.addresses
    url = f"{call.url}/releases/{what.id}"
    return {"url": url, "assets_url": f"{url}/assets",
            "upload_url": f"{addresses.uploads}/repos/{here.full_name}/releases/{what.id}/assets{{?name,label}}",
            "html_url": f"{addresses.web}/{here.full_name}/releases/tag/{quote(what.tag)}", "id": what.id,
            "author": user(call.site, what.author), "node_id": node("Release", what.id), "tag_name": what.tag,
            "target_commitish": what.target, "name": what.name, "draft": what.draft, "immutable": False,
            "prerelease": what.prerelease, "created_at": date(what.created), "published_at": date(what.published),
            "assets": [asset(call.site, here, what, entry) for entry in list(what.assets.values())],
            "tarball_url": f"{call.url}/tarball/{quote(what.tag)}",
            "zipball_url": f"{call.url}/zipball/{quote(what.tag)}", "body": what.body}

"""The stand-in for GitHub: repositories, contents and git data, through the API and through git."""

import http.client
import json
import os
import re
import subprocess
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from client import ControlError, GitHub
from harness import ABSENT, OCTETS, RAW, REPOSITORY, TOKEN, Client, Store, base64_of, empty, file, github, running, store

__all__ = ["empty", "github", "running", "store"]

EMPTY = (409, "Git Repository is empty.")


def fsck(github: GitHub) -> bytes:
    return github.git(REPOSITORY, "fsck", "--strict", "--no-dangling")


# The server


def test_hosts_are_three_origins_and_status_is_0_at_the_end(tmp_path: Path) -> None:
    server = GitHub(tmp_path / "root")
    assert len({server.api, server.uploads, server.storage}) == 3
    assert server.listen == {"api": server.api, "uploads": server.uploads, "storage": server.storage}
    assert server.stop() == 0


def test_what_another_run_left_is_not_taken_up(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root/left").touch()
    with pytest.raises(ControlError, match="status 2"):
        GitHub(tmp_path / "root")


def test_addresses_that_clients_are_told_can_be_others(tmp_path: Path) -> None:
    with GitHub(tmp_path / "root", "--api-url", "http://127.0.0.1:1", "--upload-url", "http://127.0.0.1:2/") as server:
        server.token(TOKEN)
        server.make_repository(REPOSITORY, {"a": b""})
        root = f"{server.listen['api']}/repos/{REPOSITORY}"
        assert Client(server).get(root).json["url"] == f"http://127.0.0.1:1/repos/{REPOSITORY}"
        release = Client(server).ask("POST", f"{root}/releases", {"tag_name": "t"}).json
        assert release["upload_url"].startswith("http://127.0.0.1:2/repos/")


def test_connection_is_kept(store: Store) -> None:
    connection = http.client.HTTPConnection(urlsplit(store.github.api).netloc)
    headers = {"User-Agent": "x", "Authorization": f"token {TOKEN}"}
    for _ in range(3):
        connection.request("GET", f"/repos/{REPOSITORY}", headers=headers)
        response = connection.getresponse()
        assert (response.status, response.read() != b"") == (200, True)
    connection.close()
    assert len({entry["connection"] for entry in store.github.log()}) == 1


def test_chunked_body_is_read(store: Store) -> None:
    text = json.dumps({"content": "x" * 100_000}).encode()
    connection = http.client.HTTPConnection(urlsplit(store.github.api).netloc)
    pieces = [text[at:at + 7777] for at in range(0, len(text), 7777)]
    connection.request("POST", f"/repos/{REPOSITORY}/git/blobs", iter(pieces), encode_chunked=True, headers={
        "User-Agent": "x", "Authorization": f"Bearer {TOKEN}", "Transfer-Encoding": "chunked"})
    response = connection.getresponse()
    assert response.status == 201
    assert json.loads(response.read())["sha"] == git_hash(b"x" * 100_000)
    connection.close()


def test_body_is_asked_for_when_the_client_waits(store: Store, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(b'{"content":"y"}')
    result = subprocess.run(
        ["curl", "-sv", "--expect100-timeout", "60", "-H", "Expect: 100-continue", "-H",
         f"Authorization: Bearer {TOKEN}", "--data-binary", f"@{tmp_path / 'body'}",
         f"{store.github.api}/repos/{REPOSITORY}/git/blobs"], capture_output=True, check=True)
    assert b"< HTTP/1.1 100 Continue" in result.stderr
    assert json.loads(result.stdout)["sha"] == git_hash(b"y")


@pytest.mark.parametrize("target", ["", "/contents/metadata.json", "/git/trees/main", "/branches/main"])
def test_head_has_the_headers_of_get(store: Store, target: str) -> None:
    get, head = store.get(target), store.ask("HEAD", target)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(get.body))
    assert head.headers["etag"] == get.headers["etag"]


def test_malformed_request_is_400(github: GitHub) -> None:
    connection = http.client.HTTPConnection(urlsplit(github.api).netloc)
    connection.putrequest("GET", "/user", skip_host=True)
    connection.putheader("Content-Length", "1, 1")
    connection.endheaders()
    assert connection.getresponse().status == 400
    connection.close()


def test_control_refuses_what_it_does_not_know(github: GitHub) -> None:
    with pytest.raises(ControlError, match="no such setting"):
        github.settings(colour="green")
    with pytest.raises(ControlError, match="no such action"):
        github.fault(explode=True)
    with pytest.raises(ControlError, match="me/none"):
        github.state("me/none")


def test_reset_leaves_nothing(github: GitHub) -> None:
    settings = github.settings()
    github.make_repository(REPOSITORY, {"file": b"content"})
    asset = Store(github).upload(Store(github).release(), "a", b"x").json
    github.settings(latency_ms=1)
    github.fault(status=500, times=-1)
    github.reset()
    assert github.log() == [] and github.settings() == settings
    assert Client(github).get("/user").status == 401
    github.token(TOKEN)
    assert Client(github).get("/user").status == 200
    assert Client(github).get(f"/repos/{REPOSITORY}").status == 404
    assert github.make_repository(REPOSITORY).exists()
    assert Store(github).get(asset["url"], OCTETS).status == 404
    assert [path.name for path in (github.root / "repositories").iterdir()] == ["1.git"]


def test_log_has_every_request_and_no_token(store: Store) -> None:
    store.github.clear_log()
    store.get("/contents/metadata.json?ref=main", RAW)
    entry, = store.github.log()
    assert TOKEN not in json.dumps(entry)
    assert (entry["origin"], entry["method"], entry["path"], entry["query"], entry["status"], entry["response_bytes"]) \
        == ("api", "GET", f"/repos/{REPOSITORY}/contents/metadata.json", "ref=main", 200, 3)
    assert entry["headers"] == {"accept": RAW["Accept"], "user-agent": "tests"}
    assert re.fullmatch("[0-9a-f]{64}", entry["authorization"])


def test_bodies_are_kept_as_they_came(store: Store, tmp_path: Path) -> None:
    store.github.record(tmp_path / "bodies")
    answer = store.put("new", b"secret")
    store.github.record(None)
    store.put("other", b"")
    kept = [json.loads(path.read_bytes()) for path in (tmp_path / "bodies").iterdir()]
    assert answer.status == 201
    assert [body["content"] for body in kept] == [base64_of(b"secret")]


# Repositories


def test_repository_says_what_it_is(store: Store) -> None:
    shape = store.get("").json
    assert (shape["full_name"], shape["private"], shape["default_branch"], shape["archived"]) == \
        (REPOSITORY, True, "main", False)
    assert shape["permissions"] == {"admin": True, "maintain": True, "push": True, "triage": True, "pull": True}
    assert Client(store.github).get("/repos/ME/Store").json["id"] == shape["id"]


def test_repository_is_created_once(github: GitHub) -> None:
    client = Client(github)
    answer = client.ask("POST", "/user/repos", {"name": "new", "private": True})
    assert (answer.status, answer.json["full_name"], answer.json["private"]) == (201, "me/new", True)
    again = client.ask("POST", "/user/repos", {"name": "new"})
    assert again.status == 422
    assert again.json["errors"][0]["message"] == "name already exists on this account"
    assert client.get("/repos/me/new/contents/").refusal == (404, "This repository is empty.")


def test_repository_can_begin_with_a_commit(github: GitHub) -> None:
    client = Client(github)
    client.ask("POST", "/user/repos", {"name": "new", "private": True, "auto_init": True})
    assert client.get("/repos/me/new/contents/README.md", RAW).body == b"# new\n"


def test_organization_lets_its_members_create(github: GitHub) -> None:
    github.organization("club", "me")
    github.token("ghp_other", login="other")
    assert Client(github).ask("POST", "/orgs/club/repos", {"name": "a", "private": True}).status == 201
    assert Client(github).get("/repos/club/a").json["permissions"]["push"]
    assert Client(github, "ghp_other").ask("POST", "/orgs/club/repos", {"name": "b"}).status == 404


def test_created_repository_may_not_be_found_at_first(github: GitHub) -> None:
    github.settings(not_found_after_create=2)
    client = Client(github)
    client.ask("POST", "/user/repos", {"name": "new"})
    assert [client.get("/repos/me/new").status for _ in range(3)] == [404, 404, 200]


def test_renamed_repository_redirects_by_number(store: Store) -> None:
    number = store.get("").json["id"]
    store.github.rename(REPOSITORY, "me/moved")
    read, write = store.get("/contents/metadata.json?ref=main"), store.put("new", b"x")
    there = f"{store.github.api}/repositories/{number}"
    assert (read.status, read.headers["location"]) == (301, f"{there}/contents/metadata.json?ref=main")
    assert (write.status, write.headers["location"]) == (307, f"{there}/contents/new")
    assert store.get(read.headers["location"], RAW).body == b"{}\n"
    assert store.get(there).json["full_name"] == "me/moved"


def test_archived_repository_is_read_only(store: Store) -> None:
    store.github.update_repository(REPOSITORY, archived=True)
    assert store.get("/contents/metadata.json").status == 200
    assert store.put("new", b"x").refusal == (403, "Repository was archived so is read-only.")


def test_deleted_repository_is_gone(store: Store) -> None:
    git_dir = store.github.state(REPOSITORY)["git_dir"]
    store.github.delete_repository(REPOSITORY)
    assert store.get("").status == 404
    assert not os.path.exists(git_dir)


# Branches and commits


@pytest.mark.parametrize("spelling", ["feature/x", "feature%2Fx"])
def test_branch_has_its_commit_and_tree(store: Store, spelling: str) -> None:
    head = store.head
    store.ask("POST", "/git/refs", {"ref": "refs/heads/feature/x", "sha": head})
    shape = store.get(f"/branches/{spelling}").json
    assert (shape["name"], shape["commit"]["sha"]) == ("feature/x", head)
    assert shape["commit"]["commit"]["tree"]["sha"] == \
        store.github.git(REPOSITORY, "rev-parse", "main^{tree}").decode().strip()
    assert store.get("/branches/none").refusal == (404, "Branch not found")


def test_empty_repository_has_no_branch(empty: Store) -> None:
    assert empty.get("/branches/main").refusal == (404, "Branch not found")


def test_commit_names_what_it_changed(store: Store) -> None:
    head = store.head
    tree = store.tree(file("metadata.json", store.blob(b"{}\nmore\n")), file("new.bin", store.blob(b"\0\1")),
                      file("backups/one.tbk", None), file("backups/two.tbk", store.blob(b"one")), base=head)
    commit = store.commit(tree.json["sha"], head)
    files = {entry["filename"]: entry for entry in store.get(f"/commits/{commit}").json["files"]}
    assert {name: entry["status"] for name, entry in files.items()} == \
        {"metadata.json": "modified", "new.bin": "added", "backups/two.tbk": "renamed"}
    assert (files["metadata.json"]["additions"], files["metadata.json"]["patch"]) == (1, "@@ -1 +1,2 @@\n {}\n+more")
    assert files["backups/two.tbk"]["previous_filename"] == "backups/one.tbk"
    assert "patch" not in files["new.bin"]
    assert store.get(f"/commits/{ABSENT}").refusal == (422, f"No commit found for SHA: {ABSENT}")


def test_commit_names_at_most_300_files(store: Store) -> None:
    blob, head = store.blob(b"x"), store.head
    tree = store.tree(*(file(f"f{number}", blob) for number in range(301)), base=head)
    assert len(store.get(f"/commits/{store.commit(tree.json['sha'], head)}").json["files"]) == 300


def test_history_is_listed_newest_first(store: Store) -> None:
    first, second = store.head, store.add("two", b"2")
    assert [entry["sha"] for entry in store.get("/commits").json] == [second, first]


# Contents


def test_contents_come_as_json_raw_and_listing(store: Store) -> None:
    shape = store.get("/contents/backups/one.tbk").json
    assert (shape["type"], shape["size"], shape["encoding"], shape["content"], shape["sha"]) == \
        ("file", 3, "base64", base64_of(b"one") + "\n", git_hash(b"one"))
    assert store.get("/contents/backups/one.tbk", RAW).body == b"one"
    assert [(entry["path"], entry["type"]) for entry in store.get("/contents/").json] == \
        [("backups", "dir"), ("metadata.json", "file")]
    listing = store.get("/contents/backups", {"Accept": "application/vnd.github.object+json"}).json
    assert (listing["type"], [entry["name"] for entry in listing["entries"]]) == ("dir", ["one.tbk"])


def test_contents_are_those_of_the_ref(store: Store) -> None:
    old = store.head
    store.add("metadata.json", b"new")
    for ref, content in ((old, b"{}\n"), ("main", b"new"), ("refs/heads/main", b"new")):
        assert store.get(f"/contents/metadata.json?ref={ref}", RAW).body == content
    assert store.get("/contents/metadata.json?ref=none").refusal == (404, "No commit found for the ref none")
    assert store.get("/contents/none").refusal == (404, "Not Found")


@pytest.mark.parametrize(("size", "encoding"), [(1 << 20, "base64"), ((1 << 20) + 1, "none")])
def test_contents_over_1_mib_come_only_raw(store: Store, size: int, encoding: str) -> None:
    store.add("big", bytes(size))
    shape = store.get("/contents/big").json
    assert (shape["encoding"], shape["size"], bool(shape["content"])) == (encoding, size, encoding == "base64")
    assert store.get("/contents/big", RAW).body == bytes(size)


@pytest.mark.parametrize(("size", "status"), [(100 << 20, 200), ((100 << 20) + 1, 403)])
def test_contents_and_blobs_over_100_mib_do_not_come_at_all(store: Store, size: int, status: int) -> None:
    # Too large for a request: it is pushed.
    git_dir = store.github.state(REPOSITORY)["git_dir"]
    sha = subprocess.run(["git", f"--git-dir={git_dir}", "hash-object", "-w", "--stdin"], input=bytes(size),
                         stdout=subprocess.PIPE, check=True).stdout.decode().strip()
    tree, head = store.tree(file("huge", sha)).json["sha"], store.head
    assert store.move(store.commit(tree, head)).status == 200
    for target in ("/contents/huge", f"/git/blobs/{sha}"):
        answer = store.get(target, RAW)
        assert answer.status == status
        assert status == 200 or answer.json["errors"][0]["code"] == "too_large"


def test_directory_shows_1000_entries(store: Store) -> None:
    blob, head = store.blob(b"x"), store.head
    tree = store.tree(*(file(f"many/f{number:04}", blob) for number in range(1001)), base=head)
    store.move(store.commit(tree.json["sha"], head))
    assert len(store.get("/contents/many").json) == 1000


def test_first_commit_comes_through_contents(empty: Store) -> None:
    answer = empty.put("metadata.json", b"{}")
    assert (answer.status, answer.json["content"]["sha"], answer.json["commit"]["parents"]) == \
        (201, git_hash(b"{}"), [])
    assert answer.json["commit"]["sha"] == empty.head
    assert fsck(empty.github) == b""


def test_contents_update_needs_the_sha_of_what_is_there(store: Store) -> None:
    sha = store.get("/contents/metadata.json").json["sha"]
    assert store.put("metadata.json", b"2").refusal == (422, 'Invalid request.\n\n"sha" wasn\'t supplied.')
    assert store.put("metadata.json", b"2", sha=ABSENT).refusal == (409, f"metadata.json does not match {ABSENT}")
    assert store.put("metadata.json", b"2", sha=sha).status == 200
    assert store.put("metadata.json", b"3", sha=sha).refusal == (409, f"metadata.json does not match {sha}")
    assert store.put("other", b"1", sha=ABSENT).status == 201
    assert store.put("metadata.json", b"2", branch="none").refusal == (404, "Branch none not found")


def test_contents_are_deleted_by_sha(store: Store) -> None:
    sha = store.get("/contents/backups/one.tbk").json["sha"]

    def delete(path: str, **fields: str) -> tuple[int, str | None]:
        answer = store.ask("DELETE", f"/contents/{path}", {"message": "Remove", **fields})
        return answer.status, answer.json.get("message")

    assert delete("backups/one.tbk") == (422, 'Invalid request.\n\n"sha" wasn\'t supplied.')
    assert delete("backups/one.tbk", sha=ABSENT)[0] == 409
    assert delete("backups/one.tbk", sha=sha) == (200, None)
    assert delete("backups/one.tbk", sha=sha)[0] == 404
    assert store.github.git(REPOSITORY, "ls-tree", "--name-only", "main") == b"metadata.json\n"


@pytest.mark.parametrize("path", ["/a", "a/../b", "a//b", ".git/config", "a/."])
def test_malformed_paths_are_refused(store: Store, path: str) -> None:
    assert store.put(path, b"x").status == 422
    assert store.tree(file(path, store.blob(b"x"))).status == 422


@pytest.mark.parametrize(("body", "status"), [(b"{", 400), (b"[]", 400), (b'{"message":"m"}', 422),
                                              (b'{"message":"m","content":"?"}', 422)])
def test_malformed_bodies_are_refused(store: Store, body: bytes, status: int) -> None:
    assert store.ask("PUT", "/contents/new", body).status == status


# Git data


def git_hash(data: bytes) -> str:
    return subprocess.run(["git", "hash-object", "--stdin"], input=data, stdout=subprocess.PIPE,
                          check=True).stdout.decode().strip()


@pytest.mark.parametrize(("method", "target"), [
    ("POST", "/git/blobs"), ("GET", f"/git/blobs/{ABSENT}"), ("POST", "/git/trees"), ("GET", "/git/trees/main"),
    ("POST", "/git/commits"), ("GET", f"/git/commits/{ABSENT}"), ("POST", "/git/refs"), ("GET", "/git/ref/heads/main"),
    ("PATCH", "/git/refs/heads/main"), ("DELETE", "/git/refs/heads/main")])
def test_git_data_needs_a_first_commit(empty: Store, method: str, target: str) -> None:
    assert empty.ask(method, target, None if method == "GET" else {}).refusal == EMPTY


@pytest.mark.parametrize("data", [b"", b"text", b"\xff\0\n", bytes(70_000), bytes(range(256)) * 12_288],
                         ids=["empty", "text", "bytes", "zeros", "megabytes"])
def test_blob_is_what_git_would_store(store: Store, data: bytes) -> None:
    sha = store.blob(data)
    assert sha == git_hash(data)
    assert store.github.git(REPOSITORY, "cat-file", "blob", sha) == data
    assert store.get(f"/git/blobs/{sha}", RAW).body == data
    shape = store.get(f"/git/blobs/{sha}").json
    assert (shape["size"], shape["encoding"], shape["content"].replace("\n", "")) == \
        (len(data), "base64", base64_of(data))
    assert store.ask("HEAD", f"/git/blobs/{sha}").status == 200


def test_blob_takes_text_and_refuses_what_is_neither(store: Store) -> None:
    answer = store.ask("POST", "/git/blobs", {"content": "ä"})
    assert answer.json["sha"] == git_hash("ä".encode())
    assert store.ask("POST", "/git/blobs", {"content": "?", "encoding": "base64"}).status == 422
    assert store.ask("POST", "/git/blobs", {}).status == 422
    assert store.get(f"/git/blobs/{ABSENT}").status == 404
    assert store.get("/git/blobs/abc").status == 422


def test_blob_over_the_limit_is_refused(store: Store) -> None:
    store.github.settings(blob_limit=1000)
    assert store.blob(bytes(1000))
    for answer in (store.put("new", bytes(1001)), store.ask("POST", "/git/blobs", {"content": "x" * 1001})):
        assert answer.status == 422
        assert answer.json["message"].startswith("Sorry, your input was too large to process.")


def test_body_over_140_mib_is_413(store: Store) -> None:
    assert store.ask("POST", "/git/blobs", b"0" * ((140 << 20) + 1)).status == 413


@pytest.mark.parametrize("of", ["tree", "commit"])
def test_tree_changes_its_base(store: Store, of: str) -> None:
    head = store.head
    base = head if of == "commit" else store.get(f"/git/commits/{head}").json["tree"]["sha"]
    blob = store.blob(b"two")
    answer = store.tree(file("backups/two.tbk", blob), {"path": "a/b/run", "mode": "100755", "type": "blob",
                                                        "content": "#!"}, base=base)
    sha = answer.json["sha"]
    assert store.github.git(REPOSITORY, "ls-tree", "-r", sha).decode().splitlines() == [
        f"100755 blob {git_hash(b'#!')}\ta/b/run", f"100644 blob {git_hash(b'one')}\tbackups/one.tbk",
        f"100644 blob {blob}\tbackups/two.tbk", f"100644 blob {git_hash(b'{}' + bytes([10]))}\tmetadata.json"]
    assert fsck(store.github) == b""


def test_tree_without_a_base_drops_the_rest(store: Store) -> None:
    sha = store.tree(file("only", store.blob(b"x"))).json["sha"]
    assert store.github.git(REPOSITORY, "ls-tree", "-r", "--name-only", sha) == b"only\n"


def test_tree_without_its_last_file_loses_the_directory(store: Store) -> None:
    answer = store.tree(file("backups/one.tbk", None), base=store.head)
    assert [entry["path"] for entry in answer.json["tree"]] == ["metadata.json"]


@pytest.mark.parametrize(("entry", "message"), [
    (file("new", ABSENT), "GitRPC::BadObjectState"), (file("backups/none", None), "GitRPC::BadObjectState"),
    ({"path": "new", "mode": "100644"}, "Must supply either tree.sha or tree.content"),
    ({"path": "new", "mode": "777", "content": ""}, "Must supply a valid tree.mode")])
def test_tree_refuses_what_cannot_be(store: Store, entry: dict[str, str], message: str) -> None:
    assert store.tree(entry, base=store.head).refusal == (422, message)


def test_tree_refuses_an_unknown_base_and_no_entries(store: Store) -> None:
    assert store.tree(file("new", store.blob(b"")), base=ABSENT).refusal == (422, "base_tree is not a valid tree oid")
    assert store.tree().refusal == (422, "Invalid tree info")


def test_tree_is_listed_flat_or_whole(store: Store) -> None:
    flat, whole = store.get("/git/trees/main").json, store.get("/git/trees/main?recursive=1").json
    assert [entry["path"] for entry in flat["tree"]] == ["backups", "metadata.json"]
    assert [(entry["path"], entry.get("size")) for entry in whole["tree"]] == \
        [("backups", None), ("backups/one.tbk", 3), ("metadata.json", 3)]
    assert not whole["truncated"]


def test_tree_over_7_mb_is_truncated(store: Store) -> None:
    blob = store.blob(b"x")
    sha = store.tree(*(file(f"{number:0200}", blob) for number in range(25_000))).json["sha"]
    shape = store.get(f"/git/trees/{sha}?recursive=1").json
    assert shape["truncated"]
    assert len(shape["tree"]) < 25_000


def test_commit_keeps_what_it_was_given(store: Store) -> None:
    head = store.head
    author = {"name": "A <b>", "email": "a@example.org", "date": "2026-01-02T03:04:05+02:00"}
    tree = store.get("/git/trees/main").json["sha"]
    answer = store.ask("POST", "/git/commits", {"message": "Über\n\nmehr", "tree": tree, "parents": [head],
                                                "author": author})
    assert answer.json["author"] == {"name": "A b", "email": "a@example.org", "date": "2026-01-02T01:04:05Z"}
    shown = store.github.git(REPOSITORY, "show", "-s", "--format=%an|%ai|%cn|%P|%B", answer.json["sha"]).decode()
    assert shown.strip() == f"A b|2026-01-02 03:04:05 +0200|A b|{head}|Über\n\nmehr"
    assert fsck(store.github) == b""


def test_commit_refuses_what_is_not_there(store: Store) -> None:
    tree = store.get("/git/trees/main").json["sha"]
    for fields, message in (({"tree": ABSENT}, "Tree SHA does not exist"),
                            ({"tree": tree, "parents": [tree]},
                             "Parent SHA does not exist or is not a commit object")):
        assert store.ask("POST", "/git/commits", {"message": "m", **fields}).refusal == (422, message)


def test_reference_moves_forward_only(store: Store) -> None:
    first = store.head
    second = store.add("two", b"2")
    aside = store.commit(store.get(f"/git/commits/{first}").json["tree"]["sha"], first)
    assert store.move(aside).refusal == (422, "Update is not a fast forward")
    assert store.move(first, force=False).refusal == (422, "Update is not a fast forward")
    assert store.head == second
    assert store.move(aside, force=True).json["object"]["sha"] == aside
    assert store.move(ABSENT).refusal == (422, "Object does not exist")
    assert store.move(first, branch="none").refusal == (422, "Reference does not exist")


def test_reference_is_created_and_deleted(store: Store) -> None:
    head = store.head
    create = {"ref": "refs/heads/a/b", "sha": head}
    assert store.ask("POST", "/git/refs", create).status == 201
    assert store.ask("POST", "/git/refs", create).refusal == (422, "Reference already exists")
    assert store.ask("POST", "/git/refs", {"ref": "refs/heads/a", "sha": head}).status == 422
    assert store.ask("POST", "/git/refs", {"ref": "heads/a", "sha": head}).status == 422
    assert store.ask("POST", "/git/refs", {"ref": "refs/heads/c", "sha": ABSENT}).refusal == \
        (422, "Object does not exist")
    # Packed references can be deleted, too.
    store.github.git(REPOSITORY, "pack-refs", "--all")
    assert store.get("/git/ref/heads/a/b").json["object"] == {
        "sha": head, "type": "commit", "url": f"{store.github.api}/repos/{REPOSITORY}/git/commits/{head}"}
    assert store.ask("DELETE", "/git/refs/heads/a/b").status == 204
    assert store.get("/git/ref/heads/a/b").status == 404
    assert store.ask("DELETE", "/git/refs/heads/a/b").refusal == (422, "Reference does not exist")
    assert store.ask("DELETE", "/git/refs/heads/main").status == 422


# Real git


def test_clone_has_what_was_stored(store: Store, tmp_path: Path) -> None:
    data = os.urandom(2 << 20)
    head = store.add("backups/two.tbk", data)
    git_dir = store.github.state(REPOSITORY)["git_dir"]
    subprocess.run(["git", "clone", "--quiet", git_dir, str(tmp_path / "clone")], check=True)
    assert (tmp_path / "clone/backups/two.tbk").read_bytes() == data
    assert store.github.state(REPOSITORY)["head"] == head
    assert fsck(store.github) == b""


def test_push_and_packs_are_seen(store: Store, tmp_path: Path) -> None:
    git_dir, clone = store.github.state(REPOSITORY)["git_dir"], tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", git_dir, str(clone)], check=True)
    (clone / "pushed").write_bytes(b"from elsewhere")
    for command in (["add", "pushed"], ["-c", "user.name=x", "-c", "user.email=x@y", "commit", "--quiet", "-mx"],
                    ["push", "--quiet", "origin", "HEAD:main"]):
        subprocess.run(["git", "-C", str(clone), *command], check=True)
    store.github.git(REPOSITORY, "gc", "--quiet")
    assert store.get("/contents/pushed", RAW).body == b"from elsewhere"
    store.add("later", b"x")
    assert store.github.git(REPOSITORY, "rev-list", "--count", "main") == b"3\n"


def test_lost_object_is_not_found(store: Store) -> None:
    sha = store.blob(b"lost")
    os.unlink(f"{store.github.state(REPOSITORY)['git_dir']}/objects/{sha[:2]}/{sha[2:]}")
    assert store.get(f"/git/blobs/{sha}", RAW).status == 404


def test_8_writers_lose_nothing(store: Store) -> None:
    lost = 0

    def write(number: int) -> None:
        nonlocal lost
        for turn in range(5):
            sha = store.blob(f"{number} {turn}".encode())
            while True:
                head = store.head
                tree = store.tree(file(f"{number}/{turn}", sha), base=head)
                answer = store.move(store.commit(tree.json["sha"], head), force=False)
                if answer.status == 200:
                    break
                assert answer.refusal == (422, "Update is not a fast forward")
                lost += 1

    writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert store.github.git(REPOSITORY, "rev-list", "--count", "main") == b"41\n"
    assert len(store.github.git(REPOSITORY, "ls-tree", "-r", "--name-only", "main").splitlines()) == 42
    assert lost, "nobody ever lost a race"
    assert fsck(store.github) == b""


def test_unknown_path_is_not_found(store: Store) -> None:
    assert store.get("/none").refusal == (404, "Not Found")
    assert Client(store.github).get("/none", OCTETS).refusal == (404, "Not Found")

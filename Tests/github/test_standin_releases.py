"""The stand-in for GitHub: releases, their assets, and the two other hosts."""

import hashlib
import http.client
import os
import re
from typing import Any
from urllib.parse import urlsplit

import pytest
from client import GitHub
from harness import OCTETS, REPOSITORY, TOKEN, Answer, Client, Store, github, running, store, wait_until

__all__ = ["github", "running", "store"]

DATA = os.urandom(300_000)


def errors(answer: Answer) -> list[dict[str, Any]]:
    assert (answer.status, answer.json["message"]) == (422, "Validation Failed")
    return list(answer.json["errors"])


def download(store: Store, asset: dict[str, Any], **headers: str) -> Answer:
    """As a client must: the second request is sent without the token."""
    first = store.get(asset["url"], OCTETS | headers)
    assert first.status == 302
    return Client(store.github, None).get(first.headers["location"], headers)


def files_of(github: GitHub) -> list[str]:
    return os.listdir(github.root / "assets")


# Releases


def test_release_makes_its_tag_at_the_head(store: Store) -> None:
    release = store.release("v1", name="One", body="Text")
    assert (release["tag_name"], release["name"], release["body"], release["draft"], release["assets"]) == \
        ("v1", "One", "Text", False, [])
    assert store.github.git(REPOSITORY, "rev-parse", "v1").decode().strip() == store.head
    for target in (f"/releases/{release['id']}", "/releases/tags/v1", "/releases/latest"):
        assert store.get(target).json == release
    assert [entry["id"] for entry in store.get("/releases").json] == [release["id"]]


def test_release_makes_its_tag_at_the_target(store: Store) -> None:
    first = store.head
    store.add("two", b"2")
    store.release("at-commit", target_commitish=first)
    assert store.github.git(REPOSITORY, "rev-parse", "at-commit").decode().strip() == first
    # An existing tag is not moved.
    store.ask("DELETE", f"/releases/{store.get('/releases/tags/at-commit').json['id']}")
    store.release("at-commit", target_commitish="main")
    assert store.github.git(REPOSITORY, "rev-parse", "at-commit").decode().strip() == first


def test_release_is_refused_twice_and_without_commits(store: Store) -> None:
    store.release("v1")
    again = store.ask("POST", "/releases", {"tag_name": "v1"})
    assert errors(again) == [{"resource": "Release", "code": "already_exists", "field": "tag_name"}]
    for fields, field in (({}, "tag_name"), ({"tag_name": "a..b"}, "tag_name"),
                          ({"tag_name": "v2", "target_commitish": "none"}, "target_commitish")):
        assert errors(store.ask("POST", "/releases", fields))[0]["field"] == field
    store.github.make_repository("me/empty")
    assert Client(store.github).ask("POST", "/repos/me/empty/releases", {"tag_name": "v1"}).refusal == \
        (422, "Repository is empty.")


def test_draft_is_seen_by_writers_until_it_is_published(store: Store) -> None:
    store.github.update_repository(REPOSITORY, private=False)
    reader = Store(store.github, store.github.token("ghp_reader", login="reader"))
    draft = store.release("v1", draft=True)
    assert (len(store.get("/releases").json), reader.get("/releases").json) == (1, [])
    assert reader.get(f"/releases/{draft['id']}").status == 404
    assert store.get("/releases/tags/v1").status == 404
    assert "refs/tags/v1" not in store.github.state(REPOSITORY)["references"]
    assert store.ask("PATCH", f"/releases/{draft['id']}", {"draft": False}).json["draft"] is False
    assert reader.get("/releases/tags/v1").json["id"] == draft["id"]
    assert "refs/tags/v1" in store.github.state(REPOSITORY)["references"]


def test_deleted_release_frees_its_assets_and_leaves_its_tag(store: Store) -> None:
    release = store.release("v1")
    store.upload(release, "a", DATA)
    assert len(files_of(store.github)) == 1
    assert store.ask("DELETE", f"/releases/{release['id']}").status == 204
    assert files_of(store.github) == []
    assert store.get(f"/releases/{release['id']}").status == 404
    assert "refs/tags/v1" in store.github.state(REPOSITORY)["references"]


def test_lists_come_in_pages(store: Store) -> None:
    for number in range(5):
        store.release(f"v{number}")
    seen, target = [], f"{store.github.api}/repos/{REPOSITORY}/releases?per_page=2"
    for expected in (["v4", "v3"], ["v2", "v1"], ["v0"]):
        answer = store.get(target)
        assert [entry["tag_name"] for entry in answer.json] == expected
        links = {name: url for url, name in re.findall('<([^>]*)>; rel="([a-z]+)"', answer.headers["link"])}
        seen.append(sorted(links))
        target = links.get("next", "")
    assert seen == [["last", "next"], ["first", "last", "next", "prev"], ["first", "prev"]]
    assert "link" not in store.get("/releases?per_page=5").headers


def test_page_has_at_most_100(store: Store) -> None:
    release = store.release()
    for number in range(101):
        assert store.upload(release, f"a{number}", b"x").status == 201
    assets = f"/releases/{release['id']}/assets"
    assert [len(store.get(f"{assets}?{query}").json) for query in ("", "per_page=500", "per_page=100&page=2")] == \
        [30, 100, 1]


# Uploads


def test_asset_says_what_it_is(store: Store) -> None:
    release = store.release("v1")
    asset = store.upload(release, "archive.tbk", DATA).json
    assert (asset["name"], asset["state"], asset["size"], asset["content_type"], asset["digest"]) == \
        ("archive.tbk", "uploaded", len(DATA), "application/octet-stream",
         f"sha256:{hashlib.sha256(DATA).hexdigest()}")
    assert asset["browser_download_url"].endswith(f"/{REPOSITORY}/releases/download/v1/archive.tbk")
    assert store.get(asset["url"]).json == asset
    assert store.get(f"/releases/{release['id']}").json["assets"] == [asset]
    assert store.get(f"/releases/{release['id']}/assets").json == [asset]


def test_asset_is_refused_at_the_api_host(store: Store) -> None:
    release = store.release()
    assert store.ask("POST", f"/releases/{release['id']}/assets?name=a", DATA).status == 404


@pytest.mark.parametrize(("name", "stored"), [
    ("plain-1_2.tbk", "plain-1_2.tbk"), ("a~b%20%2Fc.tbk", "a.b.c.tbk"), (".hidden", "default.hidden"),
    ("end..", "end"), ("%C3%A4.tbk", "default.tbk")])
def test_asset_name_loses_special_characters(store: Store, name: str, stored: str) -> None:
    assert store.upload(store.release(), name, b"x").json["name"] == stored


def test_asset_names_are_unique_in_a_release(store: Store) -> None:
    one, two = store.release("one"), store.release("two")
    assert store.upload(one, "a", b"1").status == 201
    assert errors(store.upload(one, "a", b"2")) == \
        [{"resource": "ReleaseAsset", "code": "already_exists", "field": "name"}]
    assert store.upload(two, "a", b"3").status == 201


def test_asset_needs_name_type_length_and_bytes(store: Store) -> None:
    release = store.release()
    url = release["upload_url"].split("{")[0]
    assert errors(store.upload(release, "", b"x"))[0]["field"] == "name"
    assert errors(store.ask("POST", f"{url}?name=a", b"x"))[0]["field"] == "content_type"
    assert errors(store.upload(release, "a", b""))[0]["message"] == "size must be greater than or equal to 1"
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    connection.request("POST", f"{urlsplit(url).path}?name=a", iter([b"x"]), encode_chunked=True, headers={
        "User-Agent": "x", "Authorization": f"Bearer {TOKEN}", "Content-Type": "text/plain",
        "Transfer-Encoding": "chunked"})
    assert connection.getresponse().status == 400
    connection.close()
    assert store.get(f"/releases/{release['id']}/assets").json == []


def test_asset_of_2_gib_is_refused_before_it_is_sent(store: Store) -> None:
    release = store.release()
    headers = {"Content-Length": str(2 << 30), "Expect": "100-continue"}
    answer = store.upload(release, "a", b"", headers)
    assert errors(answer)[0]["message"] == "size must be less than 2147483648"
    assert answer.headers["connection"] == "close"


def test_release_takes_so_many_assets(store: Store) -> None:
    assert store.github.settings()["assets_per_release"] == 1000
    store.github.settings(assets_per_release=2)
    release = store.release()
    assert [store.upload(release, name, b"x").status for name in "abc"] == [201, 201, 422]


def test_upload_to_a_renamed_repository_is_sent_on(store: Store) -> None:
    release = store.release()
    store.github.rename(REPOSITORY, "me/moved")
    answer = store.upload(release, "a", DATA)
    number = Client(store.github).get("/repos/me/moved").json["id"]
    there = f"{store.github.uploads}/repositories/{number}/releases/{release['id']}/assets?name=a"
    assert (answer.status, answer.headers["location"]) == (307, there)
    assert store.ask("POST", there, DATA, {"Content-Type": "application/octet-stream"}).status == 201


@pytest.mark.parametrize("leaves", [True, False])
def test_upload_that_breaks_off_may_leave_a_starter(store: Store, leaves: bool) -> None:
    store.github.settings(aborted_upload_leaves_starter=leaves)
    release = store.release()
    url = urlsplit(release["upload_url"].split("{")[0])
    connection = http.client.HTTPConnection(url.netloc)
    connection.putrequest("POST", f"{url.path}?name=a")
    for name, value in (("User-Agent", "x"), ("Authorization", f"Bearer {TOKEN}"), ("Content-Type", "text/plain"),
                        ("Content-Length", "1000000")):
        connection.putheader(name, value)
    connection.endheaders(b"x" * 1000)
    connection.close()
    wait_until(lambda: store.github.log()[-1]["request_bytes"] == 1000)
    wait_until(lambda: files_of(store.github) == [])
    wait_until(lambda: [entry["state"] for entry in store.get(f"/releases/{release['id']}/assets").json] ==
               ["starter"] * leaves)
    assert (store.upload(release, "a", b"x").status == 201) is not leaves


def test_asset_is_renamed(store: Store) -> None:
    release = store.release()
    asset, _ = store.upload(release, "a", b"x").json, store.upload(release, "b", b"x")
    assert errors(store.ask("PATCH", asset["url"], {"name": "b"}))[0]["code"] == "already_exists"
    assert store.ask("PATCH", asset["url"], {"name": "c"}).json["name"] == "c"


def test_deleted_asset_frees_its_space(store: Store) -> None:
    release = store.release()
    asset = store.upload(release, "a", DATA).json
    location = store.get(asset["url"], OCTETS).headers["location"]
    assert store.ask("DELETE", asset["url"]).status == 204
    assert files_of(store.github) == []
    assert store.ask("DELETE", asset["url"]).status == 404
    assert Client(store.github, None).get(location).status == 404
    assert store.upload(release, "a", b"again").status == 201


# Downloads


def test_download_is_at_the_storage_host(store: Store) -> None:
    asset = store.upload(store.release(), "a", DATA).json
    answer = download(store, asset)
    assert (answer.status, answer.body) == (200, DATA)
    assert answer.headers["accept-ranges"] == "bytes"
    assert [entry["origin"] for entry in store.github.log()[-2:]] == ["api", "storage"]


def test_download_can_be_answered_directly(store: Store) -> None:
    store.github.settings(asset_redirect=False)
    asset = store.upload(store.release(), "a", DATA).json
    assert store.get(asset["url"], OCTETS).body == DATA
    part = store.get(asset["url"], OCTETS | {"Range": "bytes=10-19"})
    assert (part.status, part.body) == (206, DATA[10:20])


@pytest.mark.parametrize(("given", "first", "end"), [
    ("bytes=0-0", 0, 1), ("bytes=100000-", 100_000, 300_000), ("bytes=-7", 299_993, 300_000),
    ("bytes=299999-999999", 299_999, 300_000)])
def test_range_is_206(store: Store, given: str, first: int, end: int) -> None:
    answer = download(store, store.upload(store.release(), "a", DATA).json, Range=given)
    assert (answer.status, answer.body) == (206, DATA[first:end])
    assert answer.headers["content-range"] == f"bytes {first}-{end - 1}/300000"


def test_range_past_the_end_is_416(store: Store) -> None:
    answer = download(store, store.upload(store.release(), "a", DATA).json, Range="bytes=300000-")
    assert (answer.status, answer.headers["content-range"]) == (416, "bytes */300000")


def test_storage_host_refuses_a_token_and_the_log_shows_it(store: Store) -> None:
    location = store.get(store.upload(store.release(), "a", DATA).json["url"], OCTETS).headers["location"]
    assert store.get(location).status == 400
    entry = store.github.log()[-1]
    assert (entry["origin"], entry["status"]) == ("storage", 400)
    assert entry["authorization"] == hashlib.sha256(f"Bearer {TOKEN}".encode()).hexdigest()


def test_signed_address_expires_and_cannot_be_made_up(store: Store) -> None:
    asset = store.upload(store.release(), "a", DATA).json
    good = store.get(asset["url"], OCTETS).headers["location"]
    store.github.settings(signed_url_seconds=0)
    expired = store.get(asset["url"], OCTETS).headers["location"]
    nobody = Client(store.github, None)
    assert [nobody.get(url).status for url in (good, expired, good[:-1], good.split("?")[0])] == [200, 403, 403, 403]


def test_starter_cannot_be_downloaded(store: Store) -> None:
    release = store.release()
    store.github.fault("POST", "/assets$", starter=True)
    assert store.upload(release, "a", DATA).status == 502
    asset, = store.get(f"/releases/{release['id']}/assets").json
    assert asset["state"] == "starter"
    assert store.get(asset["url"], OCTETS).status == 404
    assert errors(store.upload(release, "a", DATA))[0]["code"] == "already_exists"
    assert store.ask("DELETE", asset["url"]).status == 204
    assert store.upload(release, "a", DATA).json["state"] == "uploaded"

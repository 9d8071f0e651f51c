"""The stand-in for GitHub: all its faults."""

import http.client
import socket
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
from client import GitHub
from harness import OCTETS, RAW, REPOSITORY, TOKEN, Answer, Client, Store, base64_of, file, github, running, store, wait_until

__all__ = ["github", "running", "store"]

BIG = bytes(range(256)) * 4096


def broken(store: Store, target: str) -> tuple[bytes, str]:
    """The body bytes of a GET that is interrupted, and how it ends: "reset" or "closed"."""
    address = urlsplit(store.github.api)
    with socket.create_connection((address.hostname, address.port)) as sock:
        sock.sendall(f"GET /repos/{REPOSITORY}{target} HTTP/1.1\r\nHost: x\r\nUser-Agent: x\r\n"
                     f"Authorization: Bearer {TOKEN}\r\nAccept: {RAW['Accept']}\r\n\r\n".encode())
        received = b""
        try:
            while piece := sock.recv(1 << 16):
                received += piece
        except ConnectionResetError:
            return received.partition(b"\r\n\r\n")[2], "reset"
        return received.partition(b"\r\n\r\n")[2], "closed"


# Matching requests


def test_fault_meets_what_it_names(store: Store) -> None:
    store.github.fault("GET", "/contents/metadata.json$", skip=1, times=2, status=503)
    store.github.fault("PUT|DELETE", origin="uploads", times=-1, status=500)
    got = [store.get("/contents/metadata.json").status for _ in range(5)]
    assert got == [200, 503, 503, 200, 200]
    assert store.put("new", b"x").status == 201


def test_faults_come_one_after_another_and_can_be_cleared(store: Store) -> None:
    for status in (500, 502):
        store.github.fault(status=status)
    store.github.fault(times=-1, status=503)
    assert [store.get("").status for _ in range(4)] == [500, 502, 503, 503]
    store.github.clear_faults()
    assert store.get("").status == 200


def test_several_faults_in_one_request_to_the_controls(store: Store) -> None:
    store.github.control("POST", "faults", [{"action": {"status": 500}}, {"action": {"status": 501}}])
    assert [store.get("").status for _ in range(3)] == [500, 501, 200]


# Instead of a response


@pytest.mark.parametrize("status", [200, 502])
def test_page_instead_of_an_answer(store: Store, status: int) -> None:
    store.github.fault(status=status, html=True)
    answer = store.get("/git/trees/main")
    assert (answer.status, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert answer.body.startswith(b"<!DOCTYPE html>")


def test_body_and_headers_of_an_answer_can_be_given(store: Store) -> None:
    store.github.fault(status=500, body="{", headers={"Retry-After": "1"})
    answer = store.get("")
    assert (answer.status, answer.body, answer.headers["retry-after"]) == (500, b"{", "1")


@pytest.mark.parametrize("after_effect", [True, False])
def test_work_can_be_done_and_its_answer_lost(store: Store, after_effect: bool) -> None:
    store.github.fault("PUT", status=502, after_effect=after_effect)
    assert store.put("new", b"x").status == 502
    assert store.get("/contents/new").status == (200 if after_effect else 404)


@pytest.mark.parametrize("after_effect", [True, False])
def test_connection_can_close_without_an_answer(store: Store, after_effect: bool) -> None:
    store.github.fault("PUT", close_before_response=True, after_effect=after_effect)
    with pytest.raises(http.client.RemoteDisconnected):
        store.put("new", b"x")
    assert store.github.log()[-1]["status"] is None
    assert store.get("/contents/new").status == (200 if after_effect else 404)


def test_redirect_goes_where_it_is_told(store: Store) -> None:
    location = f"{store.github.storage}/elsewhere"
    store.github.fault(redirect=307, location=location)
    answer = store.put("new", b"x")
    assert (answer.status, answer.headers["location"]) == (307, location)


def test_request_can_hang_first(store: Store) -> None:
    store.github.fault(hang=0.3)
    begun = time.monotonic()
    assert store.get("").status == 200
    assert time.monotonic() - begun >= 0.3


# During the transfer


def test_request_is_reset_while_it_is_sent(store: Store) -> None:
    store.github.fault("POST", reset_request_after=100_000)
    with pytest.raises(ConnectionError):
        store.ask("POST", "/git/blobs", {"content": "x" * 30_000_000})
    # The log gets the byte count after the connection is reset.
    wait_until(lambda: store.github.log()[-1]["request_bytes"] == 100_000)
    assert store.github.log()[-1]["status"] is None


def test_response_is_reset_after_so_many_bytes(store: Store) -> None:
    store.add("big", BIG)
    store.github.fault(path="/contents/big", reset_response_after=200_001)
    assert broken(store, "/contents/big") == (BIG[:200_001], "reset")


def test_response_ends_early_as_if_it_were_complete(store: Store) -> None:
    store.add("big", BIG)
    store.github.fault(path="/contents/big", truncate_response_after=300_001)
    assert broken(store, "/contents/big") == (BIG[:300_001], "closed")


def test_response_drips(store: Store) -> None:
    store.add("big", BIG)
    store.github.fault(path="/contents/big", drip=1000, for_bytes=300)
    begun = time.monotonic()
    assert store.get("/contents/big", RAW).body == BIG
    assert time.monotonic() - begun >= 0.25


@pytest.mark.parametrize(("offset", "at"), [(5, 5), (-1, len(BIG) - 1)])
def test_response_has_a_bit_flipped(store: Store, offset: int, at: int) -> None:
    asset = store.upload(store.release(), "big", BIG).json
    location = store.get(asset["url"], OCTETS).headers["location"]
    store.github.fault(origin="storage", corrupt_response=offset)
    changed = Client(store.github, None).get(location).body
    assert [number for number, pair in enumerate(zip(BIG, changed, strict=True)) if pair[0] != pair[1]] == [at]
    assert changed[at] == BIG[at] ^ 1


def test_download_breaks_and_goes_on_from_there(store: Store) -> None:
    asset = store.upload(store.release(), "big", BIG).json
    location = store.get(asset["url"], OCTETS).headers["location"]
    store.github.fault(origin="storage", truncate_response_after=1000)
    with pytest.raises(http.client.IncompleteRead) as caught:
        Client(store.github, None).get(location)
    assert caught.value.partial == BIG[:1000]
    rest = Client(store.github, None).get(location, {"Range": "bytes=1000-"})
    assert caught.value.partial + rest.body == BIG


# Another writer, and earlier states


def test_another_writer_commits_just_before(store: Store) -> None:
    head = store.head
    tree = store.tree(file("mine", store.blob(b"x")), base=head)
    commit = store.commit(tree.json["sha"], head)
    store.github.fault("PATCH", move_branch=2)
    assert store.move(commit, force=False).refusal == (422, "Update is not a fast forward")
    assert store.github.git(REPOSITORY, "rev-list", "--count", "main") == b"3\n"
    assert store.github.git(REPOSITORY, "diff", "--name-only", head, "main") == b"elsewhere.txt\n"
    assert store.github.git(REPOSITORY, "fsck", "--strict", "--no-dangling") == b""


@pytest.mark.parametrize("older", [{"previous": 1}, "sha"])
def test_older_commit_is_served_again(store: Store, older: Any) -> None:
    sha = store.get("/contents/metadata.json").json["sha"]
    store.put("metadata.json", b"1", sha=sha)
    first = store.head
    store.add("other", b"x")
    newest = store.head
    store.github.fault("GET", times=3, serve_commit=first if older == "sha" else older)
    assert store.get("/branches/main").json["commit"]["sha"] == first
    assert store.get("/contents/other").status == 404
    assert store.head == first
    assert store.head == newest
    store.github.fault("GET", serve_commit={"previous": 99})
    assert store.get("/contents/metadata.json", RAW).body == b"{}\n"


# Limits


def limited(answer: Answer) -> str:
    assert answer.status in (403, 429)
    return str(answer.json["message"])


def test_primary_limit_lasts_until_it_is_reset(store: Store) -> None:
    store.github.fault(rate_limit="primary", reset_in=3)
    answer = store.get("")
    assert limited(answer).startswith("API rate limit exceeded")
    assert answer.headers["x-ratelimit-remaining"] == "0"
    assert "retry-after" not in answer.headers
    assert store.get("").status == 403
    time.sleep(max(0, int(answer.headers["x-ratelimit-reset"]) - time.time()))
    assert store.get("").status == 200


@pytest.mark.parametrize(("kind", "status", "after"), [("secondary", 403, "7"), ("secondary", 429, "7"),
                                                       ("secondary-no-header", 403, None)])
def test_secondary_limit_says_when_to_come_back_or_not(store: Store, kind: str, status: int, after: str | None) -> None:
    store.github.fault(rate_limit=kind, retry_after=7, status=status)
    answer = store.get("")
    assert "secondary rate limit" in limited(answer)
    assert (answer.status, answer.headers.get("retry-after")) == (status, after)
    assert answer.headers["x-ratelimit-remaining"] != "0"
    assert store.get("").status == 200


def test_secondary_limits_are_kept_when_asked_for(store: Store) -> None:
    assert {name: store.github.settings()[name] for name in (
        "points_per_minute", "content_per_minute", "content_per_hour", "concurrent_requests", "secondary_limits")} == \
        {"points_per_minute": 900, "content_per_minute": 80, "content_per_hour": 500, "concurrent_requests": 100,
         "secondary_limits": False}
    store.github.settings(secondary_limits=True)
    answers = [store.ask("POST", "/git/blobs", {"content": str(number)}) for number in range(81)]
    assert [answer.status for answer in answers] == [201] * 80 + [403]
    assert "secondary rate limit" in limited(answers[-1])
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    # Reading only costs points.
    assert store.get("").status == 200


@pytest.mark.parametrize(("name", "limit", "statuses"), [
    ("points_per_minute", 11, [201, 201, 403]), ("content_per_hour", 1, [201, 403, 403]),
    ("concurrent_requests", 0, [403, 403, 403])])
def test_each_secondary_limit_is_one(store: Store, name: str, limit: int, statuses: list[int]) -> None:
    store.github.settings(secondary_limits=True, **{name: limit})
    assert [store.ask("POST", "/git/blobs", {"content": "x"}).status for _ in range(3)] == statuses


# Slowness


def test_every_connection_has_its_own_rate(store: Store) -> None:
    store.add("big", BIG)
    store.github.settings(per_connection_bytes_per_second=4 << 20)
    begun = time.monotonic()
    assert store.get("/contents/big", RAW).body == BIG
    assert store.ask("POST", "/git/blobs", {"content": base64_of(BIG)}).status == 201
    assert time.monotonic() - begun >= 0.4


def test_latency_is_added_to_every_request(github: GitHub) -> None:
    github.settings(latency_ms=50)
    begun = time.monotonic()
    for _ in range(4):
        Client(github).get("/user")
    assert time.monotonic() - begun >= 0.2

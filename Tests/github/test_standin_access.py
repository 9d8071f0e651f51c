"""The stand-in for GitHub: permissions, rate limits, and conditional requests."""

import http.client
import re
import time
from urllib.parse import urlsplit

import pytest
from client import GitHub
from harness import RAW, REPOSITORY, TOKEN, Client, Store, github, running, store

__all__ = ["github", "running", "store"]

FORBIDDEN = (403, "Resource not accessible by personal access token")


def with_token(store: Store, token: str, **fields: object) -> Store:
    return Store(store.github, store.github.token(token, **fields))  # type: ignore[arg-type]


# Authentication


def test_user_agent_is_needed(store: Store) -> None:
    connection = http.client.HTTPConnection(urlsplit(store.github.api).netloc)
    connection.request("GET", "/user", headers={"Authorization": f"Bearer {TOKEN}"})
    response = connection.getresponse()
    assert (response.status, b"User-Agent" in response.read()) == (403, True)
    connection.close()


@pytest.mark.parametrize("token", ["ghp_wrong", ""])
def test_wrong_token_is_401(store: Store, token: str) -> None:
    answer = store.get("", {"Authorization": f"Bearer {token}"})
    assert answer.refusal == (401, "Bad credentials")
    assert answer.json["status"] == "401"
    assert "x-ratelimit-limit" in answer.headers


def test_nobody_sees_a_private_repository(store: Store) -> None:
    nobody = Store(store.github, None)
    assert nobody.get("").refusal == (404, "Not Found")
    assert Client(store.github, None).get("/user").refusal == (401, "Requires authentication")
    store.github.update_repository(REPOSITORY, private=False)
    assert nobody.get("/contents/metadata.json", RAW).body == b"{}\n"
    assert nobody.put("new", b"x").refusal == (401, "Requires authentication")


def test_token_ends_when_it_expires(github: GitHub) -> None:
    client = Client(github, github.token("ghp_short", expires=3600))
    answer = client.get("/user")
    assert answer.status == 200
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC",
                        answer.headers["github-authentication-token-expiration"])
    github.token("ghp_short", expires=0)
    assert client.get("/user").refusal == (401, "Bad credentials")


def test_token_can_end_after_so_many_requests(github: GitHub) -> None:
    client = Client(github, github.token("ghp_worn", invalid_after_requests=2))
    assert [client.get("/user").status for _ in range(4)] == [200, 200, 401, 401]


# Permissions


def test_classic_token_shows_its_scopes(store: Store) -> None:
    answer = with_token(store, "ghp_two", scopes=["repo", "gist"]).get("")
    assert (answer.headers["x-oauth-scopes"], answer.headers["x-accepted-oauth-scopes"]) == ("repo, gist", "repo")
    assert "x-accepted-github-permissions" not in answer.headers
    assert "github-authentication-token-expiration" not in answer.headers


@pytest.mark.parametrize(("scopes", "private", "public"), [
    (["repo"], (200, 201), (200, 201)), (["public_repo"], (404, 404), (200, 201)), ([], (404, 404), (200, 404))])
def test_classic_scopes_decide(store: Store, scopes: list[str], private: tuple[int, int],
                               public: tuple[int, int]) -> None:
    scoped = with_token(store, "ghp_scoped", scopes=scopes)
    assert (scoped.get("").status, scoped.put("one", b"x").status) == private
    store.github.update_repository(REPOSITORY, private=False)
    assert (scoped.get("").status, scoped.put("two", b"x").status) == public


def test_fine_grained_token_shows_what_is_needed(store: Store) -> None:
    fine = with_token(store, "github_pat_x", permissions={"contents": "write"})
    answer = fine.get("")
    assert answer.headers["x-accepted-github-permissions"] == "metadata=read"
    assert "x-oauth-scopes" not in answer.headers
    assert fine.get("/contents/metadata.json").headers["x-accepted-github-permissions"] == "contents=read"
    assert fine.put("new", b"x").headers["x-accepted-github-permissions"] == \
        "contents=write; contents=write,workflows=write"


def test_reading_token_is_told_only_when_it_writes(store: Store) -> None:
    reader = with_token(store, "github_pat_r", permissions={"contents": "read"})
    assert reader.get("").json["permissions"]["push"] is True
    assert reader.get("/contents/metadata.json").status == 200
    for answer in (reader.put("new", b"x"), reader.ask("POST", "/git/blobs", {"content": "x"}),
                   reader.ask("POST", "/releases", {"tag_name": "v1"}),
                   reader.move(store.head)):
        assert answer.refusal == FORBIDDEN
        assert answer.headers["x-accepted-github-permissions"].startswith("contents=write")


def test_token_without_contents_sees_the_repository_alone(store: Store) -> None:
    blind = with_token(store, "github_pat_m", permissions={})
    assert blind.get("").status == 200
    assert blind.get("/contents/metadata.json").refusal == FORBIDDEN


def test_token_for_other_repositories_does_not_see_this_one(store: Store) -> None:
    other = with_token(store, "github_pat_o", repositories=["me/other"])
    assert other.get("").status == 404
    store.github.update_repository(REPOSITORY, private=False)
    assert other.get("/contents/metadata.json").status == 200
    assert other.put("new", b"x").refusal == FORBIDDEN


def test_only_administration_creates_repositories(github: GitHub) -> None:
    for permissions, status in (({"contents": "write"}, 403), ({"administration": "write"}, 201)):
        client = Client(github, github.token("github_pat_a", permissions=permissions))
        answer = client.ask("POST", "/user/repos", {"name": "new"})
        assert (answer.status, answer.headers["x-accepted-github-permissions"]) == (status, "administration=write")


def test_installation_token_has_no_user(store: Store) -> None:
    actions = with_token(store, "ghs_actions", limit=1000)
    answer = Client(store.github, "ghs_actions").get("/user")
    assert answer.refusal == (403, "Resource not accessible by integration")
    assert actions.put("new", b"x").headers["x-ratelimit-limit"] == "1000"


@pytest.mark.parametrize(("role", "read", "write"), [(None, 404, 404), ("read", 200, 404), ("write", 200, 201)])
def test_collaborators_have_roles(store: Store, role: str | None, read: int, write: int) -> None:
    friend = with_token(store, "ghp_friend", login="friend")
    if role:
        store.github.update_repository(REPOSITORY, collaborators={"friend": role})
    assert (friend.get("").status, friend.put("new", b"x").status) == (read, write)
    assert role is None or friend.get("").json["permissions"]["push"] is (role == "write")


# Rate limits


def test_requests_are_counted_to_the_limit(store: Store) -> None:
    worn = with_token(store, "ghp_worn", limit=100, remaining=2, reset_in=1000)
    answers = [worn.get("") for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 403]
    assert [answer.headers["x-ratelimit-remaining"] for answer in answers] == ["1", "0", "0"]
    assert [answer.headers["x-ratelimit-used"] for answer in answers] == ["99", "100", "100"]
    assert {answer.headers["x-ratelimit-resource"] for answer in answers} == {"core"}
    assert 990 <= int(answers[2].headers["x-ratelimit-reset"]) - time.time() <= 1001
    assert answers[2].json["message"].startswith("API rate limit exceeded")
    # Requests for the limit are free, and other tokens have their own limit.
    core = Client(store.github, "ghp_worn").get("/rate_limit").json["resources"]["core"]
    assert (core["limit"], core["remaining"]) == (100, 0)
    assert store.get("").status == 200


def test_nobody_has_60_requests(github: GitHub) -> None:
    assert Client(github, None).get("/meta").headers["x-ratelimit-limit"] == "60"


@pytest.mark.parametrize("target", ["", "/contents/metadata.json", "/branches/main", "/git/ref/heads/main"])
def test_what_did_not_change_is_304_and_free(store: Store, target: str) -> None:
    first = store.get(target)
    assert first.headers["etag"].startswith('W/"')
    again = store.get(target, {"If-None-Match": first.headers["etag"]})
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert again.headers["x-ratelimit-remaining"] == first.headers["x-ratelimit-remaining"]
    store.add("metadata.json", b"changed")
    assert target == "" or store.get(target, {"If-None-Match": first.headers["etag"]}).status == 200


def test_304_is_not_free_for_nobody(store: Store) -> None:
    store.github.update_repository(REPOSITORY, private=False)
    nobody = Store(store.github, None)
    first = nobody.get("")
    again = nobody.get("", {"If-None-Match": first.headers["etag"]})
    assert again.status == 304
    assert int(again.headers["x-ratelimit-remaining"]) == int(first.headers["x-ratelimit-remaining"]) - 1


def test_api_version_has_to_exist(store: Store) -> None:
    good = store.get("", {"X-GitHub-Api-Version": "2022-11-28"})
    assert (good.status, good.headers["x-github-api-version-selected"]) == (200, "2022-11-28")
    assert store.get("", {"X-GitHub-Api-Version": "1999-01-01"}).status == 400


def test_root_and_meta_answer(github: GitHub) -> None:
    client = Client(github)
    assert client.get("/").json["repository_url"] == github.api + "/repos/{owner}/{repo}"
    assert client.get("/meta").status == 200
    assert client.get("/user").json["login"] == "me"

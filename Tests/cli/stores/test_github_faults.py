"""Failures of the network and of GitHub: nothing is lost, the exit status is right, and a hint helps."""

import json
import re
import shutil
import subprocess
import time

import pytest
from conftest import PATIENCE, absent, some
from github_fixture import TOKEN, Authority, github, github_server, github_tls, github_tls_1  # noqa: F401
from test_github_store import MIB, archive, identify
from tunnel import Tunnel

HTML = "<!DOCTYPE html><html><body><h1>Unicorn!</h1></body></html>"
# Long enough for a few retries, so that transient failures pass.
WAIT = ("--max-wait", "60")


def stored(store):
    return [entry["id"] for entry in json.loads(store.git("show", "HEAD:metadata.json"))["backups"]]


def mount_small(directory):
    """A file system of 4 MiB; skips if none can be mounted."""
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", directory]
    if subprocess.run(command, capture_output=True).returncode:
        absent("the right to mount a file system")


# Transient failures

EVERYWHERE = [
    {"status": 500}, {"status": 502}, {"status": 503, "times": 2}, {"status": 504},
    {"status": 502, "html": True}, {"status": 200, "html": True}, {"close_before_response": True},
    {"status": 502, "after_effect": True}, {"status": 429, "headers": {"retry-after": "1"}},
    {"rate_limit": "secondary", "retry_after": 1}, {"rate_limit": "primary", "reset_in": 1},
]


@pytest.mark.parametrize("path", ["/branches/", "/contents/", "/git/blobs", "/git/trees", "/git/commits", "/git/refs"])
@pytest.mark.parametrize("fault", EVERYWHERE, ids=lambda fault: "-".join(map(str, fault.values()))[:30])
def test_a_push_outlasts(github, path, fault):
    github.push(archive(1))
    github.forget_cache()
    github.fault(path=path, **fault)
    github.push(archive(2), *WAIT)
    assert stored(github) == [identify(archive(1)), identify(archive(2))]
    github.check()


@pytest.mark.parametrize("path", [r"/repos/me/store\d+$", "/contents/.gitattributes", "/git/refs"])
@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 502, "after_effect": True},
                                   {"close_before_response": True}], ids=["503", "lost answer", "closed"])
def test_the_first_push_outlasts(github, path, fault):
    github.fault(path=path, **fault)
    github.push(archive(1), *WAIT)
    assert stored(github) == [identify(archive(1))]


@pytest.mark.parametrize("fault", [{"reset_request_after": 100_000}, {"status": 502}, {"starter": True},
                                   {"status": 502, "after_effect": True}, {"close_before_response": True},
                                   {"status": 502, "html": True, "times": 2}],
                         ids=["reset", "502", "starter", "lost answer", "closed", "html"])
def test_an_upload_of_an_asset_outlasts(github, fault):
    data = archive(1, 2 * MIB)
    github.fault(method="POST", path="/assets", origin="uploads", **fault)
    github.push(data, "--placement", "release", *WAIT)
    assert [asset["state"] for asset in github.state()["assets"]] == ["uploaded"]
    assert github.pull("latest").out == data


@pytest.mark.parametrize("after", [0, 1, 1_000_000])
def test_a_blob_is_sent_again_after_a_reset(github, after):
    data = archive(1, 2 * MIB)
    github.fault(method="POST", path="/git/blobs", reset_request_after=after)
    github.push(data, *WAIT)
    assert github.pull("latest").out == data


BROKEN_DOWNLOADS = {
    "reset": {"reset_response_after": 1_000_000}, "truncated": {"truncate_response_after": 1_500_000},
    "empty": {"truncate_response_after": 0}, "503": {"status": 503}, "closed": {"close_before_response": True},
    "drip": {"drip": 2_000_000, "for_bytes": 100_000},
}


def downloads(github, origin, fault):
    data = archive(1, 20 * MIB)
    github.push(data, "--placement", "release" if origin == "storage" else "git")
    github.fault(method="GET", origin=origin, path="" if origin == "storage" else "/contents/backups", **fault)
    assert github.pull("latest", *WAIT).out == data


@pytest.mark.parametrize("fault", BROKEN_DOWNLOADS.values(), ids=BROKEN_DOWNLOADS)
@pytest.mark.parametrize("origin", ["api", "storage"])
def test_a_download_goes_on(github, fault, origin):
    downloads(github, origin, fault)


def test_a_signed_address_that_no_longer_works_is_asked_for_again(github):
    downloads(github, "storage", {"status": 403})


def test_a_download_goes_on_where_it_broke_off(github):
    data = archive(1, 6 * MIB)
    github.push(data, "--placement", "release")
    github.clear_log()
    github.fault(method="GET", origin="storage", reset_response_after=5 * MIB)
    assert github.pull("latest", *WAIT).out == data
    ranges = [entry["headers"].get("range") for entry in github.log() if entry["origin"] == "storage"]
    assert ranges[0] is None and re.fullmatch(r"bytes=\d{6,}-", ranges[1])


def test_a_transfer_that_stands_still_is_begun_again(github):
    github.push(archive(1))
    github.fault(path="/branches/", hang=60)
    assert len(github.pull("--list", "--max-wait", "12").lines) == 1


# Permanent failures


def test_a_server_that_stays_down_is_given_up_in_time(github):
    github.push(archive(1))
    github.fault(path="", status=503, times=-1)
    # The default is a quarter of an hour, which exceeds PATIENCE.
    done = github.push(archive(2), "--max-wait", "3", status=75)
    assert b"status 503" in done.err and b"--max-wait" in done.err
    github.clear_faults()
    assert stored(github) == [identify(archive(1))]


@pytest.mark.parametrize("fault, wait", [({"rate_limit": "primary", "reset_in": 3000}, 2000),
                                         ({"rate_limit": "secondary-no-header"}, 59),
                                         ({"rate_limit": "secondary", "retry_after": 600}, 590)])
def test_a_limit_that_is_too_long_is_not_waited_for(github, fault, wait):
    github.push(archive(1))
    github.fault(path="", times=-1, **fault)
    began = time.monotonic()
    done = github.push(archive(2), "--max-wait", str(wait), "--json", status=75)
    error = json.loads(done.err.splitlines()[-1])["error"]
    assert error["type"] == "GitHubError" and error["http_status"] in (403, 429)
    assert "rate limit" in error["message"] and "--max-wait" in error["hint"]
    assert time.monotonic() - began < wait


def test_a_certificate_that_is_not_trusted_ends_it_at_once(github_tls):
    done = github_tls.push(archive(1), status=69, env={"CURL_CA_BUNDLE": ""})
    assert b"certificate" in done.err and b"CURL_CA_BUNDLE" in done.err
    assert github_tls.log() == []


def test_certificates_that_are_named_stand_instead_of_the_systems(github_tls, tmp_path):
    system, empty, other = (tmp_path / name for name in ("system", "empty", "other"))
    for folder in (system, empty, other):
        folder.mkdir()
    stranger = Authority(other, "Another authority").file
    # The system trusts nginx's authority, but only in its certificate directory.
    shutil.copy(github_tls.nginx.authority.file, system / "ours.pem")
    subprocess.run(["openssl", "rehash", system], check=True)
    shutil.copy(stranger, system / "ca-certificates.crt")
    github_tls.push(archive(1))

    def trusts(**named):
        done = github_tls.pull("--list", status=(0, 69), over=(system, "/etc/ssl/certs"),
                               env={"CURL_CA_BUNDLE": "", **named})
        assert done.status == 0 or b"certificate" in done.err
        return done.status == 0
    assert trusts()
    assert not trusts(CURL_CA_BUNDLE=str(stranger))
    assert not trusts(SSL_CERT_FILE=str(stranger))
    assert not trusts(SSL_CERT_DIR=str(empty))
    assert trusts(SSL_CERT_DIR=str(system)) and trusts(SSL_CERT_FILE=str(system / "ours.pem"))
    assert not trusts(CURL_CA_BUNDLE=str(stranger), SSL_CERT_DIR=str(system))


def test_a_host_that_is_not_there(github):
    done = github.push(archive(1), status=69, env={"TERMBACKUP_GITHUB_API": "https://api.nowhere.invalid"})
    assert b"cannot find the host api.nowhere.invalid" in done.err and b"hint" in done.err


def test_a_port_where_nobody_listens(github):
    done = github.push(archive(1), status=69, env={"TERMBACKUP_GITHUB_API": "http://127.0.0.1:1"})
    assert b"cannot connect" in done.err


@pytest.mark.parametrize("root", ["http://api.example.org", "ftp://127.0.0.1", "nonsense", "https://u:p@127.0.0.1/"])
def test_an_api_that_must_not_be_used(github, root):
    github.push(archive(1), status=78, env={"TERMBACKUP_GITHUB_API": root})


def test_a_redirect_to_another_host_gets_no_token(github):
    github.push(archive(1))
    elsewhere = github.server.listen["storage"]
    github.fault(method="GET", path="/contents/backups", redirect=302, location=f"{elsewhere}/catch")
    # The redirect leads to nothing.
    github.pull("latest", status=66)
    caught = [entry for entry in github.log() if entry["path"] == "/catch"]
    assert caught and all(entry["authorization"] is None for entry in caught)


def test_a_write_is_not_redirected_to_another_host(github):
    elsewhere = github.server.listen["storage"]
    github.fault(method="POST", path="/git/blobs", redirect=307, location=f"{elsewhere}/catch", times=-1)
    assert b"redirects" in github.push(archive(1), status=69).err
    assert [entry for entry in github.log() if entry["origin"] == "storage"] == []


def test_a_redirect_without_end(github):
    github.fault(method="GET", path="/branches/|/repos/", redirect=302, location="/repos/me/other", times=-1)
    github.pull("--list", status=69)


def test_a_redirect_to_plain_http_elsewhere_is_refused(github):
    github.fault(method="GET", path="/repos/", redirect=302, location="http://192.0.2.1/", times=-1)
    assert b"redirects" in github.pull("--list", status=69).err


@pytest.mark.parametrize("path", ["/branches/", "/git/blobs", "/git/commits"])
def test_a_token_that_expires_half_way(github, path):
    github.push(archive(1))
    github.fault(path=path, status=401, body='{"message": "Bad credentials"}', times=-1)
    done = github.push(archive(2), "--json", status=77)
    error = json.loads(done.err.splitlines()[-1])["error"]
    assert error["type"] == "TokenError" and error["http_status"] == 401 and "update-token" in error["hint"]
    assert TOKEN not in done.err.decode()
    github.clear_faults()
    assert stored(github) == [identify(archive(1))]
    github.push(archive(2))


def test_a_token_that_may_only_read(github):
    github.push(archive(1))
    github.server.token("github_pat_read", login="me", permissions={"contents": "read"})
    done = github.push(archive(2), status=77, env={"TERMBACKUP_TOKEN": "github_pat_read"})
    assert b"Contents: read and write" in done.err
    assert github.pull("latest", env={"TERMBACKUP_TOKEN": "github_pat_read"}).out == archive(1)


def test_no_token_at_all(github):
    del github.environment["TERMBACKUP_TOKEN"]
    assert b"gh auth token" in github.push(archive(1), status=77).err
    assert github.log() == []


def test_a_repository_that_is_not_there(github):
    github.address = "github:me/nothing"
    assert b"there is no repository me/nothing" in github.push(archive(1), status=69).err


def test_a_protected_branch(github):
    github.push(archive(1))
    github.fault(method="PATCH", path="/git/refs", status=422,
                 body='{"message": "Repository rule violations found"}', times=-1)
    done = github.push(archive(2), status=77)
    assert b"rule" in done.err
    github.clear_faults()
    assert stored(github) == [identify(archive(1))]


# Damage in the store


def test_a_corrupted_blob_is_found_out(github):
    github.push(archive(1, 100_000))
    github.fault(method="GET", path="/contents/backups", corrupt_response=50_000, times=-1)
    done = github.pull("latest", status=65)
    assert done.out == b"" and b"SHA-256" in done.err


def test_a_corrupted_asset_is_found_out(github):
    github.push(archive(1, 2 * MIB), "--placement", "release")
    github.fault(method="GET", origin="storage", corrupt_response=1_000_000, times=-1)
    github.commands.run("tbk-pull", github.address, "latest", "-o", github.scratch / "x", status=65,
                        env=github.environment)
    assert not (github.scratch / "x").exists()


def test_an_older_ledger_served_again_is_noticed(github):
    for seed in (1, 2, 3):
        github.push(archive(seed))
    github.fault(path="/branches/|/contents/", serve_commit={"previous": 1}, times=-1)
    github.forget_cache()
    done = github.push(archive(4), status=65)
    assert b"was rolled back" in done.err
    assert b"was rolled back" in github.pull("--list", status=65).err
    listed = github.pull("--list", "--accept-store-state")
    assert len(listed.lines) == 2


def test_a_history_that_was_rewritten_is_noticed(github):
    for seed in (1, 2):
        github.push(archive(seed))
    github.git("update-ref", "refs/heads/main", "HEAD~1")
    assert b"was rolled back" in github.push(archive(3), status=65).err


def test_an_archive_that_is_gone(github):
    github.push(archive(1))
    github.push(archive(2), "--placement", "release")
    state = github.state()
    for asset in state["assets"]:
        github.call("DELETE", f"releases/assets/{asset['id']}")
    done = github.pull("latest", status=66)
    assert b"does not have" in done.err and done.out == b""
    assert github.pull(identify(archive(1))).out == archive(1)
    # The backup can still be removed, though its asset is gone.
    github.remove(identify(archive(2)))


def test_a_file_that_is_gone_can_be_removed_from_the_ledger(github):
    for seed in (1, 2):
        github.push(archive(seed))
    path = f"backups/backup_{identify(archive(1))[:12]}.tbk"
    sha = github.git("rev-parse", f"HEAD:{path}").strip()
    github.call("DELETE", f"contents/{path}", {"message": "x", "sha": sha})
    assert b"does not have" in github.pull(identify(archive(1)), status=66).err
    github.remove(identify(archive(1)))
    assert stored(github) == [identify(archive(2))]


def test_a_disk_that_is_full_while_downloading(github, tmp_path):
    data = archive(1, 8 * MIB)
    github.push(data)
    mount = tmp_path / "small"
    mount.mkdir()
    mount_small(mount)
    try:
        github.commands.run("tbk-pull", github.address, "latest", "-o", mount / "x", status=74,
                            env=github.environment)
        assert list(mount.iterdir()) == []
    finally:
        subprocess.run(["umount", mount], check=True)


def test_a_disk_that_is_full_while_spooling(github, tmp_path):
    mount = tmp_path / "small"
    mount.mkdir()
    mount_small(mount)
    try:
        done = github.push(archive(1, 30 * MIB), status=74, env={"TMPDIR": str(mount)})
        assert b"TMPDIR" in done.err
    finally:
        subprocess.run(["umount", mount], check=True)
    assert github.pull("--list").out == b""


@some(3)
def test_a_push_that_is_killed_leaves_nothing_half(github, stride):
    """Killed at each request in turn, while the server delays its response."""
    github.push(archive(1))
    for number in range(0, 7, stride):
        github.fault(path="", skip=number, hang=10 * PATIENCE, times=-1)
        file = github.scratch / "data"
        file.write_bytes(archive(10 + number))
        github.clear_log()
        with file.open("rb") as data:
            process = github.commands.start("tbk-push", github.address, stdin=data, env=github.environment)
        deadline = time.monotonic() + PATIENCE
        while len(github.log()) <= number and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.kill()
        process.communicate()
        github.clear_faults()
        listed = [line.split("\t")[0] for line in github.pull("--list").lines]
        for identity in listed:
            github.pull(identity)
        github.check()
    github.push(archive(50))
    assert identify(archive(50)) in stored(github)


# Through nginx


def test_tls_with_http2(github_tls):
    github_tls.push(archive(1))
    github_tls.push(archive(2, 3 * MIB), "--placement", "release")
    assert github_tls.pull("latest").out == archive(2, 3 * MIB)
    protocols = {request[1] for request in github_tls.nginx.requests()}
    assert protocols == {"HTTP/2.0"}


def test_tls_without_http2(github_tls_1):
    github_tls_1.push(archive(1))
    assert github_tls_1.pull("latest").out == archive(1)
    assert {request[1] for request in github_tls_1.nginx.requests()} == {"HTTP/1.1"}


def test_a_proxy_is_used(github_tls):
    with Tunnel() as proxy:
        environment = {"https_proxy": proxy.url, "no_proxy": ""}
        github_tls.push(archive(1), env=environment)
        assert github_tls.pull("latest", env=environment).out == archive(1)
    assert proxy.heads
    for head in proxy.heads:
        assert head.startswith(b"CONNECT localhost:") and b"uthorization" not in head


@pytest.mark.parametrize("variable", ["http_proxy", "all_proxy", "ALL_PROXY"])
def test_what_is_in_the_clear_goes_through_no_proxy(github, variable):
    with Tunnel() as proxy:
        github.push(archive(1), env={variable: proxy.url, "no_proxy": ""})
    assert proxy.heads == []


def test_a_proxy_that_is_not_there(github_tls):
    environment = {"https_proxy": "http://127.0.0.1:1", "no_proxy": ""}
    assert b"cannot connect" in github_tls.push(archive(1), status=69, env=environment).err
    environment = {"https_proxy": "http://proxy.invalid:1", "no_proxy": ""}
    assert b"cannot find the proxy" in github_tls.push(archive(1), status=69, env=environment).err

"""tbk-notify: the message that each service gets, and what is done about its response."""

import json
import time
import unicodedata

import jsonschema
import pytest
from conftest import PATIENCE
from webhook_fixture import SCHEMAS, SECRET, running, total

REPORT = {"id": "9d24c6e81a07" + "0" * 52, "profile": "docs", "status": "success", "mode": "incremental", "file_count": 4217,
          "size": 734003, "seconds": 65, "store": "/home/ada/backups", "time": "2026-11-21T02:45:10+00:00"}
FAILURE = {"profile": "docs", "status": "failure", "seconds": 2,
           "error": {"type": "StoreError", "message": "store unavailable", "hint": None, "status": 69}}
HOSTILE = ("<!channel> & <@U123> @everyone *bold* _it_ ~no~ `code` ||spoiler|| [a](http://b) :smile: > # - \\ "
           "\u202egnp.exe\x07 </b>")
CLUSTERS = "e\u0301" * 20000
FORMATS = tuple(SCHEMAS)


@pytest.fixture
def service():
    with running() as running_service:
        yield running_service


@pytest.fixture
def notify(tbk, service):
    def send(report=REPORT, *arguments, url=None, **options):
        given = tbk.scratch / "url"
        given.write_text((url or service.url) + "\n")
        if "--max-wait" not in arguments:
            arguments += ("--max-wait", "30")
        result = tbk.run("tbk-notify", "--url-file", given, *arguments,
                         input=None if report is None else json.dumps(report).encode(), **options)
        assert SECRET.lower().encode() not in (result.out + result.err).lower()
        return result
    return send


def payload(tbk, report, form):
    done = tbk.run("tbk-notify", "--dry-run", "--format", form, input=json.dumps(report).encode())
    body = json.loads(done.out)
    jsonschema.validate(body, SCHEMAS[form])
    if form == "discord":
        assert all(total(embed) <= 6000 for embed in body["embeds"])
    return body


def texts(value):
    if isinstance(value, str):
        return [value]
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for part in inside for text in texts(part)]


# What is sent


def test_generic_says_everything(tbk):
    assert payload(tbk, REPORT, "generic") == {
        "event": "backup", "summary": "Backup of docs succeeded", "status": "success", "profile": "docs",
        "backup_id": REPORT["id"], "mode": "incremental", "file_count": 4217, "archive_size": 734003,
        "archive_size_human": "716.8 KiB", "duration_seconds": 65, "timestamp": "2026-11-21T02:45:10+00:00",
        "warning": None, "error": None}


@pytest.mark.parametrize("form", ("slack", "discord"))
def test_people_read_every_fact(tbk, form):
    shown = " ".join(texts(payload(tbk, REPORT, form))).replace("\\", "")
    for fact in ("Backup of docs succeeded", "docs", "9d24c6e81a07", "incremental", "4,217", "716.8 KiB (734,003 bytes)",
                 "1 min 5 s", "2026-11-21T02:45:10+00:00"):
        assert fact in shown
    assert "/home/ada" not in shown


@pytest.mark.parametrize("form", FORMATS)
def test_a_failure_is_told_with_its_class_and_message(tbk, form):
    body = payload(tbk, FAILURE, form)
    shown = " ".join(texts(body)).replace("\\", "")
    assert "Backup of docs failed" in shown and "StoreError" in shown and "store unavailable" in shown
    # Only the error, as a command prints it with --json.
    alone = " ".join(texts(payload(tbk, {"error": FAILURE["error"]}, form))).replace("\\", "")
    assert "Backup failed" in alone and "store unavailable" in alone


@pytest.mark.parametrize("status,warning,color", [
    ("success", None, 0x2ecc71), ("unchanged", None, 0x2ecc71), ("failure", None, 0xe74c3c), ("partial", None, 0xf1c40f),
    ("success", "old backups were not removed", 0xf1c40f)])
def test_discord_shows_the_outcome_as_a_colour(tbk, status, warning, color):
    body = payload(tbk, {"profile": "docs", "status": status, "warning": warning}, "discord")
    assert body["embeds"][0]["color"] == color


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("report", [
    {"status": "success"}, {"status": "partial", "profile": ""}, {"status": "failure", "error": {}},
    {"status": "unchanged", "id": None, "file_count": None}, {"status": "success", "file_count": 2 ** 64 - 1, "size": 2 ** 64 - 1},
], ids=["nothing known", "empty name", "empty error", "nulls", "largest"])
def test_any_report_makes_a_valid_message(tbk, form, report):
    payload(tbk, report, form)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("text", [HOSTILE * 200, CLUSTERS, "&" * 20000, "\U0001f469\u200d\U0001f467" * 3000,
                                  "a" + "\u0301" * 30000, "*" * 9000, "\n" * 9000],
                         ids=["hostile", "clusters", "entities", "families", "one cluster", "stars", "line feeds"])
def test_long_text_is_cut_within_the_limits(tbk, form, text):
    payload(tbk, {**FAILURE, "profile": text, "id": text, "mode": text, "error": {"type": text, "message": text}}, form)


@pytest.mark.parametrize("form", ("slack", "discord"))
def test_text_is_cut_between_characters(tbk, form):
    for text in texts(payload(tbk, {**FAILURE, "profile": CLUSTERS}, form)):
        if text.endswith("…"):
            assert unicodedata.combining(text[-2]), "an accent was cut off its letter"
    for text in texts(payload(tbk, {**FAILURE, "profile": "&" * 5000 + "*" * 5000}, form)):
        if text.endswith("…"):
            assert text.endswith(("&amp;…", "\\&…"))


@pytest.mark.parametrize("limit,more", [(150, 0), (151, 1)])
def test_text_that_just_fits_is_whole(tbk, limit, more):
    profile = "p" * (limit - len("Backup of  succeeded"))
    header = payload(tbk, {"status": "success", "profile": profile}, "slack")["blocks"][0]["text"]["text"]
    assert len(header) == 150 and header.endswith("…") == bool(more)


def test_slack_finds_no_markup_in_what_came_from_elsewhere(tbk):
    body = payload(tbk, {**FAILURE, "profile": HOSTILE, "error": {"type": HOSTILE, "message": HOSTILE}}, "slack")

    def objects(value):
        if isinstance(value, dict):
            if "type" in value and isinstance(value.get("text"), str):
                yield value
            for inside in value.values():
                yield from objects(inside)
        elif isinstance(value, list):
            for inside in value:
                yield from objects(inside)
    for text in texts(body):
        assert "<" not in text and ">" not in text and "\u202e" not in text and "\x07" not in text
    for found in objects(body):
        if "bold" in found["text"]:
            assert found["type"] == "plain_text" and found["emoji"] is False


def test_discord_finds_no_markdown_in_what_came_from_elsewhere(tbk):
    body = payload(tbk, {**FAILURE, "profile": HOSTILE, "error": {"type": HOSTILE, "message": HOSTILE}}, "discord")
    embed = body["embeds"][0]
    for text in [embed["title"], embed["description"], embed["fields"][0]["value"]]:
        plain = text.replace("\\\\", "")
        for sign in "*_~`|[]()<>@#:":
            assert plain.count(sign) == plain.count("\\" + sign), f"{sign} in {text}"
        assert "\u202e" not in text and "\x07" not in text


@pytest.mark.parametrize("report,said", [
    (b"", b"no report"), (b"{", b"standard input"), (b"[]", b"object"), (b"{}", b"status"), (b'{"status":"would-store"}', b"status"),
    (b'{"status":"success","file_count":-1}', b"file_count"), (b'{"status":"success","profile":7}', b"profile"),
    (b'{"status":"success","profile":"\\udcff"}', b"profile"), (b'{"status":"success","time":"noon"}', b"time"),
    (b'{"error":"x"}', b"error")])
def test_what_is_no_report_is_refused(tbk, report, said):
    assert said in tbk.run("tbk-notify", "--dry-run", "--format", "slack", input=report, status=65).err


# Where it goes


@pytest.mark.parametrize("url,form", [
    ("https://hooks.slack.com/services/T0/B0/x", "slack"), ("https://HOOKS.slack.com/services/T0/B0/x", "slack"),
    ("https://discord.com/api/webhooks/1/x", "discord"), ("https://discordapp.com/api/webhooks/1/x", "discord"),
    ("https://discord.com/api/v10/webhooks/1/x", "discord"), ("https://discord.com/channels/1", "generic"),
    ("https://discord.com.example.org/api/webhooks/1/x", "generic"), ("https://example.org/hooks.slack.com/", "generic"),
    ("https://example.org/?hooks.slack.com", "generic")])
def test_the_url_chooses_the_format(tbk, url, form):
    done = tbk.run("tbk-notify", "--dry-run", input=json.dumps(REPORT).encode(), env={"TERMBACKUP_WEBHOOK_URL": url})
    jsonschema.validate(json.loads(done.out), SCHEMAS[form])


@pytest.mark.parametrize("form", FORMATS)
def test_a_message_arrives_as_it_was_shown(notify, tbk, service, form):
    done = notify(REPORT, "--format", form, "--json")
    (method, path, headers, body), = service.requests
    assert (method, path, headers["Content-Type"]) == ("POST", "/services/" + SECRET, "application/json")
    assert headers["User-Agent"].startswith("termbackup/") and "Authorization" not in headers
    assert json.loads(body) == payload(tbk, REPORT, form)
    answer = json.loads(done.out)
    assert (answer["format"], answer["http_status"]) == (form, 200)


def test_descriptors_commands_and_variables_give_the_url(tbk, service, tmp_path):
    report = tmp_path / "report"
    report.write_text(json.dumps(REPORT))
    file = tmp_path / "url"
    file.write_text(service.url + "\n")
    for arguments, environment in ((["--url-command", f"cat '{file}'"], {}), (["--url-file", file], {}),
                                   ([], {"TERMBACKUP_WEBHOOK_URL": service.url}),
                                   ([], {"TERMBACKUP_WEBHOOK_URL_FILE": str(file)}),
                                   ([], {"TERMBACKUP_WEBHOOK_URL_COMMAND": f"cat '{file}'"})):
        tbk.run("tbk-notify", *arguments, report, env=environment)
    tbk.run("tbk-notify", "--url-fd", "0", report, input=service.url.encode())
    assert len(service.requests) == 6
    refused = tbk.run("tbk-notify", "--url-fd", "0", input=service.url.encode(), status=64)
    assert b"standard input" in refused.err
    assert b"no webhook URL" in tbk.run("tbk-notify", report, status=64).err
    assert b"no webhook URL" in tbk.run("tbk-notify", "--format", "slack", report, status=64).err


@pytest.mark.parametrize("url", [
    f"http://example.org/{SECRET}", f"ftp://example.org/{SECRET}", f"example.org/{SECRET}", f"https:///{SECRET}", SECRET,
    f"https://user:{SECRET}@example.org/", f"https://example.org/{SECRET}#x", f"https://example.org/{SECRET} x",
    f"http://127.0.0.1.example.org/{SECRET}", f"https://example.org/\u00e9{SECRET}"])
def test_an_address_that_is_not_confidential_is_refused_and_not_shown(notify, url):
    assert "webhook" in notify(url=url, status=64).err.decode()
    notify(REPORT, "--json", url=url, status=64)


def test_the_url_is_in_no_list_of_processes(notify, tbk, service):
    """Checked while the command waits for the response."""
    service.answers = [service.hang]
    given = tbk.scratch / "url"
    given.write_text(service.url)
    report = tbk.scratch / "report"
    report.write_text(json.dumps(REPORT))
    process = tbk.start("tbk-notify", "--url-file", given, report)
    while not service.requests:
        assert process.poll() is None
        time.sleep(0.05)
    seen = b""
    for name in ("cmdline", "environ"):
        try:
            with open(f"/proc/{process.pid}/{name}", "rb") as file:
                seen += file.read()
        except PermissionError:
            pass
    process.terminate()
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 143
    assert SECRET.encode() not in seen + err


# What the service responds


def test_a_bad_moment_is_waited_for(notify, service):
    service.answers = [(500, {}, b""), (503, {}, b"<html>"), (200, {}, b"ok")]
    notify()
    assert len(service.requests) == 3


@pytest.mark.parametrize("headers,body", [({"Retry-After": "1"}, b""), ({"Retry-After": "0.4"}, b""),
                                          ({}, b'{"message":"slow down","retry_after":0.7,"global":false}'),
                                          ({"Retry-After": "Sun, 06 Nov 1994 08:49:37 GMT"}, b"")])
def test_retry_after_is_obeyed(notify, service, headers, body):
    times = []

    def first(handler):
        times.append(time.monotonic())
        handler.send_response(429)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    def second(handler):
        times.append(time.monotonic())
        handler.send_response(204)
        handler.end_headers()
    service.answers = [first, second]
    notify()
    assert len(times) == 2 and times[1] - times[0] >= 0.9


def test_a_wait_that_is_too_long_is_not_begun(notify, service):
    """Such a wait would exceed PATIENCE."""
    service.answers = [(429, {"Retry-After": "36000"}, b"")]
    refused = notify(REPORT, "--max-wait", "3600", status=69).err
    assert len(service.requests) == 1
    assert b"36000 s" in refused and b"--max-wait" in refused


@pytest.mark.parametrize("status", (400, 401, 403, 404, 410, 422))
def test_a_refusal_is_final(notify, service, status):
    service.answers = [(status, {}, b"invalid_token " + SECRET.encode())]
    assert str(status).encode() in notify(status=69).err
    assert len(service.requests) == 1


@pytest.mark.parametrize("status", (301, 302, 303, 307, 308))
def test_a_redirect_is_not_followed(notify, service, status):
    service.answers = [(status, {"Location": "/elsewhere/" + SECRET}, b""), (200, {}, b"ok")]
    refused = json.loads(notify(REPORT, "--json", status=69).err)["error"]
    assert (refused["type"], refused["http_status"]) == ("WebhookError", status)
    assert len(service.requests) == 1


@pytest.mark.parametrize("fault", ("hang", "drip"))
def test_a_service_that_does_not_come_to_an_end_is_given_up(notify, service, fault):
    service.answers = [getattr(service, fault)]
    assert b"127.0.0.1" in notify(REPORT, "--max-wait", "3", status=69).err


def test_an_answer_without_end_is_not_read(notify, service):
    service.answers = [service.flood]
    assert b"65536 bytes" in notify(status=69).err
    assert len(service.requests) == 1


def test_a_service_that_is_away_is_an_error_without_its_address(notify):
    refused = notify(REPORT, "--max-wait", "1", url=f"http://127.0.0.1:1/{SECRET}", status=69)
    assert b"127.0.0.1:1" in refused.err


# Pings


@pytest.mark.parametrize("query", ("", "?create=1"))
@pytest.mark.parametrize("kind,path", [("start", "/start"), ("success", ""), ("failure", "/fail")])
def test_pings_go_where_the_service_expects_them(notify, service, query, kind, path):
    notify(None if kind == "start" else REPORT, "--ping", kind, url=service.url + query)
    (method, asked, headers, body), = service.requests
    assert (method, asked) == ("POST", f"/services/{SECRET}{path}{query}")
    assert headers["Content-Type"].startswith("text/plain")
    assert body == b"" if kind == "start" else b"Backup of docs succeeded\nProfile: docs\n" in body


def test_a_ping_of_a_failure_says_why(notify, service):
    notify({**FAILURE, "error": {"type": "StoreError", "message": "x" * 200000}}, "--ping", "failure")
    body = service.requests[0][3]
    assert body.startswith(b"Backup of docs failed\nStoreError: xxx") and len(body) <= 10000


def test_a_ping_to_nobody_is_a_failure(notify, service):
    service.answers = [(200, {}, b"OK (not found)")]
    assert b"does not know this ping URL" in notify(REPORT, "--ping", "success", status=69).err


def test_a_ping_has_no_format(tbk):
    assert b"--format" in tbk.run("tbk-notify", "--ping", "success", "--format", "slack", status=64).err


def test_without_jsonschema_nothing_here_would_mean_anything():
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"blocks": [{"type": "header", "text": {"type": "plain_text", "text": "x" * 151}}]}, SCHEMAS["slack"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"embeds": [{"fields": [{"name": "x", "value": ""}]}], "allowed_mentions": {"parse": []}},
                            SCHEMAS["discord"])

"""tbk-keygen, and tbk-open --raw of age files: with stock age in both directions, and with a second implementation."""

import gzip
import hashlib
import os
import shutil
import zlib
from pathlib import Path

import pytest
from age_fixture import FILE_KEY, ONE, SALT, TWO, key, stock, with_passphrase  # noqa: F401
from conftest import PASSWORD, crypto, require
from seal_fixture import Terminal
from tbkref import age

DATA = bytes(at % 251 for at in range(3 * age.CHUNK + 5))


def sealed(message=DATA, identity=ONE, **options):
    stanzas = [identity.wrap(FILE_KEY, bytes(range(40, 72)))]
    return age.header(FILE_KEY, stanzas) + age.payload(FILE_KEY, message, SALT, **options)


@pytest.fixture
def one(tmp_path):
    path = tmp_path / "one"
    path.write_text(ONE.text + "\n")
    return path


@pytest.fixture
def opened(tbk, one):
    """Opens an age file on a pipe with the identity ONE, and no password."""
    def run(data, *arguments, status=0, identity=one, **options):
        return tbk.run("tbk-open", "--raw", "-i", identity, *arguments, input=data, password=None, status=status, **options)
    return run


@pytest.mark.parametrize("size", [0, 1, age.CHUNK - 1, age.CHUNK, age.CHUNK + 1, 2 * age.CHUNK])
def test_an_age_file_opens_from_a_pipe_and_from_a_file(tbk, tmp_path, opened, one, size):
    data = sealed(DATA[:size])
    assert opened(data).out == DATA[:size]
    (tmp_path / "x.age").write_bytes(data)
    assert tbk.run("tbk-open", "--raw", "-i", one, tmp_path / "x.age", password=None).out == DATA[:size]
    assert opened(age.armor(data)).out == DATA[:size]


def test_what_stock_age_seals_opens(tbk, tmp_path, key):
    recipient = tbk.run("tbk-keygen", "-y", key).lines[0]
    for arguments in (["-r", recipient], ["-a", "-r", recipient], ["-r", TWO.recipient, "-r", recipient]):
        done = tbk.run("tbk-open", "--raw", "-i", key, input=stock("age", *arguments, input=DATA), password=None)
        assert done.out == DATA


def test_stock_age_opens_with_our_identity(tbk, key):
    recipient = tbk.run("tbk-keygen", "-y", key).lines[0]
    assert stock("age", "-d", "-i", str(key), input=stock("age", "-r", recipient, input=DATA)) == DATA
    assert age.read(stock("age", "-r", ONE.recipient, input=DATA), ONE) == DATA


def test_several_identities_in_one_file_or_several(tbk, tmp_path, opened, one, key):
    both = tmp_path / "both"
    both.write_text("# two\n\n" + TWO.text + "\r\n" + ONE.text)
    assert opened(sealed(), identity=both).out == DATA
    assert opened(sealed(), "-i", one, identity=key).out == DATA
    assert b"not sealed to any of the identities" in opened(sealed(), identity=key, status=77).err


def test_a_passphrase_is_the_password(tbk, tmp_path):
    data = with_passphrase(DATA, PASSWORD)
    assert tbk.run("tbk-open", "--raw", input=data).out == DATA
    assert tbk.run("tbk-open", "--raw", input=data, password=b"wrong", status=77).out == b""
    assert b"no password" in tbk.run("tbk-open", "--raw", input=data, password=None, status=64).err
    done = tbk.run("tbk-open", "--raw", "--max-memory", "1023", input=data, status=65)
    assert b"--max-memory" in done.err


def test_a_passphrase_that_stock_age_was_given(tbk, tmp_path):
    require("age")
    (tmp_path / "plain").write_bytes(DATA)
    terminal = Terminal(tbk, shutil.which("age"), "-p", "-o", str(tmp_path / "x.age"), str(tmp_path / "plain"))
    terminal.answer(b"secure one): ", PASSWORD)
    terminal.answer(b"Confirm passphrase: ", PASSWORD)
    assert terminal.end()[0] == 0
    assert tbk.run("tbk-open", "--raw", tmp_path / "x.age").out == DATA


def test_an_identity_file_under_a_passphrase(tbk, tmp_path, opened):
    locked = tmp_path / "locked"
    for text in (with_passphrase(f"# mine\n{ONE.text}\n".encode(), b"secret 1"),
                 age.armor(with_passphrase(ONE.text.encode(), b"secret 1"))):
        locked.write_bytes(text)
        (tmp_path / "pass").write_bytes(b"secret 1\n")
        assert opened(sealed(), "--identity-password-file", tmp_path / "pass", identity=locked).out == DATA
        assert opened(sealed(), "--identity-password-command", f"cat '{tmp_path}/pass'", identity=locked).out == DATA
        with open(tmp_path / "pass") as given:
            assert opened(sealed(), "--identity-password-fd", str(given.fileno()), identity=locked,
                          pass_fds=[given.fileno()]).out == DATA
        assert opened(sealed(), identity=locked, env={"TERMBACKUP_IDENTITY_PASSWORD": "secret 1"}).out == DATA
        wrong = opened(sealed(), identity=locked, env={"TERMBACKUP_IDENTITY_PASSWORD": "secret 2"}, status=77)
        assert wrong.out == b"" and b"secret" not in wrong.err
        assert b"identity" in opened(sealed(), "--no-input", identity=locked, status=64).err
        assert tbk.run("tbk-keygen", "-y", "--identity-password-file", tmp_path / "pass", locked).lines == [ONE.recipient]
    sealed_to_one = tmp_path / "odd"
    sealed_to_one.write_bytes(sealed(TWO.text.encode()))
    assert b"passphrase" in opened(sealed(), identity=sealed_to_one, status=65).err


def test_the_payload_of_an_archive_goes_out_as_it_is(tbk, tmp_path):
    # AES-GCM does not commit to its key: only the gzip header shows that this is the right one.
    payload = gzip.compress(b"not even a tar")
    archive = crypto.seal_tbk2(payload, PASSWORD, memory=64, time=1, lanes=1)
    (tmp_path / "x.tbk").write_bytes(archive)
    assert tbk.run("tbk-open", "--raw", tmp_path / "x.tbk").out == payload
    assert tbk.run("tbk-open", "--raw", input=archive).out == payload
    with open(tmp_path / "x.tbk", "rb") as file:
        assert tbk.run("tbk-open", "--raw", stdin=file).out == payload
    old = crypto.seal_tbk1(DATA, PASSWORD, iterations=1)
    assert tbk.run("tbk-open", "--raw", input=old).out == DATA
    for broken in (archive[:-1], archive + b"x", archive[:-1] + b"x", b"", b"a"):
        assert tbk.run("tbk-open", "--raw", input=broken, status={65, 77}).out == b""


def test_a_cut_anywhere_is_an_error_and_what_came_out_is_right(opened):
    data = sealed()
    front = len(data) - len(age.payload(FILE_KEY, DATA, SALT)) + 16
    for cut in [0, 1, 30, front - 17, front - 1, front, *(front + n * (age.CHUNK + 16) + d for n in (0, 1, 2) for d in (1, 16, 17)),
                front + age.CHUNK + 16, len(data) - 1]:
        done = opened(data[:cut], status={65, 77})
        assert done.out == DATA[:max(0, cut - front) // (age.CHUNK + 16) * age.CHUNK], cut
        assert done.err


def test_chunks_that_are_flipped_swapped_doubled_or_left_out(opened):
    size = age.CHUNK + 16
    data = sealed()
    front = len(data) - len(age.payload(FILE_KEY, DATA, SALT)) + 16
    head, body = data[:front], data[front:]
    cut = [body[at:at + size] for at in range(0, len(body), size)]
    a, b, c, d = cut
    for other in ([b, a, c, d], [a, a, c, d], [a, c, d], [a, b, c, d, d], [a, b, d, c], [a, b, c]):
        done = opened(head + b"".join(other), status={65, 77})
        assert DATA.startswith(done.out) and len(done.out) < len(DATA) or other[:4] == cut
    for at in (0, size - 1, size, 3 * size, len(body) - 1):
        flipped = bytearray(body)
        flipped[at] ^= 1
        assert opened(head + bytes(flipped), status=77).out == DATA[:at // size * age.CHUNK]


def test_hybrid_recipients_are_refused_by_name(opened):
    stanza = age.stanza([b"mlkem768x25519", age.b64(bytes(1120))], bytes(32))
    done = opened(age.header(FILE_KEY, [stanza]) + age.payload(FILE_KEY, DATA, SALT), status=65)
    assert b"hybrid" in done.err and b"mlkem768x25519" in done.err and done.out == b""


def test_what_cannot_be_meant_is_wrong_usage(tbk, tmp_path, one, opened):
    for arguments in (["--raw", "--list"], ["--raw", "a", "b"], ["--raw", "--chain"], ["--raw", "--expect-id", "0" * 64],
                      ["--identity-password-file", one], ["--raw", "--identity-password-file", one], ["--raw", "--json"]):
        tbk.run("tbk-open", *arguments, input=sealed(), status=64)
    # Any age file opens with --raw; without it, the content must be an archive.
    assert b"zstd" in tbk.run("tbk-open", "-i", one, input=sealed(), status=65).err
    assert b"-i" in tbk.run("tbk-open", "--raw", input=sealed(), password=None, status=64).err
    assert b"standard input" in opened(sealed(), identity="-", status=64).err
    (tmp_path / "x.age").write_bytes(sealed())
    assert tbk.run("tbk-open", "--raw", "-i", "-", tmp_path / "x.age", input=ONE.text.encode(), password=None).out == DATA
    opened(sealed(), identity=tmp_path / "missing", status=66)


def public_vectors():
    folder = os.environ.get("TERMBACKUP_VECTORS")
    return sorted((Path(folder) / "age").iterdir()) if folder else []


@pytest.mark.skipif(not os.environ.get("TERMBACKUP_VECTORS"), reason="TERMBACKUP_VECTORS is not set")
def test_the_vectors_of_age(tbk, tmp_path):
    found = public_vectors()
    assert found, "no vectors where TERMBACKUP_VECTORS says they are"
    statuses = {"success": {0}, "no match": {77}, "HMAC failure": {77}, "header failure": {65}, "armor failure": {65},
                "payload failure": {65, 77}}
    wrong, tried = [], 0
    for path in found:
        text, _, data = path.read_bytes().partition(b"\n\n")
        fields = [line.split(": ", 1) for line in text.decode().splitlines()]
        values = dict(fields)
        identities = [value for name, value in fields if name == "identity"]
        if any("-PQ-" in value for value in identities):
            continue
        if values.get("compressed") == "zlib":
            data = zlib.decompress(data)
        given = []
        for at, value in enumerate(identities):
            (tmp_path / f"id{at}").write_text(value + "\n")
            given += ["-i", str(tmp_path / f"id{at}")]
        password = values["passphrase"].encode() if "passphrase" in values else None
        done = tbk.run("tbk-open", "--raw", *given, input=data, password=password, status=None)
        released = hashlib.sha256(done.out).hexdigest()
        expected = values.get("payload", hashlib.sha256().hexdigest())
        if done.status not in statuses[values["expect"]] or released != expected:
            wrong.append((path.name, values["expect"], done.status, done.err.decode(), released == expected))
        tried += 1
    assert not wrong
    assert tried > 100

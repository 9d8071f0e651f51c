"""tbk-keygen: identities as age-keygen writes them."""

import os
import re
import stat

from age_fixture import key, stock  # noqa: F401


def test_an_identity_is_a_private_file_and_its_recipient_is_told(tbk, tmp_path):
    done = tbk.run("tbk-keygen", "-o", tmp_path / "key")
    text = (tmp_path / "key").read_text()
    assert re.fullmatch(r"# created: \S+\n# public key: (age1[0-9a-z]{58})\nAGE-SECRET-KEY-1[0-9A-Z]{58}\n", text)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    recipient = re.search(r"age1\w+", text)[0]
    assert done.out == b"" and recipient.encode() in done.err
    assert tbk.run("tbk-keygen", "-q", "-o", tmp_path / "other").err == b""
    shown = tbk.run("tbk-keygen")
    assert re.fullmatch(rb"# created: \S+\n# public key: age1\w+\nAGE-SECRET-KEY-1\w+\n", shown.out)
    assert tbk.run("tbk-keygen", "-y", tmp_path / "key").lines == [recipient]
    assert tbk.run("tbk-keygen", "-y", input=text.encode()).lines == [recipient]


def test_age_keygen_reads_ours_and_we_read_its(tbk, tmp_path, key):
    ours = stock("age-keygen", "-y", str(key)).decode()
    assert tbk.run("tbk-keygen", "-y", key).out.decode() == ours
    stock("age-keygen", "-o", str(tmp_path / "its"))
    assert tbk.run("tbk-keygen", "-y", tmp_path / "its").out == stock("age-keygen", "-y", str(tmp_path / "its"))


def test_a_file_that_is_there_stays(tbk, key):
    before = key.read_bytes()
    assert b"exists" in tbk.run("tbk-keygen", "-o", key, status=73).err
    assert b"exists" in tbk.run("tbk-keygen", "-y", "-o", key, key, status=73).err
    assert key.read_bytes() == before
    assert tbk.run("tbk-keygen", "-y", "-o", key.with_suffix(".pub"), key).out == b""
    assert key.with_suffix(".pub").read_bytes().startswith(b"age1")


def test_what_holds_no_identity_is_refused(tbk, tmp_path, key):
    for text in (b"", b"# nothing\n", b"age1xyz\n", b"AGE-SECRET-KEY-PQ-1QQ\n", b"-----BEGIN OPENSSH PRIVATE KEY-----\n",
                 key.read_bytes().lower(), key.read_bytes()[:-2], b"\xff\0"):
        done = tbk.run("tbk-keygen", "-y", input=text, status=65)
        assert done.out == b"" and b"SECRET-KEY" not in done.err
    tbk.run("tbk-keygen", "-y", tmp_path / "missing", status=66)
    tbk.run("tbk-keygen", key, status=64)
    tbk.run("tbk-keygen", "--identity-password-file", key, status=64)


def test_a_warning_where_others_can_read_the_identity(tbk, tmp_path):
    for mode, warned in ((0o644, True), (0o600, False)):
        with open(os.open(tmp_path / f"to{mode}", os.O_CREAT | os.O_WRONLY, mode), "wb") as out:
            os.fchmod(out.fileno(), mode)
            done = tbk.run("tbk-keygen", stdout=out)
        assert (b"others can read" in done.err) is warned

"""tbk-config: config.json and profiles: checked, edited, imported."""

import fcntl
import json
import os
import stat

import pytest
from conftest import put

HOOK = "https://hooks.example/services/T00/B00/s3cret"


@pytest.fixture
def config(tbk):
    """tbk-config with its own home."""
    tbk.run("tbk-config", "init")

    def run(*arguments, **options):
        return tbk.run("tbk-config", *map(str, arguments), **options)

    run.home = tbk.home / ".termbackup"
    run.tbk = tbk
    return run


def test_nothing_is_there_before_init(tbk):
    assert b"termbackup init" in tbk.run("tbk-config", "show", status=78).err
    assert tbk.run("tbk-config", "path").lines == [str(tbk.home / ".termbackup")]
    assert not (tbk.home / ".termbackup").exists()


def test_init_closes_the_home_of_termbackup_6_and_keeps_its_files(tbk):
    home = tbk.home / ".termbackup"
    put(home / "config.json", b'{"github_token": "ghp_x", "default_repo": "me/r", "extra": [1.50]}', 0o644)
    put(home / "profiles" / "p.json", b'{"name":"p","source_dir":"/d","repo":"me/r","excludes":["*.o"]}', 0o644)
    home.chmod(0o755)
    result = tbk.run("tbk-config", "init")
    assert stat.S_IMODE(home.stat().st_mode) == 0o700 and not (home / "store").exists()
    assert b"can be read by others" in result.err
    assert tbk.run("tbk-config", "profile", "get", "p", "exclude_patterns").lines == ["*.o"]
    assert tbk.run("tbk-config", "profile", "store", "p").lines == ["github:me/r"]
    group = tbk.run("tbk-config", "profile", "group", "p").lines
    assert len(group[0]) == 32 and tbk.run("tbk-config", "profile", "group", "p").lines == group
    tbk.run("tbk-config", "set", "signing_enabled", "true")
    kept = json.loads((home / "config.json").read_text())
    assert kept["extra"] == [1.5] and kept["github_token"] == "ghp_x" and kept["signing_enabled"] is True
    assert "1.50" in (home / "config.json").read_text()
    assert stat.S_IMODE((home / "config.json").stat().st_mode) == 0o600


def test_a_home_can_be_named_and_a_store_given(tbk, tmp_path):
    env = {"TERMBACKUP_HOME": "relative home"}
    os.makedirs(tmp_path / "disk")
    tbk.run("tbk-config", "init", "--repo", "disk", env=env, cwd=tmp_path)
    assert tbk.run("tbk-config", "get", "default_repo", env=env, cwd=tmp_path).lines == [str(tmp_path / "disk")]
    assert not (tmp_path / "relative home" / "store").exists()
    tbk.run("tbk-config", "init", "--repo", tmp_path / "not mounted", status=66)
    tbk.run("tbk-config", "init", "--repo", "github:x", status=64)


def test_a_token_is_never_an_argument_and_never_shown(config):
    assert b"standard input" in config("set", "github_token", "ghp_s3cret", status=64).err
    config("set", "github_token", "-", input=b"ghp_s3cret\n")
    for verb in (["show"], ["show", "--json"], ["get", "github_token"]):
        assert b"s3cret" not in config(*verb).out
    assert config("get", "github_token", "--reveal").lines == ["ghp_s3cret"]
    config("unset", "github_token")
    assert config("get", "github_token").out == b""


@pytest.mark.parametrize("key, value", [
    ("encryption_version", "1"), ("signing_enabled", "maybe"), ("default_repo", "github:x"), ("nothing", "1"),
    ("audit_log_enabled", "")])
def test_set_refuses_what_a_key_cannot_be(config, key, value):
    before = (config.home / "config.json").read_bytes()
    assert key.encode() in config("set", key, value, status=64).err
    assert (config.home / "config.json").read_bytes() == before


def test_a_wrong_file_is_named_and_can_be_mended(config):
    (config.home / "config.json").write_text('{"encryption_version": 7, "signing_enabled": "no"}')
    shown = config("validate", status=78).err
    assert b"config.json" in shown and b'"encryption_version"' in shown
    config("set", "encryption_version", "2")
    config("unset", "signing_enabled")
    config("validate")
    (config.home / "config.json").write_text("{")
    config("show", status=78)
    (config.home / "config.json").unlink()
    os.mkfifo(config.home / "config.json")
    config("show", status=78)


def test_links_and_open_files_are_noticed(config, tmp_path, small):
    (config.home / "config.json").chmod(0o620)
    assert b"changed by other users" in config("show").err
    real = tmp_path / "real.json"
    (config.home / "config.json").rename(real)
    (config.home / "config.json").symlink_to(real)
    assert b"symbolic link" in config("show").err
    assert b"symbolic link" in config("set", "signing_enabled", "true", status=78).err
    assert (config.home / "config.json").is_symlink()


def test_a_profile_keeps_what_it_was_given(config, small):
    config("profile", "create", "docs", "--source", small, "--exclude", "*.o", "--exclude", b"\xff".decode("utf-8", "surrogateescape"),
           "--mode", "incremental", "--max-backups", "10", "--retention-days", "90", "--webhook-url", HOOK,
           "--compression-level", "9")
    shown = json.loads(config("profile", "show", "docs", "--json").out)
    assert shown["webhook_url"] == "https://hooks.example/***"
    assert (shown["max_backups"], shown["retention_days"], shown["compression_level"]) == (10, 90, 9)
    assert shown["exclude_patterns"] == ["*.o", "\udcff"]
    assert config("profile", "get", "docs", "exclude_patterns", "-0").out == b"*.o\0\xff\0"
    assert config("profile", "get", "docs", "max_backups").out == b"10\n"
    assert config("profile", "get", "docs", "ping_url").out == b""
    for verb in (["show", "docs"], ["show", "docs", "--shell"], ["get", "docs", "webhook_url"], ["list", "--json"], ["list"]):
        assert b"s3cret" not in config("profile", *verb).out
    assert config("profile", "get", "docs", "webhook_url", "--reveal").lines == [HOOK]
    assert stat.S_IMODE((config.home / "profiles" / "docs.json").stat().st_mode) == 0o600
    assert config("profile", "create", "docs", "--source", small, status=73).out == b""


@pytest.mark.parametrize("arguments, status", [
    (["--mode", "Full"], 64), (["--max-backups", "0"], 64), (["--max-backups", "many"], 64), (["--retention-days", "-1"], 64),
    (["--webhook-url", "ftp://x"], 64), (["--compression-level", "20"], 64), (["--exclude", "a\nb"], 64),
    (["--exclude", ""], 64), (["--repo", "github:x"], 64), (["--repo", "me/r#a..b"], 64),
    (["--repo", "github:me/r#"], 64), (["--placement", "assets"], 64), (["--repo", "/no/such/directory"], 66)])
def test_a_wrong_field_makes_no_profile(config, small, arguments, status):
    config("profile", "create", "docs", "--source", small, *arguments, status=status)
    assert os.listdir(config.home / "profiles") == []


def test_wrong_names_make_no_profile(config, small):
    for name in ("../x", "a b", "", "a/b", ".", "é"):
        config("profile", "create", name, "--source", small, status=64)
    config("profile", "create", "--source", small, "--", "-x", status=64)
    config("profile", "create", "docs", "--source", small + "/none", status=66)
    assert os.listdir(config.home / "profiles") == []


def test_a_store_that_is_the_source_is_warned_of(config, tmp_path, small):
    assert b"is the directory itself" in config(
        "profile", "create", "same", "--source", small, "--repo", f"file://{small}/").err
    # A store below the source is not backed up.
    assert b"store" not in config("profile", "create", "all", "--source", tmp_path).err


@pytest.mark.parametrize("address", ["https://github.com/ada/backups", "git@github.com:ada/backups.git",
                                     "https://ghp_secret@github.com/ada/backups/"])
def test_the_address_for_browsers_and_git_is_refused_with_the_one_to_write(address, config, tbk, small):
    for arguments in (["profile", "create", "docs", "--source", small, "--repo", address], ["init", "--repo", address],
                      ["set", "default_repo", address], ["store", address]):
        refused = config(*arguments, status=64).err
        assert b"hint: write github:ada/backups\n" in refused and b"secret" not in refused
    for arguments in (["tbk-push", address], ["tbk-pull", address, "--list"]):
        assert b"hint: write github:ada/backups\n" in tbk.run(*arguments, input=b"", status=64).err
    assert not (config.home / "profiles" / "docs.json").exists()


def test_edit_changes_what_it_is_told(config, small, tmp_path):
    config("profile", "create", "docs", "--source", small, "--exclude", "a", "--exclude", "b", "--max-backups", "3", "--mode", "full")
    before = json.loads((config.home / "profiles" / "docs.json").read_text())
    config("profile", "edit", "docs", "--include", "a", "--exclude", "c", "--unset", "max_backups", "--mode", "incremental")
    after = json.loads((config.home / "profiles" / "docs.json").read_text())
    assert after == {**before, "exclude_patterns": ["b", "c"], "max_backups": None, "backup_mode": "incremental"}
    for field in ("source_dir", "max_backup"):
        assert field.encode() in config("profile", "edit", "docs", "--unset", field, status=64).err
    assert b"there is no field 'max_backup'" in config("profile", "edit", "docs", "--unset", "max_backup", status=64).err
    assert json.loads((config.home / "profiles" / "docs.json").read_text()) == after
    config("profile", "edit", "none", "--mode", "full", status=78)


def test_a_new_profile_is_incremental_and_one_that_does_not_say_is_not(config, small):
    config("profile", "create", "docs", "--source", small)
    config("profile", "create", "whole", "--source", small, "--mode", "full")
    assert config("profile", "get", "docs", "backup_mode").lines == ["incremental"]
    assert config("profile", "get", "whole", "backup_mode").lines == ["full"]
    # As TermBackup 6 wrote it.
    file = config.home / "profiles" / "docs.json"
    fields = json.loads(file.read_text())
    del fields["backup_mode"]
    file.write_text(json.dumps(fields))
    assert config("profile", "get", "docs", "backup_mode").lines == ["full"]


def test_a_profile_goes_to_another_name_with_its_group(config, small):
    config("profile", "create", "docs", "--source", small, "--exclude", "a")
    config("profile", "create", "other", "--source", small)
    folder = config.home / "profiles"
    before = json.loads((folder / "docs.json").read_text())
    for name, status in (("other", 73), ("docs", 64), ("a/b", 64), ("", 64)):
        config("profile", "rename", "docs", name, status=status)
    config("profile", "rename", "docs", "--", "-x", status=64)
    config("profile", "rename", "none", "letters", status=78)
    assert sorted(os.listdir(folder)) == ["docs.json", "other.json"]
    done = config("profile", "rename", "docs", "letters", "--json")
    assert json.loads(done.out)["name"] == "letters"
    assert sorted(os.listdir(folder)) == ["letters.json", "other.json"]
    assert json.loads((folder / "letters.json").read_text()) == {**before, "name": "letters"}
    (line,) = [json.loads(line) for line in (config.home / "audit.log").read_text().splitlines() if "rename" in line]
    assert (line["operation"], line["profile"], line["details"]) == ("profile-rename", "letters", {"renamed_from": "docs"})
    # A rename that was killed before it removed the old name is completed.
    (folder / "docs.json").write_text(json.dumps(before))
    config("profile", "rename", "docs", "letters")
    assert sorted(os.listdir(folder)) == ["letters.json", "other.json"]


def test_the_editor_works_on_a_copy_that_is_checked(config, small):
    config("profile", "create", "docs", "--source", small, "--mode", "full")
    file = config.home / "profiles" / "docs.json"
    config("profile", "edit", "docs", "--editor", env={"VISUAL": "sed -i s/full/incremental/", "EDITOR": "false"})
    good = file.read_bytes()
    assert b'"incremental"' in good
    shown = config("profile", "edit", "docs", "--editor", env={"EDITOR": "sed -i 's/incremental/no mode/'"}, status=78).err
    assert b'"backup_mode"' in shown and b"unchanged" in shown and file.read_bytes() == good
    for editor in ("false", "/no/such/editor", "'"):
        config("profile", "edit", "docs", "--editor", env={"EDITOR": editor}, status={64, 78})
        assert file.read_bytes() == good


def test_an_exported_profile_can_be_imported(config, small, tmp_path):
    config("profile", "create", "docs", "--source", small, "--webhook-url", HOOK)
    file = tmp_path / "docs.json"
    config("profile", "export", "docs", file)
    assert "webhook_url" not in json.loads(file.read_text())
    config("profile", "export", "docs", file, status=73)
    config("profile", "export", "docs", file, "--force")
    assert config("profile", "export", "docs", "-").out == file.read_bytes()
    config("profile", "import", file, status=73)
    group = json.loads(file.read_text())["group"]
    config("profile", "delete", "docs")
    config("profile", "import", file)
    assert config("profile", "get", "docs", "group").lines == [group]
    # A copy is a separate profile.
    config("profile", "import", file, "--name", "copy")
    assert config("profile", "get", "copy", "group").lines != [group]
    config("profile", "import", file, "--name", "-x", status=64)
    config("profile", "delete", "docs")
    config("profile", "delete", "docs", status=78)


@pytest.mark.parametrize("field, value", [("repo", "s3:bucket"), ("before_command", "rm -rf /"), ("notify_command", "x")])
def test_an_import_runs_nothing_without_trust(config, small, tmp_path, field, value):
    file = tmp_path / "p.json"
    file.write_text(json.dumps({"name": "p", "source_dir": small, "repo": "me/r", field: value}))
    assert field.encode() in config("profile", "import", file, status=78).err
    assert os.listdir(config.home / "profiles") == []
    config("profile", "import", file, "--trust")
    assert json.loads((config.home / "profiles" / "p.json").read_text())[field] == value


def test_one_broken_profile_does_not_hide_the_others(config, small):
    config("profile", "create", "good", "--source", small)
    (config.home / "profiles" / "bad.json").write_text('{"name": "bad"}')
    result = config("profile", "list", status=78)
    assert result.lines[0].startswith("good\t") and b"bad.json" in result.err
    config("profile", "validate", status=78)
    config("profile", "validate", "good")


def test_what_verbs_need(tbk, tmp_path):
    def internal(*arguments, **options):
        return tbk.run("tbk-sh", *map(str, arguments), **options)

    assert internal("object", "--", "a=b=c", "n:=[1,2.0]", "q=\"\n", "--x=1").out == b'{"a":"b=c","n":[1,2.0],"q":"\\"\\n","--x":"1"}\n'
    for wrong in (["x"], ["=x"], ["a:=}"], ["a=1", "a=2"]):
        internal("object", "--", *wrong, status={64, 65})
    with open(tmp_path / "lock", "w") as one, open(tmp_path / "lock", "w") as other:
        internal("lock", one.fileno(), pass_fds=[one.fileno()])
        internal("lock", other.fileno(), pass_fds=[other.fileno()], status=75)
        fcntl.flock(one, fcntl.LOCK_UN)
        internal("lock", other.fileno(), pass_fds=[other.fileno()])
    internal("lock", "77", status=64)
    tbk.password_file.write_bytes(b" two\n\n")
    assert internal("password", "--password-file", tbk.password_file).out == b" two\n\n"
    tbk.password_file.write_bytes(b"nul\0\n")
    internal("password", "--password-file", tbk.password_file, status=64)


def test_the_versions_are_the_same_everywhere(config):
    versions = dict(line.split(" ", 1) for line in config("version").lines)
    assert {"termbackup", "openssl", "zlib"} <= set(versions)
    assert json.loads(config("version", "--json").out) == versions
    assert json.loads(config.tbk.run("termbackup", "--version", "--json").out) == versions
    assert b"unexpected argument 'foo'" in config.tbk.run("termbackup", "-v", "foo", status=64).err


EXPORTED = ('{"name": "p", "source_dir": "<SET_SOURCE_DIR>", "repo": "me_corp/old", "excludes": ["*.draft", ""], "compression_level": 6,'
            ' "max_backups": 0, "retention_days": -1, "backup_mode": "full", "webhook_url": ""}')


def test_a_profile_that_termbackup6_exported_is_taken_over(config, tmp_path):
    put(tmp_path / "p.json", EXPORTED.encode())
    said = config("profile", "import", tmp_path / "p.json").err
    assert b"termbackup profile edit p --source DIR" in said and b"''" not in said
    assert config("profile", "list").lines == ["p\t<SET_SOURCE_DIR>\tme_corp/old\tfull"]
    config("profile", "validate")
    assert "profile_source_dir=''" in config("profile", "show", "p", "--shell").lines
    assert config("profile", "store", "p").lines == ["github:me_corp/old"]
    kept = json.loads((config.home / "profiles" / "p.json").read_text())
    assert [kept[name] for name in ("max_backups", "retention_days", "webhook_url", "exclude_patterns")] == [None, None, None, ["*.draft"]]
    config("profile", "edit", "p", "--source", tmp_path)
    assert config("profile", "get", "p", "source_dir").lines == [str(tmp_path)]


def test_a_source_can_be_given_with_an_import(config, tmp_path):
    put(tmp_path / "p.json", EXPORTED.encode())
    assert b"--source" not in config("profile", "import", "--source", tmp_path, tmp_path / "p.json").err
    assert config("profile", "get", "p", "source_dir").lines == [str(tmp_path)]
    config("profile", "import", "--force", "--source", tmp_path / "nowhere", tmp_path / "p.json", status=66)

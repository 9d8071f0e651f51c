"""All texts that the programs and scripts show to users, pinned in one file."""

import pathlib

import messages

PINNED = pathlib.Path(__file__).with_name("messages.txt")


def test_messages_are_those_that_were_read():
    """A new or changed message is read once, in the diff, before it is committed."""
    pinned, found = PINNED.read_text("utf-8").splitlines(), messages.messages()
    new, gone = sorted(set(found) - set(pinned)), sorted(set(pinned) - set(found))
    listed = "\n".join([f"+ {text}" for text in new] + [f"- {text}" for text in gone])
    assert pinned == found, f"messages have changed: run 'make messages' and read the diff\n{listed}"


def test_texts_of_swift_are_found():
    source = r'''
      // "a comment is none"
      throw Failure(.usage, "one \(path.display) and "
        + "two", hint: flag ? "short" : nil)
      let key = "one_word"
      print("\(count) files are left", terminator: "\n")
      let text = """
        several lines \
        are one
        """
      print(#"a raw \ string has a "quote""#, "nested \(word("two words here")) text")
      '''
    assert sorted(messages.of_swift(source)) == sorted([
        "one <…> and two", "short", "<…> files are left", "several lines are one", 'a raw \\ string has a "quote"',
        "two words here", "nested <…> text"])


def test_texts_of_scripts_are_found():
    source = "\n".join([
        "# tb_note 'a comment is none'", "tb_note \"the profile '$name' is kept\"", "tb_die 64 'one reason' \\",
        "\t\"see 'x $(y \"$z\") --help'\"", "set -- 'these words are data'"])
    assert sorted(messages.of_shell(source)) == sorted([
        "the profile '<…>' is kept", "one reason", "see 'x <…> --help'"])

import TBKCore
import Testing

@testable import TBKFormat

@Suite struct TOMLTests {
  private func parse(_ text: String) throws -> [TOML.Member] { try TOML.parse(Array(text.utf8)) }

  private func value(_ text: String) throws -> JSON? { try parse("x = " + text).first?.value }

  private func refuses(_ text: String, _ words: String) {
    do throws(Failure) {
      let found = try TOML.parse(Array(text.utf8))
      Issue.record("\(text) is read as \(found)")
    } catch {
      #expect(error.code == .malformed)
      #expect(error.message.contains(words), "\(error.message)")
    }
  }

  @Test(arguments: [
    (#""""#, ""), (#""a\tb\n\"\\""#, "a\tb\n\"\\"), (#""\u00e9\U0001F600""#, "é😀"), ("''", ""),
    (#"'a\tb'"#, #"a\tb"#), ("\"\"\"\na\n\nb\"\"\"", "a\n\nb"), ("\"\"\"a\r\nb\"\"\"", "a\nb"),
    ("\"\"\"a\\  \n  \n  b\"\"\"", "ab"), ("\"\"\"\"\"two\"\"\"\"\"", "\"\"two\"\""),
    ("'''\n'it' ''is''\n'''", "'it' ''is''\n"), ("\" # no comment\"", " # no comment"),
  ])
  func strings(text: String, meaning: String) throws {
    #expect(try value(text) == .string(Array(meaning.utf8)))
  }

  @Test(arguments: [
    ("0", 0), ("+7", 7), ("-12", -12), ("1_000_000", 1_000_000),
    ("9223372036854775807", Int64.max), ("-9223372036854775808", Int64.min),
  ])
  func integers(text: String, number: Int64) throws {
    #expect(try value(text)?.integer(Int64.self) == number)
  }

  @Test func arraysTablesAndComments() throws {
    let members = try parse(
      """
      # first
      a = true # yes
      "b c" = [ 1, # one
        [ 'x' , "y", ],
      ]
      [ "table" ] # a table
        key=false
      [other]
      key = []
      """)
    #expect(members.map(\.path) == [["a"], ["b c"], ["table", "key"], ["other", "key"]])
    #expect(members[0].value == .bool(true))
    #expect(
      members[1].value
        == .array([.number(1), .array([.string("x"), .string("y")])]))
    #expect(members[3].value == .array([]))
  }

  @Test(arguments: [
    "a = 1\na = 2", "[t]\n[t]", "a = 1\n[a]", "[t]\na = 1\na = 2", "[t]\n[u]\n['t']", "\"a\" = 1\na = 2",
  ])
  func nothingIsThereTwice(text: String) { refuses(text, "twice") }

  @Test func aKeyMayBeInEveryTable() throws {
    #expect(try parse("a = 1\n[t]\na = 2\n[u]\na = 3").map(\.path) == [["a"], ["t", "a"], ["u", "a"]])
  }

  @Test(arguments: ["a.b = 1", "[t.u]", "[t . 'u']", "\"a\".b = 1"])
  func dottedKeysAreRefused(text: String) { refuses(text, "dotted keys") }

  @Test(arguments: [
    ("x = 1.5", "not a string"), ("x = 1979-05-27", "not a string"), ("x = inf", "not a string"),
    ("x = 0x1f", "not a string"), ("x = 007", "not a string"), ("x = 1__0", "not a string"), ("x = _1", "not a string"),
    ("x = 1_", "not a string"), ("x = +", "not a string"), ("x = 9223372036854775808", "not a string"),
    ("x = True", "not a string"), ("x = {a = 1}", "inline"), ("[[x]]", "arrays of tables"), ("x =", "missing"),
    ("x", "'='"), ("= 1", "key is missing"), ("[]", "key is missing"), ("[x", "no end"), ("[t]]", "follows"),
    ("x = 1 2", "follows"), ("[x] y = 1", "follows"), ("x = \"a", "no end"), ("x = \"a\nb\"", "control"),
    ("x = 'a", "no end"), ("x = \"\"\"a", "no end"), ("x = '''a", "no end"), ("x = \"\\x\"", "escape"),
    ("x = \"\\ud800\"", "not a character"), ("x = \"\\u12\"", "not a character"),
    ("x = \"\\U00110000\"", "not a character"),
    ("x = \"\\u+123\"", "not a character"), ("x = [1", "no end"), ("x = [1 2]", "no end"), ("x = [,]", "missing"),
    ("x = \"a\u{1}\"", "control"), ("# \u{7f}", "control"), ("x = 1\ry = 2", "follows"),
    ("\u{feff}x = 1", "key is missing"),
    ("\"\"\"x\"\"\" = 1", "more than one line"),
  ])
  func whatIsWrongIsSaid(text: String, words: String) { refuses(text, words) }

  @Test func theLineIsNamed() { refuses("a = 1\n\nb = \n", "line 3") }

  @Test func limitsAreKept() {
    refuses("x = " + String(repeating: "[", count: 17), "too deeply")
    refuses(String(repeating: "#", count: TOML.maximumLength + 1), "larger")
  }

  @Test func bytesThatAreNotUTF8AreRefused() {
    #expect(throws: Failure.self) { try TOML.parse([0x23, 0xff]) }
    #expect(throws: Failure.self) { try TOML.parse(Array("x = '".utf8) + [0xc3, 0x27]) }
  }

  /// Any bytes give a value or a failure, never a trap.
  @Test func randomDocumentsEnd() throws {
    var generator = SystemRandomNumberGenerator()
    let pieces = [
      "a", ".", "=", " ", "\n", "\r\n", "[", "]", ",", "\"", "\"\"\"", "'", "'''", "\\", "\\u00e9", "#", "1", "_", "-",
      "true", "{", "\t", "é", "\u{0}",
    ]
    var read = 0
    for _ in 0..<20_000 {
      let text = (0..<Int.random(in: 1...24, using: &generator)).map { _ in
        pieces.randomElement(using: &generator) ?? ""
      }.joined()
      if (try? TOML.parse(Array(text.utf8))) != nil { read += 1 }
    }
    #expect(read > 0)
  }
}

@Suite struct MbuSettingsTests {
  private func settings(_ text: String, needsKey: Bool = true) throws(Failure) -> MbuSettings {
    try MbuSettings(Array(text.utf8), place: "config.toml", needsKey: needsKey)
  }

  private let key = "salt = \"AAECAwQFBgc=\"\nhash_iterations = 3000\n"

  @Test func whatMbuWritesIsRead() throws {
    let found = try settings(
      "user_password = \"0011\"\n" + key
        + "[packer]\nmodule = 'm'\npackage_directory = \"packaging/\"\nrestore_directory = 'r'\n")
    #expect(found.salt == [0, 1, 2, 3, 4, 5, 6, 7])
    #expect(found.iterations == 3000)
    #expect(found.packageDirectory == Array("packaging/".utf8))
    #expect(found.restoreDirectory == Array("r".utf8))
    #expect(found.others == ["user_password", "packer.module"])
  }

  @Test(arguments: ["package_dir", "packaging_directory", "packaging_dir", "[packer]\npackage_dir"])
  func otherSpellingsOfADirectory(line: String) throws {
    #expect(try settings(key + "\(line) = 'x'\n").packageDirectory == Array("x".utf8))
  }

  @Test func aDirectoryOfAnotherTableIsNotOurs() throws {
    let found = try settings(key + "[watcher]\npackage_dir = 'x'\nsalt = 1\nhash_iterations = 'many'\n")
    #expect(found.packageDirectory == nil)
    #expect(found.others == ["watcher.package_dir", "watcher.salt", "watcher.hash_iterations"])
  }

  @Test(arguments: [
    "", "salt = \"AAAA\"", "hash_iterations = 1", "salt = \"\"\nhash_iterations = 1",
    "salt = \"AAA\"\nhash_iterations = 1",
    "salt = 1\nhash_iterations = 1", "salt = \"AAAA\"\nhash_iterations = 0",
    "salt = \"AAAA\"\nhash_iterations = 10000001",
    "salt = \"AAAA\"\nhash_iterations = \"1\"",
  ])
  func keysThatMakeNoKeyAreRefused(text: String) {
    #expect { try settings(text) } throws: { ($0 as? Failure)?.code == .configuration }
  }

  @Test func theKeyIsNotNeededForTheOthers() throws {
    #expect(try settings("[packer]\nrestore_dir = 'x'", needsKey: false).restoreDirectory == Array("x".utf8))
  }

  @Test func noValueIsInAMessage() {
    #expect { try settings("salt = \"secret!\"\nhash_iterations = 1") } throws: {
      ($0 as? Failure)?.message.contains("secret") == false
    }
  }

  @Test func aPackageHasMoreThanItsTrailer() throws {
    let found = try settings(key)
    let trailer = [UInt8](repeating: 1, count: 16) + [UInt8](repeating: 2, count: 16)
    let package = try MbuPackage(settings: found, trailer: trailer, length: 33)
    #expect(package.payloadLength == 1 && package.iv == [UInt8](repeating: 1, count: 16))
    #expect(throws: Failure.self) { try MbuPackage(settings: found, trailer: trailer, length: 32) }
    #expect(throws: Failure.self) { try MbuPackage(settings: found, trailer: [1], length: 1) }
  }
}

import TBKCore
import Testing

@testable import TBKFormat

@Suite struct ConfigurationTests {
  @Test func unknownKeysAndTheirOrderAreKept() throws {
    let text = #"{"zeta": [1, 2.50], "default_repo": "me/backups", "github_token": null, "a": {"b": 1e3}}"#
    var configuration = try Configuration(Array(text.utf8), place: "config.json")
    configuration.set("default_repo", .string("/store"))
    #expect(
      String(decoding: configuration.object.line(), as: UTF8.self)
        == #"{"zeta":[1,2.50],"default_repo":"/store","github_token":null,"a":{"b":1e3}}"#)
  }

  @Test func whatIsMissingOrNullHasItsStandardValue() throws {
    let configuration = try Configuration(Array("{\"audit_log_enabled\": null}".utf8), place: "c")
    #expect(configuration["encryption_version"] == .number(2))
    #expect(configuration["signing_enabled"] == .bool(false))
    #expect(configuration.isAuditLogEnabled)
    #expect(configuration["nothing"] == nil)
  }

  @Test(arguments: [
    #"{"encryption_version": 1}"#, #"{"encryption_version": "2"}"#, #"{"signing_enabled": 1}"#,
    #"{"github_token": 7}"#, #"{"github_token": "a\nb"}"#, #"{"default_repo": "relative"}"#,
    #"{"default_repo": "github:nobody"}"#, #"{"a": 1, "a": 2}"#, "[]", "", "{",
  ])
  func aWrongFileIsAConfigurationFailureThatNamesIt(text: String) {
    let failure = #expect(throws: Failure.self) {
      try Configuration(Array(text.utf8), place: "config.json")
    }
    #expect(failure?.code == .configuration)
    #expect(failure?.message.hasPrefix("config.json: ") == true)
  }

  @Test(arguments: [
    ("owner/repo", StoreReference.gitHub("owner/repo"), "github:owner/repo"),
    ("github:o/r.git", .gitHub("o/r.git"), "github:o/r.git"),
    ("owner/repo#main", .gitHub("owner/repo#main"), "github:owner/repo#main"),
    ("github:o/r#a/b.c_d-1", .gitHub("o/r#a/b.c_d-1"), "github:o/r#a/b.c_d-1"),
    ("a/b/c#main", .directory(RawPath("a/b/c#main")), "a/b/c#main"),
    ("/owner/repo#..", .directory(RawPath("/owner/repo#..")), "/owner/repo#.."),
    ("./owner/repo#main", .directory(RawPath("./owner/repo#main")), "./owner/repo#main"),
    ("/a/b", .directory(RawPath("/a/b")), "/a/b"),
    ("./owner/repo", .directory(RawPath("./owner/repo")), "./owner/repo"),
    ("a/b/c", .directory(RawPath("a/b/c")), "a/b/c"),
    ("store", .directory(RawPath("store")), "store"),
    ("../b", .directory(RawPath("../b")), "../b"),
    ("o/..", .directory(RawPath("o/..")), "o/.."),
    ("Big:x", .directory(RawPath("Big:x")), "Big:x"),
    ("file:///x", .file(Array("file:///x".utf8)), "file:///x"),
    ("s3:b/c", .helper("s3", Array("s3:b/c".utf8)), "s3:b/c"),
  ])
  func storesAreToldApart(text: String, reference: StoreReference, operand: String) throws {
    #expect(try StoreReference(Array(text.utf8)) == reference)
    #expect(try StoreReference(Array(text.utf8)).operand == Array(operand.utf8))
  }

  @Test(arguments: ["", "github:", "github:a", "github:a/b/c", "file:x", "file://host/x", "s3:", "a\nb"])
  func whatIsNoStoreIsRefused(text: String) {
    #expect(throws: Failure.self) { try StoreReference(Array(text.utf8)) }
  }

  @Test(arguments: [
    ("https://github.com/ada/backups", "ada/backups"), ("http://www.github.com/ada/b.git/", "ada/b"),
    ("HTTPS://GitHub.com/ada/b/tree/main?x#y", "ada/b"), ("git@github.com:ada/b.git", "ada/b"),
    ("ssh://git@github.com:22/ada/b", "ada/b"), ("git://github.com/ada/b", "ada/b"),
    ("https://me:ghp_secret@github.com/ada/b", "ada/b"), ("https://github.com/ada", "owner/repo"),
    ("git@github.com:", "owner/repo"),
  ])
  func whatBrowsersAndGitCallARepositoryIsToldApart(text: String, repository: String) {
    let failure = #expect(throws: Failure.self) { try StoreReference(Array(text.utf8)) }
    #expect(failure?.code == .usage && failure?.hint == "write github:\(repository)")
    #expect(failure?.message.contains("secret") == false)
  }

  @Test(arguments: [
    "https://example.org/ada/b", "https:github.com/ada/b", "git@example.org:ada/b", "ssh:x",
    "https://github.com.example.org/ada/b",
  ])
  func anotherHostIsNotGitHub(text: String) throws {
    _ = try StoreReference(Array(text.utf8))
    #expect(throws: Failure.self) {
      try StoreReference(Array("https://git.example.org/ada/b".utf8), host: "git.example.org")
    }
  }

  @Test(arguments: [
    "", "#", "a#b", "/a", "a/", "a//b", "-a", ".a", "a/.b", "a.", "a..b", "a.lock", "a.lock/b",
    "a b", "a~1", "a^", "a:b", "a?", "a*", "a[", "a\\b", "@{u}", "caf\u{e9}", "a\u{7f}",
    String(repeating: "x", count: 256),
  ])
  func whatIsNoBranchIsRefused(branch: String) {
    for text in ["owner/repo#\(branch)", "github:owner/repo#\(branch)"] {
      let failure = #expect(throws: Failure.self) { try StoreReference(Array(text.utf8)) }
      #expect(failure?.code == .usage)
    }
  }

  @Test(arguments: ["owner/repo", "owner/repo#..", "a\nb"])
  func anOperandWithoutASchemeIsADirectory(text: String) throws {
    let bytes = Array(text.utf8)
    #expect(try StoreReference(bytes, isOperand: true) == .directory(RawPath(bytes)))
  }

  @Test func gitHubMayCallItsDefaultBranchWhatAnAddressCannot() {
    for name in ["main", "a/b.c_d-1", "feature+x", "@"] {
      #expect(BranchName.isValid(name.utf8, inAddress: false))
    }
    #expect(!BranchName.isValid("feature+x".utf8, inAddress: true))
    for name in ["", "-a", "a..b", "a b", "a.lock", "a//b", "a~1", "caf\u{e9}"] {
      #expect(!BranchName.isValid(name.utf8, inAddress: false))
    }
  }

  @Test func secretsAreMaskedToTheirKind() throws {
    let token = try #require(Configuration.key("github_token"))
    #expect(token.masked(.string("ghp_abcdef")) == .string("ghp_***"))
    #expect(token.masked(.string("github_pat_11AA")) == .string("github_pat_***"))
    #expect(token.masked(.string("anything")) == .string("***"))
    #expect(token.masked(.null) == .null)
    let url = try #require(Profile.field("webhook_url"))
    #expect(
      url.masked(.string("https://me:word@hooks.example:8443/T0/x?k=v"))
        == .string("https://hooks.example:8443/***"))
    #expect(url.masked(.string("http://h?secret")) == .string("http://h/***"))
    #expect(url.masked(.string("no url")) == .string("***"))
  }
}

@Suite struct ProfileTests {
  private static let least = #"{"name": "docs", "source_dir": "/d", "repo": "me/backups"}"#

  private func profile(_ text: String) throws -> Profile {
    try Profile(Array(text.utf8), place: "docs.json", name: "docs")
  }

  @Test func aTermBackup6ProfileIsRead() throws {
    let text =
      #"{"name": "docs", "source_dir": "/d", "repo": "me/backups", "excludes": ["*.pyc", ".git"], "x": 1}"#
    let profile = try profile(text)
    #expect(profile.excludePatterns == [Array("*.pyc".utf8), Array(".git".utf8)])
    #expect(profile.group == nil)
    #expect(profile["backup_mode"] == .string("full"))
    #expect(profile.object["excludes"] == nil && profile.object["x"] == .number(1))
    #expect(profile.walkOptions == ["--exclude-rules=pathspec", "--exclude-defaults"])
  }

  @Test func aLevelIsOneOfItsSuite() throws {
    func words(_ members: String, suite: BackupSuite? = nil, configured: Int = 1) throws -> String {
      var configuration = Configuration()
      configuration.set("cipher_suite", .number(configured))
      let profile = try profile(#"{"name": "docs", "source_dir": "/d", "repo": "me/backups"\#(members)}"#)
      let sealing = profile.sealing(configuration, suite: suite)
      try profile.check(sealing, place: "docs.json")
      return String(decoding: sealing.words, as: UTF8.self)
    }
    #expect(try words("") == "")
    #expect(try words("", configured: 3) == "--suite 3")
    #expect(try words(#", "compression_level": 9"#) == "--level 9")
    #expect(try words(#", "recipients": ["age1b", "age1a", "age1b"], "cipher_suite": 3"#) == "-r age1a -r age1b")
    #expect(try words(#", "recipients": ["age1b"], "compression_level": 4"#, suite: .chunked) == "--suite 3")
    let own = #", "cipher_suite": 3, "compression_level": 12"#
    #expect(try words(own) == "--suite 3 --level 12")
    #expect(try words(own, suite: .whole) == "")
    #expect(throws: Failure.self) { try words(#", "cipher_suite": 1, "compression_level": 12"#) }
    #expect(throws: Failure.self) { try words(#", "compression_level": 0"#, configured: 3) }
  }

  @Test func writingAndReadingGivesTheSame() throws {
    var profile = Profile(
      name: "docs", source: RawPath([0x2f, 0xff, 0x0a]), store: Array("/s".utf8),
      group: String(repeating: "0f", count: 16))
    profile.set("exclude_patterns", .array([.string([0x2a, 0xfe])]))
    let again = try Profile(profile.bytes, place: "docs.json", name: "docs")
    #expect(again == profile)
    #expect(again.source == RawPath([0x2f, 0xff, 0x0a]))
    #expect(again.excludePatterns == [[0x2a, 0xfe]])
  }

  @Test(arguments: [
    #""name": "docs/..""#, #""name": """#, #""source_dir": "d""#, #""source_dir": null"#,
    #""repo": "nowhere""#, #""backup_mode": "Full""#, #""max_backups": "3""#, #""max_backups": 1.5"#,
    #""retention_days": 99999999999"#, #""exclude_patterns": "x""#,
    #""exclude_patterns": ["a\nb"]"#, #""exclude_patterns": [""]"#, #""webhook_url": "ftp://x""#,
    #""webhook_url": "https:///x""#, #""compression_level": 20"#, #""cipher_suite": 2"#, #""recipients": ["age1 x"]"#,
    #""recipients": "age1x""#, #""cipher_suite": "3""#, #""placement": "assets""#,
    #""placement": 1"#, #""group": "a/b""#, #""group": "-a""#, #""restore_dir": "x""#,
    #""excludes": []"#, #""exclude_larger_than": "1k""#, #""exclude_larger_than": 0"#, #""exclude_from": "x""#,
    #""exclude_rules": "glob""#, #""one_file_system": 1"#, #""full_every": "x""#, #""full_every": 0"#,
    #""max_chain": 0"#, #""before_command": "'a""#, #""after_command": " ""#, #""notify_command": 1"#,
    #""limit_upload": 0"#,
  ])
  func aWrongFieldIsAProfileFailureThatNamesItAndTheFile(member: String) throws {
    var text = #"{"name": "docs", "source_dir": "/d", "repo": "me/backups", "exclude_patterns": []}"#
    let key = String(try #require(member.split(separator: "\"").first))
    let value = try JSON.parse(Array("{\(member)}".utf8), what: "")
    var object = try JSON.parse(Array(text.utf8), what: "")
    object[key] = value[key]
    text = String(decoding: object.line(), as: UTF8.self)
    let failure = #expect(throws: Failure.self) { try profile(text) }
    #expect(failure?.code == .profile)
    #expect(failure?.message.contains("docs.json") == true)
    #expect(failure?.message.contains("\"\(key)\"") == true)
  }

  @Test(arguments: [
    (#""max_backups": 0"#, "max_backups"), (#""max_backups": -3"#, "max_backups"),
    (#""retention_days": -1"#, "retention_days"), (#""retention_days": 0"#, "retention_days"),
    (#""retention_days": -99999999999999999999"#, "retention_days"), (#""webhook_url": """#, "webhook_url"),
    (#""ping_url": """#, "ping_url"), (#""max_backups": null"#, "max_backups"),
  ])
  func whatTermBackup6TookForNoneIsNone(member: String, key: String) throws {
    let text = ProfileTests.least.dropLast() + ", \(member)}"
    let read = try profile(String(text))
    #expect(read[key] == .null && read.object[key] == .null)
    #expect(try Profile(read.bytes, place: "docs.json") == read)
  }

  @Test func patternsThatTermBackup6SkippedAreSkipped() throws {
    let text = ProfileTests.least.dropLast() + #", "excludes": ["", "a", " \t", "b "]}"#
    #expect(try profile(String(text)).excludePatterns == [Array("a".utf8), Array("b ".utf8)])
  }

  @Test func aSourceMayStillHaveToBeSet() throws {
    let text = ProfileTests.least.replacing("/d", with: "<SET_SOURCE_DIR>")
    var read = try profile(text)
    #expect(read.source == RawPath([]))
    #expect(read["source_dir"] == .string("<SET_SOURCE_DIR>"))
    read.set("source_dir", .string("/e"))
    #expect(read.source == RawPath("/e"))
    for other in ["<SET_SOURCE_DIR", "<set_source_dir>", ""] {
      #expect(throws: Failure.self) { try profile(ProfileTests.least.replacing("/d", with: other)) }
    }
  }

  @Test func aManagedAccountIsAnOwner() throws {
    #expect(try StoreReference(Array("me_corp/backups".utf8)) == .gitHub("me_corp/backups"))
    #expect(try StoreReference(Array("github:me_corp/b#x".utf8)) == .gitHub("me_corp/b#x"))
    #expect(try StoreReference(Array("_me/backups".utf8)) == .directory(RawPath("_me/backups")))
  }

  @Test func anEmptyTokenOrStoreOfTermBackup6IsNone() throws {
    let text = #"{"github_token": "", "default_repo": "", "audit_log_enabled": true}"#
    let read = try Configuration(Array(text.utf8), place: "config.json")
    #expect(read["github_token"] == .null && read["default_repo"] == .null)
  }

  @Test func theNameMustBeThatOfTheFile() {
    #expect(throws: Failure.self) {
      try Profile(Array(ProfileTests.least.utf8), place: "x.json", name: "other")
    }
  }

  @Test func newNamesDoNotLookLikeOptions() throws {
    #expect(try Profile.checkedName(Array("-x".utf8)) == "-x")
    #expect(throws: Failure.self) { try Profile.checkedName(Array("-x".utf8), new: true) }
    for wrong in ["", "a b", "a/b", "..", "é", String(repeating: "x", count: 129)] {
      #expect(throws: Failure.self) { try Profile.checkedName(Array(wrong.utf8)) }
    }
  }

  @Test func theWebhookIsNotExported() throws {
    var profile = try profile(ProfileTests.least)
    profile.set("webhook_url", .string("https://h/secret"))
    profile.set("ping_url", .string("https://h/secret"))
    #expect(profile.exported["webhook_url"] == nil && profile.exported["ping_url"] == nil)
    #expect(profile.masked["ping_url"] == .string("https://h/***"))
    #expect(profile.masked["webhook_url"] == .string("https://h/***"))
    #expect(profile.exported["source_dir"] == .string("/d"))
  }

  @Test func whatRunsProgramsIsSuspicious() throws {
    var profile = try profile(ProfileTests.least)
    #expect(profile.suspicions.isEmpty)
    profile.set("repo", .string("s3:bucket"))
    profile.set("before_command", .string("rm"))
    profile.set("after_command", .null)
    #expect(profile.suspicions.count == 2)
  }

  @Test func whatAProfileNeedsCannotBeUnset() throws {
    var profile = try profile(ProfileTests.least)
    for field in ["name", "source_dir", "repo", "group"] {
      #expect(throws: Failure.self) { try profile.unset(field) }
    }
    profile.set("max_backups", .number(3))
    try profile.unset("max_backups")
    #expect(profile["max_backups"] == .null)
  }
}

import TBKCore
import TBKCrypto
import TBKFormat
import Testing

@testable import TBKStore

/// `tbk-push`, `tbk-pull` and `tbk-store` as processes: status, standard error, and what remains.
@Suite(.enabled(if: program != nil, "tbk-net has not been built"))
struct StoreCommandTests {
  private let scratch: Scratch

  init() throws {
    scratch = try Scratch()
    _ = try scratch.makeDirectory("store")
    for seed in 1...3 {
      try AtomicFile.write(try archive(seed, payload: 5000), to: scratch["\(seed).tbk"])
    }
  }

  /// Runs a script in which `push`, `pull` and `change` are the commands.
  private func run(_ script: String) throws -> (status: Int32, output: String, errors: String) {
    let tool = try #require(program).text
    let status = shell(
      """
      cd \(scratch.path.text) || exit 99
      push() { \(tool) tbk-push "$@"; }
      pull() { \(tool) tbk-pull "$@"; }
      change() { \(tool) tbk-store "$@"; }
      TERMBACKUP_HOME=home; export TERMBACKUP_HOME
      { \(script)
      } >out 2>err </dev/null
      """)
    func text(_ name: String) throws -> String {
      String(decoding: try readFile(scratch[name], limit: 1 << 20), as: UTF8.self)
    }
    return (status, try text("out"), try text("err"))
  }

  private func hash(_ seed: Int) throws -> String {
    try SHA256.hash(try archive(seed, payload: 5000)).hex
  }

  @Test func anArchiveGoesInAndComesOut() throws {
    let result = try run(
      "push store <1.tbk && push store --group g <2.tbk && pull store latest | cmp - 2.tbk && "
        + "pull ./store \(try hash(1).prefix(6)) -o copy && cmp copy 1.tbk && "
        + "pull store latest --group none")
    #expect(result.status == 69)
    let size = try archive(1, payload: 5000).count
    #expect(
      result.output == """
        \(try hash(1))\t\(size)\t0\tbackup_\(try hash(1).prefix(12)).tbk
        \(try hash(2))\t\(size)\t0\tbackup_\(try hash(2).prefix(12)).tbk

        """)
    #expect(result.errors.hasPrefix("tbk-pull: error: the store 'store' has no group none"))
  }

  @Test(arguments: ["head -c 5000 1.tbk", "head -c 20 1.tbk", ":", "cat 1.tbk 2.tbk", "echo hello"])
  func whatIsNoWholeArchivePublishesNothing(_ producer: String) throws {
    let result = try run("\(producer) | push store")
    #expect(result.status == 65 && result.output.isEmpty)
    #expect(result.errors.hasPrefix("tbk-push: error: standard input"))
    #expect(try run("pull store --list").output.isEmpty)
    #expect(try run("ls store/backups/* store/metadata.json").output.isEmpty)
  }

  @Test func anAlteredArchiveLeavesNothing() throws {
    let name = "store/backups/backup_\(try hash(1).prefix(12)).tbk"
    _ = try run("push store <1.tbk && printf x | dd of=\(name) bs=1 seek=4000 conv=notrunc")
    let piped = try run("pull store latest")
    #expect(piped.status == 65 && piped.output.isEmpty)
    #expect(piped.errors.contains("SHA-256"))
    let written = try run("pull store latest -o copy; status=$?; ls -A; exit $status")
    #expect(written.status == 65 && !written.output.contains("copy"))
    #expect(!written.output.contains(".tmp"))
  }

  @Test func aChainComesNewestFirst() throws {
    try AtomicFile.write(
      Array(
        """
        {"receipt": 1, "id": "\(String(repeating: "ab", count: 32))", "file_count": 7,
         "created_at": "2026-01-01T00:00:00+00:00", "mode": "incremental", "complete": true,
         "depends_on": ["\(try hash(1))", "\(try hash(2))"]}
        """.utf8), to: scratch["receipt"])
    let result = try run(
      "push store <1.tbk && push store <2.tbk && push store --receipt receipt <3.tbk && "
        + "pull store abab --chain -o chain && pull store abab --chain | cmp - chain && "
        + "cat 3.tbk 2.tbk 1.tbk >archives && pull store --list")
    #expect(result.status == 0, "\(result.errors)")
    var chain = try readFile(scratch["chain"], limit: 1 << 20)[...]
    var (claims, archives): ([BackupClaims], [UInt8]) = ([], [])
    while !chain.isEmpty {
      let frame = try ChainFrame(parsing: Array(chain.prefix(ChainFrame.size)))
      chain = chain.dropFirst(ChainFrame.size)
      switch frame {
      case .entry(let length):
        claims.append(try BackupClaims(parsing: Array(chain.prefix(Int(length)))))
        chain = chain.dropFirst(Int(length))
      case .archive(let length):
        archives += chain.prefix(Int(length))
        chain = chain.dropFirst(Int(length))
      case .manifest: Issue.record("a manifest")
      }
    }
    #expect(try archives == readFile(scratch["archives"], limit: 1 << 20))
    #expect(try claims.map(\.id) == [String(repeating: "ab", count: 32), hash(2), hash(1)])
    #expect(claims[0].facts?.mode == "incremental" && claims[0].facts?.fileCount == 7)
    let last = result.output.split(separator: "\n").last.map { $0.split(separator: "\t") } ?? []
    #expect(last.count == 10 && last[9].count == 64 && last[1] == "2026-01-01T00:00:00+00:00" && last[3] == "7")
    #expect(last[4] == "incremental" && last[5] == "-" && last[6] == "no")
  }

  /// Like tbk-seal, which writes its other files before the first byte of output.
  @Test func theReceiptMayComeWithTheArchive() throws {
    let result = try run(
      """
      id=\(String(repeating: "cd", count: 32))
      { sleep 0.3; printf '{"receipt":1,"id":"%s","file_count":2,"mode":"full","depends_on":[],\
      "created_at":"2026-01-01","complete":true}' $id >late; cp 2.tbk late-manifest; cat 1.tbk; } |
        push store --receipt late --sealed-manifest late-manifest && pull store $id | cmp - 1.tbk
      """)
    #expect(result.status == 0, "\(result.errors)")
  }

  @Test func failuresAreJSONWhenAskedFor() throws {
    let result = try run("pull nowhere --list --json")
    #expect(result.status == 69 && result.output.isEmpty)
    let json = try JSON.parse(Array(result.errors.utf8), what: "error")
    #expect(json["error"]?["status"] == .number(69))
    #expect(json["error"]?["type"]?.text == "StoreError")
  }

  @Test(arguments: [
    "pull store", "pull store abc", "pull store latest --list", "pull store --check",
    "push store --remove abcd", "push store abcd", "push store --group ../x", "pull",
    "pull store --chain --list", "pull store latest --max-wait -1", "change", "change store", "change remove store",
    "change password-check store 1.tbk",
    "change password-check store 1.tbk --group g --group-check \(String(repeating: "a", count: 64))",
    "change remove store abcd --receipt r", "change remove store latest",
    "change mark store abcd", "change mark store",
    "change mark store abcd:\(String(repeating: "a", count: 64)) --listed f", "change adopt store",
    "change take-over store abcd --sign-key k",
    "change create store --sign-key k",
  ])
  func wrongUsageIs64(_ command: String) throws {
    let result = try run(command)
    #expect(result.status == 64 && result.output.isEmpty, "\(result.errors)")
    #expect(result.errors.contains("error: "))
  }

  @Test func theVersionNamesTheLibrary() throws {
    let result = try run("push --version")
    #expect(result.status == 0 && result.output.contains("libcurl \(CurlLibrary.version)"))
  }

  @Test func outputThatCannotBeWrittenIsAFailure() throws {
    _ = try run("push store <1.tbk")
    for command in ["pull store latest", "pull store --list", "pull store --ledger"] {
      let result = try run("\(command) >/dev/full")
      #expect(result.status == 74, "\(command): \(result.errors)")
    }
  }
}

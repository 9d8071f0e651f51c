import TBKCore
import TBKCrypto
import TBKFormat
import Testing

@testable import TBKStore

/// The store on GitHub, tested with the stand-in: what other kinds of store do not have.
@Suite(.enabled(if: GitHubServer.canRun)) struct GitHubStoreTests {
  private func api(_ place: GitHubPlace) throws -> GitHubAPI {
    try GitHubAPI(
      root: place.server.root, token: try Secret(copying: Array(GitHubPlace.token.utf8).span),
      settings: HTTPSettings(userAgent: "tests", maximumWait: 10), notice: { _ in })
  }

  /// A store with one branch on a scripted server.
  private func scripted(
    _ server: ScriptedServer, cache: RawPath? = nil
  ) throws(Failure) -> GitHubStore {
    let context = StoreContext(
      userAgent: "tests", maximumWait: 10, cacheDirectory: cache,
      token: { () throws(Failure) in try Secret(copying: Array(GitHubPlace.token.utf8).span) })
    return try GitHubStore(GitHubRepository("me/x#main")!, context, root: server.root)
  }

  private func answer(_ body: String, _ headers: String = "") -> String {
    "HTTP/1.1 200 OK\r\nContent-Length: \(body.utf8.count)\r\n\(headers)\r\n\(body)"
  }

  private var head: String {
    let id = String(repeating: "a", count: 40)
    return "{\"commit\":{\"sha\":\"\(id)\",\"commit\":{\"tree\":{\"sha\":\"\(id)\"}}}}"
  }

  @Test(arguments: ["\"ä\"", "\"\(String(repeating: "x", count: 5000))\""])
  func aTagThatCannotBeSentBackIsNotKept(_ tag: String) throws {
    let scratch = try Scratch()
    let server = try ScriptedServer(
      answer(head, "ETag: \(tag)\r\n"), answer("{\"backups\": []}"), answer(head))
    #expect(try scripted(server, cache: scratch["c"]).readLedger() != nil)
    #expect(try scripted(server, cache: scratch["c"]).readLedger() != nil)
    let requests = try server.requests()
    #expect(requests.count == 3)
    #expect(requests.allSatisfy { $0["headers"]?["if-none-match"] == nil })
  }

  /// Each piece would take memory, long before the first byte is requested.
  @Test func partsOfAnyLengthTakeNoMemory() throws {
    let size = UInt64(Int64.max)
    let release = "{\"id\":1,\"tag_name\":\"termbackup-1\",\"upload_url\":\"http://127.0.0.1/\"}"
    let assets = "[{\"id\":2,\"name\":\"p\",\"size\":\(size),\"state\":\"uploaded\"}]"
    let server = try ScriptedServer(answer(head), answer(release), answer(assets))
    let part = LedgerEntry.Part(
      object: .init(name: name("p"), sha256: try digest(1), size: size), place: "termbackup-1")
    let object = ObjectReference(path(.backups, "a"), parts: [part])
    #expect(failure { _ = try scripted(server).open(object) }?.code == .malformed)
  }

  /// Two writers have the same bytes; one removes its backup after the other has found the parts in the store.
  @Test func partsThatGoMeanwhileAreSentAgain() throws {
    let place = try GitHubPlace(placement: .release)
    let (one, two) = (try place.open(), try place.open())
    try makeSession(one, home: nil).pushArchive(1)
    var backup = NewBackup(receipt: nil, archive: try two.stage(try archive(1)), archiveVersion: 2)
    backup.id = try digest(2)
    _ = try makeSession(one, home: nil).remove([try digest(1)])
    let entry = try makeSession(two, home: nil).push(backup).entry
    let bytes = try place.open().open(entry.archiveReference).readAll(limit: 1 << 20, what: "it")
    #expect(try bytes == archive(1))
  }

  /// A stream cannot be sent again.
  @Test func partsOfAStreamThatGoMeanwhileAreNoticedBeforeACommit() throws {
    let place = try GitHubPlace()
    try makeSession(try place.open(), home: nil).pushArchive(2)
    let store = try #require(try place.open() as? GitHubStore)
    store.doubtAfter = 0
    let bytes = try archive(1, payload: Int(GitHubSpool.gitPartSize) + 1000)
    func backup() throws -> NewBackup {
      NewBackup(
        receipt: nil, archive: try store.stage(MemorySource(bytes), size: nil, in: .backups),
        archiveVersion: 2)
    }
    let lost = try backup()
    #expect(lost.archive.parts.count == 1)
    let cleaner = try makeSession(try place.open(), home: nil)
    #expect(try cleaner.clean(dryRun: false, age: -120).map(\.kind) == [.asset])
    #expect(failure { _ = try makeSession(store, home: nil).push(lost) }?.code == .tryAgain)
    #expect(try makeSession(try place.open(), home: nil).snapshot().entries.count == 1)
    let entry = try makeSession(store, home: nil).push(try backup()).entry
    let found = try place.open().open(entry.archiveReference).readAll(limit: 1 << 26, what: "it")
    #expect(found == bytes)
  }

  /// Parts that no ledger names are removed after a day; here an upload takes longer than that.
  @Test(arguments: [true, false])
  func partsThatWereSentLongAgoAreLookedForBeforeACommit(_ isLongAgo: Bool) throws {
    let place = try GitHubPlace(placement: .release)
    try makeSession(try place.open(), home: nil).pushArchive(1)
    let store = try #require(try place.open() as? GitHubStore)
    if isLongAgo { store.doubtAfter = 0 }
    let backup = NewBackup(receipt: nil, archive: try store.stage(try archive(2)), archiveVersion: 2)
    let cleaner = try makeSession(try place.open(), home: nil)
    #expect(try cleaner.clean(dryRun: false, age: -120).map(\.kind) == [.asset])
    let entry = try makeSession(store, home: nil).push(backup).entry
    let bytes = try? place.open().open(entry.archiveReference).readAll(limit: 1 << 20, what: "it")
    #expect(try bytes == (isLongAgo ? archive(2) : nil))
  }

  /// TermBackup 6 makes the first commit through the contents API, of a file other than ours.
  @Test func whoMadeTheFirstCommitMeanwhileIsNotOverwritten() throws {
    let place = try GitHubPlace()
    let store = try place.open()
    #expect(try store.readLedger()?.bytes == nil)
    let ledger = Array("{\"backups\": []}".utf8)
    var content: [UInt8] = []
    content.appendBase64(ledger)
    let answer = try api(place).send(
      "PUT", "\(place.repository.path)/contents/metadata.json",
      .init(json: .object(["message": .string("x"), "content": .string(content)])))
    #expect(answer.status == 201)
    _ = try store.stage([1])
    let commit = Commit(ledger: Array("{\"backups\": [], \"x\": 1}".utf8), summary: "x")
    #expect(try store.commit(commit, over: nil) == .conflict)
    #expect(try place.open().readLedger()?.bytes == ledger)
  }
}

import TBKCore
import TBKCrypto
import TBKFormat
import Testing

@testable import TBKStore

/// What is particular to the store on GitHub, against the stand-in.
@Suite(.enabled(if: GitHubServer.canRun)) struct GitHubStoreTests {
  private func api(_ place: GitHubPlace) throws -> GitHubAPI {
    try GitHubAPI(
      root: place.server.root, token: try Secret(copying: Array(GitHubPlace.token.utf8).span),
      settings: HTTPSettings(userAgent: "tests", maximumWait: 10), notice: { _ in })
  }

  /// TermBackup 6 makes the first commit by the contents API, of another file than ours.
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

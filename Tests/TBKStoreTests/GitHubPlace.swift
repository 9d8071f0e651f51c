import Glibc
import TBKCore
import TBKFormat

@testable import TBKStore

/// The stand-in for GitHub (`Tests/github/server.py`), shared by all tests of this process: it exits when its standard
/// input ends.
final class GitHubServer: Sendable {
  static let shared: Result<GitHubServer, any Error> = Result { try GitHubServer() }

  /// Whether its requirements are met; with CI=true, fails if they are not.
  static let canRun: Bool = {
    if shell("command -v python3 >/dev/null && command -v git >/dev/null") == 0 { return true }
    if environment("CI") == Array("true".utf8) { return true }
    print("skipped: the GitHub store needs python3 and git for its stand-in")
    return false
  }()

  let root: HTTPURL
  private let scratch: Scratch
  // The server runs as long as this is open.
  private let input: Descriptor

  private init() throws {
    scratch = try Scratch()
    let fifo = scratch["input"]
    guard try unsafe fifo.withCString({ unsafe mkfifo($0, 0o600) }) == 0 else {
      throw Failure(.library, "no FIFO can be made")
    }
    input = try Descriptor.workingDirectory.open(fifo, O_RDWR)
    let server = RawPath(#filePath).parent.parent.appending("github/server.py")
    let script = "exec python3 \"$1\" --root \"$2\" <\"$3\" >\"$4\""
    try AtomicFile.write([], to: scratch["output"])
    let command = [
      "setsid", "sh", "-c", "{ \(script); } &", "sh", server.text, try scratch.makeDirectory("root").text,
      fifo.text, scratch["output"].text,
    ]
    _ = try ChildProcess(command.map { Array($0.utf8) }).wait()
    var line: [UInt8] = []
    for _ in 0..<6000 where !line.contains(0x0a) {
      usleep(50_000)
      line = try readFile(scratch["output"], limit: 1 << 16)
    }
    let json = try JSON.parse(line, what: "the stand-in's first line")
    guard let root = HTTPURL(json["api"]?.text ?? "") else {
      throw Failure(.library, "the stand-in for GitHub does not start")
    }
    self.root = root
    try control("tokens", ["token": .string(GitHubPlace.token), "login": .string("me")])
  }

  /// Sends a control request to the server (`/_control/…`).
  func control(_ path: String, _ members: KeyValuePairs<String, JSON>) throws {
    let client = try HTTPClient(HTTPSettings(userAgent: "tests", maximumWait: 10))
    var request = HTTPRequest("POST", root.appending("_control/\(path)")!)
    request.body = BytesBody(JSON.object(members).line())
    request.headers = [("Content-Type", "application/json")]
    let response = try client.send(HTTPExchange(request))
    guard response.isSuccess else {
      throw Failure(.library, "the stand-in refuses \(path): \(response.status)")
    }
  }
}

/// A new, empty repository.
final class GitHubPlace: StorePlace {
  static let token = "ghp_000000000000000000000000000000000000"

  let server: GitHubServer
  let repository: GitHubRepository
  let placement: GitHubPlacement

  init(placement: GitHubPlacement = .auto) throws {
    server = try GitHubServer.shared.get()
    repository = GitHubRepository("me/store-\(uniqueSuffix())")!
    self.placement = placement
    try server.control("repositories", ["full_name": .string(repository.fullName)])
  }

  /// The same repository with another placement of archives.
  init(_ other: GitHubPlace, placement: GitHubPlacement) {
    server = other.server
    repository = other.repository
    self.placement = placement
  }

  func open() throws(Failure) -> any Store {
    var context = StoreContext(
      userAgent: "termbackup/test", maximumWait: 30,
      token: { () throws(Failure) in try Secret(copying: Array(GitHubPlace.token.utf8).span) })
    context.placement = placement
    return try GitHubStore(repository, context, root: server.root)
  }
}

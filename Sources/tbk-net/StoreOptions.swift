import ArgumentParser
import TBKCommand
import TBKCore
import TBKFormat
import TBKSettings
import TBKStore

/// Options for connecting to a store.
struct ConnectionOptions: ParsableArguments {
  @Option(
    name: .long,
    help: ArgumentHelp(
      "Wait at most <seconds> for other writers and a failing network (60; on a network 900).",
      valueName: "seconds"))
  var maxWait: Int?

  @Option(
    name: .long,
    help: ArgumentHelp("The branch of a GitHub repository.", valueName: "branch"))
  var branch: String?

  @Option(
    name: .long,
    help: ArgumentHelp("Send at most <n> KiB per second.", valueName: "n"))
  var limitUpload: Count?

  @Option(
    name: .long,
    help: ArgumentHelp("Fetch at most <n> KiB per second.", valueName: "n"))
  var limitDownload: Count?

  @OptionGroup var tokenOptions: TokenOptions

  func validate() throws {
    if let maxWait, !(0...86_400).contains(maxWait) {
      throw ValidationError("--max-wait is 0 to 86400 seconds")
    }
  }

  /// The address of a store operand, with the options applied.
  func address(_ operand: RawPath) throws(Failure) -> StoreAddress {
    let address = try StoreAddress(operand)
    guard let branch else { return address }
    guard case .gitHub(let repository) = address, repository.branch == nil,
      let named = GitHubRepository("\(repository.fullName)#\(branch)")
    else {
      throw Failure(.usage, "--branch is for github:owner/repo, and takes the name of a branch")
    }
    return .gitHub(named)
  }

  /// The context for opening the store.
  ///
  /// - Parameter inputIsData: whether standard input is used for data.
  func context(inputIsData: Bool) -> StoreContext {
    var context = tokenOptions.context(maximumWait: maxWait, inputIsData: inputIsData)
    context.rates = StoreRates(
      upload: limitUpload.map { $0.number << 10 }, download: limitDownload.map { $0.number << 10 })
    return context
  }
}

/// Options of every command that reads the ledger of a store.
struct StoreOptions: ParsableArguments {
  @Flag(
    name: .long,
    help: "Accept what the store holds now, although this machine has seen another state.")
  var acceptStoreState = false

  @OptionGroup var connection: ConnectionOptions

  func address(_ operand: RawPath) throws(Failure) -> StoreAddress { try connection.address(operand) }

  func context(inputIsData: Bool) -> StoreContext { connection.context(inputIsData: inputIsData) }

  /// What this machine has seen of a store, without accessing it.
  func seen(_ operand: RawPath) throws(Failure) -> SeenState {
    try SeenState(
      home: termbackupHome(), address: try address(operand), accepting: acceptStoreState,
      warn: { Messages.warning($0) })
  }

  func session(
    _ operand: RawPath, _ context: StoreContext, keys: LedgerKeys
  ) throws(Failure) -> LedgerSession {
    let address = try address(operand)
    let seen = try SeenState(
      home: termbackupHome(), address: address, accepting: acceptStoreState,
      warn: { Messages.warning($0) }, notice: { Messages.notice($0) })
    return try LedgerSession(
      try address.open(context), seen: seen, keys: keys, toolVersion: "7.0",
      maximumWait: address.maximumWait(context))
  }
}

extension GroupID: ExpressibleByArgument {
  public init?(argument: String) { self.init(argument) }
}

extension TokenOptions {
  /// For connections to GitHub.
  func context(maximumWait: Int?, inputIsData: Bool) -> StoreContext {
    var context = StoreContext(
      userAgent: "termbackup/\(suiteVersion)", maximumWait: maximumWait,
      cacheDirectory: termbackupHome()?.appending("cache"),
      notice: { Messages.notice($0) },
      token: { () throws(Failure) in try anyToken(inputIsData: inputIsData) })
    context.remark = { Messages.relay($0) }
    return context
  }

  /// The token from these options, the environment, or config.json.
  private func anyToken(inputIsData: Bool) throws(Failure) -> Secret? {
    if let token = try token(inputIsData: inputIsData) { return token }
    guard let token = try configuredToken(warn: { Messages.warning($0) }) else { return nil }
    Messages.notice(configuredTokenNotice)
    try TokenOptions.check(token)
    return token
  }
}

extension GitHubPlacement: ExpressibleByArgument {}

/// `--group`: an id, or '-' for ungrouped backups.
struct GroupOperand: ExpressibleByArgument {
  let id: GroupID?

  init?(argument: String) {
    id = argument == "-" ? nil : GroupID(argument)
    if id == nil, argument != "-" { return nil }
  }
}

/// `--group` and `--new-group` of commands that read a store or remove from it.
struct GroupOptions: ParsableArguments {
  @Option(
    name: .long,
    help: ArgumentHelp(
      "The backups of this group, or of the one with this prefix; '-' for those in none; repeated, as one "
        + "series.",
      valueName: "id"))
  var group: [GroupOperand] = []

  @Flag(name: .long, help: "Use each group as it is given: the store may not have it yet.")
  var newGroup = false

  func validate() throws {
    if newGroup, group.isEmpty { throw ValidationError("--new-group needs --group") }
  }

  var isGiven: Bool { !group.isEmpty }

  /// The named group, if exactly one is named; otherwise nil.
  var onlyNamed: GroupID? {
    let named = group.compactMap(\.id)
    return named.count == 1 ? named[0] : nil
  }

  /// The backups of all these groups as one series; all backups if no group is given. Throws `.unavailable` for a group
  /// that the store does not have.
  func scope(
    in snapshot: LedgerSession.Snapshot, of store: StoreAddress
  ) throws(Failure) -> BackupScope {
    if group.isEmpty { return .all }
    var found: Set<GroupID?> = []
    for operand in group {
      guard let id = operand.id, !newGroup else {
        found.insert(operand.id)
        continue
      }
      found.insert(try snapshot.find(id, store: store))
    }
    return .groups(found)
  }
}

/// The output of `--version`.
let versionText = "TermBackup \(suiteVersion)\n\(CurlLibrary.summary)"

/// Counts the bytes read for the progress line.
final class MeteredSource: ByteSource {
  private let source: any ByteSource
  private let meter: ProgressMeter

  init(_ source: any ByteSource, _ meter: ProgressMeter) {
    self.source = source
    self.meter = meter
  }

  func read(into buffer: inout [UInt8]) throws(Failure) -> Int {
    let count = try source.read(into: &buffer)
    meter.advance(count)
    return count
  }
}

/// An Ed25519 signature: 64 raw bytes.
func readSignature(_ path: RawPath) throws(Failure) -> [UInt8] {
  let bytes = try readFile(path, limit: 64 << 10)
  guard bytes.count == 64 else {
    throw Failure(.malformed, "\(path.display) is not a signature: it has \(bytes.count) bytes")
  }
  return bytes
}

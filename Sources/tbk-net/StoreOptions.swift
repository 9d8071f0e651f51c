import ArgumentParser
import TBKCommand
import TBKCore
import TBKFormat
import TBKStore

/// What every command takes that speaks to a store.
struct StoreOptions: ParsableArguments {
  @Flag(
    name: .long,
    help: "Take what the store holds now for true, although this machine has seen otherwise.")
  var acceptStoreState = false

  @Option(
    name: .long,
    help: ArgumentHelp("Wait at most <seconds> for other writers.", valueName: "seconds"))
  var maxWait = 60

  func validate() throws {
    guard (0...86_400).contains(maxWait) else {
      throw ValidationError("--max-wait is 0 to 86400 seconds")
    }
  }

  func session(_ operand: RawPath) throws(Failure) -> LedgerSession {
    let address = try StoreAddress(operand)
    let seen = try SeenState(
      home: SeenState.defaultHome, address: address, accepting: acceptStoreState,
      warn: { Messages.warning($0) })
    return try LedgerSession(
      try address.open(maximumWait: maxWait), seen: seen, toolVersion: "7.0", maximumWait: maxWait)
  }
}

extension GroupID: ExpressibleByArgument {
  public init?(argument: String) { self.init(argument) }
}

/// What `--version` prints.
let versionText = "TermBackup \(suiteVersion)\n\(CurlLibrary.summary)"

/// Counts what is read for the progress line.
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

/// An Ed25519 signature: 64 bytes as they are.
func readSignature(_ path: RawPath) throws(Failure) -> [UInt8] {
  let bytes = try readFile(path, limit: 64 << 10)
  guard bytes.count == 64 else {
    throw Failure(.malformed, "\(path.display) is not a signature: it has \(bytes.count) bytes")
  }
  return bytes
}

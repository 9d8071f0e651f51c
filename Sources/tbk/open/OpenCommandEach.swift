import ArgumentParser
import Glibc
import TBKArchive
import TBKCommand
import TBKCore
import TBKFormat

/// `tbk-open --verify --each`: verifies many backups at once.
extension OpenCommand {
  func validateEach() throws {
    guard each else { return }
    if !verify { throw ValidationError("--each can only be used with --verify") }
    if chain || partial || expectId != nil || against != nil || mbuConfig != nil {
      throw ValidationError(
        "--each cannot be used with --chain, --partial, --expect-id, --against or --mbu-config")
    }
  }

  func verifyEach() throws(Failure) -> Int32 {
    let meter = meter("verifying")
    defer { meter.finish() }
    let operands = archives.isEmpty ? [RawPath("-")] : archives
    let keys = openingKeys
    keys.inputIsData = operands.contains { $0.isStandardStream }
    let verification = SeriesVerification(
      limits: limits, expected: try expect.map(readExpected), progress: { meter.advance($0) },
      keys: keys)
    var allHold = true
    var isComplete = true
    func report(_ verdict: SeriesVerification.Verdict) throws(Failure) {
      if verdict.kind != .ok || verdict.manifest == .damaged || verdict.manifest == .missing
        || verdict.signature == "fails"
      {
        allHold = false
      }
      for path in verdict.verified?.missing ?? [] {
        Messages.warning("\(RawPath(path).display): listed, but not in the archive")
        isComplete = false
      }
      try StandardOutput.write(
        json ? verdict.json.line() + [UInt8(ascii: "\n")] : Array(verdict.row.utf8))
      // Results so far are kept even if the stream breaks.
      try StandardOutput.flush()
    }
    for path in operands {
      if path.isStandardStream, Descriptor.standardInput.isTerminal {
        throw Failure(.usage, "standard input is a terminal", hint: "give archives")
      }
      let file = path.isStandardStream ? .standardInput : try Descriptor.openForReading(path)
      do throws(Failure) {
        if try file.status().st_mode & S_IFMT == S_IFREG, let start = file.position {
          let region = try DescriptorRegion(file, from: start)
          var prefix = [UInt8](repeating: 0, count: ChainFrame.prefixSize)
          let count = try region.read(into: &prefix, at: 0)
          if count < prefix.count || !ChainFrame.begins(prefix) {
            try verification.verify(file: file, start: start, name: path.display, report: report)
            continue
          }
        }
        try verification.verify(
          DescriptorSource(file, name: path.isStandardStream ? nil : path), report: report)
      } catch {
        throw path.isStandardStream || error == keys.failure ? error : error.within(path.display)
      }
    }
    return !allHold ? ExitStatus.no : isComplete ? ExitStatus.success : ExitStatus.incomplete
  }
}

extension SeriesVerification.Verdict {
  /// The fields of a line, separated by tabs; "-" where there is no value.
  fileprivate var row: String {
    func text(_ value: String?) -> String { value ?? "-" }
    let found = verified?.manifest
    let fields: [String] = [
      kind.rawValue, text(id), text(found.map { String($0.fileCount) }),
      text(found.map { String($0.totalSize) }), text(manifest?.rawValue), text(signature),
      lacking.isEmpty ? "-" : lacking.joined(separator: ","), text(failure?.message),
    ]
    return fields.joined(separator: "\t") + "\n"
  }

  fileprivate var json: JSON {
    func text(_ value: String?) -> JSON { value.map { .string($0) } ?? .null }
    func number(_ value: UInt64?) -> JSON { value.map { .number($0) } ?? .null }
    let manifest = verified?.manifest
    let missing: [JSON] = (verified?.missing ?? []).map { .string($0) }
    let members: [JSON.Member] = [
      .init("result", .string(kind.rawValue)),
      .init("id", text(id)),
      .init("format", text(format)),
      .init("mode", text(manifest?.mode)),
      .init("file_count", number(manifest.map { UInt64($0.fileCount) })),
      .init("entry_count", number(manifest.map { UInt64($0.files.count) })),
      .init("size", number(manifest?.totalSize)),
      .init("missing", .array(missing)),
      .init("absent", .array(lacking.map { .string($0) })),
      .init("manifest", text(self.manifest?.rawValue)),
      .init("signature", text(signature)),
      .init("reason", text(failure?.message)),
    ]
    return .object(members)
  }
}

// How tbk-push and 'tbk-store replace' read an archive and the files that accompany it.

import TBKCommand
import TBKCore
import TBKFormat
import TBKStore

/// The archive on standard input. Waits for its first byte before anything else is read: by then tbk-seal has written
/// its other files.
func archiveFromStandardInput(hint: String) throws(Failure) -> ArchiveInput {
  if Descriptor.standardInput.isTerminal {
    throw Failure(.usage, "the archive is expected on standard input, which is a terminal", hint: hint)
  }
  return try ArchiveInput(DescriptorSource(.standardInput), name: "standard input")
}

/// Reads the file given by `--receipt`.
func readReceipt(_ path: RawPath) throws(Failure) -> Receipt {
  try Receipt(parsing: try readFile(path, limit: Receipt.byteLimit))
}

extension LedgerSession {
  /// Stages the file given by `--sealed-manifest`.
  func stageManifest(_ path: RawPath) throws(Failure) -> any StagedObject {
    let file = DescriptorSource(try Descriptor.openForReading(path), name: path)
    let input = try ArchiveInput(file, name: path.display)
    return try store.stage(input, size: input.length, in: .manifests)
  }

  /// Stages the archive.
  ///
  /// - Parameter manifest: also counted by the meter, if it was staged before.
  func stageArchive(
    _ input: ArchiveInput, beside manifest: (any StagedObject)?, _ meter: ProgressMeter
  ) throws(Failure) -> any StagedObject {
    if let length = input.length { meter.setTotal(length + (manifest?.size ?? 0)) }
    let isLocal = if case .directory = store.address { true } else { false }
    let archive = try store.stage(
      isLocal ? MeteredSource(input, meter) : input, size: input.length, in: .backups)
    // A helper receives it only with the commit.
    if case .helper = store.address {} else { meter.finish() }
    return archive
  }
}

extension LedgerEntry {
  /// Prints a backup that was stored or changed: a line of JSON, or the id, the size, the number of files and the file
  /// name.
  func report(json: Bool) throws(Failure) {
    if json {
      try StandardOutput.write(line + [UInt8(ascii: "\n")])
    } else {
      try StandardOutput.write("\(id.hex)\t\(size)\t\(fileCount)\t\(filename)\n")
    }
  }
}

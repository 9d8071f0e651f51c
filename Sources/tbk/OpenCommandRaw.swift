import ArgumentParser
import Glibc
import TBKArchive
import TBKCommand
import TBKCore
import TBKCrypto
import TBKFormat

/// `tbk-open --raw`: what was encrypted, as it is.
extension OpenCommand {
  func validateRaw() throws {
    guard raw else {
      if !identities.identity.isEmpty { throw ValidationError("-i goes with --raw") }
      return
    }
    if chain || archives.count > 1 { throw ValidationError("--raw takes one file") }
    if expectId != nil { throw ValidationError("--expect-id needs what --raw does not read: see --verify") }
    if stripTop { throw ValidationError("--strip-top goes with -C, --list, --verify and --cat") }
  }

  func sendRaw() throws(Failure) -> Int32 {
    try StandardOutput.refuseTerminal("decrypted data", hint: "use > file or a pipe")
    let path = archives.first ?? RawPath("-")
    let meter = ProgressMeter("opening", mode: progress.progress)
    defer { meter.finish() }
    let output = DescriptorSink(.standardOutput)
    let sink = TickingSink(into: output) { meter.advance($0) }
    do throws(Failure) {
      if mbuConfig == nil {
        try sendRaw(path, to: sink)
      } else {
        let sources = archiveSources(try mbuSettings())
        try sources.next()?.replay(into: sink)
      }
    } catch {
      // Each chunk of it was verified; that the end is missing is what the status says.
      try output.flush()
      throw error
    }
    return ExitStatus.success
  }

  private func sendRaw(_ path: RawPath, to sink: any ByteSink) throws(Failure) {
    let isInput = path.isStandardStream
    if isInput, Descriptor.standardInput.isTerminal {
      throw Failure(.usage, "standard input is a terminal", hint: "give a file")
    }
    let file = isInput ? .standardInput : try Descriptor.openForReading(path)
    let isRegular = try file.status().st_mode & S_IFMT == S_IFREG
    let start = isRegular ? file.position : nil
    let source = PeekingSource(DescriptorSource(file, name: isInput ? nil : path))
    let asker = KeyAsker(self, inputIsData: isInput)
    do throws(Failure) {
      if let age = try AgeReader.source(source) {
        let header = try AgeHeader(reading: age)
        let key = try asker.key(of: header)
        let decryptor = ChunkDecryptor(try AgeReader.payloadCipher(key, of: age), into: sink)
        try age.copy(to: decryptor)
        try decryptor.finish()
        return
      }
      let archive: AuthenticatedArchive
      if let start {
        let place = try DescriptorRegion(file, from: start)
        let header = try AuthenticatedArchive.header(of: RegionSource(place), limits: limits)
        let keys = KeyRing(try asker.password())
        archive = try AuthenticatedArchive.verify(file: file, header: header, start: start, keys: keys)
      } else {
        let header = try AuthenticatedArchive.header(of: source, limits: limits)
        let keys = KeyRing(try asker.password())
        archive = try AuthenticatedArchive.verify(
          stream: source, header: header, keys: keys, alone: true)
      }
      try archive.replay(into: sink)
    } catch {
      throw isInput || error == asker.failure ? error : error.within(path.display)
    }
  }
}

/// Asks for what opens a file; why that is not there is no fault of the file.
private final class KeyAsker {
  private let command: OpenCommand
  private let inputIsData: Bool
  private(set) var failure: Failure?

  init(_ command: OpenCommand, inputIsData: Bool) {
    self.command = command
    self.inputIsData = inputIsData
  }

  func password() throws(Failure) -> Secret {
    do throws(Failure) {
      return try command.passwords.password(confirming: false, inputIsData: inputIsData)
    } catch {
      failure = error
      throw error
    }
  }

  private func identities() throws(Failure) -> [AgeIdentity] {
    do throws(Failure) {
      if command.identities.identity.isEmpty {
        throw Failure(
          .usage, "the file is sealed to recipients, and no identity is given",
          hint: "-i names the file of an identity")
      }
      return try command.identities.read(
        refusing: command.passwords.input.noInput, inputIsData: inputIsData,
        memoryLimit: UInt64(command.maxMemory))
    } catch {
      failure = error
      throw error
    }
  }

  /// The key of an age file: from its passphrase if it has one, else from the identities.
  func key(of header: AgeHeader) throws(Failure) -> AgeFileKey {
    let memoryLimit = UInt64(command.maxMemory)
    try header.checkStanzas()
    guard header.hasPassphrase, command.identities.identity.isEmpty else {
      // Where there is nobody that it could be sealed to, no identity is missing.
      return try header.unwrap(header.hasRecipients || header.hasPassphrase ? try identities() : [])
    }
    try header.checkPassphraseCost(memoryLimit: memoryLimit)
    return try header.unwrap(passphrase: try password(), memoryLimit: memoryLimit)
  }
}

/// Reads a region from its start to its end.
private final class RegionSource: ByteSource {
  private let region: any ByteRegion
  private var offset: UInt64 = 0

  init(_ region: any ByteRegion) { self.region = region }

  func read(into buffer: inout [UInt8]) throws(Failure) -> Int {
    let count = try region.read(into: &buffer, at: offset)
    offset += UInt64(count)
    return count
  }
}

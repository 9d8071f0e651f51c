import ArgumentParser
import Glibc
import TBKArchive
import TBKCommand
import TBKCore
import TBKCrypto
import TBKFormat

/// `tbk-open --raw`: passes on the decrypted content unchanged.
extension OpenCommand {
  func validateRaw() throws {
    guard raw else { return }
    if chain || archives.count > 1 { throw ValidationError("--raw takes one file") }
    if expect != nil { throw ValidationError("--expect needs what --raw does not read: see --verify") }
    if expectId != nil { throw ValidationError("--expect-id needs what --raw does not read: see --verify") }
    if stripTop { throw ValidationError("--strip-top can only be used with -C, --list, --verify or --cat") }
  }

  func sendRaw() throws(Failure) -> Int32 {
    try StandardOutput.refuseTerminal("decrypted data", hint: "use > file or a pipe")
    let path = archives.first ?? RawPath("-")
    let meter = meter("opening")
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
      // Each chunk in it was verified; the exit status reports the missing end.
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
    let keys = openingKeys
    keys.inputIsData = isInput
    let opener = ArchiveOpener(keys, limits: limits)
    do throws(Failure) {
      let source = PeekingSource(DescriptorSource(file, name: isInput ? nil : path))
      // An age file is always streamed, even if its end could be checked first: the valid part before an error is
      // output, as age(1) does.
      if isRegular, let start = file.position, try AgeReader.source(source) == nil {
        try opener.open(file: file, start: start).replay(into: sink)
      } else {
        try opener.open(stream: source, isFramed: true).replay(into: sink)
      }
    } catch {
      throw isInput || error == keys.failure ? error : error.within(path.display)
    }
  }
}

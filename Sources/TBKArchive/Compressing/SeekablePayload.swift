import TBKCore
import TBKCrypto
import TBKFormat

/// Reads any part of the tar in a payload, by its seek table: reads the table first, then only the frames that are
/// needed.
package final class SeekablePayload {
  private let message: ChunkedMessage
  private let table: SeekTable
  private let decompressor: FrameDecompressor
  private let job = ZstdFrameJob()
  /// The frame whose content `job` holds.
  private var held: Int?
  /// The ranges of the payload that `expect` announced, and how many of them have been read.
  private var runs: [Range<UInt64>] = []
  private var nextRun = 0

  /// Announced ranges at most this many bytes apart are merged into one.
  private static let gap: UInt64 = 64 << 10

  /// Where the manifest is.
  package let locator: ManifestLocator
  /// Bytes of tar.
  package var length: UInt64 { table.length }

  /// Reads the table and the locator of a message whose length has been authenticated.
  package init(_ message: ChunkedMessage) throws(Failure) {
    let footer = UInt64(SeekTable.footerLength)
    guard message.length >= footer else {
      throw Failure(.malformed, "the payload does not end in a seek table")
    }
    let end = try message.read(message.length - footer..<message.length)
    let length = try SeekTable.length(byFooter: end.span)
    guard length <= message.length else {
      throw Failure(.malformed, "the payload's seek table is larger than the payload")
    }
    let tail = try message.read(message.length - length..<message.length)
    let table = try SeekTable(parsing: tail.span)
    let frames = message.length - length
    guard table.compressedLength == frames else {
      throw Failure(.malformed, "the payload's seek table is not that of its frames")
    }
    let front = try message.read(frames - UInt64(ManifestLocator.frameLength)..<frames)
    let locator = try ManifestLocator(parsing: front.span)
    guard let index = table.index(ofOffset: locator.offset),
      table.frame(index).offset == locator.offset, locator.length <= table.length - locator.offset
    else {
      throw Failure(.malformed, "the payload's locator points where no manifest can be")
    }
    self.message = message
    self.table = table
    self.locator = locator
    decompressor = try FrameDecompressor()
  }

  /// Announces which ranges of the tar will be read, in this order: adjacent frames can be fetched together. Ignores
  /// ranges that are outside the tar.
  ///
  /// - Parameter ranges: ascending.
  package func expect(_ ranges: [Range<UInt64>]) {
    (runs, nextRun) = ([], 0)
    for range in ranges where !range.isEmpty {
      guard let first = table.index(ofOffset: range.lowerBound),
        let last = table.index(ofOffset: range.upperBound - 1)
      else { continue }
      let (start, end) = (table.frame(first).position, table.frame(last))
      let run = start..<max(start, end.position + UInt64(end.compressed))
      if let before = runs.last, before.lowerBound <= run.lowerBound,
        run.lowerBound <= before.upperBound + Self.gap
      {
        runs[runs.count - 1] = before.lowerBound..<max(before.upperBound, run.upperBound)
      } else {
        runs.append(run)
      }
    }
    message.expect(runs)
  }

  /// The end of the announced range that contains a position of the payload; nil if none does.
  private func end(ofRunAt position: UInt64) -> UInt64? {
    while nextRun < runs.count, runs[nextRun].upperBound <= position { nextRun += 1 }
    return nextRun < runs.count && runs[nextRun].contains(position) ? runs[nextRun].upperBound : nil
  }

  /// Copies a part of the tar to `sink` without finishing it; `.malformed` if it ends beyond the tar.
  package func read(_ range: Range<UInt64>, into sink: any ByteSink) throws(Failure) {
    guard range.upperBound <= table.length else {
      throw Failure(.malformed, "the manifest points outside of the archive")
    }
    var position = range.lowerBound
    while position < range.upperBound {
      guard let index = table.index(ofOffset: position) else {
        throw Failure(.library, "a seek table without the frame that it was asked for")
      }
      let frame = try open(index)
      let start = Int(position - frame.offset)
      let count = min(frame.length - start, Int(clamping: range.upperBound - position))
      try emit(start..<start + count, to: sink)
      position += UInt64(count)
    }
  }

  private func emit(_ range: Range<Int>, to sink: any ByteSink) throws(Failure) {
    let output = job.output
    try sink.write(output.span.extracting(range))
  }

  /// Reads and decompresses a frame into `job`.
  private func open(_ index: Int) throws(Failure) -> SeekTable.Frame {
    let frame = table.frame(index)
    if held == index { return frame }
    held = nil
    job.clear()
    let bytes = try message.read(
      frame.position..<frame.position + UInt64(frame.compressed), expecting: end(ofRunAt: frame.position))
    var scanner = ZstdFrameScanner(skippableLimit: 0)
    guard let end = try scanner.end(in: bytes.span), end.length == bytes.count,
      case .frame(let header) = end.kind, header.contentSize == frame.length
    else {
      throw Failure(.malformed, "the payload's seek table is not that of its frames")
    }
    job.append(bytes.span)
    job.outputCount = frame.length
    decompressor.run(job)
    if let failure = job.failure { throw failure }
    if let checksum = frame.checksum, checksum != job.checksum {
      throw Failure(.malformed, "a checksum in the payload's seek table is wrong")
    }
    held = index
    return frame
  }
}

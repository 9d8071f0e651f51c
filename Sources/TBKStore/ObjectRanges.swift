import TBKCore
import TBKFormat

/// A range to read from a part of an object.
struct PartRange: Equatable {
  /// The index of the part; 0 for an object in one piece.
  let index: Int
  /// In bytes of that part.
  let range: Range<UInt64>
}

extension ObjectReference {
  /// The part ranges that make up `range`, in order.
  ///
  /// - Parameter size: the size of the whole object; `range` must be within it.
  func pieces(of range: Range<UInt64>, size: UInt64) -> [PartRange] {
    var found: [PartRange] = []
    var start: UInt64 = 0
    for (index, length) in (parts.isEmpty ? [size] : parts.map(\.object.size)).enumerated() {
      let (end, overflow) = start.addingReportingOverflow(length)
      if overflow { break }
      let wanted = max(range.lowerBound, start)..<max(max(range.lowerBound, start), min(range.upperBound, end))
      if !wanted.isEmpty {
        found.append(PartRange(index: index, range: wanted.lowerBound - start..<wanted.upperBound - start))
      }
      start = end
    }
    return found
  }
}

/// Concatenates sources, opening each when its turn comes.
final class JoinedSource: ByteSource {
  private let count: Int
  private let open: (Int) throws(Failure) -> any ByteSource
  private var next = 0
  private var current: (any ByteSource)?

  /// - Parameter open: opens the source with this index, less than `count`.
  init(_ count: Int, _ open: @escaping (Int) throws(Failure) -> any ByteSource) {
    self.count = count
    self.open = open
  }

  /// Opens the first one, and starts its download.
  func begin() throws(Failure) {
    guard current == nil, next < count else { return }
    current = try open(next)
    next += 1
    try (current as? PiecewiseDownload)?.start()
  }

  func read(into buffer: inout [UInt8]) throws(Failure) -> Int {
    while true {
      if let current {
        let count = try current.read(into: &buffer)
        if count > 0 { return count }
      }
      current = nil
      if next == count { return 0 }
      current = try open(next)
      next += 1
    }
  }
}

/// Objects, or parts of them, that can only be downloaded whole: each is kept as ciphertext in an unnamed file, so that
/// any range of it can be read. The last two are kept.
final class WholeObjects {
  private var kept: [(name: String, region: DescriptorRegion)] = []

  func region(
    _ name: String, _ open: () throws(Failure) -> any ByteSource
  ) throws(Failure) -> DescriptorRegion {
    if let known = kept.first(where: { $0.name == name }) { return known.region }
    if kept.count > 1 { kept.removeFirst() }
    let file = try TemporaryFile.anonymous()
    let sink = DescriptorSink(file, name: RawPath("the temporary file"))
    try open().copy(to: sink)
    try sink.finish()
    let region = try DescriptorRegion(file)
    kept.append((name, region))
    return region
  }
}

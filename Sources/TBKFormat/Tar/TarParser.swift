import TBKCore

/// Parses a tar that is written to it in pieces of any size, and passes its members to a handler.
///
/// Understands seventh-edition, ustar, GNU (long names, base-256 numbers) and pax headers; rejects GNU's sparse files.
/// Trusts nothing and checks only the tar's own rules: `EntryName` decides whether a name may be extracted. Bodies are
/// passed on without copying, and memory is bounded by the limits.
///
/// Failures are `.malformed`, or `.truncated` from `finish()`, and give the position.
package final class TarParser: ByteSink {
  private enum State {
    /// At or inside a header block.
    case header
    /// Like `header`, after one zero block.
    case zeroBlock
    case extended(type: UInt8, left: Int)
    case body(left: UInt64)
    case padding(left: Int)
    /// After both zero blocks.
    case trailer(seen: Int)
    case closed
  }

  private let handler: any TarHandler
  private let limits: TarLimits
  private var state = State.header
  /// The offset of the next byte in the stream.
  private var offset: UInt64 = 0
  /// The offset of the latest header block.
  private var headerStart: UInt64 = 0
  /// The front of a header block that came in pieces.
  private var block: [UInt8] = []
  /// The body of an extended header so far.
  private var extended: [UInt8] = []
  /// The name of the current member, for messages.
  private var current: [UInt8] = []

  // The extended headers for the next member.
  private var longName: [UInt8]?
  private var longLink: [UInt8]?
  private var pax: PaxHeader?
  private var global = PaxHeader()
  private var globalHeaders = 0

  // Most members have the same owner as the previous one: reuse its arrays.
  private var lastUser: [UInt8] = []
  private var lastGroup: [UInt8] = []

  package init(handler: any TarHandler, limits: TarLimits = .default) {
    self.handler = handler
    self.limits = limits
  }

  /// Whether the end marker, or its first block, has been parsed: no member follows.
  package var isPastMembers: Bool {
    switch state {
    case .zeroBlock, .trailer: true
    case .header, .extended, .body, .padding, .closed: false
    }
  }

  /// Bytes until the next header block: the rest of a body or extended header, with its padding.
  package var untilHeader: UInt64 {
    func padded(_ left: UInt64) -> UInt64 {
      left &+ UInt64(TarWriter.padding(after: offset &+ left))
    }
    return switch state {
    case .body(let left): padded(left)
    case .extended(_, let left): padded(UInt64(left))
    case .padding(let left): UInt64(left)
    case .header, .zeroBlock, .trailer, .closed: 0
    }
  }

  package func write(_ bytes: Span<UInt8>) throws(Failure) {
    if case .closed = state { throw Failure(.library, "bytes for a tar parser that has ended") }
    do throws(Failure) {
      try consume(bytes)
    } catch {
      state = .closed
      throw error
    }
  }

  /// - Throws: `.truncated` unless the end marker has been parsed.
  package func finish() throws(Failure) {
    let last = state
    state = .closed
    switch last {
    case .trailer: return
    case .closed: throw Failure(.library, "the end of a tar parser that has ended")
    case .header where block.isEmpty, .zeroBlock where block.isEmpty:
      throw Failure(.truncated, "the tar ends at byte \(offset) without its end marker")
    case .header, .zeroBlock:
      throw Failure(.truncated, "the tar ends at byte \(offset), within a header")
    case .extended:
      throw Failure(.truncated, "the tar ends at byte \(offset), within an extended header")
    case .body(let left):
      throw Failure(
        .truncated, "the tar ends within \(RawPath(current).display), \(left) bytes short")
    case .padding:
      throw Failure(.truncated, "the tar ends at byte \(offset), within the padding of a member")
    }
  }

  private func consume(_ bytes: Span<UInt8>) throws(Failure) {
    var position = 0
    while position < bytes.count {
      let available = bytes.count - position
      let taken: Int
      switch state {
      case .header, .zeroBlock:
        taken = min(available, TarBlock.size - block.count)
        let piece = bytes.extracting(position..<position + taken)
        if taken == TarBlock.size {
          try read(header: piece)
        } else {
          block.append(piece)
          if block.count == TarBlock.size {
            let whole = block
            block = []
            try read(header: whole.span)
          }
        }
      case .extended(let type, let left):
        taken = min(available, left)
        extended.append(bytes.extracting(position..<position + taken))
        if taken == left {
          try endExtended(type)
        } else {
          state = .extended(type: type, left: left - taken)
        }
      case .body(let left):
        taken = Int(min(UInt64(available), left))
        try handler.body(bytes.extracting(position..<position + taken))
        if UInt64(taken) == left {
          try handler.end()
          pad(after: offset + UInt64(taken))
        } else {
          state = .body(left: left - UInt64(taken))
        }
      case .padding(let left):
        taken = min(available, left)
        state = taken == left ? .header : .padding(left: left - taken)
      case .trailer(let seen):
        taken = available
        if taken > limits.trailingZeros - seen {
          throw Failure(
            .malformed, "over \(limits.trailingZeros) bytes follow the end of the tar")
        }
        for index in position..<bytes.count where bytes[index] != 0 {
          let place = offset + UInt64(index - position)
          throw Failure(.malformed, "data follows the end of the tar at byte \(place)")
        }
        state = .trailer(seen: seen + taken)
      case .closed: return
      }
      position += taken
      offset += UInt64(taken)
    }
  }

  /// Members begin on block boundaries.
  private func pad(after end: UInt64) {
    let padding = TarWriter.padding(after: end)
    state = padding == 0 ? .header : .padding(left: padding)
  }

  // MARK: Headers

  private func read(header block: Span<UInt8>) throws(Failure) {
    // For a block that came in pieces, `offset` is already inside it.
    headerStart = offset / UInt64(TarBlock.size) * UInt64(TarBlock.size)
    do throws(Failure) {
      try interpret(block)
    } catch {
      if began { throw error }
      throw error.within("tar header at byte \(headerStart)")
    }
  }

  /// Whether the member has been passed to the handler: later failures are not about the header.
  private var began = false

  private func interpret(_ block: Span<UInt8>) throws(Failure) {
    began = false
    if block[0] == 0, TarBlock.isZero(block) {
      if hasExtended { throw Failure(.malformed, "an extended header is not followed by a member") }
      if case .zeroBlock = state { state = .trailer(seen: 0) } else { state = .zeroBlock }
      return
    }
    if case .zeroBlock = state { throw Failure(.malformed, "a header follows a single zero block") }
    let sums = TarBlock.checksums(block)
    guard let sum = TarBlock.number(block, TarBlock.checksum, blank: nil),
      sum == sums.unsigned || sum == sums.signed
    else { throw Failure(.malformed, "the checksum does not match") }

    let type = block[TarBlock.type]
    switch type {
    case UInt8(ascii: "x"), UInt8(ascii: "X"), UInt8(ascii: "g"), UInt8(ascii: "L"),
      UInt8(ascii: "K"):
      try beginExtended(type, block)
    case UInt8(ascii: "S"):
      throw Failure(
        .malformed, "a sparse file in GNU's format cannot be read",
        hint: "make the tar without --sparse")
    default:
      try beginMember(type, block)
    }
  }

  private var hasExtended: Bool { longName != nil || longLink != nil || pax != nil }

  private func bodySize(_ block: Span<UInt8>) throws(Failure) -> UInt64 {
    guard let size = TarBlock.number(block, TarBlock.bodySize, blank: nil), size >= 0 else {
      throw Failure(.malformed, "the size is not a number from 0 to \(Int64.max)")
    }
    return UInt64(size)
  }

  private func bodySize(_ block: Span<UInt8>, _ said: PaxHeader) throws(Failure) -> UInt64 {
    if let size = said.size { return size }
    return try bodySize(block)
  }

  private func beginExtended(_ type: UInt8, _ block: Span<UInt8>) throws(Failure) {
    let repeated =
      switch type {
      case UInt8(ascii: "L"): longName != nil
      case UInt8(ascii: "K"): longLink != nil
      // A global header between a member and its own extended header would be ambiguous.
      case UInt8(ascii: "g"): hasExtended
      default: pax != nil
      }
    if repeated { throw Failure(.malformed, "too many extended headers before a member") }
    let size = try bodySize(block)
    if size > UInt64(limits.extendedHeader) {
      throw Failure(
        .malformed,
        "an extended header of \(size) bytes is over the limit of \(limits.extendedHeader)")
    }
    extended = []
    if size == 0 {
      try finishExtended(type)
      state = .header
    } else {
      state = .extended(type: type, left: Int(size))
    }
  }

  private func endExtended(_ type: UInt8) throws(Failure) {
    let size = extended.count
    do throws(Failure) {
      try finishExtended(type)
    } catch {
      throw error.within("tar header at byte \(headerStart)")
    }
    pad(after: UInt64(size))
  }

  private func finishExtended(_ type: UInt8) throws(Failure) {
    let bytes = extended
    extended = []
    switch type {
    case UInt8(ascii: "L"): longName = try longText(bytes)
    case UInt8(ascii: "K"): longLink = try longText(bytes)
    case UInt8(ascii: "g"):
      globalHeaders += 1
      guard globalHeaders <= limits.globalHeaders else {
        throw Failure(.malformed, "there are over \(limits.globalHeaders) global headers")
      }
      try global.add(records: bytes.span, isGlobal: true, limits: limits)
    default:
      var header = global
      try header.add(records: bytes.span, isGlobal: false, limits: limits)
      pax = header
    }
  }

  /// GNU ends a long name with a NUL; the rest is not part of the name.
  private func longText(_ bytes: [UInt8]) throws(Failure) -> [UInt8] {
    let text = Array(bytes.prefix { $0 != 0 })
    if text.isEmpty { throw Failure(.malformed, "a GNU long name is empty") }
    return text
  }

  private func number(
    _ block: Span<UInt8>, _ field: Range<Int>, _ what: String, said: UInt64? = nil
  ) throws(Failure) -> UInt64 {
    if let said { return said }
    guard let value = TarBlock.number(block, field), value >= 0 else {
      throw Failure(.malformed, "the \(what) is not a number of the allowed range")
    }
    return UInt64(value)
  }

  private func mtime(_ block: Span<UInt8>, said: FileTime?) throws(Failure) -> FileTime {
    if let said { return said }
    guard let seconds = TarBlock.number(block, TarBlock.mtime) else {
      throw Failure(.malformed, "the mtime is not a number of 64 bits")
    }
    return FileTime(seconds: seconds)
  }

  private func beginMember(_ type: UInt8, _ block: Span<UInt8>) throws(Failure) {
    let dialect = TarBlock.dialect(block)
    let said = pax ?? global
    if longName != nil && said.path != nil || longLink != nil && said.linkPath != nil {
      throw Failure(.malformed, "a member is named by a GNU and by a pax header")
    }
    var name = said.path ?? longName ?? blockName(block, dialect)
    let hadSlash = name.last == UInt8(ascii: "/")
    var kind = kind(type)
    // The seventh edition had no directory type, only a trailing slash.
    if kind == .file && hadSlash { kind = .directory }
    if kind == .directory {
      while name.count > 1, name.last == UInt8(ascii: "/") { name.removeLast() }
    }
    if name.isEmpty { throw Failure(.malformed, "a member has no name") }

    var size: UInt64 = 0
    switch kind {
    case .file, .other: size = try bodySize(block, said)
    // Like GNU tar and Python: a link may have the size of its target, but no body follows.
    case .symlink, .hardlink, .characterDevice, .blockDevice, .fifo: break
    case .directory:
      if type != UInt8(ascii: "5"), try bodySize(block, said) != 0 {
        throw Failure(.malformed, "the directory \(RawPath(name).display) has a body")
      }
    }
    if size > UInt64(Int64.max) {
      throw Failure(.malformed, "the size of \(RawPath(name).display) is out of range")
    }
    if size > limits.maximumSize {
      throw Failure(
        .malformed,
        "\(RawPath(name).display) claims \(size) bytes, more than the archive can hold")
    }

    var target: [UInt8] = []
    if kind == .symlink || kind == .hardlink {
      target = said.linkPath ?? longLink ?? text(block, TarBlock.linkName)
      if target.isEmpty {
        throw Failure(.malformed, "the link \(RawPath(name).display) has no target")
      }
    }
    if dialect == .v7 {
      lastUser = said.userName ?? []
      lastGroup = said.groupName ?? []
    } else {
      remember(said.userName, block, TarBlock.userName, in: &lastUser)
      remember(said.groupName, block, TarBlock.groupName, in: &lastGroup)
    }
    let mode = try number(block, TarBlock.mode, "mode")
    let member = TarMember(
      name: name, kind: kind, size: size,
      mode: UInt32(mode & 0o7777),  // old GNU tars store the file type above
      mtime: try mtime(block, said: said.mtime),
      uid: try number(block, TarBlock.uid, "user id", said: said.uid),
      gid: try number(block, TarBlock.gid, "group id", said: said.gid),
      userName: lastUser, groupName: lastGroup, linkTarget: target, xattrs: said.xattrs)
    longName = nil
    longLink = nil
    pax = nil
    began = true
    try handler.begin(member, bodyAt: headerStart + UInt64(TarBlock.size))
    if size == 0 {
      try handler.end()
      state = .header
    } else {
      current = name
      state = .body(left: size)
    }
  }

  private func remember(
    _ said: [UInt8]?, _ block: Span<UInt8>, _ field: Range<Int>, in last: inout [UInt8]
  ) {
    let field = block.extracting(TarBlock.text(block, field))
    if let said {
      last = said
    } else if !field.elementsEqual(last) {
      last = Array(field)
    }
  }

  private func blockName(_ block: Span<UInt8>, _ dialect: TarBlock.Dialect) -> [UInt8] {
    guard dialect == .ustar, block[TarBlock.prefix.lowerBound] != 0 else {
      return text(block, TarBlock.name)
    }
    var whole = text(block, TarBlock.prefix)
    whole.append(UInt8(ascii: "/"))
    whole.append(block.extracting(TarBlock.text(block, TarBlock.name)))
    return whole
  }

  private func text(_ block: Span<UInt8>, _ field: Range<Int>) -> [UInt8] {
    Array(block.extracting(TarBlock.text(block, field)))
  }

  private func kind(_ type: UInt8) -> TarKind {
    switch type {
    case UInt8(ascii: "0"), 0, UInt8(ascii: "7"): .file
    case UInt8(ascii: "1"): .hardlink
    case UInt8(ascii: "2"): .symlink
    case UInt8(ascii: "3"): .characterDevice
    case UInt8(ascii: "4"): .blockDevice
    case UInt8(ascii: "5"): .directory
    case UInt8(ascii: "6"): .fifo
    default: .other(type)
    }
  }
}

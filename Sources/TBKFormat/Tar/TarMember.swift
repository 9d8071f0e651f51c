import TBKCore

/// What a member of a tar is.
package enum TarKind: Equatable, Sendable {
  case file, directory, symlink, hardlink, characterDevice, blockDevice, fifo
  /// A type flag that nobody here knows; its body, if it has one, follows as a file's does.
  case other(UInt8)
}

/// One member of a tar, whatever the dialect that says it. Names and targets are raw bytes.
package struct TarMember: Equatable, Sendable {
  /// Without the slash that ends a directory's name in a tar. Not checked: see `EntryName`.
  package var name: [UInt8]
  package var kind: TarKind
  /// Bytes of body that follow; 0 for everything but files (and unknown kinds).
  package var size: UInt64
  /// 0...0o7777.
  package var mode: UInt32
  package var mtime: FileTime
  package var uid: UInt64
  package var gid: UInt64
  /// Empty if the tar does not say.
  package var userName: [UInt8]
  package var groupName: [UInt8]
  /// What a symlink holds, or the earlier member that a hard link is; else empty.
  package var linkTarget: [UInt8]
  package var xattrs: [ExtendedAttribute]

  package init(
    name: [UInt8], kind: TarKind, size: UInt64 = 0, mode: UInt32 = 0o644,
    mtime: FileTime = FileTime(seconds: 0),
    uid: UInt64 = 0, gid: UInt64 = 0, userName: [UInt8] = [], groupName: [UInt8] = [],
    linkTarget: [UInt8] = [], xattrs: [ExtendedAttribute] = []
  ) {
    self.name = name
    self.kind = kind
    self.size = size
    self.mode = mode
    self.mtime = mtime
    self.uid = uid
    self.gid = gid
    self.userName = userName
    self.groupName = groupName
    self.linkTarget = linkTarget
    self.xattrs = xattrs
  }
}

/// What a `TarParser` tells: `begin`, any number of `body`, `end`, for each member in turn.
///
/// A failure of the handler ends the parsing and comes out of the parser unchanged.
package protocol TarHandler: AnyObject {
  func begin(_ member: TarMember) throws(Failure)
  /// As `begin(_:)`, which it calls unless a handler has its own.
  ///
  /// - Parameter offset: where in the tar the member's body begins, or would.
  func begin(_ member: TarMember, bodyAt offset: UInt64) throws(Failure)
  /// The next bytes of the body; never empty. The span is gone when the call returns.
  func body(_ bytes: Span<UInt8>) throws(Failure)
  /// All `size` bytes of the member have been passed on.
  func end() throws(Failure)
}

extension TarHandler {
  package func begin(_ member: TarMember, bodyAt offset: UInt64) throws(Failure) { try begin(member) }
}

/// What a hostile tar may ask for.
package struct TarLimits: Sendable {
  /// Bytes in one pax header or GNU long name; what is collected is held in memory.
  package var extendedHeader: Int
  /// Extended attributes of one member. Linux cannot list 10,000: 64 KiB of names is its limit.
  package var attributes: Int
  /// Zero bytes after the two blocks that end the archive (`tar -b` pads to its block size).
  package var trailingZeros: Int
  /// Global headers in one tar. Those who join tars have one for each.
  package var globalHeaders = 1024
  /// Bytes of one member's body.
  package var maximumSize: UInt64

  package init(
    extendedHeader: Int = 8 << 20, attributes: Int = 10_000, trailingZeros: Int = 1 << 20,
    maximumSize: UInt64 = UInt64(Int64.max)
  ) {
    self.extendedHeader = extendedHeader
    self.attributes = attributes
    self.trailingZeros = trailingZeros
    self.maximumSize = maximumSize
  }

  package static let `default` = TarLimits()
}

import TBKCore

/// The kind of a tar member.
package enum TarKind: Equatable, Sendable {
  case file, directory, symlink, hardlink, characterDevice, blockDevice, fifo
  /// An unknown type flag; its body, if any, follows like that of a file.
  case other(UInt8)
}

/// One member of a tar of any dialect. Names and targets are raw bytes.
package struct TarMember: Equatable, Sendable {
  /// Without the trailing slash of a directory. Not checked: see `EntryName`.
  package var name: [UInt8]
  package var kind: TarKind
  /// Length of the body in bytes; 0 for everything but files and unknown kinds.
  package var size: UInt64
  /// 0...0o7777.
  package var mode: UInt32
  package var mtime: FileTime
  package var uid: UInt64
  package var gid: UInt64
  /// Empty if the tar has none.
  package var userName: [UInt8]
  package var groupName: [UInt8]
  /// The target of a symlink, or the earlier member that a hard link refers to; else empty.
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

/// Receives the members of a `TarParser`: for each, `begin`, any number of `body`, then `end`.
///
/// A failure of the handler ends the parsing, and the parser throws it unchanged.
package protocol TarHandler: AnyObject {
  func begin(_ member: TarMember) throws(Failure)
  /// Likewise; by default calls `begin(_:)`.
  ///
  /// - Parameter offset: where the member's body begins in the tar, even if it is empty.
  func begin(_ member: TarMember, bodyAt offset: UInt64) throws(Failure)
  /// The next bytes of the body; never empty. The span is valid only during the call.
  func body(_ bytes: Span<UInt8>) throws(Failure)
  /// All `size` bytes of the member have been passed on.
  func end() throws(Failure)
}

extension TarHandler {
  package func begin(_ member: TarMember, bodyAt offset: UInt64) throws(Failure) { try begin(member) }
}

/// Limits against hostile tars.
package struct TarLimits: Sendable {
  /// The maximum length of a pax header or GNU long name in bytes; it is held in memory.
  package var extendedHeader: Int
  /// The maximum number of extended attributes of a member. Linux lists at most 64 KiB of names.
  package var attributes: Int
  /// The maximum zero bytes after the end marker's two blocks (`tar -b` pads to its block size).
  package var trailingZeros: Int
  /// The maximum number of global headers. Concatenated tars have one each.
  package var globalHeaders = 1024
  /// The maximum length of a member's body in bytes.
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

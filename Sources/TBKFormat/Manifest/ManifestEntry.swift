import TBKCore

/// What an entry of a manifest is.
package enum EntryType: String, Sendable {
  case file, directory, symlink

  /// From a manifest's word. Sockets, devices and FIFOs have none: they are not backed up.
  package init?(_ word: [UInt8]) { self.init(rawValue: String(decoding: word, as: UTF8.self)) }
}

/// A name and value of the xattr(7) kind; access control lists ride in them.
package struct ExtendedAttribute: Equatable, Sendable {
  package var name: [UInt8]
  package var value: [UInt8]

  package init(name: [UInt8], value: [UInt8]) {
    self.name = name
    self.value = value
  }
}

/// One entry of a manifest (tbk(5), "Entries"). Optional fields that are nil are absent.
package struct ManifestEntry: Equatable, Sendable {
  /// Relative to the source directory; empty for the root's own metadata.
  package var path: [UInt8]
  package var type: EntryType
  /// Bytes of content; 0 for what is not a regular file.
  package var size: UInt64
  /// Of the content, or of nothing; nil only between tbk-manifest --defer-hash and tbk-seal.
  package var sha256: Digest?
  /// `st_mode`, type bits included.
  package var mode: UInt32
  /// Seconds since the epoch.
  package var modifiedAt: Double
  package var mtime: FileTime?
  package var ctime: FileTime?
  package var inode: UInt64?
  package var device: UInt64?
  package var uid: UInt32?
  package var gid: UInt32?
  package var user: [UInt8]?
  package var group: [UInt8]?
  package var linkTarget: [UInt8]?
  /// The path of an earlier entry that is the same file.
  package var hardLink: [UInt8]?
  /// The name in the tar, where it is not `path`.
  package var storedAs: [UInt8]?
  /// The id of the backup that holds the content, where it is not this one.
  package var storedIn: String?
  /// Where the content begins in the uncompressed tar of the backup that holds it, in bytes; only
  /// where there is content, and known where archives of suite 3 or age were written.
  package var offset: UInt64?
  package var xattrs: [ExtendedAttribute] = []
  /// Whether `type` stood in the manifest: TermBackup 6 wrote files only, and no type.
  package var hasType = true
  /// Members that we do not know, or whose spelling is not ours: kept as they were, so that the
  /// manifest's id can be computed again. Each is a key and the canonical text of its value.
  package var extras: [Extra] = []

  package struct Extra: Equatable, Sendable {
    package var key: String
    package var value: [UInt8]

    package init(key: String, value: [UInt8]) {
      self.key = key
      self.value = value
    }
  }

  package init(
    path: [UInt8], type: EntryType, size: UInt64, sha256: Digest?, mode: UInt32, modifiedAt: Double
  ) {
    self.path = path
    self.type = type
    self.size = size
    self.sha256 = sha256
    self.mode = mode
    self.modifiedAt = modifiedAt
  }

  /// Sets the modification time in both its forms.
  package mutating func setModification(_ time: FileTime) {
    mtime = time
    modifiedAt = time.inSeconds
  }

  /// The best modification time there is; nil if no file can have it.
  package var modification: FileTime? { mtime ?? FileTime(seconds: modifiedAt) }

  /// A regular file whose content the tar of this backup carries itself.
  package var carriesContent: Bool { type == .file && hardLink == nil && storedIn == nil }

  /// The name under which the tar holds it.
  package var tarName: [UInt8] { storedAs ?? path }
}

/// Something that could not be read, and why.
package struct UnreadableEntry: Equatable, Sendable {
  package var path: [UInt8]
  package var reason: String

  package init(path: [UInt8], reason: String) {
    self.path = path
    self.reason = reason
  }
}

import TBKCore

/// The type of a manifest entry.
package enum EntryType: String, Sendable {
  case file, directory, symlink

  /// From the word in a manifest; nil for others. Sockets, devices and FIFOs are not backed up.
  package init?(_ word: [UInt8]) { self.init(rawValue: String(decoding: word, as: UTF8.self)) }
}

/// An extended attribute (xattr(7)). ACLs are stored this way too.
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
  /// Length of the content in bytes; 0 unless it is a regular file.
  package var size: UInt64
  /// Of the content, which may be empty; nil only between tbk-manifest --defer-hash and tbk-seal.
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
  /// The name in the tar, if it is not `path`.
  package var storedAs: [UInt8]?
  /// The id of the backup that holds the content, if it is not this one.
  package var storedIn: String?
  /// The offset of the content, in bytes, in the uncompressed tar of the backup that holds it. Only for files with
  /// content, and recorded only in archives of suite 3 or age.
  package var offset: UInt64?
  package var xattrs: [ExtendedAttribute] = []
  /// Whether the manifest had a `type`: TermBackup 6 listed only files, without one.
  package var hasType = true
  /// Unknown members, and those that are not spelled as we do: kept unchanged, so that the manifest's id can be
  /// recomputed. Each is a key and the canonical text of its value.
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

  /// Sets both forms of the modification time.
  package mutating func setModification(_ time: FileTime) {
    mtime = time
    modifiedAt = time.inSeconds
  }

  /// The most precise modification time; nil if no file can have it.
  package var modification: FileTime? { mtime ?? FileTime(seconds: modifiedAt) }

  /// Whether it is a regular file whose content is in this backup's own tar.
  package var carriesContent: Bool { type == .file && hardLink == nil && storedIn == nil }

  /// Its name in the tar.
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

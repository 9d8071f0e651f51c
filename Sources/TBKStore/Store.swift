import TBKCore
import TBKFormat

/// A place where backups are stored: untrusted, but it changes only atomically.
///
/// Every store guarantees the following; the conformance suite tests it:
/// - A commit happens completely or not at all, whenever a process is killed or fails.
/// - It happens only over the version it was made for; of two writers one meets a conflict.
/// - Objects are durable before the ledger that names them, and are removed only after a durable ledger has stopped
///   naming them.
/// - A name that has bytes is never given to other bytes, except by `.replacing`.
package protocol Store: AnyObject {
  var address: StoreAddress { get }

  /// The current ledger; nil if the store is still empty.
  ///
  /// Throws `.unavailable` if it does not exist or is not a store.
  func readLedger() throws(Failure) -> StoredLedger?

  /// Opens an object. The bytes are unchecked: the store may have altered them.
  ///
  /// Throws `.inputMissing` if the store is accessible but does not have the object.
  func open(_ object: ObjectReference) throws(Failure) -> any ByteSource

  /// Opens `range` of an object of `size` bytes, also unchecked.
  ///
  /// Throws `.inputMissing` if the store is accessible but does not have the object. If the object is shorter, the
  /// source ends early or `.integrity` is thrown.
  func open(
    _ object: ObjectReference, size: UInt64, range: Range<UInt64>
  ) throws(Failure) -> any ByteSource

  /// Opens a range of an object and starts its transfer at once, while others are read; nil if the store does not
  /// support that. Dropping one before its end also ends the others.
  func openAhead(
    _ object: ObjectReference, size: UInt64, range: Range<UInt64>
  ) throws(Failure) -> (any ByteSource)?

  /// The sizes of those of these files that the store has; anything but a regular file counts as missing.
  /// A listing: no content is read.
  func sizes(of files: [StoredFile]) throws(Failure) -> [StoredFile: UInt64]

  /// Transfers bytes to the store, durable but not yet visible under any name. Without a commit they are removed again.
  ///
  /// - Parameters:
  ///   - size: the exact size of `source`; more or less is a failure. Nil: read to the end.
  ///   - folder: the folder in which they will be committed.
  func stage(
    _ source: any ByteSource, size: UInt64?, in folder: ObjectPath.Folder
  ) throws(Failure) -> any StagedObject

  /// Makes `commit.ledger` the ledger, together with all objects that it names.
  ///
  /// After any outcome but `.committed` the staged objects can be committed again without another transfer.
  ///
  /// - Parameter version: the version that the change is based on; nil for an empty store.
  func commit(_ commit: Commit, over version: LedgerVersion?) throws(Failure) -> CommitOutcome

  /// Objects with names that TermBackup gives, not in `named`, and last changed at least `age` seconds ago by the
  /// store's clock. Never a password check: its group may belong to a profile elsewhere.
  func leftovers(besides named: NamedObjects, age: Int64) throws(Failure) -> [Leftover]

  /// The unencrypted manifests left by TermBackup 6, of any age; they are leftovers too.
  func clearManifests() throws(Failure) -> [Leftover]

  /// Removes leftovers, unless the ledger is no longer `ledger`, which stays unchanged. Returns those removed; nil if
  /// the store has moved on.
  func remove(_ leftovers: [Leftover], over ledger: StoredLedger) throws(Failure) -> [Leftover]?
}

/// The state of a store that a ledger was read at; an opaque token of the store.
package struct LedgerVersion: Hashable, Sendable {
  package let token: String

  package init(_ token: String) { self.token = token }
}

package struct StoredLedger: Sendable {
  package let bytes: [UInt8]
  package let version: LedgerVersion

  package init(bytes: [UInt8], version: LedgerVersion) {
    self.bytes = bytes
    self.version = version
  }
}

/// The path of an object in a store.
package struct ObjectPath: Hashable, Sendable, CustomStringConvertible {
  package enum Folder: String, CaseIterable, Sendable {
    case backups, manifests, checks, keys
  }

  package let folder: Folder
  package let name: ObjectName

  package init(_ folder: Folder, _ name: ObjectName) {
    self.folder = folder
    self.name = name
  }

  package var description: String { "\(folder.rawValue)/\(name)" }

  /// The end of a name that is specific to these bytes.
  static func suffix(_ sha256: Digest, _ nameExtension: String = "tbk") -> String {
    "-\(sha256.hex.prefix(8)).\(nameExtension)"
  }

  func isNamed(after sha256: Digest) -> Bool {
    ["tbk", "age"].contains { name.description.hasSuffix(ObjectPath.suffix(sha256, $0)) }
  }
}

/// An object that a ledger names, or one that it does not (a password check).
package struct ObjectReference: Sendable {
  package let path: ObjectPath
  /// Empty unless the store keeps the object in parts.
  package let parts: [LedgerEntry.Part]

  package init(_ path: ObjectPath, parts: [LedgerEntry.Part] = []) {
    self.path = path
    self.parts = parts
  }
}

/// Bytes in a store that have no name yet. Releasing the object discards them.
package protocol StagedObject: AnyObject {
  var size: UInt64 { get }
  var sha256: Digest { get }
  /// The parts for the ledger to record, if the store keeps the bytes in parts.
  var parts: [LedgerEntry.Part] { get }
}

/// One change of a store.
package struct Commit {
  package struct Addition {
    package let path: ObjectPath
    package let object: any StagedObject
    /// Whether the name may already have other bytes. Such objects are placed after the ledger.
    package let replacing: Bool

    package init(_ path: ObjectPath, _ object: any StagedObject, replacing: Bool = false) {
      self.path = path
      self.object = object
      self.replacing = replacing
    }
  }

  package var ledger: [UInt8]
  package var additions: [Addition]
  package var removals: [ObjectReference]
  /// A line describing the change, for stores with a log. It reveals nothing of the tree.
  package var summary: String

  package init(
    ledger: [UInt8], additions: [Addition] = [], removals: [ObjectReference] = [],
    summary: String
  ) {
    self.ledger = ledger
    self.additions = additions
    self.removals = removals
    self.summary = summary
  }
}

package enum CommitOutcome: Equatable, Sendable {
  case committed(LedgerVersion)
  /// The store has moved on from the base version. Nothing has changed.
  case conflict
  /// The name has other bytes, which no ledger mentions. Nothing has changed.
  case taken(ObjectPath)
}

extension Store {
  package func openAhead(
    _ object: ObjectReference, size: UInt64, range: Range<UInt64>
  ) throws(Failure) -> (any ByteSource)? { nil }
}

import TBKCore
import TBKFormat

/// A place that holds backups: untrusted, but it changes only as a whole.
///
/// Every store keeps these promises, which the conformance suite holds it to:
/// - A commit happens completely or not at all, whatever is killed or fails at whatever moment.
/// - It happens only over the version it was made for; of two writers one meets a conflict.
/// - Objects are durable before the ledger that names them, and go only after a durable ledger has
///   stopped naming them.
/// - A name that holds bytes is never given to other bytes, except by `.replacing`.
package protocol Store: AnyObject {
  var address: StoreAddress { get }

  /// The ledger as it is now; nil if the store is still empty.
  ///
  /// Throws `.unavailable` for what does not exist or is not a store.
  func readLedger() throws(Failure) -> StoredLedger?

  /// Opens an object. What comes out is unchecked: the store may have altered it.
  ///
  /// Throws `.inputMissing` if the store can be asked and does not have it.
  func open(_ object: ObjectReference) throws(Failure) -> any ByteSource

  /// Opens `range` of an object of `size` bytes. Likewise unchecked.
  ///
  /// Throws `.inputMissing` if the store can be asked and does not have it. Of an object that is shorter there is
  /// less, or `.integrity` is thrown.
  func open(
    _ object: ObjectReference, size: UInt64, range: Range<UInt64>
  ) throws(Failure) -> any ByteSource

  /// Opens a range of an object, and has its bytes come at once, while others are read; nil if the store cannot do
  /// that. What is dropped before its end takes the others along.
  func openAhead(
    _ object: ObjectReference, size: UInt64, range: Range<UInt64>
  ) throws(Failure) -> (any ByteSource)?

  /// The sizes of those of these files that the store holds; what is no file of bytes counts as not there.
  /// A listing: no content is read.
  func sizes(of files: [StoredFile]) throws(Failure) -> [StoredFile: UInt64]

  /// Brings bytes to the store, durable but not yet visible under any name. What is never
  /// committed goes away again.
  ///
  /// - Parameters:
  ///   - size: what `source` will give; more or less is a failure. Nil: all that it gives.
  ///   - folder: where they will be committed to.
  func stage(
    _ source: any ByteSource, size: UInt64?, in folder: ObjectPath.Folder
  ) throws(Failure) -> any StagedObject

  /// Makes `commit.ledger` the ledger, together with all that it names.
  ///
  /// After anything but `.committed` the staged objects can be committed again, without being
  /// sent again.
  ///
  /// - Parameter version: the version that the change is based on; nil for an empty store.
  func commit(_ commit: Commit, over version: LedgerVersion?) throws(Failure) -> CommitOutcome

  /// What lies here under names that this suite gives, is not among `named`, and was last changed
  /// `age` seconds ago or earlier by the store's own clock. Never a password check: the group it
  /// belongs to may be that of a profile elsewhere.
  func leftovers(besides named: NamedObjects, age: Int64) throws(Failure) -> [Leftover]

  /// The unencrypted manifests that TermBackup 6 has left, of any age; they are leftovers, too.
  func clearManifests() throws(Failure) -> [Leftover]

  /// Removes leftovers, unless the store has moved on from `ledger`, which stays as it is to the byte.
  /// Returns those that are gone; nil if the store has moved on.
  func remove(_ leftovers: [Leftover], over ledger: StoredLedger) throws(Failure) -> [Leftover]?
}

/// The moment of a store that a ledger was read at; a word of the store's own.
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

/// Where an object lies in a store.
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

  /// How a name ends that is only for these bytes.
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
  /// Empty unless the store keeps the object in several.
  package let parts: [LedgerEntry.Part]

  package init(_ path: ObjectPath, parts: [LedgerEntry.Part] = []) {
    self.path = path
    self.parts = parts
  }
}

/// Bytes that are in a store, and have no name yet. Dropped, they go away.
package protocol StagedObject: AnyObject {
  var size: UInt64 { get }
  var sha256: Digest { get }
  /// What the ledger must say about them, where the store keeps them in several.
  var parts: [LedgerEntry.Part] { get }
}

/// One change of a store.
package struct Commit {
  package struct Addition {
    package let path: ObjectPath
    package let object: any StagedObject
    /// Whether the name may hold other bytes already. Such objects are placed after the ledger.
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
  /// One line that says what changed, for stores that keep a log. Nothing readable of the tree.
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
  /// The store has moved on from the version that the change is based on. Nothing has happened.
  case conflict
  /// The name holds other bytes, which no ledger mentions. Nothing has happened.
  case taken(ObjectPath)
}

extension Store {
  package func openAhead(
    _ object: ObjectReference, size: UInt64, range: Range<UInt64>
  ) throws(Failure) -> (any ByteSource)? { nil }
}

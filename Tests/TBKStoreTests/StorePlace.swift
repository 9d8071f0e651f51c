import Glibc
import TBKCore
import TBKCrypto
import TBKFormat
import Testing

@testable import TBKStore

/// A directory that is removed with its owner.
final class Scratch: Sendable {
  let path: RawPath

  init() throws {
    // In memory if possible, where syncing costs nothing.
    let memory = unsafe access("/dev/shm", W_OK) == 0
    let parent = environment("TMPDIR").map { RawPath($0) } ?? RawPath(memory ? "/dev/shm" : "/tmp")
    path = parent.appending("tbk-store-test-\(uniqueSuffix())")
    try Descriptor.workingDirectory.makeDirectory(path)
  }

  deinit { Scratch.remove(path) }

  subscript(_ name: String) -> RawPath { path.appending(name) }

  func makeDirectory(_ name: String) throws -> RawPath {
    try Descriptor.workingDirectory.makeDirectory(self[name])
    return self[name]
  }

  static func remove(_ path: RawPath) {
    guard let facts = try? Descriptor.workingDirectory.statusIfPresent(of: path) else { return }
    if facts.st_mode & S_IFMT == S_IFDIR {
      let directory = try? Descriptor.workingDirectory.open(path, O_RDONLY | O_DIRECTORY)
      for (name, _) in (try? directory?.names()) ?? [] { remove(path.appending(name)) }
      _ = try? Descriptor.workingDirectory.unlink(path, directory: true)
    } else {
      _ = try? Descriptor.workingDirectory.unlink(path)
    }
  }
}

/// A new, empty place for a store, which several handles and processes can open.
protocol StorePlace: AnyObject, Sendable {
  func open() throws(Failure) -> any Store
}

/// A kind of store that the conformance suite tests. To test a new one, add it to `all`.
struct StoreKind: Sendable, CustomTestStringConvertible {
  let testDescription: String
  /// How many times each of several writers stores something: a helper starts a program for each step.
  let rounds: Int
  let makePlace: @Sendable () throws -> any StorePlace

  static let all =
    [StoreKind(testDescription: "directory", rounds: 10) { try DirectoryPlace() }]
    + (GitHubServer.canRun
      ? [StoreKind(testDescription: "GitHub", rounds: 10) { try GitHubPlace() }] : [])
    + (HelperPlace.canRun
      ? [StoreKind(testDescription: "rclone", rounds: 4) { try HelperPlace() }] : [])
}

final class DirectoryPlace: StorePlace {
  let scratch: Scratch
  let path: RawPath

  init() throws {
    scratch = try Scratch()
    path = try scratch.makeDirectory("store")
  }

  func open() throws(Failure) -> any Store { try DirectoryStore(path) }

  /// - Parameter home: names the machine.
  func session(
    accepting: Bool = false, keys: LedgerKeys? = nil, home: String = "home"
  ) throws(Failure) -> LedgerSession {
    try makeSession(try open(), home: scratch[home], accepting: accepting, keys: keys)
  }

  /// A session on a machine that has never seen the store.
  func elsewhere() throws(Failure) -> LedgerSession { try session(home: uniqueSuffix()) }

  /// All files below the store, including temporary ones.
  func files() throws -> Set<String> {
    var found: Set<String> = []
    let root = try Descriptor.workingDirectory.open(path, O_RDONLY | O_DIRECTORY)
    for (name, _) in try root.names() {
      let facts = try #require(try root.statusIfPresent(of: name))
      guard facts.st_mode & S_IFMT == S_IFDIR else {
        found.insert(name.text)
        continue
      }
      let folder = try root.open(name, O_RDONLY | O_DIRECTORY)
      for (inner, _) in try folder.names() { found.insert(name.appending(inner).text) }
    }
    return found
  }
}

func makeSession(
  _ store: any Store, home: RawPath?, accepting: Bool = false, keys: LedgerKeys? = nil,
  maximumWait: Int = 60
) throws(Failure) -> LedgerSession {
  try LedgerSession(
    store,
    seen: try SeenState(home: home, address: store.address, accepting: accepting, warn: { _ in }),
    keys: keys, toolVersion: "7.0", maximumWait: maximumWait)
}

/// Bytes with the beginning and the length of an archive.
func archive(_ seed: Int, payload: Int = 100) throws -> [UInt8] {
  let header = try TBK2Header(
    memory: 65536, passes: 3, lanes: 4, salt: [UInt8](repeating: UInt8(seed & 255), count: 32),
    nonce: [UInt8](repeating: UInt8(seed >> 8 & 255), count: 12), payloadLength: UInt64(payload))
  return header.bytes + (0..<payload).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ seed) }
}

/// The same for suite 3, which has its length at the end.
func chunkedArchive(_ seed: Int, payload: Int = 700) throws -> [UInt8] {
  let header = try ChunkedHeader(
    memory: 65536, passes: 3, lanes: 4, salt: [UInt8](repeating: UInt8(seed & 255), count: 32))
  return header.bytes + (0..<payload).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ seed) }
    + ChunkedTrailer(messageLength: UInt64(payload)).bytes
}

func digest(_ seed: Int) throws -> Digest { try SHA256.hash(Array("id \(seed)".utf8)) }

func name(_ text: String) -> ObjectName { ObjectName(text)! }

func path(_ folder: ObjectPath.Folder, _ text: String) -> ObjectPath {
  ObjectPath(folder, name(text))
}

extension Store {
  func stage(_ bytes: [UInt8], in folder: ObjectPath.Folder = .backups) throws -> any StagedObject {
    try stage(MemorySource(bytes), size: UInt64(bytes.count), in: folder)
  }

  func contents(_ path: ObjectPath) throws -> [UInt8] {
    try open(ObjectReference(path)).readAll(limit: 1 << 26, what: "object")
  }

  func has(_ path: ObjectPath) throws -> Bool {
    do throws(Failure) {
      _ = try open(ObjectReference(path))
      return true
    } catch {
      if error.code == .inputMissing { return false }
      throw error
    }
  }
}

extension LedgerSession {
  /// Stores archive number `seed`, whose id is `digest(seed)`.
  @discardableResult
  func pushArchive(
    _ seed: Int, bytes: [UInt8]? = nil, dependsOn: [Digest] = [], group: String? = nil,
    manifest: [UInt8]? = nil
  ) throws -> Stored {
    var backup = NewBackup(
      receipt: nil, archive: try store.stage(try bytes ?? archive(seed)), archiveVersion: 2,
      manifest: try manifest.map { try store.stage($0, in: .manifests) },
      group: group.flatMap { GroupID($0) })
    backup.id = try digest(seed)
    backup.dependsOn = dependsOn
    backup.mode = dependsOn.isEmpty ? "full" : "incremental"
    return try push(backup)
  }
}

/// The failure of `body`; nil if it succeeds.
func failure(_ body: () throws -> Void) -> Failure? {
  do {
    try body()
    return nil
  } catch {
    return error as? Failure
  }
}

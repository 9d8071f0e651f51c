import Glibc
import TBKCore

/// Space reserved in a directory store so that backups can be removed when its disk is full.
///
/// A commit writes a journal and a ledger. For each there is a reserve file, larger than what will be written. A commit
/// that only removes writes into these files if it cannot create new ones, and renames them: that needs no block, no
/// inode and no new name.
struct DirectoryReserve {
  enum Kind: String, CaseIterable {
    case ledger = ".tbk-reserve"
    case journal = ".tbk-reserve-names"

    var name: RawPath { RawPath(rawValue) }
  }

  /// In bytes; sizes are multiples of it.
  private static let step = 16 << 10

  private let root: Descriptor

  init(in root: Descriptor) { self.root = root }

  static func isOurs(_ name: RawPath) -> Bool { Kind.allCases.contains { $0.name == name } }

  /// Creates reserve files that are missing, or too small to remove backups from a ledger of `ledger` bytes. Throws
  /// `.io` if there is no space. A file system that cannot reserve space gets none.
  func keep(for ledger: Int) throws(Failure) {
    // The next ledger names fewer backups, but its history may be a hash longer.
    try keep(.ledger, least: ledger + 1024)
    // The journal's lines are names, about a tenth of an entry each.
    try keep(.journal, least: ledger / 4)
  }

  private func keep(_ kind: Kind, least: Int) throws(Failure) {
    if let size = try size(kind), size >= least { return }
    // Half as much again, so that it need not be created again for each backup.
    let steps = (least + least / 2) / DirectoryReserve.step + 1
    let file = try AtomicFile(kind.name, in: root, inherits: true)
    let problem = posix_fallocate(
      file.descriptor.number, 0, off_t(steps * DirectoryReserve.step))
    switch problem {
    case 0: try file.commit()
    case ENOSPC, EDQUOT:
      throw .system("cannot reserve space for removing backups", errno: problem)
    default: break
    }
  }

  private func size(_ kind: Kind) throws(Failure) -> Int? {
    guard let facts = try root.statusIfPresent(of: kind.name), facts.st_mode & S_IFMT == S_IFREG
    else { return nil }
    return Int(facts.st_size)
  }

  /// Writes `bytes` as the file `name`, into its reserve. False if the reserve is too small.
  func write(_ bytes: [UInt8], _ kind: Kind, to name: RawPath) throws(Failure) -> Bool {
    guard let size = try size(kind), size >= bytes.count,
      let file = try root.openIfPresent(kind.name, O_RDWR | O_NOFOLLOW | O_NONBLOCK)
    else { return false }
    switch kind {
    case .ledger:
      try file.write(bytes.span, at: 0)
      try file.truncate(to: UInt64(bytes.count))
    case .journal:
      // Empty lines in a journal are ignored; the file keeps its size.
      let rest = [UInt8](repeating: UInt8(ascii: "\n"), count: size - bytes.count)
      try file.write((bytes + rest).span, at: 0)
    }
    try file.synchronize()
    try root.rename(kind.name, to: root, name)
    return true
  }

  /// Removes a finished journal, or turns it back into the reserve.
  func retire(journal name: RawPath) throws(Failure) {
    if try root.statusIfPresent(of: name) == nil { return }
    if try size(.journal) == nil {
      try root.rename(name, to: root, Kind.journal.name)
    } else {
      try root.unlink(name)
    }
  }
}

import CSystem
import Glibc
import TBKCore
import TBKFormat

/// How metadata is restored.
package struct MetadataOptions: Sendable {
  /// Owner and group; only root can.
  package var owner = true
  /// Ids as stored, whatever the names are here.
  package var numericOwner = false
  /// What gives privileges: set-user-id and set-group-id bits, and all extended attributes but those
  /// of users and access lists.
  package var setID = false

  package init() {}
}

/// Gives files and directories the metadata that a manifest lists, and takes away what it does not.
///
/// Everything goes through a descriptor of what is meant, but for links, which are reached by name in
/// a directory of ours.
final class MetadataSetter {
  /// How much of it is set.
  enum Extent {
    case whole
    /// All but the times, and nothing of what the owner may do is taken away: something is still to be
    /// put into the directory.
    case whileOpen
  }

  private let options: MetadataOptions
  private let isTermBackup6: Bool
  private let warn: (String) -> Void
  private let accounts = AccountNames()
  private let isRoot = geteuid() == 0
  /// Whether everything that was asked for could be set.
  private(set) var isExact = true
  /// The first path that was not given the privileges that it has in the backup.
  private(set) var withheld: RawPath?
  private var warned: Set<String> = []

  init(_ options: MetadataOptions, isTermBackup6: Bool, warn: @escaping (String) -> Void) {
    self.options = options
    self.isTermBackup6 = isTermBackup6
    self.warn = warn
  }

  // MARK: Comparing

  /// What has to be done to a file for it to have the metadata of an entry.
  private struct Changes {
    var owner: (user: UInt32, group: UInt32)?
    /// The mode that it has afterwards, and whether it has it now.
    var bits: UInt32 = 0
    var hasBits = true
    var removed: [RawPath] = []
    var set: [ExtendedAttribute] = []
    var time: timespec?
    /// Whether it would gain a privilege.
    var isPrivileged = false

    var isEmpty: Bool { owner == nil && hasBits && removed.isEmpty && set.isEmpty && time == nil }
  }

  /// Whether what is there differs from the entry in what would be set.
  func differs(_ entry: ManifestEntry, from file: Descriptor) throws(Failure) -> Bool {
    try !changes(entry, file, wasThere: true).isEmpty
  }

  /// Whether it differs in what is not given to a file that others may have open: its owner, and
  /// privileges.
  func isReplaced(_ entry: ManifestEntry, _ file: Descriptor) throws(Failure) -> Bool {
    let changes = try changes(entry, file, wasThere: true)
    return changes.owner != nil || changes.isPrivileged
  }

  /// Whether a link differs from the entry.
  func differs(_ entry: ManifestEntry, fromLink facts: stat) -> Bool {
    if isTermBackup6 { return false }
    if let owner = wantedOwner(entry), !has(facts, owner) { return true }
    return wantedTime(entry, facts) != nil
  }

  /// Whether mode and owner of a directory are others than those of the entry.
  func isOpenDifferently(_ entry: ManifestEntry, _ directory: Descriptor) throws(Failure) -> Bool {
    let changes = try changes(entry, directory, wasThere: true)
    return changes.owner != nil || !changes.hasBits
  }

  private func changes(
    _ entry: ManifestEntry, _ file: Descriptor, wasThere: Bool
  ) throws(Failure) -> Changes {
    let facts = try file.status()
    var changes = Changes()
    if let owner = wantedOwner(entry), !has(facts, owner) { changes.owner = owner }
    // A privilege that is there in both is nothing that the backup gives.
    let shared = wasThere && changes.owner == nil ? facts.st_mode & 0o6000 : 0
    changes.bits = entry.mode & (options.setID ? 0o7777 : 0o1777 | shared)
    changes.hasBits = facts.st_mode & 0o7777 == changes.bits
    changes.isPrivileged = changes.bits & 0o6000 & ~facts.st_mode != 0
    if entry.mode & 0o6000 & ~changes.bits != 0 { withhold(entry) }
    let present = try FileFacts.attributes(of: file)
    for attribute in entry.xattrs where !present.contains(attribute) {
      let isPlain = MetadataSetter.isPlain(attribute.name)
      if isPlain || options.setID {
        changes.set.append(attribute)
        if !isPlain { changes.isPrivileged = true }
      } else if attribute.name != Array("security.selinux".utf8) {
        withhold(entry)
      }
    }
    for attribute in present where !entry.xattrs.contains(attribute) {
      if changes.set.contains(where: { $0.name == attribute.name }) { continue }
      let isListed = entry.xattrs.contains { $0.name == attribute.name }
      if MetadataSetter.isRemoved(attribute.name, isListed: isListed) {
        changes.removed.append(RawPath(attribute.name))
      }
    }
    changes.time = wantedTime(entry, facts)
    return changes
  }

  private func withhold(_ entry: ManifestEntry) {
    if withheld == nil { withheld = RawPath(entry.path.isEmpty ? [UInt8(ascii: ".")] : entry.path) }
  }

  // MARK: Attributes

  private static let accessLists = ["access", "default"].map { Array("system.posix_acl_\($0)".utf8) }
  private static let capability = Array("security.capability".utf8)

  /// Whether an attribute gives no more than the owner of a file can give anyway.
  private static func isPlain(_ name: [UInt8]) -> Bool {
    name.starts(with: Array("user.".utf8)) || accessLists.contains(name)
  }

  /// Whether an attribute that is not that of the backup goes: what a person or a directory above has
  /// put there, and not what the system itself has, as labels.
  private static func isRemoved(_ name: [UInt8], isListed: Bool) -> Bool {
    if name == capability { return true }
    return !isListed && (isPlain(name) || name.starts(with: Array("trusted.".utf8)))
  }

  // MARK: Setting

  /// Owner first, because changing it clears set-id bits and capabilities; times last.
  ///
  /// - Parameters:
  ///   - file: open for reading.
  ///   - wasThere: whether it was not made by us: then privileges that it has already stay.
  ///   - name: what messages call it, if not the entry's path.
  func apply(
    _ entry: ManifestEntry, to file: Descriptor, wasThere: Bool, _ extent: Extent = .whole,
    name: RawPath? = nil
  ) throws(Failure) {
    let name = name ?? RawPath(entry.path)
    var changes = try changes(entry, file, wasThere: wasThere)
    let before = try file.status()
    if extent == .whileOpen { changes.bits |= before.st_mode & 0o700 }
    // Nobody gains anything half-way, and we may set attributes meanwhile.
    let own: UInt32 = before.st_mode & S_IFMT == S_IFDIR ? 0o700 : 0o600
    let narrow = before.st_mode & changes.bits & 0o1077 | before.st_mode & 0o700 | own
    let isWork = changes.owner != nil || !changes.set.isEmpty || !changes.removed.isEmpty
    if isWork, narrow != before.st_mode & 0o7777, fchmod(file.number, narrow) != 0 {
      complain("mode", name)
    }
    if let owner = changes.owner, fchown(file.number, owner.user, owner.group) != 0 {
      complain("owner", name)
    }
    for attribute in changes.removed {
      do throws(Failure) {
        try file.removeAttribute(attribute)
      } catch {
        complain("attribute \(attribute.display)", name)
      }
    }
    for attribute in changes.set {
      do throws(Failure) {
        try FileFacts.setAttribute(attribute, of: file)
      } catch {
        complain("attribute \(RawPath(attribute.name).display)", name)
      }
    }
    let facts = try file.status()
    changes.bits = refuseForeign(changes.bits, entry, facts, name)
    if facts.st_mode & 0o7777 != changes.bits, fchmod(file.number, changes.bits) != 0 {
      complain("mode", name)
    }
    if extent == .whole { try applyTime(entry, to: file, name: name) }
  }

  /// Its time alone.
  func applyTime(_ entry: ManifestEntry, to file: Descriptor, name: RawPath) throws(Failure) {
    let facts = try file.status()
    if let time = wantedTime(entry, facts) {
      let times = [timespec(tv_sec: 0, tv_nsec: 0x3fff_ffff /* UTIME_NOW */), time]
      if unsafe futimens(file.number, times) != 0 { complain("time", name) }
    }
  }

  /// The bits without set-id bits that would give the rights of another than in the backup.
  private func refuseForeign(
    _ bits: UInt32, _ entry: ManifestEntry, _ facts: stat, _ name: RawPath
  ) -> UInt32 {
    guard bits & 0o6000 != 0, facts.st_mode & S_IFMT == S_IFREG, let owner = resolvedOwner(entry)
    else { return bits }
    var foreign: UInt32 = 0
    if !has(facts, (owner.user, .max)) { foreign |= 0o4000 }
    if !has(facts, (.max, owner.group)) { foreign |= 0o2000 }
    if bits & foreign != 0 {
      complain("set-id bits", name, because: "the owner is not the one in the backup")
    }
    return bits & ~foreign
  }

  /// Owner and time of a link in a directory of ours, and privileged attributes: it has no others.
  func applyToLink(
    _ entry: ManifestEntry, _ link: RawPath, in directory: Descriptor
  ) throws(Failure) {
    // TermBackup 6 lists the target of a link: its metadata is not the link's.
    if isTermBackup6 { return }
    let name = RawPath(entry.path)
    guard let facts = try directory.statusIfPresent(of: link) else { return }
    try unsafe link.withCString { (text) throws(Failure) in
      if let owner = wantedOwner(entry), !has(facts, owner) {
        let result = unsafe fchownat(
          directory.number, text, owner.user, owner.group, AT_SYMLINK_NOFOLLOW)
        if result != 0 { complain("owner", name) }
      }
      for attribute in entry.xattrs {
        if !MetadataSetter.isPlain(attribute.name), !options.setID {
          if attribute.name != Array("security.selinux".utf8) { withhold(entry) }
          continue
        }
        do throws(Failure) {
          try FileFacts.setAttribute(attribute, of: link, in: directory)
        } catch {
          complain("attribute \(RawPath(attribute.name).display)", name)
        }
      }
      if let time = wantedTime(entry, facts) {
        let times = [timespec(tv_sec: 0, tv_nsec: 0x3fff_ffff /* UTIME_NOW */), time]
        if unsafe utimensat(directory.number, text, times, AT_SYMLINK_NOFOLLOW) != 0 {
          complain("time", name)
        }
      }
    }
  }

  /// The time to set; nil if there is none, or it is so already.
  private func wantedTime(_ entry: ManifestEntry, _ facts: stat) -> timespec? {
    guard let modification = entry.modification else { return nil }
    var (seconds, rest) = modification.quotientAndRemainder(dividingBy: 1_000_000_000)
    if rest < 0 { (seconds, rest) = (seconds - 1, rest + 1_000_000_000) }
    let time = timespec(tv_sec: Int(seconds), tv_nsec: Int(rest))
    let isThere = time.tv_sec == facts.st_mtim.tv_sec && time.tv_nsec == facts.st_mtim.tv_nsec
    return isThere ? nil : time
  }

  // MARK: Owners

  /// The owner that is to be set; nil if none is.
  private func wantedOwner(_ entry: ManifestEntry) -> (user: UInt32, group: UInt32)? {
    isRoot && options.owner ? resolvedOwner(entry) : nil
  }

  /// By name where this system knows it, else by id; the greatest id for what is not listed.
  private func resolvedOwner(_ entry: ManifestEntry) -> (user: UInt32, group: UInt32)? {
    guard entry.uid != nil || entry.gid != nil else { return nil }
    var user = entry.uid ?? .max
    var group = entry.gid ?? .max
    if !options.numericOwner {
      if let name = entry.user, let id = accounts.userID(name) { user = id }
      if let name = entry.group, let id = accounts.groupID(name) { group = id }
    }
    return (user, group)
  }

  private func has(_ facts: stat, _ owner: (user: UInt32, group: UInt32)) -> Bool {
    (owner.user == .max || owner.user == facts.st_uid)
      && (owner.group == .max || owner.group == facts.st_gid)
  }

  // MARK: Complaining

  /// Each kind of trouble is told once: a file system without attributes has none for any file.
  func complain(_ what: String, _ name: RawPath, because given: String? = nil) {
    let reason = unsafe given ?? String(cString: strerror(errno))
    isExact = false
    if warned.insert("\(what)\(reason)").inserted {
      warn("cannot set the \(what) of \(name.display): \(reason) (and maybe of others)")
    }
  }
}

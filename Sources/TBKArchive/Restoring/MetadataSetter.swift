import CSystem
import Glibc
import TBKCore
import TBKFormat

/// How metadata is restored.
package struct MetadataOptions: Sendable {
  /// Owner and group; only root can set them.
  package var owner = true
  /// Use the stored ids, and ignore the names.
  package var numericOwner = false
  /// Metadata that gives privileges: set-user-id and set-group-id bits, and all extended attributes except user
  /// attributes and ACLs.
  package var setID = false

  package init() {}
}

/// Sets the metadata of files and directories to that of a manifest, and removes the rest.
///
/// Works on open descriptors, except for links, which it reaches by name in a directory of ours.
final class MetadataSetter {
  /// How much metadata to set.
  enum Extent {
    case whole
    /// All but the times, and without taking permissions from the owner: entries will still be moved into the
    /// directory.
    case whileOpen
  }

  private let options: MetadataOptions
  private let tree: any ManifestTree
  private let warn: (String) -> Void
  private let accounts = AccountNames()
  private let isRoot = geteuid() == 0
  /// Whether everything that was asked for could be set.
  private(set) var isExact = true
  /// The first path that did not get its privileges from the backup.
  private(set) var withheld: RawPath?
  private var warned: Set<String> = []

  /// - Parameter tree: the tree of the entries.
  init(_ options: MetadataOptions, tree: any ManifestTree, warn: @escaping (String) -> Void) {
    self.options = options
    self.tree = tree
    self.warn = warn
  }

  // MARK: Comparing

  /// The changes that give a file the metadata of an entry.
  private struct Changes {
    var owner: Owner?
    /// The mode to set, and whether the file already has it.
    var bits: UInt32 = 0
    var hasBits = true
    var removed: [RawPath] = []
    var set: [ExtendedAttribute] = []
    var time: FileTime?
    /// Whether the file would gain a privilege.
    var isPrivileged = false
    /// Whether the entry has a value that no file can have, which is reported for each file.
    var isImpossible = false

    var isEmpty: Bool {
      owner == nil && hasBits && removed.isEmpty && set.isEmpty && time == nil && !isImpossible
    }
  }

  /// Whether an existing file needs any change to match the entry.
  func differs(_ entry: ManifestEntry, from file: Descriptor) throws(Failure) -> Bool {
    try !changes(entry, file, wasThere: true).isEmpty
  }

  /// Whether it needs a change that is not made to an existing file, which others may have open: another owner, or a
  /// new privilege.
  func isReplaced(_ entry: ManifestEntry, _ file: Descriptor) throws(Failure) -> Bool {
    let changes = try changes(entry, file, wasThere: true)
    return changes.owner != nil || changes.isPrivileged
  }

  /// Whether a link differs from the entry.
  func differs(_ entry: ManifestEntry, fromLink facts: stat) -> Bool {
    if !tree.listsTypes { return false }
    if let owner = wantedOwner(entry), !has(facts, owner) { return true }
    return wantedTime(entry, facts) != nil || isImpossible(entry)
  }

  /// Whether a directory's mode or owner differs from the entry's.
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
    // A privilege that the file already has is not gained from the backup.
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
    changes.isImpossible = isImpossible(entry)
    return changes
  }

  private func withhold(_ entry: ManifestEntry) {
    if withheld == nil { withheld = RawPath(entry.path.isEmpty ? [UInt8(ascii: ".")] : entry.path) }
  }

  // MARK: Attributes

  private static let accessLists = ["access", "default"].map { Array("system.posix_acl_\($0)".utf8) }
  private static let capability = Array("security.capability".utf8)

  /// Whether the owner of a file may set the attribute anyway.
  private static func isPlain(_ name: [UInt8]) -> Bool {
    name.starts(with: Array("user.".utf8)) || accessLists.contains(name)
  }

  /// Whether to remove an attribute that is not in the backup: yes if a user set it or it was inherited from a
  /// directory, no if the system set it, such as a label.
  private static func isRemoved(_ name: [UInt8], isListed: Bool) -> Bool {
    if name == capability { return true }
    return !isListed && (isPlain(name) || name.starts(with: Array("trusted.".utf8)))
  }

  // MARK: Setting

  /// Sets the owner first, because that clears set-id bits and capabilities, and times last.
  ///
  /// - Parameters:
  ///   - file: open for reading.
  ///   - wasThere: whether the file already existed: then it keeps its privileges.
  ///   - name: its name in messages, if not the entry's path.
  func apply(
    _ entry: ManifestEntry, to file: Descriptor, wasThere: Bool, _ extent: Extent = .whole,
    name: RawPath? = nil
  ) throws(Failure) {
    let name = name ?? RawPath(entry.path)
    var changes = try changes(entry, file, wasThere: wasThere)
    let before = try file.status()
    if extent == .whileOpen { changes.bits |= before.st_mode & 0o700 }
    // No one gains access meanwhile, and we can set attributes.
    let own: UInt32 = before.st_mode & S_IFMT == S_IFDIR ? 0o700 : 0o600
    let narrow = before.st_mode & changes.bits & 0o1077 | before.st_mode & 0o700 | own
    let isWork = changes.owner != nil || !changes.set.isEmpty || !changes.removed.isEmpty
    if isWork, narrow != before.st_mode & 0o7777, fchmod(file.number, narrow) != 0 {
      complain("mode", name)
    }
    complainOfOwner(entry, name)
    if let owner = changes.owner, fchown(file.number, owner.user ?? .max, owner.group ?? .max) != 0 {
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

  /// Sets only the modification time.
  func applyTime(_ entry: ManifestEntry, to file: Descriptor, name: RawPath) throws(Failure) {
    try setTime(
      entry, try file.status(), name, set: { unsafe futimens(file.number, $0) },
      look: { () throws(Failure) in try file.status() })
  }

  /// Sets the time and checks it: a file system that cannot store it silently stores the nearest one it can.
  private func setTime(
    _ entry: ManifestEntry, _ facts: stat, _ name: RawPath, set: ([timespec]) -> Int32,
    look: () throws(Failure) -> stat?
  ) throws(Failure) {
    if hasImpossibleTime(entry) {
      return complain("time", name, because: "the backup has one that no file can have", ofEach: true)
    }
    guard let time = wantedTime(entry, facts) else { return }
    if set([timespec(tv_sec: 0, tv_nsec: 0x3fff_ffff /* UTIME_NOW */), time.ofKernel]) != 0 {
      return complain("time", name)
    }
    if MetadataSetter.plainTimes.contains(time.seconds) { return }
    // Two seconds: the resolution of the coarsest file systems.
    guard let kept = try look().map({ FileTime($0.st_mtim) }), !kept.isWithin(seconds: 2, of: time)
    else { return }
    complain(
      "time", name, because: "this file system keeps \(kept.display) for \(time.display)",
      ofEach: true)
  }

  /// Times that every file system can store: 1980 to 2038.
  private static let plainTimes: ClosedRange<Int64> = 315_619_200...Int64(Int32.max)

  /// The mode without set-id bits that would grant the rights of another owner or group than in the backup.
  private func refuseForeign(
    _ bits: UInt32, _ entry: ManifestEntry, _ facts: stat, _ name: RawPath
  ) -> UInt32 {
    guard bits & 0o6000 != 0, facts.st_mode & S_IFMT == S_IFREG else { return bits }
    let owner = resolvedOwner(entry) ?? Owner()
    // TermBackup 6 listed no owners.
    if !entry.hasType, owner.user == nil, owner.group == nil { return bits }
    var foreign: UInt32 = 0
    if owner.user != facts.st_uid { foreign |= 0o4000 }
    if owner.group != facts.st_gid { foreign |= 0o2000 }
    if bits & foreign != 0 {
      complain("set-id bits", name, because: "the owner is not the one in the backup")
    }
    return bits & ~foreign
  }

  /// Sets owner, time and privileged attributes of a link in a directory of ours. Links have no other metadata.
  func applyToLink(
    _ entry: ManifestEntry, _ link: RawPath, in directory: Descriptor
  ) throws(Failure) {
    // Such a manifest lists the metadata of the link's target.
    if !tree.listsTypes { return }
    let name = RawPath(entry.path)
    guard let facts = try directory.statusIfPresent(of: link) else { return }
    try unsafe link.withCString { (text) throws(Failure) in
      complainOfOwner(entry, name)
      if let owner = wantedOwner(entry), !has(facts, owner) {
        let result = unsafe fchownat(
          directory.number, text, owner.user ?? .max, owner.group ?? .max, AT_SYMLINK_NOFOLLOW)
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
      try setTime(
        entry, facts, name,
        set: { unsafe utimensat(directory.number, text, $0, AT_SYMLINK_NOFOLLOW) },
        look: { () throws(Failure) in try directory.statusIfPresent(of: link) })
    }
  }

  /// The time to set; nil if there is none, or the file already has it.
  private func wantedTime(_ entry: ManifestEntry, _ facts: stat) -> FileTime? {
    guard let time = entry.modification, time != FileTime(facts.st_mtim) else { return nil }
    return time
  }

  /// Entries that no manifest lists have no time (`modifiedAt` is infinite).
  private func hasImpossibleTime(_ entry: ManifestEntry) -> Bool {
    entry.modification == nil && entry.modifiedAt.isFinite
  }

  private func isImpossible(_ entry: ManifestEntry) -> Bool {
    hasImpossibleTime(entry) || hasImpossibleOwner(entry)
  }

  // MARK: Owners

  /// Ids; nil if not listed.
  private struct Owner {
    var user: UInt32?
    var group: UInt32?
  }

  /// The owner to set; nil if none.
  private func wantedOwner(_ entry: ManifestEntry) -> Owner? {
    guard isRoot && options.owner, var owner = resolvedOwner(entry) else { return nil }
    // To chown(2), the greatest id means "no change".
    if owner.user == .max { owner.user = nil }
    if owner.group == .max { owner.group = nil }
    return owner
  }

  /// Whether the owner to set is an id that no file can have.
  private func hasImpossibleOwner(_ entry: ManifestEntry) -> Bool {
    guard isRoot && options.owner, let owner = resolvedOwner(entry) else { return false }
    return owner.user == .max || owner.group == .max
  }

  private func complainOfOwner(_ entry: ManifestEntry, _ name: RawPath) {
    guard hasImpossibleOwner(entry) else { return }
    complain("owner", name, because: "no file can belong to the id \(UInt32.max)", ofEach: true)
  }

  /// By name if this system knows it, otherwise by id.
  private func resolvedOwner(_ entry: ManifestEntry) -> Owner? {
    guard entry.uid != nil || entry.gid != nil else { return nil }
    var owner = Owner(user: entry.uid, group: entry.gid)
    if !options.numericOwner {
      if let name = entry.user, let id = accounts.userID(name) { owner.user = id }
      if let name = entry.group, let id = accounts.groupID(name) { owner.group = id }
    }
    return owner
  }

  private func has(_ facts: stat, _ owner: Owner) -> Bool {
    (owner.user ?? facts.st_uid) == facts.st_uid && (owner.group ?? facts.st_gid) == facts.st_gid
  }

  // MARK: Complaining

  /// Reports each kind of problem once: a file system without attributes lacks them for every file.
  ///
  /// - Parameter ofEach: whether to report it for each file, because it depends on that file's values.
  func complain(
    _ what: String, _ name: RawPath, because given: String? = nil, ofEach: Bool = false
  ) {
    let reason = unsafe given ?? String(cString: strerror(errno))
    isExact = false
    if warned.insert(ofEach ? "\(what)\(reason)\(name.display)" : "\(what)\(reason)").inserted {
      let others = ofEach ? "" : " (and maybe of others)"
      warn("cannot set the \(what) of \(name.display): \(reason)\(others)")
    }
  }
}

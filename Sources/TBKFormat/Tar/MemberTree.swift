import TBKCore

/// Checks the names of a tar's members in any order: no name may appear twice, and nothing may be below something that
/// is not a directory (tbk(5), "Payload").
///
/// A member is rejected before anything of it is used, so that a tar that is passed on or extracted as a stream never
/// contains a link with something below it. Memory: about 40 bytes per name plus its last component.
package struct MemberTree {
  private struct Node {
    var parent: UInt32
    var isMember: Bool
    var isDirectory: Bool
    var length: UInt16
    var text: Int
  }

  private static let root: UInt32 = 0
  private var nodes = [Node(parent: 0, isMember: false, isDirectory: true, length: 0, text: 0)]
  private var texts = ByteArena()
  /// A hash table of nodes by parent and name; 0 for an empty slot.
  private var slots = [UInt32](repeating: 0, count: 64)
  /// The last name, and for each of its directories the end in the name and the node.
  private var last: [UInt8] = []
  private var open: [(end: Int, node: UInt32)] = []

  package init() {}

  /// Adds a name that `EntryName` has checked. Throws `.malformed` if it conflicts with the others.
  package mutating func add(_ name: [UInt8], isDirectory: Bool) throws(Failure) {
    var shared = 0
    while shared < min(last.count, name.count), last[shared] == name[shared] { shared += 1 }
    // A directory is shared only if the slash after it is too.
    while let directory = open.last, directory.end >= shared { open.removeLast() }
    last = name
    var start = open.last.map { $0.end + 1 } ?? 0
    var parent = open.last?.node ?? MemberTree.root
    while let end = name[start...].firstIndex(of: UInt8(ascii: "/")) {
      let node = find(name[start..<end], in: parent) ?? insert(name[start..<end], in: parent)
      guard nodes[Int(node)].isDirectory else {
        throw Failure(
          .malformed, "\(RawPath(name).display) is below something that is not a directory")
      }
      open.append((end, node))
      (parent, start) = (node, end + 1)
    }
    let known = find(name[start...], in: parent)
    let node = Int(known ?? insert(name[start...], in: parent))
    if nodes[node].isMember {
      throw Failure(.malformed, "\(RawPath(name).display) is in the archive twice")
    }
    // Known but not a member: something below it came first.
    if known != nil, !isDirectory {
      throw Failure(.malformed, "\(RawPath(name).display) is not a directory, and something is below it")
    }
    nodes[node].isMember = true
    nodes[node].isDirectory = isDirectory
  }

  private func find(_ name: ArraySlice<UInt8>, in parent: UInt32) -> UInt32? {
    var slot = hash(name, parent)
    while slots[slot] != 0 {
      let node = nodes[Int(slots[slot])]
      if node.parent == parent, Int(node.length) == name.count,
        texts.equals(at: node.text, name)
      {
        return slots[slot]
      }
      slot = (slot + 1) & (slots.count - 1)
    }
    return nil
  }

  /// Inserts a node as a directory, until its own member shows otherwise.
  private mutating func insert(_ name: ArraySlice<UInt8>, in parent: UInt32) -> UInt32 {
    if nodes.count * 2 > slots.count { grow() }
    let node = UInt32(nodes.count)
    nodes.append(
      Node(
        parent: parent, isMember: false, isDirectory: true, length: UInt16(name.count),
        text: texts.append(Array(name))))
    place(node, hash(name, parent))
    return node
  }

  private mutating func place(_ node: UInt32, _ hash: Int) {
    var slot = hash
    while slots[slot] != 0 { slot = (slot + 1) & (slots.count - 1) }
    slots[slot] = node
  }

  private mutating func grow() {
    slots = [UInt32](repeating: 0, count: slots.count * 2)
    for index in nodes.indices.dropFirst() {
      let node = nodes[index]
      place(UInt32(index), hash(texts.bytes(at: node.text, count: Int(node.length))[...], node.parent))
    }
  }

  /// Seeded per process, so that names cannot be chosen to collide.
  private func hash(_ name: ArraySlice<UInt8>, _ parent: UInt32) -> Int {
    var hasher = Hasher()
    hasher.combine(parent)
    unsafe name.withUnsafeBytes { unsafe hasher.combine(bytes: $0) }
    return Int(truncatingIfNeeded: UInt(bitPattern: hasher.finalize())) & (slots.count - 1)
  }
}

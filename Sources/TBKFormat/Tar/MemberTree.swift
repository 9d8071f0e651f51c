import TBKCore

/// The names of a tar's members as they pass: no name twice, and nothing below what is not a
/// directory, in whatever order they come (tbk(5), "Payload").
///
/// What is refused is refused before anything of the member is used, so that a tar that is passed
/// on, or extracted as it comes, never holds a link with something below it. Memory: about 40 bytes
/// a name and the bytes of its last component.
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
  /// Where nodes are, by the hash of their parent and their name; 0 for nothing.
  private var slots = [UInt32](repeating: 0, count: 64)
  /// The directories of the last name: where each ends in it, and its node.
  private var last: [UInt8] = []
  private var open: [(end: Int, node: UInt32)] = []

  package init() {}

  /// Takes a name that `EntryName` has passed. Throws `.malformed` if it cannot be beside the others.
  package mutating func add(_ name: [UInt8], isDirectory: Bool) throws(Failure) {
    var shared = 0
    while shared < min(last.count, name.count), last[shared] == name[shared] { shared += 1 }
    // A directory is the same if the slash after it is.
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
    // Known and no member: something below it came before it.
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

  /// As a directory, until it is said to be something else.
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

  /// Seeded again in each process: names cannot be made to collide.
  private func hash(_ name: ArraySlice<UInt8>, _ parent: UInt32) -> Int {
    var hasher = Hasher()
    hasher.combine(parent)
    unsafe name.withUnsafeBytes { unsafe hasher.combine(bytes: $0) }
    return Int(truncatingIfNeeded: UInt(bitPattern: hasher.finalize())) & (slots.count - 1)
  }
}

/// Takes paths in byte order and finds, for each, the longest earlier path that is a prefix of it.
///
/// Reads each byte once, however deep the paths are: directories are not looked up one by one.
package struct PathNesting {
  /// How a path relates to an earlier one that is its prefix.
  package enum Relation {
    case same
    /// It continues with a slash: it is below the other.
    case below
    /// It continues the last component, like "ab" after "a".
    case beside
  }

  private var previous: [UInt8] = []
  /// The prefixes of the previous path, the path itself last.
  private var prefixes: [(length: Int, index: Int)] = []

  package init() {}

  /// The longest earlier path that is a prefix of this one, or nil.
  ///
  /// A caller that rejects every path below another needs to check only this one: anything above the path through a
  /// shorter prefix is also above the longest one.
  ///
  /// - Parameters:
  ///   - path: not less than the previous one.
  ///   - index: returned later to identify this path.
  package mutating func add(
    _ path: [UInt8], _ index: Int
  ) -> (index: Int, relation: Relation)? {
    var shared = 0
    let end = min(previous.count, path.count)
    while shared < end, previous[shared] == path[shared] { shared += 1 }
    while let last = prefixes.last, last.length > shared { prefixes.removeLast() }
    previous = path
    let nearest = prefixes.last
    if let nearest, nearest.length == path.count { return (nearest.index, .same) }
    prefixes.append((path.count, index))
    return nearest.map { nearest in
      (nearest.index, path[nearest.length] == UInt8(ascii: "/") ? .below : .beside)
    }
  }
}

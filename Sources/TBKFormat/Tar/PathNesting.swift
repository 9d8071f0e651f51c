/// Takes paths in the order of their bytes and tells of each where it stands to those before it.
///
/// One look at each byte, however deep the paths are: directories are not looked up one by one.
package struct PathNesting {
  /// How a path continues after an earlier one that it begins with.
  package enum Relation {
    case same
    /// After a slash: it is below the other.
    case below
    /// Within the last component, as "ab" after "a".
    case beside
  }

  private var previous: [UInt8] = []
  /// The paths that the previous one begins with, itself the last.
  private var prefixes: [(length: Int, index: Int)] = []

  package init() {}

  /// The longest path before this one that it begins with; nil if there is none.
  ///
  /// Whoever refuses a path below another as soon as it comes needs to look at this one alone: what
  /// is above a path by way of a shorter one is above the longest one too.
  ///
  /// - Parameters:
  ///   - path: no less than the one before it.
  ///   - index: what is reported about it later.
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

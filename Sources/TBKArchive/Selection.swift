import TBKCore
import TBKFormat

/// Which entries of a manifest are restored.
struct Selection {
  /// Restored because they match, or are below what matches.
  private var chosen: [Bool]
  /// Needed as well: directories on the way, and the first names of chosen hard links.
  private var needed: [Bool]

  init(_ manifest: Manifest, _ options: RestoreOptions) {
    let files = manifest.files
    guard options.selects else {
      chosen = Array(repeating: true, count: files.count)
      needed = chosen
      return
    }
    chosen = Array(repeating: false, count: files.count)
    let order = files.isSorted() ? nil : files.sortedIndices()
    for index in files.indices {
      let path = files.path(index)
      let isDirectory = files.type(index) == .directory
      let included =
        options.include.isEmpty || Selection.matches(options.include, path, isDirectory)
      chosen[index] = included && !Selection.matches(options.exclude, path, isDirectory)
    }
    needed = chosen
    for index in files.indices where chosen[index] {
      let path = files.path(index)
      var slash = path.lastIndex(of: UInt8(ascii: "/"))
      while let end = slash {
        if let parent = files.find(Array(path[..<end]), order: order) {
          if needed[parent] { break }
          needed[parent] = true
        }
        slash = path[..<end].lastIndex(of: UInt8(ascii: "/"))
      }
    }
    // After the directories: a first name that is only linked to needs no directory in place.
    staged = needed
    for index in files.indices where chosen[index] && files.isHardLink(index) {
      if let first = files[index].hardLink, let target = files.find(first, order: order) {
        staged[target] = true
      }
    }
  }

  private var staged: [Bool] = []

  /// Whether the entry is put in place.
  func wants(_ index: Int) -> Bool { needed[index] }

  /// Whether the entry is extracted, if only to be linked to.
  func staged(_ index: Int) -> Bool { staged.isEmpty || staged[index] }

  /// The patterns that match no entry and no directory above one. What only takes back is none.
  static func unmatched(_ patterns: [[UInt8]], _ manifest: Manifest) -> [[UInt8]] {
    let files = manifest.files
    return patterns.filter { pattern in
      var rules = IgnoreRules()
      rules.add(pattern: pattern)
      if rules.isEmpty || pattern.first == UInt8(ascii: "!") { return false }
      return !files.indices.contains {
        matches(rules, files.path($0), files.type($0) == .directory)
      }
    }
  }

  /// Whether a rule matches the path or a directory above it.
  private static func matches(_ rules: IgnoreRules, _ path: [UInt8], _ isDirectory: Bool) -> Bool {
    if rules.isEmpty { return false }
    for index in path.indices where path[index] == UInt8(ascii: "/") {
      let above = path[..<index]
      if rules.excludes(Array(above).span, isDirectory: true) { return true }
    }
    return rules.excludes(path.span, isDirectory: isDirectory)
  }
}

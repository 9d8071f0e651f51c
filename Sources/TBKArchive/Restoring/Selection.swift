import TBKCore
import TBKFormat

/// Which entries of a manifest are restored.
struct Selection {
  /// Entries that match, or are below one that matches.
  private var chosen: [Bool]
  /// The chosen entries and the directories above them.
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
      chosen[index] = Selection.chooses(
        path, isDirectory: files.type(index) == .directory, options)
    }
    if let sample = options.sample {
      // Count a hard-linked file only once.
      let all = chosen
      let matching = files.indices.filter { all[$0] && files.type($0) != .directory && !files.isHardLink($0) }
      chosen = Array(repeating: false, count: files.count)
      for index in sample.taken(of: matching) { chosen[index] = true }
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
    // After the directories: a first name that is only a link target needs none.
    staged = needed
    for index in files.indices where chosen[index] && files.isHardLink(index) {
      if let first = files[index].hardLink, let target = files.find(first, order: order) {
        staged[target] = true
      }
    }
  }

  private var staged: [Bool] = []

  /// Whether the entry is restored.
  func wants(_ index: Int) -> Bool { needed[index] }

  /// Whether the entry is extracted, if only to be linked to.
  func staged(_ index: Int) -> Bool { staged.isEmpty || staged[index] }

  /// The patterns that match no entry and no directory above one. Ignores negated patterns ("!").
  static func unmatched(_ patterns: [[UInt8]], _ manifest: Manifest) -> [[UInt8]] {
    let files = manifest.files
    return patterns.filter { pattern in
      var rules = IgnoreRules()
      rules.add(pattern: pattern)
      if rules.isEmpty || pattern.first == UInt8(ascii: "!") { return false }
      return !files.indices.contains {
        rules.excludesPart(of: files.path($0), isDirectory: files.type($0) == .directory)
      }
    }
  }

  /// Whether the patterns choose a path.
  static func chooses(_ path: [UInt8], isDirectory: Bool, _ options: RestoreOptions) -> Bool {
    let isIncluded =
      options.include.isEmpty || options.include.excludesPart(of: path, isDirectory: isDirectory)
    return isIncluded && !options.exclude.excludesPart(of: path, isDirectory: isDirectory)
  }
}

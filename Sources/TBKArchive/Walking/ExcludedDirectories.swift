import Glibc
import TBKCore
import TBKFormat

/// Finds excluded directories that contain something that is not excluded, as pathspec patterns allow: they are backed
/// up as parents of it. Other excluded directories leave no trace.
///
/// A directory's entry comes before its content, so the names are read in advance, once for a whole excluded tree.
struct ExcludedDirectories {
  private let options: WalkOptions
  /// The roots of the trees that have been searched.
  private var surveyed: Set<[UInt8]> = []
  /// The excluded directories in them that are needed.
  private var needed: Set<[UInt8]> = []
  private var device: UInt64 = 0

  init(_ options: WalkOptions) { self.options = options }

  /// Whether an excluded directory, whose content is not all excluded, is needed. An unreadable one is needed, so that
  /// the walk reports it.
  ///
  /// - Parameter device: of the root.
  mutating func holdsIncluded(
    _ name: RawPath, in directory: Descriptor, path: [UInt8], device: UInt64
  ) throws(Failure) -> Bool {
    self.device = device
    let isKnown = path.indices.contains {
      path[$0] == UInt8(ascii: "/") && surveyed.contains(Array(path[..<$0]))
    }
    if !isKnown {
      surveyed.insert(path)
      if try survey(name, in: directory, path: path) { needed.insert(path) }
    }
    return needed.contains(path)
  }

  /// Searches a directory. Returns whether it contains something that is not excluded.
  private mutating func survey(
    _ name: RawPath, in parent: Descriptor, path: [UInt8]
  ) throws(Failure) -> Bool {
    try Interruption.check()
    do throws(Failure) {
      guard let directory = try parent.openIfPresent(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
      else { return false }
      if options.oneFileSystem, UInt64(try directory.status().st_dev) != device { return false }
      var names = try directory.names()
      if options.excludesCaches, try CacheTag.marks(directory, names) {
        names.removeAll { $0.name != CacheTag.name }
      }
      var found = false
      for (name, type) in names {
        let path = path + [UInt8(ascii: "/")] + name.bytes
        var isDirectory = type == UInt8(DT_DIR)
        if type == UInt8(DT_UNKNOWN), let facts = try directory.statusIfPresent(of: name) {
          isDirectory = FileFacts.type(ofMode: facts.st_mode) == .directory
        }
        let isExcluded = options.rules.excludes(path.span, isDirectory: isDirectory)
        if !isExcluded { found = true }
        guard isDirectory, !options.rules.excludesAllBelow(path.span) else { continue }
        if try survey(name, in: directory, path: path), isExcluded {
          needed.insert(path)
          found = true
        }
      }
      return found
    } catch {
      if error.isOfProcess { throw error }
      return true
    }
  }
}

import TBKCore

/// An index of the versions of all paths in many backups, which `tbk-open --find` searches and keeps between runs. Two
/// entries of a path are the same version if they have the same content.
package struct VersionIndex {
  package struct Version {
    package let path: [UInt8]
    package let type: EntryType
    /// In bytes.
    package let size: UInt64
    /// The hash of a file.
    package let sha256: Digest?
    /// The target of a symbolic link; otherwise empty.
    package let target: [UInt8]
    /// The modification time in the first backup that has it, in seconds since 1970.
    package let modifiedAt: Int64
    /// The backups that have it, as closed ranges of their numbers.
    fileprivate var runs: [(first: Int, last: Int)]

    fileprivate mutating func add(_ number: Int) {
      if let last = runs.last, last.last == number - 1 {
        runs[runs.count - 1].last = number
      } else if runs.last?.last != number {
        runs.append((number, number))
      }
    }
  }

  /// The ids of the backups, by their numbers.
  package private(set) var backups: [String] = []
  /// Sorted by path, as raw bytes.
  private var versions: [Version] = []

  package init() {}

  /// The ids of the backups that have a version, in the order in which they were added.
  package func backups(of version: Version) -> [String] {
    version.runs.flatMap { backups[$0.first...$0.last] }
  }

  /// The versions whose paths match a gitignore(5) pattern, sorted by path.
  package func matching(_ pattern: [UInt8]) -> [Version] {
    var rules = IgnoreRules()
    rules.add(pattern: pattern)
    return versions.filter { rules.excludes($0.path.span, isDirectory: $0.type == .directory) }
  }

  // MARK: Backups

  /// Adds the entries of a backup.
  package mutating func add(_ manifest: Manifest, id: String) {
    let files = manifest.files
    let number = backups.count
    backups.append(id)
    let order = files.isSorted() ? nil : files.sortedIndices()
    var fresh: [(place: Int, version: Version)] = []
    var place = 0
    for position in files.indices {
      let index = order.map { Int($0[position]) } ?? position
      while place < versions.count, files.compare(index, versions[place].path) > 0 { place += 1 }
      var candidate = place
      var isKnown = false
      while !isKnown, candidate < versions.count, files.compare(index, versions[candidate].path) == 0 {
        isKnown = isSame(versions[candidate], files, index)
        if isKnown { versions[candidate].add(number) } else { candidate += 1 }
      }
      if !isKnown { fresh.append((candidate, VersionIndex.version(files[index], number))) }
    }
    insert(fresh)
  }

  private func isSame(_ version: Version, _ files: EntryTable, _ index: Int) -> Bool {
    guard version.type == files.type(index), version.size == files.size(index) else { return false }
    switch version.type {
    case .directory: return true
    case .file: return files.sha256(index) == version.sha256
    case .symlink: return files[index].linkTarget ?? [] == version.target
    }
  }

  private static func version(_ entry: ManifestEntry, _ number: Int) -> Version {
    Version(
      path: entry.path, type: entry.type, size: entry.size, sha256: entry.type == .file ? entry.sha256 : nil,
      target: entry.linkTarget ?? [], modifiedAt: entry.modification?.seconds ?? 0, runs: [(number, number)])
  }

  private mutating func insert(_ fresh: [(place: Int, version: Version)]) {
    if fresh.isEmpty { return }
    var merged: [Version] = []
    merged.reserveCapacity(versions.count + fresh.count)
    var done = 0
    for (place, version) in fresh {
      merged += versions[done..<place]
      done = place
      merged.append(version)
    }
    merged += versions[done...]
    versions = merged
  }

  /// Drops all other backups.
  package mutating func keep(_ ids: Set<String>) {
    if backups.allSatisfy({ ids.contains($0) }) { return }
    var numbers: [Int?] = []
    var kept: [String] = []
    for id in backups {
      numbers.append(ids.contains(id) ? kept.count : nil)
      if ids.contains(id) { kept.append(id) }
    }
    backups = kept
    versions = versions.compactMap { version in
      var version = version
      let runs = version.runs
      version.runs = []
      for run in runs {
        for number in run.first...run.last {
          if let number = numbers[number] { version.add(number) }
        }
      }
      return version.runs.isEmpty ? nil : version
    }
  }

  // MARK: Bytes

  private static let magic = Array("termbackup versions 1".utf8)

  /// The stored index: records of tab-separated fields, each ended by a NUL, which no name contains.
  package var bytes: [UInt8] {
    var text = VersionIndex.magic + [0]
    text += Array("\(backups.count)".utf8) + [0]
    for id in backups { text += Array(id.utf8) + [0] }
    for version in versions {
      let runs = version.runs.map { $0.first == $0.last ? "\($0.first)" : "\($0.first)-\($0.last)" }
      let content = version.sha256?.hex ?? version.target.hex
      text += Array(
        "\(version.type.rawValue)\t\(version.size)\t\(version.modifiedAt)\t\(content)\t\(runs.joined(separator: ","))\t"
          .utf8)
      text += version.path
      text.append(0)
    }
    return text
  }

  /// Parses a stored index. Throws `.malformed`.
  package init(parsing bytes: [UInt8]) throws(Failure) {
    let broken = Failure(.malformed, "the index of versions is damaged")
    var start = 0
    func next() -> ArraySlice<UInt8>? {
      guard start < bytes.count, let end = bytes[start...].firstIndex(of: 0) else { return nil }
      defer { start = end + 1 }
      return bytes[start..<end]
    }
    func number(_ text: ArraySlice<UInt8>) -> Int? { Int(String(decoding: text, as: UTF8.self)) }
    guard let magic = next(), magic.elementsEqual(VersionIndex.magic), let line = next(),
      let count = number(line), (0...1_000_000).contains(count)
    else { throw broken }
    for _ in 0..<count {
      guard let id = next(), id.count == 64 else { throw broken }
      backups.append(String(decoding: id, as: UTF8.self))
    }
    while let record = next() {
      let fields = record.split(separator: 9, maxSplits: 5, omittingEmptySubsequences: false)
      guard fields.count == 6, let type = EntryType(Array(fields[0])),
        let size = UInt64(String(decoding: fields[1], as: UTF8.self)),
        let time = Int64(String(decoding: fields[2], as: UTF8.self)),
        let content = [UInt8](hex: String(decoding: fields[3], as: UTF8.self)),
        type != .file || content.isEmpty || content.count == 32
      else { throw broken }
      var runs: [(first: Int, last: Int)] = []
      for run in fields[4].split(separator: UInt8(ascii: ",")) {
        let ends = run.split(separator: UInt8(ascii: "-")).map { number($0) }
        guard let first = ends.first ?? nil, let last = ends.last ?? nil, ends.count < 3, first >= 0,
          first <= last, last < count, first > runs.last?.last ?? -1
        else { throw broken }
        runs.append((first, last))
      }
      let path = Array(fields[5])
      if let before = versions.last?.path, path.lexicographicallyPrecedes(before) { throw broken }
      guard !runs.isEmpty, !path.isEmpty else { throw broken }
      versions.append(
        Version(
          path: path, type: type, size: size, sha256: type == .file ? Digest(content.span) : nil,
          target: type == .file ? [] : content, modifiedAt: time, runs: runs))
    }
    guard start == bytes.count else { throw broken }
  }
}

// The names of entries in the tar that differ from their paths: `stored_as`.

import TBKCore

extension Manifest {
  /// Whether a path is the manifest's name in the tar, or below it.
  package static func isReserved(_ path: [UInt8]) -> Bool {
    path.starts(with: fileName)
      && (path.count == fileName.count || path[fileName.count] == UInt8(ascii: "/"))
  }

  /// Checks the tar names of one of our manifests, which is sorted. Throws `.malformed`.
  ///
  /// A member must be in the same directory as its entry, because restoring moves directories unchanged. Only
  /// "manifest.json" in the root is renamed, with everything below it.
  func checkStoredNames() throws(Failure) {
    var tildes: Int?
    var isRenamed = false
    for index in files.indices where files.isRare(index) {
      let entry = files[index]
      guard let name = entry.storedAs else { continue }
      guard files.find(name) == nil else { throw taken(entry.path) }
      if Manifest.isReserved(entry.path) {
        let count = name.dropFirst(Manifest.fileName.count).prefix { $0 == UInt8(ascii: "~") }.count
        guard name.starts(with: Manifest.fileName), count > 0, count == tildes ?? count else {
          throw astray(entry.path)
        }
        tildes = count
        let rest = Array(name[(Manifest.fileName.count + count)...])
        let path = Array(entry.path[Manifest.fileName.count...])
        guard rest == path || entry.type == .file && !path.isEmpty && parent(rest) == parent(path)
        else { throw astray(entry.path) }
      } else {
        guard entry.type == .file, parent(name) == parent(entry.path), name != Manifest.fileName
        else { throw astray(entry.path) }
      }
      isRenamed = true
    }
    guard isRenamed else { return }
    var tree = MemberTree()
    for index in files.indices {
      if index % 1024 == 0 { try Interruption.check() }
      let isDirectory = files.type(index) == .directory
      let path = files.path(index)
      let storedAs = files.isRare(index) ? files[index].storedAs : nil
      if tildes != nil, storedAs == nil, Manifest.isReserved(path) { throw astray(path) }
      do throws(Failure) {
        try tree.add(storedAs ?? path, isDirectory: isDirectory)
      } catch {
        throw taken(path)
      }
    }
  }

  /// Checks that no entry in the tar has the name of the manifest, or is below it. Throws `.malformed`.
  ///
  /// Not part of `validate()`: before an archive is written, entries have only their paths.
  package func refuseUnnamed() throws(Failure) {
    let below = files.firstIndex(from: Manifest.fileName + [UInt8(ascii: "/")])
    for index in [files.find(Manifest.fileName), below] {
      guard let index, index < files.count, files[index].storedAs == nil else { continue }
      let path = files.path(index)
      if Manifest.isReserved(path) { throw astray(path) }
    }
  }

  private func taken(_ path: [UInt8]) -> Failure {
    Failure(.malformed, "\(RawPath(path).display) is stored under a name that is taken")
  }

  private func astray(_ path: [UInt8]) -> Failure {
    Failure(.malformed, "\(RawPath(path).display) is stored under a name that it cannot have")
  }
}

/// The parent directory of a path; empty for the root.
private func parent(_ path: [UInt8]) -> ArraySlice<UInt8> {
  path[..<(path.lastIndex(of: UInt8(ascii: "/")) ?? 0)]
}

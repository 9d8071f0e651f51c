import Glibc
import TBKCore

/// Opens files below a root component by component, without following links. Keeps the directories of the last path
/// open: in manifest order the next file is usually a sibling.
package final class DirectoryChain {
  /// What to do about a component that does not exist.
  package enum Missing {
    case fail
    /// Creates missing directories with this mode less the umask. Only below a directory that no one else can write to,
    /// because the new directory is opened by name.
    case create(mode: UInt32)
  }

  private let root: Descriptor
  private let missing: Missing
  /// Called with a directory that may not be opened, and its path; returns whether to try again.
  private let relent: (Descriptor, RawPath, [UInt8]) throws(Failure) -> Bool
  private var names: [ArraySlice<UInt8>] = []
  private var open: [Descriptor] = []

  package init(
    root: Descriptor, missing: Missing = .fail,
    relent: @escaping (Descriptor, RawPath, [UInt8]) throws(Failure) -> Bool = { _, _, _ in false }
  ) {
    self.root = root
    self.missing = missing
    self.relent = relent
  }

  /// The directory that holds the last component of `path`, and that component.
  ///
  /// Throws `.inputMissing` for a component that does not exist, `.malformed` for one that is not a directory, such as
  /// a link.
  package func parent(of path: [UInt8]) throws(Failure) -> (directory: Descriptor, name: RawPath) {
    let components = path.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    guard let name = components.last else { throw Failure(.malformed, "an empty path") }
    let directory = try descend(components.dropLast(), whole: path)
    return (directory, RawPath(Array(name)))
  }

  /// The directory `path` itself; the root if it is empty.
  package func directory(_ path: [UInt8]) throws(Failure) -> Descriptor {
    if path.isEmpty { return root }
    let components = path.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    return try descend(components[...], whole: path)
  }

  /// Closes the open directories, because they may have moved.
  package func forget() {
    names.removeAll()
    open.removeAll()
  }

  private func openExisting(
    _ name: RawPath, in parent: Descriptor, _ path: ArraySlice<ArraySlice<UInt8>>
  ) throws(Failure) -> Descriptor? {
    let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW
    do throws(Failure) {
      return try parent.openIfPresent(name, flags)
    } catch {
      let number = errno
      if error.code == .denied,
        try relent(parent, name, Array(path.joined(separator: [UInt8(ascii: "/")])))
      {
        return try parent.openIfPresent(name, flags)
      }
      errno = number
      throw error
    }
  }

  private func descend(
    _ components: ArraySlice<ArraySlice<UInt8>>, whole: [UInt8]
  ) throws(Failure) -> Descriptor {
    var depth = 0
    for component in components {
      if depth < names.count, names[depth] == component {
        depth += 1
        continue
      }
      names.removeSubrange(depth...)
      open.removeSubrange(depth...)
      let parent = open.last ?? root
      let name = RawPath(Array(component))
      let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW
      do throws(Failure) {
        if let directory = try openExisting(name, in: parent, components.prefix(depth + 1)) {
          open.append(directory)
        } else if case .create(let mode) = missing {
          try parent.makeDirectory(name, mode: mode)
          open.append(try parent.open(name, flags))
        } else {
          throw Failure(.inputMissing, "no such directory")
        }
      } catch {
        // ELOOP or ENOTDIR: the name is a link or a file.
        if errno == ELOOP || errno == ENOTDIR, !error.isOfProcess {
          throw Failure(
            .malformed, "\(RawPath(whole).display): \(name.display) is not a directory")
        }
        throw error.within(RawPath(whole).display)
      }
      names.append(component)
      depth += 1
    }
    names.removeSubrange(depth...)
    open.removeSubrange(depth...)
    return open.last ?? root
  }
}

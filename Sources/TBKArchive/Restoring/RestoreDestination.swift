import Glibc
import TBKCore

/// The directory that is extracted into: made if it does not exist, closed to others, and removed again
/// on failure.
package final class RestoreDestination {
  package let directory: Descriptor
  package let isNew: Bool
  private let parent: Descriptor
  private let name: RawPath
  private var kept = false

  /// - Parameter path: from the working directory. Throws `.cannotCreate` where it cannot be opened or made.
  package init(_ path: RawPath) throws(Failure) {
    var bytes = path.bytes
    while bytes.count > 1, bytes.last == UInt8(ascii: "/") { bytes.removeLast() }
    let trimmed = RawPath(bytes)
    name = trimmed.lastComponent
    let flags = O_RDONLY | O_DIRECTORY
    do throws(Failure) {
      if let there = try Descriptor.workingDirectory.openIfPresent(path, flags) {
        (directory, parent, isNew) = (there, there, false)
        return
      }
      parent = try Descriptor.workingDirectory.open(trimmed.parent, flags)
      do throws(Failure) {
        directory = try PrivateDirectory(making: name, in: parent).directory
      } catch {
        throw Failure(error.code, "cannot create the directory \(path.display): \(error.reason)", hint: error.hint)
      }
      isNew = true
    } catch {
      // A file stands there, or it is not ours: it is not the input that is missing, nor a password.
      let isRefused = error.code == .inputMissing || error.code == .denied
      throw isRefused ? Failure(.cannotCreate, error.message) : error
    }
  }

  deinit {
    if isNew, !kept { _ = try? parent.unlink(name, directory: true) }
  }

  /// What was extracted is whole: the directory stays.
  package func keep() { kept = true }
}

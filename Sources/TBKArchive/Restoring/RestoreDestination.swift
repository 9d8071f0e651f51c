import Glibc
import TBKCore

/// The directory to extract into: created if it does not exist, closed to others, and removed again on failure.
package final class RestoreDestination {
  package let directory: Descriptor
  package let isNew: Bool
  private let parent: Descriptor
  private let name: RawPath
  private var kept = false

  /// - Parameter path: relative to the working directory. Throws `.cannotCreate` if it cannot be opened or created.
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
      // The output cannot be created: neither missing input nor denied access is the right code.
      let isRefused = error.code == .inputMissing || error.code == .denied
      throw isRefused ? Failure(.cannotCreate, error.message) : error
    }
  }

  deinit {
    if isNew, !kept { _ = try? parent.unlink(name, directory: true) }
  }

  /// Extraction succeeded: keep the directory.
  package func keep() { kept = true }
}

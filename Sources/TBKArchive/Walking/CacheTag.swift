import Glibc
import TBKCore

/// The file that marks a directory as a cache (bford.info/cachedir).
package enum CacheTag {
  package static let name = RawPath("CACHEDIR.TAG")
  private static let signature = Array("Signature: 8a477f597d28d172789f06886806bc55".utf8)

  /// Whether a directory with these names has a valid tag.
  package static func marks(
    _ directory: Descriptor, _ names: [(name: RawPath, type: UInt8)]
  ) throws(Failure) -> Bool {
    if names.contains(where: { $0.name == name }) { return try marks(directory) }
    return false
  }

  /// Whether `directory` has a valid tag; an unreadable one does not count.
  package static func marks(_ directory: Descriptor) throws(Failure) -> Bool {
    do throws(Failure) {
      let tag = try directory.open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
      return try DescriptorSource(tag).read(upTo: signature.count) == signature
    } catch {
      if error.isOfProcess { throw error }
      return false
    }
  }
}

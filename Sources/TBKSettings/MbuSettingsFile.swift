import TBKCore
import TBKFormat

extension MbuSettings {
  /// Reads a `config.toml`. Throws `.configuration` if it is invalid.
  package init(reading file: Descriptor, _ path: RawPath, needsKey: Bool = true) throws(Failure) {
    let bytes: [UInt8]
    do throws(Failure) {
      bytes = try DescriptorSource(file, name: path).readAll(
        limit: TOML.maximumLength, what: path.display)
    } catch {
      throw error.code == .malformed ? Failure(.configuration, error.message) : error
    }
    try self.init(bytes, place: path.display, needsKey: needsKey)
  }
}

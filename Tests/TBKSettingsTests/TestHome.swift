import Glibc
import TBKCore
import TBKFormat

@testable import TBKSettings

/// A home that is removed with the test.
final class TestHome {
  let home: Home

  init() throws {
    home = try Home(RawPath("/tmp/tbk-settings-\(uniqueSuffix())"))
  }

  deinit {
    guard let top = try? home.open() else { return }
    for (name, type) in (try? top.names()) ?? [] {
      _ = try? top.unlink(name, directory: type == UInt8(DT_DIR))
    }
    _ = try? Descriptor.workingDirectory.unlink(home.path, directory: true)
  }

  /// Writes this text to config.json.
  func configure(_ text: String, mode: UInt32 = 0o600) throws {
    _ = try home.make()
    let file = try home.open().open(
      RawPath("config.json"), O_WRONLY | O_CREAT | O_TRUNC, mode: mode)
    try file.write(Array(text.utf8).span)
    _ = fchmod(file.number, mode)
  }

  /// The names in it, sorted; nil if it does not exist.
  var names: [String]? {
    (try? home.open().names()).map { $0.map(\.name.text).sorted() }
  }
}

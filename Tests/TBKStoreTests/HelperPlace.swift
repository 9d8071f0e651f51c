import Glibc
import TBKCore

@testable import TBKStore

/// A new, empty directory behind rclone, accessed through the helper in this checkout.
final class HelperPlace: StorePlace {
  /// Whether rclone is installed; with CI=true, fails if it is not.
  static let canRun: Bool = {
    // `make check` leaves this to `make test`: rclone is started for each step.
    if environment("TERMBACKUP_QUICK") != nil { return false }
    if shell("command -v rclone >/dev/null") != 0 {
      if environment("CI") != Array("true".utf8) {
        print("skipped: the rclone store needs rclone")
        return false
      }
    }
    let bin = RawPath(#filePath).parent.parent.parent.appending("bin").text
    let path = environment("PATH").map { String(decoding: $0, as: UTF8.self) } ?? "/usr/bin:/bin"
    // Set once, before any helper is searched for.
    unsafe setenv("PATH", "\(bin):\(path)", 1)
    unsafe setenv("RCLONE_CONFIG", "/dev/null", 1)
    return true
  }()

  let scratch: Scratch
  let path: RawPath

  init() throws {
    scratch = try Scratch()
    path = try scratch.makeDirectory("store")
  }

  func open() throws(Failure) -> any Store {
    guard case .helper(let helper) = try StoreAddress(RawPath("rclone::local:\(path.text)")) else {
      throw Failure(.library, "no address of a helper")
    }
    return try HelperStore(helper, StoreContext(userAgent: "termbackup/test", maximumWait: 120))
  }
}

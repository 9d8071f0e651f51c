import FuzzedParsers
import Glibc

/// The parser named in PARSER.
private let parser: FuzzedParser = {
  let name = unsafe getenv("PARSER").map { unsafe String(cString: $0) } ?? ""
  guard let parser = FuzzedParser(rawValue: name) else {
    let names = FuzzedParser.allCases.map(\.rawValue).joined(separator: " ")
    let message = Array("fuzz: PARSER must be one of: \(names)\n".utf8)
    _ = unsafe write(STDERR_FILENO, message, message.count)
    exit(64)
  }
  return parser
}()

/// Called by libFuzzer with each input: https://llvm.org/docs/LibFuzzer.html.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let bytes = unsafe [UInt8](UnsafeBufferPointer(start: start, count: count))
  // An abort reports a fault to libFuzzer, which then saves the input.
  if let fault = parser.fault(in: bytes) { fatalError(fault) }
  return 0
}

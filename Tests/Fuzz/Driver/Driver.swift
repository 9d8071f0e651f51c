import FuzzedParsers
import Glibc

/// The parser that PARSER names.
private let parser: FuzzedParser = {
  let name = unsafe getenv("PARSER").map { unsafe String(cString: $0) } ?? ""
  guard let parser = FuzzedParser(rawValue: name) else {
    fatalError("PARSER is one of \(FuzzedParser.allCases.map(\.rawValue).joined(separator: " "))")
  }
  return parser
}()

/// What libFuzzer calls with each input: https://llvm.org/docs/LibFuzzer.html.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let bytes = unsafe [UInt8](UnsafeBufferPointer(start: start, count: count))
  if let fault = parser.fault(in: bytes) { fatalError(fault) }
  return 0
}

import Glibc
import TBKCore
import Testing

@testable import TBKArchive

/// Small files that separate threads write to a staging directory.
struct StagedFilesTests {
  private let tree: TestTree
  private let destination: Descriptor

  init() throws {
    tree = try TestTree()
    destination = try Descriptor.workingDirectory.open(tree.path, O_RDONLY | O_DIRECTORY)
  }

  private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

  private func read(_ path: String, in staging: Staging) throws -> [UInt8] {
    let file = try staging.directory.open(RawPath(path), O_RDONLY)
    return try DescriptorSource(file).readAll(limit: 1 << 20, what: path)
  }

  @Test func allAreThereWhenItHasSettled() throws {
    let staging = try Staging(in: destination)
    for number in 0..<500 {
      try staging.write(bytes("d\(number % 7)/e/\(number)"), bytes(String(repeating: "\(number)\n", count: number)))
    }
    try staging.settle()
    for number in 0..<500 {
      #expect(
        try read("d\(number % 7)/e/\(number)", in: staging)
          == bytes(String(repeating: "\(number)\n", count: number)))
    }
  }

  @Test func aHardLinkFindsTheFileThatWasJustGiven() throws {
    let staging = try Staging(in: destination)
    for number in 0..<200 {
      try staging.write(bytes("f\(number)"), bytes("content"))
      try staging.makeHardLink(bytes("l\(number)"), to: bytes("f\(number)"))
    }
    #expect(try read("l199", in: staging) == bytes("content"))
  }

  @Test func aNameThatIsGivenTwiceIsNoticed() throws {
    let staging = try Staging(in: destination)
    let found = failure { () throws(Failure) in
      try staging.write(bytes("a"), bytes("1"))
      try staging.write(bytes("a"), bytes("2"))
      for number in 0..<100 { try staging.write(bytes("b\(number)"), []) }
      try staging.settle()
    }
    #expect(found?.code == .malformed && found?.message.contains("twice") == true)
  }

  @Test func aFailureIsNamedAtTheEndAtTheLatest() throws {
    let staging = try Staging(in: destination)
    try staging.write(bytes("d/file"), bytes("1"))
    try staging.settle()
    // A file cannot be created below another file.
    #expect(failure { () throws(Failure) in try staging.write(bytes("d/file/below"), []) }?.code == .malformed)
    try staging.write([UInt8](repeating: 0x61, count: 255) + bytes("b"), bytes("too long a name"))
    #expect(failure { () throws(Failure) in try staging.settle() } != nil)
  }

  @Test func whatIsDroppedLeavesNothing() throws {
    for _ in 0..<20 {
      let staging = try Staging(in: destination)
      for number in 0..<50 { try staging.write(bytes("d/\(number)"), bytes("x")) }
      staging.discard()
      #expect(try destination.names().isEmpty)
    }
  }
}

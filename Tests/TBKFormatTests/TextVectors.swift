import Glibc
import TBKCore
import Testing

/// The folder of vectors with this name.
func vectorFolder(_ name: String) throws(Failure) -> Descriptor {
  let path = RawPath(#filePath).parent.parent.appending("Vectors").appending(name)
  return try Descriptor.workingDirectory.open(path, O_RDONLY | O_DIRECTORY)
}

/// The names, without `ending`, of the files in a folder of vectors that end in it; fails if there are none.
func vectorNames(_ folder: Descriptor, _ ending: String) throws -> [String] {
  let names = try folder.names().map(\.name.text).filter { $0.hasSuffix(ending) }
  try #require(!names.isEmpty, "there are no vectors that end in \(ending)")
  return names.map { String($0.dropLast(ending.count)) }.sorted()
}

func vector(_ name: String, in folder: Descriptor) throws(Failure) -> [UInt8] {
  try readFile(RawPath(name), in: folder, limit: 1 << 26)
}

func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

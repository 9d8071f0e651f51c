import Glibc
import TBKCore
import TBKCrypto
import Testing

/// One block of a file in `Tests/Vectors/crypto`.
struct VectorBlock {
  let fields: [String: String]

  func bytes(_ key: String) throws -> [UInt8] {
    let text = try #require(fields[key], "\(key) is missing")
    return try #require([UInt8](hex: text), "\(key) is not hex")
  }

  func number(_ key: String) throws -> UInt32 { try #require(UInt32(fields[key] ?? "")) }
}

/// All files in `Tests/Vectors/crypto`, by name; fails if there are none.
func cryptoVectors() throws -> [String: [VectorBlock]] {
  let folder = RawPath(#filePath).parent.parent.appending("Vectors/crypto")
  let directory = try Descriptor.workingDirectory.open(folder, O_RDONLY | O_DIRECTORY)
  var files: [String: [VectorBlock]] = [:]
  for (name, _) in try directory.names() where name.text.hasSuffix(".txt") {
    let text = String(decoding: try readFile(name, in: directory, limit: 1 << 24), as: UTF8.self)
    var blocks: [VectorBlock] = []
    var fields: [String: String] = [:]
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    for line in lines + [""] {
      if line.hasPrefix("#") { continue }
      if line.isEmpty {
        if !fields.isEmpty { blocks.append(VectorBlock(fields: fields)) }
        fields = [:]
        continue
      }
      let parts = line.split(separator: " = ", maxSplits: 1, omittingEmptySubsequences: false)
      let key = String(parts[0].hasSuffix(" =") ? parts[0].dropLast(2) : parts[0])
      fields[key] = parts.count > 1 ? String(parts[1]) : ""
    }
    files[name.text] = blocks
  }
  try #require(!files.isEmpty, "no vectors in \(folder.text)")
  return files
}

func secret(_ bytes: [UInt8]) throws(Failure) -> Secret { try Secret(copying: bytes.span) }

extension Secret {
  var bytes: [UInt8] { withBytes { Array($0) } }
}

import TBKCore
import TBKFormat
import Testing

@testable import TBKArchive

@Suite struct ManifestTextTests {
  private func manifest() throws -> Manifest {
    var manifest = Manifest(
      osName: "Linux", architecture: "x86_64", createdAt: "2026-01-02T03:04:05.000006+00:00", mode: "full")
    manifest.nonce = String(repeating: "0", count: 32)
    manifest.unreadable = []
    for number in 100..<200 {
      manifest.files.append(
        ManifestEntry(
          path: Array("file \(number)".utf8), type: .file, size: 0, sha256: .ofNothing, mode: 0o100644,
          modifiedAt: 1))
    }
    _ = try ManifestMember.identify(&manifest)
    return manifest
  }

  private func text(of manifest: Manifest) throws -> [UInt8] {
    let memory = MemorySink()
    try ManifestWriter.write(manifest, backupID: manifest.backupID, to: memory)
    return memory.bytes
  }

  private func read(_ bytes: [UInt8], by size: Int) throws -> ManifestText {
    let text = try ManifestText()
    for start in stride(from: 0, to: bytes.count, by: size) {
      try text.write(bytes.span.extracting(start..<min(start + size, bytes.count)))
    }
    return text
  }

  @Test(arguments: [1, 7, 4095, 4096, 4097, 1 << 20])
  func canonicalTextHasItsIDHoweverItComes(size: Int) throws {
    let manifest = try manifest()
    let text = try read(try text(of: manifest), by: size)
    try text.finish()
    #expect(try text.hasID(manifest.backupID ?? ""))
  }

  @Test func textThatIsNotCanonicalIsJudgedByWhatItSays() throws {
    let manifest = try manifest()
    var spaced: [UInt8] = []
    for byte in try text(of: manifest) { spaced += byte == UInt8(ascii: ",") ? [byte, 0x20] : [byte] }
    let raw = try read(spaced, by: 100)
    try raw.finish()
    #expect(try raw.hasID(manifest.backupID ?? "") == false)
    #expect(try TarVerifier.checked(try read(spaced, by: 100), .none).backupID == manifest.backupID)
  }

  @Test func anotherIDIsRefused() throws {
    var manifest = try manifest()
    manifest.backupID = String(repeating: "1", count: 64)
    let bytes = try text(of: manifest)
    let failure = #expect(throws: Failure.self) { try TarVerifier.checked(try read(bytes, by: 4096), .none) }
    #expect(failure?.code == .integrity)
  }

  @Test func aChangeBehindTheIDIsRefused() throws {
    var bytes = try text(of: try manifest())
    let time = Array("\"modified_at\":1".utf8)
    let start = try #require(bytes.indices.first { bytes[$0...].starts(with: time) })
    bytes[start + time.count - 1] = UInt8(ascii: "2")
    let failure = #expect(throws: Failure.self) { try TarVerifier.checked(try read(bytes, by: 4096), .none) }
    #expect(failure?.code == .integrity)
  }
}

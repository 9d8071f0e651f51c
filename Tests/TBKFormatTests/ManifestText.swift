import TBKCore
import TBKFormat

let hashOfNothing = Digest.ofNothing.hex

/// A complete manifest with these entries; `members` replace the default ones or are added.
func manifestText(_ entries: [String] = [], _ members: [String: String?] = [:]) -> String {
  var all: [String: String] = [
    "version": "\"2.0\"", "os_name": "\"Linux\"", "architecture": "\"x86_64\"",
    "created_at": "\"2026-01-02T03:04:05.000000+00:00\"", "backup_mode": "\"full\"",
    "parent_backup_id": "null", "backup_id": "null", "nonce": "\"00\"",
    "files": "[\(entries.joined(separator: ","))]",
  ]
  for (key, value) in members { all[key] = value }
  return "{"
    + all.sorted { $0.key < $1.key }.map { "\"\($0.key)\":\($0.value)" }.joined(separator: ",")
    + "}"
}

/// The text of a file's entry; `members` replace the default ones or are added.
func entryText(_ path: String, _ members: [String: String?] = [:]) -> String {
  var all: [String: String] = [
    "relative_path": "\"\(path)\"", "type": "\"file\"", "size": "0",
    "sha256": "\"\(hashOfNothing)\"", "permissions": "33188", "modified_at": "1.5",
  ]
  for (key, value) in members { all[key] = value }
  return "{"
    + all.sorted { $0.key < $1.key }.map { "\"\($0.key)\":\($0.value)" }.joined(separator: ",")
    + "}"
}

/// Parses a manifest that is written in pieces of `piece` bytes.
func parseManifest(
  _ bytes: [UInt8], piece: Int = .max, allowsDeferred: Bool = false
) throws(Failure) -> Manifest {
  let parser = ManifestParser(allowsDeferred: allowsDeferred)
  var done = 0
  while done < bytes.count {
    let count = min(piece, bytes.count - done)
    try parser.write(bytes.span.extracting(done..<done + count))
    done += count
  }
  try parser.finish()
  return try parser.manifest()
}

func parseManifest(_ text: String, allowsDeferred: Bool = false) throws(Failure) -> Manifest {
  try parseManifest(Array(text.utf8), allowsDeferred: allowsDeferred)
}

/// The manifest in canonical form, with its id.
func written(_ manifest: Manifest) throws(Failure) -> String {
  let sink = MemorySink()
  try ManifestWriter.write(manifest, backupID: manifest.backupID, to: sink)
  return text(sink.bytes)
}

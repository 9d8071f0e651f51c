import Glibc
import TBKCommand
import TBKCore
import TBKFormat

/// Prints the entries of a manifest, as tbk-open --list and tbk-manifest show do.
struct Listing {
  var long = false
  var json = false
  /// Prints names raw and terminated by NUL, instead of quoted and terminated by a line feed.
  var nul = false

  /// - Parameter chosen: the indexes of entries to print; nil for all.
  func print(_ manifest: Manifest, _ chosen: [Int]? = nil) throws(Failure) {
    for index in chosen ?? Array(manifest.files.indices) {
      if json {
        var line: [UInt8] = []
        line.append(entry: manifest.files[index])
        line.append(UInt8(ascii: "\n"))
        try StandardOutput.write(line)
      } else {
        let entry = manifest.files[index]
        try StandardOutput.write(long ? Array(columns(entry).utf8) : [])
        try name(entry.path, end: !long || entry.linkTarget == nil)
        if long, let target = entry.linkTarget {
          try StandardOutput.write(" -> ")
          try name(target, end: true)
        }
      }
    }
  }

  /// Prints `word`, a tab and a name.
  func print(_ word: String, _ path: [UInt8]) throws(Failure) {
    try StandardOutput.write(word + "\t")
    try name(path, end: true)
  }

  private func name(_ path: [UInt8], end: Bool) throws(Failure) {
    if nul {
      try StandardOutput.write(path + (end ? [0] : []))
    } else {
      try StandardOutput.write(RawPath(path).quoted + (end ? "\n" : ""))
    }
  }

  /// Mode, owner, size and time, as `tar tv` shows them.
  private func columns(_ entry: ManifestEntry) -> String {
    let owner =
      "\(entry.user.map { RawPath($0).quoted } ?? entry.uid.map(String.init) ?? "-")/"
      + "\(entry.group.map { RawPath($0).quoted } ?? entry.gid.map(String.init) ?? "-")"
    let size = String(entry.size)
    let gap = String(repeating: " ", count: max(1, 26 - owner.count - size.count))
    return "\(modeText(entry)) \(owner)\(gap)\(size) \(localTime(entry.modification)) "
  }

  private func modeText(_ entry: ManifestEntry) -> String {
    let type: Character =
      switch entry.type {
      case .file: entry.hardLink == nil ? "-" : "h"
      case .directory: "d"
      case .symlink: "l"
      }
    var letters = Array("rwxrwxrwx")
    for bit in 0..<9 where entry.mode & (0o400 >> UInt32(bit)) == 0 { letters[bit] = "-" }
    for (place, bit, letter) in [(2, 0o4000, "s"), (5, 0o2000, "s"), (8, 0o1000, "t")]
      as [(Int, UInt32, Character)]
    where entry.mode & bit != 0 {
      letters[place] = letters[place] == "x" ? letter : Character(letter.uppercased())
    }
    return String([type] + letters)
  }

  /// In local time; as seconds since 1970 after "@" for years that the C library does not support.
  private func localTime(_ time: FileTime?) -> String {
    time.map { localMinute($0.seconds) } ?? "               -"
  }
}

/// Prints pairs of a word and a path, as text or JSON.
struct EntryReport {
  let key: String
  let json: Bool
  let nul: Bool

  /// - Parameter sizes: before and after, in bytes, each nil if there is none; nil to print no sizes.
  func print(
    _ word: String, _ path: [UInt8], sizes: (old: UInt64?, new: UInt64?)? = nil
  ) throws(Failure) {
    if json {
      var object = JSON.object([key: .string(word), "relative_path": .string(path)])
      if let sizes {
        object["old_size"] = sizes.old.map { .number($0) } ?? .null
        object["new_size"] = sizes.new.map { .number($0) } ?? .null
      }
      try StandardOutput.write(object.line() + [UInt8(ascii: "\n")])
    } else if let sizes {
      func digits(_ size: UInt64?) -> String { size.map { "\($0)" } ?? "-" }
      try Listing(nul: nul).print("\(word)\t\(digits(sizes.old))\t\(digits(sizes.new))", path)
    } else {
      try Listing(nul: nul).print(word, path)
    }
  }
}

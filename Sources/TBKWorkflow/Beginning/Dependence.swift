import TBKCore

/// What a backup in a list depends on and what depends on it, as 'tbk-pull --list' prints it.
struct Dependence {
  /// The ids of the other backups that it needs.
  let needed: [String]
  /// How many archives a restore of it needs, and their bytes.
  let archives: Int
  let bytes: UInt64
  /// The backups that take bytes from it.
  let dependents: [String]
  /// The needed backups that no backup needs once this one is removed; empty if it cannot be removed, as others depend
  /// on it.
  let freed: [String]
  /// Nil if the list does not contain it.
  init?(of id: String, in rows: [[String]]) {
    func needs(_ row: [String]) -> [String] {
      row[8] == "-" ? [] : row[8].split(separator: ",").map(String.init)
    }
    guard let own = rows.first(where: { $0[0] == id }) else { return nil }
    let needed = needs(own)
    self.needed = needed
    let read = rows.filter { $0[0] == id || needed.contains($0[0]) }
    archives = read.count
    bytes = read.reduce(0) { $0 &+ (UInt64($1[2]) ?? 0) }
    dependents = rows.filter { needs($0).contains(id) }.map { $0[0] }
    var free = Set(dependents.isEmpty ? read.map { $0[0] }.filter { $0 != id } : [])
    // A backup is freed only if no remaining backup needs it.
    var changed = true
    while changed {
      changed = false
      for row in rows where row[0] != id && !free.contains(row[0]) {
        for needed in needs(row) where free.remove(needed) != nil { changed = true }
      }
    }
    freed = rows.map { $0[0] }.filter { free.contains($0) }
  }

  /// Assignments for the shell.
  var script: [UInt8] {
    [
      ("needed", needed.joined(separator: " ")), ("archives", "\(archives)"), ("bytes", "\(bytes)"),
    ].flatMap { ShellScript.assignment(to: $0.0, $0.1) } + laterScript
  }

  /// The assignments for what changes when other backups are added or removed.
  var laterScript: [UInt8] {
    [("dependents", dependents.joined(separator: " ")), ("freed", freed.joined(separator: " "))]
      .flatMap { ShellScript.assignment(to: $0.0, $0.1) }
  }
}

import TBKCore

/// What a backup of a list needs and what needs it, as 'tbk-pull --list' prints them.
struct Dependence {
  /// The ids of what it needs, without itself.
  let needed: [String]
  /// How many archives it is in, and their bytes.
  let archives: Int
  let bytes: UInt64
  /// The backups that take bytes from it.
  let dependents: [String]
  /// Those of what it needs that no backup needs if this one goes; none if that cannot be, for its dependents.
  let freed: [String]
  /// Nil if the list does not have it.
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
    // What is freed may be needed by others of its like.
    var changed = true
    while changed {
      changed = false
      for row in rows where row[0] != id && !free.contains(row[0]) {
        for needed in needs(row) where free.remove(needed) != nil { changed = true }
      }
    }
    freed = rows.map { $0[0] }.filter { free.contains($0) }
  }

  /// Assignments for a shell.
  var script: [UInt8] {
    [
      ("needed", needed.joined(separator: " ")), ("archives", "\(archives)"), ("bytes", "\(bytes)"),
    ].flatMap { ShellScript.assignment(to: $0.0, $0.1) } + laterScript
  }

  /// Those of what changes when other backups come and go.
  var laterScript: [UInt8] {
    [("dependents", dependents.joined(separator: " ")), ("freed", freed.joined(separator: " "))]
      .flatMap { ShellScript.assignment(to: $0.0, $0.1) }
  }
}

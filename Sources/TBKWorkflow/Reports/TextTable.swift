import CSystem

/// Lines of cells as columns that stand below their titles.
struct TextTable {
  struct Column {
    let title: String
    /// Numbers stand to the right.
    var isNumber = false
    /// The place in the order in which columns go where a terminal is too narrow, from 1; nil if it stays.
    var drops: Int?

    init(_ title: String, number: Bool = false, drops: Int? = nil) {
      self.title = title
      isNumber = number
      self.drops = drops
    }
  }

  let columns: [Column]
  /// Each of ASCII, and one for each column.
  var rows: [[String]] = []

  init(_ columns: [Column]) { self.columns = columns }

  /// The width of the terminal on standard output; nil if that is not a terminal.
  static var room: Int? {
    let width = Int(tbk_terminal_columns(1))
    return width > 0 ? width : nil
  }

  /// - Parameter room: how wide lines may be, if there is a limit: the columns that can go do, one after
  ///   the other, and then the ends of lines.
  func text(room: Int? = TextTable.room) -> String {
    let lines = [columns.map(\.title)] + rows
    let widths = columns.indices.map { column in lines.map { $0[column].utf8.count }.max() ?? 0 }
    var shown = Array(columns.indices)
    let dropping = shown.filter { columns[$0].drops != nil }
      .sorted { columns[$0].drops! < columns[$1].drops! }
    for column in dropping {
      guard let room, shown.reduce(-2, { $0 + widths[$1] + 2 }) > room else { break }
      shown.removeAll { $0 == column }
    }
    return lines.map { cells -> String in
      var line = ""
      for column in shown {
        let blanks = String(repeating: " ", count: widths[column] - cells[column].utf8.count)
        line += columns[column].isNumber ? blanks + cells[column] : cells[column] + blanks
        line += "  "
      }
      while line.last == " " { line.removeLast() }
      guard let room, line.utf8.count > room else { return line + "\n" }
      return room > 3 ? "\(line.prefix(room - 3))...\n" : "\(line.prefix(room))\n"
    }.joined()
  }
}

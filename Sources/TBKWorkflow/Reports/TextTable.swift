import CSystem

/// Rows of cells, aligned in columns below their titles.
struct TextTable {
  struct Column {
    let title: String
    /// Numbers are right-aligned.
    var isNumber = false
    /// The order, from 1, in which columns are dropped if a terminal is too narrow; nil if it is never dropped.
    var drops: Int?

    init(_ title: String, number: Bool = false, drops: Int? = nil) {
      self.title = title
      isNumber = number
      self.drops = drops
    }
  }

  let columns: [Column]
  /// ASCII cells, one for each column.
  var rows: [[String]] = []

  init(_ columns: [Column]) { self.columns = columns }

  /// The width of the terminal on standard output; nil if it is not a terminal.
  static var room: Int? {
    let width = Int(tbk_terminal_columns(1))
    return width > 0 ? width : nil
  }

  /// - Parameter room: the maximum line width, if any: droppable columns are removed one by one, and then lines are
  ///   truncated.
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

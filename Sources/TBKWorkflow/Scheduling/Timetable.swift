import Glibc
import TBKCore

/// A schedule in the five fields of crontab(5): minute, hour, day of the month, month and day of the week; months and
/// days of the week may be names.
struct Timetable: Equatable {
  /// The five fields for cron, with names replaced by numbers.
  let text: String
  private let minutes: Set<Int>
  private let hours: Set<Int>
  private let days: Set<Int>
  private let months: Set<Int>
  private let weekdays: Set<Int>
  /// Whether both kinds of days must match; otherwise one is enough. True if one of the fields begins with a star; a
  /// range of all days does not count.
  private let needsBothDays: Bool

  static let hint =
    "a schedule is as in '0 2 * * *', every day at two: minute, hour, day, month, day of the week"

  private static let macros = [
    "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
  ]

  /// - Parameter text: five fields, or `@hourly`, `@daily`, `@weekly`, `@monthly` or `@yearly`, with or without the
  ///   `@`. Throws `.usage`.
  init(_ text: String) throws(Failure) {
    let text = text.lowercased()
    guard !text.utf8.contains(where: { $0 < 0x20 && $0 != 0x09 || $0 == 0x7f }) else {
      throw Timetable.wrong("a schedule is one line")
    }
    var words = text.split { $0 == " " || $0 == "\t" }.map(String.init)
    if words.count == 1, let word = words.first {
      if let fields = Timetable.macros[word.hasPrefix("@") ? word : "@" + word] {
        words = fields.split(separator: " ").map(String.init)
      }
    }
    if words.first?.hasPrefix("@") == true {
      throw Timetable.wrong("'\(text)' is not @hourly, @daily, @weekly, @monthly or @yearly")
    }
    guard words.count == 5 else {
      throw Timetable.wrong("a schedule has five fields, and this has \(words.count)")
    }
    var values: [Set<Int>] = []
    var texts: [String] = []
    for (word, field) in zip(words, Field.all) {
      let (numbers, text) = try field.parse(word)
      values.append(numbers)
      texts.append(text)
    }
    self.text = texts.joined(separator: " ")
    (minutes, hours, days, months, weekdays) = (values[0], values[1], values[2], values[3], values[4])
    needsBothDays = words[2].hasPrefix("*") || words[4].hasPrefix("*")
    let longest = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    let comes = months.contains { month in days.contains { $0 <= longest[month - 1] } }
    guard comes || !needsBothDays else { throw Timetable.wrong("no month has that day") }
  }

  private static func wrong(_ message: String) -> Failure { Failure(.usage, message, hint: hint) }

  /// The `OnCalendar=` values for systemd, which runs at any of these.
  var calendars: [String] {
    let time = "\(Field.hour.list(hours)):\(Field.minute.list(minutes)):00"
    let date = "*-\(Field.month.list(months))-"
    let day = Field.day.list(days)
    let week = Field.weekday.list(weekdays)
    if needsBothDays { return [(week == "*" ? "" : week + " ") + date + day + " " + time] }
    // cron runs if either kind of day matches, but a systemd calendar requires both.
    if week == "*" || day == "*" { return [date + "* " + time] }
    return [week + " " + date + "* " + time, date + day + " " + time]
  }

  /// The first run after this time, in seconds since 1970, in the machine's time zone; nil if there is none within nine
  /// years.
  func next(after time: Int64) -> Int64? {
    scan(from: time, step: 1) { $0 > time }
  }

  /// The last run at or before this time, likewise.
  func last(upTo time: Int64) -> Int64? {
    scan(from: time, step: -1) { $0 <= time }
  }

  private func scan(from time: Int64, step: Int, fits: (Int64) -> Bool) -> Int64? {
    guard let today = LocalDay(of: time) else { return nil }
    for distance in 0...(9 * 366) {
      guard let day = today.moved(by: distance * step) else { return nil }
      guard runs(on: day) else { continue }
      let times = hours.flatMap { hour in minutes.compactMap { day.time(hour: hour, minute: $0) } }
        .filter(fits)
      if let found = step > 0 ? times.min() : times.max() { return found }
    }
    return nil
  }

  private func runs(on day: LocalDay) -> Bool {
    guard months.contains(day.month) else { return false }
    let (date, week) = (days.contains(day.day), weekdays.contains(day.weekday))
    return needsBothDays ? date && week : date || week
  }
}

/// A calendar day in the machine's time zone.
private struct LocalDay {
  let year: Int32
  let month: Int
  let day: Int
  /// 0 is Sunday.
  let weekday: Int

  init?(of seconds: Int64) {
    var time = time_t(seconds)
    var parts = unsafe tm()
    guard unsafe localtime_r(&time, &parts) != nil else { return nil }
    year = unsafe parts.tm_year
    month = unsafe Int(parts.tm_mon) + 1
    day = unsafe Int(parts.tm_mday)
    weekday = unsafe Int(parts.tm_wday)
  }

  /// The day that is `days` later. Clocks are never changed at noon.
  func moved(by days: Int) -> LocalDay? {
    time(hour: 12, minute: 0, later: days).flatMap(LocalDay.init(of:))
  }

  /// In seconds since 1970. A time skipped when clocks go forward becomes the one an hour later.
  func time(hour: Int, minute: Int, later days: Int = 0) -> Int64? {
    var parts = unsafe tm()
    unsafe parts.tm_year = year
    unsafe parts.tm_mon = Int32(month) - 1
    unsafe parts.tm_mday = Int32(clamping: day + days)
    unsafe parts.tm_hour = Int32(hour)
    unsafe parts.tm_min = Int32(minute)
    unsafe parts.tm_isdst = -1
    // mktime sets this field; -1 is also a valid time, so the result alone does not show an error.
    unsafe parts.tm_wday = -1
    let time = unsafe mktime(&parts)
    return unsafe parts.tm_wday < 0 ? nil : Int64(time)
  }
}

/// One of the five fields.
private struct Field {
  let title: String
  let range: ClosedRange<Int>
  /// The last value that `*` includes: 7 is another number for Sunday.
  let top: Int
  var names: [String] = []

  static let minute = Field(title: "minute", range: 0...59, top: 59)
  static let hour = Field(title: "hour", range: 0...23, top: 23)
  static let day = Field(title: "day of the month", range: 1...31, top: 31)
  static let month = Field(
    title: "month", range: 1...12, top: 12,
    names: ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"])
  static let weekday = Field(
    title: "day of the week", range: 0...7, top: 6,
    names: ["sun", "mon", "tue", "wed", "thu", "fri", "sat"])
  static let all = [minute, hour, day, month, weekday]

  /// The values of a field's text, and the text with names replaced by numbers.
  func parse(_ text: String) throws(Failure) -> (Set<Int>, String) {
    var values: Set<Int> = []
    var out: [String] = []
    for item in text.split(separator: ",", omittingEmptySubsequences: false) {
      let parts = item.split(separator: "/", omittingEmptySubsequences: false)
      guard (1...2).contains(parts.count), !parts[0].isEmpty else { throw none(item.isEmpty ? text[...] : item) }
      var step = 1
      if parts.count == 2 {
        guard let number = Field.number(parts[1]), number > 0 else {
          throw Failure(.usage, "'\(parts[1])' is not a step", hint: Timetable.hint)
        }
        step = number
      }
      let ends = parts[0].split(separator: "-", omittingEmptySubsequences: false)
      let first: Int
      let last: Int
      if parts[0] == "*" {
        (first, last) = (range.lowerBound, top)
        out.append(String(item))
      } else {
        guard ends.count <= 2, !ends.contains(where: \.isEmpty) else { throw none(parts[0]) }
        if ends.count == 1, parts.count == 2 {
          throw Failure(.usage, "'\(item)' has a step without a range", hint: Timetable.hint)
        }
        first = try value(ends[0])
        last = try ends.count == 2 ? value(ends[1]) : first
        guard first <= last else {
          throw Failure(.usage, "'\(parts[0])' ends before it begins", hint: Timetable.hint)
        }
        out.append(
          "\(first)" + (ends.count == 2 ? "-\(last)" : "") + (parts.count == 2 ? "/\(step)" : ""))
      }
      for number in stride(from: first, through: last, by: step) { values.insert(top == 6 ? number % 7 : number) }
    }
    return (values, out.joined(separator: ","))
  }

  private func none(_ text: Substring) -> Failure {
    Failure(.usage, "'\(text)' is not a valid \(title)", hint: Timetable.hint)
  }

  /// One or two digits.
  private static func number(_ word: Substring) -> Int? {
    (1...2).contains(word.utf8.count) && word.utf8.allSatisfy { (48...57).contains($0) } ? Int(word) : nil
  }

  private func value(_ word: Substring) throws(Failure) -> Int {
    if let place = names.firstIndex(of: String(word)) { return place + range.lowerBound }
    guard let number = Field.number(word), range.contains(number) else {
      throw Failure(
        .usage,
        "'\(word)' is not a valid \(title), which is from \(range.lowerBound) to \(range.upperBound)",
        hint: Timetable.hint)
    }
    return number
  }

  /// The values in systemd's calendar syntax: names for days, two digits for anything else.
  func list(_ values: Set<Int>) -> String {
    let all = range.lowerBound...top
    if all.allSatisfy(values.contains) { return "*" }
    return all.filter(values.contains).map { value in
      if top == 6 { return names[value].prefix(1).uppercased() + names[value].dropFirst() }
      return value < 10 ? "0\(value)" : "\(value)"
    }.joined(separator: ",")
  }
}

import TBKCore
import Testing

@testable import TBKWorkflow

@Suite struct SchedulingTests {
  private static let home = RawPath("/home/ada/.termbackup")
  private static let others = "# mine\nMAILTO=ada\n\n@reboot  true \t\n7 7 7 7 *  echo 100\\% of 'it'\n"

  private static func table(_ text: String) -> Crontab { Crontab(Array(text.utf8)) }
  private static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

  @Test func aBlockComesStaysInItsPlaceAndGoes() throws {
    var table = Self.table(Self.others)
    #expect(try table.set(Array("0 2 * * * 'true'".utf8), for: "docs", of: Self.home))
    let block =
      "# BEGIN termbackup docs /home/ada/.termbackup\n0 2 * * * 'true'\n# END termbackup docs /home/ada/.termbackup\n"
    #expect(Self.text(table.bytes) == Self.others + block)
    #expect(try table.scheduled(of: Self.home).map(\.timetable) == ["0 2 * * *"])
    #expect(try table.scheduled(of: RawPath("/home/ada")).isEmpty)
    var more = Self.table(Self.others + block + "5 5 5 5 * last\n")
    #expect(try !more.set(Array("0 2 * * * 'true'".utf8), for: "docs", of: Self.home))
    #expect(try more.set(Array("1 1 * * * 'true'".utf8), for: "docs", of: Self.home))
    #expect(Self.text(more.bytes) == Self.others + block.replacing("0 2 *", with: "1 1 *") + "5 5 5 5 * last\n")
    #expect(try more.set(nil, for: "docs", of: Self.home))
    #expect(Self.text(more.bytes) == Self.others + "5 5 5 5 * last\n")
    #expect(try !more.set(nil, for: "docs-2", of: Self.home) || more.bytes.isEmpty == false)
    var alone = Self.table(block)
    #expect(try alone.set(nil, for: "docs", of: Self.home) && alone.bytes.isEmpty)
  }

  @Test(arguments: [
    "# BEGIN termbackup docs /home/ada/.termbackup\n0 2 * * * true\n",
    "# BEGIN termbackup docs /home/ada/.termbackup\n# BEGIN termbackup b /home/ada/.termbackup\n"
      + "# END termbackup b /home/ada/.termbackup\n",
  ])
  func aBlockWithoutAnEndIsLeftToAPerson(_ text: String) {
    var table = Self.table(text)
    #expect(throws: Failure.self) { try table.scheduled(of: Self.home) }
    #expect(throws: Failure.self) { try table.set(nil, for: "docs", of: Self.home) }
  }

  @Test func aBlockGoesToAnotherNameWhereItStands() throws {
    func block(_ name: String, _ line: String) -> String {
      "# BEGIN termbackup \(name) /home/ada/.termbackup\n\(line)\n# END termbackup \(name) /home/ada/.termbackup\n"
    }
    let other = block("doc", "1 1 * * * 'schedule-run' '--' 'doc'")
    var table = Self.table(Self.others + block("docs", "0 2 * * * 'schedule-run' '--' 'docs'") + other)
    #expect(try table.rename("docs", to: "letters", of: Self.home))
    #expect(Self.text(table.bytes) == Self.others + block("letters", "0 2 * * * 'schedule-run' '--' 'letters'") + other)
    #expect(try !table.rename("docs", to: "notes", of: Self.home))
    #expect(try !table.rename("letters", to: "notes", of: RawPath("/home/eve")))
    var changed = Self.table(block("docs", "0 2 * * * true"))
    #expect(throws: Failure.self) { try changed.rename("docs", to: "letters", of: Self.home) }
  }

  @Test func wordsAreWhatTheyAreToShellCronAndSystemd() throws {
    let command = try ScheduledCommand(["env", "a b", "it's", "100%", "\"$x\\y\""].map { Array($0.utf8) })
    #expect(Self.text(command.shell) == #"'env' 'a b' 'it'\''s' '100%' '"$x\y"'"#)
    #expect(try Self.text(command.cron) == #"'env' 'a b' 'it'\''s' '100\%' '"$x\y"'"#)
    #expect(Self.text(command.systemd) == #""env" "a b" "it's" "100%%" "\"$$x\\y\"""#)
    #expect(throws: Failure.self) { try ScheduledCommand([Array("a\nb".utf8)]) }
    for word in ["a\\\\b", "50\\%"] {
      #expect(throws: Failure.self) { try ScheduledCommand([Array(word.utf8)]).cron }
    }
  }

  @Test func aTimerSaysWhoseItIs() throws {
    let timer = TimerUnit.timer(try Timetable("0 0 1 * 1"), for: "docs", of: Self.home)
    let read = try #require(TimerUnit(timer))
    #expect(read.profile == "docs" && read.home == Self.home && read.timetable == "0 0 1 * 1")
    #expect(Self.text(timer).contains("\nOnCalendar=Mon *-*-* 00:00:00\nOnCalendar=*-*-01 00:00:00\nPersistent=true\n"))
    #expect(TimerUnit(Array("[Unit]\nDescription=mine\n".utf8)) == nil)
    let user = RawPath("/home/ada")
    #expect(try TimerUnit.name("docs", of: Self.home, user: user, isFree: true) == "termbackup-docs")
    let taken = try TimerUnit.name("docs", of: Self.home, user: user, isFree: false)
    let other = try TimerUnit.name("docs", of: RawPath("/else"), user: user, isFree: true)
    #expect(taken != "termbackup-docs" && other != taken && other.hasPrefix("termbackup-docs-"))
  }

  @Test func aLogKeepsItsEndFromARunsFirstLineOn() {
    let run = "== 2026-01-01T00:00:00Z status 0 after 1 s\n" + String(repeating: "x", count: 60) + "\n"
    let short = Array(String(repeating: run, count: 9).utf8)
    #expect(RunLog.kept(short) == short)
    let kept = RunLog.kept(Array(String(repeating: run, count: 4000).utf8))
    #expect(kept.count <= RunLog.limit / 2 && kept.starts(with: "== 2026".utf8) && kept.count % run.utf8.count == 0)
    let entry = RunLog.entry(
      Array(repeating: 0x61, count: 70_000), status: 3, seconds: 61, at: Timestamp(iso8601: "2026-01-02T03:04:05Z")!)
    let header = "== 2026-01-02T03:04:05Z status 3 after 1 min 1 s\n"
    #expect(entry.starts(with: header.utf8) && entry.count == header.utf8.count + RunLog.runLimit)
  }
}

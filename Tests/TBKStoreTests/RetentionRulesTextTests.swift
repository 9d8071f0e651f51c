import Testing

@testable import TBKStore

@Suite struct RetentionRulesTextTests {
  @Test func eachRuleHasTheNameOfTheOption() throws {
    var keep = RetentionRules()
    keep.last = 1
    keep.within = TimeSpan("3m")
    keep.daily = 7
    keep.weekly = 5
    keep.monthly = 12
    keep.yearly = 10
    #expect(
      RetentionRules("keep-last=1,keep-within=3m,keep-daily=7,keep-weekly=5,keep-monthly=12,keep-yearly=10")
        == keep)
    var limits = RetentionRules()
    limits.maxBackups = 30
    #expect(RetentionRules("max-backups=30") == limits)
    limits.retentionDays = 2_147_483_647
    #expect(RetentionRules("retention-days=2147483647,max-backups=30") == limits)
  }

  @Test(arguments: [
    "", ",", "max-backups", "max-backups=", "max-backups=0", "max-backups=-1", "max-backups=+1", "max-backups=1 ",
    "max-backups=2147483648", "max-backups=1,", ",max-backups=1", "max-backups=1,max-backups=1", "max-backups=1=1",
    "--max-backups=1", "keep-within=1", "keep-within=1m,keep-within=1m", "keep-last=1,max-backups=1", "keep-last=3m",
    "retention-days=3d", "dry-run=1", "max-backups=\u{0661}",
  ])
  func anythingElseIsNone(_ text: String) {
    #expect(RetentionRules(text) == nil)
  }
}

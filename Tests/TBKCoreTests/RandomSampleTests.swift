import TBKCore
import Testing

@Suite struct RandomSampleTests {
  private func taken(_ text: String, of count: Int) throws -> [Int] {
    try #require(RandomSample(text)).taken(of: Array(0..<count))
  }

  @Test func aShareIsRoundedUpAndKeepsTheOrder() throws {
    #expect(try taken("100%", of: 10) == Array(0..<10))
    #expect(try taken("1%", of: 10).count == 1)
    #expect(try taken("25%", of: 10).count == 3)
    #expect(try taken("10%", of: 250).count == 25)
    #expect(try taken("99", of: 10) == Array(0..<10))
    let some = try taken("4", of: 10)
    #expect(some.count == 4 && some == some.sorted() && Set(some).count == 4)
    #expect(try taken("10%", of: 0).isEmpty)
  }

  @Test func ofTheSameItTakesTheSame() throws {
    let sample = try #require(RandomSample("7"))
    #expect(sample.taken(of: Array(0..<1000)) == sample.taken(of: Array(0..<1000)))
  }

  @Test(arguments: ["", "%", "many", "-1", "1.5", "ten%"])
  func whatIsNoNumberIsNone(_ text: String) { #expect(RandomSample(text) == nil) }
}

import TBKCore
import Testing

@Suite struct AheadTests {
  @Test(arguments: [1, 4]) func elementsComeInOrder(depth: Int) throws {
    let numbers = Numbers(upTo: 2000)
    let ahead = try Ahead(depth: depth) { () throws(Failure) in numbers.next() }
    var taken: [Int] = []
    while let number = try ahead.next() { taken.append(number) }
    #expect(taken == Array(1...2000))
    #expect(numbers.calls == 2001)
  }

  @Test func aFailureComesAfterWhatWasMadeBeforeIt() throws {
    let numbers = Numbers(upTo: 10)
    let ahead = try Ahead(depth: 3) { () throws(Failure) -> Int? in
      guard let number = numbers.next() else { throw Failure(.io, "no more") }
      return number
    }
    for number in 1...10 { #expect(try ahead.next() == number) }
    #expect(throws: Failure(.io, "no more")) { try ahead.next() }
    #expect(numbers.calls == 11)
  }

  @Test func whatNobodyTakesIsNotMade() throws {
    let numbers = Numbers(upTo: .max)
    do {
      let ahead = try Ahead(depth: 3) { () throws(Failure) in numbers.next() }
      #expect(try ahead.next() == 1)
    }
    // The thread has ended: one number was taken, three were waiting, one did not fit.
    #expect((1...5).contains(numbers.calls))
  }
}

private final class Numbers {
  private let end: Int
  private(set) var calls = 0

  init(upTo end: Int) { self.end = end }

  func next() -> Int? {
    if calls > end { return nil }
    calls += 1
    return calls <= end ? calls : nil
  }
}

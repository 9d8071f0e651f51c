import TBKCore
import Testing

@Suite struct BesideTests {
  @Test func theResultOfTheWorkIsTaken() throws {
    let work = try Beside<[Int]> { () throws(Failure) in [1, 2, 3] }
    #expect(try work.value() == [1, 2, 3])
    #expect(try work.value() == [1, 2, 3])
  }

  @Test func whatTheWorkThrowsIsThrownWhereItsResultIsTaken() throws {
    let work = try Beside<Int> { () throws(Failure) in throw Failure(.integrity, "no") }
    let failure = #expect(throws: Failure.self) { try work.value() }
    #expect(failure?.code == .integrity)
  }

  @Test func bothSidesWorkAtTheSameTime() throws {
    let gate = Monitor()
    gate.lock()
    // It can end only after the lock is released, which happens once it is running in another thread.
    let work = try Beside<Int> { () throws(Failure) in
      gate.passThrough()
      return 1
    }
    gate.unlock()
    #expect(try work.value() == 1)
  }

  @Test func workThatNobodyAsksForEndsWithItsOwner() throws {
    final class Mark { var isSet = false }
    let mark = Mark()
    do {
      _ = try Beside<Void> { () throws(Failure) in mark.isSet = true }
    }
    #expect(mark.isSet)
  }
}

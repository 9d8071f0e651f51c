import Glibc
import TBKCore
import Testing

@Suite struct FailureTests {
  @Test func everyCodeHasAnExitStatusOfTheTable() {
    let table: [Failure.Code: Int32] = [
      .usage: 64, .malformed: 65, .truncated: 65, .integrity: 65, .inputMissing: 66,
      .unavailable: 69, .webhook: 69, .library: 70, .cannotCreate: 73, .io: 74, .tryAgain: 75,
      .exhausted: 75,
      .authentication: 77, .denied: 77, .token: 77, .configuration: 78, .profile: 78,
      .brokenPipe: 141, .interrupted: 130,
    ]
    #expect(table.count == Failure.Code.allCases.count)
    for code in Failure.Code.allCases {
      #expect(Failure(code, "").exitStatus == table[code], "\(code)")
      #expect(Failure(code, "").typeName.hasSuffix("Error"))
    }
  }

  @Test func anHTTPStatusMakesItGitHubs() {
    #expect(Failure(.unavailable, "").typeName == "StoreError")
    #expect(Failure(.unavailable, "", httpStatus: 503).typeName == "GitHubError")
  }

  @Test func placesStandBeforeTheMessageAndKeepTheRest() {
    let failure = Failure(.io, "cannot read", hint: "try", httpStatus: 5).within("'a'")
    #expect(failure == Failure(.io, "'a': cannot read", hint: "try", httpStatus: 5))
  }

  @Test func theReasonIsWhatTheSystemSaid() {
    #expect(Failure(.denied, "cannot open 'a: b': Permission denied").reason == "Permission denied")
    #expect(Failure(.io, "it is gone").reason == "it is gone")
  }

  @Test(arguments: [
    (ENOENT, Failure.Code.cannotCreate), (ENOTDIR, .cannotCreate), (EACCES, .denied),
    (EPERM, .denied), (EEXIST, .cannotCreate), (ENOSPC, .io), (EDQUOT, .io), (EPIPE, .brokenPipe),
    (EIO, .io), (EWOULDBLOCK, .tryAgain),
  ])
  func errnoDecidesTheCode(number: Int32, code: Failure.Code) {
    #expect(Failure.system("x", errno: number, missing: .cannotCreate).code == code)
  }

  @Test func aFullDiskComesWithAHint() {
    #expect(Failure.system("cannot write", errno: ENOSPC).hint != nil)
  }
}

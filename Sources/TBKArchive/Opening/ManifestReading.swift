import TBKCore
import TBKFormat

/// Reads a sealed manifest on its own thread, and compares it with the claims of a ledger.
package final class ManifestReading: @unchecked Sendable {
  private let archive: any OpenedArchive
  private let claims: BackupClaims
  // Written only by the thread, and read after it has ended.
  private var result: Result<Manifest, Failure>?
  private var thread: WorkerThread?

  /// - Parameter archive: must not be used elsewhere.
  package init(_ archive: any OpenedArchive, _ claims: BackupClaims) throws(Failure) {
    self.archive = archive
    self.claims = claims
    thread = try WorkerThread { [self] in run() }
  }

  private func run() {
    do throws(Failure) {
      var rest: (any OpenedArchive)? = archive
      let reader = try BackupReader(
        expectedID: claims.id, expected: [claims.id: claims], progress: { _ in }, warn: { _ in },
        archives: { (_) throws(Failure) in rest.take() })
      result = .success(try reader.manifest().manifest)
    } catch {
      result = .failure(error)
    }
  }

  /// Waits for the manifest; throws the error of reading it.
  package func get() throws(Failure) -> Manifest {
    thread?.join()
    thread = nil
    guard let result else { throw Failure(.library, "a thread ended without a result") }
    return try result.get()
  }
}

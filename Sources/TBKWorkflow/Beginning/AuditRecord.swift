import TBKCommand
import TBKCore
import TBKFormat
import TBKSettings

extension Home {
  /// Adds an entry to the audit log, unless it is off. A failure to write it is only a warning.
  func record(
    _ operation: String, of profile: String?, status: String = "success", _ details: KeyValuePairs<String, String> = [:]
  ) {
    do throws(Failure) {
      if try !configuration().isAuditLogEnabled { return }
      let entry = try AuditEntry(
        timestamp: .now(), operation: operation, profile: profile, status: status,
        details: details.map {
          JSON.Member($0.key, AuditDetail(key: $0.key)?.value(from: $0.value) ?? .string($0.value))
        })
      if let complaint = try AuditFile(path.appending("audit.log")).append(entry) { Messages.warning(complaint) }
    } catch {
      Messages.warning("cannot write to the audit log: \(error.message)")
    }
  }
}

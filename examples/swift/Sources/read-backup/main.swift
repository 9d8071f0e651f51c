// Lists the files of a backup, or prints one of them:
//   read-backup STORE ID [PATH] < password
// STORE is a directory; ID is the beginning of a backup's id, as in `termbackup list`.
import Foundation
import TermBackup

let arguments = CommandLine.arguments
guard arguments.count > 2, let password = readLine(strippingNewline: true) else {
  FileHandle.standardError.write(Data("usage: read-backup STORE ID [PATH] < password\n".utf8))
  exit(64)
}
do {
  let store = URL(filePath: arguments[1])
  let ledger = try StoreLedger(parsing: [UInt8](Data(contentsOf: store.appending(path: "metadata.json"))))
  guard let entry = ledger.backups.first(where: { $0.id.hasPrefix(arguments[2]) }) else { exit(66) }
  let archives = ledger.chain(of: entry).map { Array(store.appending(path: "backups/\($0.filename)").path.utf8) }
  let backup = try Backup(archives: archives, keys: try BackupKeys(password: Array(password.utf8).span))
  guard arguments.count > 3 else {
    for entry in backup.entries { print(entry.mode, entry.size, entry.displayName, separator: "\t") }
    exit(0)
  }
  guard let file = backup.entry(at: arguments[3]) else { exit(66) }
  try backup.read(file) { piece in
    FileHandle.standardOutput.write(piece.withUnsafeBytes { Data($0) })
    return true
  }
} catch {
  FileHandle.standardError.write(Data("read-backup: \(error)\n".utf8))
  exit(65)
}

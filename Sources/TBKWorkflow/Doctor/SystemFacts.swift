import Glibc
import TBKCommand
import TBKCore
import TBKSettings

/// The suite, its libraries and the machine, as names and values, as `termbackup --version` prints them.
func systemFacts() -> [(name: String, value: String)] {
  var names = utsname()
  unsafe _ = uname(&names)
  func text<Field>(_ field: Field) -> String {
    unsafe withUnsafeBytes(of: field) { unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }
  let (kernel, release, machine) = (text(names.sysname), text(names.release), text(names.machine))
  var shell = "/bin/sh"
  if let real = unsafe realpath("/bin/sh", nil) {
    shell = unsafe String(cString: real)
    unsafe free(real)
  }
  var facts = [("termbackup", suiteVersion)] + libraryVersions()
  facts.append(("system", "\(distribution() ?? kernel) (\(kernel) \(release))"))
  facts.append(("architecture", machine))
  facts.append(("shell", shell))
  if let home = try? Home.ofProcess() { facts.append(("home", home.path.quoted)) }
  return facts.map { (name: $0.0, value: $0.1) }
}

/// The name of the system in os-release(5).
private func distribution() -> String? {
  let lines = (try? readFile(RawPath("/etc/os-release"), limit: 1 << 16)) ?? []
  var found: [String: String] = [:]
  for line in lines.split(separator: 0x0a) {
    guard let equals = line.firstIndex(of: UInt8(ascii: "=")),
      let word = try? splitShellWords(Array(line[(equals + 1)...])).first
    else { continue }
    found[String(decoding: line[..<equals], as: UTF8.self)] = String(decoding: word, as: UTF8.self)
  }
  return found["PRETTY_NAME"] ?? found["NAME"]
}

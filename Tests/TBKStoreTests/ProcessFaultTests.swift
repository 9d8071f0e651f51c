import Glibc
import TBKCore
import TBKCrypto
import TBKFormat
import Testing

@testable import TBKStore

/// The distance between the steps that are tested; `make soak` tests each one.
private let distance = unsafe getenv("TERMBACKUP_SOAK") == nil ? 6 : 1

/// What `tbk-push`, `tbk-store` and `tbk-prune` do to a store when they are killed, or a call fails, at any step.
@Suite(.serialized, .enabled(if: program != nil, "tbk-net has not been built"))
struct ProcessFaultTests {
  struct Change: Sendable, CustomTestStringConvertible {
    let testDescription: String
    var command = "tbk-push"
    /// The numbers of the archives before the change, each with a manifest.
    var before = [1]
    let arguments: String
    /// The numbers of the archives in the store after the change.
    let after: [Int]

    static let all = [
      Change(testDescription: "first push", before: [], arguments: "< 2.tbk", after: [2]),
      Change(
        testDescription: "push",
        arguments: "--receipt 2.json --sealed-manifest 12.tbk --group g < 2.tbk", after: [1, 2]),
      Change(
        testDescription: "replace", command: "tbk-store replace",
        arguments: "$(cat 1.id) --sealed-manifest 12.tbk < 2.tbk", after: [2]),
      Change(
        testDescription: "remove", command: "tbk-store remove", arguments: "$(cat 1.id)", after: []),
      Change(
        testDescription: "prune", command: "tbk-prune", before: [1, 2],
        arguments: "--keep-last 1", after: [2]),
      Change(
        testDescription: "check", command: "tbk-store password-check", arguments: "13.tbk --group g",
        after: [1]),
    ]
  }

  private let scratch: Scratch
  private let tool: String
  /// The hashes of the archives, by number.
  private let hashes: [Int: String]

  init() throws {
    scratch = try Scratch()
    tool = try #require(program).text
    var hashes: [Int: String] = [:]
    for seed in [1, 2, 11, 12, 13] {
      let bytes = try archive(seed, payload: 20_000)
      hashes[seed] = try SHA256.hash(bytes).hex
      try AtomicFile.write(bytes, to: scratch["\(seed).tbk"])
    }
    self.hashes = hashes
    let id = try #require(hashes[1])
    try AtomicFile.write(Array(id.utf8), to: scratch["1.id"])
    try AtomicFile.write(
      Array(
        """
        {"receipt": 1, "id": "\(try #require(hashes[2]))", "created_at": "2026-01-01T00:00:00+00:00",
         "file_count": 1, "mode": "incremental", "depends_on": ["\(id)"], "complete": true}
        """.utf8),
      to: scratch["2.json"])
  }

  /// Runs a command in a directory below the scratch directory.
  private func run(
    _ arguments: String, in place: String, command: String = "tbk-push", fault: String = ""
  ) -> Int32 {
    shell(
      "cd \(scratch.path.text) && TERMBACKUP_HOME=\(place)/home \(fault) "
        + "\(tool) \(command) \(place)/store \(arguments) >\(place)/out 2>\(place)/err")
  }

  /// Creates the state before a change, as a copy of a template.
  private func makePlace(_ name: String, for change: Change) throws {
    let template = "before\(change.before.map(String.init).joined())"
    if try Descriptor.workingDirectory.statusIfPresent(of: scratch[template]) == nil {
      #expect(shell("mkdir -p \(scratch[template].text)/store") == 0)
      for seed in change.before {
        #expect(run("--sealed-manifest 1\(seed).tbk < \(seed).tbk", in: template) == 0)
      }
      // The state contains the address, which differs in the copy.
      #expect(shell("rm -rf \(scratch[template].text)/home") == 0)
    }
    Scratch.remove(scratch[name])
    #expect(shell("cp -a \(scratch[template].text) \(scratch[name].text)") == 0)
    if !change.before.isEmpty { _ = try session(name).snapshot() }
  }

  /// The session of another process on the same machine.
  private func session(_ name: String) throws -> LedgerSession {
    try makeSession(
      try DirectoryStore(scratch[name].appending("store")), home: scratch[name].appending("home"))
  }

  /// Checks that every listed backup can be read. Returns the numbers of the archives.
  private func contents(_ name: String) throws -> [Int] {
    let store = try DirectoryStore(scratch[name].appending("store"))
    guard let stored = try store.readLedger() else { return [] }
    var found: [Int] = []
    for entry in try Ledger(parsing: stored.bytes).entries {
      let bytes = try store.contents(entry.archiveReference.path)
      let sha256 = try SHA256.hash(bytes)
      #expect(sha256 == entry.sha256)
      if let manifest = entry.manifestReference?.path {
        #expect(try SHA256.hash(try store.contents(manifest)) == entry.manifest?.sha256)
      }
      for seed in [1, 2] where hashes[seed] == sha256.hex { found.append(seed) }
    }
    return found
  }

  /// The files in the folders that the ledger does not name, except temporary ones.
  private func strangers(_ name: String) throws -> Set<String> {
    let path = scratch[name].appending("store")
    let store = try DirectoryStore(path)
    var wanted: Set<String> = []
    for entry in try Ledger(parsing: try store.readLedger()?.bytes ?? []).entries {
      wanted.insert(entry.archiveReference.path.description)
      if let manifest = entry.manifestReference { wanted.insert(manifest.path.description) }
    }
    var found: Set<String> = []
    for folder in [ObjectPath.Folder.backups, .manifests] {
      for (name, _) in try store.folder(folder, creating: false)?.names() ?? []
      where !store.isTemporary(name) {
        found.insert("\(folder.rawValue)/\(name.text)")
      }
    }
    return found.subtracting(wanted)
  }

  /// Checks what must hold in any case, and that the same command then succeeds.
  private func expectWhole(_ name: String, _ change: Change, status: Int32, _ step: String) throws {
    let now = try contents(name)
    #expect(now == change.before || now == change.after, "\(step): \(now)")
    if status == 0 { #expect(now == change.after, "\(step)") }
    let again = run(change.arguments, in: name, command: change.command)
    let isRemoval = change.command.hasSuffix("remove")
    #expect(again == 0 || (isRemoval && now == change.after && again == 69), "\(step): \(again)")
    #expect(try contents(name) == change.after, "\(step)")
    // One more commit, which also cleans up after the one before it.
    let session = try session(name)
    _ = try session.storeObject(
      try session.store.stage([1], in: .checks), as: .check, of: try #require(GroupID("other")),
      replacing: false)
    #expect(try strangers(name) == [], "\(step)")
  }

  @Test(arguments: Change.all) func killedAtEveryStep(_ change: Change) throws {
    guard let library = try FaultLibrary.build(in: scratch) else {
      print("skipped: killedAtEveryStep needs a C compiler")
      return
    }
    var step = 1
    while true {
      try makePlace("p", for: change)
      let status = run(
        change.arguments, in: "p", command: change.command,
        fault: "LD_PRELOAD=\(library.text) FAULT_KILL=\(step)")
      if change.before.isEmpty {
        // The leftovers are not taken for a store that lost its ledger, and block no further push.
        Scratch.remove(scratch["q"])
        #expect(shell("cp -a \(scratch["p"].text) \(scratch["q"].text)") == 0)
        let had = try contents("q")
        #expect(run("< 1.tbk", in: "q") == 0, "killed at step \(step)")
        #expect(try contents("q") == had + [1])
      }
      try expectWhole("p", change, status: status, "killed at step \(step)")
      if status != 137 { break }
      step += distance
    }
    #expect(step > 10, "the faults did not reach the program")
  }

  @Test(arguments: Change.all) func aCallFailsAtEveryStep(_ change: Change) throws {
    guard let library = try FaultLibrary.build(in: scratch) else {
      print("skipped: aCallFailsAtEveryStep needs a C compiler")
      return
    }
    for (kind, number) in [("ONCE", EIO), ("FROM", ENOSPC)]
    where kind == "ONCE" || change.arguments.contains("2.tbk") {
      var successes = 0
      // Each kind of fault and change tests different steps.
      let first = 1 + (change.arguments.count + Int(number)) % distance
      for step in stride(from: first, through: 80, by: distance) where successes < max(2, 8 / distance) {
        try makePlace("p", for: change)
        let status = run(
          change.arguments, in: "p", command: change.command,
          fault: "LD_PRELOAD=\(library.text) FAULT_\(kind)=\(step) FAULT_ERRNO=\(number)")
        #expect([0, 73, 74].contains(status), "\(kind) \(step): \(status)")
        try expectWhole("p", change, status: status, "\(kind) \(step)")
        successes = status == 0 ? successes + 1 : 0
      }
    }
  }

  @Test func twoProcessesLoseNothing() throws {
    try makePlace("two", for: Change.all[0])
    for writer in 0..<2 {
      for number in 0..<20 {
        try AtomicFile.write(
          try archive(writer * 1000 + number), to: scratch["w\(writer)-\(number)"])
      }
    }
    let status = shell(
      """
      cd \(scratch.path.text)
      for w in 0 1; do
        (for n in $(seq 0 19); do
           TERMBACKUP_HOME=two/home$w \(tool) tbk-push two/store --group g$w --new-group <w$w-$n >>two/out$w || exit 1
         done) 2>two/err$w &
        pids="$pids $!"
      done
      for p in $pids; do wait $p || exit 1; done
      """)
    #expect(status == 0)
    let session = try makeSession(try DirectoryStore(scratch["two/store"]), home: nil)
    let snapshot = try session.snapshot()
    #expect(snapshot.entries.count == 40 && snapshot.ledger?.identity?.sequence == 40)
    for writer in 0..<2 {
      let order = snapshot.entries.filter { $0.group == GroupID("g\(writer)") }.map(\.sha256)
      #expect(order == (try (0..<20).map { try SHA256.hash(try archive(writer * 1000 + $0)) }))
    }
    for entry in snapshot.entries {
      #expect(try SHA256.hash(session.store.contents(entry.archiveReference.path)) == entry.sha256)
    }
  }

  /// The disk is full, without free bytes or inodes; home and store are both on it.
  @Test(arguments: [("tbk-prune", "--keep-last 1"), ("tbk-store remove", "$(cat 1.id)")])
  func removingNeedsNoRoom(_ command: String, _ arguments: String) throws {
    let mount = scratch["disk"].text
    let options = "size=2m,nr_inodes=64"
    guard
      shell("mkdir \(mount) && mount -t tmpfs -o \(options) none \(mount) 2>/dev/null") == 0
    else {
      print("skipped: removingNeedsNoRoom needs the right to mount a tmpfs")
      return
    }
    defer { shell("umount \(mount)") }
    guard let library = try FaultLibrary.build(in: scratch) else {
      print("skipped: removingNeedsNoRoom needs a C compiler")
      return
    }
    func remove(_ fault: String = "") -> Int32 {
      run(arguments, in: "disk", command: command, fault: fault)
    }
    var step = 0
    while true {
      #expect(shell("rm -rf \(mount)/* && mkdir \(mount)/store") == 0)
      for seed in [1, 2] {
        #expect(run("--sealed-manifest 1\(seed).tbk < \(seed).tbk", in: "disk") == 0)
      }
      shell("cat /dev/zero >\(mount)/filler 2>/dev/null")
      shell("cd \(mount) && i=0; while (: >$i) 2>/dev/null; do i=$((i + 1)); done")
      step += 1
      let status = remove("LD_PRELOAD=\(library.text) FAULT_KILL=\(step)")
      let now = try contents("disk")
      #expect(now == [1, 2] || now == [2], "killed at step \(step): \(now)")
      let again = remove()
      #expect(again == 0 || now == [2] && again == 69, "killed at step \(step): \(again)")
      #expect(try contents("disk") == [2])
      if status != 137 {
        #expect(status == 0)
        break
      }
    }
    #expect(step > 10, "the faults did not reach the program")
    // The reserve has been restored.
    shell("rm \(mount)/filler; cd \(mount) && rm -f [0-9]*")
    #expect(run("< 1.tbk", in: "disk") == 0)
    #expect(try strangers("disk") == [])
    let store = try DirectoryStore(scratch["disk/store"])
    for kind in DirectoryReserve.Kind.allCases {
      #expect(try store.root.statusIfPresent(of: kind.name)?.st_size ?? 0 >= 16 << 10)
    }
  }

  @Test func leftoversGoFromAFullDisk() throws {
    let mount = scratch["disk"].text
    guard shell("mkdir \(mount) && mount -t tmpfs -o size=2m none \(mount) 2>/dev/null") == 0 else {
      print("skipped: leftoversGoFromAFullDisk needs the right to mount a tmpfs")
      return
    }
    defer { shell("umount \(mount)") }
    #expect(shell("mkdir \(mount)/store") == 0)
    #expect(run("< 1.tbk", in: "disk") == 0)
    let old = "store/backups/.tbk-0123456789abcdef.tmp"
    #expect(shell("cd \(mount) && echo old >\(old) && touch -d '2 days ago' \(old)") == 0)
    shell("cat /dev/zero >\(mount)/filler 2>/dev/null")
    #expect(run("", in: "disk", command: "tbk-store clean") == 0)
    #expect(shell("test ! -e \(mount)/\(old)") == 0)
    #expect(try contents("disk") == [1])
  }

  /// Space for removals is reserved before the disk is full, and a backup that would need it is refused.
  @Test func aBackupLeavesRoomForRemoving() throws {
    let mount = scratch["disk"].text
    guard shell("mkdir \(mount) && mount -t tmpfs -o size=128k none \(mount) 2>/dev/null") == 0 else {
      print("skipped: aBackupLeavesRoomForRemoving needs the right to mount a tmpfs")
      return
    }
    defer { shell("umount \(mount)") }
    #expect(shell("mkdir \(mount)/store") == 0)
    // There is space for the archive, but not for the archive and the reserve.
    shell("cd \(mount) && head -c 80000 /dev/zero >filler")
    #expect(run("< 1.tbk", in: "disk") == 74)
    #expect(try contents("disk") == [])
    shell("rm \(mount)/filler")
    #expect(run("< 1.tbk", in: "disk") == 0)
  }

  @Test func aFullDiskLosesNothing() throws {
    let mount = scratch["disk"].text
    guard shell("mkdir \(mount) && mount -t tmpfs -o size=2m none \(mount) 2>/dev/null") == 0 else {
      print("skipped: aFullDiskLosesNothing needs the right to mount a tmpfs")
      return
    }
    defer { shell("umount \(mount)") }
    for free in stride(from: 0, through: 100, by: 4 * distance) {
      #expect(shell("rm -rf \(mount)/* && mkdir \(mount)/store") == 0)
      #expect(run("< 1.tbk", in: "disk") == 0)
      // All but this many KiB is in use.
      shell(
        "cd \(mount) && n=$(df -k --output=avail . | tail -1) && "
          + "dd if=/dev/zero of=filler bs=1k count=$((n - \(free))) status=none")
      let arguments = "--receipt 2.json --sealed-manifest 12.tbk < 2.tbk"
      let status = run(arguments, in: "disk")
      #expect([0, 73, 74].contains(status), "\(free) KiB: \(status)")
      #expect(try contents("disk") == (status == 0 ? [1, 2] : [1]), "\(free) KiB")
      shell("rm \(mount)/filler")
      #expect(run(arguments, in: "disk") == 0)
      #expect(try contents("disk") == [1, 2])
      #expect(try strangers("disk") == [])
    }
  }
}

import TBKCore
import TBKFormat

/// Something that an interrupted run left behind.
struct Leftover: Equatable {
  /// `temporary`, `cache`, or a kind of `tbk-store clean`.
  let kind: String
  let size: UInt64
  let name: RawPath
  /// The store it is in; nil if it is on this machine.
  var store: String?

  var json: JSON {
    .object([
      "kind": .string(kind), "size": .number(size), "name": .string(name.bytes),
      "store": store.map { .string($0) } ?? .null,
    ])
  }

  init(kind: String, size: UInt64, name: RawPath, store: String? = nil) {
    self.kind = kind
    self.size = size
    self.name = name
    self.store = store
  }

  init?(_ json: JSON) {
    guard let kind = json["kind"]?.text, let size = json["size"]?.integer(UInt64.self), let name = json["name"]?.bytes
    else { return nil }
    self.init(kind: kind, size: size, name: RawPath(name), store: json["store"]?.text)
  }
}

/// The leftovers that were, or would be, removed.
struct LeftoversReport {
  let leftovers: [Leftover]
  let dryRun: Bool

  private var size: UInt64 { leftovers.reduce(0) { $0 &+ $1.size } }

  var json: JSON {
    .object([
      "dry_run": .bool(dryRun), "removed_count": .number(leftovers.count), "size": .number(size),
      "leftovers": .array(leftovers.map(\.json)),
    ])
  }

  var text: String {
    leftovers.map { leftover in
      let size = humanSize(leftover.size)
      let blanks = String(repeating: " ", count: max(10 - size.utf8.count, 0))
      let store = leftover.store.map { RawPath($0).quoted + ": " } ?? ""
      return "\(blanks)\(size)  \(store)\(leftover.name.quoted)\n"
    }.joined()
  }

  /// Their number and size as text; nil if there are none.
  var summary: String? {
    leftovers.isEmpty
      ? nil : "\(dryRun ? "would remove" : "removed") \(leftovers.count), \(humanSize(size))"
  }
}

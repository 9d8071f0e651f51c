import CSystem
import Glibc
import TBKCore

/// The kernel's notifications of changes in watched directories (inotify(7)).
package final class Inotify {
  /// An event for a name in a watched directory, or for the directory itself.
  package struct Event: Equatable {
    package let watch: Int32
    package let mask: UInt32
    /// Empty if the event is about the directory itself.
    package let name: [UInt8]

    package func has(_ bits: Int...) -> Bool { bits.contains { mask & UInt32($0) != 0 } }
  }

  package let descriptor: Descriptor
  private var buffer = [UInt8](repeating: 0, count: 64 * 1024)

  /// Nil if the kernel provides none; `errno` shows why.
  package init?() {
    let number = tbk_inotify_open()
    if number < 0 { return nil }
    descriptor = Descriptor(owning: number)
  }

  /// Watches an open directory. Nil on failure, with `errno` set; a directory that is already watched keeps its watch.
  package func add(_ directory: Descriptor) -> Int32? {
    let watch = tbk_inotify_add(descriptor.number, directory.number)
    return watch < 0 ? nil : watch
  }

  package func remove(_ watch: Int32) { _ = tbk_inotify_remove(descriptor.number, watch) }

  /// The events queued so far; empty if there are none.
  package func events() throws(Failure) -> [Event] {
    while true {
      try Interruption.check()
      let count = unsafe buffer.withUnsafeMutableBytes { raw in
        unsafe Glibc.read(descriptor.number, raw.baseAddress, raw.count)
      }
      if count >= 0 { return Inotify.parse(buffer[..<count]) }
      if errno == EAGAIN { return [] }
      if errno != EINTR { throw .system("cannot read what inotify reports") }
    }
  }

  /// Parses the kernel's event buffer: each event has a watch, a mask, a cookie, a length and a name padded with NUL
  /// bytes to that length.
  package static func parse(_ bytes: ArraySlice<UInt8>) -> [Event] {
    var events: [Event] = []
    var rest = bytes
    func number(_ offset: Int) -> UInt32 {
      (0..<4).reversed().reduce(0) { $0 << 8 | UInt32(rest[rest.startIndex + offset + $1]) }
    }
    while rest.count >= 16 {
      let length = Int(number(12))
      guard rest.count - 16 >= length else { break }
      let name = rest.dropFirst(16).prefix(length).prefix { $0 != 0 }
      events.append(
        Event(watch: Int32(bitPattern: number(0)), mask: number(4), name: Array(name)))
      rest = rest.dropFirst(16 + length)
    }
    return events
  }
}

/// The watched directories as a tree of names, indexed by watch.
package struct WatchedTree {
  private struct Directory {
    var parent: Int32
    var name: RawPath
    var children: [RawPath: Int32] = [:]
    /// Whether a CACHEDIR.TAG excludes its contents.
    var isCache = false
  }

  private var directories: [Int32: Directory] = [:]
  package private(set) var root: Int32 = -1

  package init() {}

  package var count: Int { directories.count }

  package func has(_ watch: Int32) -> Bool { directories[watch] != nil }

  package func child(_ name: RawPath, of watch: Int32) -> Int32? {
    directories[watch]?.children[name]
  }

  /// The path of a watched directory, empty for the root.
  package func path(of watch: Int32) -> [UInt8] {
    var names: [[UInt8]] = []
    var current = watch
    while current != root, let directory = directories[current] {
      names.append(directory.name.bytes)
      current = directory.parent
    }
    return Array(names.reversed().joined(separator: [UInt8(ascii: "/")]))
  }

  package mutating func insertRoot(_ watch: Int32) {
    root = watch
    directories[watch] = Directory(parent: -1, name: RawPath([]))
  }

  /// Inserts a directory at its current place. If it was elsewhere, it has moved.
  ///
  /// - Returns: the watches replaced there, which are of no more use; nil if the directory is its own ancestor, which a
  ///   bind mount makes possible.
  package mutating func insert(_ watch: Int32, _ name: RawPath, under parent: Int32) -> [Int32]? {
    var above = parent
    while let directory = directories[above] {
      if above == watch { return nil }
      above = directory.parent
    }
    var replaced: [Int32] = []
    if let other = child(name, of: parent), other != watch { replaced = remove(other) }
    if let known = directories[watch] {
      if directories[known.parent]?.children[known.name] == watch {
        directories[known.parent]?.children[known.name] = nil
      }
      directories[watch]?.parent = parent
      directories[watch]?.name = name
    } else {
      directories[watch] = Directory(parent: parent, name: name)
    }
    directories[parent]?.children[name] = watch
    return replaced
  }

  /// Removes a directory and everything below it; returns their watches.
  package mutating func remove(_ watch: Int32) -> [Int32] {
    guard let directory = directories[watch] else { return [] }
    if directories[directory.parent]?.children[directory.name] == watch {
      directories[directory.parent]?.children[directory.name] = nil
    }
    var gone = [watch]
    var index = 0
    while index < gone.count {
      if let removed = directories.removeValue(forKey: gone[index]) {
        gone += removed.children.values
      }
      index += 1
    }
    return gone
  }

  /// Removes everything below a directory; returns the watches.
  package mutating func removeChildren(of watch: Int32) -> [Int32] {
    var gone: [Int32] = []
    for child in directories[watch]?.children.values.map({ $0 }) ?? [] { gone += remove(child) }
    return gone
  }

  package subscript(isCache watch: Int32) -> Bool {
    get { directories[watch]?.isCache ?? false }
    set { directories[watch]?.isCache = newValue }
  }
}

import TBKCore
package enum EntryName {
  package static func check(_ name: Span<UInt8>) throws(Failure) {}
}

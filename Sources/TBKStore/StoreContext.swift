import TBKCore

/// What opening a store may need beside its address.
package struct StoreContext {
  /// Seconds to wait for other writers, and for a network that fails; nil for what suits the store.
  package var maximumWait: Int?
  /// The token, asked for once and only by a store that needs one.
  package var token: () throws(Failure) -> Secret?
  package var placement = GitHubPlacement.auto
  package var rates = StoreRates()
  /// Where ledgers are kept that need not be fetched again; nil to keep none.
  package var cacheDirectory: RawPath?
  /// As HTTP's `User-Agent`.
  package var userAgent: String
  /// Told what the person should know, and can go on without.
  package var notice: (String) -> Void
  /// Gets the messages of the program through which the store is reached, one line at a time.
  package var remark: (String) -> Void = { _ in }
  /// Told by a store on a network of bytes as they leave or arrive; negative where they have to do
  /// so again.
  package var progress: (Int) -> Void = { _ in }

  package init(
    userAgent: String, maximumWait: Int? = nil, cacheDirectory: RawPath? = nil,
    notice: @escaping (String) -> Void = { _ in },
    token: @escaping () throws(Failure) -> Secret? = { () throws(Failure) in nil }
  ) {
    self.userAgent = userAgent
    self.maximumWait = maximumWait
    self.cacheDirectory = cacheDirectory
    self.notice = notice
    self.token = token
  }
}

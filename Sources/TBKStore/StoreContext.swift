import TBKCore

/// What opening a store may need besides its address.
package struct StoreContext {
  /// Seconds to wait for other writers, and while the network fails; nil for the store's default.
  package var maximumWait: Int?
  /// Returns the token; called once, and only by a store that needs one.
  package var token: () throws(Failure) -> Secret?
  package var placement = GitHubPlacement.auto
  package var rates = StoreRates()
  /// Where ledgers are cached; nil to cache none.
  package var cacheDirectory: RawPath?
  /// For HTTP's `User-Agent`.
  package var userAgent: String
  /// Called with messages for the user that need no action.
  package var notice: (String) -> Void
  /// Called with each line of messages from the helper program of the store.
  package var remark: (String) -> Void = { _ in }
  /// Called by network stores with the number of bytes sent or received; negative if they must be transferred again.
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

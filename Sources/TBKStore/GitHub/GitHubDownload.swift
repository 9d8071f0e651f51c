import TBKCore
import TBKFormat

/// Several pieces as one stream. The next ones are fetched while one is read.
///
/// At most `HTTPClient.width` pieces are in memory, so a piece must be small.
final class PiecewiseDownload: ByteSource {
  /// How much of an asset is requested at once, in bytes.
  static let pieceSize: UInt64 = 8 << 20

  /// Makes the request for a piece; called when its turn comes, and again if it must be repeated.
  struct Piece {
    /// The name for failures.
    let what: String
    let size: UInt64
    let exchange: () throws(Failure) -> HTTPExchange
    /// Called with the response; returns true if the piece must be requested again.
    let note: (HTTPResponse) -> Bool
  }

  private let client: HTTPClient
  private var pieces: ArraySlice<Piece>
  private var fetched: [(piece: Piece, exchange: HTTPExchange, repairs: Int)] = []
  private var current: [UInt8] = []
  private var position = 0

  init(_ client: HTTPClient, _ pieces: [Piece]) {
    self.client = client
    self.pieces = pieces[...]
  }

  deinit {
    if !fetched.isEmpty { client.cancel() }
  }

  func read(into buffer: inout [UInt8]) throws(Failure) -> Int {
    while position == current.count {
      guard let next = try nextPiece() else { return 0 }
      current = next
      position = 0
    }
    let count = min(buffer.count, current.count - position)
    let current = self.current
    buffer.replaceFront(with: current.span.extracting(position..<position + count))
    position += count
    return count
  }

  /// Requests the first pieces, so that they arrive while others are read.
  func start() throws(Failure) {
    while fetched.count < client.width, let piece = pieces.popFirst() {
      let exchange = try piece.exchange()
      client.start(exchange)
      fetched.append((piece, exchange, 0))
    }
  }

  private func nextPiece() throws(Failure) -> [UInt8]? {
    while true {
      try start()
      current = []
      position = 0
      guard let (piece, exchange, repairs) = fetched.first else { return nil }
      try client.drive { exchange.isOver }
      let response = try exchange.get()
      let mayAskAgain = piece.note(response)
      if response.isSuccess, UInt64(response.body.count) == piece.size {
        fetched.removeFirst()
        return response.body
      }
      if response.status == 404 { throw GitHubStore.missing(piece.what) }
      guard repairs < 3, mayAskAgain else {
        throw Failure(
          .integrity,
          "\(response.url.authority) sends \(response.body.count) bytes of \(piece.what), which "
            + "has \(piece.size), with status \(response.status)",
          hint: "the store has lost or altered it", httpStatus: response.status)
      }
      let again = try piece.exchange()
      client.start(again)
      fetched[0] = (piece, again, repairs + 1)
    }
  }
}

/// A random sample, of a given number or percentage.
package struct RandomSample: Sendable {
  private let number: Int
  private let isPercentage: Bool
  private let seed: UInt64

  /// - Parameter text: a number, or a percentage such as `10%`, rounded up. Nil for anything else.
  package init?(_ text: String) {
    isPercentage = text.hasSuffix("%")
    let digits = isPercentage ? text.dropLast() : text[...]
    guard let number = Int(digits), number >= 0 else { return nil }
    self.number = number
    seed = .random(in: .min ... .max)
  }

  /// Chooses some of the elements, in their order; the same ones each time for the same elements.
  package func taken<Element>(of elements: [Element]) -> [Element] {
    let share = min(number, 100)
    let whole = elements.count / 100 * share + (elements.count % 100 * share + 99) / 100
    var generator = SplitMix(state: seed)
    let chosen = elements.indices.shuffled(using: &generator).prefix(isPercentage ? whole : number)
    return chosen.sorted().map { elements[$0] }
  }
}

/// SplitMix64: good enough for sampling, not for secrets.
private struct SplitMix: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
    return mixed ^ (mixed >> 31)
  }
}

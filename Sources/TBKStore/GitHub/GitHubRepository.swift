import TBKCore
import TBKFormat

/// A repository on GitHub and the branch that is the store.
package struct GitHubRepository: Hashable, Sendable {
  package let owner: String
  package let name: String
  /// Nil for the repository's default branch.
  package var branch: String?

  /// Reads `owner/repo` or `owner/repo#branch`; nil for anything else.
  package init?(_ text: String) {
    guard case .gitHub(let checked)? = try? StoreReference(Array("github:\(text)".utf8)) else {
      return nil
    }
    let pieces = checked.split(separator: "#", maxSplits: 1)
    let names = pieces[0].split(separator: "/")
    guard names.count == 2 else { return nil }
    owner = String(names[0])
    name = String(names[1])
    branch = pieces.count == 2 ? String(pieces[1]) : nil
  }

  /// `owner/repo`.
  package var fullName: String { "\(owner)/\(name)" }

  /// The path of the repository below the API's root.
  package var path: String { "repos/\(fullName)" }

  /// As it is typed: `owner/repo#branch`.
  package var display: String { branch.map { "\(fullName)#\($0)" } ?? fullName }
}

/// The name of an object in git: 40 hexadecimal digits, or 64 in a SHA-256 repository.
package struct GitObjectID: Hashable, Sendable, CustomStringConvertible {
  package let description: String

  package init?(_ text: String?) {
    guard let text, [40, 64].contains(text.utf8.count),
      text.utf8.allSatisfy({ hexDigits.contains($0) })
    else { return nil }
    description = text
  }
}

/// Where large objects are stored.
package enum GitHubPlacement: String, CaseIterable, Sendable {
  /// Archives of more than one part into release assets, everything else into commits.
  case auto
  /// Everything into commits: git keeps everything that was ever committed.
  case git
  /// All archives into release assets, which can be deleted permanently.
  case release
}

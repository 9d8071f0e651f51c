// swift-tools-version: 6.2
import PackageDescription

let package = Package(
  name: "read-backup",
  // Elsewhere, the repository by its URL: .package(url: "https://…/termbackup", from: "…")
  dependencies: [.package(name: "termbackup", path: "../..")],
  targets: [
    .executableTarget(
      name: "read-backup", dependencies: [.product(name: "TermBackup", package: "termbackup")])
  ])

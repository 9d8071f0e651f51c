// swift-tools-version: 6.2
import PackageDescription

/// Swift 6 mode with strict memory safety everywhere; in CI every warning is an error.
let strict: [SwiftSetting] =
  [.strictMemorySafety()]
  + (Context.environment["CI"] == nil ? [] : [.treatAllWarnings(as: .error)])

/// For what runs once and waits for nobody: smaller rather than faster.
let small: [SwiftSetting] = strict + [.unsafeFlags(["-Osize"], .when(configuration: .release))]

let argumentParser: Target.Dependency =
  .product(name: "ArgumentParser", package: "swift-argument-parser")

/// What `make fuzz` builds: libFuzzer, which only that links, has the main function.
let fuzzer: [Target] =
  Context.environment["TERMBACKUP_FUZZER"] == nil
  ? []
  : [
    .executableTarget(
      name: "fuzz", dependencies: ["FuzzedParsers"], path: "Tests/Fuzz/Driver",
      swiftSettings: strict)
  ]

/// What `make docs` runs: DocC.
let documentation: [Package.Dependency] =
  Context.environment["TERMBACKUP_DOCS"] == nil
  ? [] : [.package(url: "https://github.com/swiftlang/swift-docc-plugin", exact: "1.5.0")]

let package = Package(
  name: "termbackup",
  products: [
    .executable(name: "tbk", targets: ["tbk"]),
    .executable(name: "tbk-net", targets: ["tbk-net"]),
    // For other programs that read backups.
    .library(name: "TermBackup", targets: ["TermBackup"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2")
  ] + documentation,
  targets: [
    // The five libraries of the system, and the calls that Swift cannot import.
    .systemLibrary(name: "CCrypto", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
    .systemLibrary(name: "CArgon2", pkgConfig: "libargon2", providers: [.apt(["libargon2-dev"])]),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .systemLibrary(name: "CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
    .systemLibrary(
      name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
    .target(name: "CSystem"),
    .target(name: "CMemory", dependencies: ["CSystem"]),

    // Core <- Crypto, Format; Crypto + Format <- Archive, Store, Settings; Core <- Command;
    // Archive, which walks trees, <- Watch.
    .target(name: "TBKCore", dependencies: ["CSystem"], swiftSettings: strict),
    .target(
      name: "TBKCrypto", dependencies: ["TBKCore", "CCrypto", "CArgon2"], swiftSettings: strict),
    .target(name: "TBKFormat", dependencies: ["TBKCore"], swiftSettings: strict),
    .target(
      name: "TBKArchive", dependencies: ["TBKCore", "TBKCrypto", "TBKFormat", "CZlib", "CZstd"],
      swiftSettings: strict),
    .target(
      name: "TBKStore", dependencies: ["TBKCore", "TBKCrypto", "TBKFormat", "CCurl"],
      swiftSettings: strict),
    .target(
      name: "TBKSettings", dependencies: ["TBKCore", "TBKCrypto", "TBKFormat"],
      swiftSettings: strict),
    .target(
      name: "TermBackup", dependencies: ["TBKCore", "TBKCrypto", "TBKFormat", "TBKArchive"],
      swiftSettings: strict),
    .target(name: "TBKWatch", dependencies: ["TBKCore", "TBKFormat", "TBKArchive"], swiftSettings: strict),
    .target(
      name: "TBKCommand", dependencies: ["TBKCore", argumentParser], swiftSettings: strict),

    .target(
      name: "TBKWorkflow",
      dependencies: [
        "TBKArchive", "TBKCommand", "TBKCore", "TBKCrypto", "TBKFormat", "TBKSettings", argumentParser,
      ],
      swiftSettings: small),

    // Two programs under many names: only the second one loads libcurl.
    .executableTarget(
      name: "tbk",
      dependencies: [
        "TBKArchive", "TBKCommand", "TBKCore", "TBKCrypto", "TBKFormat", "TBKSettings",
        "TBKWatch", "TBKWorkflow", "CMemory", argumentParser,
      ],
      swiftSettings: strict),
    .executableTarget(
      name: "tbk-net",
      dependencies: [
        "TBKStore", "TBKSettings", "TBKCommand", "TBKCore", "TBKCrypto", "TBKFormat", "CMemory",
        argumentParser,
      ],
      swiftSettings: strict),

    .testTarget(name: "TBKCoreTests", dependencies: ["TBKCore", "TBKCommand", argumentParser], swiftSettings: strict),
    .testTarget(name: "TBKCryptoTests", dependencies: ["TBKCrypto"], swiftSettings: strict),
    .testTarget(name: "TBKFormatTests", dependencies: ["TBKFormat"], swiftSettings: strict),
    .testTarget(
      name: "TBKArchiveTests", dependencies: ["TBKArchive", "TBKCore", "TBKCrypto", "TBKFormat", "CZlib", "CZstd"],
      swiftSettings: strict),
    .testTarget(
      name: "TBKSettingsTests", dependencies: ["TBKSettings", "TBKFormat", "TBKCrypto", "TBKCore"],
      swiftSettings: strict),
    .testTarget(name: "TBKWorkflowTests", dependencies: ["TBKWorkflow", "TBKCommand"], swiftSettings: strict),
    .testTarget(
      name: "TermBackupTests", dependencies: ["TermBackup", "TBKArchive", "TBKCore", "TBKCrypto", "TBKFormat"],
      swiftSettings: strict),
    .testTarget(name: "TBKWatchTests", dependencies: ["TBKWatch", "TBKCore"], swiftSettings: strict),
    .testTarget(name: "TBKStoreTests", dependencies: ["TBKStore"], swiftSettings: strict),
    .target(
      name: "FuzzedParsers",
      dependencies: ["TBKArchive", "TBKCore", "TBKCrypto", "TBKFormat", "TBKStore"],
      path: "Tests/Fuzz/Parsers", swiftSettings: strict),
    .testTarget(name: "FuzzTests", dependencies: ["FuzzedParsers", "TBKCore"], swiftSettings: strict),
  ] + fuzzer,
  swiftLanguageModes: [.v6]
)

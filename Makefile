# TermBackup. GNU make; the recipes are POSIX sh. `make help` lists the targets.

PREFIX = /usr/local
DESTDIR =
CONFIGURATION = release
SWIFT = swift
PYTHON = python3
# How long `make soak` fuzzes each parser.
SOAK_SECONDS = 5
# The Swift suites that test more with TERMBACKUP_SOAK, each in a file of its name.
SOAK_SUITES = $(shell grep -rl --include='*.swift' TERMBACKUP_SOAK Tests | sed 's|.*/||; s|\.swift$$||' | paste -sd '|' -)
# Suites that take more than seven seconds of processor time: `make check` leaves them to `make test`.
SLOW_SUITES = ProcessFaultTests|ChunkTests|FuzzTests|ManifestParserTests|GzipCompressorTests|PrivateCopyTests|HTTPClientTests|LedgerTests
# The directory that `make demo` backs up.
DIR = $(CURDIR)/Sources

LOCAL_COMMANDS = tbk-manifest tbk-seal tbk-open tbk-keygen tbk-sign tbk-audit tbk-config tbk-watch
NETWORK_COMMANDS = tbk-push tbk-pull tbk-store tbk-prune tbk-token tbk-notify

SUITE = .build/suite
# Its time is that of the last complete `make suite`.
MADE = .build/suite.made
SWIFT_FILES = Package.swift Sources Tests examples/swift
VENV = .build/venv
# A debug build shares its objects with the tests, which are linked dynamically.
STATIC = $(if $(filter debug,$(CONFIGURATION)),,--static-swift-stdlib)
# Identical functions are merged, programs export no symbols, and the index that C++ exceptions need to find their frames is
# left out, as there are none: this saves a twentieth of the size.
SMALLER = $(if $(filter debug,$(CONFIGURATION)),,$(if $(filter Linux,$(shell uname)),-Xlinker --icf=all -Xlinker --no-export-dynamic -Xlinker --no-eh-frame-hdr))
SWIFT_BUILD = $(SWIFT) build -c $(CONFIGURATION) $(STATIC) $(SMALLER)
PYTHON_PACKAGES = Tests/reference/requirements.txt

SCRIPTS = bin/termbackup $(wildcard bin/verbs/* bin/lib/*.sh)
HELPERS = $(wildcard bin/tbk-store-*)
MANUALS = $(wildcard man/*.[157])
# Installed below share/doc/termbackup, with the same names.
DOCUMENTS = README.md LICENSE SECURITY.md CHANGELOG.md $(wildcard docs/*.md docs/how-to/*.md docs/pictures/*.svg \
	docs/schema/*.json examples/*.* examples/Makefile examples/systemd/* examples/swift/Package.swift \
	examples/swift/Sources/*/*.swift)
# The completions, and the directories below a prefix in which the shells look for them.
COMPLETIONS = completions
BASH_COMPLETIONS = share/bash-completion/completions
ZSH_COMPLETIONS = share/zsh/site-functions
FISH_COMPLETIONS = share/fish/vendor_completions.d
# Scripts outside of the suite that are checked like it.
OTHER_SCRIPTS = .ci/run packaging/facts packaging/deb packaging/dist $(wildcard action/*) $(wildcard examples/*.sh)
# The directory for packages.
DIST = .build/dist

.SUFFIXES:
.DELETE_ON_ERROR:
# The shell gets these from the environment, whatever characters they contain.
export PREFIX DESTDIR DIR DIST

.PHONY: all built programs suite packages venv demo check test soak completions messages pictures docs format lint lint-shell lint-manuals \
	lint-swift lint-python test-swift test-smoke test-python soak-swift soak-python soak-fuzz bench fuzz install uninstall deb dist dist-source dist-binary clean help

all: suite

help:
	@printf '%s\n' \
	  'make                   build the suite in $(SUITE)' \
	  'make demo [DIR=…]      build, back up a directory, restore it, compare' \
	  'make check             two minutes: most of swift test, each command and verb once' \
	  'make test              every test once: lint, swift test, pytest' \
	  'make completions       update the completions from the declarations of the commands' \
	  'make messages          list all messages again; read the diff' \
	  'make docs              write the reference of the library TermBackup, with DocC, to $(DOCUMENTATION)' \
	  'make pictures          draw the terminal session of README.md again, from a real run' \
	  'make soak              the long tests: random walks, every kill and fault, packages, fuzzing' \
	  'make format            format the Swift files, and fix what ruff can fix' \
	  'make lint              one part of make test; the others are make test-swift, make test-smoke and' \
	  '                       make test-python. Those of make soak:' \
	  '                       make soak-swift, make soak-python, make soak-fuzz' \
	  'make bench             measure against tar, pigz, age, borg and restic' \
	  'make fuzz [SECONDS=N] [PARSER=NAME]' \
	  '                       run libFuzzer on each parser, for N seconds (60)' \
	  'make install           [PREFIX=/usr/local] [DESTDIR=]' \
	  'make uninstall         [PREFIX=/usr/local] [DESTDIR=]' \
	  'make deb               make a Debian package, in $(DIST)' \
	  'make dist              make archives of source and programs, with checksums, in $(DIST);' \
	  '                       make dist-source and make dist-binary make only one of them' \
	  'make clean             remove everything that was built'

# Functions for the recipes below: eval "$$FUNCTIONS".
define FUNCTIONS
say() { printf 'make: %s\n' "$$*" >&2; }

# has_header NAME: whether the header of a library is installed.
has_header() {
	for compiler in clang cc gcc; do
		command -v "$$compiler" >/dev/null 2>&1 || continue
		printf '#include <%s>\n' "$$1" | "$$compiler" -E -x c - >/dev/null 2>&1 && return 0
	done
	for folder in /usr/include /usr/include/*-linux-* /usr/local/include; do
		test -e "$$folder/$$1" && return 0
	done
	return 1
}

# Prints the Debian packages that a build needs and that are missing.
missing_packages() {
	has_header openssl/evp.h || printf ' libssl-dev'
	has_header argon2.h || printf ' libargon2-dev'
	has_header curl/curl.h || printf ' libcurl4-openssl-dev'
	has_header zlib.h || printf ' zlib1g-dev'
	has_header zstd.h || printf ' libzstd-dev'
}

need_swift() {
	command -v "$(SWIFT)" >/dev/null 2>&1 && return 0
	say "the Swift compiler is missing: install Swift 6.2 or later (swift.org/install)"
	return 1
}

# skipped WHAT: names a check that is left out; with CI=true, fails.
skipped() {
	if test "$${CI:-}" = true; then say "error: $$*"; return 1; fi
	say "skipped: $$*"
}

# each_completion ACTION TOP: runs ACTION with each completion file and its directory below TOP.
each_completion() {
	for way in bash:$(BASH_COMPLETIONS) zsh:$(ZSH_COMPLETIONS) fish:$(FISH_COMPLETIONS); do
		for file in "$(COMPLETIONS)/$${way%%:*}"/*; do
			test -f "$$file" || continue
			"$$1" "$$file" "$$2/$${way#*:}"
		done
	done
}

lay_completion() { install -d "$$2" && install -m 644 "$$1" "$$2/"; }

# lay_document FROM TO: installs it, with its directory.
lay_document() {
	mode=644; test ! -x "$$1" || mode=755
	install -d "$${2%/*}" && install -m "$$mode" "$$1" "$$2"
}

remove_completion() { rm -f "$$2/$${1##*/}"; }

# Below TOP, for the tbk- commands, too: bash and fish look for a file with the name of the command.
link_completions() {
	for command in $(LOCAL_COMMANDS) $(NETWORK_COMMANDS); do
		test ! -e "$$1/$(BASH_COMPLETIONS)/termbackup" || ln -sfn termbackup "$$1/$(BASH_COMPLETIONS)/$$command"
		test ! -e "$$1/$(FISH_COMPLETIONS)/termbackup.fish" ||
			ln -sfn termbackup.fish "$$1/$(FISH_COMPLETIONS)/$$command.fish"
	done
}

# is_stale: whether the source has changed since the suite was last assembled.
is_stale() {
	test ! -e $(MADE) || test -n "$$(find Makefile Package.swift Sources bin man completions $(DOCUMENTS) -newer $(MADE) | head -n 1)"
}

# is_others: whether root would leave its files in another user's checkout.
is_others() { test "$$(id -u)" -eq 0 && test "$$(stat -c %u .)" -ne 0; }

# index_manuals PREFIX: updates the index of whatis and apropos for the pages below it.
index_manuals() {
	test -d "$$1/share/man" || return 0
	if test -z "$$(find "$$1/share/man" -type f -path '*/man[1-9]*/*' | head -n 1)"; then
		rm -f "$$1/share/man/mandoc.db" "$$1/share/man/index.db"
		rmdir "$$1"/share/man/cat[1-9] 2>/dev/null || :
		return 0
	fi
	if command -v makewhatis >/dev/null 2>&1; then makewhatis "$$1/share/man" 2>/dev/null || :; fi
	command -v mandb >/dev/null 2>&1 || return 0
	# Run by root, mandb gives a directory that it does not know to the user man.
	case $$(id -u):$$(manpath -gq 2>/dev/null): in
	0:*:"$$1/share/man":* | 0:"$$1/share/man":* | [1-9]*) mandb -q "$$1/share/man" >/dev/null 2>&1 || : ;;
	esac
}
endef
export FUNCTIONS

# Installs what a build needs, if that is possible without asking.
packages:
	@eval "$$FUNCTIONS"; need_swift || exit 1; \
	missing=$$(missing_packages); test -z "$$missing" && exit 0; \
	say "missing:$$missing"; \
	if ! command -v apt-get >/dev/null 2>&1; then \
	  say "install the packages of your system that correspond to these, then run make again"; exit 1; fi; \
	if test "$$(id -u)" -eq 0; then as_root=; \
	elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then as_root='sudo -n'; \
	else say "as root: apt-get install$$missing"; exit 1; fi; \
	$$as_root apt-get update -q && \
	$$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing || { \
	  say "could not install them; as root: apt-get install$$missing"; exit 1; }

programs:
	@eval "$$FUNCTIONS"; need_swift || exit 1; \
	$(SWIFT_BUILD) --product tbk && $(SWIFT_BUILD) --product tbk-net || { \
	  missing=$$(missing_packages); test -z "$$missing" || say "missing packages:$$missing"; exit 1; }

# The tree that is installed; tests and a checkout use it as it is.
suite: programs
	@set -eu; eval "$$FUNCTIONS"; built=$$($(SWIFT_BUILD) --show-bin-path); \
	mkdir -p $(SUITE)/bin $(SUITE)/lib/termbackup; \
	rm -rf $(SUITE)/lib/termbackup/verbs $(SUITE)/lib/termbackup/lib; \
	for program in tbk tbk-net; do \
	  test "$$built/$$program" -ot $(SUITE)/lib/termbackup/$$program && continue; \
	  cp -f "$$built/$$program" $(SUITE)/lib/termbackup/$$program.new; \
	  strip $(SUITE)/lib/termbackup/$$program.new; \
	  mv -f $(SUITE)/lib/termbackup/$$program.new $(SUITE)/lib/termbackup/$$program; \
	done; \
	rm -rf $(SUITE)/share; \
	ln -sfn tbk "$(SUITE)/lib/termbackup/tbk-sh"; \
	for command in $(LOCAL_COMMANDS); do ln -sfn ../lib/termbackup/tbk $(SUITE)/bin/$$command; done; \
	for command in $(NETWORK_COMMANDS); do ln -sfn ../lib/termbackup/tbk-net $(SUITE)/bin/$$command; done; \
	install -d $(SUITE)/lib/termbackup/verbs $(SUITE)/lib/termbackup/lib; \
	install -m 755 bin/verbs/* $(SUITE)/lib/termbackup/verbs/; \
	install -m 644 bin/lib/*.sh $(SUITE)/lib/termbackup/lib/; \
	install -m 755 bin/termbackup $(HELPERS) $(SUITE)/bin/; \
	version=$$(sed -n 's/^package let suiteVersion = "\(.*\)"$$/\1/p' Sources/TBKCommand/Program.swift); \
	for page in $(MANUALS); do section=$${page##*.}; \
	  mkdir -p $(SUITE)/share/man/man$$section; \
	  install -m 644 $$page $(SUITE)/share/man/man$$section/; \
	  sed "s/^\.Os TermBackup\$$/.Os \"TermBackup $$version\"/" $$page >$(SUITE)/share/man/man$$section/$${page##*/}; done; \
	for file in $(DOCUMENTS); do lay_document $$file $(SUITE)/share/doc/termbackup/$$file; done; \
	each_completion lay_completion $(SUITE); link_completions $(SUITE); \
	touch $(MADE); \
	printf '%s\n' "built: $(SUITE)/bin"

venv:
	@eval "$$FUNCTIONS"; \
	cmp -s $(PYTHON_PACKAGES) $(VENV)/made-for && exit 0; \
	command -v "$(PYTHON)" >/dev/null 2>&1 || { skipped "pytest: $(PYTHON) is not installed"; exit; }; \
	rm -rf $(VENV); mkdir -p .build; \
	$(PYTHON) -m venv $(VENV) && $(VENV)/bin/pip install -q --disable-pip-version-check -r $(PYTHON_PACKAGES) || { \
	  rm -rf $(VENV); \
	  skipped "pytest: could not install $$(tr '\n' ' ' <$(PYTHON_PACKAGES))(python3-venv, or the network, is missing)"; exit; }; \
	cp $(PYTHON_PACKAGES) $(VENV)/made-for

# Takes two minutes, once built.
check: packages
	@$(MAKE) --no-print-directory suite venv
	TERMBACKUP_QUICK=1 $(SWIFT) test --skip '$(SLOW_SUITES)'
	@$(MAKE) --no-print-directory test-smoke

# The Swift tests wait a third of the time, so pytest runs in parallel.
test: packages
	@$(MAKE) --no-print-directory suite venv
	@$(MAKE) --no-print-directory lint
	$(SWIFT) build --build-tests
	@$(MAKE) --no-print-directory -j 2 test-swift test-python

# What `make test` leaves out or does only a few times. The Swift suites, few and slow, wait for disks and processes.
soak: packages
	@$(MAKE) --no-print-directory suite venv
	@$(MAKE) --no-print-directory -j 3 soak-swift soak-python soak-fuzz

lint: lint-shell lint-manuals lint-swift lint-python

lint-shell:
	@eval "$$FUNCTIONS"; test -n "$(SCRIPTS)" || exit 0; \
	command -v shellcheck >/dev/null 2>&1 || { skipped "shellcheck is not installed: the scripts are not checked"; exit; }; \
	printf '%s\n' $(SCRIPTS) $(HELPERS) | \
	  xargs -P "$$(nproc)" -n 4 shellcheck -s sh -x -P SCRIPTDIR && \
	shellcheck -s sh -x $(OTHER_SCRIPTS) && printf '%s\n' 'shellcheck: no complaint'

lint-manuals:
	@eval "$$FUNCTIONS"; test -n "$(MANUALS)" || exit 0; \
	command -v mandoc >/dev/null 2>&1 || { skipped "mandoc is not installed: the manuals are not checked"; exit; }; \
	mandoc -Tlint -Wwarning $(MANUALS) && printf '%s\n' 'mandoc: no complaint'

# Checks that Swift and Python files are formatted as by `make format`.
lint-swift:
	@$(SWIFT) format lint --strict --parallel --recursive $(SWIFT_FILES) && printf '%s\n' 'swift format: no complaint'

lint-python:
	@eval "$$FUNCTIONS"; test -x $(VENV)/bin/ruff || { skipped "ruff is not installed: the Python files are not checked"; exit; }; \
	$(VENV)/bin/ruff check --quiet --no-cache . && printf '%s\n' 'ruff: no complaint'

format: venv
	$(SWIFT) format --in-place --parallel --recursive $(SWIFT_FILES)
	@test ! -x $(VENV)/bin/ruff || $(VENV)/bin/ruff check --no-cache --fix .

# Long tests run in full only with TERMBACKUP_SOAK; faults at each step of a program are left to soak-swift.
test-swift:
	$(SWIFT) test --skip ProcessFaultTests

soak-fuzz:
	@$(MAKE) --no-print-directory fuzz SECONDS=$(SOAK_SECONDS)

soak-swift:
	TERMBACKUP_SOAK=1 $(SWIFT) test --filter '$(SOAK_SUITES)'

# pytest with ARGUMENTS, in one process more than there are cores: the tests wait for other programs a fifth of their time.
define PYTEST
eval "$$FUNCTIONS"; \
test -x $(VENV)/bin/pytest || { skipped "pytest is not installed: the tests of the commands are not run"; exit; }; \
PYTHONDONTWRITEBYTECODE= PYTHONPYCACHEPREFIX=$(CURDIR)/.build/pycache $(VENV)/bin/pytest -p no:cacheprovider -rs -n $$(($$(nproc) < 8 ? $$(nproc) + 1 : 8)) --dist worksteal --rootdir=.
endef
PYTHON_TESTS = Tests/architecture Tests/github Tests/cli Tests/packaging

test-smoke:
	@$(PYTEST) -q Tests/cli/test_smoke.py

test-python:
	@$(PYTEST) -m 'not soak' $(PYTHON_TESTS)

soak-python:
	@$(PYTEST) -m soak $(PYTHON_TESTS)

# Run this when a command is added or removed.
completions: suite
	@set -eu; for file in bash/termbackup zsh/_termbackup fish/termbackup.fish; do \
	  $(SUITE)/lib/termbackup/tbk-sh completions $${file%%/*} termbackup $(LOCAL_COMMANDS) $(NETWORK_COMMANDS) \
	    >$(COMPLETIONS)/$$file; done

# Every user-visible text of the programs. Changes are read in the diff.
messages:
	$(PYTHON) Tests/architecture/messages.py >Tests/architecture/messages.txt.new
	mv Tests/architecture/messages.txt.new Tests/architecture/messages.txt

# A real run of the commands in README.md, as displayed by a terminal.
pictures: suite
	$(PYTHON) docs/pictures/session.py >docs/pictures/session.svg.new
	mv docs/pictures/session.svg.new docs/pictures/session.svg

demo: packages
	@$(MAKE) --no-print-directory suite
	@set -eu; umask 077; work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; trap 'exit 130' INT; trap 'exit 143' TERM; \
	PATH="$$PWD/$(SUITE)/bin:$$PATH"; HOME=$$work/home; TERMBACKUP_HOME=$$HOME/.termbackup; \
	mkdir "$$HOME"; printf '%s\n' 'a password for the demonstration' >"$$work/password"; \
	TERMBACKUP_PASSWORD_FILE=$$work/password; \
	export PATH HOME TERMBACKUP_HOME TERMBACKUP_PASSWORD_FILE; \
	run() { printf '\n$$ %s\n' "$$*"; "$$@"; }; \
	run termbackup init --no-input; \
	run termbackup profile create demo --source "$$DIR"; \
	run termbackup run demo; \
	run termbackup list demo; \
	run termbackup verify latest -p demo; \
	run termbackup restore latest -p demo --to "$$work/restored"; \
	run diff -r --no-dereference "$$DIR" "$$work/restored"; \
	tbk-manifest "$$DIR" | tbk-manifest check - "$$work/restored"; \
	printf '\n%s\n' '$$ tbk-manifest DIR | tbk-seal | tbk-push STORE; tbk-pull STORE latest | tbk-open -C AGAIN'; \
	mkdir "$$work/store"; \
	tbk-manifest "$$DIR" | tbk-seal | tbk-push "$$work/store"; \
	tbk-pull "$$work/store" latest | tbk-open -C "$$work/again"; \
	run diff -r --no-dereference "$$DIR" "$$work/again"; \
	tbk-manifest "$$DIR" | tbk-manifest check - "$$work/again"; \
	printf '\n%s\n' 'The demonstration went well: every byte, mode, time and link is as it was.'

# Fuzzes from the inputs in Tests/Fuzz/Seeds; inputs that break a parser are stored in .build/fuzz.
SECONDS = 60
PARSER = $(notdir $(wildcard Tests/Fuzz/Seeds/*))
FUZZER = .build/fuzz
FUZZ_BUILD = TERMBACKUP_FUZZER=1 $(SWIFT) build -c release --scratch-path $(FUZZER)/build --sanitize fuzzer

fuzz: packages
	$(FUZZ_BUILD) --product fuzz
	@built=$$($(FUZZ_BUILD) --show-bin-path) && export built && \
	printf '%s\n' $(PARSER) | xargs -P "$$(nproc)" -I {} sh -c ' \
	  parser=$$1; of=$(FUZZER)/corpus/$$parser; mkdir -p "$$of"; \
	  said=$$(PARSER=$$parser "$$built/fuzz" -max_total_time=$(SECONDS) -timeout=20 -rss_limit_mb=4096 -verbosity=0 \
	    -print_final_stats=1 -artifact_prefix="$(FUZZER)/$$parser-" "$$of" Tests/Fuzz/Seeds/"$$parser" 2>&1); status=$$?; \
	  printf "\n%s\n%s\n" "$$parser" "$$said"; exit "$$status"' fuzz {}

# The library for other programs. Warnings, such as that of a broken link, are errors.
DOCUMENTATION = .build/docs/TermBackup.doccarchive

docs: packages
	mkdir -p .build/docs
	TERMBACKUP_DOCS=1 $(SWIFT) package --scratch-path .build/docs/build --allow-writing-to-directory .build/docs \
	  generate-documentation --target TermBackup --warnings-as-errors --output-path $(DOCUMENTATION)

bench:
	@$(MAKE) --no-print-directory suite
	$(PYTHON) Tests/bench/bench.py $(BENCH)

# What install uses: an existing suite, unless it is stale and can be rebuilt.
built:
	@eval "$$FUNCTIONS"; \
	if test ! -e $(SUITE)/lib/termbackup/tbk-net; then \
	  if is_others; then say "nothing has been built: run 'make' first, as the owner of this directory"; exit 1; fi; \
	elif ! is_stale || is_others || ! command -v "$(SWIFT)" >/dev/null 2>&1; then exit 0; fi; \
	$(MAKE) --no-print-directory suite

install: built
	@set -eu; umask 022; eval "$$FUNCTIONS"; to="$$DESTDIR$$PREFIX"; from=$(SUITE); \
	if is_stale; then say "the source has changed since $$from was built; run 'make' to rebuild it"; fi; \
	install -d "$$to/bin" "$$to/lib/termbackup/verbs" "$$to/lib/termbackup/lib"; \
	install -m 755 "$$from"/lib/termbackup/tbk "$$from"/lib/termbackup/tbk-net "$$to/lib/termbackup/"; \
	ln -sfn tbk "$$to/lib/termbackup/tbk-sh"; \
	install -m 755 "$$from"/lib/termbackup/verbs/* "$$to/lib/termbackup/verbs/"; \
	install -m 644 "$$from"/lib/termbackup/lib/* "$$to/lib/termbackup/lib/"; \
	for file in "$$from"/bin/*; do \
	  if test -L "$$file"; then ln -sfn "$$(readlink "$$file")" "$$to/bin/$${file##*/}"; \
	  else install -m 755 "$$file" "$$to/bin/"; fi; done; \
	for file in "$$from"/share/man/man?/*; do \
	  test -e "$$file" || continue; section=$${file##*.}; \
	  install -d "$$to/share/man/man$$section"; \
	  install -m 644 "$$file" "$$to/share/man/man$$section/"; done; \
	find "$$from/share/doc" -type f | while read -r file; do lay_document "$$file" "$$to$${file#"$$from"}"; done; \
	each_completion lay_completion "$$to"; link_completions "$$to"; \
	test -n "$$DESTDIR" || index_manuals "$$to"; \
	printf 'installed in %s\n' "$$to"

# Removes what install created: its files, and its own directories; not bin, share/man and the like.
uninstall:
	@set -eu; umask 022; from="$$DESTDIR$$PREFIX"; \
	for name in $(LOCAL_COMMANDS) $(NETWORK_COMMANDS) $(notdir $(HELPERS)) termbackup; do rm -f "$$from/bin/$$name"; done; \
	for name in $(LOCAL_COMMANDS) $(NETWORK_COMMANDS); do \
	  rm -f "$$from/$(BASH_COMPLETIONS)/$$name" "$$from/$(FISH_COMPLETIONS)/$$name.fish"; done; \
	for name in tbk tbk-net tbk-sh; do rm -f "$$from/lib/termbackup/$$name"; done; \
	for script in $(filter-out bin/termbackup,$(SCRIPTS)); do rm -f "$$from/lib/termbackup/$${script#bin/}"; done; \
	for page in $(MANUALS); do rm -f "$$from/share/man/man$${page##*.}/$${page##*/}"; done; \
	eval "$$FUNCTIONS"; each_completion remove_completion "$$from"; \
	test -n "$$DESTDIR" || index_manuals "$$from"; \
	for file in $(DOCUMENTS); do rm -f "$$from/share/doc/termbackup/$$file"; done; \
	for folder in lib/termbackup/verbs lib/termbackup/lib lib/termbackup $(addprefix share/doc/termbackup/,docs/how-to docs/pictures docs/schema docs examples/systemd \
	    examples/swift/Sources/read-backup examples/swift/Sources examples/swift examples) \
	  share/doc/termbackup; do \
	  test ! -d "$$from/$$folder" || rmdir "$$from/$$folder" 2>/dev/null || :; done

deb: suite
	@packaging/deb

dist: suite
	@packaging/dist source
	@packaging/dist binary

dist-source:
	@packaging/dist source

dist-binary: suite
	@packaging/dist binary

clean:
	rm -rf .build .build-*

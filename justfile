# The commands of everyday work. `just` lists them; each also stands in CONTRIBUTING.md or README.md.

_default:
    @just --list --unsorted

# The whole system on the embedded emulator: `just run --faults 7`, `just run --input day.csv`.
run *arguments:
    cargo run --release -p retail -- {{arguments}}

# All tests, or those whose name contains a word.
test *filter:
    cargo test --workspace {{filter}}

# What must be clean before a commit: format, lints, documentation.
check:
    cargo fmt --check
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps

# Licenses, sources and duplicates of the dependencies.
deny:
    cargo deny --all-features check --hide-inclusion-graph bans licenses sources

# The same with known vulnerabilities; fetches the advisory database.
audit:
    cargo deny --all-features check

# The emulator by itself, its addresses in a file to source.
emulator *arguments:
    cargo run --release -p azevents-emulator -- --env-file emulator.env {{arguments}}

# A suite of measurements: `just bench retail --quick`.
bench suite="retail" *arguments:
    cargo run --release -p bench -- {{suite}} {{arguments}}

# The official clients for Python and JavaScript, for tests/clients.
clients:
    python3 -m venv .venv
    .venv/bin/pip install -r tests/clients/requirements.txt
    npm install --prefix tests/clients

# Everything CI does, from a clean checkout or not.
ci:
    .ci/run

#!/bin/sh
# Runs everything that CI runs, from any directory: formatting, lints, tests, documentation. Warnings are errors.
set -eu
cd "$(dirname "$0")/.."

run() {
    echo "+ $*"
    "$@"
}
run cargo fmt --all --check
run cargo clippy --workspace --all-targets --locked -- -D warnings
run cargo test --workspace
run scripts/instructions.sh
# A trading system that links the libraries compiles neither the command line nor a log writer.
for library in seqcast-publisher seqcast-subscriber; do
    if cargo tree --package "$library" --edges normal --prefix none --locked | grep -E '^(clap|tracing-subscriber) '; then
        echo "$library must not depend on this" >&2
        exit 1
    fi
done
run env RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

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
run cargo test --workspace --locked
run env RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

#!/bin/sh
# Runs the retained ring under loom, which tries every order that the memory model allows. Arguments go to the test.
# LOOM_MAX_PREEMPTIONS=n looks deeper than the tests' own bound.
set -eu
cd "$(dirname "$0")/.."

if ! cargo metadata --format-version 1 --locked --offline --filter-platform "$(rustc -vV | sed -n 's/^host: //p')" \
    >/dev/null 2>&1; then
    echo "skipping: the crates for loom are not here"
    exit 0
fi
RUSTFLAGS="${RUSTFLAGS:-} --cfg loom" exec cargo test --locked --offline -p seqcast-recovery --test ring_loom --release -- "$@"

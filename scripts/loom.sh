#!/bin/sh
# Runs the retained ring under loom, which tries every order that the memory model allows. Arguments go to the tests.
# LOOM_MAX_PREEMPTIONS=n stops at n preemptions; unset, every interleaving is tried.
set -eu
cd "$(dirname "$0")/.."

export RUSTFLAGS="${RUSTFLAGS:-} --cfg loom"
host=$(rustc -vV | sed -n 's/^host: //p')
if ! error=$(cargo metadata --format-version 1 --offline --filter-platform "$host" 2>&1 >/dev/null); then
    case "$error" in
    *offline*)
        echo "skipping: loom is not among the crates on this machine; 'cargo fetch' brings it"
        exit 0
        ;;
    esac
    echo "$error" >&2
    exit 1
fi
exec cargo test --offline -p seqcast-recovery --test ring_loom --release -- "$@"

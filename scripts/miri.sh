#!/bin/sh
# Runs the retained ring's tests under Miri, which finds data races, stale loads and undefined behaviour. Arguments go
# to cargo, before the tests' names.
set -eu
cd "$(dirname "$0")/.."

toolchain="${MIRI_TOOLCHAIN:-nightly}"
if ! cargo "+$toolchain" miri --version >/dev/null 2>&1; then
    echo "skipping: the toolchain '$toolchain' has no miri"
    exit 0
fi
if ! [ -f "$(rustc "+$toolchain" --print sysroot)/lib/rustlib/src/rust/library/Cargo.lock" ]; then
    echo "skipping: the toolchain '$toolchain' has no rust-src, which miri builds its library from"
    exit 0
fi
# The property tests read the environment and the time.
export MIRIFLAGS="-Zmiri-disable-isolation ${MIRIFLAGS:-}"
cargo "+$toolchain" miri test -p seqcast-recovery "$@" --lib -- ring::
cargo "+$toolchain" miri test -p seqcast-recovery "$@" --test ring

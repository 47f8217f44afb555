#!/usr/bin/env bash
# Counts the instructions that a message costs on its way through the state machines, by callgrind, and compares them with
# what was recorded for this compiler: more than 5 % off, either way, is an error.
#
#   scripts/instructions.sh               compare
#   scripts/instructions.sh --record      record what is counted as the baseline of this compiler
#
# A count is the difference of two runs (recovery/examples/instructions.rs), so it holds nothing but the messages, and is the
# same in every run; the machine's speed and load make no difference, its C library's copying a small one. The compiler
# does: there is a file for each release and target in recovery/instructions/, and a compiler without one is not compared.
# That is in place of a rust-toolchain file, which would have rustup fetch a compiler on machines that may not.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case "${1:-}" in
'' | --record) ;;
*)
    echo "usage: scripts/instructions.sh [--record]" >&2
    exit 2
    ;;
esac
if ! command -v valgrind >/dev/null; then
    echo "instructions: skipped, for there is no valgrind"
    exit 0
fi
compiler=$(rustc -vV | sed -n 's/^release: //p')-$(rustc -vV | sed -n 's/^host: //p')
baseline=recovery/instructions/$compiler.txt
if [[ -z ${1:-} && ! -f $baseline ]]; then
    echo "instructions: skipped, for nothing is recorded for $compiler; scripts/instructions.sh --record does that"
    exit 0
fi

# Flags of the environment would make another program of it; the directory is the caller's to choose.
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
target=${CARGO_TARGET_DIR:-target}
env -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS \
    cargo build --quiet --release --locked -p seqcast-recovery --example instructions

# instructions HALF BYTES COUNT: those of a whole run.
instructions() {
    local out=$directory/out
    if ! valgrind --quiet --tool=callgrind --callgrind-out-file="$out" \
        "$target/release/examples/instructions" "$@" >"$directory/log" 2>&1; then
        cat "$directory/log" >&2
        return 1
    fi
    sed -n 's/^totals: //p' "$out"
}

count=100000
{
    echo "# Instructions per $count messages. Written by scripts/instructions.sh --record."
    for half in encode deliver; do
        for bytes in 40 100; do
            few=$(instructions $half $bytes $count)
            many=$(instructions $half $bytes $((2 * count)))
            echo "$half $bytes $((many - few))"
        done
    done
} >"$directory/counted"

if [[ -n ${1:-} ]]; then
    mkdir -p "$(dirname "$baseline")"
    cp "$directory/counted" "$baseline"
    echo "recorded in $baseline:"
fi
awk -v compiler="$compiler" -v messages=$count '
    /^#/ { next }
    FNR == NR { recorded[$1, $2] = $3; next }
    {
        before = recorded[$1, $2]
        if (!before) { printf "%s %d B: nothing is recorded\n", $1, $2; failed = 1; next }
        change = 100 * ($3 / before - 1)
        printf "%-8s%4d B: %7.2f instructions per message, recorded %.2f: %+.2f %%\n", \
            $1, $2, $3 / messages, before / messages, change
        if (change > 5 || change < -5) failed = 1
    }
    END {
        if (failed) print "more than 5 % off what is recorded for " compiler "; if it is meant, record it anew"
        exit failed
    }' "$baseline" "$directory/counted"

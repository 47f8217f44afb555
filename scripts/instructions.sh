#!/usr/bin/env bash
# Counts the instructions that a message costs on its way through the state machines, by callgrind, and compares them with
# what was recorded for this compiler: more than 5 % off, either way, is an error.
#
#   scripts/instructions.sh               compare
#   scripts/instructions.sh --record      record what is counted as the baseline of this compiler
#
# A count is the difference of two runs (recovery/examples/instructions.rs), so it holds nothing but the messages, and is the
# same in every run and on every machine. So that it is, what the C library does is left out, for it has other code for other
# processors: of that the calls are compared, and the instructions only told.
#
# The compiler makes a difference: there is a file for each release and target in recovery/instructions/, and a compiler
# without one is not compared. That is in place of a rust-toolchain file, which would have rustup fetch a compiler on machines
# that may not.
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

# instructions HALF BYTES COUNT: of a whole run, the program's own instructions, its calls of libraries, and their instructions.
instructions() {
    local out=$directory/out
    if ! valgrind --quiet --tool=callgrind --callgrind-out-file="$out" \
        "$target/release/examples/instructions" "$@" >"$directory/log" 2>&1; then
        cat "$directory/log" >&2
        return 1
    fi
    # The format: "ob=(ID) FILE" says whose the costs are that follow, "cob=" whose the function is that "calls=COUNT" calls,
    # and the cost line behind that is the callee's.
    awk '
        /^c?ob=/ { match($1, /\([0-9]+\)/); id = substr($1, RSTART, RLENGTH); if ($2) own[id] = $2 ~ /\/examples\/instructions$/ }
        /^ob=/ { object = id; next }
        /^cob=/ { callee = id; next }
        /^calls=/ {
            if (own[object] && callee && !own[callee]) calls += substr($1, 7)
            callee = ""
            getline
            next
        }
        /^[0-9+*-]/ { if (own[object]) inside += $2; else outside += $2 }
        END { print inside, calls, outside }' "$out"
}

messages=100000
for half in encode deliver repair; do
    for bytes in 40 100; do
        read -r -a few < <(instructions $half $bytes $messages)
        read -r -a many < <(instructions $half $bytes $((2 * messages)))
        echo "$half $bytes $((many[0] - few[0])) $((many[1] - few[1])) $((many[2] - few[2]))"
    done
done >"$directory/counted"

if [[ -n ${1:-} ]]; then
    mkdir -p "$(dirname "$baseline")"
    {
        echo "# Instructions, and calls of libraries, of $messages messages. Written by scripts/instructions.sh --record."
        cut -d' ' -f1-4 "$directory/counted"
    } >"$baseline"
    echo "recorded in $baseline:"
fi
awk -v compiler="$compiler" -v messages=$messages '
    /^#/ { next }
    FNR == NR { instructions[$1, $2] = $3; calls[$1, $2] = $4; next }
    {
        if (!(($1, $2) in instructions)) { print $1, $2, "B: nothing is recorded"; failed = 1; next }
        change = 100 * ($3 / instructions[$1, $2] - 1)
        printf "%-8s%4d B: %6.2f instructions per message, recorded %6.2f, %+.2f %%; ", \
            $1, $2, $3 / messages, instructions[$1, $2] / messages, change
        printf "%.2f calls of libraries, recorded %.2f, and %.2f instructions there\n", \
            $4 / messages, calls[$1, $2] / messages, $5 / messages
        difference = $4 - calls[$1, $2]
        if (change < -5 || change > 5 || difference < -calls[$1, $2] / 20 || difference > calls[$1, $2] / 20) failed = 1
    }
    END {
        if (failed) print "more than 5 % off what is recorded for " compiler "; if it is meant, record it anew"
        exit failed
    }' "$baseline" "$directory/counted"

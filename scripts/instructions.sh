#!/usr/bin/env bash
# Counts the instructions that a message costs on its way through the state machines, by callgrind, and compares them with
# what was recorded for this compiler: more than 5 % off, either way, is an error. Then those of a subscriber and of a publisher
# that keep a file of counters, against those of ones that do not: more than 3 % on top is an error.
#
#   scripts/instructions.sh               compare
#   scripts/instructions.sh --record      record what is counted as the baseline of this compiler
#
# A count is the difference of two runs (recovery/examples/instructions.rs), so it holds nothing but the messages, and is the
# same in every run and on every machine. So that it is, what the C library does is left out, for it has other code for other
# processors: of that the calls are compared, and the instructions only told. A publisher's are counted likewise
# (publisher/examples/publish_instructions.rs), on two lines on loopback. A subscriber's are those of its polls
# (subscriber/examples/poll_instructions.rs); what a file of counters takes by the clock is some tens of times as much under
# callgrind.
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
build() {
    env -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS cargo build --quiet --release --locked -p "$1" --example "$2"
}
build seqcast-recovery instructions
build seqcast-subscriber poll_instructions
build seqcast-publisher publish_instructions

# instructions EXAMPLE ARGUMENT..: of a whole run, the program's own instructions, its calls of libraries, and their instructions.
options=()
instructions() {
    local out=$directory/out
    if ! valgrind --quiet --tool=callgrind --callgrind-out-file="$out" "${options[@]}" \
        "$target/release/examples/$1" "${@:2}" >"$directory/log" 2>&1; then
        cat "$directory/log" >&2
        return 1
    fi
    # The format: "ob=(ID) FILE" says whose the costs are that follow, "cob=" whose the function is that "calls=COUNT" calls,
    # and the cost line behind that is the callee's.
    awk '
        /^c?ob=/ { match($1, /\([0-9]+\)/); id = substr($1, RSTART, RLENGTH); if ($2) own[id] = $2 ~ /\/examples\/[a-z_]+$/ }
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
        read -r -a few < <(instructions instructions $half $bytes $messages)
        read -r -a many < <(instructions instructions $half $bytes $((2 * messages)))
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

# polled PACKET [--stats]: the program's own instructions for these messages, so many to a packet, a packet to a poll.
polled() {
    options=('--toggle-collect=*poll_once*')
    instructions poll_instructions "$1" "$directory" "${@:2}" | cut -d' ' -f1
}

# published PACKET none|DIRECTORY: the program's own instructions for these messages, so many to a packet, a packet to a flush.
published() {
    local count
    for count in $messages $((2 * messages)); do
        instructions publish_instructions 239.255.77.1:9@127.0.0.1+239.255.77.2:9@127.0.0.1 "$1" $count "$2"
    done | awk '{ few = many; many = $1 } END { print many - few }'
}
for packet in 1 14; do
    echo "poll $packet $(polled $packet) $(polled $packet --stats)"
    echo "publish $packet $(published $packet none) $(published $packet "$directory")"
done | awk -v messages=$messages '
    {
        change = 100 * ($4 / $3 - 1)
        printf "%-7s %2d to a packet: %7.2f instructions per message, %7.2f with a file of counters, %+.2f %%\n", \
            $1, $2, $3 / messages, $4 / messages, change
        if (change > 3) failed = 1
    }
    END { if (failed) print "a file of counters costs more than 3 %"; exit failed }'

# shellcheck shell=bash
# What netns.sh and netns-record.sh share: namespaces that are deleted at the end, rules of nftables that note what they drop,
# and messages. They source it from the root of the clone once their arguments are right, with `space`, the prefix of the
# namespaces' names, `namespaces`, the rest of each, and `messages`, how many there are.
#
# Exits with 77 where the kernel or the container does not allow what is needed.

unable() {
    echo "skipped: $1" >&2
    exit 77
}
((EUID == 0)) || unable "only root makes network namespaces"
for command in ip nft; do
    command -v "$command" >/dev/null || unable "$command is not installed"
done

directory="$(mktemp -d)"
cleanup() {
    local process name
    for process in $(jobs -pr); do
        kill -KILL "$process" 2>/dev/null || true
    done
    # Without the shell's words about those that were killed.
    { wait; } 2>/dev/null
    for name in "${namespaces[@]}"; do
        ip netns delete "$space-$name" 2>/dev/null || true
    done
    rm -rf "$directory"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# attempt WORDS COMMAND...: where the command fails, the network cannot be had, as the words say.
attempt() {
    local words="$1" error
    shift
    error="$("$@" 2>&1)" || unable "$words: ${error%%$'\n'*}"
}

# within NAME COMMAND...
within() {
    local name="$1"
    shift
    ip netns exec "$space-$name" "$@"
}

# drops LINE...: the chains of nftables that drop packets of each line. Of every packet, the number of its first message and
# their count are kept, but for heartbeats and the end, which have none. Both are fields of the header, behind that of UDP.
drops() {
    local line
    for line in "$@"; do
        echo "set dropped_$line { typeof @th,144,64 . @th,208,16; flags dynamic; size 1000000; }"
        echo "chain drop_$line {"
        echo "@th,208,16 != { 0, 0xffff } add @dropped_$line { @th,144,64 . @th,208,16 }"
        echo "drop; }"
    done
}

# dropped NAME LINE: the packets that were dropped on a line, as their first number and count.
dropped() {
    within "$1" nft --json list set ip seqcast "dropped_$2" | tr '[' '\n' |
        sed -n 's/^\([0-9]*\), \([0-9]*\)\].*/\1 \2/p' | sort
}

sum() {
    awk '{ sum += $2 } END { print sum + 0 }'
}

# Generates the messages with SEQCAST, which is built here unless it is set.
generate() {
    if [[ -z ${SEQCAST:-} ]]; then
        cargo build --release --locked --quiet -p seqcast
        SEQCAST="$(cargo metadata --format-version 1 --no-deps --locked |
            sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/seqcast"
    fi
    "$SEQCAST" generate --messages "$messages" --output "$directory/input"
}

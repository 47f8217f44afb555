#!/usr/bin/env bash
# Records both lines of a publisher in another network namespace, while nftables drops packets of each where they arrive,
# and checks the recording: fails unless `seqcast check` finds exactly what nftables dropped, and no line that differs.
#
#   scripts/netns-record.sh [LOSS_A [LOSS_B]]      in percent, 5 and 3 unless given
#
# MESSAGES (100000) and PACE in messages/s (50000) are those of the session; SEQCAST is the binary, built here unless set.
# Needs root, iproute2 and nftables; exits with 77 where the kernel or the container does not allow what it needs. The
# host's own network is not touched, and the namespaces are deleted at the end.
#
#      publisher 10.78.1.1 --- veth pair --- 10.78.1.2 recorder
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

loss=("${1:-5}" "${2:-3}")
for percent in "${loss[@]}"; do
    if ! [[ $percent =~ ^[0-9]{1,2}$ ]]; then
        echo "$percent is no percentage; the beginning of $0 says how it is called" >&2
        exit 2
    fi
done
messages="${MESSAGES:-100000}"
pace="${PACE:-50000}/s"
port=30001
groups=(239.78.1.1 239.78.2.1)

space="seqcast-record-$$"
namespaces=(publisher recorder)
source scripts/namespaces.sh

rules() {
    local line
    echo "table ip seqcast {"
    drops 0 1
    for line in 0 1; do
        echo "chain line_$line { numgen random mod 100 < ${loss[line]} goto drop_$line; }"
    done
    echo "chain input { type filter hook input priority filter"
    echo "udp dport $port ip daddr ${groups[0]} jump line_0"
    echo "udp dport $port ip daddr ${groups[1]} jump line_1; }"
    echo "}"
}

# What the network needs is tried before, so that what fails later is a failure.
for name in "${namespaces[@]}"; do
    attempt "no network namespace can be made" ip netns add "$space-$name"
done
attempt "no veth pair can be made" ip -n "$space-publisher" link add veth type veth peer name veth netns "$space-recorder"
attempt "nftables do not work" within recorder nft --file - < <(rules)
host=0
for name in "${namespaces[@]}"; do
    ip -n "$space-$name" address add "10.78.1.$((++host))/24" dev veth
    ip -n "$space-$name" link set veth up
done

generate

ip netns exec "$space-recorder" "$SEQCAST" record "${groups[0]}:$port@10.78.1.2" "${groups[1]}:$port@10.78.1.2" \
    --output "$directory/day.pcapng" --json >"$directory/record.json" 2>"$directory/record.log" &
recorder=$!
until [[ -f $directory/day.pcapng ]]; do
    kill -0 "$recorder" || { cat "$directory/record.log" >&2; exit 1; }
    sleep 0.05
done

# What a line has lost is counted from its first packet to its last: a second of heartbeats, about ten, goes before the
# messages and after them.
mkfifo "$directory/pipe"
ip netns exec "$space-publisher" "$SEQCAST" publish --stats none --no-segmentation --session RECORD --input - --format blocks --pace "$pace" \
    --line-a "${groups[0]}:$port@10.78.1.1" --line-b "${groups[1]}:$port@10.78.1.1" --requests none --linger 1s \
    <"$directory/pipe" 2>"$directory/publish.log" &
publisher=$!
exec 3>"$directory/pipe"
sleep 1
cat "$directory/input" >&3
sleep 1
exec 3>&-
wait "$publisher" || { cat "$directory/publish.log" >&2; exit 1; }
kill -INT "$recorder"
wait "$recorder" || { cat "$directory/record.log" >&2; exit 1; }

code=0
"$SEQCAST" check --json "$directory/day.pcapng" >"$directory/check.json" 2>"$directory/check.log" || code=$?

# The number of this name in what was checked: the first of that name, or the second.
number() {
    grep -o "\"$1\":[0-9]*" "$directory/check.json" | sed -n "${2:-1}p" | cut -d: -f2
}
for line in 0 1; do
    dropped recorder "$line" >"$directory/dropped_$line"
    lost[line]="$(sum <"$directory/dropped_$line")"
done
# Both lines carry the same packets.
both="$(comm -12 "$directory/dropped_0" "$directory/dropped_1" | sum)"

# A is to `check` the line that it heard first, and that is B where the first heartbeat on A was dropped.
first=0
if [[ "$(grep -o '"destination":"[^"]*"' "$directory/check.json" | sed -n 1p)" == *":\"${groups[1]}:"* ]]; then
    first=1
fi
lost_on_a="${lost[first]}" lost_on_b="${lost[1 - first]}"

status=0
# expect WHAT FOUND EXPECTED
expect() {
    local verdict=ok
    if [[ $2 != "$3" ]]; then
        verdict=WRONG status=1
    fi
    printf '%-24s %10s %10s  %s\n' "$1" "$2" "$3" "$verdict"
}
printf '%-24s %10s %10s\n' '' check nftables
expect 'missing on line A' "$(number missing 1)" "$lost_on_a"
expect 'missing on line B' "$(number missing 2)" "$lost_on_b"
expect 'only on A' "$(number only_a)" "$((lost_on_b - both))"
expect 'only on B' "$(number only_b)" "$((lost_on_a - both))"
expect 'on neither' "$(number neither)" "$both"
expect 'compared' "$(number compared)" "$((messages - lost[0] - lost[1] + both))"
expect 'with other bytes' "$(number differing)" 0
expect 'exit code' "$code" "$((lost[0] + lost[1] > 0 ? 3 : 0))"
((status == 0)) || cat "$directory"/*.log "$directory/check.json" >&2
exit "$status"

#!/usr/bin/env bash
# Runs a publisher and three subscribers in network namespaces of their own, with line A on one network and line B on
# another, while nftables drops packets where they arrive. Prints a table of messages, and fails unless every output
# equals the input, each summary calls lost on a line what nftables dropped of it, and answers brought only what both
# lines lost.
#
#   scripts/netns.sh [SCENARIO]...      unless named clean, loss of 1, 3 and 10 %, and one of each other
#
#   clean                         nothing is dropped
#   loss:A[,B[,ANSWERS]]          A % of the packets of line A at random, B % of line B (as many unless given), and
#                                 ANSWERS % of the answers (none unless given)
#   one-line:A                    A % of line A: no request leaves
#   dead-line                     all of line A from the middle of the messages on, until all have arrived and its
#                                 silence is told: no request leaves
#   single:A[,ANSWERS]            A % of line A, and there is no line B
#   source:A[,B[,ANSWERS]]        as loss, with source-specific groups on which a stranger publishes, too
#
# MESSAGES (200000) and PACE in messages/s (100000) are those of each scenario; SEQCAST is the binary, built here unless
# set. Needs root, iproute2 and nftables; exits with 77 where the kernel or the container does not allow what it needs.
# The host's own network is not touched: the bridges live in a namespace, too, and all of them are deleted at the end.
#
#      publisher 10.77.1.1 --- bridge a --- 10.77.1.11, .12, .13 subscribers     line A, requests and answers
#                10.77.2.1 --- bridge b --- 10.77.2.11, .12, .13                 line B
#
# A bridge sends a group only to those who joined it (snooping), because it asks who did (querier): without a querier it
# floods. It asks with IGMP version 3: hosts that hear an older querier no longer say which source they want. Groups
# need no route, as both sides name the interface; no namespace hears itself, so IP_MULTICAST_LOOP copies nothing; and
# a sender on the interface's own network passes every setting of rp_filter. A veth pair neither splits nor merges
# packets.
#
# The publisher sends each packet by itself: to nftables one segmented send would be one packet, whatever it holds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

messages="${MESSAGES:-200000}"
pace="${PACE:-100000}/s"
port=30001
requests=10.77.1.1:30100
subscribers=(1 2 3)
# The longest wait for anything beyond the time that publishing takes. Arbitrary: many times what is needed.
patience_s=60

percent='[0-9]{1,2}'
(($# > 0)) || set -- clean loss:1 loss:3 loss:10 one-line:10 dead-line single:1 single:10 source:3
for argument in "$@"; do
    if ! [[ $argument =~ ^(clean|dead-line|one-line:$percent|single:$percent(,$percent)?)$ ||
        $argument =~ ^(loss|source):$percent(,$percent){0,2}$ ]]; then
        echo "there is no scenario $argument; the beginning of $0 lists them" >&2
        exit 2
    fi
done

space="seqcast-$$"
namespaces=(switch publisher stranger "${subscribers[@]}")
source scripts/namespaces.sh

# rules LOSS_A LOSS_B LOSS_ANSWERS
rules() {
    echo "table ip seqcast"
    echo "delete table ip seqcast"
    echo "table ip seqcast {"
    drops a b
    echo "chain line_a { numgen random mod 100 < $1 goto drop_a; }"
    echo "chain line_b { numgen random mod 100 < $2 goto drop_b; }"
    echo "chain input { type filter hook input priority filter"
    echo "udp dport $port ip daddr $group_a jump line_a"
    echo "udp dport $port ip daddr $group_b jump line_b"
    echo "ip saddr ${requests%:*} udp sport ${requests#*:} numgen random mod 100 < $3 drop; }"
    echo "}"
}

# What every part of the network needs is tried before, so that what fails later is a failure.
attempt "no network namespace can be made" ip netns add "$space-switch"
for line in a b; do
    attempt "no bridge can be made" ip -n "$space-switch" link add "bridge-$line" up type bridge mcast_snooping 1 \
        mcast_querier 1 mcast_igmp_version 3
done
attempt "no veth pair can be made" ip -n "$space-switch" link add probe type veth peer name eborp
ip -n "$space-switch" link delete probe
attempt "nftables do not work" within switch nft --file - < <(group_a=239.77.1.1 group_b=239.77.2.1 rules 1 1 1)

# join NAME HOST: gives it a namespace with an interface on each network.
join() {
    local line network=0
    ip netns add "$space-$1"
    ip -n "$space-$1" link set lo up
    for line in a b; do
        ip -n "$space-switch" link add "$line-$1" type veth peer name "line-$line" netns "$space-$1"
        ip -n "$space-switch" link set "$line-$1" master "bridge-$line" up
        ip -n "$space-$1" address add "10.77.$((++network)).$2/24" dev "line-$line"
        ip -n "$space-$1" link set "line-$line" up
    done
}
join publisher 1
join stranger 2
for index in "${subscribers[@]}"; do
    join "$index" "1$index"
done

generate

# The number of this name in a summary.
number() {
    sed -n "s/.*\"$2\":\([0-9]*\).*/\1/p" "$1"
}

# Waits until a command succeeds.
await() {
    local deadline=$((SECONDS + messages / ${pace%/s} + patience_s))
    until "$@"; do
        if ((SECONDS > deadline)); then
            echo "waited in vain: $*" >&2
            tail --lines 5 "$directory"/*.log >&2
            return 1
        fi
        sleep 0.05
    done
}

tells() {
    grep --quiet "$2" "$directory/$1.log"
}

has_ended() {
    ! kill -0 "$1" 2>/dev/null
}

has_written() {
    [[ -f $directory/$1.output ]] && (($(stat --format %s "$directory/$1.output") >= size))
}

status=0
rows=()
columns='%-12s %s %8s %6s %8s %9s %9s %8s %9s %8s %9s %6s  %s'
size="$(stat --format %s "$directory/input")"

# transfer NAME SCENARIO LOSS_A LOSS_B LOSS_ANSWERS
transfer() {
    local scenario="$2" group_a=239.77.1.1 group_b=239.77.2.1 source_a='' source_b=''
    local index code publisher stranger='' lines subscriptions=()
    rm -f "$directory"/{*.output,*.log,pipe}
    if [[ $scenario == source ]]; then
        group_a=232.77.1.1 group_b=232.77.2.1 source_a=,source=10.77.1.1 source_b=,source=10.77.2.1
        ip netns exec "$space-stranger" "$SEQCAST" publish --stats none --session STRANGER --input "$directory/input" --pace 1000/s \
            --line-a "$group_a:$port@10.77.1.2" --line-b "$group_b:$port@10.77.2.2" --requests none --linger 0s \
            2>"$directory/stranger.log" &
        stranger=$!
    fi

    mkfifo "$directory/pipe"
    lines=(--line-a "$group_a:$port@10.77.1.1")
    [[ $scenario == single ]] || lines+=(--line-b "$group_b:$port@10.77.2.1")
    ip netns exec "$space-publisher" "$SEQCAST" publish --stats none --no-segmentation --session NETNS --input - --format blocks --pace "$pace" \
        "${lines[@]}" --requests "$requests" --linger "${patience_s}s" \
        <"$directory/pipe" 2>"$directory/publisher.log" &
    publisher=$!
    exec 3>"$directory/pipe"
    for index in "${subscribers[@]}"; do
        rules "${@:3}" | within "$index" nft --file -
        [[ $scenario != dead-line ]] ||
            within "$index" nft add rule ip seqcast line_a @th,144,64 '>' $((messages / 2)) goto drop_a
        lines=(--line-a "$group_a:$port@10.77.1.1$index$source_a")
        [[ $scenario == single ]] || lines+=(--line-b "$group_b:$port@10.77.2.1$index$source_b")
        ip netns exec "$space-$index" "$SEQCAST" subscribe --json "${lines[@]}" --recover-from "$requests" --until-end \
            --output "$directory/$index.output" \
            >"$directory/$index.json" 2>"$directory/$index.log" 3>&- &
        subscriptions[index]=$!
    done

    # What a line has lost is counted from its first packet to its last: a second of heartbeats, about ten, goes before
    # the messages and after them.
    for index in "${subscribers[@]}"; do
        await tells "$index" "session NETNS is heard"
    done
    sleep 1
    cat "$directory/input" >&3 &
    for index in "${subscribers[@]}"; do
        await has_written "$index"
    done
    if [[ $scenario == dead-line ]]; then
        for index in "${subscribers[@]}"; do
            await tells "$index" "line A is silent"
            within "$index" nft flush chain ip seqcast line_a
        done
    fi
    sleep 1
    exec 3>&-

    for index in "${subscribers[@]}"; do
        await has_ended "${subscriptions[index]}"
        code=0
        wait "${subscriptions[index]}" || code=$?
        judge "$index" "$code" "$@"
    done
    await has_ended "$publisher"
    if ! wait "$publisher"; then
        cat "$directory/publisher.log" >&2
        status=1
    fi
    if [[ -n $stranger ]]; then
        kill "$stranger"
        wait "$stranger"
    fi
}

# judge INDEX CODE NAME SCENARIO LOSS_A LOSS_B LOSS_ANSWERS
judge() {
    local index="$1" code="$2" name="$3" scenario="$4" line verdict=() lost=() dropped=() both early
    local summary="$directory/$index.json"
    for line in a b; do
        dropped "$index" "$line" >"$directory/dropped_$line"
        dropped+=("$(sum <"$directory/dropped_$line")")
    done
    # Each line of the summary has one.
    mapfile -t lost < <(sed 's/.*"lines":{"a"//' "$summary" | grep -o '"lost":[0-9]*' | cut -d: -f2)
    # Both lines carry the same packets.
    both="$(comm -12 "$directory/dropped_a" "$directory/dropped_b" | sum)"
    if [[ $scenario == single ]]; then
        lost[1]=0
        both="${dropped[0]}"
    fi
    early=$(($(number "$summary" recovered) - both))

    [[ $code == 0 ]] || verdict+=("exit code $code")
    cmp --silent "$directory/input" "$directory/$index.output" || verdict+=("output differs")
    [[ ${lost[*]:0:2} == "${dropped[*]}" ]] || verdict+=("other losses than nftables made")
    (($5 == 0 || dropped[0] > 0)) && (($6 == 0 || dropped[1] > 0)) || verdict+=("nothing was dropped")
    # An answer is early when it overtakes the other line, which a busy machine had kept from coming within the delay.
    ((early >= 0 && early * 100 <= dropped[0] + dropped[1])) || verdict+=("answers to what one line alone lost")
    [[ $scenario != @(clean|one-line|dead-line) || $(number "$summary" requests) == 0 ]] || verdict+=("requests")
    [[ $(number "$summary" foreign) == 0 ]] || verdict+=("a stranger is heard")
    if ((${#verdict[@]} > 0)); then
        status=1
        sed "s/^/$name $index: /" "$directory/$index.log" >&2
    fi
    rows+=("$(printf "$columns" "$name" "$index" "$(number "$summary" messages)" "$(number "$summary" gaps)" \
        "$(number "$summary" requests)" "$(number "$summary" recovered)" "$both" "${lost[0]}" "${dropped[0]}" \
        "${lost[1]}" "${dropped[1]}" "$(number "$summary" kernel_drops)" "$(IFS=,; echo "${verdict[*]:-ok}")")")
}

for argument in "$@"; do
    scenario="${argument%%:*}"
    IFS=, read -r first second third <<<"${argument#*:}"
    case "$scenario" in
    clean | dead-line) transfer "$argument" "$scenario" 0 0 0 ;;
    one-line) transfer "$argument" "$scenario" "$first" 0 0 ;;
    single) transfer "$argument" "$scenario" "$first" 0 "${second:-0}" ;;
    *) transfer "$argument" "$scenario" "$first" "${second:-$first}" "${third:-0}" ;;
    esac
done
printf "$columns\n" scenario '' messages gaps requests recovered 'both lost' 'A lost' dropped 'B lost' dropped \
    kernel verdict
printf '%s\n' "${rows[@]}"
exit "$status"

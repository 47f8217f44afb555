#!/usr/bin/env bash
# Runs the long sessions that the ordinary tests leave out, with the release binary, on 127.0.0.1: a million generated
# messages at 10 % loss; five million, more than the ring holds, at 2 % loss; three subscribers at once; a subscriber that is
# stopped until it is lapped. Prints a table, and fails if any output differs from what it should be.
#
#   scripts/acceptance.sh [RUN]...      lossy, sustained, three, lapped; all of them unless named
#
# PACE is the pace of the long runs in messages/s, 200000 unless set; SEQCAST is the binary, built here unless set.
# Takes about 250 MB per subscriber in TMPDIR, for a while, and two minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

pace="${PACE:-200000}/s"
patience_s=300
if [[ -z ${SEQCAST:-} ]]; then
    cargo build --release --locked --quiet -p seqcast
    SEQCAST="$(cargo metadata --format-version 1 --no-deps --locked | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/seqcast"
fi

directory="$(mktemp -d)"
cleanup() {
    local process
    for process in $(jobs -pr); do
        kill -KILL "$process" 2>/dev/null || true
    done
    rm -rf "$directory"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# A line and a request address of their own, so that a default publisher and subscriber go on undisturbed.
line="239.255.78.$((RANDOM % 250 + 1)):$((RANDOM % 10000 + 20000))"
requests="127.78.$((RANDOM % 250 + 1)).$((RANDOM % 250 + 1)):30100"

status=0
rows=()

# The number of this name in a summary.
number() {
    sed -n "s/.*\"$2\":\([0-9]*\).*/\1/p" "$1"
}

# row RUN EXPECTED_CODE CODE SUMMARY EXPECTED_FILE FILE
row() {
    local verdict=ok
    if [[ $2 != "$3" ]]; then
        verdict="exit code $3 instead of $2"
    elif ! cmp --silent "$5" "$6"; then
        verdict="output differs"
    fi
    [[ $verdict == ok ]] || status=1
    rows+=("$(printf '%-18s %9s %9s %9s %9s %9s  %s' "$1" "$(number "$4" messages)" "$(number "$4" gaps)" \
        "$(number "$4" recovered)" "$(number "$4" lost)" "$(number "$4" requests)" "$verdict")")
}

# Waits for a process that was started here; the exit code is in `code`.
await() {
    local deadline=$((SECONDS + patience_s))
    while kill -0 "$1" 2>/dev/null; do
        if ((SECONDS > deadline)); then
            echo "$2 does not end within $patience_s s" >&2
            kill -KILL "$1" 2>/dev/null || true
        fi
        sleep 0.1
    done
    code=0
    wait "$1" || code=$?
}

generate() {
    [[ -f $2 ]] || "$SEQCAST" generate --messages "$1" --output "$2"
}

# subscribe NAME ARGUMENT...: its process is in `subscriber`.
subscribe() {
    local name="$directory/$1"
    shift
    "$SEQCAST" subscribe --json --line-a "$line" --recover-from "$requests" --until-end --output "$name.out" "$@" \
        >"$name.json" 2>"$name.log" &
    subscriber=$!
}

publish() {
    "$SEQCAST" publish --json --stats none --line-a "$line" --requests "$requests" --linger 60s "$@"
}

# transfer NAME INPUT PACE IMPAIRMENT...: one subscriber for each impairment.
transfer() {
    local name="$1" input="$2" pace="$3" impairment index=0
    local subscribers=()
    shift 3
    for impairment in "$@"; do
        subscribe "$name$((++index))" --impair "$impairment"
        subscribers+=("$subscriber")
    done
    code=0
    publish --input "$input" --pace "$pace" >"$directory/publisher.json" 2>"$directory/publisher.log" || code=$?
    if ((code != 0)); then
        cat "$directory/publisher.log" >&2
        status=1
    fi
    index=0
    for subscriber in "${subscribers[@]}"; do
        await "$subscriber" "$name$((++index))"
        row "$name$([[ $# == 1 ]] || echo " $index")" 0 "$code" "$directory/$name$index.json" "$input" \
            "$directory/$name$index.out"
        ((code == 0)) || cat "$directory/$name$index.log" >&2
        rm -f "$directory/$name$index.out"
    done
}

lossy() {
    generate 1000000 "$directory/million"
    transfer lossy "$directory/million" "$pace" loss=10%,seed=1
}

sustained() {
    generate 5000000 "$directory/five"
    transfer sustained "$directory/five" "$pace" loss=2%,seed=2
    rm -f "$directory/five"
}

three() {
    generate 1000000 "$directory/million"
    transfer three "$directory/million" 100000/s loss=5%,seed=1 loss=5%,burst=4,seed=2 \
        loss=5%,reorder=2%,duplicate=2%,seed=3
}

# The publisher reads a pipe that is held open until the subscriber, stopped for most of the session, has caught up.
lapped() {
    generate 1000000 "$directory/million"
    local begin=1000 publisher ranges first next cause lost position
    "$SEQCAST" generate --messages "$begin" --output "$directory/begin"
    local begin_bytes
    begin_bytes="$(stat --format %s "$directory/begin")"
    mkfifo "$directory/pipe"
    subscribe lapped --receive-buffer 1MiB
    publish --retain 1MiB --format blocks --input - <"$directory/pipe" >"$directory/publisher.json" \
        2>"$directory/publisher.log" &
    publisher=$!
    exec 3>"$directory/pipe"
    cat "$directory/begin" >&3
    local deadline=$((SECONDS + patience_s))
    until [[ -f $directory/lapped.out && $(stat --format %s "$directory/lapped.out") == "$begin_bytes" ]]; do
        ((SECONDS < deadline)) || { echo "the first messages do not arrive" >&2; status=1; return; }
        sleep 0.1
    done
    kill -STOP "$subscriber"
    tail --bytes "+$((begin_bytes + 1))" "$directory/million" >&3
    # The publisher takes what is left in the pipe within moments.
    sleep 1
    kill -CONT "$subscriber"
    until grep --quiet ': lost ' "$directory/lapped.log"; do
        ((SECONDS < deadline)) || { echo "no loss is told" >&2; status=1; return; }
        sleep 0.1
    done
    exec 3>&-
    await "$publisher" "the publisher"
    await "$subscriber" lapped

    # What is left when each lost range is taken out; generated messages are a prefix of more of the same seed.
    ranges="$(sed -n 's/.*"lost_ranges":\[\([^]]*\)\].*/\1/p' "$directory/lapped.json" | sed 's/},{/}\n{/g')"
    position=1 next=1 lost=0
    : >"$directory/expected"
    while read -r range; do
        cause="$(sed 's/.*"cause":"\([a-z_]*\)".*/\1/' <<<"$range")"
        first="$(number /dev/stdin first <<<"$range")"
        next="$(number /dev/stdin next <<<"$range")"
        "$SEQCAST" generate --messages $((first - 1)) --output "$directory/below"
        tail --bytes "+$position" "$directory/below" >>"$directory/expected"
        "$SEQCAST" generate --messages $((next - 1)) --output "$directory/below"
        position=$(($(stat --format %s "$directory/below") + 1))
        lost=$((lost + next - first))
        [[ $cause == overwritten ]] || { echo "lapped: the cause is $cause" >&2; status=1; }
    done <<<"$ranges"
    tail --bytes "+$position" "$directory/million" >>"$directory/expected"
    if [[ $next != "$(number "$directory/publisher.json" oldest)" || $lost != "$(number "$directory/lapped.json" lost)" ]]; then
        echo "lapped: lost $ranges, but the oldest is $(number "$directory/publisher.json" oldest)" >&2
        status=1
    fi
    row lapped 3 "$code" "$directory/lapped.json" "$directory/expected" "$directory/lapped.out"
}

for run in "${@:-lossy}" ; do
    case "$run" in
    lossy | sustained | three | lapped) ;;
    *)
        echo "there is no run called $run: lossy, sustained, three, lapped" >&2
        exit 2
        ;;
    esac
done
(($# > 0)) || set -- lossy sustained three lapped
for run in "$@"; do
    "$run"
done

printf '%-18s %9s %9s %9s %9s %9s  %s\n' run messages gaps recovered lost requests verdict
printf '%s\n' "${rows[@]}"
exit "$status"

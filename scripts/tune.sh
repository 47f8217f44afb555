#!/usr/bin/env bash
# Sets this host up for publishers and subscribers, and takes it back exactly as it was. Touches nothing unless told to.
#
#   scripts/tune.sh show              what each setting is, what it would be, and what it was before
#   scripts/tune.sh apply             sets what is not as it should be, and remembers what it was
#   scripts/tune.sh undo              sets it back to what it was
#
#   --dry-run                         says what would be done, and does nothing
#   --state FILE                      where the former values are kept (/var/lib/seqcast/tune.state)
#   --root DIRECTORY                  another place than / for /proc/sys, /sys and /etc, such as a test's
#
# | setting | set to | because |
# |---|---|---|
# | net.core.rmem_max, wmem_max | 32 MiB at the least | what `receive_buffer_bytes` and the like may ask for: 16 MiB and 1 MiB unless set |
# | net.core.rmem_default, wmem_default | 1 MiB at the least | for whoever asks for nothing; each socket may fill as much |
# | net.core.netdev_max_backlog | 10000 at the least | a burst waits here for its core where a card has no queue of its own for it |
# | net.core.busy_read, busy_poll | 50 µs at the least | a reader looks into the card instead of waiting for its interrupt |
# | net.ipv4.igmp_max_memberships | 100 at the least | groups of one socket, for others than ours, which have one each |
# | the governor of each core | performance | a core that has slowed down takes milliseconds to speed up |
# | /etc/security/limits.d/seqcast.conf | rtprio 99, memlock unlimited for @seqcast | --priority, --lock-memory; at the next login of a member of the group |
#
# "At the least": what is more already stays. What this kernel lacks is told and left out. Settings of the kernel are gone after
# a restart, the file of limits stays; `apply` sets them again, and `undo` still knows what they were. What somebody else has
# changed in the meantime is left to them, and told. `apply` and `undo` need root, but for --dry-run. Exit codes: 0; 1 something
# could not be set; 2 usage.
set -euo pipefail

usage() {
    sed -n '4,10s/^# \{0,3\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
}

action='' dry_run='' state=/var/lib/seqcast/tune.state root=''
while (($# > 0)); do
    case "$1" in
    apply | undo | show) [[ -z $action ]] && action="$1" || usage ;;
    --dry-run) dry_run=yes ;;
    --state | --root)
        (($# > 1)) || usage
        [[ $1 == --state ]] && state="$2" || root="${2%/}"
        shift
        ;;
    *) usage ;;
    esac
    shift
done
[[ -n $action ]] || usage
if [[ $action != show && -z $dry_run && -z $root ]] && ((EUID != 0)); then
    echo "$action needs root: it writes to /proc/sys, /sys and /etc; --dry-run says what it would do" >&2
    exit 1
fi

limits=/etc/security/limits.d/seqcast.conf
limits_text='# By tune.sh of seqcast, whose `undo` removes it: real-time priorities and locked memory for the group seqcast.
@seqcast - rtprio 99
@seqcast - memlock unlimited'
status=0

# Each setting as FILE RULE VALUE; a rule is `least`, a number not to fall below, or `exactly`.
settings() {
    local mebibyte=$((1 << 20)) name governor
    for name in rmem_max wmem_max; do
        echo "/proc/sys/net/core/$name least $((32 * mebibyte))"
    done
    for name in rmem_default wmem_default; do
        echo "/proc/sys/net/core/$name least $mebibyte"
    done
    echo "/proc/sys/net/core/netdev_max_backlog least 10000"
    echo "/proc/sys/net/core/busy_read least 50"
    echo "/proc/sys/net/core/busy_poll least 50"
    echo "/proc/sys/net/ipv4/igmp_max_memberships least 100"
    for governor in "$root"/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor; do
        [[ ! -e $governor ]] || echo "${governor#"$root"} exactly performance"
    done
}

# The value of a setting; nothing where this kernel lacks it.
value() {
    [[ -r $root$1 ]] && tr --squeeze-repeats '[:space:]' ' ' <"$root$1" | sed 's/ $//' || true
}

# The former value of a setting, and the one that was set in its place, if they are remembered.
remembered() {
    [[ ! -e $state ]] || awk -v file="$1" -F '\t' '$1 == file { print $2 "\t" $3 }' "$state"
}

# remember FILE FORMER SET: replaces what was remembered, in one step; without a value it is forgotten.
remember() {
    local file="$1" others=''
    [[ ! -e $state ]] || others="$(awk -v file="$file" -F '\t' '$1 != file' "$state")"
    mkdir -p "$(dirname "$state")"
    {
        [[ -z $others ]] || echo "$others"
        (($# == 1)) || printf '%s\t%s\t%s\n' "$file" "$2" "$3"
    } >"$state.new"
    sync "$state.new"
    mv "$state.new" "$state"
}

# write FILE VALUE
write() {
    if ! { echo "$2" >"$root$1"; } 2>/dev/null || [[ $(value "$1") != "$2" ]]; then
        echo "$1 could not be set to $2" >&2
        status=1
        return 1
    fi
}

# What a setting should be: the value itself, or what it is if that is more.
wanted() {
    local now="$1" rule="$2" value="$3"
    [[ $rule == least && $now =~ ^[0-9]+$ ]] && ((now > value)) && echo "$now" || echo "$value"
}

apply() {
    local file rule value now want former set
    while read -r file rule value; do
        now="$(value "$file")"
        if [[ -z $now ]]; then
            echo "$file: not on this kernel"
            continue
        fi
        want="$(wanted "$now" "$rule" "$value")"
        [[ $now != "$want" ]] || continue
        echo "$file: $now -> $want"
        [[ -z $dry_run ]] || continue
        IFS=$'\t' read -r former set < <(remembered "$file") || former="$now"
        # What somebody else set in between is what it goes back to.
        [[ $now == "$former" || $now == "${set:-}" ]] || former="$now"
        remember "$file" "$former" "$want"
        write "$file" "$want" || [[ $(value "$file") != "$former" ]] || remember "$file"
    done < <(settings)
    apply_limits
}

apply_limits() {
    if [[ ! -d $root${limits%/*} ]]; then
        echo "$limits: there is no such directory, limits are not set here (pam_limits)"
    elif [[ ! -e $root$limits ]]; then
        echo "$limits: absent -> written"
        [[ -z $dry_run ]] || return 0
        remember "$limits" absent written
        if ! { echo "$limits_text" >"$root$limits"; } 2>/dev/null; then
            echo "$limits could not be written" >&2
            status=1
        fi
    elif [[ $(<"$root$limits") != "$limits_text" ]]; then
        echo "$limits: is there with other words, and left as it is"
    fi
}

undo() {
    local file former set now
    if [[ ! -e $state ]]; then
        echo "nothing to take back: there is no $state"
        return 0
    fi
    while IFS=$'\t' read -r file former set; do
        if [[ $file == "$limits" ]]; then
            undo_limits
            continue
        fi
        now="$(value "$file")"
        if [[ $now == "$set" ]]; then
            echo "$file: $now -> $former"
            [[ -n $dry_run ]] || write "$file" "$former" || continue
        elif [[ $now != "$former" ]]; then
            echo "$file: ${now:-absent}, changed by somebody else since it was set to $set, and left as it is"
        fi
        [[ -n $dry_run ]] || remember "$file"
    done < <(cat "$state")
    if [[ -z $dry_run && ! -s $state ]]; then
        rm "$state"
        rmdir --ignore-fail-on-non-empty "$(dirname "$state")"
    fi
}

undo_limits() {
    if [[ -e $root$limits && $(<"$root$limits") != "$limits_text" ]]; then
        echo "$limits: changed by somebody else since it was written, and left as it is"
    elif [[ -e $root$limits ]]; then
        echo "$limits: written -> absent"
        [[ -n $dry_run ]] || rm "$root$limits"
    fi
    [[ -n $dry_run ]] || remember "$limits"
}

show() {
    local file rule value now former set
    while read -r file rule value; do
        now="$(value "$file")"
        former=''
        IFS=$'\t' read -r former set < <(remembered "$file") || true
        echo "$file: ${now:-not on this kernel}${now:+, would be $(wanted "$now" "$rule" "$value")}${former:+, was $former}"
    done < <(settings)
    if [[ ! -e $root$limits ]]; then
        echo "$limits: absent"
    elif [[ $(<"$root$limits") == "$limits_text" ]]; then
        echo "$limits: written"
    else
        echo "$limits: there with other words"
    fi
}

"$action"
exit "$status"

#!/usr/bin/env bash
# Measures seqcast beside bare sockets and beside Aeron, on 127.0.0.1 and in /dev/shm, and prints a table for each
# measurement: the systems in turn, every message checked, medians of the rounds and their spread. What fairness means
# here is in benches/peers/README.md.
#
#   scripts/bench.sh [--quick | --full] [--out DIR] [GROUP]...
#
#   latency       round trips of 64 and 32 B, with bare multicast against itself beside them; 64 B one way
#   memory        the same round trips through shared memory
#   throughput    100 B in 1,408 B datagrams; 32, 100 and 1,024 B in 8 KiB; market data in 1,472 B
#   loss          100 B in 1,408 B datagrams of which 1 % are lost, Aeron as it is and with NAKs sent sooner
#   alone         seqcast alone: user time, recovery, last message, fan-out, interference; only if named
#
# All groups but the last unless named. Takes 15 minutes at the most, with --quick 3, with --full 60, besides the first
# build, which takes about 5; what there was no time for is told, and fails. With --quick there is one short round: it
# shows that all works, not how fast it is. With --full there are ten million messages in each unpaced run, datagrams of
# 64 KiB, and 5 % loss, too.
#
# Writes JSON, HdrHistogram logs and a page with plots of each measurement to a directory of its own in DIR, target/bench
# unless given. Installs what the build of
# Aeron needs and what is missing: with apt-get, if this is root on Debian, and CMake from PyPI into target/bench-cmake.
# Run nothing beside it: two spinning threads take two cores.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
}

mode=default
out=target/bench
groups=()
while (($# > 0)); do
    case $1 in
        --quick | --full) mode="${1#--}" ;;
        --out)
            out="${2:?--out needs a directory}"
            shift
            ;;
        --help | -h)
            usage
            exit 0
            ;;
        latency | memory | throughput | loss | alone) groups+=("$1") ;;
        *)
            usage >&2
            exit 2
            ;;
    esac
    shift
done
((${#groups[@]} > 0)) || groups=(latency memory throughput loss)

case $mode in
    quick) limit_s=180 rounds=1 trips=3000 one_way=200ms messages=300000 time=60ms pairs=1 ;;
    default) limit_s=900 rounds=3 trips=30000 one_way=1s messages=3000000 time=250ms pairs=2 ;;
    full) limit_s=3600 rounds=3 trips=100000 one_way=4s messages=10000000 time=500ms pairs=3 ;;
esac

# What Debian has and the build of Aeron needs: bindgen reads its headers with libclang, its client links uuid and bsd.
install_packages() {
    command -v dpkg-query >/dev/null || return 0
    local package missing=()
    for package in clang g++ libbsd-dev libclang-dev make pkg-config uuid-dev; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
    done
    # Another Python than Debian's brings its own.
    python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
    ((${#missing[@]} > 0)) || return 0
    if ((EUID != 0)); then
        echo "not installed, and only root can install them, with apt-get: ${missing[*]}" >&2
        return 1
    fi
    local apt=(apt-get -qq -o Acquire::Retries=2 -o DPkg::Lock::Timeout=60)
    export DEBIAN_FRONTEND=noninteractive
    "${apt[@]}" update </dev/null >&2 && "${apt[@]}" install --yes --no-install-recommends "${missing[@]}" </dev/null >&2
}

# Aeron asks for CMake 3.30.
install_cmake() {
    local version
    version="$({ cmake --version 2>/dev/null || true; } | sed -n 's/^cmake version //p')"
    [[ $(printf '%s\n' 3.30 "${version:-0}" | sort --version-sort | head -n 1) != 3.30 ]] || return 0
    if [[ ! -x target/bench-cmake/bin/cmake ]]; then
        python3 -m venv target/bench-cmake
        target/bench-cmake/bin/pip install --quiet 'cmake>=3.30,<5' >&2
    fi
    PATH="$PWD/target/bench-cmake/bin:$PATH"
}

if ! command -v cargo >/dev/null && [[ -r ${HOME:-}/.cargo/env ]]; then
    # shellcheck source=/dev/null
    . "$HOME/.cargo/env"
fi
install_packages
install_cmake
manifest=(--manifest-path benches/peers/Cargo.toml)
cargo build --release --locked --quiet "${manifest[@]}"
bench="$(cargo metadata --format-version 1 --no-deps --locked "${manifest[@]}" |
    sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/seqcast-peers"

# Both are measured with socket buffers of 4 MiB: Aeron refuses to start with less, and only root can have it allowed.
for limit in rmem_max wmem_max; do
    if (($(<"/proc/sys/net/core/$limit") < 4194304)); then
        echo "the kernel allows no buffers of 4 MiB: sysctl -w net.core.$limit=4194304" >&2
        exit 1
    fi
done

measuring=
cleanup() {
    if [[ -n $measuring ]]; then
        # Told to end, timeout ends the harness.
        kill -TERM "$measuring" 2>/dev/null || true
        wait "$measuring" || true
    fi
    # What a harness that was killed has left in memory.
    local directory process
    for directory in /dev/shm/seqcast-peers-*; do
        process="${directory#/dev/shm/seqcast-peers-}"
        [[ ! -d $directory || -d /proc/${process%%-*} ]] || rm -rf "$directory"
    done
}
trap cleanup EXIT
trap 'exit 130' INT TERM

started=$SECONDS
failed=()

# measure NAME COMMAND ARGUMENT...: within the time that is left; the files are in a directory of this name.
measure() {
    local name="$1" begun=$SECONDS left=$((started + limit_s - SECONDS)) code=0
    shift
    if ((left < 5)); then
        failed+=("$name: there was no time left")
        return
    fi
    printf '\n=== %s\n' "$name"
    timeout --kill-after 5 "$left" "$bench" "$@" --rounds "$rounds" --out "$out/$name" &
    measuring=$!
    wait "$measuring" || code=$?
    measuring=
    case $code in
        0) ;;
        124 | 137) failed+=("$name: it took more than the $left s that were left") ;;
        *) failed+=("$name: it failed") ;;
    esac
    printf '(%d s)\n' $((SECONDS - begun))
}

latency() {
    local systems=bare-multicast,seqcast,seqcast+segmented,aeron
    measure round-trips latency --systems "$systems" --control --sizes 64,32 --trips "$trips" --rates 0
    measure one-way latency --systems "$systems" --sizes 64 --trips 0 --rates 10000,50000 --time "$one_way"
}

memory() {
    measure round-trips-in-memory latency --systems bare-memory,seqcast-ring,aeron-ipc --control \
        --sizes 64,32 --trips "$trips" --rates 0
}

# throughput_of SYSTEM,... SIZE,... DATAGRAM,... LOSS,...
throughput_of() {
    measure "throughput-${2//,/-}-in-${3//,/-}-loss-${4%\%}" throughput --systems "$1" --against seqcast --sizes "$2" --datagrams "$3" \
        --loss "$4" --receive-buffer 4MiB --messages "$messages" --time "$time" --pairs "$pairs"
}

throughput() {
    local systems=aeron,seqcast,seqcast+segmented,bare-multicast,bare-multicast+segmented
    throughput_of "$systems" 100 1408 0
    throughput_of "$systems" 100,32,1024 8192 0
    throughput_of "$systems" market 1472 0
    if [[ $mode == full ]]; then
        throughput_of "$systems" 100 1472,65504 0
    fi
}

loss() {
    local systems=seqcast,seqcast+segmented,aeron-tuned
    throughput_of "$systems,aeron" 100 1408 1%
    if [[ $mode == full ]]; then
        throughput_of "$systems,aeron" 100 8192 1%
        # At 5 % Aeron as it is needs minutes for what the others do in a second.
        throughput_of "$systems" 100 1408 5%
    fi
}

alone() {
    local command
    for command in floor user-time recovery last fan-out interference; do
        measure "$command" "$command"
    done
}

for group in "${groups[@]}"; do
    "$group"
done

printf '\n%d s of measuring\n' $((SECONDS - started))
((${#failed[@]} == 0)) || printf 'FAIL: %s\n' "${failed[@]}" >&2
((${#failed[@]} == 0))

#!/bin/sh
# Runs scenarios of the simulation, drawn from consecutive seeds, on all cores.
#
#   scripts/swarm.sh [COUNT] [FIRST_SEED]      10000 seeds from 0 on unless told otherwise
#
# A seed that fails is printed with the command that replays it, and nothing but it.
set -eu
cd "$(dirname "$0")/.."
export SEQCAST_SWARM_SEEDS="${1:-10000}" SEQCAST_SWARM_FIRST="${2:-0}"
exec cargo test --release --quiet -p seqcast-recovery --test simulation -- swarm

#!/bin/sh
# Kills publishers and subscribers at random instants under load, and compares what arrives byte by byte: a publisher with a
# ring in a file, beside a retransmitter of its own, a subscriber over a line that loses 1 %, and one on the ring; and a
# subscriber that writes a file with a stored offset, twice as often; and the publishers of a hot pair in turn, a fifth as often.
#
#   scripts/survival.sh [KILLS]      100 of the publisher unless told otherwise; about two minutes
set -eu
cd "$(dirname "$0")/.."
export SEQCAST_KILLS="${1:-100}"
exec cargo test --release -p seqcast --test survival -- is_killed

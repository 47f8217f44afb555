#!/bin/sh
# Kills recordings at random instants, and reads each of them to its last whole block, with tshark too where that is
# installed; then the other tests of captures.
#
#   scripts/captures.sh [KILLS]      50 unless told otherwise; about two minutes
set -eu
cd "$(dirname "$0")/.."
export SEQCAST_KILLS="${1:-50}"
exec cargo test --release -p seqcast --test captures

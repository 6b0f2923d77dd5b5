#!/usr/bin/env bash
# Seeds that once failed must pass for ever.
set -eu
cd "$(dirname "$0")/../.."
[ -x build/firn-sim ] || { echo "skip: build/firn-sim is not built"; exit 77; }
exec build/firn-sim explore --file tests/sim/regressions.txt --seconds 30

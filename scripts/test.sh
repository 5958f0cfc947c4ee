#!/usr/bin/env bash
# Runs the doctests and the tests that need nothing outside the clone, and prints the ten slowest
# tests with their seconds. Arguments are filters of test names; with one, doctests are left out.
#   scripts/test.sh
#   scripts/test.sh pipeline::replay
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p target
log=target/test.log

[ $# -gt 0 ] || cargo test --release --doc --workspace --quiet

# --workspace, as everywhere: another choice of packages would compile candle with other features.
# libtest measures each test with --report-time, which stable Rust accepts only with
# RUSTC_BOOTSTRAP. The runner sets it for the test binary alone, so nothing is built differently.
status=0
cargo test --release --workspace --test all \
    --config 'target."cfg(all())".runner = ["env", "RUSTC_BOOTSTRAP=1"]' \
    -- -Z unstable-options --report-time "$@" | tee "$log" || status=$?

# test pipeline::stages::resume ... ok <12.345s>
echo "slowest tests, seconds:"
sed -nE 's/^test (.+) \.\.\. .*<([0-9.]+)s>$/\2\t\1/p' "$log" | sort -rn |
    awk -F '\t' 'NR <= 10 { printf "%8.1f  %s\n", $1, $2 }'
grep '^test result:' "$log" || true
exit "$status"

#!/bin/sh
# Every reader of foreign files under libFuzzer, SECS seconds each (docs/trust.md). What it finds goes to fuzz/artifacts/TARGET;
# the corpora in the repository are read and not changed.
set -eu
cd "$(dirname "$0")/.."
need() {
    echo "make fuzz needs $1; install it with: $2" >&2
    exit 2
}
cargo fuzz --version >/dev/null 2>&1 || need cargo-fuzz "cargo install cargo-fuzz"
cargo +nightly --version >/dev/null 2>&1 || need "a nightly toolchain" "rustup toolchain install nightly"
targets=${TARGET:-$(cargo +nightly fuzz list)}
cargo +nightly fuzz build --sanitizer none
for target in $targets; do
    found=fuzz/target/corpus/$target
    mkdir -p "$found"
    echo "== $target"
    cargo +nightly fuzz run --sanitizer none "$target" "$found" "fuzz/corpus/$target" -- \
        -max_total_time="${SECS:-60}" -timeout=15 -rss_limit_mb=2048 -max_len=16384
done

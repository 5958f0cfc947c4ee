#!/bin/sh
# Runs every reader of foreign files under libFuzzer, SECS seconds each (docs/trust.md). Findings go
# to fuzz/artifacts/TARGET; the corpora in the repository are read and not changed.
set -eu
cd "$(dirname "$0")/.."
need() {
    echo "make fuzz needs $1; install it with: $2" >&2
    exit 2
}
cargo fuzz --version >/dev/null 2>&1 || need cargo-fuzz "cargo install cargo-fuzz"
cargo +nightly --version >/dev/null 2>&1 || need "a nightly toolchain" "rustup toolchain install nightly"
targets=${TARGET:-$(cargo +nightly fuzz list)}
# AddressSanitizer reports a single allocation of more than 256 MiB too; SANITIZER=none is 5 to 10
# times faster.
sanitizer=${SANITIZER:-address}
cargo +nightly fuzz build --sanitizer "$sanitizer"
for target in $targets; do
    found=fuzz/target/corpus/$target
    mkdir -p "$found"
    echo "== $target"
    cargo +nightly fuzz run --sanitizer "$sanitizer" "$target" "$found" "fuzz/corpus/$target" -- \
        -max_total_time="${SECS:-60}" -timeout=15 -rss_limit_mb=4096 -malloc_limit_mb=256 -max_len=16384
done

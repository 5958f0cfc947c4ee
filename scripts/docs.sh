#!/usr/bin/env bash
# Build the book of docs/ into target/book and check its links. The two programs are installed
# into .tools/ at pinned versions, the first time from source (several minutes).
set -euo pipefail
cd "$(dirname "$0")/.."
mdbook=0.5.2
linkcheck=0.13.0
tools=$PWD/.tools
install_tool() { # NAME VERSION [CARGO ARGS]: unless that version is there
    local name=$1 version=$2
    shift 2
    [ ! -x "$tools/bin/$name" ] || ! grep -qs "^\"$name $version " "$tools/.crates.toml" || return 0
    cargo install --force --locked --root "$tools" --version "$version" "$@" "$name"
}
install_tool mdbook $mdbook --no-default-features --features search
install_tool mdbook-linkcheck2 $linkcheck
PATH="$tools/bin:$PATH" mdbook build docs
echo "target/book/html/index.html"

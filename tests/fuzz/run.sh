#!/usr/bin/env bash
# Runs every fuzz target for a while, and says what came of it. Needs a nightly toolchain and
# `cargo install cargo-fuzz`. usage: tests/fuzz/run.sh [seconds a target, default 600] [target…]
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-600}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cargo +nightly fuzz list --fuzz-dir tests/fuzz)
for target in "${targets[@]}"; do
  printf '\n== %s, %s s\n' "$target" "$seconds"
  # Long inputs are the business of the limits; what is found is found in short ones. The first input of
  # some targets waits for a whole rule set to be compiled under the sanitizer.
  cargo +nightly fuzz run --fuzz-dir tests/fuzz "$target" -- \
    -max_total_time="$seconds" -max_len=4096 -timeout=60 -rss_limit_mb=2048 -print_final_stats=1
done

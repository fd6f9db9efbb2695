#!/usr/bin/env bash
# Fuzzes every target: bash fuzz/run.sh [SECONDS each, 20 if not said] [TARGET...]
# Needs cargo-fuzz (tests/requirements.txt has it) and a C++ compiler, but no nightly Rust. First the seeds and the inputs
# that once crashed a target (regressions/TARGET/), then new ones. An input that crashes is left in artifacts/TARGET/:
# fix the fault, then move the input into regressions/. FUZZ_SANITIZER=address also watches the dependencies' unsafe code, at half the speed.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-20}
shift || true
targets=("$@")
[ $# -gt 0 ] || targets=(proxy_event both_formats authorizer_event key_parser config_checker)
# Without the service, the targets that need only the domain build in seconds.
features=()
[[ ${targets[*]} == *event* || ${targets[*]} == *formats* ]] || features=(--no-default-features)
sanitizer=${FUZZ_SANITIZER:-none}
# The coverage that libFuzzer needs is stable; a sanitizer is not, but the pinned compiler has it.
[ "$sanitizer" = none ] || export RUSTC_BOOTSTRAP=1
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/fuzz"
unset RUSTFLAGS # warnings are for the service; cargo-fuzz sets its own

# What earlier runs found to reach new code. To keep what a long run found: cargo fuzz cmin --sanitizer none TARGET for each,
# then tar -czf fuzz/corpus.tar.gz -C fuzz corpus
[ -d fuzz/corpus ] || tar -xzf fuzz/corpus.tar.gz -C fuzz

cp Cargo.lock fuzz/Cargo.lock
python3 fuzz/seeds.py
if [ ${#features[@]} -gt 0 ]; then
  for target in "${targets[@]}"; do cargo fuzz build --sanitizer "$sanitizer" "${features[@]}" "$target"; done
else
  cargo fuzz build --sanitizer "$sanitizer"
fi

mkdir -p "$CARGO_TARGET_DIR/logs"
fuzz() {
  local target=$1 log="$CARGO_TARGET_DIR/logs/$1.log"
  mkdir -p "fuzz/corpus/$target" "fuzz/regressions/$target"
  if cargo fuzz run --sanitizer "$sanitizer" "${features[@]}" "$target" "fuzz/corpus/$target" "fuzz/regressions/$target" -- \
    -dict=fuzz/corpus/words.dict -max_total_time="$seconds" -max_len=16384 -timeout=5 -rss_limit_mb=2048 \
    -print_final_stats=1 -verbosity=1 >"$log" 2>&1; then
    awk -v target="$target" '
      / cov: / { for (i = 1; i < NF; i++) { if ($i == "cov:") cov = $(i + 1); if ($i == "corp:") corpus = $(i + 1) } }
      /stat::number_of_executed_units/ { n = $2 }
      END { if (!n) exit 1; printf "fuzz %-17s %9d inputs, none crashed (coverage %d, corpus %s)\n", target, n, cov, corpus }
    ' "$log"
  else
    echo "fuzz $target FAILED:" >&2
    grep -aE 'panicked at|^assertion|^ *(left|right):|ERROR: |Test unit written|^error' -A1 "$log" | head -30 >&2 || true
    return 1
  fi
}

# Side by side, as each uses one core.
declare -A running
for target in "${targets[@]}"; do
  fuzz "$target" &
  running[$target]=$!
done
failed=()
for target in "${targets[@]}"; do
  wait "${running[$target]}" || failed+=("$target")
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "fuzzing failed: ${failed[*]}" >&2
  exit 1
fi

# What the scripts of ci/ share. Sourced by each of them: goes to the top of the tree and sets the names below.
#   BUILD   where everything is built: build/, or $WSC_BUILD_ROOT
#   VENV    the Python environment that ci/setup makes
#   JOBS    how many processors to use: $WSC_JOBS, or all, but 4 at most
set -euo pipefail
SELF=$(cd "$(dirname "$0")" && pwd)/${0##*/}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
BUILD=${WSC_BUILD_ROOT:-$PWD/build}
VENV=$BUILD/venv
JOBS=${WSC_JOBS:-$(nproc)}
if [ "$JOBS" -gt 4 ]; then JOBS=4; fi

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 2; }

# help_or_go "$@": prints the comment block at the top of the calling script for --help.
help_or_go() {
  case "${1:-}" in
    -h | --help) sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$SELF"; exit 0 ;;
  esac
}

# cmake_build NAME [cmake arguments]: configures and builds $BUILD/NAME.
cmake_build() {
  local name=$1
  shift
  cmake -S . -B "$BUILD/$name" "$@" >"$BUILD/$name.configure.log" 2>&1 || { cat "$BUILD/$name.configure.log"; return 1; }
  cmake --build "$BUILD/$name" -j "$JOBS"
}

# ctest_build NAME [ctest arguments]: its tests, two at a time.
ctest_build() {
  local name=$1
  shift
  ctest --test-dir "$BUILD/$name" --output-on-failure --no-tests=error -j 2 "$@"
}

# asan_build: everything with ASan and UBSan, in $BUILD/asan. python_asan: the tests of the Python package with what that built.
asan_build() {
  cmake_build asan -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS=-O1 "-DWSC_SANITIZE=address;undefined" -DWSC_BUILD_PYTHON=ON \
    "-DPython_EXECUTABLE=$VENV/bin/python"
}
python_asan() {
  # The interpreter keeps much until the end, which is forgiven by its name in the stack. Four calls reach from malloc into the core,
  # and not back to the interpreter that called it, so that a leak of ours is still told. malloc: objects in pools are not watched.
  printf 'leak:python3\n' >"$BUILD/asan/leaks"
  env "LD_PRELOAD=$("${CC:-cc}" -print-file-name=libasan.so)" PYTHONMALLOC=malloc "PYTHONPATH=$BUILD/asan/python" PYTHONDONTWRITEBYTECODE=1 \
    ASAN_OPTIONS=detect_leaks=1:malloc_context_size=4:strict_string_checks=1:detect_stack_use_after_return=1 \
    "LSAN_OPTIONS=suppressions=$BUILD/asan/leaks:print_suppressions=0" UBSAN_OPTIONS=print_stacktrace=1 \
    "$VENV/bin/python" -m pytest -q -p no:cacheprovider python/tests
}

# demo_clients [arguments of demo.py]: the demo with every client there is, of what was built; Go's where there is Go.
demo_clients() {
  local go=()
  if go_is_enough; then
    go -C go/examples build -o "$(realpath "$BUILD")/release/bin/demo_feed_go" ./feed
    go=(--client Go "$BUILD/release/bin/demo_feed_go")
  fi
  PYTHONPATH=$BUILD/release/python "$VENV/bin/python" tests/demo/demo.py "$@" --client C "$BUILD/release/bin/demo_feed" \
    --client Python "$VENV/bin/python" python/examples/feed.py "${go[@]}"
}

# Steps: each runs in a shell of its own under `set -e`, a failed one does not stop the next, and `summary` tells all of them.
STEPS=()
FAILURES=0
LAST_STEP=0
step() { # step NAME COMMAND...; LAST_STEP is its status afterwards
  local name=$1 begun=$SECONDS
  shift
  printf '\n=== %s (at %d:%02d)\n' "$name" $((SECONDS / 60)) $((SECONDS % 60))
  set +e
  (set -e; "$@")
  LAST_STEP=$?
  set -e
  local took=$((SECONDS - begun))
  if [ "$LAST_STEP" -eq 0 ]; then
    STEPS+=("$(printf 'ok       %4d s  %s' "$took" "$name")")
  else
    FAILURES=$((FAILURES + 1))
    STEPS+=("$(printf 'FAILED   %4d s  %s' "$took" "$name")")
    printf '=== %s FAILED (status %d)\n' "$name" "$LAST_STEP"
  fi
}
skip() { # skip NAME REASON: said now and once more at the end
  printf '\n=== %s: skipped: %s\n' "$1" "$2"
  STEPS+=("$(printf 'skipped          %s: %s' "$1" "$2")")
}
summary() { # prints every step; the status is that of the whole
  printf '\n=== summary (%d:%02d)\n' $((SECONDS / 60)) $((SECONDS % 60))
  printf '%s\n' "${STEPS[@]}"
  if [ "$FAILURES" -gt 0 ]; then
    say "$FAILURES of ${#STEPS[@]} steps failed"
    return 1
  fi
  say "all passed"
}

# go_version: of the go in PATH, as 1.24; nothing when there is none. go_is_enough: whether that is at least 1.24.
new_enough() { [ -n "$1" ] && printf '1.24\n%s\n' "$1" | sort -C -V; }
go_version() { command -v go >/dev/null && GOTOOLCHAIN=local go env GOVERSION 2>/dev/null | sed -n 's/^go\([0-9]*\.[0-9]*\).*/\1/p' || true; }
go_is_enough() { new_enough "$(go_version)"; }

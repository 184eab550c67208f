# shellcheck shell=bash
# What the demos and the benchmark share: a sandbox that ends with the script, and
# how it speaks. A script sources this, and calls begin, then sandbox_up.

bin=$PWD/bin

# begin NAME FOLDER: messages begin with NAME; FOLDER, below the repository, gets
# everything that the script writes, and loses what an earlier run wrote.
begin() {
  name=$1 dir=$PWD/$2
  if [ -e "$dir" ] && [ ! -e "$dir/sandbox.log" ]; then
    fail "$dir is there, and not from an earlier run: move it, or choose another folder"
  fi
  rm -rf "$dir"
  mkdir -p "$dir"
}

step() {
  if [ -t 1 ]; then printf '\n\033[1m==> %s\033[0m\n' "$*"; else printf '\n==> %s\n' "$*"; fi
}

# run COMMAND ARGS...: a command of bin/, shown as a person would type it.
run() {
  echo "\$ $*"
  "$bin/$1" "${@:2}"
}

fail() {
  echo "$name: $*" >&2
  exit 1
}

# sandbox_up ARGS...: `sandbox up`, and its environment once it is ready. It listens
# on loopback only, and ends when its stdin is closed: when the script ends in
# whatever way, kill -9 included, the pipe closes.
sandbox_up() {
  local ready assignment
  coproc SANDBOX { exec "$bin/sandbox" up "$@" --dir "$dir/sandbox" --exit-on-stdin-close 2>"$dir/sandbox.log"; }
  sandbox_pid=$SANDBOX_PID
  sandbox_hold=${SANDBOX[1]} # bash unsets SANDBOX when the coprocess ends
  trap sandbox_down EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  if ! read -r -t 300 ready <&"${SANDBOX[0]}" || [ "${ready%% *}" != ready ]; then
    tail -n 20 "$dir/sandbox.log" >&2
    fail "the sandbox did not get ready"
  fi
  echo "$ready"
  for assignment in ${ready#ready }; do export "${assignment?}"; done
}

sandbox_down() {
  local code=$?
  exec {sandbox_hold}>&-
  kill "$sandbox_pid" 2>/dev/null || true
  wait "$sandbox_pid" 2>/dev/null || true
  [ "$code" -eq 0 ] || echo "$name: failed with exit code $code; logs are in $dir" >&2
  exit "$code"
}

# verdict ARGS...: what an independent observer saw, and the calls of the cloud's API.
verdict() {
  step "What an independent observer saw"
  run sandbox verify --replaced-since "$dir/before.json" "$@"
  step "Calls of the cloud's API"
  run sandbox stats
}

# before_rotation keeps what the verdict is compared with.
before_rotation() {
  "$bin/sandbox" verify --output json >"$dir/before.json"
  "$bin/sandbox" stats --reset >"$dir/calls-before.txt"
}

# nothing_to_do COMMAND ARGS...: a second rotation, which must find nothing.
nothing_to_do() {
  run "$@" | tee "$dir/second.txt"
  grep -q 'nothing to do' "$dir/second.txt" || fail "the second run did something"
}

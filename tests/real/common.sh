# shellcheck shell=bash disable=SC2034
# Sourced by the scripts beside it. Everything they make lives under REAL_DIR, which git ignores.

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
repository="$(cd "$here/../.." && pwd)"
REAL_DIR="${REAL_DIR:-$repository/target/real}"
mkdir -p "$REAL_DIR"
REAL_DIR="$(cd "$REAL_DIR" && pwd)"
bin="$REAL_DIR/bin"

die() {
  echo "$(basename "$0"): $*" >&2
  exit 1
}

# Below the range the kernel hands out for outgoing connections: a port that is kept for a restart must not be taken meanwhile.
free_ports() {
  python3 - "$1" <<'PY'
import random, socket, sys

found = []
while len(found) < int(sys.argv[1]):
    port = random.randrange(20000, 32000)
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            continue
    if port not in found:
        found.append(port)
print(*found)
PY
}

# Is the process recorded in file $1 alive, and does its command line hold $2? A process number alone proves nothing: it may be reused.
recorded() {
  local pid
  [[ -s $1 ]] || return 1
  pid="$(<"$1")"
  [[ -r /proc/$pid/cmdline ]] && tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF -- "$2"
}

# Only for a process started a moment ago, whose command line may still be that of the script: is it there at all?
alive() { kill -0 "$(<"$1")" 2>/dev/null; }

# Send signal $1 to the process recorded in file $2 (command line holds $3), and wait at most $4 seconds for its end.
end_recorded() {
  local pid deadline
  if ! recorded "$2" "$3"; then
    rm -f "$2"
    return 0
  fi
  pid="$(<"$2")"
  kill "-$1" "$pid" 2>/dev/null || true
  deadline=$((SECONDS + $4))
  while recorded "$2" "$3"; do
    ((SECONDS < deadline)) || die "process $pid did not end within $4 s of SIG$1; look at it before killing it"
    sleep 0.1
  done
  rm -f "$2"
}

# One KEY=VALUE a line, value unquoted, exported as it stands: values may hold spaces.
export_env_file() {
  local key value
  while IFS='=' read -r key value; do
    export "$key=$value"
  done <"$1"
}

# shellcheck shell=bash
# Shared by `run` and the peers' start-up scripts; sourced, never run.

# Erlang, tmux and Python take their input's encoding from here.
export LC_ALL=C.UTF-8

# Users that every password host gets. The third one's password is not ASCII.
export USER1=user1 PASSWORD1=secret-1
export USER2=user2 PASSWORD2=secret-2
export USER3=user3 PASSWORD3='pässwörd €3'

# Hosts that share one good certificate; expired., wrongname. and untrusted.localhost have bad ones.
GOOD_HOSTS="localhost anon.localhost tls12.localhost sha1.localhost sha512.localhost pings.localhost muc.localhost"

die() { echo "$*" >&2; exit 1; }

# Seconds within which a server has to be up: plenty, for a machine that is busy with other things too.
export STARTING=120

# free_ports N: N different loopback ports that nobody listens on, on one line. They lie below those that the system
# gives to outgoing connections, or one of these could take a server's port while it is down.
free_ports() {
  python3 - "$1" <<'PY'
import random, socket, sys
with open("/proc/sys/net/ipv4/ip_local_port_range") as limits:
    end = int(limits.read().split()[0])
candidates = list(range(10000, end)) if end > 11000 else list(range(10000, 65536))
random.shuffle(candidates)
held = []
while len(held) < int(sys.argv[1]):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        s.bind(("127.0.0.1", candidates.pop()))
        s.listen()
        held.append(s)
    except OSError:
        s.close()
print(*(s.getsockname()[1] for s in held))
PY
}

# await_port PORT PID: returns 1 if the process ends or the time is up before it listens.
await_port() {
  local end=$((SECONDS + STARTING))
  while ((SECONDS < end)); do
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return 0
    kill -0 "$2" 2>/dev/null || return 1
    sleep 0.1
  done
  return 1
}

# await_line FILE TEXT: FILE comes to hold TEXT within a minute.
await_line() {
  local end=$((SECONDS + 60))
  while ((SECONDS < end)); do
    grep -qs -- "$2" "$1" && return 0
    sleep 0.1
  done
  return 1
}

# is_running PID: not all of its threads have ended. It may have ended though nobody has asked how yet.
is_running() { grep -qs '^State:.[^ZX]' "/proc/$1"/task/*/status; }

# stop_pid FILE: ends the process whose id is in FILE, asking first but not for long: all is thrown away.
stop_pid() {
  local pid i
  [ -s "$1" ] || return 0
  pid=$(<"$1")
  kill "$pid" 2>/dev/null
  for ((i = 0; i < 10; i++)); do
    is_running "$pid" || break
    sleep 0.1
  done
  kill -9 "$pid" 2>/dev/null
  rm -f "$1"
}

# kill_pid FILE: ends the process whose id is in FILE at once, as a power cut would; its ports are free then.
kill_pid() {
  local pid
  pid=$(< "$1")
  kill -9 "$pid" && rm -f "$1" || return 1
  while is_running "$pid"; do sleep 0.05; done
}

# Our own programs, and how they are built: in one go, so that all of them share one build of the crates. PROGRAMS is a
# folder that has them already.
ours=$(realpath -m "${PROGRAMS:-$(dirname "${BASH_SOURCE[0]}")/../target/release}")
build_ours() {
  [ -z "${PROGRAMS-}" ] || return 0
  cargo build --quiet --release --locked --manifest-path "$ours/../../Cargo.toml" \
    -p xmppd -p xmpp-interop -p xmpp-im -p xmpp-muc -p xmpp-filetransfer --bins --example echo_bot --example component_bot --example room_bot \
    --example rooms_component --example send_file --example receive_file
}

# leaf DIR HOST CA SAN [NOT_AFTER]: DIR/certs/HOST.crt and .key, signed by DIR/CA.pem, for LEAF_USES.
leaf() {
  local dir=$1 host=$2 ca=$3 san=$4 until=${5:-20491231235959Z}
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$host" \
    -keyout "$dir/certs/$host.key" -out "$dir/$host.csr" 2>/dev/null || return 1
  printf '%s\n' '[v3]' 'basicConstraints=CA:FALSE' "extendedKeyUsage=${LEAF_USES:-serverAuth}" \
    "subjectAltName=$san" > "$dir/$host.ext"
  # Only `openssl ca` sets a validity that lies in the past.
  openssl ca -batch -notext -config "$dir/ca.cnf" -cert "$dir/$ca.pem" -keyfile "$dir/$ca.key" \
    -startdate 20200101000000Z -enddate "$until" \
    -extfile "$dir/$host.ext" -extensions v3 \
    -in "$dir/$host.csr" -out "$dir/certs/$host.crt" > "$dir/openssl.log" 2>&1 ||
    { cat "$dir/openssl.log" >&2; return 1; }
  rm -f "$dir/$host.csr" "$dir/$host.ext"
}

# make_certs DIR: DIR/ca.pem to trust, DIR/certs/HOST.{crt,key} for every host above.
make_certs() {
  local dir=$1 ca host san
  mkdir -p "$dir/certs"
  : > "$dir/index.txt"
  printf '%s\n' '[ca]' 'default_ca=own' '[own]' "database=$dir/index.txt" \
    "new_certs_dir=$dir" 'default_md=sha256' 'policy=any' 'unique_subject=no' 'rand_serial=yes' \
    '[any]' 'commonName=supplied' > "$dir/ca.cnf"
  for ca in ca rogue-ca; do
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
      -subj "/CN=interop $ca" -addext 'basicConstraints=critical,CA:TRUE' \
      -addext 'keyUsage=critical,keyCertSign,cRLSign' \
      -keyout "$dir/$ca.key" -out "$dir/$ca.pem" 2>/dev/null || return 1
  done
  san=
  for host in $GOOD_HOSTS; do san+=,DNS:$host; done
  leaf "$dir" localhost ca "${san#,}" || return 1
  leaf "$dir" expired.localhost ca DNS:expired.localhost 20200201000000Z || return 1
  leaf "$dir" wrongname.localhost ca DNS:another.localhost || return 1
  leaf "$dir" untrusted.localhost rogue-ca DNS:untrusted.localhost || return 1
  for host in $GOOD_HOSTS; do
    [ "$host" = localhost ] && continue
    cp "$dir/certs/localhost.crt" "$dir/certs/$host.crt"
    cp "$dir/certs/localhost.key" "$dir/certs/$host.key"
  done
}

# write_env DIR NAME=VALUE...: DIR/env, to be sourced by whoever drives the peer.
write_env() {
  local dir=$1 pair
  shift
  # What only another peer has must not outlive it in the environment.
  echo "unset TLS12_DOMAIN SHA512_DOMAIN WS_URL BOSH_URL BOSH_SASL2 WSS_URL BOSHS_URL PINGS_DOMAIN PINGS_WITHIN MECHANISM ECHO_JID ROSTER ORDER INVITATION ADMIN ADMIN_PASSWORD" > "$dir/env"
  for pair in HOST=127.0.0.1 DOMAIN=localhost "CA=$dir/ca.pem" \
    ANON_DOMAIN=anon.localhost EXPIRED_DOMAIN=expired.localhost \
    WRONGNAME_DOMAIN=wrongname.localhost UNTRUSTED_DOMAIN=untrusted.localhost \
    SHA1_DOMAIN=sha1.localhost MUC_DOMAIN=muc.localhost \
    "USER1=$USER1" "PASSWORD1=$PASSWORD1" "USER2=$USER2" "PASSWORD2=$PASSWORD2" \
    "USER3=$USER3" "PASSWORD3=$PASSWORD3" "$@"; do
    printf 'export %s=%q\n' "${pair%%=*}" "${pair#*=}"
  done >> "$dir/env"
}

# shellcheck shell=bash
# Shared by `run` and the peers' start-up scripts; sourced, never run.

# Erlang, tmux and Python take their input's encoding from here.
export LC_ALL=C.UTF-8

# Users that every password host gets. The third one's password is not ASCII.
export USER1=user1 PASSWORD1=secret-1
export USER2=user2 PASSWORD2=secret-2
export USER3=user3 PASSWORD3='pässwörd €3'

# Hosts that share one good certificate; expired., wrongname. and untrusted.localhost have bad ones.
GOOD_HOSTS="localhost anon.localhost tls12.localhost sha1.localhost sha512.localhost muc.localhost"

die() { echo "$*" >&2; exit 1; }

# free_ports N: N different loopback ports that nobody listens on, on one line.
free_ports() {
  python3 - "$1" <<'PY'
import socket, sys
held = [socket.socket() for _ in range(int(sys.argv[1]))]
for s in held:
    s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in held))
PY
}

# await_port PORT PID SECONDS: returns 1 if the process ends or the time is up before it listens.
await_port() {
  local end=$((SECONDS + $3))
  while ((SECONDS < end)); do
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return 0
    kill -0 "$2" 2>/dev/null || return 1
    sleep 0.1
  done
  return 1
}

# stop_pid FILE: ends the process whose id is in FILE, asking first but not for long: all is thrown away.
stop_pid() {
  local pid i
  [ -s "$1" ] || return 0
  pid=$(<"$1")
  kill "$pid" 2>/dev/null
  for ((i = 0; i < 10; i++)); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  kill -9 "$pid" 2>/dev/null
  rm -f "$1"
}

# kill_pid FILE: ends the process whose id is in FILE at once, as a power cut would.
kill_pid() {
  kill -9 "$(< "$1")" && rm -f "$1"
}

# Our own programs, and how they are built: in one go, so that all of them share one build of the crates.
ours=$(realpath -m "$(dirname "${BASH_SOURCE[0]}")/../target/release")
build_ours() {
  cargo build --quiet --release --locked --manifest-path "$ours/../../Cargo.toml" \
    -p xmppd -p xmpp-interop -p xmpp-im --bins --example echo_bot
}

# leaf DIR HOST CA SAN [NOT_AFTER]: DIR/certs/HOST.crt and .key, signed by DIR/CA.pem.
leaf() {
  local dir=$1 host=$2 ca=$3 san=$4 until=${5:-20491231235959Z}
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$host" \
    -keyout "$dir/certs/$host.key" -out "$dir/$host.csr" 2>/dev/null || return 1
  printf '%s\n' '[v3]' 'basicConstraints=CA:FALSE' 'extendedKeyUsage=serverAuth' \
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
  echo "unset TLS12_DOMAIN SHA512_DOMAIN WSS_URL MECHANISM ECHO_JID PINGS_AFTER ROSTER" > "$dir/env"
  for pair in HOST=127.0.0.1 DOMAIN=localhost "CA=$dir/ca.pem" \
    ANON_DOMAIN=anon.localhost EXPIRED_DOMAIN=expired.localhost \
    WRONGNAME_DOMAIN=wrongname.localhost UNTRUSTED_DOMAIN=untrusted.localhost \
    SHA1_DOMAIN=sha1.localhost MUC_DOMAIN=muc.localhost \
    "USER1=$USER1" "PASSWORD1=$PASSWORD1" "USER2=$USER2" "PASSWORD2=$PASSWORD2" \
    "USER3=$USER3" "PASSWORD3=$PASSWORD3" "$@"; do
    printf 'export %s=%q\n' "${pair%%=*}" "${pair#*=}"
  done >> "$dir/env"
}

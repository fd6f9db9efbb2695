#!/usr/bin/env bash
# The stack on this machine: bash tests/sam-local.sh. `sam build`, then every event of events/ through `sam local invoke`
# and the life of a key through `sam local start-api`, against the DynamoDB of `cargo local`.
# Needs a Docker engine, the SAM CLI, cargo-lambda and curl. Without the engine it says "skipped" and succeeds.
set -euo pipefail
cd "$(dirname "$0")/.."
export SAM_CLI_TELEMETRY=0

# What a mistake gets. Every other event gets a 200, or an Allow of the authorizer. tests/integration compares the bodies.
declare -A mistakes=(
  [broken-json]=422 [no-config]=422 [no-grace-seconds]=422 [unknown-key]=404 [unknown-path]=404
  [wrong-method]=405 [wrong-value]=422
)

fail() { echo "failed: $*" >&2; exit 1; }

if ! docker info >/dev/null 2>&1; then
  echo "skipped: sam local, because there is no Docker engine"
  exit 0
fi
for tool in sam cargo-lambda curl; do
  command -v "$tool" >/dev/null || fail "$tool is not installed"
done

work=$(mktemp -d)
database='' gateway=''
# Stops a process of ours and waits for its end, so that its port is free again.
stop() { [ -z "$1" ] || { kill "$1" 2>/dev/null || true; wait "$1" 2>/dev/null || true; }; }
trap 'stop "$gateway"; stop "$database"; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

# `cargo local` with a new table that holds the one key that the events name.
new_table() {
  stop "$database"
  database=''
  cargo local --sample --host 0.0.0.0 --port 0 --dynamodb-port 8000 --data :memory: >"$work/database" 2>&1 &
  database=$!
  until grep -q 'To try' "$work/database"; do
    kill -0 "$database" 2>/dev/null || fail "cargo local: $(cat "$work/database")"
    sleep 0.1
  done
}

# Containers reach this machine as host.docker.internal; on Linux only with --add-host. SAM fetches a base image if there is none.
options=(--skip-pull-image --add-host host.docker.internal:host-gateway)

echo "== sam build"
sam build >"$work/build" 2>&1 || fail "$(cat "$work/build")"
cargo build --quiet --example local

echo "== sam local invoke"
# events/env.json lets requests without a caller in; AWS does not, and one of the events is about that.
sed 's/"ALLOW_ANONYMOUS": "true"/"ALLOW_ANONYMOUS": "false"/' events/env.json >"$work/strict.json"

wrong=0
for file in events/*/*.json; do
  name=${file#events/} name=${name%.json}
  function=ApiFunction environment=events/env.json want=200
  case $name in
    authorizer/*) function=AuthorizerFunction want=Allow ;;
    mistakes/no-caller) environment=$work/strict.json want=401 ;;
    mistakes/*) want=${mistakes[${name#*/}]} ;;
  esac
  new_table
  sam local invoke "$function" --event "events/$name.json" --env-vars "$environment" "${options[@]}" \
    >"$work/response" 2>"$work/log" </dev/null || true
  # The body is a string in the response, its quotes escaped: only the response's own fields match.
  got=$(sed -nE 's/.*"(statusCode|Effect)": *"?([A-Za-z0-9]+).*/\2/p' "$work/response")
  if [ "$got" = "$want" ]; then
    echo "ok     $name: $got"
  else
    echo "WRONG  $name: expected $want, got ${got:-no response}"
    (cat "$work/response"; echo; cat "$work/log") >&2
    wrong=$((wrong + 1))
  fi
done

echo "== sam local start-api"
new_table
port=3001 keys=http://127.0.0.1:3001/es/api/v1/credentials/api_keys
sam local start-api --port "$port" --env-vars events/env.json --warm-containers LAZY "${options[@]}" >"$work/gateway" 2>&1 </dev/null &
gateway=$!
for _ in $(seq 300); do
  grep -q "Running on http://127.0.0.1:$port" "$work/gateway" && break
  kill -0 "$gateway" 2>/dev/null || fail "sam local start-api: $(cat "$work/gateway")"
  sleep 0.2
done

# check STATUS PATTERN METHOD URL [BODY]: one request; the status is equal and the body matches.
check() {
  local want=$1 pattern=$2 method=$3 url=$4 got
  local body=(); [ $# -lt 5 ] || body=(--header 'content-type: application/json' --data "$5")
  got=$(curl --silent --max-time 60 --output "$work/response" --write-out '%{http_code}' --request "$method" "$url" ${body[@]+"${body[@]}"}) || true
  if [ "$got" = "$want" ] && grep -Eq "$pattern" "$work/response"; then
    echo "ok     $method ${url#"$keys"}: $got"
  else
    echo "WRONG  $method $url: expected $want and $pattern, got $got and $(cat "$work/response")"
    wrong=$((wrong + 1))
  fi
}

: >"$work/response"
check 200 '"result": ?"created"' POST "$keys/" '{"config": {"permissions": "read"}}'
key=$(sed -nE 's/.*"api_key": *"(gaia_[0-9A-Z]+_[0-9A-Z]+)".*/\1/p' "$work/response")
[ -n "$key" ] || { cat "$work/gateway" >&2; fail "no key was created"; }
check 200 "\"$key\".*\"read\"" GET "$keys/"
check 200 "\"$key\"" GET "$keys"
check 200 '"valid": ?false,.*"permission"' POST "$keys/verify" "{\"api_key\": \"$key\", \"permission\": \"write\"}"
check 200 '"result": ?"updated"' PUT "$keys/$key" '{"config": {"permissions": "write"}}'
check 200 '"valid": ?true' POST "$keys/verify" "{\"api_key\": \"$key\", \"permission\": \"write\"}"
check 200 "\"$key\".*\"last_used_at\": ?\"" GET "$keys/$key"
check 200 "\"$key\".*\"rotated_to\": ?null" GET "$keys/?details=true"
check 200 "\"result\": ?\"rotated\".*\"${key:0:31}\"" POST "$keys/$key/rotate" '{"grace_seconds": 3600}'
check 409 'was rotated to' POST "$keys/$key/rotate" '{"grace_seconds": 3600, "expires_at": null}'
check 200 '"result": ?"deleted"' DELETE "$keys/delete/$key"
check 404 'API key not found' PUT "$keys/$key" '{"config": {}}'
check 200 '"valid": ?false,.*"not_found"' POST "$keys/verify/" "{\"api_key\": \"$key\"}"
check 405 'Method Not Allowed' PATCH "$keys/"
check 404 'Not Found' GET "http://127.0.0.1:$port/es/api/v1/credentials/other"
check 422 'field required' POST "$keys/" '{}'

if [ "$wrong" -gt 0 ]; then
  tail -50 "$work/gateway" >&2
  fail "$wrong wrong responses"
fi
echo "all responses as expected"

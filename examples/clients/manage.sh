#!/usr/bin/env bash
# The life of an API key with curl 7.87 or later, and jq. docs/clients.md names the variables.
set -euo pipefail

# curl reads the credentials from a file, because the list of processes shows arguments.
credentials() {
  printf 'user = "%s:%s"\n' "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY"
  if [ -n "${AWS_SESSION_TOKEN:-}" ]; then printf 'header = "x-amz-security-token: %s"\n' "$AWS_SESSION_TOKEN"; fi
}

# api METHOD PATH [BODY [HEADER]] prints the response. After a 429, a 503 or a lost connection it sends the request again.
# A create or a rotation needs an Idempotency-Key for that. A delete that gets a 404 then is done.
# curl 7.88 signs a query as it stands, but AWS sorts it by name: write ?after=…&limit=….
api() {
  local pause response status doubt=
  for pause in 0.2 0.5 1 ''; do
    response=$(curl -s --max-time 30 --config <(credentials) --aws-sigv4 "aws:amz:$AWS_REGION:execute-api" -X "$1" \
      -H 'content-type: application/json' ${4:+-H "$4"} ${3:+-d @-} -w '\n%{errormsg}\n%{http_code}' "$API$2" <<<"${3:-}") ||
      response+=$'\n000'
    status=${response##*$'\n'} response=${response%$'\n'*}
    [ "$status" = 200 ] && break
    if [ "$1 $status$doubt" = 'DELETE 404 in doubt' ]; then response='{"result": "deleted"}' && break; fi
    if [[ ! $status =~ ^(429|503|000)$ || -z $pause ]]; then
      [ "$status" = 412 ] && return 12 # somebody changed the key meanwhile
      echo "$1: $status $response" >&2
      return 1
    fi
    doubt=' in doubt'
    sleep "$pause"
  done
  printf '%s\n' "$response"
}
# update ID FILTER changes a config by a filter of jq. PUT replaces the whole config: If-Match keeps what others changed meanwhile.
update() {
  local found config status=12
  for _ in 1 2 3 4 5; do
    found=$(api GET "/$1") || return
    config=$(jq -c "{config: (.config | $2)}" <<<"$found")
    # Nothing to do, also if only the response to an earlier attempt was lost.
    if [ "$config" = "$(jq -c '{config}' <<<"$found")" ]; then echo '{"result": "updated"}' && return; fi
    api PUT "/$1" "$config" "If-Match: $(jq -r .etag <<<"$found")" && return || status=$?
    [ $status = 12 ] || return $status
  done
  echo 'PUT: others change the key all the time' >&2
  return 1
}
once() { echo "Idempotency-Key: $(uuidgen 2>/dev/null || openssl rand -hex 16)"; }

key=$(api POST / '{"config": {"permissions": "read", "name": "reports"}}' "$(once)" | jq -r .api_key)
id=${key:0:31} # not a secret: it stands for the key in paths
api GET '/?limit=100' | jq length
update "$id" '.permissions = "write"' | jq -r .result
api POST /verify "$(jq -nR '{api_key: input, route: "POST /items"}' <<<"$key")" | jq .valid
api GET "/$id" | jq -r .last_used_at
rotated=$(api POST "/$id/rotate" '{"grace_seconds": 3600}' "$(once)")
jq -r .result <<<"$rotated"
new=$(jq -r .api_key <<<"$rotated")
api DELETE "/delete/$id" | jq -r .result
api DELETE "/delete/${new:0:31}" | jq -r .result

#!/usr/bin/env bash
# Three nats-servers with JetStream on this machine, to try NATS mode and to kill one of them: MECEFO_TOKEN=… ./start-local.sh
# Ctrl-C ends all three and removes what they stored.
set -euo pipefail
cd "$(dirname "$0")"
: "${MECEFO_TOKEN:?set it to the secret of the run, at least 16 characters}"
folder="$(mktemp -d)"
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
trap exit INT TERM
for i in 0 1 2; do
  NATS_STORE="$folder/$i" nats-server --config "nats-$i.conf" --log "$folder/$i.log" &
  pids+=($!)
  echo "nats-$i: process $!, nats://127.0.0.1:$((4222 + i))"
done
echo "mecefo train --control nats://127.0.0.1:4222,127.0.0.1:4223,127.0.0.1:4224"
# One that is killed stays away; the other two go on.
wait

#!/usr/bin/env bash
# Runs the quickstart as the README shows it and compares every answer with what the README says.
# Usage: tests/quickstart.sh PATH-TO-PORTCULLIS
set -euo pipefail
cd "$(dirname "$0")/.."
binary=${1:?the path of the portcullis binary}

"$binary" run --config config/quickstart.toml >/dev/null 2>"${TMPDIR:-/tmp}/portcullis-quickstart.log" &
gateway=$!
trap 'kill "$gateway" 2>/dev/null || true; wait "$gateway" 2>/dev/null || true' EXIT

for _ in $(seq 100); do
  curl -fs -o /dev/null http://127.0.0.1:9901/readyz && break
  kill -0 "$gateway" || { cat "${TMPDIR:-/tmp}/portcullis-quickstart.log"; exit 1; }
  sleep 0.1
done

# The README's lines look like `curl … # 403 ip/office-only`.
failed=0
count=0
while IFS= read -r line; do
  command=${line%%  #*}
  expected=${line##*# }
  headers=$(eval "$command -s -o /dev/null -D -" | tr -d '\r')
  status=$(printf '%s\n' "$headers" | sed -n '1s/^[^ ]* \([0-9]*\).*/\1/p')
  rule=$(printf '%s\n' "$headers" | sed -n 's/^x-portcullis-rule: //p')
  count=$((count + 1))
  if [ "$status $rule" = "$expected" ]; then
    echo "ok: $command -> $status $rule"
  else
    echo "FAILED: $command -> $status $rule, the README says $expected"
    failed=1
  fi
done < <(grep -E '^curl .*# [0-9]{3} ' README.md)

[ "$count" -eq 5 ] || { echo "the README has $count curl lines with an answer, not 5"; exit 1; }

# The API that the README asks knows of the refusals above, and the page is there.
command=$(grep -E "^curl 'http://127.0.0.1:9901/" README.md)
# Told whole before it is looked at: a `grep -q` that ends early would make an error of `curl`'s last write.
told=$(eval "$command -s" || true)
page=$(curl -fs http://127.0.0.1:9901/ || true)
if [[ $told == *'"rule":"ip/office-only"'* && $page == *'<h1>Decisions</h1>'* ]]; then
  echo "ok: $command"
else
  echo "FAILED: $command"
  failed=1
fi

# The refusal that the README shows in full, apart from ids and the date. Its body is broken into lines.
plain() { tr -d '\r' | sed -E 's/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/ID/g; s/^date: .*/date/'; }
command=$(grep -E '^curl .*# [0-9]{3} ' README.md | tail -n 1)
got=$(eval "${command%%  #*} -s -i" | plain)
shown=$(sed -n '/^```http$/,/^```$/p' README.md | sed '1d;$d' | sed -e ':a' -e 'N' -e '$!ba' -e 's/,\n /,/g' | plain)
if [ "$got" = "$shown" ]; then
  echo 'ok: the refusal is as the README shows it'
else
  echo 'FAILED: the refusal is not as the README shows it'
  diff <(printf '%s\n' "$got") <(printf '%s\n' "$shown") || true
  failed=1
fi

# `$ portcullis explain …` and what it prints, line by line; `…` stands for what is left out.
explained=0
output=
while IFS= read -r line; do
  case $line in
    '$ portcullis explain '*) output=$(eval "\"$binary\" ${line#'$ portcullis '}" || true); explained=1 ;;
    '```') output= ;;
    '…' | '') ;;
    *) [ -z "$output" ] || grep -qxF -- "$line" <<<"$output" || { echo "FAILED: explain does not print: $line"; failed=1; } ;;
  esac
done <README.md
[ "$explained" -eq 1 ] || { echo "the README shows no explain"; exit 1; }
exit "$failed"

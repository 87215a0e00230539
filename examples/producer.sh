#!/bin/sh
# Producer: hand in one command and print its outcome, with redis-cli alone.
#
#     ./producer.sh '{"id": "cmd_00001", "kind": …}' [redis-cli options, e.g. -h HOST or -s SOCKET]
#
# The command must stand on one line. Sending it again under the same id does no harm.
set -eu

[ $# -ge 1 ] || { echo "usage: producer.sh COMMAND [redis-cli options]" >&2; exit 2; }
command=$1
shift
folder=$(cd "$(dirname "$0")" && pwd)
namespace=earnest
cli() { redis-cli --raw "$@"; }

# Where the stream of events ends now: the outcome will come after that.
last=$(cli "$@" XREVRANGE "$namespace:events" + - COUNT 1 | head -n 1)
last=${last:-0}

# A text inside a text: backslashes and quotes are escaped once more.
text=$(printf '%s' "$command" | sed 's/\\/\\\\/g; s/"/\\"/g')
message="{\"queue_name\":\"commands\",\"actor_name\":\"settle_commands\",\"kwargs\":{\"commands\":[\"$text\"]}}"
stamp=$(cli "$@" --eval "$folder/../docs/contract/enqueue.lua" "$namespace:commands" "$namespace" , \
    1000000 "$(cat /proc/sys/kernel/random/uuid)" 1 "$message")
[ -n "$stamp" ] || { echo "the queue is full: try again in a moment" >&2; exit 1; }

for _ in 1 2 3 4 5 6 7 8 9 10; do
    entries=$(cli "$@" XREAD COUNT 1000 BLOCK 1000 STREAMS "$namespace:events" "$last")
    # The stamp is this submission's own: no other outcome ends in it.
    outcome=$(printf '%s\n' "$entries" | grep "\"id\":\"command:[^\"]*/$stamp\"" || true)
    if [ -n "$outcome" ]; then
        printf '%s\n' "$outcome" | sed 's/.*"data":\({.*}\)}$/\1/'
        exit 0
    fi
    newest=$(printf '%s\n' "$entries" | grep -E '^[0-9]+-[0-9]+$' | tail -n 1 || true)
    last=${newest:-$last}
done
echo "no outcome yet: send it again under the same id" >&2
exit 1

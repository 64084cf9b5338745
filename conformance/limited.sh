# shellcheck shell=sh
# SPDX-License-Identifier: MIT
# A limit on what may hang: sourced by run-tests and test-vm/run.

# limited SECONDS COMMAND...: runs it without input, in a process group of its own that ends at the limit, with all
# that is in there. Returns its status; hung says that it hung, or is empty.
limited() {
    limit=$1 result=0 hung=
    shift
    timeout -k 10 "$limit" "$@" </dev/null &
    wait "$!" 2>/dev/null || result=$? # the shell's "Killed" is no word of COMMAND
    # shellcheck disable=SC2034 # for who called
    case $result in
    124) hung="timed out after $limit s" ;;
    137) hung="killed, or timed out after $limit s" ;;
    *) return "$result" ;;
    esac
    kill -s KILL -- "-$!" 2>/dev/null || true # who was asked to end and has not
    return "$result"
}

# last_said FILE: the last line of its output that is not empty, in words.
last_said() {
    line=$(grep '[^[:space:]]' "$1" | tail -n 1 | tr -d '\r' | cut -c 1-200)
    printf '%s' "${line:+it last said: }${line:-it said nothing}"
}

# shellcheck shell=sh
# SPDX-License-Identifier: MIT
# What a TAP file of Criterion says: sourced by run-tests and test-vm/run.

# count_tap FILE: sets passed, failed, skipped; and cut: not empty where FILE holds another number of
# results than its plan ("1..N") says, as one that was not written to its end.
count_tap() {
    [ -e "$1" ] || : >"$1"
    failed=$(grep -c '^not ok' "$1" || true)
    # shellcheck disable=SC2034 # for who called
    skipped=$(grep -c '^ok .*# SKIP' "$1" || true)
    passed=$(($(grep -c '^ok' "$1" || true) - skipped))
    planned=$(sed -n 's/^1\.\.\([0-9][0-9]*\).*/\1/p' "$1") cut=
    results_said=$((passed + failed + skipped))
    # shellcheck disable=SC2034
    [ "$results_said" -eq "${planned:-0}" ] || cut="$results_said of ${planned:-0} results"
}

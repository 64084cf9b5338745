# SPDX-License-Identifier: MIT
"""conformance/run-tests over fake test programs: no failure is lost, none is made up."""

from __future__ import annotations

from fakes import Tree, has_ended, not_ok, ok, skip, tap

# What run-tests runs beside the programs, once more: none may be forgotten.
SCRIPTS = (
    "conformance/check-symbols",
    "conformance/pkgconfig/check",
    "spec/models/check",
    "conformance/decoder/run-vectors",
    "conformance/verdict/check",
    "fuzz/replay",
    "build/certify",
)
# Where --tap=FILE says; which test --filter=SUITE/TEST names; the how manieth call this is.
PROLOGUE = """
filter=
for arg; do
    case $arg in
    --tap=*) tap=${arg#*=} ;;
    --filter=*) filter=${arg#*=} ;;
    esac
done
call=$(wc -l <"$CALLS")
"""
SYNTHESIS = 'echo "[====] Synthesis: Tested: 1 | Passing: 1 | Failing: 0 | Crashing: 0 "\n'
# These hang: for timeout, which runs them, its time is over when its clock rings. It has to sleep by then.
TIME_IS_OVER = "until grep -q 'State:.S' /proc/$PPID/status; do sleep 0.01; done; kill -ALRM $PPID; "
HANGS = f"echo 'the 17th of 40'; {TIME_IS_OVER} exec sleep 600"
# One whose child does not end when it is asked to, and one that does not either; its grace is over, too.
HEEDS = f"(trap '' TERM; exec sleep 600) & echo $! >child; {TIME_IS_OVER} exec sleep 600"
STUBBORN = f"trap '' TERM; sleep 600 & echo $! >child; {TIME_IS_OVER} sleep 1; {TIME_IS_OVER} exec sleep 600"
NOT_QEMU, QEMU = "core", "live"  # a program of ours alone, and one that meets real QEMUs


class RunTests(Tree):
    script = "run-tests"

    def setUp(self) -> None:
        super().setUp()
        (self.root / "build/tests").mkdir(parents=True)
        for path in SCRIPTS:
            self.write(path, "echo 'ok - fake'")

    def program(self, name: str, body: str) -> None:
        calls = self.calls_of(f"build/tests/{name}")
        self.write(f"build/tests/{name}", f"CALLS={calls}{PROLOGUE}{body}")

    def result(self, name: str, status: int, *results: str, planned: int | None = None) -> None:
        """A program that says this, the same at every call."""
        self.program(name, f"{{\n{tap(*results, planned=planned)}}} >$tap\n{SYNTHESIS}exit {status}")

    def twice(self, name: str, first: str, second: str, status: int = 0) -> None:
        """One that fails in a::flaky at first, with FIRST in its TAP; then says SECOND."""
        self.program(
            name,
            f"[ $call -eq 2 ] || {{ {{\n{first}}} >$tap; echo '[FAIL] a::flaky: lost a race'; exit 1; }}\n"
            f"{{\n{second}}} >$tap\nexit {status}",
        )

    def judged(self, passed: int, failed: int, skipped: int = 0, **env: str) -> None:
        """The total of the programs; that of the scripts, which all pass, is added."""
        self.judge(**env)
        self.must(passed + len(SCRIPTS), failed, skipped)

    def runs(self, name: str) -> list[str]:
        return self.calls(f"build/tests/{name}")

    # ---- what programs say ----

    def test_passes_are_added(self) -> None:
        self.result("one", 0, ok("a::x"))
        self.result("two", 0, ok("a::x"), ok("a::y"))
        self.judged(3, 0)

    def test_a_failure_counts_and_is_shown(self) -> None:
        self.program(NOT_QEMU, f"echo 'the reason'; {{\n{tap(ok('a::x'), not_ok('a::y'))}}} >$tap\nexit 1")
        self.result("other", 0, ok("a::x"))
        self.judged(2, 1)
        self.assertIn("the reason", self.said)
        self.assertIn(not_ok("a::y"), self.said)

    def test_a_crashed_test_counts(self) -> None:
        self.result(NOT_QEMU, 1, ok("a::x"), "not ok - a::y unexpected signal after y.c:7")
        self.judged(1, 1)

    def test_many_failures_count_each(self) -> None:
        self.result(NOT_QEMU, 1, not_ok("a::x"), not_ok("a::y"), ok("a::z"))
        self.judged(1, 2)

    # ---- programs that do not end well ----

    def test_a_program_that_dies_without_a_word(self) -> None:
        self.program(NOT_QEMU, "kill -SEGV $$")
        self.result("other", 0, ok("a::x"))
        self.judged(1, 1)
        self.assertRegex(self.said, r"core .* 1 failed .*ran no test, status 139")

    def test_a_program_that_dies_after_its_results(self) -> None:
        self.program(NOT_QEMU, f"{{\n{tap(ok('a::x'))}}} >$tap\nkill -SEGV $$")
        self.judged(1, 1)
        self.assertIn("did not end well, status 139", self.said)

    def test_a_program_that_says_nothing(self) -> None:
        self.program(NOT_QEMU, "exit 0")
        self.judged(0, 1)
        self.assertIn("ran no test", self.said)

    def test_output_without_results(self) -> None:
        self.program(NOT_QEMU, "echo '[----] a::x'; exit 0")
        self.judged(0, 1)
        self.assertIn("[----] a::x", self.said)

    def test_no_tests_at_all(self) -> None:
        self.result(NOT_QEMU, 0)
        self.judged(0, 1)

    def test_results_cut_short(self) -> None:
        self.result(NOT_QEMU, 0, ok("a::x"), planned=3)
        self.judged(1, 1)
        self.assertIn("1 of 3 results", self.said)

    def test_a_hang_ends(self) -> None:
        self.program(NOT_QEMU, "exec sleep 600")  # longer than anybody waits
        self.judge(TEST_TIMEOUT="1")  # for all: what else is killed depends on the machine
        self.assertRegex(self.said, "core .* 1 failed .*timed out after 1 s; it said nothing\n")

    def test_a_hang_counts_and_tells_its_last_words(self) -> None:
        self.program(NOT_QEMU, HANGS)
        self.result("other", 0, ok("a::x"))
        self.judged(1, 1)
        self.assertRegex(self.said, "core .* timed out after 900 s; it last said: the 17th of 40\n")

    def test_a_hang_takes_along_what_it_began(self) -> None:
        for leader in (HEEDS, STUBBORN):
            with self.subTest(leader):
                self.program(NOT_QEMU, leader)
                self.judged(0, 1)
                self.assertIn("timed out after 900 s", self.said)
                self.assertTrue(has_ended(self.root / "child"))

    def test_who_is_killed_may_have_hung(self) -> None:
        self.program(NOT_QEMU, "kill -KILL $$")
        self.judged(0, 1)
        self.assertIn("killed, or timed out after 900 s", self.said)

    def test_no_programs(self) -> None:
        self.judged(0, 1)

    # ---- skips ----

    def test_a_skip_is_said(self) -> None:
        self.result(NOT_QEMU, 0, ok("a::x"), skip("a::y", "peer absent: QEMU 11.1"))
        self.judged(1, 0, 1)
        self.assertIn("skipped: core: a::y: peer absent: QEMU 11.1", self.said)

    def test_an_absent_peer_fails_in_ci(self) -> None:
        self.result(NOT_QEMU, 0, ok("a::x"), skip("a::y", "peer absent: QEMU"), skip("a::z", "no KVM"))
        self.judged(1, 1, 1, CI="true")

    def test_a_program_that_cannot_run_here(self) -> None:
        self.program(NOT_QEMU, "echo 'peer absent: no network'; exit 77")
        self.judged(0, 0, 1)
        self.assertIn("skipped: core: all: peer absent: no network", self.said)
        self.judged(0, 1, CI="true")

    def test_a_failure_is_not_a_skip(self) -> None:
        self.result(NOT_QEMU, 77, not_ok("a::x"))
        self.judged(0, 1)

    # ---- the second try ----

    def test_a_race_with_a_real_qemu_is_tried_again(self) -> None:
        self.twice(QEMU, tap(ok("a::x"), not_ok("a::flaky")), tap(ok("a::flaky"), skip("a::x", "test was skipped")))
        self.judged(2, 0)
        self.assertEqual(len(self.runs(QEMU)), 2)
        self.assertIn("--filter=a/flaky", self.runs(QEMU)[1])
        self.assertIn("passed at the second try only", self.said)
        self.assertIn("live: a::flaky failed at first", self.said)
        self.assertIn("[FAIL] a::flaky: lost a race", self.said)

    def test_our_own_race_is_not(self) -> None:
        self.twice(NOT_QEMU, tap(not_ok("a::flaky")), tap(ok("a::flaky")))
        self.judged(0, 1)
        self.assertEqual(len(self.runs(NOT_QEMU)), 1)

    def test_what_fails_twice_failed(self) -> None:
        self.twice(QEMU, tap(not_ok("a::flaky")), tap(not_ok("a::flaky")), 1)
        self.judged(0, 1)
        self.assertEqual(len(self.runs(QEMU)), 2)

    def test_one_that_passes_does_not_save_another(self) -> None:
        again = "case $filter in a/flaky) {\n%s} >$tap; exit 0 ;; esac\n{\n%s} >$tap; exit 1\n"
        self.program(QEMU, again % (tap(ok("a::flaky")), tap(not_ok("a::bad"), not_ok("a::flaky"))))
        self.judged(1, 1)
        self.assertEqual(len(self.runs(QEMU)), 3)

    def test_a_second_try_that_runs_nothing(self) -> None:
        self.twice(QEMU, tap(not_ok("a::flaky")), tap(skip("a::flaky", "test was skipped")))
        self.judged(0, 1)

    def test_a_second_try_that_says_nothing(self) -> None:
        self.twice(QEMU, tap(not_ok("a::flaky")), "")
        self.judged(0, 1)

    def test_a_failure_without_a_name(self) -> None:
        self.result(QEMU, 1, ok("a::x"))
        self.judged(1, 1)
        self.assertEqual(len(self.runs(QEMU)), 1)

    def test_a_dead_program_is_not_tried_again(self) -> None:
        self.program(QEMU, f"{{\n{tap(not_ok('a::flaky'))}}} >$tap\nkill -SEGV $$")
        self.judged(0, 1)
        self.assertEqual(len(self.runs(QEMU)), 1)

    def test_only_our_own(self) -> None:
        self.result(QEMU, 1, not_ok("a::x"))
        self.result(NOT_QEMU, 0, ok("a::x"))
        self.judge(TEST_OWN="1")
        self.must(1 + len(SCRIPTS) - 1, 0)  # without certify, which runs QEMU
        self.assertEqual(self.runs(QEMU), [])
        self.assertEqual(self.calls("build/certify"), [])

    # ---- scripts that are one test ----

    def test_scripts_count(self) -> None:
        self.result(NOT_QEMU, 0, ok("a::x"))
        for path in SCRIPTS:
            with self.subTest(path):
                self.write(path, "echo 'why it fails'; exit 3")
                self.judge()
                self.must(len(SCRIPTS), 1)
                self.assertIn("why it fails", self.said)
                self.write(path, "echo 'ok - fake'")

    def test_a_killed_script_failed(self) -> None:
        self.result(NOT_QEMU, 0, ok("a::x"))
        self.write(SCRIPTS[0], "kill -KILL $$")
        self.judge()
        self.must(len(SCRIPTS), 1)
        self.assertRegex(self.said, f"failed: .*{SCRIPTS[0]}: killed, or timed out after 900 s; it said nothing\n")

    def test_a_hung_script_is_named(self) -> None:
        self.result(NOT_QEMU, 0, ok("a::x"))
        for path in SCRIPTS:
            with self.subTest(path):
                self.write(path, HANGS)
                self.judge()
                self.must(len(SCRIPTS), 1)
                why = f"{path}: timed out after 900 s; it last said: the 17th of 40\n"
                self.assertRegex(self.said, f"failed: .*{why}")
                self.write(path, "echo 'ok - fake'")

    def test_a_hung_script_takes_along_what_it_began(self) -> None:
        self.result(NOT_QEMU, 0, ok("a::x"))
        self.write(SCRIPTS[0], HEEDS)
        self.judge()
        self.must(len(SCRIPTS), 1)
        self.assertTrue(has_ended(self.root / "child"))

    def test_a_hung_script_ends(self) -> None:
        self.write(SCRIPTS[0], "exec sleep 600")
        self.judge(TEST_TIMEOUT="1")
        self.assertRegex(self.said, f"failed: .*{SCRIPTS[0]}: timed out after 1 s; it said nothing\n")

    def test_a_skipped_script(self) -> None:
        self.result(NOT_QEMU, 0, ok("a::x"))
        self.write(SCRIPTS[0], "echo 'peer absent: spin'; exit 77")
        self.judge()
        self.must(len(SCRIPTS), 0, 1)
        self.assertRegex(self.said, "skipped: .*peer absent: spin")
        self.judge(CI="true")
        self.must(len(SCRIPTS), 1)

# SPDX-License-Identifier: MIT
"""conformance/test-vm/run over a fake machine: what it makes of a console, a TAP and an exit status."""

from __future__ import annotations

from fakes import Tree, not_ok, ok, skip, tap

# In the place of QEMU: which test the kernel was to run, and the files behind both serial ports. What the
# machine does is in machines/TEST.1 for the first that runs the test, TEST.2 for the second.
MACHINE = """
[ "$1" != --version ] || { echo 'QEMU emulator version 0 (fake)'; exit 0; }
console= tap=
for arg; do
    case $arg in
    *' test='*) test=${arg#* test=} test=${test%% *} ;;
    file:*.console) console=${arg#file:} ;;
    file:*.tap) tap=${arg#file:} ;;
    esac
done
echo "$test" >>booted
. "./machines/$test.$(grep -cx "$test" booted)"
"""
BEGUN = "echo '[ RUN  ] a::deep' >$console\n"  # Criterion, with --verbose
PANIC = BEGUN + "echo '[    1.0] Kernel panic - not syncing: oops' >>$console\n"


def results(status: int, *lines: str, planned: int | None = None) -> str:
    """A machine that comes to its end, with the CR of a serial port."""
    return f"{{\n{tap(*lines, planned=planned)}echo '# status {status}'; }} | sed 's/$/\\r/' >$tap\n"


class TestVm(Tree):
    script = "test-vm/run"

    def setUp(self) -> None:
        super().setUp()
        (self.root / "kernel").mkdir()
        (self.root / "kernel/RELEASE").write_text("0-fake\n")
        (self.root / "machines").mkdir()
        (self.root / "build/test-vm").mkdir(parents=True)
        self.write("conformance/test-vm/fetch", f"echo {self.root}/kernel")
        self.write("conformance/test-vm/image", ': >"$3"')
        self.write("qemu", MACHINE)

    def machine(self, name: str, *does: str) -> None:
        self.write(f"build/test-vm/{name}_test", "")
        for number, body in enumerate(does, 1):
            (self.root / f"machines/{name}_test.{number}").write_text(body)

    def judged(self, passed: int, failed: int, skipped: int = 0, boots: int | None = 1, **env: str) -> None:
        (self.root / "booted").write_text("")
        self.judge(**{"VMSTREAM_SYSTEM_QEMU": f"{self.root}/qemu", "VMSTREAM_ACCEL": "tcg"} | env)
        self.must(passed, failed, skipped)
        if boots is not None:
            self.assertEqual(len((self.root / "booted").read_text().splitlines()), boots, self.said)

    # ---- machines that come to their end ----

    def test_passes_are_added(self) -> None:
        self.machine("a", results(0, ok("a::x"), ok("a::y")))
        self.machine("b", results(0, ok("b::x")))
        self.judged(3, 0, boots=2)

    def test_a_failure_counts_and_is_shown_once(self) -> None:
        self.machine("a", BEGUN + results(1, ok("a::x"), not_ok("a::y")))
        self.machine("b", results(0, ok("b::x")))
        self.judged(2, 1, boots=2)
        self.assertIn("RUN  ] a::deep", self.said)

    def test_a_skip_is_said(self) -> None:
        self.machine("a", results(0, ok("a::x"), skip("a::y", "no such card")))
        self.judged(1, 0, 1)
        self.assertIn("skipped: a_test: a::y: no such card\n", self.said)

    def test_a_program_that_dies(self) -> None:
        self.machine("a", BEGUN + results(139, ok("a::x")))
        self.judged(1, 1)
        self.assertIn("status 139, no end of a::deep", self.said)

    def test_a_program_that_is_stopped(self) -> None:
        self.machine("a", BEGUN + "echo '# status 124' >$tap\n")
        self.judged(0, 1)

    def test_a_program_without_tests(self) -> None:
        self.machine("a", results(0))
        self.judged(0, 1)

    def test_results_cut_short(self) -> None:
        self.machine("a", results(0, ok("a::x"), planned=3))
        self.judged(1, 1)
        self.assertIn("1 of 3 results", self.said)

    def test_a_failure_without_a_name(self) -> None:
        self.machine("a", results(1, ok("a::x")))
        self.judged(1, 1)

    # ---- machines that do not ----

    def test_a_panic_has_a_second_machine(self) -> None:
        self.machine("a", PANIC, results(0, ok("a::x")))
        self.judged(1, 0, boots=2)
        self.assertIn("a_test: Kernel panic - not syncing: oops, in a::deep; once more", self.said)
        self.assertRegex(self.said, "a_test .* 1 passed .*, in a second machine")

    def test_a_panic_twice(self) -> None:
        self.machine("a", PANIC, PANIC)
        self.machine("b", results(0, ok("b::x")))
        self.judged(1, 1, boots=3)

    def test_a_failure_after_a_panic(self) -> None:
        self.machine("a", PANIC, results(1, not_ok("a::x")))
        self.judged(0, 1, boots=2)

    def test_the_second_machine_does_not_take_the_firsts_results(self) -> None:
        self.machine("a", f"{{\n{tap(ok('a::x'))}}} >$tap\n", BEGUN)
        self.judged(0, 1, boots=2)

    def test_results_without_an_end(self) -> None:
        cut = f"{{\n{tap(ok('a::x'), ok('a::y'))}}} >$tap\n"
        self.machine("a", cut, cut)
        self.judged(2, 1, boots=2)

    def test_a_hang(self) -> None:
        hangs = "exec sleep 600"  # longer than anybody waits
        self.machine("a", hangs, hangs)
        self.judged(0, 1, boots=None, TEST_TIMEOUT="-59")  # 60 s are added for the kernel's start
        self.assertEqual(self.said.count("the machine hangs, in any test"), 2, self.said)

    def test_a_qemu_that_refuses(self) -> None:
        refuses = "echo 'qemu: no such machine'; exit 1"
        self.machine("a", refuses, refuses)
        self.judged(0, 1, boots=2)
        self.assertIn("the machine ended, status 1, in any test", self.said)
        self.assertIn("qemu: no such machine", self.said)

    # ---- nothing to run it with ----

    def absent(self, said: str, **env: str) -> None:
        self.machine("a", results(0, ok("a::x")))
        self.judged(0, 0, 1, boots=0, **env)
        self.assertIn(said, self.said)
        self.judged(0, 1, boots=0, CI="true", **env)

    def test_no_qemu(self) -> None:
        self.absent("no-such-qemu is missing", VMSTREAM_SYSTEM_QEMU="no-such-qemu")

    def test_no_kernel(self) -> None:
        self.write("conformance/test-vm/fetch", "exit 77")
        self.absent("skipped: test-vm: there is no kernel")

    def test_a_kernel_that_does_not_come(self) -> None:
        self.write("conformance/test-vm/fetch", "echo 'asks a mirror' >&2; exec sleep 600")
        self.machine("a", results(0, ok("a::x")))
        self.judged(0, 1, boots=0, FETCH_TIMEOUT="1")
        self.assertIn("asks a mirror\ntest-vm: fetch timed out after 1 s", self.said)

    def test_a_kernel_that_cannot_be_made(self) -> None:
        self.write("conformance/test-vm/fetch", "exit 1")
        self.machine("a", results(0, ok("a::x")))
        self.judged(0, 1, boots=0)

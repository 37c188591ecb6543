# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""Operations: works that threads begin, watch, wait for and cancel."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import threading
from collections.abc import Callable

import pytest

from scherbelberg.concurrency.loop import private_loop
from scherbelberg.concurrency.operations import Operation
from scherbelberg.errors import LeftOver

#: For whatever a test waits for, in seconds.
WITHIN_S = 20.0
LEFT_OVER = LeftOver("One server is left.", left_over=("server cluster-scheduler",))


class _Work:
    """A work that goes on until it is told how to end, and cleans up only when it may.

    Args:
        stubborn: Whether it succeeds although it is cancelled.
        error: What its cleaning up and its undoing raise.
    """

    def __init__(self, *, stubborn: bool = False, error: BaseException | None = None) -> None:
        self.begun = threading.Event()
        self.stopping = threading.Event()
        self.may_succeed = threading.Event()
        self.may_clean = threading.Event()
        self.log: list[str] = []
        self._stubborn = stubborn
        self._error = error

    async def run(self) -> int:
        """Succeed, or clean up."""
        self.begun.set()
        try:
            await asyncio.to_thread(self.may_succeed.wait, WITHIN_S)
        except asyncio.CancelledError:
            self.may_succeed.set()
            self.stopping.set()
            if self._stubborn:
                return 42
            await self._clean("cleaned")
            raise
        return 42

    async def undo(self, result: int) -> None:
        """Undo a success."""
        await self._clean(f"undone {result}")

    async def _clean(self, word: str) -> None:
        await asyncio.to_thread(self.may_clean.wait, WITHIN_S)
        self.log.append(word)
        if self._error is not None:
            raise self._error

    def begin(self) -> Operation[str]:
        """Begin it, and wait until it runs."""
        operation = Operation(self.run(), convert=str, undo=self.undo)
        assert self.begun.wait(WITHIN_S)
        return operation


def in_thread(function: Callable[[], object]) -> concurrent.futures.Future[object]:
    """Call a function in a thread of its own."""
    outcome: concurrent.futures.Future[object] = concurrent.futures.Future()

    def call() -> None:
        try:
            outcome.set_result(function())
        except BaseException as error:  # noqa: BLE001 - whoever looks gets it
            outcome.set_exception(error)

    threading.Thread(target=call, daemon=True).start()
    return outcome


def test_success() -> None:
    """An operation is not done until its work is, and then gives its result to any thread, as often as asked."""
    work = _Work()
    operation = work.begin()
    assert not operation.done()
    work.may_succeed.set()
    assert operation.result(WITHIN_S) == "42"
    assert operation.done()
    assert in_thread(operation.result).result(WITHIN_S) == "42"
    assert work.log == []


def test_failure() -> None:
    """The work's own error is raised by the result, and says nothing to who cancels after that."""
    error = LookupError("no")

    async def fail() -> int:
        raise error

    operation = Operation(fail(), convert=str, undo=_Work().undo)
    with pytest.raises(LookupError) as caught:
        operation.result(WITHIN_S)
    assert caught.value is error
    assert operation.cancel() is False


def test_timeout_lets_it_go_on() -> None:
    """Who waits for a short time only is told that it goes on, which it does."""
    work = _Work()
    operation = work.begin()
    with pytest.raises(TimeoutError):
        operation.result(0.01)
    work.may_succeed.set()
    assert operation.result() == "42"


@pytest.mark.parametrize("stubborn", [False, True], ids=["stops", "succeeds despite it"])
def test_cancel_returns_when_nothing_is_left(stubborn: bool) -> None:
    """Cancelling waits for the clean-up, in whichever thread, and its result is that it was cancelled."""
    work = _Work(stubborn=stubborn)
    operation = work.begin()
    cancelling = in_thread(operation.cancel)
    assert work.stopping.wait(WITHIN_S)
    assert not concurrent.futures.wait([cancelling], timeout=0.05).done
    assert not operation.done()
    work.may_clean.set()
    assert cancelling.result(WITHIN_S) is True
    assert operation.done()
    assert work.log == (["undone 42"] if stubborn else ["cleaned"])
    with pytest.raises(concurrent.futures.CancelledError):
        operation.result()


def test_cancel_from_many_threads() -> None:
    """More impatience cleans up once, and all who cancelled wait for that."""
    work = _Work()
    operation = work.begin()
    impatient = [in_thread(operation.cancel) for _ in range(8)]
    assert work.stopping.wait(WITHIN_S)
    assert not concurrent.futures.wait(impatient, timeout=0.05, return_when=concurrent.futures.FIRST_COMPLETED).done
    work.may_clean.set()
    assert [one.result(WITHIN_S) for one in impatient] == [True] * 8
    assert work.log == ["cleaned"]


def test_cancel_without_waiting() -> None:
    """Who must not wait does not, and hears of the end by a callback."""
    work = _Work()
    operation = work.begin()
    ended = threading.Event()
    operation.add_done_callback(lambda _: ended.set())
    assert operation.cancel(wait=False) is True
    assert work.stopping.wait(WITHIN_S)
    assert not ended.is_set()
    work.may_clean.set()
    assert ended.wait(WITHIN_S)
    assert work.log == ["cleaned"]


def test_cancel_too_late() -> None:
    """What has succeeded stays, and who cancels is told so."""
    work = _Work()
    operation = work.begin()
    work.may_succeed.set()
    assert operation.result() == "42"
    assert operation.cancel() is False
    assert (operation.result(), work.log) == ("42", [])


def test_cancel_beside_the_success() -> None:
    """Either the cancellation came in time and all is undone, or the success stays: never both, never neither."""
    for _ in range(50):
        work = _Work()
        work.may_clean.set()
        operation = work.begin()
        work.may_succeed.set()
        if operation.cancel():
            assert len(work.log) == 1
            with pytest.raises(concurrent.futures.CancelledError):
                operation.result()
        else:
            assert (operation.result(), work.log) == ("42", [])


def test_cancel_before_the_first_step() -> None:
    """What never began needs no undoing, and Python does not complain that nobody awaited it."""
    busy, gate = threading.Event(), threading.Event()

    async def hold_up() -> None:
        busy.set()
        gate.wait(WITHIN_S)  # blocks on purpose: what follows is to find the loop busy

    private_loop().submit(hold_up())
    assert busy.wait(WITHIN_S)
    work = _Work()
    operation = Operation(work.run(), convert=str, undo=work.undo)
    assert operation.cancel(wait=False) is True
    gate.set()
    assert operation.cancel() is True
    assert (work.begun.is_set(), work.log) == (False, [])
    gc.collect()


@pytest.mark.parametrize("stubborn", [False, True], ids=["stops", "succeeds despite it"])
def test_failed_undoing_is_told(stubborn: bool) -> None:
    """What could not be given back is raised by the cancelling and by the result: they pay for it."""
    work = _Work(stubborn=stubborn, error=LEFT_OVER)
    work.may_clean.set()
    operation = work.begin()
    for ask in (operation.cancel, operation.result):
        with pytest.raises(LeftOver) as caught:
            ask()
        assert caught.value is LEFT_OVER


def test_callbacks_on_the_librarys_thread() -> None:
    """Callbacks are called on the library's thread with the operation, also when it has ended already."""
    work = _Work()
    operation = work.begin()
    heard: list[tuple[str, str]] = []
    both = threading.Barrier(2)

    def tell(ended: Operation[str]) -> None:
        heard.append((threading.current_thread().name, ended.result()))

    operation.add_done_callback(tell)
    work.may_succeed.set()
    operation.result()
    operation.add_done_callback(tell)
    operation.add_done_callback(lambda _: both.wait(WITHIN_S))
    both.wait(WITHIN_S)
    assert heard == [("scherbelberg", "42")] * 2


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3)])
def test_callback_that_fails(caplog: pytest.LogCaptureFixture, error: BaseException) -> None:
    """What a callback raises is logged and dropped, and the next one is called."""
    work = _Work()
    operation = work.begin()
    both = threading.Barrier(2)

    def fail(_: object) -> None:
        raise error

    operation.add_done_callback(fail)
    operation.add_done_callback(lambda _: both.wait(WITHIN_S))
    work.may_succeed.set()
    both.wait(WITHIN_S)
    (record,) = caplog.records
    assert (record.name, record.exc_info and record.exc_info[1]) == ("scherbelberg", error)


def test_blocking_on_the_librarys_thread() -> None:
    """Where it would wait for itself, waiting is refused; what was cancelled there is cancelled all the same."""
    work = _Work()
    work.may_clean.set()
    operation = work.begin()

    async def ask(call: Callable[[], object]) -> None:
        call()

    for call in (operation.result, operation.cancel):
        with pytest.raises(RuntimeError, match="a listener must not block"):
            private_loop().submit(ask(call)).result()
    with pytest.raises(concurrent.futures.CancelledError):
        operation.result(WITHIN_S)


@pytest.mark.parametrize("interrupts", [1, 3])
def test_interrupt_of_a_waiting_thread(monkeypatch: pytest.MonkeyPatch, interrupts: int) -> None:
    """Ctrl-C in a thread that waits for the result undoes the work before it goes on, however often it comes."""
    work = _Work()
    work.may_clean.set()
    operation = work.begin()
    wait = operation._job.wait
    left = [KeyboardInterrupt() for _ in range(interrupts)]

    def interrupted(within_s: float) -> bool:
        if left:
            raise left.pop()
        return wait(within_s)

    monkeypatch.setattr(operation._job, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        operation.result()
    assert (operation.done(), work.log) == (True, ["cleaned"])

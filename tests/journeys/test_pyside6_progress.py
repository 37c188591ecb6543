# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""The documentation's window, with a real event loop and no screen, against the sandbox."""

from __future__ import annotations

import importlib
import importlib.util
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from architecture import ROOT
from programs import miss
from surroundings import SHORT, folders, held

from scherbelberg import ClusterSpec, Event, Phase
from scherbelberg.settings import Settings

pytestmark = pytest.mark.hosts("scripted")

EXAMPLE = ROOT / "docs/examples/pyside6_progress.py"
#: For whatever a test waits for, in milliseconds.
WITHIN_MS = 60_000
_PACKAGES = "libegl1 libgl1 libxkbcommon0 libdbus-1-3 libfontconfig1 libglib2.0-0"


@pytest.fixture(scope="module")
def widgets() -> Iterator[Any]:
    """PySide6's widgets, with an application that has no screen."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    try:
        found = importlib.import_module("PySide6.QtWidgets")
    except ImportError as error:
        miss(f"PySide6 cannot be imported ({error}): PyPI's PySide6-Essentials, and Debian's {_PACKAGES}, bring it")
    application = found.QApplication.instance() or found.QApplication([])
    yield found
    application.shutdown()


class Hand:
    """Uses the window as a person would, while the application's event loop runs.

    Args:
        window: The example's.
    """

    def __init__(self, window: Any) -> None:
        self.window = window
        self.told: list[Event] = []
        self.values: list[int] = []
        self._core = importlib.import_module("PySide6.QtCore")
        window.told.connect(self.told.append)
        window.bar.valueChanged.connect(self.values.append)

    def click(self, button: Any) -> None:
        """Press a button."""
        test = importlib.import_module("PySide6.QtTest").QTest
        assert button.isEnabled()
        test.mouseClick(button, self._core.Qt.MouseButton.LeftButton)

    def wait(self, condition: Callable[[], bool], *, what: str) -> None:
        """Let the event loop run until a condition holds."""
        loop, look, late = self._core.QEventLoop(), self._core.QTimer(), self._core.QTimer()
        look.timeout.connect(lambda: condition() and loop.quit())
        late.setSingleShot(True)
        late.timeout.connect(lambda: loop.exit(1))
        look.start(10)
        late.start(WITHIN_MS)
        failed = loop.exec()
        look.stop()
        late.stop()
        assert not failed, f"{what} did not come: {self.window.text.text()}"


@pytest.fixture
def hand(widgets: Any, settings: Settings) -> Iterator[Hand]:
    """A hand at the window."""
    found = importlib.util.spec_from_file_location("pyside6_progress", EXAMPLE)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    spec = ClusterSpec(prefix="window", workers=1, network_range=settings.network_range, timeouts=SHORT)
    window = module.Window(spec, settings=settings)
    window.show()
    yield Hand(window)
    window.close()
    window.deleteLater()


def test_create_runs_to_the_end(hand: Hand, settings: Settings) -> None:
    """The bar goes from nothing to all, the window computes nothing itself, and what was made can be taken back."""
    window = hand.window
    hand.click(window.create_button)
    assert not window.create_button.isEnabled()
    hand.wait(lambda: window.cluster is not None, what="The cluster")
    assert window.text.text() == "window computes."
    assert (hand.values, window.bar.maximum()) == (list(range(19)), 18)
    assert len(held(settings)) == 5
    hand.click(window.destroy_button)
    hand.wait(window.create_button.isEnabled, what="The end")
    assert window.text.text() == "Nothing is left."
    assert (held(settings), folders(settings)) == ([], [])


def test_cancel_button(hand: Hand, settings: Settings) -> None:
    """A click cancels, the window stays alive and shows the undoing, and nothing is left."""
    window = hand.window
    hand.click(window.create_button)
    hand.wait(lambda: window.bar.value() >= 8, what="Progress")
    assert held(settings) != []
    hand.click(window.cancel_button)
    assert "given back" in window.text.text()
    hand.wait(window.create_button.isEnabled, what="The end of the undoing")
    assert window.text.text() == "Cancelled. Nothing is left."
    assert (window.bar.value(), window.bar.maximum()) == (5, 5)
    assert (window.cluster, held(settings), folders(settings)) == (None, [], [])
    assert Phase.DELETE in {event.phase for event in hand.told}


def test_closing_the_window_cancels(hand: Hand, settings: Settings) -> None:
    """A window that is closed too early goes when nothing is left, and not before."""
    window = hand.window
    hand.click(window.create_button)
    hand.wait(lambda: window.bar.value() >= 3, what="Progress")
    window.close()
    assert window.isVisible()
    hand.wait(lambda: not window.isVisible(), what="The end of the window")
    assert (held(settings), folders(settings)) == ([], [])


def test_events_reach_the_windows_thread(hand: Hand, settings: Settings) -> None:
    """The library's thread only queues what it tells: the window's slots run in the window's own thread."""
    window = hand.window
    threads: set[str] = set()
    set_text = window.text.setText

    def note(text: str) -> None:
        threads.add(threading.current_thread().name)
        set_text(text)

    window.text.setText = note
    hand.click(window.create_button)
    hand.wait(lambda: window.bar.value() >= 2, what="Progress")
    hand.click(window.cancel_button)
    hand.wait(window.create_button.isEnabled, what="The end of the undoing")
    assert threads == {threading.main_thread().name}

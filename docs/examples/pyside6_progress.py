# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""A window that makes a cluster with a progress bar and a cancel button, and takes it back."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import CancelledError
from typing import Any

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QCloseEvent
from PySide6.QtWidgets import QApplication, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from scherbelberg import ClusterSpec, Event, Phase, ScherbelbergError
from scherbelberg.errors import LeftOver
from scherbelberg.sync import Cluster, Operation

#: What each machine goes through, and what happens once.
PER_NODE = (Phase.RENT, Phase.REACH, Phase.PUSH, Phase.HOSTKEY, Phase.ENVIRONMENT, Phase.TLS, Phase.SERVICE)
ONCE = (Phase.PLAN, Phase.CREDENTIALS, Phase.NETWORK, Phase.PROOF)


class Window(QWidget):
    """Create, cancel, destroy.

    Args:
        spec: The cluster that the button makes.
        arguments: More arguments of `Cluster.begin_new`.
    """

    # The library's thread emits these. Their slots belong to this window, which lives in the GUI's thread: a queued
    # connection carries each event over there, in order.
    told = Signal(object)
    ended = Signal(object)
    destroyed_all = Signal(object)

    def __init__(self, spec: ClusterSpec, **arguments: Any) -> None:
        super().__init__()
        self.cluster: Cluster | None = None
        self._spec = spec
        self._arguments = arguments
        self._operation: Operation[Cluster] | None = None
        self._passed: set[tuple[str | None, Phase]] = set()
        self._is_busy = False
        self._is_closing = False

        self.text = QLabel("There is no cluster.")
        self.bar = QProgressBar()
        self.create_button = QPushButton("Create")
        self.cancel_button = QPushButton("Cancel")
        self.destroy_button = QPushButton("Destroy")
        layout = QVBoxLayout(self)
        for widget in (self.text, self.bar, self.create_button, self.cancel_button, self.destroy_button):
            layout.addWidget(widget)

        self.create_button.clicked.connect(self._create)
        self.cancel_button.clicked.connect(self._cancel)
        self.destroy_button.clicked.connect(self._destroy)
        self.told.connect(self._show_event, Qt.ConnectionType.QueuedConnection)
        self.ended.connect(self._show_end, Qt.ConnectionType.QueuedConnection)
        self.destroyed_all.connect(self._show_destroyed, Qt.ConnectionType.QueuedConnection)
        self._show_buttons()

    @Slot()
    def _create(self) -> None:
        self._passed.clear()
        self.bar.setRange(0, len(ONCE) + len(PER_NODE) * (1 + self._spec.workers))
        self.bar.setValue(0)
        try:
            # Returns at once; both functions are called on the library's thread.
            self._operation = Cluster.begin_new(self._spec, listen=self.told.emit, **self._arguments)
        except ScherbelbergError as error:  # no token, for example
            self.text.setText(error.message)
            return
        self._operation.add_done_callback(self.ended.emit)
        self._is_busy = True
        self._show_buttons()

    @Slot()
    def _cancel(self) -> None:
        if self._operation is not None:
            self._operation.cancel(wait=False)  # waiting here would freeze the window: `ended` comes
        self.text.setText("Cancelling: everything is given back ...")
        self.cancel_button.setEnabled(False)

    @Slot(object)
    def _show_event(self, event: Event) -> None:
        place = event.node or "cluster"
        self.text.setText(f"{place}: {event.phase} {event.state} {event.detail}")
        if event.phase == Phase.DELETE:
            self.bar.setRange(0, event.total or 1)
            self.bar.setValue(event.done or 0)
        elif event.state in {"done", "skipped"} and event.phase in PER_NODE + ONCE:
            self._passed.add((event.node, event.phase))
            self.bar.setValue(len(self._passed))

    @Slot(object)
    def _show_end(self, operation: Operation[Cluster]) -> None:
        self._is_busy = False
        try:
            self.cluster = operation.result()  # there already
            self.text.setText(f"{self.cluster.prefix} computes.")
        except CancelledError:
            self.text.setText("Cancelled. Nothing is left.")
        except LeftOver as error:
            self.text.setText(f"This is still there and costs money: {', '.join(error.left_over)}. {error.message}")
        except ScherbelbergError as error:
            self.text.setText(f"{error.message} Everything was given back.")
        self._show_buttons()
        if self._is_closing:
            self.close()

    @Slot()
    def _destroy(self) -> None:
        self._is_busy = True
        self._show_buttons()
        threading.Thread(target=self._destroy_in_thread, args=(self.cluster,)).start()

    def _destroy_in_thread(self, cluster: Cluster) -> None:
        try:
            cluster.destroy()  # blocks, and tells the same listener
        except ScherbelbergError as error:
            self.destroyed_all.emit(error)
        else:
            self.destroyed_all.emit(None)

    @Slot(object)
    def _show_destroyed(self, error: ScherbelbergError | None) -> None:
        self._is_busy = False
        if error is None:
            self.cluster = None
        self.text.setText("Nothing is left." if error is None else error.message)
        self._show_buttons()

    def _show_buttons(self) -> None:
        self.create_button.setEnabled(not self._is_busy and self.cluster is None)
        self.cancel_button.setEnabled(self._is_busy and self.cluster is None)
        self.destroy_button.setEnabled(not self._is_busy and self.cluster is not None)

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802 - Qt's name
        """Do not leave half a cluster behind: cancel first, and close when nothing is left."""
        if self._is_busy and self.cluster is None:
            self._is_closing = True
            self._cancel()
            event.ignore()
        else:
            event.accept()


if __name__ == "__main__":
    application = QApplication(sys.argv)
    window = Window(ClusterSpec(prefix="window", workers=2))
    window.show()
    sys.exit(application.exec())

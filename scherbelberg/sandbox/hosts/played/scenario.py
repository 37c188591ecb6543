# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""How a scripted host plays its part: how long it takes over what, and what goes wrong with it."""

from __future__ import annotations

from typing import Literal, get_args

from attrs import field, frozen, validators

#: Phases of the script that runs on a node.
Part = Literal["hostkey", "download", "miniforge", "environment", "tls", "service"]
#: ``fails`` ends the script with an error, ``dies`` is a machine that is gone all at once, ``hangs`` says no more.
How = Literal["fails", "dies", "hangs"]


@frozen(kw_only=True)
class Trouble:
    """What goes wrong in a phase, right after its start was told.

    Args:
        phase: Which.
        how: What.
    """

    phase: Part = field(validator=validators.in_(get_args(Part)))
    how: How = field(default="fails", validator=validators.in_(get_args(How)))


@frozen(kw_only=True)
class Scenario:
    """How a host plays its part; all seconds are those at time scale 1, and of work that is not skipped.

    Args:
        hostkey_s: For making the host's own key and sshd's reload.
        download_s: For all packages of an environment that the image does not hold.
        miniforge_s: For installing Miniforge, which happens meanwhile.
        install_s: For making that environment of them.
        environment_s: For looking at the environment that the image holds.
        tls_s: For a key, a request and the look at the certificate.
        service_s: Until Dask answers.
        again_s: Until Dask that has ended is started again.
        trouble: What goes wrong, or None.
        joins: Whether its worker ever finds the scheduler.
    """

    hostkey_s: float = 0.3
    download_s: float = 8.0
    miniforge_s: float = 6.0
    install_s: float = 8.0
    environment_s: float = 0.3
    tls_s: float = 0.2
    service_s: float = 1.5
    again_s: float = 1.0
    trouble: Trouble | None = None
    joins: bool = True


#: A machine whose image was baked, and with which nothing goes wrong.
BAKED = Scenario()

# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""How long a scripted host takes over what."""

from __future__ import annotations

from attrs import frozen


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
    """

    hostkey_s: float = 0.3
    download_s: float = 8.0
    miniforge_s: float = 6.0
    install_s: float = 8.0
    environment_s: float = 0.3
    tls_s: float = 0.2
    service_s: float = 1.5
    again_s: float = 1.0


#: A machine whose image was baked.
BAKED = Scenario()

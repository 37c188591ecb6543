# SPDX-FileCopyrightText: The scherbelberg authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the emulated cloud sells: Hetzner's line-up of August 2026, prices net in EUR and without the IPv4 address.

A fixture: a client must read prices from the API. Those of the older cpx types outside Europe are estimates.
"""

from __future__ import annotations

LocationRow = tuple[int, str, str, str, float, float, str]
TypeRow = tuple[int, str, int, int, int, str, str, tuple[str, ...]]
ImageRow = tuple[int, str, str, str, str, str]

#: id, name, country, city, latitude, longitude, network zone
LOCATIONS: tuple[LocationRow, ...] = (
    (1, "fsn1", "DE", "Falkenstein", 50.47612, 12.370071, "eu-central"),
    (2, "nbg1", "DE", "Nuremberg", 49.452102, 11.076665, "eu-central"),
    (3, "hel1", "FI", "Helsinki", 60.169855, 24.938379, "eu-central"),
    (4, "ash", "US", "Ashburn, VA", 39.045821, -77.487073, "us-east"),
    (5, "hil", "US", "Hillsboro, OR", 45.54222, -122.951924, "us-west"),
    (6, "sin", "SG", "Singapore", 1.283333, 103.833333, "ap-southeast"),
)

EUROPE = ("fsn1", "nbg1", "hel1")
OVERSEAS = ("ash", "hil", "sin")

#: id, name, cores, memory in GB, disk in GB, price per hour, price per month, locations
SERVER_TYPES: tuple[TypeRow, ...] = (
    (104, "cx22", 2, 4, 40, "0.0060", "3.79", EUROPE),
    (114, "cx23", 2, 4, 40, "0.0088", "5.49", EUROPE),
    (115, "cx33", 4, 8, 80, "0.0136", "8.49", EUROPE),
    (116, "cx43", 8, 16, 160, "0.0256", "15.99", EUROPE),
    (117, "cx53", 16, 32, 320, "0.0473", "29.49", EUROPE),
    (45, "cax11", 2, 4, 40, "0.0096", "5.99", EUROPE),
    (93, "cax21", 4, 8, 80, "0.0168", "10.49", EUROPE),
    (94, "cax31", 8, 16, 160, "0.0336", "20.99", EUROPE),
    (95, "cax41", 16, 32, 320, "0.0657", "40.99", EUROPE),
    (108, "cpx12", 1, 2, 40, "0.0184", "11.49", EUROPE),
    (109, "cpx22", 2, 4, 80, "0.0312", "19.49", EUROPE),
    (110, "cpx32", 4, 8, 160, "0.0569", "35.49", EUROPE),
    (111, "cpx42", 8, 16, 320, "0.1114", "69.49", EUROPE),
    (112, "cpx52", 12, 24, 480, "0.1610", "100.49", EUROPE),
    (113, "cpx62", 16, 32, 640, "0.2083", "129.99", EUROPE),
    (22, "cpx11", 2, 2, 40, "0.0280", "17.49", OVERSEAS),
    (23, "cpx21", 3, 4, 80, "0.0505", "31.49", OVERSEAS),
    (24, "cpx31", 4, 8, 160, "0.0929", "57.99", OVERSEAS),
    (25, "cpx41", 8, 16, 240, "0.1715", "106.99", OVERSEAS),
    (26, "cpx51", 16, 32, 360, "0.3398", "211.99", OVERSEAS),
    (96, "ccx13", 2, 8, 80, "0.0689", "42.99", EUROPE + OVERSEAS),
    (97, "ccx23", 4, 16, 160, "0.1378", "85.99", EUROPE + OVERSEAS),
    (98, "ccx33", 8, 32, 240, "0.2219", "138.49", EUROPE + OVERSEAS),
    (99, "ccx43", 16, 64, 360, "0.4423", "275.99", EUROPE + OVERSEAS),
    (100, "ccx53", 32, 128, 600, "0.8550", "533.49", EUROPE + OVERSEAS),
    (101, "ccx63", 48, 192, 960, "1.3678", "853.49", EUROPE + OVERSEAS),
)

#: Server types that can no longer be ordered: announced, unavailable after.
RETIRED = {"cx22": ("2025-10-16T06:00:00Z", "2026-01-15T05:59:59Z")}

#: Where the advice on stock says no; it is advice only, and orders are taken all the same.
SCARCE = {("cx53", "nbg1"), ("cax41", "fsn1"), ("ccx63", "hel1")}

#: id, architecture, flavour, version, description, created
IMAGES: tuple[ImageRow, ...] = (
    (67794396, "x86", "ubuntu", "22.04", "Ubuntu 22.04", "2022-04-21T13:32:38Z"),
    (103908130, "arm", "ubuntu", "22.04", "Ubuntu 22.04", "2023-03-20T06:06:55Z"),
    (161547269, "x86", "ubuntu", "24.04", "Ubuntu 24.04", "2024-04-25T13:26:27Z"),
    (161547270, "arm", "ubuntu", "24.04", "Ubuntu 24.04", "2024-04-25T13:26:51Z"),
    (372018441, "x86", "ubuntu", "26.04", "Ubuntu 26.04", "2026-04-23T12:11:06Z"),
    (372018442, "arm", "ubuntu", "26.04", "Ubuntu 26.04", "2026-04-23T12:11:31Z"),
    (114690387, "x86", "debian", "12", "Debian 12", "2023-06-13T06:00:02Z"),
    (114690389, "arm", "debian", "12", "Debian 12", "2023-06-13T06:00:36Z"),
)

CURRENCY = "EUR"
VAT_PERCENT = "19"
IPV4_HOURLY = "0.0008"
IPV4_MONTHLY = "0.50"
SNAPSHOT_PER_GB_MONTH = "0.0143"
#: Price of a TB beyond the included traffic, and TB included.
TRAFFIC = {
    "fsn1": ("1.20", 20),
    "nbg1": ("1.20", 20),
    "hel1": ("1.20", 20),
    "ash": ("1.20", 1),
    "hil": ("1.20", 1),
    "sin": ("8.30", 1),
}

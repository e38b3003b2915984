# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The units of systemd that the image mirror has, as text."""

from __future__ import annotations

from ansible_collections.bramble.pi.plugins.module_utils._common.files import MANAGED
from ansible_collections.bramble.pi.plugins.module_utils._image_mirror.configuration import (
    FOLDER,
    PROGRAM,
    USER,
)

_UNITS = "/etc/systemd/system"
_NAME = "bramble-image-mirror"
UPKEEP, TIMER = f"{_NAME}-upkeep.service", f"{_NAME}-upkeep.timer"
TEMPLATE = f"{_NAME}@.service"
#: Debian's own unit, which would serve another registry, open to everybody.
DEBIAN = "docker-registry.service"
_EVERY_MINUTES = 5
#: A registry removes what it fetched seven days before, however often it is asked for. It forgets that when
#: it is started.
_LIFETIME = "6d"
_HARDENED = (
    "NoNewPrivileges=yes\nProtectSystem=strict\nProtectHome=yes\nPrivateTmp=yes\nPrivateDevices=yes\n"
    "ProtectKernelTunables=yes\nProtectKernelModules=yes\nProtectControlGroups=yes\nRestrictSUIDSGID=yes\n"
    "RestrictRealtime=yes\nLockPersonality=yes\nMemoryDenyWriteExecute=yes\n"
    "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6\nSystemCallArchitectures=native\n"
)


def path_of(unit: str) -> str:
    """Return where the file of a unit is."""
    return f"{_UNITS}/{unit}"


def instance(registry: str) -> str:
    """Return the unit that serves a registry."""
    return TEMPLATE.replace("@", f"@{registry}")


def service(*, data: str) -> str:
    """Return the unit of which each registry has an instance."""
    return (
        f"{MANAGED}[Unit]\nDescription=Images of %i for the nodes of the rack\n"
        # Without its disk it does not start, rather than write to the card. The address may come late.
        f"RequiresMountsFor={data}\nWants=network-online.target\nAfter=network-online.target\n"
        "StartLimitIntervalSec=0\n\n"
        f"[Service]\nUser={USER}\nGroup={USER}\n"
        # Isolated: nothing of a user's is imported.
        f"ExecStart=/usr/bin/python3 -I {PROGRAM} serve %i\n"
        f"Restart=always\nRestartSec=5\nRuntimeMaxSec={_LIFETIME}\nTimeoutStopSec=45\nUMask=0027\n"
        f"CapabilityBoundingSet=\n{_HARDENED}ReadWritePaths={data}\n\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )


def upkeep_service(*, data: str) -> str:
    """Return the unit that removes images, renews the certificate and looks after the registries."""
    return (
        f"{MANAGED}[Unit]\nDescription=Upkeep of the image mirror\nRequiresMountsFor={data}\n\n"
        f"[Service]\nType=oneshot\nExecStart=/usr/bin/python3 -I {PROGRAM}\nNice=10\n"
        f"Environment=LC_ALL=C.UTF-8\nTimeoutStartSec=15min\n{_HARDENED}ReadWritePaths={data} {FOLDER}\n"
    )


def upkeep_timer() -> str:
    """Return the timer of that unit."""
    return (
        f"{MANAGED}[Unit]\nDescription=Upkeep of the image mirror, every {_EVERY_MINUTES} minutes\n\n"
        f"[Timer]\nOnActiveSec=1min\nOnUnitActiveSec={_EVERY_MINUTES}min\nAccuracySec=10s\n\n"
        "[Install]\nWantedBy=timers.target\n"
    )

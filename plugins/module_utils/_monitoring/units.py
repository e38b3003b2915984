# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The units of systemd that the monitoring has, as text: own ones, and what is added to those of Debian."""

from __future__ import annotations

from ansible_collections.bramble.pi.plugins.module_utils._common.files import MANAGED
from ansible_collections.bramble.pi.plugins.module_utils._monitoring.configuration import (
    ALERTMANAGER,
    ALERTMANAGER_PORT,
    NODE_PORT,
    PROMETHEUS,
)

UNITS = "/etc/systemd/system"
PROGRAM = "/usr/local/lib/bramble/monitoring"
#: In memory, as it is written all day, and worth nothing after a boot. It has the collector's files.
STATE = "/run/bramble-monitoring"
COLLECTOR = "bramble-monitoring"
ETCD = "bramble-etcd-metrics"
EXPORTER, SERVER, MANAGER = (
    "prometheus-node-exporter",
    "prometheus",
    "prometheus-alertmanager",
)
#: Where etcd of a kubeadm serves its metrics, to its own node alone.
_ETCD_METRICS = "127.0.0.1:2381"
#: No longer than this an examination takes, else it hangs.
_EXAMINE_SECONDS = 120


def drop_in(unit: str) -> str:
    """Return the file with what is added to a unit of Debian; it is there before the package is."""
    return f"{UNITS}/{unit}.service.d/bramble.conf"


def _debian(*, command: str, needs: str = "", data: str = "") -> str:
    condition = f"ConditionPathExists={needs}\nRequiresMountsFor={data}\n" if data else ""
    # Without its disk it does not start, rather than write to the card.
    paths = f"ReadWritePaths={data}\n" if data else ""
    return (
        f"{MANAGED}[Unit]\n{condition}"
        # The address may come late, after a power cut.
        "Wants=network-online.target\nAfter=network-online.target\nStartLimitIntervalSec=0\n\n"
        f"[Service]\nRestartSec=5\n{paths}ExecStart=\nExecStart={command}\n"
    )


def exporter(*, address: str) -> str:
    """Return what is added to the unit of node-exporter."""
    return _debian(command=f"/usr/bin/prometheus-node-exporter --web.listen-address={address}:{NODE_PORT}")


def server(*, address: str, port: int, data: str, size: str) -> str:
    """Return what is added to the unit of Prometheus."""
    return _debian(
        command=f"/usr/bin/prometheus --config.file={PROMETHEUS} --web.listen-address={address}:{port}"
        f" --storage.tsdb.path={data}/prometheus --storage.tsdb.retention.size={size}",
        needs=PROMETHEUS,
        data=data,
    )


def manager(*, address: str, data: str) -> str:
    """Return what is added to the unit of alertmanager."""
    # It is one alone, and opens no port for others of its kind.
    return _debian(
        command=f"/usr/bin/prometheus-alertmanager --config.file={ALERTMANAGER}"
        f" --web.listen-address={address}:{ALERTMANAGER_PORT} --cluster.listen-address="
        f" --storage.path={data}/alertmanager",
        needs=ALERTMANAGER,
        data=data,
    )


def collector_service() -> str:
    """Return the unit that examines the node."""
    return (
        f"{MANAGED}[Unit]\nDescription=What the doctor finds on this node, as metrics\n\n"
        "[Service]\nType=oneshot\n"
        # Isolated: nothing of a user's is imported.
        f"ExecStart=/usr/bin/python3 -I {PROGRAM}\n"
        "Environment=LC_ALL=C.UTF-8\nNice=10\n"
        f"TimeoutStartSec={_EXAMINE_SECONDS}\n"
        f"RuntimeDirectory={STATE.rpartition('/')[2]}\nRuntimeDirectoryPreserve=yes\n"
    )


def collector_timer(*, interval: int) -> str:
    """Return the timer of the unit that examines the node."""
    return (
        f"{MANAGED}[Unit]\nDescription=What the doctor finds on this node, every {interval} s\n\n"
        # Not all nodes ask the API server at once.
        f"[Timer]\nOnActiveSec=1s\nOnUnitActiveSec={interval}s\nRandomizedDelaySec={interval // 10}s\n"
        "AccuracySec=1s\n\n[Install]\nWantedBy=timers.target\n"
    )


def etcd_socket(*, address: str, port: int, admitted: str) -> str:
    """Return the unit that hands on etcd's metrics, and nothing else of etcd, to one host alone."""
    return (
        f"{MANAGED}[Unit]\nDescription=Metrics of etcd for the monitoring host\n\n"
        f"[Socket]\nListenStream={address}:{port}\n"
        # The address may come late, after a power cut.
        f"FreeBind=true\n{_only(admitted)}\n[Install]\nWantedBy=sockets.target\n"
    )


def etcd_service(*, admitted: str) -> str:
    """Return the unit that it starts when it is asked."""
    return (
        f"{MANAGED}[Unit]\nDescription=Metrics of etcd for the monitoring host\n"
        f"Requires={ETCD}.socket\nAfter={ETCD}.socket\n\n"
        "[Service]\n"
        f"ExecStart=/lib/systemd/systemd-socket-proxyd --exit-idle-time=10min {_ETCD_METRICS}\n"
        f"DynamicUser=yes\nPrivateDevices=yes\nProtectHome=yes\nNoNewPrivileges=yes\n{_only(admitted)}"
    )


def _only(admitted: str) -> str:
    return f"IPAddressDeny=any\nIPAddressAllow=localhost {admitted}\n"

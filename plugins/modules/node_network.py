#!/usr/bin/python
# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible module ``bramble.pi.node_network``."""

from __future__ import annotations

DOCUMENTATION = r"""
module: node_network
short_description: Give a node its fixed address, and take it back if the node cannot be reached there
version_added: '0.1.0'
description:
  - Sets IPv4 address, gateway, resolvers and search domains of an interface, through whatever manages it now.
  - Finds out what that is by what runs, not by which files lie about, and says so.
  - An interface that two managers claim is refused, with their names.
  - Only what concerns IPv4 is changed; the rest of a configuration (IPv6, MTU ...) stays.
  - An address that another machine on the link has is refused.
  - A change is tried first. The node makes it alone, detached from the connection that asked for it.
  - It takes the change back unless the controller has come back over the new path, with the same host key,
    within O(confirm_timeout), and the gateway answers on the link. A node that was switched off in between
    takes it back at its next boot.
  - cloud-init, where there is one, is told to leave the network alone.
notes:
  - The new address is entered into the known_hosts file that has the node's key, for the runs to come.
  - A node that is part of a Kubernetes cluster is not moved to another address.
author:
  - bramble.pi contributors (@bramble-pi)
extends_documentation_fragment:
  - bramble.pi.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  interface:
    description: The interface, such as V(eth0).
    type: str
    default: eth0
  address:
    description: The address with its prefix, such as V(192.168.1.11/24).
    type: str
    required: true
  gateway:
    description: The default gateway. Empty for none.
    type: str
    default: ""
  resolvers:
    description:
      - The name servers' addresses.
      - With an empty list the manager gets none. Resolvers that are kept apart from it are left alone.
    type: list
    elements: str
    default: []
  search:
    description: The search domains.
    type: list
    elements: str
    default: []
  manager:
    description:
      - What manages the interface.
      - V(auto) finds it. Anything else says which of several is to keep it, or which is to get an interface
        that nothing has configured yet.
    type: str
    choices: [auto, ifupdown, netplan, networkmanager, dhcpcd, networkd]
    default: auto
  confirm_timeout:
    description: Seconds that the controller has to come back, before the node takes the change back.
    type: int
    default: 90
  step:
    description:
      - What is done by the action plugin of the same name, which runs the module several times.
      - V(try) begins; V(confirm) and V(report) belong to what O(trial) names.
    type: str
    choices: [try, confirm, report]
    default: try
  trial:
    description: Identifier of a change that is being tried.
    type: str
"""

EXAMPLES = r"""
- name: Give the node its address
  bramble.pi.node_network:
    address: 192.168.1.11/24
    gateway: 192.168.1.1
    resolvers: [192.168.1.1, 8.8.8.8]
    search: [rack.example.org]

- name: Give the head its inner address
  bramble.pi.node_network:
    interface: eth0
    address: 10.0.0.1/24
"""

RETURN = r"""
manager:
  description: What manages the interface.
  returned: success
  type: str
  sample: netplan
why:
  description: How that is known.
  returned: success
  type: str
  sample: 'systemd-networkd: configured by /run/systemd/network/10-netplan-eth0.network'
resolver_keeper:
  description: What keeps the resolvers, if it is not the manager.
  returned: success
  type: str
  sample: openresolv
before:
  description: What the interface had.
  returned: success
  type: dict
  contains:
    addresses:
      description: Its addresses.
      returned: success
      type: list
      elements: str
      sample: [192.168.1.137/24]
    gateways:
      description: The default gateways that it has routes to.
      returned: success
      type: list
      elements: str
      sample: [192.168.1.1]
files:
  description: The files that were changed.
  returned: success
  type: list
  elements: str
  sample: [/etc/netplan/90-bramble.yaml, /etc/netplan/50-cloud-init.yaml]
reach_at:
  description: The address at which the node is reached from now on, if it is another one than before.
  returned: when the address was changed that the controller reaches the node by
  type: str
  sample: 192.168.1.11
trial:
  description: Identifier of the change, while it is being tried.
  returned: when the action plugin has to confirm
  type: str
  sample: 8d2c1f0e6b5a4d3c
state:
  description: What has become of a trial, for the action plugin.
  returned: with O(step=confirm) or O(step=report)
  type: str
  sample: confirmed
reason:
  description: Why it was not confirmed.
  returned: with O(step=confirm) or O(step=report)
  type: str
  sample: the gateway 192.168.1.254 does not answer on eth0
"""

import contextlib
import errno
import fnmatch
import glob
import hashlib
import json
import os
import shutil
import socket
import struct
import tempfile
import time
from collections.abc import Sequence
from typing import Any, Callable, NamedTuple

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text, write_text
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node_files import kubernetes_state
from ansible_collections.bramble.pi.plugins.module_utils._network import detect, trial_script
from ansible_collections.bramble.pi.plugins.module_utils._network import files as network_files
from ansible_collections.bramble.pi.plugins.module_utils._network.detect import Manager
from ansible_collections.bramble.pi.plugins.module_utils._network.files import File
from ansible_collections.bramble.pi.plugins.module_utils._network.settings import (
    NetworkError,
    Settings,
    State,
    check_cluster,
    settings,
    shortcomings,
    state,
)

try:
    import yaml

    HAS_YAML = True
except ImportError:
    HAS_YAML = False

_NETPLAN_FOLDERS = ("/lib/netplan", "/usr/lib/netplan", network_files.NETPLAN_FOLDER, "/run/netplan")
_PROGRAMS = {
    detect.IFUPDOWN: "ifup",
    detect.NETPLAN: "netplan",
    detect.NETWORKMANAGER: "nmcli",
    detect.DHCPCD: "dhcpcd",
    detect.NETWORKD: "networkctl",
}
_GATEWAY_TIMEOUT = 4.0
_SETTLE_TIMEOUT = 10.0
_PROBE_TIMEOUT = 1.2

# Takes a command, returns its exit status, standard output and standard error.
Run = Callable[[list[str]], "tuple[int, str, str]"]


class Commands(NamedTuple):
    """What makes the files count, in the trial's script."""

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    restore_after: tuple[str, ...] = ()
    regenerate: tuple[str, ...] = ()


class NodeNetwork:
    """The network of this node."""

    def __init__(self, *, run: Run, has: Callable[[str], bool], root: str = "") -> None:
        self._run = run
        self._has = has
        self._root = root
        self.warnings: list[str] = []

    def _read(self, path: str) -> str:
        return read_text(self._root + path) or ""

    def _output(self, *command: str) -> str:
        status, stdout, _stderr = self._run(list(command))
        return stdout if status == 0 else ""

    def _exists(self, path: str) -> bool:
        return os.path.exists(self._root + path)

    def _glob(self, pattern: str) -> list[str]:
        return sorted(path[len(self._root) :] for path in glob.glob(self._root + pattern))

    def interfaces(self) -> dict[str, str]:
        """Return the interfaces with their MAC addresses."""
        return {
            name: self._read(f"/sys/class/net/{name}/address").strip()
            for name in os.listdir(f"{self._root}/sys/class/net")
        }

    def state(self, interface: str) -> State:
        """Ask the kernel what the interface has."""
        return state(
            addresses=self._output("ip", "-j", "-4", "address", "show", "dev", interface),
            routes=self._output("ip", "-j", "-4", "route", "show", "default", "dev", interface),
        )

    def find_managers(self, interface: str) -> list[Manager]:
        """Find what configures the interface, by what runs."""
        found: list[Manager | None] = []
        ifstate = self._read("/run/network/ifstate") + self._read(f"/run/network/ifstate.{interface}")
        found.append(detect.ifupdown(interface=interface, ifstate=ifstate))
        if self._exists("/run/NetworkManager") and self._has("nmcli"):
            device = self._output("nmcli", "-t", "-f", "GENERAL", "device", "show", interface)
            profiles = (
                self._output("nmcli", "-t", "-f", "UUID,FILENAME", "connection", "show") if device else ""
            )
            found.append(detect.networkmanager(device=device, profiles=profiles))
        if self._exists("/run/systemd/netif") and self._has("networkctl"):
            status = self._output("networkctl", "--no-pager", "--lines=0", "status", interface)
            found.append(detect.networkd(status=status))
        pid = (self._read("/run/dhcpcd/pid") or self._read("/run/dhcpcd.pid")).strip()
        # Its name may be followed by what it does: "dhcpcd: [manager]".
        if pid.isdigit() and self._read(f"/proc/{pid}/comm").startswith("dhcpcd"):
            configuration = self._read(network_files.DHCPCD_CONF)
            found.append(detect.dhcpcd(interface=interface, configuration=configuration))
        return [manager for manager in found if manager]

    def _check_program(self, manager: Manager) -> None:
        for name in (manager.name, manager.backend):
            if not self._has(_PROGRAMS[name]):
                raise NetworkError(
                    f"{_PROGRAMS[name]} is not installed, and node_network_manager is {manager.name}; wanted "
                    "is a manager that the node has: set node_network_manager to auto"
                )

    def files(self, wanted: Settings, manager: Manager) -> tuple[list[File], Commands]:
        """Say which files the manager needs and what makes them count."""
        self._check_program(manager)
        name = wanted.interface
        if manager.name == detect.IFUPDOWN:
            up = (
                trial_script.command(["ip", "-4", "address", "flush", "dev", name, "scope", "global"]),
                trial_script.command(["ifup", name]),
            )
            files = network_files.ifupdown_files(settings=wanted, present=self._interfaces_files())
            return files, Commands((trial_script.command(["ifdown", "--force", name]),), up, up)
        if manager.name == detect.DHCPCD:
            # Its own command for this, "dhcpcd -n", says that all is well where dhcpcd 9 no longer listens.
            hang_up = 'kill -HUP "$(cat /run/dhcpcd/pid /run/dhcpcd.pid 2>/dev/null)"'
            again = (trial_script.command(["sh", "-c", hang_up], ["systemctl", "restart", "dhcpcd.service"]),)
            file = network_files.dhcpcd_file(settings=wanted, present=self._read(network_files.DHCPCD_CONF))
            return [file], Commands((), again, again)
        if manager.name == detect.NETPLAN:
            return self._netplan_files(wanted, manager)
        if manager.name == detect.NETWORKMANAGER:
            file = network_files.networkmanager_file(settings=wanted, present=self._read(manager.file))
            load = trial_script.command(["nmcli", "connection", "load", file.path])
            return [file], self._networkmanager_commands(
                wanted, manager, load, network_files.profile_uuid(interface=name)
            )
        file = network_files.networkd_file(settings=wanted, present=self._read(manager.file))
        if manager.file and os.path.basename(manager.file) < os.path.basename(file.path):
            raise NetworkError(
                f"systemd-networkd takes {manager.file} for {name}, as it comes before {file.path}; wanted "
                "is a name after it: rename the file on the node, for example with 10- in front"
            )
        commands = self._networkd_commands(name)
        return [file], Commands((), commands, commands)

    def _networkd_commands(self, interface: str) -> tuple[str, ...]:
        return (
            trial_script.command(["networkctl", "reload"]),
            trial_script.command(["networkctl", "reconfigure", interface]),
        )

    def _networkmanager_commands(
        self, wanted: Settings, manager: Manager, load: str, profile: str
    ) -> Commands:
        name = wanted.interface
        up = ["nmcli", "connection", "up", profile]
        # A profile that stays in force takes new resolvers without being brought down.
        in_force = manager.uuid == profile and not shortcomings(settings=wanted, state=self.state(name))
        after = (
            trial_script.command(["nmcli", "device", "reapply", name], up)
            if in_force
            else trial_script.command(up)
        )
        connect = ["nmcli", "device", "connect", name]
        back = (["nmcli", "connection", "up", manager.uuid], connect) if manager.uuid else (connect,)
        return Commands(
            (),
            (load, after),
            (trial_script.command(["nmcli", "connection", "reload"]), trial_script.command(*back)),
        )

    def _interfaces_files(self) -> dict[str, str]:
        found: dict[str, str] = {}
        waiting = [network_files.INTERFACES]
        while waiting:
            path = waiting.pop()
            if path in found or not os.path.isfile(self._root + path):
                continue
            found[path] = self._read(path)
            for keyword, pattern in network_files.sources(text=found[path]):
                waiting += self._glob(pattern if keyword == "source" else f"{pattern.rstrip('/')}/*")
        return {
            path: text for path, text in found.items() if not fnmatch.fnmatch(os.path.basename(path), ".*")
        }

    def _netplan_files(self, wanted: Settings, manager: Manager) -> tuple[list[File], Commands]:
        if not HAS_YAML:
            raise NetworkError(
                "netplan's files cannot be read: wanted is the package python3-yaml on the node"
            )
        name = wanted.interface
        documents = {}
        for folder in _NETPLAN_FOLDERS:
            if os.path.islink(self._root + os.path.dirname(folder)):
                continue
            for path in self._glob(f"{folder}/*.yaml"):
                try:
                    documents[path] = yaml.safe_load(self._read(path)) or {}
                except yaml.YAMLError as error:
                    raise NetworkError(f"{path} cannot be read: {error}; mend it on the node") from None
        found = network_files.netplan_take_out(interface=name, documents=documents, macs=self.interfaces())
        renderer = "NetworkManager" if manager.backend == detect.NETWORKMANAGER else "networkd"
        definition = network_files.netplan_definition(
            settings=wanted, definition=found.definition, renderer=renderer
        )
        own = found.documents.setdefault(network_files.NETPLAN_FILE, {})
        network = own.setdefault("network", {})
        network["version"] = 2
        network.setdefault(found.section, {})[found.identifier] = definition
        files = []
        for path, document in found.documents.items():
            if path != network_files.NETPLAN_FILE and path not in found.changed:
                continue
            if not path.startswith(f"{network_files.NETPLAN_FOLDER}/"):
                raise NetworkError(
                    f"{path} defines {name}, and is not the owner's to change; wanted is a definition in "
                    f"{network_files.NETPLAN_FOLDER}: remove what writes that file"
                )
            text = (
                network_files.MANAGED
                if path == network_files.NETPLAN_FILE
                else f"# {name} is in {network_files.NETPLAN_FILE}.\n"
            )
            files.append(File(path, text + yaml.safe_dump(document, default_flow_style=False), 0o600))
        generate = trial_script.command(["netplan", "generate"])
        if manager.backend == detect.NETWORKMANAGER:
            passed = definition.get("networkmanager") or {}
            profile = str(passed.get("uuid") or passed.get("name") or f"netplan-{found.identifier}")
            commands = self._networkmanager_commands(
                wanted, manager, trial_script.command(["nmcli", "connection", "reload"]), profile
            )
            back = commands.restore_after
        else:
            commands = Commands((), self._networkd_commands(name))
            back = commands.after
        return files, Commands((), (generate, *commands.after), (generate, *back), (generate,))

    def check_netplan(self, files: Sequence[File]) -> None:
        """Have netplan's own parser judge the files."""
        with tempfile.TemporaryDirectory() as folder:
            for source in _NETPLAN_FOLDERS:
                for path in self._glob(f"{source}/*.yaml"):
                    write_text(folder + path, self._read(path), mode=0o600)
            for file in files:
                if file.path.startswith(network_files.NETPLAN_FOLDER):
                    write_text(folder + file.path, file.text, mode=0o600)
            status, stdout, stderr = self._run(["netplan", "generate", "--root-dir", folder])
        if status != 0:
            raise NetworkError(
                f"netplan refuses the configuration: {(stderr or stdout).strip().replace(folder, '')}; "
                f"nothing was changed: mend the files in {network_files.NETPLAN_FOLDER} on the node"
            )

    def keeper(self, wanted: Settings, manager: Manager) -> network_files.Keeper | None:
        """Find what keeps the resolvers, where the manager does not."""
        if not wanted.resolvers and not wanted.search:
            return None
        if detect.NETWORKMANAGER in (manager.name, manager.backend) or manager.name == detect.DHCPCD:
            return None
        path = self._root + network_files.RESOLV_CONF
        link = os.readlink(path) if os.path.islink(path) else ""
        keeper = network_files.resolver_keeper(link=link, text=self._read(network_files.RESOLV_CONF))
        # systemd-networkd hands its resolvers to systemd-resolved itself.
        if keeper.name == "systemd-resolved" and manager.backend == detect.NETWORKD:
            return None
        return keeper

    def differs(self, file: File) -> bool:
        """Tell whether a file is not as it is to be."""
        return read_text(self._root + file.path) != file.text


def _ssh_session() -> tuple[str, int]:
    """Return the address of this node that the controller's ssh session came to, and the session's command.

    The address is empty without one. sudo takes the variable away; the shell that called it still has it.
    """
    address, process = "", os.getpid()
    while True:
        with contextlib.suppress(OSError), open(f"/proc/{process}/environ", "rb") as file:
            for variable in file.read().split(b"\0"):
                if variable.startswith(b"SSH_CONNECTION="):
                    address = address or variable.decode(errors="replace").split()[2]
        # The name, in brackets, may have blanks; the parent is the second field after it.
        parent = int((read_text(f"/proc/{process}/stat") or ") ? 0").rpartition(")")[2].split()[1])
        if parent <= 1 or (read_text(f"/proc/{parent}/comm") or "").startswith("sshd"):
            return address, process
        process = parent


def _holder(*, interface: str, address: str) -> str | None:
    """Ask on the link who has an address (RFC 5227); return the MAC address of who answers."""
    ethertype, wanted = 0x0806, socket.inet_aton(address)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ethertype)) as link:
        link.bind((interface, ethertype))
        own = link.getsockname()[4]
        header = struct.pack("!6s6sH", b"\xff" * 6, own, ethertype)
        # Ethernet, IPv4, request; without an address of our own, so that nobody notes it down.
        probe = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, own, bytes(4), bytes(6), wanted)
        deadline = time.monotonic() + _PROBE_TIMEOUT
        while time.monotonic() < deadline:
            try:
                link.send(header + probe)
            except OSError as error:
                if error.errno == errno.ENETDOWN:
                    return None
                raise
            again = min(time.monotonic() + _PROBE_TIMEOUT / 4, deadline)
            while (left := again - time.monotonic()) > 0:
                link.settimeout(left)
                try:
                    answer = link.recv(128)[14:42]
                except socket.timeout:
                    break
                if len(answer) == 28 and answer[14:18] == wanted and answer[8:14] != own:
                    return ":".join(f"{byte:02x}" for byte in answer[8:14])
    return None


def _check_free(wanted: Settings, before: State) -> None:
    """Refuse an address that another machine has."""
    address = str(wanted.address.ip)
    if address in (present.partition("/")[0] for present in before.addresses):
        return
    holder = _holder(interface=wanted.interface, address=address)
    if holder is not None:
        raise NetworkError(
            f"{address} is the address of another machine on {wanted.interface}, {holder}, and nothing was "
            "changed; wanted is one that is free: set node_network_address, or take it from that machine"
        )


def _gateway_answers(run: Run, *, interface: str, gateway: str) -> bool:
    """Have the kernel look for the gateway's MAC address, forgetting what it knew of it."""
    run(["ip", "neighbour", "del", gateway, "dev", interface])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        deadline = time.monotonic() + _GATEWAY_TIMEOUT
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                # Port 9 is "discard": whether anybody takes it does not matter, only who it is sent to.
                probe.sendto(b"", (gateway, 9))
            _status, stdout, _stderr = run(["ip", "-j", "neighbour", "show", gateway, "dev", interface])
            if any("lladdr" in entry for entry in json.loads(stdout or "[]")):
                return True
            time.sleep(0.2)
    return False


def _start_trial(
    run: Run,
    *,
    identifier: str,
    files: Sequence[File],
    commands: Commands,
    timeout: int,
    session: int,
    parameters: dict[str, Any],
) -> None:
    """Lay everything ready, so that a restart of the node finds it, and let the node go on alone."""
    part = f"{trial_script.DIRECTORY}.part"
    shutil.rmtree(part, ignore_errors=True)
    os.makedirs(part, mode=0o700)
    for file in files:
        new, old = f"{part}/new{file.path}", f"{part}/old{file.path}"
        write_text(new, file.text, mode=file.mode)
        if os.path.exists(file.path):
            os.makedirs(os.path.dirname(old), exist_ok=True)
            shutil.copyfile(file.path, old)
            owner = os.stat(file.path)
            for copy in (new, old):
                os.chown(copy, owner.st_uid, owner.st_gid)
                shutil.copystat(file.path, copy)
    write_text(f"{part}/files", "".join(f"{file.path}\n" for file in files))
    write_text(f"{part}/pending", json.dumps(parameters))
    write_text(
        f"{part}/switch",
        trial_script.script(
            identifier=identifier,
            timeout=timeout,
            session=session,
            before=commands.before,
            after=commands.after,
            restore_before=commands.before,
            restore_after=commands.restore_after,
            regenerate=commands.regenerate,
        ),
    )
    write_text(trial_script.BOOT_UNIT, trial_script.BOOT_UNIT_TEXT)
    os.rename(part, trial_script.DIRECTORY)
    os.makedirs(os.path.dirname(trial_script.BOOT_LINK), exist_ok=True)
    if not os.path.islink(trial_script.BOOT_LINK):
        os.symlink(trial_script.BOOT_UNIT, trial_script.BOOT_LINK)
    os.sync()
    try:
        _detach(run, "try", identifier)
    except NetworkError:
        _forget()
        raise


def _unit(identifier: str) -> str:
    return trial_script.UNITS.replace("*", identifier)


def _detach(run: Run, verb: str, identifier: str) -> None:
    command = ["systemd-run", "--quiet", "--collect", f"--unit={_unit(identifier)}"]
    # DHCP clients that ifup starts live on after the trial.
    command += ["--property=KillMode=process", "--description=Try a change of the network"]
    status, _stdout, stderr = run([*command, "/bin/sh", f"{trial_script.DIRECTORY}/switch", verb])
    if status != 0:
        raise NetworkError(
            "the unit for a change of the network could not be started, and nothing was changed: "
            f"systemd-run says {stderr.strip()!r}; wanted is a node that was booted with systemd"
        )


def _forget() -> None:
    for path in (trial_script.BOOT_LINK, trial_script.BOOT_UNIT):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    shutil.rmtree(trial_script.DIRECTORY, ignore_errors=True)


def _taken_back(identifier: str | None) -> str | None:
    """Return why a trial, or any one, was taken back."""
    text = read_text(trial_script.RECORD)
    if text is None:
        return None
    of, _newline, reason = text.partition("\n")
    return reason.strip() if identifier in (None, of) else None


def _is_running(run: Run) -> bool:
    return run(["systemctl", "is-active", "--quiet", trial_script.UNITS])[0] == 0


def _check_no_trial(run: Run) -> None:
    """Refuse a second change beside one that is not decided."""
    if not os.path.exists(trial_script.DIRECTORY):
        return
    if os.path.exists(f"{trial_script.DIRECTORY}/confirmed"):
        _forget()
        return
    if not _is_running(run):
        _detach(run, "revert", str(time.time_ns()))
    raise NetworkError(
        "an earlier change of the network that was not confirmed is just being taken back; wanted is the "
        "node as it was: run this again in node_network_confirm_timeout seconds"
    )


def _report(identifier: str) -> dict[str, Any]:
    """Say what became of a trial."""
    reason = _taken_back(identifier)
    if reason is not None:
        return {"state": "taken_back", "reason": reason}
    if os.path.exists(trial_script.DIRECTORY):
        return {"state": "pending", "reason": ""}
    return {"state": "confirmed", "reason": ""}


def _confirm(network: NodeNetwork, run: Run, identifier: str) -> dict[str, Any]:
    """Keep the change if the node has what is wanted and its gateway answers."""
    pending = f"{trial_script.DIRECTORY}/pending"
    parameters = json.loads(read_text(pending) or "{}")
    if parameters.get("identifier") != identifier:
        return _report(identifier)
    wanted = _settings(network, parameters)
    # Where the address stays the same, the controller may be here before anything has happened.
    while os.path.exists(pending) and not os.path.exists(f"{trial_script.DIRECTORY}/applied"):
        time.sleep(0.2)
    deadline = time.monotonic() + _SETTLE_TIMEOUT
    while True:
        reasons = shortcomings(settings=wanted, state=network.state(wanted.interface))
        if not reasons or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    gateway = str(wanted.gateway or "")
    if not reasons and gateway and not _gateway_answers(run, interface=wanted.interface, gateway=gateway):
        reasons = [
            f"the gateway {gateway} does not answer on {wanted.interface}; wanted is a machine there that "
            "does: set node_network_gateway"
        ]
    try:
        if reasons:
            write_text(pending, "; ".join(reasons) + "\n")
            os.rename(pending, f"{trial_script.DIRECTORY}/rejected")
            return {"state": "rejected", "reason": "; ".join(reasons)}
        os.rename(pending, f"{trial_script.DIRECTORY}/confirmed")
    except FileNotFoundError:
        return _report(identifier)
    run(["systemctl", "stop", _unit(identifier)])
    _forget()
    return {"state": "confirmed", "reason": ""}


def _settings(network: NodeNetwork, parameters: dict[str, Any]) -> Settings:
    return settings(
        interface=parameters["interface"],
        address=parameters["address"],
        gateway=parameters["gateway"],
        resolvers=parameters["resolvers"],
        search=parameters["search"],
        existing=network.interfaces(),
    )


def _try(network: NodeNetwork, run: Run, module: AnsibleModule) -> dict[str, Any]:
    wanted = _settings(network, module.params)
    name = wanted.interface
    before = network.state(name)
    check_cluster(settings=wanted, state=before, kubernetes=kubernetes_state())
    manager, others = detect.choose(
        interface=name,
        wanted=module.params["manager"],
        found=network.find_managers(name),
        backends={detect.NETPLAN: detect.NETWORKD},
    )
    network.warnings += others
    files, commands = network.files(wanted, manager)
    if os.path.isdir(network_files.CLOUD_INIT_FOLDER):
        files.append(File(network_files.CLOUD_INIT_FILE, network_files.CLOUD_INIT_TEXT))
    changes = [file for file in files if network.differs(file)]
    missing = shortcomings(settings=wanted, state=before)
    if not changes and not missing:
        # Only the resolvers may be left to do; the interface is not touched for them.
        commands = Commands()
    keeper = network.keeper(wanted, manager)
    if keeper:
        file = network_files.resolver_file(
            settings=wanted, keeper=keeper, present=read_text(os.path.realpath(keeper.file)) or ""
        )
        if network.differs(file):
            reload = (trial_script.command(keeper.reload),) if keeper.reload else ()
            commands = commands._replace(
                after=(*commands.after, *reload), restore_after=(*commands.restore_after, *reload)
            )
            changes.append(file)
    if changes or missing:
        _check_free(wanted, before)
    if manager.name == detect.NETPLAN and changes:
        network.check_netplan(changes)

    result: dict[str, Any] = {
        "changed": bool(changes or missing),
        "manager": manager.name,
        "why": manager.why,
        "resolver_keeper": keeper.name if keeper else manager.backend,
        "before": {"addresses": list(before.addresses), "gateways": list(before.gateways)},
        "files": [file.path for file in changes],
        "diff": [
            {
                "before_header": file.path,
                "after_header": file.path,
                "before": network_files.shown(text=read_text(file.path) or ""),
                "after": network_files.shown(text=file.text),
            }
            for file in changes
        ],
    }
    if result["changed"] and not wanted.resolvers and not wanted.search:
        network.warnings.append(
            f"{name} gets a fixed address without resolvers, so that those of a lease are gone: set "
            "node_network_resolvers"
        )
    if module.check_mode:
        return result
    _check_no_trial(run)
    earlier = _taken_back(None)
    if earlier is not None:
        network.warnings.append(f"an earlier change of the network was taken back: {earlier}")
        os.unlink(trial_script.RECORD)
    if not result["changed"]:
        return result
    parameters = {
        key: module.params[key] for key in ("interface", "address", "gateway", "resolvers", "search")
    }
    came_to, session = _ssh_session()
    identifier = hashlib.sha256(f"{time.time_ns()} {parameters}".encode()).hexdigest()[:16]
    _start_trial(
        run,
        identifier=identifier,
        # A file that is a link is changed where it lies.
        files=[
            file._replace(path=os.path.realpath(file.path)) if os.path.exists(file.path) else file
            for file in changes
        ],
        commands=commands,
        timeout=module.params["confirm_timeout"],
        session=session,
        parameters={**parameters, "identifier": identifier},
    )
    through = any(address.partition("/")[0] == came_to for address in before.addresses)
    result["trial"] = identifier
    if through and came_to != str(wanted.address.ip):
        result["reach_at"] = str(wanted.address.ip)
    return result


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "interface": {"type": "str", "default": "eth0"},
            "address": {"type": "str", "required": True},
            "gateway": {"type": "str", "default": ""},
            "resolvers": {"type": "list", "elements": "str", "default": []},
            "search": {"type": "list", "elements": "str", "default": []},
            "manager": {"type": "str", "choices": ["auto", *detect.MANAGERS], "default": "auto"},
            "confirm_timeout": {"type": "int", "default": 90},
            "step": {"type": "str", "choices": ["try", "confirm", "report"], "default": "try"},
            "trial": {"type": "str"},
        },
        required_if=[("step", "confirm", ("trial",)), ("step", "report", ("trial",))],
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"LC_ALL": "C"}

    def run(command: list[str]) -> tuple[int, str, str]:
        return module.run_command(command)

    def has(program: str) -> bool:
        return module.get_bin_path(program) is not None

    network = NodeNetwork(run=run, has=has)
    try:
        if module.params["step"] == "confirm":
            result = _confirm(network, run, module.params["trial"])
        elif module.params["step"] == "report":
            result = _report(module.params["trial"])
            if result["state"] == "taken_back":
                # Who reads this is told; the next run need not be.
                os.unlink(trial_script.RECORD)
        else:
            result = _try(network, run, module)
    except NetworkError as error:
        module.fail_json(msg=str(error))
    except PermissionError as error:
        module.fail_json(msg=f"{error}; wanted are the rights of root: set become to true")
    except OSError as error:
        module.fail_json(msg=f"{error}; wanted is to read and change the node's configuration as root")
    for warning in network.warnings:
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()

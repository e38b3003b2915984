# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renews the certificates of a control plane by kubeadm, and restarts what has them open.

Which are due is decided in ``renewal``; how a program is restarted, ``static_pods`` says.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from typing import Any

from ansible_collections.bramble.pi.plugins.module_utils._common.changes import Changes
from ansible_collections.bramble.pi.plugins.module_utils._common.errors import BrambleError, os_error_text
from ansible_collections.bramble.pi.plugins.module_utils._common.files import read_text, write_text
from ansible_collections.bramble.pi.plugins.module_utils._common.home_files import read_home_file
from ansible_collections.bramble.pi.plugins.module_utils._common.run_status import dumped
from ansible_collections.bramble.pi.plugins.module_utils._common.systemd import Systemd
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm import (
    certificate_files,
    components,
    diagnosis,
    kubelet_certificate,
    node_files,
    renewal,
    renewal_lease,
    state,
    static_pods,
)
from ansible_collections.bramble.pi.plugins.module_utils._kubeadm.node import KubeadmError, Node
from ansible_collections.bramble.pi.plugins.module_utils._kubernetes import kubeconfig_file

_POLL = 1
_ISO = "%Y-%m-%dT%H:%M:%SZ"
#: Units that read the administrator's kubeconfig when they are started.
_READERS = ("bramble-kubectl-proxy.service",)


def _now() -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0)


def _path(name: str) -> str:
    return f"{state.KUBERNETES}/{name}"


def _stopped(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return "it was stopped before its end; expected its end: run 'systemctl start bramble-certificates'"
    return os_error_text(error) if isinstance(error, OSError) else str(error)


class Renewal:
    """A control plane whose certificates are renewed."""

    def __init__(
        self,
        *,
        node: Node,
        wishes: renewal.Wishes,
        changes: Changes,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self.node = node
        self.wishes = wishes
        self.changes = changes
        self.now = now
        self.renewed: list[str] = []
        #: Whether nothing of the cluster answered, so that there is nothing to be careful of.
        self.was_down = False
        self.read()

    def read(self) -> None:
        """Read what is there, and of a renewal that was interrupted what was there before."""
        self.certificates = {each.path: each for each in certificate_files.read_certificates()}
        self.interrupted = renewal.parse_renewal(read_text(state.RENEWAL))
        for path, text in self.interrupted.items():
            found = certificate_files.of_file(path, text)
            if found is not None:
                self.certificates[path] = found

    # What there is to do

    def _certificate(self, signed: renewal.Signed) -> renewal.Certificate | None:
        return self.certificates.get(_path(signed.files[0]))

    def due(self) -> list[renewal.Signed]:
        """Return what is to be renewed."""
        found = []
        for signed in renewal.SIGNED:
            certificate = self._certificate(signed)
            if certificate is None:
                continue
            authority = self.certificates.get(_path(f"{signed.authority}.crt"))
            if (
                self.wishes.everything
                or _path(signed.files[0]) in self.interrupted
                or renewal.is_due(
                    certificate, authority=authority, now=self.now(), days=self.wishes.renew_before
                )
            ):
                found.append(signed)
        return found

    def _files(self, program: str) -> list[str]:
        signed = (each for each in renewal.SIGNED if each.program == program)
        return [_path(file) for each in signed for file in each.files]

    def _outdated(self, program: str) -> list[components.Process]:
        """Return the processes that were started before one of their certificates was written."""
        return static_pods.outdated(program, self._files(program))

    def outdated(self) -> list[str]:
        """Return the programs that have to be restarted, as a run was killed, or somebody renewed by hand."""
        return [program for program in components.COMPONENTS if self._outdated(program)]

    def _expired(self) -> bool:
        return any(each.has_expired(now=self.now()) for each in self.certificates.values())

    # Doing it

    def run(self) -> None:
        """Renew what is due, and restart what has it open."""
        due, outdated = self.due(), self.outdated()
        kubelet = kubelet_certificate.has_expired(now=self.now())
        keys = {each: os.path.exists(_path(f"{each}.key")) for each in renewal.AUTHORITIES}
        problems = renewal.refusals(due=due, keys=keys, found=self.certificates, now=self.now())
        if problems:
            raise renewal.RenewalError("; ".join(problems))
        if kubelet and not keys["pki/ca"]:
            raise renewal.RenewalError(
                f"{state.KUBELET_CERTIFICATE} has expired, and {_path('pki/ca')}.key is not there; expected"
                " the key of the authority: have a certificate for the kubelet signed where it is kept"
            )
        if not due and not outdated and not kubelet:
            self._copy_kubeconfigs(due)
            return
        if self.changes.check_mode:
            self._say(due, outdated, kubelet=kubelet)
            self._copy_kubeconfigs(due)
            return
        with self._turn():
            self._put_back()
            if self.was_down:
                # All before the kubelet starts what has them open.
                self._renew(due)
                if not kubelet:
                    # It waits up to five minutes with what has crashed, unless it is restarted itself.
                    Systemd(run=self.node.run, changes=self.changes).restart_in_one("kubelet")
            kubelet_certificate.renew(
                node=self.node,
                changes=self.changes,
                pem=lambda: kubelet_certificate.issue(self.node, node_name=self.wishes.node_name),
                now=self.now(),
            )
            self.read()
            for program in components.COMPONENTS:
                self._renew([each for each in due if each.program == program])
                # In a cluster that is down etcd may not answer before other nodes are renewed as well.
                self._have_restarted(program, wait=not (self.was_down and self.wishes.others))
            self._renew(due)
            self._restart_readers()
            self._copy_kubeconfigs(due)
            if not (self.was_down and self.wishes.others):
                self.wait_for_all()

    def _say(self, due: list[renewal.Signed], outdated: list[str], *, kubelet: bool) -> None:
        """Note what would be done."""
        if kubelet:
            self.changes.note("renew the kubelet's certificate")
            self.changes.note("restart kubelet")
        for program in components.COMPONENTS:
            names = [each.name for each in due if each.program == program]
            for name in names:
                self._note_renewal(name)
            if names or program in outdated:
                self.changes.note(f"restart {program}")
        for signed in (each for each in due if each.program is None):
            self._note_renewal(signed.name)

    def _note_renewal(self, name: str) -> bool:
        self.renewed.append(name)
        return self.changes.note(f"renew {name}")

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Have no other control plane renew meanwhile, as far as the cluster can say so."""
        answers, _uploaded = self.node.ask_api()
        if not answers and not self._expired():
            # It may just be starting, as after a run that was killed.
            answers, _uploaded = self.node.wait_for_api(timeout=self.wishes.timeout)
            if not answers and not self.outdated():
                raise KubeadmError(
                    f"the API server did not answer within {self.wishes.timeout} s, and no certificate has"
                    " expired; expected an answer, so that control planes renew one after the other: see"
                    " bramble.pi.doctor for what is wrong with it"
                )
        self.was_down = not answers
        if self.was_down or not self.wishes.others:
            yield
        else:
            with renewal_lease.turn(self.node, name=self.wishes.node_name, timeout=self.wishes.timeout):
                yield

    def _put_back(self) -> None:
        """Undo the renewal that was interrupted: kubeadm writes key and certificate one after the other."""
        for path, text in self.interrupted.items():
            write_text(path, text, mode=0o600)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(state.RENEWAL)
        self.read()

    def _renew(self, due: Sequence[renewal.Signed]) -> None:
        for signed in due:
            if signed.name not in self.renewed:
                self._renew_one(signed)

    def _renew_one(self, signed: renewal.Signed) -> None:
        """Have kubeadm renew a certificate; what it replaces is kept until that is done."""
        files = {_path(name): read_text(_path(name)) or "" for name in signed.files}
        self._note_renewal(signed.name)
        write_text(state.RENEWAL, renewal.dumped_renewal(name=signed.name, files=files), mode=0o600)
        command = ["certs", "renew", signed.name]
        if self.was_down:
            # Else kubeadm asks the cluster for its configuration, each time until it has given up.
            command.append(f"--config={self.node.own_configuration()}")
        output = self.node.kubeadm(command)
        self.read()
        certificate = self._certificate(signed)
        if certificate is None or certificate.error or read_text(certificate.path) == files[certificate.path]:
            raise KubeadmError(
                f"kubeadm certs renew {signed.name} came to its end, but {_path(signed.files[0])} is as it"
                f" was; expected a new certificate. It said: {output.strip()}"
            )
        for path in files:
            # Before the note is gone.
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        os.unlink(state.RENEWAL)
        self.interrupted = {}

    def _have_restarted(self, program: str, *, wait: bool) -> None:
        if not self._outdated(program):
            return
        self.changes.note(f"restart {program}")
        if not static_pods.restart(
            outdated=lambda: self._outdated(program),
            is_back=lambda: self._is_back(program) if wait else not self._outdated(program),
            timeout=self.wishes.timeout,
        ):
            self._fail(program)

    def _is_back(self, program: str) -> bool:
        """Tell whether a program runs, knows its certificates, and answers."""
        if not static_pods.processes(program) or self._outdated(program):
            return False
        return program not in components.silent()

    def _fail(self, program: str) -> None:
        silent = {name: url for name, url in components.silent().items() if name == program}
        logs = components.last_words(programs=silent)
        said = diagnosis.crashed(silent=silent, logs=logs) if silent else f"no process of {program} runs"
        raise KubeadmError(
            f"{program} has new certificates, and did not answer within {self.wishes.timeout} s:\n"
            f"{said}\nSet certificates_timeout to more on a slow node, or look at it with bramble.pi.doctor,"
            " and run this again: it goes on from there"
        )

    def _restart_readers(self) -> None:
        systemd = Systemd(run=self.node.run, changes=self.changes)
        for unit in _READERS:
            if systemd.is_outdated(unit, [state.ADMIN_KUBECONFIG]):
                systemd.restart_in_one(unit)

    def _copy_kubeconfigs(self, due: list[renewal.Signed]) -> None:
        """Bring users' copies of the administrator's kubeconfig up to date; those with more in them stay."""
        renewed = self.changes.check_mode and any(each.name == "admin.conf" for each in due)
        for copy in self.wishes.copies:
            dest = os.path.expanduser(copy.dest)
            result = kubeconfig_file.install(
                dest=dest,
                src=state.ADMIN_KUBECONFIG,
                content=None,
                server=None,
                owner=copy.owner,
                check_mode=self.changes.check_mode,
            )
            if result["changed"] or renewed:
                self.changes.note(f"write {dest}")

    def wait_for_all(self) -> None:
        """Wait until all programs of the control plane answer."""
        deadline = time.monotonic() + self.wishes.timeout
        while silent := components.silent():
            if time.monotonic() > deadline:
                self._fail(next(iter(silent)))
            time.sleep(_POLL)


def listed(
    found: list[renewal.Certificate],
    *,
    now: datetime,
    renewed: list[str],
    copies: tuple[renewal.Copy, ...] = (),
) -> list[dict[str, Any]]:
    """Return the certificates of a node, with those in users' copies of kubeconfigs, as a module's result."""
    entries = []
    for copy in copies:
        path = os.path.expanduser(copy.dest)
        file = read_home_file(path)
        certificate = None if file is None else certificate_files.of_kubeconfig(path, file.text)
        if certificate is not None:
            found = [*found, certificate]
    names = {_path(each.files[0]): each.name for each in renewal.SIGNED}
    for each in found:
        name = names.get(each.path, "")
        entries.append(
            {
                "name": name,
                "path": each.path,
                "expires": None if each.expires is None else f"{each.expires:{_ISO}}",
                "days": None if each.expires is None else (each.expires - now).days,
                "error": each.error or None,
                "renewed": bool(name) and name in renewed,
            }
        )
    return entries


def look(*, wishes: renewal.Wishes) -> dict[str, Any]:
    """Return the certificates of a node, as the module's result; nothing is renewed."""
    now = _now()
    found = list(certificate_files.read_certificates())
    return {
        "certificates": listed(found, now=now, renewed=[], copies=wishes.copies),
        "kubelet_expired": kubelet_certificate.has_expired(now=now),
        "notes": [],
        "waiting": False,
    }


def renew(*, node: Node, wishes: renewal.Wishes, changes: Changes) -> dict[str, Any]:
    """Renew the certificates of a control plane, write down how it went, and return the module's result."""
    if not node_files.has_control_plane():
        if changes.check_mode:
            # The control plane that would be there after a run is not there yet.
            return look(wishes=wishes)
        raise KubeadmError(
            "there is no control plane on this node; expected one that kubeadm made: run this on a host of"
            " the group control_plane, after bramble.pi.site"
        )
    node.need("kubeadm", "kubectl")
    with node.locked(timeout=wishes.timeout):
        work = Renewal(node=node, wishes=wishes, changes=changes)
        try:
            work.run()
        except (BrambleError, OSError, SystemExit) as error:
            _write_status(work, error=_stopped(error))
            raise
        _write_status(work, error=None)
    now = work.now()
    authorities = [
        work.certificates[path]
        for each in renewal.AUTHORITIES
        if (path := _path(f"{each}.crt")) in work.certificates
    ]
    return {
        "certificates": listed(
            list(work.certificates.values()), now=now, renewed=work.renewed, copies=wishes.copies
        ),
        "kubelet_expired": kubelet_certificate.has_expired(now=now),
        "notes": renewal.authority_notes(authorities, now=now),
        "waiting": work.was_down and wishes.others,
    }


def _write_status(work: Renewal, *, error: str | None) -> None:
    if work.changes.check_mode:
        return
    status = {
        "tried": f"{work.now():{_ISO}}",
        "error": error,
        "renewed": work.renewed,
        "ca_cert_hash": node_files.cluster_ca_hash(),
    }
    # On a full disk not even that can be written down.
    with contextlib.suppress(OSError):
        write_text(state.RENEWAL_STATUS, dumped(status))

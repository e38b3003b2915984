# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""dpkg's states are understood, and an installation is tried again only after what can fix it."""

from __future__ import annotations

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._common import apt

DPKG_OUTPUT = (
    "docker.io\tii \t20.10.24+dfsg1-1+deb12u1+b6\n"
    "kubelet\thi \t1.20.2-00\n"
    "kubeadm\tiF \t1.20.2-00\n"
    "kubectl\tiU \t1.20.2-00\n"
    "cri-tools\tiHR\t1.13.0-01\n"
    "kubernetes-cni\trc \t0.8.7-00\n"
    "containerd.io\tun \t\n"
)
INTERRUPTED = (
    "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem. \n"
)
UNKNOWN = "E: Unable to locate package docker.io\n"
UNMET = """\
Reading package lists...
Building dependency tree...
Some packages could not be installed. This may mean that you have
requested an impossible situation or if you are using the unstable
distribution that some required packages have not yet been created
or been moved out of Incoming.
The following information may help to resolve the situation:

The following packages have unmet dependencies:
 kubelet : Depends: conntrack but it is not installable
"""
UNMET_ERROR = "E: Unable to correct problems, you have held broken packages.\n"
STALE = """\
E: Failed to fetch http://debian.example.org/debian/pool/main/r/runc/runc_1.1.5_amd64.deb  404  Not Found
E: Unable to fetch some archives, maybe run apt-get update or try with --fix-missing?
"""
NO_NAME = """\
Ign:1 https://pkgs.k8s.io/deb  InRelease
Err:1 https://pkgs.k8s.io/deb  InRelease
  Could not resolve 'pkgs.k8s.io'
Reading package lists...
"""
NO_NAME_ERROR = "E: Failed to fetch https://pkgs.k8s.io/deb/InRelease  Could not resolve 'pkgs.k8s.io'\n"
OVERWRITE = """\
dpkg: error processing archive /var/cache/apt/archives/b_1_arm64.deb (--unpack):
 trying to overwrite '/usr/bin/b', which is also in package a 1
Errors were encountered while processing:
 /var/cache/apt/archives/b_1_arm64.deb
"""
SCRIPT = """\
dpkg: error processing package b (--configure):
 installed b package post-installation script subprocess returned error exit status 1
Errors were encountered while processing:
 b
"""
NO_ARCHIVE = "E: The package kubectl needs to be reinstalled, but I can't find an archive for it.\n"
LOCKED = (
    "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 812 (apt-get)\n"
    "E: Unable to lock directory /var/lib/apt/lists/\n"
)


class Machine:
    """Answers each command by the first answer left for its verb; then with success."""

    def __init__(self, **answers: list[tuple[str, str]]) -> None:
        self.answers = answers
        self.packages = DPKG_OUTPUT.replace("iHR", "ii ")
        self.verbs: list[str] = []
        self.commands: list[list[str]] = []

    def __call__(self, command: list[str]) -> tuple[int, str, str]:
        if command == apt.DPKG_QUERY:
            return 0, self.packages, ""
        self.commands.append(command)
        verb = next(word for word in command if word in ("install", "update", "--configure")).strip("-")
        self.verbs.append(verb)
        if self.answers.get(verb):
            return (100, *self.answers[verb].pop(0))
        return 0, "", ""


def test_reads_states_of_packages() -> None:
    packages = apt.read_packages(text=DPKG_OUTPUT)
    assert {name: (package.held, package.broken) for name, package in packages.items()} == {
        "docker.io": (False, False),
        "kubelet": (True, False),
        "kubeadm": (False, True),
        "kubectl": (False, True),
        "cri-tools": (False, True),
    }
    assert packages["docker.io"].version == "20.10.24+dfsg1-1+deb12u1+b6"
    assert apt.read_packages(text="") == {}


@pytest.mark.parametrize(
    ("answers", "verbs"),
    [
        pytest.param({}, ["install"], id="at-once"),
        pytest.param({"install": [("", INTERRUPTED)]}, ["install", "configure", "install"], id="interrupted"),
        pytest.param({"install": [("", UNKNOWN)]}, ["install", "update", "install"], id="no-lists"),
        pytest.param({"install": [(UNMET, UNMET_ERROR)]}, ["install", "update", "install"], id="unmet"),
        pytest.param({"install": [("", STALE)]}, ["install", "update", "install"], id="stale-lists"),
        pytest.param(
            {"install": [("", INTERRUPTED), ("", UNKNOWN)]},
            ["install", "configure", "install", "update", "install"],
            id="both",
        ),
        pytest.param(
            {"install": [("", UNKNOWN)], "update": [("", LOCKED), ("", LOCKED)]},
            ["install", "update", "update", "update", "install"],
            id="lists-locked",
        ),
    ],
)
def test_installs_in_the_end(
    answers: dict[str, list[tuple[str, str]]], verbs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apt, "_LOCK_PAUSE", 0)
    machine = Machine(**answers)
    apt.install(run=machine, arguments=["docker.io"])
    assert machine.verbs == verbs


@pytest.mark.parametrize("there", [True, False])
def test_what_dpkg_was_killed_in_is_unpacked_again(there: bool) -> None:
    """molecule/kube_packages has it with a real dpkg."""
    machine = Machine(
        install=[] if there else [("", "E: Can't find a source to download version '1.13.0-01'\n")]
    )
    machine.packages = DPKG_OUTPUT
    apt.install(run=machine, arguments=["docker.io"])
    assert machine.verbs[0] == "configure"
    option = "Dpkg::Options::=--force-confold"
    installed = [command[command.index(option) + 1 :] for command in machine.commands[1:]]
    again = [] if there else [["--allow-change-held-packages", "cri-tools"]]
    assert installed == [["--reinstall", "cri-tools=1.13.0-01"], *again, ["docker.io"]]


@pytest.mark.parametrize(
    ("answers", "cause"),
    [
        pytest.param({"install": [("", UNKNOWN)] * 2}, UNKNOWN.strip(), id="unknown"),
        pytest.param(
            {"install": [(UNMET, UNMET_ERROR)] * 2},
            "kubelet : Depends: conntrack but it is not installable\n" + UNMET_ERROR.strip(),
            id="unmet",
        ),
        pytest.param(
            {"update": [(NO_NAME, NO_NAME_ERROR)], "install": [("", UNKNOWN)]},
            "Err:1 https://pkgs.k8s.io/deb  InRelease\nCould not resolve 'pkgs.k8s.io'\n"
            "E: Failed to fetch https://pkgs.k8s.io/deb/InRelease  Could not resolve "
            "'pkgs.k8s.io'",
            id="no name server",
        ),
        pytest.param(
            {"install": [("Unpacking b ...\n", OVERWRITE)]},
            "dpkg: error processing archive /var/cache/apt/archives/b_1_arm64.deb (--unpack):\n"
            "trying to overwrite '/usr/bin/b', which is also in package a 1",
            id="a file of another package",
        ),
        pytest.param(
            {"install": [("Setting up b ...\n", SCRIPT)]},
            "dpkg: error processing package b (--configure):\n"
            "installed b package post-installation script subprocess returned error exit status 1",
            id="a script that fails",
        ),
        pytest.param(
            {"install": [("", NO_ARCHIVE)]},
            f"{NO_ARCHIVE.strip()} dpkg was killed while it unpacked kubectl, and no source of apt has it;"
            " expected one that does: add its repository, or remove it by"
            " 'sudo dpkg --remove --force-remove-reinstreq kubectl'",
            id="half a package without a source",
        ),
        pytest.param({"install": [("a\nb", "no cause\n")]}, "a\nb\nno cause", id="other"),
        pytest.param(
            {"install": [("", UNKNOWN)], "update": [("", "E: no network\n")]}, "E: no network", id="update"
        ),
    ],
)
def test_gives_up_with_the_cause(answers: dict[str, list[tuple[str, str]]], cause: str) -> None:
    with pytest.raises(apt.AptError) as caught:
        apt.install(run=Machine(**answers), arguments=["docker.io"])
    assert str(caught.value) == cause


def test_does_not_wait_for_ever() -> None:
    pauses: list[float] = []
    machine = Machine(update=[("", LOCKED)] * 1000)
    with pytest.raises(apt.AptError, match="held by process 812"):
        apt.update(run=machine, options=[], sleep=pauses.append)
    assert sum(pauses) == 300

# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What sshd makes of its configuration, and how passwords are taken out of it."""

from __future__ import annotations

from collections.abc import Mapping

#: The first value of an option counts for sshd: this is read before 50-cloud-init.conf.
DROP_IN = "/etc/ssh/sshd_config.d/00-bramble-password-login.conf"
#: What DROP_IN includes until it is proved. It does not outlive a reboot, and sshd does without what is not
#: there; with a link to nowhere it would not start.
TRIAL = "/run/bramble-password-login.conf"
_WRITTEN = "# Written by the collection bramble.pi (ssh_access_password_login).\n"
TRIAL_TEXT = f"{_WRITTEN}Include {TRIAL}\n"
UNIT = "bramble-password-login"

#: The options by which a password is asked for. The last is the name of the second before OpenSSH 8.7, which
#: has no say there if this one allows it.
_OPTIONS = {
    "passwordauthentication": "PasswordAuthentication",
    "kbdinteractiveauthentication": "KbdInteractiveAuthentication",
    "challengeresponseauthentication": "ChallengeResponseAuthentication",
}


def ways_in(effective: Mapping[str, str]) -> list[str]:
    """Name the options by which a password still gets in."""
    return [name for key, name in _OPTIONS.items() if effective.get(key, "no") != "no"]


def drop_in(effective: Mapping[str, str]) -> str:
    """Write the configuration without passwords, in the options that this sshd has."""
    lines = [f"{name} no\n" for key, name in _OPTIONS.items() if key in effective]
    return _WRITTEN + "".join(lines)


def effective_command(*, sshd: str, user: str) -> list[str]:
    """Return the command that asks sshd what holds for a user, wherever that one comes from."""
    return [sshd, "-T", "-C", f"user={user},host=localhost,addr=127.0.0.1,laddr=127.0.0.1,lport=22"]


def trial_command(*, seconds: int) -> list[str]:
    """Return the command that takes the trial back by itself after that time."""
    return [
        "systemd-run",
        "--quiet",
        "--collect",
        f"--unit={UNIT}",
        f"--on-active={seconds}",
        "--timer-property=AccuracySec=1s",
        *(
            "/bin/sh",
            "-c",
            f"rm -f {DROP_IN} {TRIAL}; systemctl reload ssh.service || systemctl reload sshd.service",
        ),
    ]

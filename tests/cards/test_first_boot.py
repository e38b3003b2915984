# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What seeds do at a first boot, and what a power cut leaves of it: in a copy of this machine's system."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.bramble.pi.plugins.plugin_utils._cards.node import CardNode, HostKey
from ansible_collections.bramble.pi.plugins.plugin_utils._cards.seed import seed

SANDBOX = Path(__file__).with_name("sandbox.sh")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1lq5CLZ0mP3n7m8yq0wEwTtQzZJ4h2v0r8bD0x9q1X you@laptop"
HOST_KEY = HostKey(
    "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----\n",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFfP root@pi-1\n",
)
NODE = CardNode(
    name="pi-1",
    hostname="pi-1",
    user="admin",
    authorized_keys=(KEY,),
    timezone="Europe/Berlin",
    address="10.0.0.5/24",
    gateway="10.0.0.1",
    resolvers=("10.0.0.1",),
)


def sandbox(folder: Path, script: str) -> str:
    """Run a script in the copy and return what it printed."""
    (folder / "script").write_text(script)
    done = subprocess.run(
        ["unshare", "--mount", "--net", "--uts", "--pid", "--fork", "sh", SANDBOX, folder, "script"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def put(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).write_text(text)


def result(folder: Path, name: str) -> str:
    return (folder / "result" / name).read_text()


CLOUD_INIT = """
rm -rf /var/lib/cloud /etc/ssh/ssh_host_*
mkdir -p /var/lib/cloud/seed/nocloud
cp /lab/user-data /lab/meta-data /lab/network-config /var/lib/cloud/seed/nocloud/
# This machine's disk is none of its business, nor are its languages.
cat > /etc/cloud/cloud.cfg.d/99_lab.cfg <<END
datasource_list: [NoCloud]
growpart: {mode: "off"}
resize_rootfs: false
locale: C.UTF-8
END
boot() {
  rm -rf /run/cloud-init
  mkdir -p /run/cloud-init
  : > /var/log/cloud-init.log
  for stage in "init --local" "init" "modules --mode=config" "modules --mode=final"; do
    cloud-init $stage > /lab/output 2>&1 || { cat /lab/output; exit 1; }
  done
}
keep() {
  mkdir -p /lab/$1
  cp /home/admin/.ssh/authorized_keys /etc/sudoers.d/90-cloud-init-users /etc/ssh/ssh_host_ed25519_key /lab/$1
  cp /etc/hostname /home/admin/.bashrc /var/lib/bramble/first-boot/done /lab/$1
  ls /etc/ssh/ssh_host_* > /lab/$1/host_keys
  passwd -S admin | cut -d' ' -f2 > /lab/$1/password
  stat -c '%a %U' /home/admin/.ssh/authorized_keys /home/admin/.bashrc > /lab/$1/modes
  hostname > /lab/$1/name
  wc -l < /var/lib/bramble/first-boot/begun > /lab/$1/begun
  readlink /etc/localtime > /lab/$1/localtime
}
boot
keep first
boot
keep second
# All that the first boot wrote is empty, as a power cut leaves it that comes before it is on the card. The
# network was made certain before anything else, and so was the note that a first boot began.
rm /var/lib/bramble/first-boot/done
cd /changes
find etc home var/lib -type f | while read -r file; do
  case $file in
    etc/cloud/* | etc/systemd/network/* | etc/network/* | etc/netplan/*) ;;
    */seed/nocloud/* | */first-boot/begun) ;;
    # useradd has the kernel write these out.
    etc/passwd* | etc/shadow* | etc/group* | etc/gshadow* | etc/subuid* | etc/subgid*) ;;
    etc/* | home/* | var/lib/cloud/*) : > "/$file" ;;
  esac
done
cd /
boot
keep result
boot
keep again
"""


@pytest.mark.skipif(shutil.which("cloud-init") is None, reason="cloud-init is not installed")
def test_cloud_init_makes_the_node_also_after_a_power_cut(tmp_path: Path) -> None:
    document = seed(node=NODE, init_format="cloudinit", host_key=HOST_KEY)
    put(tmp_path, document["files"])
    sandbox(tmp_path, CLOUD_INIT)
    for boot, begun in (("first", 1), ("second", 1), ("result", 2), ("again", 2)):
        seen = {path.name: path.read_text() for path in (tmp_path / boot).iterdir()}
        assert seen["authorized_keys"] == f"{KEY}\n", boot
        assert "admin ALL=(ALL) NOPASSWD:ALL\n" in seen["90-cloud-init-users"], boot
        assert seen["ssh_host_ed25519_key"] == HOST_KEY.private, boot
        assert seen["host_keys"].split() == [
            "/etc/ssh/ssh_host_ed25519_key",
            "/etc/ssh/ssh_host_ed25519_key.pub",
        ]
        assert seen["hostname"] == seen["name"] == "pi-1\n", boot
        assert seen["done"] == f"{document['id']}\n", boot
        assert seen["password"] == "L\n", boot
        assert seen["modes"] == "600 admin\n644 admin\n", boot
        assert seen[".bashrc"] == Path("/etc/skel/.bashrc").read_text(), boot
        assert seen["localtime"].endswith("Europe/Berlin\n"), boot
        # A boot that finds all done does nothing again.
        assert int(seen["begun"]) == begun, boot


FIRSTRUN = """
mkdir -p /boot/firmware /etc/NetworkManager /etc/systemd/system /etc/sudoers.d
cp /lab/firstrun.sh /lab/userconf.txt /boot/firmware
echo 'console=tty1 root=PARTUUID=5eedca4d-02 rootwait quiet TOKENS cfg80211.ieee80211_regdom=DE' \\
  > /boot/firmware/cmdline.txt
# The user that the image has.
first=$(getent passwd 1000 | cut -d: -f1)
[ -z "$first" ] || userdel --force "$first"
groupdel pi 2>/dev/null || true
userdel --force pi 2>/dev/null || true
groupdel admin 2>/dev/null || true
useradd --create-home --uid 1000 --user-group --shell /bin/bash pi
printf '127.0.0.1\\tlocalhost\\n127.0.1.1\\traspberrypi\\n' > /etc/hosts
touch /etc/dhcpcd.conf /etc/ssh/ssh_host_rsa_key
if [ NETWORK = NetworkManager ]; then
  printf '[Service]\\nExecStart=true\\n[Install]\\nWantedBy=multi-user.target\\n' \\
    > /etc/systemd/system/NetworkManager.service
  systemctl --quiet enable NetworkManager
fi
sh /boot/firmware/firstrun.sh
mkdir -p /lab/again
# A power cut near the end: it is all there still, and runs again.
cp /lab/firstrun.sh /lab/userconf.txt /boot/firmware
sh /boot/firmware/firstrun.sh
mkdir /lab/result
cp -a /home/admin/.ssh/authorized_keys /etc/hostname /etc/hosts /etc/sudoers.d/010_bramble /etc/dhcpcd.conf \\
  /etc/ssh/ssh_host_ed25519_key /boot/firmware/cmdline.txt /lab/result
for file in /etc/NetworkManager/system-connections/* /etc/wpa_supplicant/wpa_supplicant.conf; do
  [ -f "$file" ] && cp -a "$file" /lab/result && stat -c '%a %n' "$file" >> /lab/result/network_modes || true
done
ls /boot/firmware > /lab/result/left
ls /etc/ssh/ssh_host_* > /lab/result/host_keys
getent shadow admin | cut -d: -f2 > /lab/result/password
getent passwd 1000 > /lab/result/user
stat -c '%a %U %G' /home/admin/.ssh /home/admin/.ssh/authorized_keys > /lab/result/modes
readlink /etc/localtime > /lab/result/localtime
visudo --check --quiet --file=/etc/sudoers.d/010_bramble || [ ! -x /usr/sbin/visudo ]
"""


@pytest.mark.parametrize("network", ["NetworkManager", "dhcpcd"])
@pytest.mark.parametrize("password", ["*", "$6$salt$4zYb1xq0t7y9cM1m0J8Qp0"])
def test_firstrun_makes_the_node(network: str, password: str, tmp_path: Path) -> None:
    node = replace(
        NODE,
        password_hash="" if password == "*" else password,
        wifi_ssid='Joe\'s "Net"',
        wifi_psk="it's $ecret\\`",
        wifi_country="DE",
    )
    document = seed(node=node, init_format="systemd", host_key=HOST_KEY)
    put(tmp_path, document["files"])
    script = FIRSTRUN.replace("NETWORK", network).replace("TOKENS", " ".join(document["cmdline"]["present"]))
    sandbox(tmp_path, script)
    assert result(tmp_path, "authorized_keys") == f"{KEY}\n"
    assert result(tmp_path, "modes") == "700 admin admin\n600 admin admin\n"
    assert result(tmp_path, "user").startswith("admin:x:1000:1000:")
    assert result(tmp_path, "password") == f"{password}\n"
    assert result(tmp_path, "hostname") == "pi-1\n"
    assert result(tmp_path, "hosts") == "127.0.0.1\tlocalhost\n127.0.1.1\tpi-1\n"
    assert result(tmp_path, "010_bramble") == "admin ALL=(ALL) NOPASSWD: ALL\n"
    assert result(tmp_path, "ssh_host_ed25519_key") == HOST_KEY.private
    assert result(tmp_path, "host_keys").count("\n") == 2
    assert result(tmp_path, "localtime") == "/usr/share/zoneinfo/Europe/Berlin\n"
    assert result(tmp_path, "left") == "cmdline.txt\n"
    # What made it run is gone, and nothing else.
    assert result(tmp_path, "cmdline.txt") == (
        "console=tty1 root=PARTUUID=5eedca4d-02 rootwait quiet cfg80211.ieee80211_regdom=DE\n"
    )
    modes = [line.split()[0] for line in result(tmp_path, "network_modes").splitlines()]
    if network == "NetworkManager":
        assert modes == ["600", "600"]
        assert "address1=10.0.0.5/24,10.0.0.1\ndns=10.0.0.1;\n" in result(tmp_path, "eth0.nmconnection")
        # A backslash is an escape there, and a name may have any character as numbers.
        assert "psk=it's $ecret\\\\`\n" in result(tmp_path, "wlan0.nmconnection")
        assert "ssid=74;111;101;39;115;32;34;78;101;116;34;\n" in result(tmp_path, "wlan0.nmconnection")
    else:
        assert modes == ["600"]
        assert result(tmp_path, "dhcpcd.conf").count("static ip_address=10.0.0.5/24\n") == 1
        assert "ssid=4a6f65277320224e657422\n" in result(tmp_path, "wpa_supplicant.conf")


def test_systemd_runs_the_script_wherever_the_partition_is_mounted(tmp_path: Path) -> None:
    generator = Path("/usr/lib/systemd/system-generators/systemd-run-generator")
    if not generator.exists():
        pytest.fail(f"{generator} is missing, which every Debian with systemd has")
    tokens = seed(node=NODE, init_format="systemd", host_key=HOST_KEY)["cmdline"]["present"]
    environment = {"SYSTEMD_PROC_CMDLINE": f"quiet {' '.join(tokens)}"}
    subprocess.run([generator, tmp_path, tmp_path, tmp_path], env=environment, check=True)
    unit = (tmp_path / "kernel-command-line.service").read_text()
    # A minus before the command: the other place has no such file, which is no failure.
    assert "ExecStart=-/boot/firmware/firstrun.sh\nExecStart=-/boot/firstrun.sh\n" in unit
    assert "SuccessAction=reboot\n" in unit

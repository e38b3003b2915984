"""What the role leaves behind; the nodes have rebooted since it wrote its files."""

import pytest

HOSTS = "# BEGIN bramble.pi\n10.89.80.11 pi-1\n10.89.80.12 pi-2\n# END bramble.pi\n"
OTHER_HOSTS = "# BEGIN bramble.pi\n10.89.80.12 pi-2\n10.89.80.11 pi-1\n# END bramble.pi\n"
TOKENS = ["cgroup_enable=cpuset", "cgroup_enable=memory", "cgroup_memory=1", "swapaccount=1"]


@pytest.fixture
def name(host):
    return host.backend.get_hostname()


def test_control_groups_are_switched_on_once(host):
    cmdline = host.file("/boot/firmware/cmdline.txt").content_string
    assert cmdline.count("\n") == 1
    assert cmdline.endswith("\n")
    assert cmdline.split()[-4:] == TOKENS
    original = host.file("/boot/firmware/cmdline.txt.bramble-original").content_string
    assert cmdline.split()[:-4] == original.split()
    # The kernel that runs was started with them.
    assert host.file("/proc/cmdline").content_string.split()[-4:] == TOKENS


def test_rebooted_once(host):
    assert host.file("/var/lib/boots").content_string == "booted\n"


@pytest.mark.parametrize("unit", ["systemd-modules-load.service", "systemd-sysctl.service"])
def test_settings_are_taken_at_boot(host, unit):
    assert host.run(f"systemctl is-failed {unit}").stdout.strip() != "failed"


def test_host_name(host, name):
    assert host.file("/etc/hostname").content_string == f"{name}\n"
    assert host.check_output("hostname") == name
    assert host.check_output(f"getent ahostsv4 {name}").startswith("127.0.1.1 ")


def test_hosts_of_the_rack(host, name):
    hosts = host.file("/etc/hosts").content_string
    assert hosts.endswith(HOSTS if name == "pi-1" else OTHER_HOSTS)
    assert hosts.count("bramble.pi") == 2
    assert "192.0.2.1 printer # the owner's line\n" in hosts
    assert f"127.0.1.1\t{name}\n" in hosts
    assert "raspberrypi" not in hosts


@pytest.mark.parametrize(
    "key",
    ["net.ipv4.ip_forward", "net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables"],
)
def test_kernel_parameters_are_kept_over_the_reboot(host, key):
    assert host.sysctl(key) == 1
    assert f"{key} = 1\n" in host.file("/etc/sysctl.d/99-bramble.conf").content_string


def test_kernel_modules_are_loaded_at_boot(host):
    content = host.file("/etc/modules-load.d/bramble.conf").content_string
    assert content.splitlines()[1:] == ["overlay", "br_netfilter"]


def test_swap_is_off_for_good(host, name):
    assert host.file("/proc/swaps").content_string.count("\n") == 1
    assert host.file("/etc/systemd/system/swap.target").linked_to == "/dev/null"
    if name == "pi-1":
        assert host.check_output("systemctl is-enabled dphys-swapfile.service || true") == "masked"
        assert not host.file("/var/swap").exists
        line = "LABEL=no-such-disk none swap sw,nofail 0 0\n"
        assert f"\n# swap off by bramble.pi: {line}" in host.file("/etc/fstab").content_string
        assert f"\n{line}" in host.file("/etc/fstab.bramble-original").content_string
    else:
        drop_in = host.file("/etc/rpi/swap.conf.d/99-bramble.conf").content_string
        assert drop_in.endswith("\n[Main]\nMechanism=none\n")


def test_cloud_init_leaves_name_and_hosts_alone(host, name):
    if name == "pi-1":
        assert not host.file("/etc/cloud").exists
        return
    drop_in = host.file("/etc/cloud/cloud.cfg.d/99-bramble.cfg").content_string
    assert drop_in.endswith("\npreserve_hostname: true\nmanage_etc_hosts: false\n")
    assert host.file("/etc/cloud/templates/hosts.debian.tmpl").content_string.endswith(OTHER_HOSTS)


def test_machine_id_is_its_own(host):
    assert "4f1c1e0c8f6b4b0d9a3e5d7c9b1a2f3e" not in host.file("/etc/machine-id").content_string
    assert host.file("/etc/machine-id").size == 33

"""A node is what a Raspberry Pi is, as far as roles can see."""

import pytest
import testinfra


def test_booted_without_a_failed_unit(host):
    assert host.check_output("systemctl is-system-running") == "running"


def test_files_survive_the_reboot(host):
    hostname = host.check_output("hostname")
    assert host.file("/srv/kept").content_string == f"{hostname}\n"
    assert host.file("/etc/hostname").content_string == f"{hostname}\n"


def test_firmware_hands_over_the_command_line(host):
    handed_over = host.file("/proc/cmdline").content_string
    assert handed_over == "cgroup_disable=memory " + host.file("/boot/firmware/cmdline.txt").content_string


def test_boot_id_is_not_of_the_machine(host):
    boot_id = "/proc/sys/kernel/random/boot_id"
    machine = testinfra.get_host("local://")
    assert host.file(boot_id).content_string != machine.file(boot_id).content_string


@pytest.mark.parametrize("path", ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"])
def test_can_be_replaced(host, path):
    assert not host.mount_point(path).exists

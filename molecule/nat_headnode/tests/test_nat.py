"""The node behind the head reaches the outside, and only what may enters; with real packets.

The outside is 198.51.100.2, the node inside 10.0.0.2; both have the head as their default gateway.
"""

import contextlib
import time

HEAD_OUTSIDE = "198.51.100.1"
OUTSIDE = "198.51.100.2"
INSIDE = "10.0.0.2"


def get(host, side, address, *, port=80, retry=0):
    curl = f"curl --silent --show-error --max-time 1 --retry {retry} --retry-connrefused"
    return host.run(f"ip netns exec {side} {curl} http://{address}:{port}/")


def check_all_ways(host):
    # Just after boot the servers may not be there yet.
    out = get(host, "inside", OUTSIDE, retry=5)
    assert out.stdout == HEAD_OUTSIDE, out.stderr
    assert get(host, "outside", INSIDE).rc == 28, "the outside has a route, but must not enter"


def wait_for_jobs(host):
    # What systemd does on behalf of another unit goes on when the command for that one has ended.
    deadline = time.monotonic() + 10
    while "No jobs running" not in host.check_output("systemctl list-jobs"):
        assert time.monotonic() < deadline, "jobs of systemd do not end"
        time.sleep(0.2)


def test_ways(host):
    check_all_ways(host)


def test_a_forwarded_port_may_be_entered(host):
    rule = f"PREROUTING -i wlan0 -p tcp --dport 8080 -j DNAT --to-destination {INSIDE}:80"
    host.check_output(f"iptables -t nat -A {rule}")
    try:
        assert get(host, "outside", HEAD_OUTSIDE, port=8080).stdout == OUTSIDE
    finally:
        host.check_output(f"iptables -t nat -D {rule}")


def test_other_rules_are_left_alone_by_a_restart(host):
    host.check_output("nft add table ip not_ours")
    try:
        host.check_output("systemctl restart bramble-nat.service")
        assert "table ip not_ours" in host.check_output("nft list tables")
    finally:
        host.check_output("nft delete table ip not_ours")
    assert host.check_output("iptables -S FORWARD").count("-j BRAMBLE-NAT") == 1
    check_all_ways(host)


def test_rules_come_back_when_nftables_has_flushed_all(host):
    host.check_output("systemctl start nftables.service")
    host.check_output("systemctl restart nftables.service")
    wait_for_jobs(host)
    check_all_ways(host)
    host.check_output("systemctl reload nftables.service")
    wait_for_jobs(host)
    check_all_ways(host)


def test_forwarding_is_in_a_file_of_its_own(host):
    host.check_output("sysctl --write net.ipv4.ip_forward=0")
    assert get(host, "inside", OUTSIDE).rc == 28
    host.check_output("systemctl restart systemd-sysctl.service")
    check_all_ways(host)


def test_what_others_drop_is_let_through(host):
    if host.package("docker.io").is_installed:
        # Docker drops what is forwarded if it has to switch forwarding on itself.
        host.check_output("systemctl stop docker.service docker.socket")
        host.check_output("sysctl --write net.ipv4.ip_forward=0")
        host.check_output("systemctl start docker.service")
    else:
        # As firewalls such as ufw do.
        host.check_output("iptables --policy FORWARD DROP")
    assert "-P FORWARD DROP" in host.check_output("iptables -S FORWARD")
    check_all_ways(host)


def test_all_is_there_after_a_reboot(host):
    before = host.check_output("cat /proc/sys/kernel/random/boot_id")

    def is_back():
        try:
            boot_id = host.check_output(
                "systemctl is-active multi-user.target && cat /proc/sys/kernel/random/boot_id"
            )
        except (
            AssertionError,
            RuntimeError,
        ):  # Not yet; RuntimeError is a connection that is refused or lost.
            return False
        return before not in boot_id

    with contextlib.suppress(RuntimeError):
        host.run("systemctl reboot")
    deadline = time.monotonic() + 60
    while not is_back():
        assert time.monotonic() < deadline, "did not come back within a minute"
        time.sleep(1)
    check_all_ways(host)
    if host.package("docker.io").is_installed:
        assert host.service("docker").is_running

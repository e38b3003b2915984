# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which NFS servers a node has something mounted of."""

from __future__ import annotations

from ansible_collections.bramble.pi.plugins.module_utils._nfs import health

#: Of a node with Linux 6.12, shortened.
MOUNTS = """\
/dev/mmcblk0p2 / ext4 rw,noatime 0 0
10.0.0.1:/mnt/ssd/photos /var/lib/kubelet/pods/a/volumes/kubernetes.io~nfs/photos nfs4 \
rw,noatime,vers=4.1,hard,proto=tcp,timeo=600,clientaddr=10.0.0.12,local_lock=none,addr=10.0.0.1 0 0
10.0.0.1:/mnt/ssd/music /var/lib/kubelet/pods/b/volumes/kubernetes.io~nfs/music nfs4 \
rw,vers=4.1,hard,proto=tcp,clientaddr=10.0.0.12,addr=10.0.0.1 0 0
nas:/old /mnt/old nfs rw,vers=3,addr=10.0.0.7 0 0
sunrpc /run/rpc_pipefs rpc_pipefs rw 0 0
"""


def test_servers_of_what_is_mounted() -> None:
    assert health.used_servers(MOUNTS) == ["10.0.0.1", "10.0.0.7"]
    assert health.used_servers("") == []

# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``kubeadm reset`` leaves behind in the kernel: packet filter rules and links."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Collection

# kube-proxy, the kubelet and its hints; the CNI plugins bridge and portmap; flannel.
_CHAIN = re.compile(r"(KUBE-|CNI-|FLANNEL-)\S+")
# flannel before 0.20 had no chains of its own, and older ones not even comments in the chain FORWARD.
_COMMENT = re.compile(r"flanneld (masq|forward)|kubernetes .*(portals|rules|load balancer|forward).*")
_TABLES = frozenset({"kube-proxy", "flannel-ipv4", "flannel-ipv6", "cni_hostport", "cni_plugins_masquerade"})
_LINKS = frozenset({"cni0", "flannel.1", "flannel-v6.1", "kube-ipvs0", "nodelocaldns", "kube-bridge"})


def _is_ours(words: list[str]) -> bool:
    """Tell whether a rule (without its chain) leads to a chain of Kubernetes or was written by it."""
    pairs = list(zip(words, words[1:]))
    return any(option in ("-j", "-g") and _CHAIN.fullmatch(value) for option, value in pairs) or any(
        option == "--comment" and _COMMENT.fullmatch(value) for option, value in pairs
    )


def removal(*, saved: str) -> str:
    """Return the input for ``iptables-restore --noflush`` that takes Kubernetes' rules away and no others.

    It is made of the output of ``iptables-save``: rules in other chains are deleted one by one, chains of
    Kubernetes are emptied and removed. It is empty if there is nothing to remove.
    """
    tables: dict[str, tuple[list[str], list[str]]] = {}
    deletions: list[str] = []
    chains: list[str] = []
    for line in saved.splitlines():
        if line.startswith("*"):
            deletions, chains = tables.setdefault(line[1:].strip(), ([], []))
        elif line.startswith(":"):
            chain = line[1:].split()[0]
            if _CHAIN.fullmatch(chain):
                chains.append(chain)
        elif line.startswith("-A "):
            chain, *words = shlex.split(line[3:])
            if not _CHAIN.fullmatch(chain) and _is_ours(words):
                deletions.append(f"-D {line[3:].rstrip()}")
    lines = []
    for table, (rules, own_chains) in tables.items():
        if rules or own_chains:
            lines.append(f"*{table}")
            lines.extend(rules)
            # All are emptied before the first is removed: a chain that another leads to cannot be removed.
            lines.extend(f"-F {chain}" for chain in own_chains)
            lines.extend(f"-X {chain}" for chain in own_chains)
            lines.append("COMMIT")
    return "".join(f"{line}\n" for line in lines)


def removed_chains(*, removal_text: str) -> int:
    """Return how many chains and rules the text removes."""
    return sum(line.startswith(("-D ", "-X ")) for line in removal_text.splitlines())


def kubernetes_tables(*, ruleset: str) -> list[tuple[str, str]]:
    """Return family and name of Kubernetes' tables in the output of ``nft --json list tables``."""
    tables = (entry.get("table") for entry in json.loads(ruleset).get("nftables", []))
    return [(table["family"], table["name"]) for table in tables if table and table["name"] in _TABLES]


def kubernetes_links(*, names: Collection[str]) -> list[str]:
    """Return those of the network links that are Kubernetes'."""
    return sorted(_LINKS & set(names))

# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of where packages and manifests come from, and of the ports that nodes listen at."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible_collections.bramble.pi.plugins.module_utils._common.urls import UrlError, is_url, request_url
from ansible_collections.bramble.pi.plugins.module_utils._common.values import is_sha256
from ansible_collections.bramble.pi.plugins.plugin_utils._preflight.rack import ALL, Finding, Rack

_URLS = (
    *("kube_packages_repository", "kube_packages_key", "docker_repository", "docker_repository_key"),
    *("docker_cri_dockerd_url", "docker_containerd_url", "docker_runc_url", "docker_cni_plugins_url"),
)
#: A variable, its value with which a file is downloaded, the variables with its URL and sha256, what it is.
_FILES = (
    (
        "docker_kubernetes_runtime",
        "cri_dockerd",
        "docker_cri_dockerd_url",
        "docker_cri_dockerd_sha256",
        "package",
    ),
    ("docker_containerd_source", "archive", "docker_containerd_url", "docker_containerd_sha256", "archive"),
    ("docker_containerd_source", "archive", "docker_runc_url", "docker_runc_sha256", "program"),
    ("docker_containerd_source", "archive", "docker_cni_plugins_url", "docker_cni_plugins_sha256", "archive"),
)
_OPTIONAL_FILES = ("docker_cni_plugins_url",)


def check_downloads(rack: Rack) -> Iterator[Finding]:
    """Check what is downloaded before anything else can be: URLs, and the package of cri-dockerd."""
    for host in rack.control_plane:
        if rack.value(host, "pod_network_plugin") != "flannel":
            continue
        name = "pod_network_flannel_url"
        url = rack.value(host, name)
        # It is read on the controller, where a file is as good.
        if url is not None and not (url.startswith("file:///") or _is_url(url)):
            yield Finding(
                f"{name} is {_public(url)!r}; expected the URL of kube-flannel.yml: set {name} {ALL}",
                host,
            )
        checksum = rack.value(host, "pod_network_flannel_sha256")
        if checksum and not is_sha256(checksum):
            yield Finding(
                f"pod_network_flannel_sha256 is {checksum!r}; expected the 64 digits that sha256sum "
                f"prints: set pod_network_flannel_sha256 {ALL}",
                host,
            )
    for host in rack.nodes:
        for name in _URLS:
            url = rack.value(host, name)
            optional = name not in ("kube_packages_repository", "docker_repository")
            if url is not None and not (optional and url == "") and not _is_url(url):
                yield Finding(
                    f"{name} is {_public(url)!r}; expected a URL with a host, such as "
                    f"'https://mirror.lan/kubernetes/': set it {ALL}",
                    host,
                )
        for variable, value, url_name, sha256_name, what in _FILES:
            if rack.value(host, variable) != value:
                continue
            url, sha256 = rack.value(host, url_name), rack.value(host, sha256_name)
            if url_name in _OPTIONAL_FILES and url == "":
                continue
            wrong = []
            if url == "":
                wrong.append((url_name, url, f"the URL of the {what}"))
            if sha256 is not None and not is_sha256(sha256):
                wrong.append((sha256_name, sha256, f"the {what}'s sha256, 64 hexadecimal digits"))
            for option, seen, expected in wrong:
                yield Finding(
                    f"{variable} is {value!r}, and {option} is {seen!r}; expected {expected}: set {option} "
                    f"{ALL}",
                    host,
                )


def _is_url(text: str) -> bool:
    try:
        # The places that something is put into.
        request_url(text.replace("{minor}", "1.0").replace("{distribution}", "debian"))
    except UrlError:
        return False
    return is_url(text) and not re.search(r"\s", text)


def _public(text: str) -> str:
    """Take out what is before the @ of an address: it can be a password."""
    before, at, after = text.rpartition("@")
    return f"{before.partition('//')[0]}//…@{after}" if at and "//" in before else after


def check_ports(rack: Rack) -> Iterator[Finding]:
    """Check that ports are ports."""
    for name, option in rack.options.items():
        if not name.endswith("_port") or option.get("type") != "int":
            continue
        for host in rack.hosts:
            port = rack.value(host, name)
            if port is not None and not 0 < port < 65536:
                yield Finding(f"{name} is {port}; expected a port from 1 to 65535: set {name} {ALL}", host)

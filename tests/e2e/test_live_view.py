# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The live page in a browser, beside what kubectl says, while nodes stop and pods move."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.bench import live_view as bench
from tests.e2e.conftest import Rack, wait_for

PLAYBOOK = "playbooks/live_view.yml"
UNIT = "bramble-live-view"
KUBECTL = "kubectl --kubeconfig /etc/kubernetes/admin.conf"
# Generous, as the machine may be busy.
SOON = 60_000
# A node counts as lost 40 s after its last word.
LOST = 180_000


def changes(rack: Rack, *arguments: str) -> int:
    """Run the playbook; return how many tasks changed something."""
    recap = rack.playbook(PLAYBOOK, *arguments).recap()
    assert all(counts["failed"] == counts["unreachable"] == 0 for counts in recap.values())
    return sum(counts["changed"] for counts in recap.values())


@pytest.fixture(scope="module")
def address(cluster: Rack) -> Iterator[str]:
    """Set the page up in four steps, with two apps to look at; remove all of it at the end."""
    assert changes(cluster, "--check", "--diff") > 0
    assert not cluster.shell("pi-1", f"ls /etc/systemd/system/{UNIT}.service 2>/dev/null || true")
    try:
        assert changes(cluster) > 0
        assert changes(cluster, "--check", "--diff") == 0
        assert changes(cluster) == 0
        image = cluster.shell(
            "pi-2", "docker images --format '{{.Repository}}:{{.Tag}}' | grep -m1 hello"
        ).strip()
        cluster.shell("pi-1", f"{KUBECTL} create namespace live-test")
        for app in ("hello", "shop"):
            cluster.shell(
                "pi-1",
                f"{KUBECTL} -n live-test create deployment {app} --image={image} --replicas=2;"
                f"{KUBECTL} -n live-test expose deployment {app} --port=80 --target-port=8080;"
                f"{KUBECTL} -n live-test rollout status deployment/{app} --timeout=180s",
            )
        yield (
            "http://" + cluster.kubectl("get", "node", "pi-1")["status"]["addresses"][0]["address"] + ":8001"
        )
    finally:
        cluster.shell(
            "pi-1",
            f"{KUBECTL} uncordon pi-2; {KUBECTL} delete namespace live-test --ignore-not-found --wait=false",
        )
        cluster.playbook(PLAYBOOK, "-e", "live_view_state=absent")
        assert changes(cluster, "-e", "live_view_state=absent") == 0
        left = cluster.shell(
            "pi-1",
            f"{KUBECTL} wait --for=delete namespace/live-test --timeout=180s >/dev/null 2>&1;"
            f"ls -d /etc/{UNIT}* /usr/local/share/{UNIT}* /etc/systemd/system/{UNIT}* 2>/dev/null;"
            f"{KUBECTL} get clusterrole,clusterrolebinding,namespace -o name | grep live-view;"
            f"id {UNIT} 2>/dev/null; true",
        )
        assert not left.strip()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=bench.CHROMIUM, args=bench.OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """Open the page, and see that it says no error and asks nobody else."""
    page = browser.new_page(viewport={"width": 1600, "height": 900}, color_scheme="dark")
    errors: list[str] = []
    asked: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{address}/")
    expect(page.locator("#connection")).to_have_attribute("data-state", "live", timeout=SOON)
    expect(page.locator("[data-node=pi-3]")).to_have_attribute("data-state", "ready", timeout=SOON)
    yield page
    page.close()
    assert errors == []
    assert [url for url in asked if not url.startswith((address, "data:"))] == []


def shown(page: Page) -> dict[str, str]:
    """Return the pods on the page, {name: node}."""
    pods: dict[str, str] = page.evaluate(
        "() => Object.fromEntries([...document.querySelectorAll('.pod')]"
        ".map((pod) => [pod.dataset.name, pod.closest('[data-node]')?.dataset.node ?? '']))"
    )
    return pods


def existing(rack: Rack) -> dict[str, str]:
    pods: list[dict[str, Any]] = rack.kubectl("get", "pods", "--all-namespaces")["items"]
    return {pod["metadata"]["name"]: pod["spec"].get("nodeName", "") for pod in pods}


def test_page_shows_what_kubectl_shows(cluster: Rack, page: Page) -> None:
    boards = page.locator("[data-node]").evaluate_all("all => all.map(({dataset}) => dataset.node)")
    assert boards == ["pi-1", "pi-2", "pi-3"]
    for node in cluster.kubectl("get", "nodes")["items"]:
        board = page.locator(f"[data-node={node['metadata']['name']}]")
        expect(board).to_contain_text(node["status"]["addresses"][0]["address"])
        expect(board).to_contain_text(node["status"]["nodeInfo"]["kubeletVersion"])
    wait_for(lambda: shown(page) == existing(cluster), 60, "the pods of kubectl")
    assert len(shown(page)) > 4


def test_service_marks_the_pods_behind_it(page: Page) -> None:
    # By keyboard alone.
    button = page.get_by_role("button", name="hello")
    expect(button).to_contain_text("2 of 2 pods ready", timeout=SOON)
    button.focus()
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".pod[data-chosen=true]")).to_have_count(2)
    assert all(
        name.startswith("hello-")
        for name in page.locator(".pod[data-chosen=true]").evaluate_all(
            "all => all.map(({dataset}) => dataset.name)"
        )
    )


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("width", [390, 1600])
def test_page_has_no_barrier_that_axe_knows(page: Page, scheme: Any, width: int) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    page.wait_for_timeout(1500)
    result = Axe().run(page, options={})
    assert result.violations_count == 0, result.generate_report()
    # It has looked: the contrast of texts among others.
    assert "color-contrast" in [rule["id"] for rule in result.response["passes"]]
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_pod_moves_to_another_board(cluster: Rack, page: Page) -> None:
    # Recorded, as a flight is over before it is looked for.
    page.evaluate(
        "() => { window.flights = 0; new MutationObserver((all) => { for (const { target } of all)"
        " if (target.classList?.contains('flying')) window.flights += 1; })"
        ".observe(document.body, { subtree: true, attributes: true, attributeFilter: ['class'] }); }"
    )
    name, node = next(
        item for item in existing(cluster).items() if item[0].startswith("shop-") and item[1] == "pi-2"
    )
    cluster.shell("pi-1", f"{KUBECTL} cordon pi-2; {KUBECTL} -n live-test delete pod {name} --wait=false")
    expect(page.locator("[data-node=pi-2] .state")).to_have_text("closed to pods", timeout=SOON)
    expect(page.locator("#news")).to_contain_text(f"shop moves from {node} to pi-3", timeout=SOON)
    expect(page.locator("[data-node=pi-3] .pod[data-name^=shop][data-state=running]")).to_have_count(
        2, timeout=SOON
    )
    expect(page.locator(f".pod[data-name={name}]")).to_have_count(0, timeout=SOON)
    assert page.evaluate("window.flights") > 0
    cluster.shell("pi-1", f"{KUBECTL} uncordon pi-2")
    expect(page.locator("[data-node=pi-2]")).to_have_attribute("data-state", "ready", timeout=SOON)


def test_nothing_flies_for_those_who_want_no_motion(cluster: Rack, page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.evaluate(
        "() => { window.moved = 0; const move = Element.prototype.animate;"
        " Element.prototype.animate = function (...all) { window.moved += 1;"
        " return move.apply(this, all); }; }"
    )
    name = next(each for each in existing(cluster) if each.startswith("hello-"))
    cluster.shell("pi-1", f"{KUBECTL} -n live-test delete pod {name} --wait=false")
    expect(page.locator("#news")).to_contain_text("hello", timeout=SOON)
    expect(page.locator(f".pod[data-name={name}]")).to_have_count(0, timeout=SOON)
    assert page.evaluate("window.moved") == 0


def test_page_lists_anew_when_its_version_is_gone(browser: Browser, address: str) -> None:
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    gone = json.dumps({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}})
    page.route("**/api/v1/pods?watch=1*", lambda route: route.fulfill(body=f"{gone}\n"), times=1)
    page.goto(f"{address}/")
    expect(page.locator("[data-node=pi-3] .pod[data-name^=kube-proxy]")).to_have_count(1, timeout=SOON)
    page.wait_for_timeout(5000)
    assert len([url for url in asked if url.endswith("/api/v1/pods")]) == 2
    # The second watch begins where the second list ended, and stays.
    assert len([url for url in asked if "/api/v1/pods?watch=1" in url]) == 2
    page.close()


def test_page_says_that_it_is_stale_and_comes_back(cluster: Rack, page: Page) -> None:
    page.evaluate("window.same = true")
    cluster.shell("pi-1", f"systemctl stop {UNIT}")
    try:
        expect(page.locator("#connection-state")).to_have_text("Stale", timeout=SOON)
        expect(page.locator("#heard")).to_contain_text("last heard")
        cluster.shell("pi-1", f"{KUBECTL} -n live-test scale deployment shop --replicas=3")
    finally:
        cluster.shell("pi-1", f"systemctl start {UNIT}")
    expect(page.locator("#connection-state")).to_have_text("Live", timeout=SOON)
    wait_for(lambda: shown(page) == existing(cluster), 60, "what came meanwhile")
    assert page.evaluate("window.same"), "the page was loaded again"


def test_stopped_node_is_seen(cluster: Rack, page: Page) -> None:
    cluster.shell("pi-3", "systemctl stop kubelet")
    began = time.monotonic()
    try:
        expect(page.locator("[data-node=pi-3]")).to_have_attribute("data-state", "not ready", timeout=LOST)
        print(f"pi-3 is shown as not ready {time.monotonic() - began:.0f} s after its kubelet was stopped")
        expect(page.locator("#news")).to_contain_text("pi-3 is not ready")
        expect(page.locator("#nodes-ready")).to_have_text("2 of 3")
        assert cluster.ready()["pi-3"] != "True"
    finally:
        cluster.shell("pi-3", "systemctl start kubelet")
    expect(page.locator("[data-node=pi-3]")).to_have_attribute("data-state", "ready", timeout=LOST)


def status(*arguments: str) -> str:
    command = [
        "curl",
        "--silent",
        "--noproxy",
        "*",
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code}",
        *arguments,
    ]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_proxy_refuses_what_the_page_does_not_need(address: str) -> None:
    assert status(f"{address}/k8s/api/v1/pods") == "200"
    assert (
        status("--request", "POST", "--data", "{}", f"{address}/k8s/api/v1/namespaces/default/pods") == "403"
    )
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert status("--request", method, f"{address}/k8s/api/v1/pods") == "403", method
    for path in ("secrets", "configmaps", "nodes/pi-2/proxy/pods", "namespaces/kube-system/secrets"):
        assert status(f"{address}/k8s/api/v1/{path}") == "403", path
    # Names that only contain an accepted one: another site in the visitor's browser.
    host = address.removeprefix("http://").removesuffix(":8001")
    for name in (f"{host}.evil.example", f"evil-{host}", host.replace(".", "x", 1), "localhost"):
        assert status("--header", f"Host: {name}", f"{address}/k8s/api/v1/pods") == "403", name
    assert status("--header", "Origin: http://evil.example", f"{address}/k8s/api/v1/pods") == "403"
    assert status("--header", f"Origin: {address}", f"{address}/k8s/api/v1/pods") == "200"


def test_account_may_only_read(cluster: Rack, address: str) -> None:
    """What the API server itself says to the account, without the proxy's own refusals before it."""
    assert cluster.shell("pi-1", f"stat -c '%U %a' /etc/{UNIT}/kubeconfig").split() == [UNIT, "600"]

    def may(question: str) -> str:
        return cluster.shell(
            "pi-1", f"kubectl --kubeconfig /etc/{UNIT}/kubeconfig auth can-i {question} -A || true"
        ).strip()

    # What it may read is what the page shows.
    for kind in ("nodes", "pods", "services", "deployments.apps"):
        assert all(may(f"{verb} {kind}") == "no" for verb in ("create", "patch", "delete")), kind
    for question in (
        "list secrets",
        "list configmaps",
        "create pods --subresource exec",
        "get pods --subresource log",
    ):
        assert may(question) == "no", question
    refused = cluster.shell(
        "pi-1",
        f"kubectl --kubeconfig /etc/{UNIT}/kubeconfig -n live-test delete deployment shop 2>&1;"
        f"kubectl --kubeconfig /etc/{UNIT}/kubeconfig -n kube-system get secrets 2>&1; true",
    )
    assert refused.count("Forbidden") == 2


def readings_of(page: Page) -> dict[str, str]:
    """Return what stands on the boards, {node: reading}, where there is something."""
    shown: dict[str, str] = page.evaluate(
        "() => Object.fromEntries([...document.querySelectorAll('.reading')]"
        ".filter((each) => each.checkVisibility())"
        ".map((each) => [each.closest('[data-node]').dataset.node,"
        " each.textContent.replaceAll('\\u00a0', ' ')]))"
    )
    return shown


@pytest.fixture
def quiet(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    """Open a page for a few nodes, without pods that would move all the while."""
    monkeypatch.setattr(bench, "NODES", 4)
    page = browser.new_page()
    page.route("**/api/v1/pods*", lambda route: route.abort())
    yield page
    page.close()


def test_temperatures_stand_on_their_boards(quiet: Page) -> None:
    page = quiet
    readings = bench.Readings(
        {
            "board-1": {"temperature": 50.4, "throttled": []},
            "board-2": {"temperature": 82.4, "throttled": ["soft_temperature_limit", "throttled"]},
            "board-3": {"temperature": None, "throttled": ["undervoltage"]},
            "elsewhere": {"temperature": 41, "throttled": []},
        }
    )
    with bench.simulated(readings) as url:
        page.goto(url)
        expect(page.locator("[data-node=pi-1] .reading")).to_have_text("50\u00a0°C", timeout=SOON)
        assert readings_of(page) == {
            "pi-1": "50 °C",
            "pi-2": "82 °C · too hot · throttled",
            "pi-3": "voltage too low",
        }
        bad = page.locator(".reading[data-bad=true]").evaluate_all(
            "all => all.map((each) => each.closest('[data-node]').dataset.node)"
        )
        assert bad == ["pi-2", "pi-3"]
        readings.boards["board-1"] = {"temperature": 51, "throttled": ["undervoltage"]}
        expect(page.locator("[data-node=pi-1] .reading")).to_contain_text("51", timeout=SOON)
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)
            result = Axe().run(page, ".reading", options={"runOnly": ["color-contrast"]})
            assert result.violations_count == 0, result.generate_report()
            assert "color-contrast" in [rule["id"] for rule in result.response["passes"]]
        # An old one is none.
        readings.age = 61
        page.reload()
        expect(page.locator("[data-node=pi-1]")).to_be_visible(timeout=SOON)
        page.wait_for_timeout(2000)
        assert readings_of(page) == {}


def test_boards_that_slow_down_are_told_of(quiet: Page) -> None:
    page = quiet
    readings = bench.Readings({"board-2": {"temperature": 50, "throttled": []}})
    with bench.simulated(readings) as url:
        page.goto(url)
        expect(page.locator("[data-node=pi-2] .reading")).to_have_text("50\u00a0°C", timeout=SOON)
        expect(page.locator("#news li")).to_have_count(0)
        readings.boards["board-2"] = {"temperature": 84, "throttled": ["throttled"]}
        news = page.locator("#news li")
        expect(news).to_contain_text(["pi-2 is slowed down: throttled"], timeout=SOON)
        readings.boards["board-2"] = {"temperature": 60, "throttled": []}
        expect(news).to_contain_text(
            ["pi-2 is at full speed again", "pi-2 is slowed down: throttled"], timeout=SOON
        )


def test_a_rack_that_is_not_monitored_has_no_temperatures(quiet: Page) -> None:
    page = quiet
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    with bench.simulated() as url:
        page.goto(url)
        expect(page.locator("[data-node=pi-1]")).to_be_visible(timeout=SOON)
        page.wait_for_timeout(2000)
        assert readings_of(page) == {}
        assert [each for each in asked if "boards.json" in each] == []


def test_frames_with_fifty_nodes_and_a_thousand_pods(browser: Browser) -> None:
    frames = bench.measure(browser, 10)
    print(f"\n{frames.table()}")
    # How quick they are is the machine's matter; that all are there and move is not.
    assert frames.pods == bench.PODS
    assert frames.moves > 20

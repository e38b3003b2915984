# Copyright: bramble.pi contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import datetime
import difflib
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.bramble.pi.plugins.module_utils._boot.config_txt import (
    check_text,
    edit_config_txt,
    find_config_txt,
    include_warnings,
    is_generated,
    source_settings,
)
from ansible_collections.bramble.pi.plugins.module_utils._boot.config_txt_settings import (
    ConfigTxtError,
    Setting,
    parse_settings,
)
from hypothesis import given
from hypothesis import strategies as st

FIXTURES = Path(__file__).parents[3] / "fixtures"
FILES = {
    str(path.relative_to(FIXTURES)): path.read_text()
    for path in sorted([*FIXTURES.glob("config_txt/*.txt"), *FIXTURES.glob("cmdline/**/config.txt")])
}
TRIXIE = FILES["config_txt/raspios-trixie.txt"]
BULLSEYE = FILES["config_txt/raspios-bullseye.txt"]
UBUNTU = FILES["cmdline/ubuntu-24.04/boot/firmware/config.txt"]
UBUNTU_AB = FILES["cmdline/ubuntu-25.10/boot/firmware/config.txt"]
HYPRIOTOS = FILES["cmdline/hypriotos/boot/config.txt"]
DEBIAN = FILES["cmdline/debian-bookworm/boot/firmware/config.txt"]


def settings(*lines: str) -> list[Setting]:
    """Read ``section: setting=value``, with a minus sign before what is to be absent."""
    parsed = []
    for line in lines:
        section, _colon, rest = line.rpartition(": ")
        name, _equals, value = rest.lstrip("-").partition("=")
        item = {"section": section or "all", "setting": name, "value": value or None}
        parsed.append({**item, "state": "absent" if rest.startswith("-") else "present"})
    return parse_settings(data=parsed)


def edit(text: str, *lines: str) -> str:
    after = edit_config_txt(text=text, settings=settings(*lines))
    assert edit_config_txt(text=after, settings=settings(*lines)) == after, "a second time"
    return after


def changes(before: str, after: str) -> list[str]:
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return [line for line in lines if line[0] in "+-"]


# A firmware, as the documentation describes it, of a board that some filters match

BOARDS = {
    "pi3": {"pi3"},
    "pi3+": {"pi3", "pi3+"},
    "pi4": {"pi4"},
    "pi4 gpio4=1": {"pi4", "gpio4=1"},
    "pi400": {"pi4", "pi400"},
    "cm4": {"pi4", "cm4"},
    "pi5": {"pi5"},
    "cm5": {"pi5", "cm5"},
    "EDID=VSC-TD2220": {"EDID=VSC-TD2220"},
}


def kind(name: str) -> str:
    return "model" if name.startswith(("pi", "cm")) else re.split(r"\d|=", name)[0]


def firmware(text: str, board: str) -> tuple[dict[str, str], list[str], dict[str, str]]:
    """Return the settings that count, the overlays and the parameters of the device tree."""
    single: dict[str, str] = {}
    overlays: list[str] = []
    parameters: dict[str, str] = {}
    filters: dict[str, str] = {}
    for raw in text.splitlines():
        line = raw.strip()[:98]
        if line == "[all]":
            filters = {}
        elif line.startswith("["):
            filters[kind(line.strip("[]"))] = line.strip("[]")
        elif "=" in line and not line.startswith("#") and set(filters.values()) <= BOARDS[board]:
            name, value = line.split("=", 1)
            if name == "dtoverlay":
                overlays += [value] if value else []
            elif name == "dtparam":
                parameters.update(part.partition("=")[::2] for part in value.split(","))
            else:
                single[name] = value
    return single, overlays, parameters


def scopes(text: str, board: str) -> dict[tuple[str, str], str]:
    """Return the parameters that count, each with the overlay before it; that of the board's own is empty."""
    found: dict[tuple[str, str], str] = {}
    filters: dict[str, str] = {}
    overlay = ""
    for raw in text.splitlines():
        line = raw.strip()
        if line == "[all]":
            filters = {}
        elif line.startswith("["):
            filters[kind(line.strip("[]"))] = line.strip("[]")
        elif set(filters.values()) <= BOARDS[board]:
            name, _equals, value = line.partition("=")
            if name == "dtoverlay":
                overlay = value
            elif name == "dtparam":
                pairs = (part.partition("=")[::2] for part in value.split(","))
                found.update({(overlay, parameter): state for parameter, state in pairs})
    return found


# Real files


@pytest.mark.parametrize("name", FILES)
def test_nothing_desired_changes_nothing(name: str) -> None:
    assert edit(FILES[name]) == FILES[name]
    assert edit(FILES[name], "-nothing_of_that_name") == FILES[name]


@pytest.mark.parametrize("board", ["pi3", "pi4", "cm4", "pi5", "cm5"])
@pytest.mark.parametrize("name", [name for name in FILES if "has moved to" not in FILES[name]])
def test_every_board_reads_what_is_desired(name: str, board: str) -> None:
    before = FILES[name]
    desired = [
        "dtoverlay=disable-wifi",
        "dtparam=audio=off",
        "gpu_mem=16",
        "pi4: arm_boost=0",
        "cm4: otg_mode=0",
    ]
    after = edit(before, *desired)
    old, old_overlays, old_parameters = firmware(before, board)
    new, overlays, parameters = firmware(after, board)
    expected = {**old, "gpu_mem": "16"}
    if board in {"pi4", "cm4"}:
        expected["arm_boost"] = "0"
    if board == "cm4":
        expected["otg_mode"] = "0"
    assert new == expected
    assert overlays.count("disable-wifi") == 1
    assert [overlay for overlay in overlays if overlay != "disable-wifi"] == old_overlays
    assert parameters == {**old_parameters, "audio": "off"}


@pytest.mark.parametrize(
    ("before", "desired", "expected"),
    [
        # Edited where it stands; the commented-out one is a comment.
        (TRIXIE, "dtparam=audio=off", ["- dtparam=audio=on", "+ dtparam=audio=off"]),
        (TRIXIE, "dtparam=i2c_arm=on", ["+ dtparam=i2c_arm=on"]),
        (HYPRIOTOS, "gpu_mem=16", ["- gpu_mem=128", "+ gpu_mem=16"]),
        (BULLSEYE, "pi4: arm_boost=0", ["- arm_boost=1", "+ arm_boost=0"]),
        # There already.
        (TRIXIE, "arm_64bit=1", []),
        (TRIXIE, "cm5: dtoverlay=dwc2,dr_mode=host", []),
        (UBUNTU, "initramfs=initrd.img followkernel", []),
        (UBUNTU, "cm4: dtoverlay=dwc2,dr_mode=host", []),
        # The same setting in another section is another setting.
        (TRIXIE, "cm4: dtoverlay=dwc2,dr_mode=host", ["+ dtoverlay=dwc2,dr_mode=host"]),
        (TRIXIE, "cm4: -dtoverlay=dwc2,dr_mode=host", []),
        (UBUNTU_AB, "os_prefix=other/", ["- os_prefix=current/", "+ os_prefix=other/"]),
        (UBUNTU_AB, "tryboot: os_prefix=other/", ["- os_prefix=new/", "+ os_prefix=other/"]),
        (UBUNTU_AB, "dtoverlay=vc4-kms-v3d", []),
        # Taken out.
        (TRIXIE, "-dtoverlay=vc4-kms-v3d", ["- dtoverlay=vc4-kms-v3d"]),
        (TRIXIE, "-dtparam=audio=on", ["- dtparam=audio=on"]),
        (TRIXIE, "-dtparam=audio=off", []),
        (TRIXIE, "cm4: -otg_mode", ["- otg_mode=1"]),
        (DEBIAN, "-initramfs", ["- initramfs initrd.img-6.1.0-18-arm64"]),
        # A list grows.
        (DEBIAN, "initramfs=more.img followkernel", ["+ initramfs more.img followkernel"]),
        (UBUNTU, "dtoverlay=disable-bt", ["+ dtoverlay=disable-bt"]),
        # A new section, after which others may append for every board.
        (HYPRIOTOS, "pi4: arm_boost=1", ["+ ", "+ [pi4]", "+ arm_boost=1", "+ ", "+ [all]"]),
        (TRIXIE, "pi5: kernel=kernel8.img", ["+ ", "+ [pi5]", "+ kernel=kernel8.img", "+ ", "+ [all]"]),
    ],
)
def test_edits_of_real_files(before: str, desired: str, expected: list[str]) -> None:
    assert changes(before, edit(before, desired)) == expected


@pytest.mark.parametrize(
    ("before", "desired", "after"),
    [
        ("", ["a=1"], "a=1\n"),
        ("", ["pi4: a=1"], "[pi4]\na=1\n\n[all]\n"),
        ("# only a comment", ["a=1"], "# only a comment\na=1\n"),
        # A file that ends under a filter.
        ("[pi4]\nb=1\n", ["a=1"], "a=1\n[pi4]\nb=1\n"),
        ("[pi4]\nb=1", ["pi4: a=1"], "[pi4]\nb=1\na=1\n"),
        ("b=1\n\n[pi4]\nb=2\n", ["a=1"], "b=1\na=1\n\n[pi4]\nb=2\n"),
        ("[pi4]\nb=1\n", ["pi5: a=1"], "[pi4]\nb=1\n\n[pi5]\na=1\n\n[all]\n"),
        # Filters of different kinds combine, so they have to be reset.
        ("[gpio4=1]\nb=1\n", ["pi5: a=1"], "[gpio4=1]\nb=1\n\n[all]\n[pi5]\na=1\n\n[all]\n"),
        ("", ["pi4 gpio4=1: a=1"], "[pi4]\n[gpio4=1]\na=1\n\n[all]\n"),
        ("[gpio4=1]\n[pi4]\na=1\n", ["pi4 gpio4=1: a=2"], "[gpio4=1]\n[pi4]\na=2\n"),
        ("[gpio4=1]\n[pi4]\na=1\n", ["pi4: a=2"], "[gpio4=1]\n[pi4]\na=1\n\n[all]\n[pi4]\na=2\n\n[all]\n"),
        # The last one counts, and keeps its place.
        ("a=1\nb=1\na=2\nc=1\n", ["a=3"], "b=1\na=3\nc=1\n"),
        ("a=1\nb=1\na=2\nc=1\n", ["a=2"], "b=1\na=2\nc=1\n"),
        ("a=1\n[pi4]\na=2\n[all]\na=3\n", ["a=4"], "[pi4]\na=2\n[all]\na=4\n"),
        # A line that a more general one overrides would have no effect.
        ("[pi4]\na=1\n[all]\na=2\n", ["pi4: a=1"], "[pi4]\n[all]\na=2\n\n[pi4]\na=1\n\n[all]\n"),
        ("[cm4]\na=1\n[pi4]\na=2\n", ["cm4: a=1"], "[cm4]\n[pi4]\na=2\n\n[cm4]\na=1\n\n[all]\n"),
        ("[pi4]\na=1\n[pi5]\na=2\n", ["pi4: a=3"], "[pi4]\na=3\n[pi5]\na=2\n"),
        # A new line does not override the more special ones.
        ("b=1\n\n[pi4]\na=1\n\n[all]\nc=1\n", ["a=2"], "b=1\na=2\n\n[pi4]\na=1\n\n[all]\nc=1\n"),
        # How a line is written otherwise.
        ("  a=1\n\tb=2 \n", ["a=3", "b=2"], "  a=3\n\tb=2 \n"),
        ("a = 1\n", ["a=1"], "a=1\n"),
        ("#a=1\n", ["a=1"], "#a=1\na=1\n"),
        ("hdmi_group=1\nhdmi_group:1=2\n", ["hdmi_group:1=3"], "hdmi_group=1\nhdmi_group:1=3\n"),
        ("initramfs  a.img   followkernel\n", ["-initramfs"], ""),
        # What ends a line, and what is not text.
        ("a=1\r\nb=1\r\n", ["c=1", "a=2"], "a=2\r\nb=1\r\nc=1\r\n"),
        ("a=1\r\nb=1", ["c=1"], "a=1\r\nb=1\r\nc=1\r\n"),
        ("a=1\nb=1", ["c=1"], "a=1\nb=1\nc=1\n"),
        ("a=1", ["a=1"], "a=1"),
        ("a=\udcff\n# \u2028 b\x0b=1\n", ["c=1"], "a=\udcff\n# \u2028 b\x0b=1\nc=1\n"),
        # A comment before a header belongs to what follows.
        ("a=1\n\n# For the Pi 4\n[pi4]\nb=1\n", ["c=1"], "a=1\nc=1\n\n# For the Pi 4\n[pi4]\nb=1\n"),
        # Parameters of the device tree are settings of their own.
        ("dtparam=i2c_arm=on,spi=on\n", ["dtparam=spi=on"], "dtparam=i2c_arm=on,spi=on\n"),
        ("dtparam=i2c_arm=on,spi=on\n", ["dtparam=spi=off"], "dtparam=i2c_arm=on,spi=on\ndtparam=spi=off\n"),
        ("dtparam=i2c_arm=on,spi=on\n", ["-dtparam=spi=on"], "dtparam=i2c_arm=on\n"),
        ("", ["dtparam=i2c_arm=on,spi=on"], "dtparam=i2c_arm=on\ndtparam=spi=on\n"),
        ("dtparam=p=off\ndtparam=p=on\n", ["dtparam=p=off"], "dtparam=p=off\ndtparam=p=off\n"),
        # Those of overlays belong to the overlay before them.
        (
            "dtoverlay=w1-gpio\ndtparam=gpiopin=4\ndtoverlay=w1-gpio\ndtparam=gpiopin=17\n",
            ["dtparam=gpiopin=4"],
            "dtoverlay=w1-gpio\ndtparam=gpiopin=4\ndtoverlay=w1-gpio\ndtparam=gpiopin=17\n",
        ),
        ("gpio=12=op,dh\n", ["gpio=12=op,dh", "gpio=18,20=pu"], "gpio=12=op,dh\ngpio=18,20=pu\n"),
    ],
)  # fmt: skip
def test_edits(before: str, desired: list[str], after: str) -> None:
    assert edit(before, *desired) == after


def test_an_empty_overlay_ends_the_scope_of_the_last_one() -> None:
    desired = [Setting("all", "dtoverlay", "")]
    assert edit_config_txt(text="dtoverlay=a\n", settings=desired) == "dtoverlay=a\ndtoverlay=\n"


def test_none_means_absent() -> None:
    assert edit_config_txt(text="a=1\nb=1\n", settings=[Setting("all", "a", None)]) == "b=1\n"


def test_duplicates_of_a_generated_file_may_stay() -> None:
    text = "a=1\na=2\n"
    for value, after in (("2", text), ("3", "a=1\na=3\n")):
        desired = settings(f"a={value}")
        assert edit_config_txt(text=text, settings=desired, keep_duplicates=True) == after


OVERLAYS_FIRST = """# a board's file: overlays first, nothing of audio
dtoverlay=vc4-kms-v3d
max_framebuffers=2

[cm5]
dtoverlay=dwc2,dr_mode=host

[all]
dtoverlay=dwc2
"""


@pytest.mark.parametrize(
    ("before", "desired", "after"),
    [
        # Before the first overlay, with the comment that it has.
        (OVERLAYS_FIRST, ["dtparam=audio=off"], f"dtparam=audio=off\n{OVERLAYS_FIRST}"),
        ("a=1\n\n# b\ndtoverlay=x\n", ["dtparam=p=on"], "a=1\n\ndtparam=p=on\n# b\ndtoverlay=x\n"),
        (
            "dtparam=q=on\ndtoverlay=x\n",
            ["dtparam=p=on", "dtparam=r=1"],
            "dtparam=q=on\ndtparam=p=on\ndtparam=r=1\ndtoverlay=x\n",
        ),
        # After an empty one.
        ("dtoverlay=x\ndtoverlay=\na=1\n", ["dtparam=p=on"], "dtoverlay=x\ndtoverlay=\na=1\ndtparam=p=on\n"),
        (
            OVERLAYS_FIRST,
            ["cm5: dtparam=p=on"],
            OVERLAYS_FIRST.replace("host\n", "host\ndtoverlay=\ndtparam=p=on\n"),
        ),
        # One that only other boards read does not count.
        (
            "dtoverlay=x\n[cm4]\ndtoverlay=\n[pi4]\na=1\n",
            ["pi4: dtparam=p=on"],
            "dtoverlay=x\n[cm4]\ndtoverlay=\n[pi4]\na=1\ndtoverlay=\ndtparam=p=on\n",
        ),
        # Nothing is taken from an overlay, or given to one.
        (
            "[pi4]\na=1\n[all]\ndtoverlay=x\n[pi4]\nb=1\n[all]\ndtparam=q=on\n",
            ["pi4: dtparam=p=on"],
            "[pi4]\na=1\ndtparam=p=on\n[all]\ndtoverlay=x\n[pi4]\nb=1\n[all]\ndtparam=q=on\n",
        ),
        (
            "a=1\n[pi4]\ndtparam=p=on\n",
            ["dtoverlay=x"],
            "a=1\n[pi4]\ndtparam=p=on\n\n[all]\ndtoverlay=x\n",
        ),
    ],
)
def test_parameters_of_the_board_are_no_overlay_s(before: str, desired: list[str], after: str) -> None:
    assert edit(before, *desired) == after
    assert edit(after, *desired) == after


# Refusals


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"section": "[pi4]"}, "without brackets: 'pi4'"),
        ({"section": "p4"}, "section is 'p4' for a"),
        ({"section": "pi4 all"}, "'all' stands alone"),
        ({"section": "pi4 pi5"}, "of two filters of one kind only the last counts"),
        ({"setting": "a=1"}, "what comes after '=' belongs in 'value'"),
        ({"setting": "#a"}, "setting is '#a'"),
        ({"setting": None}, "value"),
        ({"value": None}, "value is missing for a; set it, or 'state: absent'"),
        ({"value": ""}, "value is empty for a"),
        ({"value": True}, "or write 1 for a YAML word such as yes or on"),
        ({"value": ["a"]}, "value is a list for a; expected text or a whole number"),
        ({"value": 1.30}, "value is the number 1.3 for a"),
        ({"value": datetime.date(2026, 1, 2)}, "value is the date 2026-01-02"),
        ({"section": None}, "section of entry 1 is null; expected text"),
        ({"section": 4}, "section of entry 1 is the number 4; expected text: put it in quotes"),
        ({"setting": 5}, "setting of entry 1 is the number 5"),
        ({"state": True}, "state of entry 1 is the boolean true"),
        ({"stat": "absent"}, "entry 1 has the key 'stat'; expected only section, setting, value, state"),
        ({"sections": "pi4"}, "entry 1 has the key 'sections'"),
        ({1: "pi4"}, "entry 1 has the key '1'"),
        ({"value": "1\nb=2"}, "expected one line of text"),
        ({"state": "there"}, "state is 'there'"),
        ({"value": "x" * 97}, "has 99 characters, and the firmware ignores what is beyond 98"),
        ({"value": "é" * 49}, "has 100 characters"),
    ],
)
def test_settings_that_cannot_be(given: dict[str, Any], message: str) -> None:
    data = {"section": "all", "setting": "a", "value": "1", "state": "present", **given}
    if data["setting"] is None:
        data = {"value": True}
    with pytest.raises(ConfigTxtError) as error:
        parse_settings(data=[data])
    assert message in str(error.value)


def test_the_longest_line() -> None:
    assert edit("", "a=" + "x" * 96) == "a=" + "x" * 96 + "\n"


@pytest.mark.parametrize(
    "section",
    [
        *["all", "pi3+", "pi0w", "pi02", "cm4s", "pi500", "board-type=0x14", "0x12345678", "HDMI:1"],
        *["EDID=DEL-DELL_U2422H", "tryboot", "none", "boot_partition=2"],
    ],
)
def test_the_firmware_s_filters_are_known(section: str) -> None:
    assert edit("", f"{section}: a=1").count("a=1\n") == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a=1", "a=2"),
        ("a=1", "-a"),
        ("a=1", "-a=1"),
        ("dtoverlay=x", "-dtoverlay=x"),
        ("dtoverlay=x", "-dtoverlay"),
        ("dtparam=a=1", "dtparam=b=1,a=2"),
        ("pi4 gpio4=1: a=1", "gpio4=1 pi4: a=2"),
    ],
)
def test_contradictions(one: str, other: str) -> None:
    for desired in ([one, other], [other, one]):
        with pytest.raises(ConfigTxtError, match=r"give \w+ once"):
            settings(*desired)


@pytest.mark.parametrize(
    "desired",
    [
        ["a=1", "a=1"],
        ["a=1", "pi4: a=2"],
        ["a=2", "-a=1"],
        ["dtoverlay=x", "dtoverlay=y"],
        ["dtparam=audio=on", "-dtparam=audio=off"],
        ["dtparam=a=1", "dtparam=a=1,b=2"],
    ],
)
def test_no_contradictions(desired: list[str]) -> None:
    assert len(settings(*desired)) == len(desired)


def test_the_pointer_of_bookworm_is_refused() -> None:
    path = "/boot/config.txt"
    with pytest.raises(ConfigTxtError, match=r"has moved to /boot/firmware/config.txt. Mount"):
        check_text(text=FILES["cmdline/raspios-bookworm/boot/config.txt"], path=path)
    with pytest.raises(ConfigTxtError, match="is not text"):
        check_text(text="a=1\0", path=path)
    for text in FILES.values():
        if "has moved to" not in text:
            check_text(text=text, path=path)


def test_where_the_file_is() -> None:
    assert find_config_txt(exists=lambda _path: True) == "/boot/firmware/config.txt"
    assert find_config_txt(exists=lambda path: path == "/boot/config.txt") == "/boot/config.txt"
    with pytest.raises(ConfigTxtError, match=r"looked for /boot/firmware/config.txt, /boot/config.txt"):
        find_config_txt(exists=lambda _path: False)


# Included and generated files


def warn(text: str, files: dict[str, str], *lines: str) -> list[str]:
    return include_warnings(text=text, settings=settings(*lines), read=files.get)


def test_what_an_included_file_sets_otherwise_is_named() -> None:
    text = FILES["cmdline/ubuntu-20.04/boot/firmware/config.txt"]
    folder = FIXTURES / "cmdline/ubuntu-20.04/boot/firmware"
    files = {"syscfg.txt": (folder / "syscfg.txt").read_text(), "usercfg.txt": ""}
    desired = "enable_uart=0"
    (warning,) = warn(edit(text, desired), files, desired)
    assert "syscfg.txt, which config.txt includes, has 'enable_uart=1'" in warning
    assert "expected 'enable_uart=0' present" in warning
    assert warning.endswith("Change it in syscfg.txt.")
    assert not warn(text, files, "enable_uart=1")
    assert len(warn(text, files, "-enable_uart")) == 1
    assert not warn(text, files, "-enable_uart=0", "other=1")


@pytest.mark.parametrize(
    ("text", "desired", "count"),
    [
        ("a=1\ninclude x\n", "a=1", 1),
        ("include x\na=1\n", "a=1", 0),
        ("a=1\n[pi4]\ninclude x\n", "a=1", 0),
        ("[pi4]\na=1\n[all]\ninclude x\n", "pi4: a=1", 1),
        ("a=1\ninclude y\n", "a=1", 1),
        ("a=1\ninclude loop\n", "a=1", 0),
        ("a=1\ninclude missing\n", "a=1", 0),
    ],
)
def test_only_what_comes_after_and_is_read_counts(text: str, desired: str, count: int) -> None:
    files = {"x": "a=2\n", "y": "include x\n", "loop": "include loop\n"}
    assert len(warn(text, files, desired)) == count


def test_the_hook_tells_whether_the_file_is_generated() -> None:
    hooks = {name: FIXTURES / f"cmdline/{name}/etc/kernel/postinst.d/z50-raspi-firmware"
             for name in ("debian-bookworm", "debian-bullseye", "raspios-bookworm")}  # fmt: skip
    generated = {name: is_generated(hook=hook.read_text()) for name, hook in hooks.items()}
    assert generated == {"debian-bookworm": True, "debian-bullseye": True, "raspios-bookworm": False}


def test_what_is_generated_anyway_is_not_repeated_in_the_source() -> None:
    desired = settings("arm_64bit=1", "enable_uart=0", "gpu_mem=16", "-upstream_kernel")
    own = source_settings(text=DEBIAN, source="gpu_mem=16\n", settings=desired)
    assert [setting.setting for setting in own] == ["enable_uart", "gpu_mem", "upstream_kernel"]


# Invariants

HEADERS = ["all", "pi3", "pi4", "cm4", "pi5", "cm5", "gpio4=1", "EDID=VSC-TD2220"]
LINES = [
    *(f"[{name}]" for name in HEADERS),
    *(f"{name}={value}" for name in "ab" for value in "12"),
    *("dtoverlay=", "dtoverlay=x", "dtoverlay=y", "dtparam=p=on", "dtparam=p=off,q=on", "dtparam=q=off"),
    *("# a=1", "", "  a=2"),
]
TEXTS = st.lists(st.sampled_from(LINES), max_size=14).map(
    lambda lines: "".join(f"{line}\n" for line in lines)
)
SECTIONS = st.sampled_from(["all", "pi4", "cm4", "pi5", "cm5", "pi3", "EDID=VSC-TD2220", "pi4 gpio4=1"])
DESIRED = st.builds(
    lambda section, setting: f"{section}: {setting}",
    SECTIONS,
    st.sampled_from(
        ["a=1", "a=3", "b=2", "dtoverlay=x", "dtparam=p=on", "dtparam=q=off", "-a", "-a=1", "-dtoverlay=x"]
    ),
)


def name_of(line: str) -> str:
    return line.rpartition(": ")[2].lstrip("-").partition("=")[0]


@given(text=TEXTS, desired=DESIRED)
def test_other_lines_stay_as_they_are_and_in_order(text: str, desired: str) -> None:
    def others(text: str) -> list[str]:
        # An empty overlay only ends the one before.
        lines = [
            line for line in text.splitlines() if line.strip() and line[0] != "[" and line != "dtoverlay="
        ]
        return [line for line in lines if line.strip().partition("=")[0] != name_of(desired)]

    after = edit(text, desired)
    assert others(after) == others(text)
    # Headers that were there stay, in their order.
    rest = iter(after.splitlines())
    assert all(line in rest for line in text.splitlines() if line.startswith("["))


@given(text=TEXTS, desired=DESIRED)
def test_line_ends_are_kept(text: str, desired: str) -> None:
    windows = text.replace("\n", "\r\n")
    expected = edit(text, desired)
    assert edit(windows, desired) == (expected.replace("\n", "\r\n") if text else expected)


@given(text=TEXTS, desired=DESIRED)
def test_a_board_reads_what_is_desired_of_it_and_all_else_as_before(text: str, desired: str) -> None:
    (setting,) = settings(desired)
    after = edit(text, desired)
    name, value = setting.setting, setting.value or ""
    for board, filters in BOARDS.items():
        old, old_overlays, old_parameters = firmware(text, board)
        new, overlays, parameters = firmware(after, board)
        addressed = setting.filters <= filters
        if name != "dtoverlay" or not addressed:
            assert overlays == old_overlays
        if name != "dtparam" or not addressed:
            assert parameters == old_parameters
        if name in {"dtoverlay", "dtparam"} or not addressed:
            assert new == old
        assert {**new, name: ""} == {**old, name: ""}
        if setting.section != board or setting.absent:
            continue
        # The board that is just what the section says.
        if name == "dtoverlay":
            assert value in overlays
        elif name == "dtparam":
            if len({*re.findall("dtoverlay=(.*)", text)}) < 2 and text.count("dtoverlay=") < 2:
                parameter, _equals, state = value.partition("=")
                assert parameters[parameter] == state
        else:
            assert new[name] == value


@given(text=TEXTS, desired=DESIRED)
def test_parameters_stay_with_their_overlay_and_new_ones_are_the_board_s(text: str, desired: str) -> None:
    (setting,) = settings(desired)
    after = edit(text, desired)
    parameter, _equals, state = (setting.value or "").partition("=")
    for board in BOARDS:
        before, now = scopes(text, board), scopes(after, board)
        if setting.absent:
            continue
        if setting.setting != "dtparam":
            assert now == before
            continue
        assert {key: value for key, value in now.items() if key[1] != parameter} == {
            key: value for key, value in before.items() if key[1] != parameter
        }
        if setting.section == board and not re.search(rf"dtparam=(.*,)?{parameter}=", text):
            assert now["", parameter] == state


@given(text=TEXTS, desired=st.lists(DESIRED, max_size=4))
def test_several_settings_come_to_rest(text: str, desired: list[str]) -> None:
    try:
        parsed = settings(*desired)
    except ConfigTxtError:
        return
    once = edit_config_txt(text=text, settings=parsed)
    assert edit_config_txt(text=once, settings=parsed) == once

"""Deploy: what stands in deploy/ fits the processes, settings and numbers that there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.cli.runtime import PROCESSES
from ops.local.up import earnest_programs
from workers.settings import SETTING_NAMES, project_root

DEPLOY = project_root() / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
KINDS = {program.kind for program in earnest_programs(workers=1)}


def load_yaml(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    return yaml.safe_load(path.read_text("utf-8"))


def queried_metrics() -> set[str]:
    """Collect the names of metrics that the dashboard and the alerts speak of."""
    board = json.loads((DEPLOY / "grafana" / "earnest.json").read_text("utf-8"))
    panel_expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    groups = load_yaml(DEPLOY / "prometheus" / "alerts.yml")["groups"]
    rule_expressions = [rule["expr"] for group in groups for rule in group["rules"]]
    return {
        name
        for expression in panel_expressions + rule_expressions
        for name in re.findall(r"earnest_\w+", expression)
    }


def test_every_kind_of_process_has_a_unit_and_each_is_notified_when_it_works() -> None:
    notifies_by_kind = {}
    for unit in SERVICES:
        text = unit.read_text("utf-8")
        kind = re.findall(r"^ExecStart=\S+ -P -m ops\.cli (\w+)$", text, re.MULTILINE)[0]
        notifies_by_kind[kind] = "Type=notify" in text
    assert notifies_by_kind.keys() == KINDS == PROCESSES.keys()
    assert [kind for kind, notifies in notifies_by_kind.items() if not notifies] == ["migrate"]


def test_every_systemd_unit_is_hardened_alike() -> None:
    hardening_texts = {
        unit.read_text("utf-8").split("User=")[1].partition("\n\n[")[0] for unit in SERVICES
    }
    assert len({text.strip() for text in hardening_texts}) == 1
    assert "ProtectSystem=strict" in hardening_texts.pop()


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    for unit in UNITS:
        text = unit.read_text("utf-8").replace("/opt/earnest/.venv/bin/python", sys.executable)
        (tmp_path / unit.name).write_text(text, "utf-8")
    command = [program, "verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))]
    completed_process = subprocess.run(command, capture_output=True, text=True, check=False)
    # What else is installed on this machine is not ours to check.
    earnest_lines = [line for line in completed_process.stderr.splitlines() if "earnest" in line]
    assert earnest_lines == []


def test_compose_runs_every_kind_of_process_with_settings_that_exist() -> None:
    services = load_yaml(DEPLOY / "compose.yaml")["services"]
    kinds_run = {
        words[0]
        for service in services.values()
        if isinstance(words := service.get("command"), list)
    }
    assert kinds_run == KINDS
    variable_names = {
        name for service in services.values() for name in service.get("environment", {})
    }
    assert {name for name in variable_names if name.startswith("EARNEST_")} <= set(SETTING_NAMES)
    names = set(services)
    for service in services.values():
        assert set(service.get("depends_on", {})) <= names


def test_compose_files_that_are_mounted_exist() -> None:
    services = load_yaml(DEPLOY / "compose.yaml")["services"]
    mounts = [mount for service in services.values() for mount in service.get("volumes", ())]
    local = [mount.partition(":")[0] for mount in mounts if mount.startswith(".")]
    assert [path for path in local if not (DEPLOY / path).exists()] == []


def test_the_image_copies_every_package_and_nothing_that_is_not_there() -> None:
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    copied = set(re.findall(r"^COPY (\S+)", text, re.MULTILINE))
    assert copied == {"requirements.lock", "models", "workers", "scheduler", "ops", "migrations"}


def test_the_example_of_settings_names_settings_that_exist() -> None:
    text = (DEPLOY / "earnest.env.example").read_text("utf-8")
    assert set(re.findall(r"EARNEST_\w+", text)) <= set(SETTING_NAMES)


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*.y*ml")), ids=lambda path: path.name)
def test_every_yaml_file_of_deploy_can_be_read(path: Path) -> None:
    assert load_yaml(path)


def test_every_alert_says_what_is_wrong_and_how_grave_it_is() -> None:
    (group,) = load_yaml(DEPLOY / "prometheus" / "alerts.yml")["groups"]
    for rule in group["rules"]:
        assert rule["labels"]["severity"] in {"page", "warn"}
        assert rule["annotations"]["summary"]


def test_dashboard_panels_do_not_overlap() -> None:
    board = json.loads((DEPLOY / "grafana" / "earnest.json").read_text("utf-8"))
    occupied_cells: set[tuple[int, int]] = set()
    for position in (panel["gridPos"] for panel in board["panels"]):
        columns = range(position["x"], position["x"] + position["w"])
        cells = {
            (x, y) for x in columns for y in range(position["y"], position["y"] + position["h"])
        }
        assert max(columns) < 24
        assert not cells & occupied_cells
        occupied_cells |= cells

"""Deploy: what stands in deploy/ fits the processes, settings and numbers that there are."""

from __future__ import annotations

import hashlib
import json
import os
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
from ops.web.auth import read_tokens
from ops.web.connections import ConnectionLimits
from ops.web.routes.commands import MAX_WAIT_S
from ops.web.submissions import MAX_BODY_BYTES
from workers.settings import SETTING_NAMES, Settings, project_root

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


def test_only_the_proxy_leads_to_the_web_process() -> None:
    services = load_yaml(DEPLOY / "compose.yaml")["services"]
    assert "ports" not in services["web"]
    assert services["proxy"]["ports"] == ["127.0.0.1:8000:8000"]


def proxy_setting(pattern: str) -> int:
    """Read a number of the proxy's settings."""
    text = (DEPLOY / "nginx" / "nginx.conf").read_text("utf-8")
    (value,) = re.findall(pattern, text)
    return int(value)


def test_the_proxy_fits_the_limits_of_the_web_process() -> None:
    limits = ConnectionLimits()
    # Otherwise it would send on connections that are closed already.
    kept_s = proxy_setting(r"keepalive 64;\n[^}]*keepalive_timeout (\d+)s;")
    assert kept_s < limits.idle_timeout_s
    assert proxy_setting(r"client_header_timeout (\d+)s") <= limits.header_timeout_s
    assert proxy_setting(r"client_max_body_size (\d+)m") * 1024 * 1024 == MAX_BODY_BYTES
    assert proxy_setting(r"proxy_read_timeout (\d+)s") > MAX_WAIT_S


def test_nginx_finds_nothing_wrong_with_the_proxy(tmp_path: Path) -> None:
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed")
    text = (DEPLOY / "nginx" / "nginx.conf").read_text("utf-8")
    # The name of the web process is known to the containers alone, and folders differ by packager.
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = "".join(f"{kind}_temp_path {tmp_path}/{kind};" for kind in kinds)
    text = text.replace("web:8000", "127.0.0.1:8000").replace("http {", f"http {{ {folders}", 1)
    (tmp_path / "nginx.conf").write_text(text, "utf-8")
    command = [program, "-t", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
    command += ["-e", "stderr", "-g", f"pid {tmp_path}/pid;"]
    completed_process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert completed_process.returncode == 0, completed_process.stderr


def test_compose_files_that_are_mounted_exist() -> None:
    services = load_yaml(DEPLOY / "compose.yaml")["services"]
    mounts = [mount for service in services.values() for mount in service.get("volumes", ())]
    local = {mount.partition(":")[0] for mount in mounts if mount.startswith(".")}
    assert {path for path in local if not (DEPLOY / path).exists()} == {"./redis.users.acl"}


def test_a_container_of_ours_has_no_rights_and_writes_to_its_state_folder_only() -> None:
    services = load_yaml(DEPLOY / "compose.yaml")["services"]
    for service in (service for service in services.values() if service["image"] == "earnest"):
        assert service["read_only"] is True
        assert service["user"] == "10001:10001"
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["volumes"] == ["state:/var/lib/earnest"]
    assert "--uid 10001 " in (DEPLOY / "Dockerfile").read_text("utf-8")


def test_compose_lets_nobody_in_without_a_password_of_their_own() -> None:
    services = load_yaml(DEPLOY / "compose.yaml")["services"]
    assert "--aclfile /etc/redis/users.acl" in services["redis"]["command"]
    for kind in KINDS - {"migrate"}:
        environment = services[kind]["environment"]
        password = "${REDIS_" + kind.upper() + "_PASSWORD:?run ./make_secrets}"
        assert environment["EARNEST_REDIS_URL"] == f"redis://{kind}:{password}@redis:6379/0"
        assert environment["EARNEST_SIGNING_KEYS"].startswith("${EARNEST_SIGNING_KEYS:?")


def make_secrets(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(DEPLOY / "make_secrets")]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_secrets_are_made_once_for_every_variable_that_compose_wants(tmp_path: Path) -> None:
    previous_umask = os.umask(0)
    try:
        assert make_secrets(tmp_path).returncode == 0
    finally:
        os.umask(previous_umask)
    modes = {path.name: f"{path.stat().st_mode & 0o777:o}" for path in tmp_path.iterdir()}
    # The users of Redis are digests of 32 random bytes, and the server's own user must read them.
    others_read = {"redis.users.acl": "644"}
    assert modes == dict.fromkeys((".env", "tokens", "metrics_token"), "600") | others_read
    lines = (tmp_path / ".env").read_text().splitlines()
    values = dict(line.split("=", 1) for line in lines)
    compose = (DEPLOY / "compose.yaml").read_text("utf-8")
    assert set(re.findall(r"\$\{(\w+):\?", compose)) <= values.keys()
    assert len(set(values.values())) == len(values)
    Settings.read({"EARNEST_SIGNING_KEYS": values["EARNEST_SIGNING_KEYS"]})
    read_tokens(tmp_path / "tokens")
    acl = (tmp_path / "redis.users.acl").read_text()
    for name, value in values.items():
        if name.startswith("REDIS_"):
            assert "#" + hashlib.sha256(value.encode()).hexdigest() in acl
    assert "change-me" not in acl
    refused = make_secrets(tmp_path)
    assert refused.returncode != 0
    assert "there already, and kept: .env" in refused.stderr
    assert (tmp_path / ".env").read_text().splitlines() == lines


def test_no_secret_goes_into_an_image_or_a_commit(tmp_path: Path) -> None:
    make_secrets(tmp_path)
    for ignore_file in (".gitignore", ".dockerignore"):
        ignored = (project_root() / ignore_file).read_text().split()
        for path in tmp_path.iterdir():
            assert f"deploy/{path.name}" in [line.lstrip("/") for line in ignored]


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

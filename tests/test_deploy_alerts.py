"""Alerts and dashboard ask for what a gateway shows; each alert is tested and has its section in the runbook."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import house
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from agent.metrics import Condition, Metrics
from agent.roles import POLICY
from core import config
from core.types import Arm
from core.writer import WriterStats

DEPLOY = house.ROOT / "deploy"
SERVICES = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]
ALERTS = yaml.safe_load((DEPLOY / "alerts.yml").read_text(encoding="utf-8"))["groups"][0]["rules"]
DASHBOARD = json.loads((DEPLOY / "grafana/dashboards/hone.json").read_text(encoding="utf-8"))
GATEWAY = config.load({"HONE_CONFIG": str(DEPLOY / "gateway.toml")})
EXPRESSIONS = {
    **{f"alert {rule['alert']}": rule["expr"] for rule in ALERTS},
    **{f"panel {panel['title']}": target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]},
}


@pytest.fixture(scope="module")
def shown() -> dict[str, set[str]]:
    """Every sample that a gateway shows Prometheus, with its labels."""
    numbers = {name: 0 for name in WriterStats.__annotations__}
    look = Condition(ready=True, running=0, revision=1, ledger=WriterStats(**numbers))  # type: ignore[arg-type]
    metrics = Metrics(lambda: look)
    metrics.answered("/v1/chat/completions", 200, Arm.CHAMPION, 0.1)
    metrics.began(Arm.CHAMPION, 0.1)
    metrics.counted(1, 1)
    metrics.rated("thumbs", "true")
    families = text_string_to_metric_families(metrics.render().decode())
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_a_query_asks_for_what_a_gateway_shows(name: str, shown: dict[str, set[str]]) -> None:
    expression = EXPRESSIONS[name]
    asked = set(re.findall(r"\bhone_\w+", expression))
    assert asked or re.search(r"\bup\{|\bALERTS\b", expression)
    assert asked <= shown.keys()
    known = {label for metric in asked for label in shown[metric]} | {"job", "instance", "alertname", "alertstate"}
    grouped = [label.strip() for group in re.findall(r"\bby \(([^)]*)\)", expression) for label in group.split(",")]
    matched = re.findall(r"(\w+)=~?\"", expression)
    assert {*grouped, *matched} <= known
    for route in re.findall(r'route=~?"([^"]*)"', expression):
        assert any(re.fullmatch(route, path) for _, path in POLICY)


def test_the_alert_knows_the_size_of_the_spool() -> None:
    rule = next(rule for rule in ALERTS if rule["alert"] == "HoneSpoolFilling")
    assert f"> {GATEWAY.ledger.spool_mib} * 1024 * 1024" in rule["expr"]


def test_an_alert_says_how_bad_it_is_and_has_a_section_in_the_runbook() -> None:
    runbook = (DEPLOY / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^### (\w+)$", runbook, re.MULTILINE) == [rule["alert"] for rule in ALERTS]
    for rule in ALERTS:
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"]["runbook"] == f"deploy/README.md#{rule['alert'].lower()}"


def test_every_alert_is_shown_to_fire_and_to_stay_silent() -> None:
    tests = yaml.safe_load((DEPLOY / "alerts_test.yml").read_text(encoding="utf-8"))["tests"]
    cases = {(case["alertname"], bool(case.get("exp_alerts"))) for test in tests for case in test["alert_rule_test"]}
    assert cases == {(rule["alert"], fires) for rule in ALERTS for fires in (True, False)}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize(
    "command", ["check config --syntax-only prometheus.yml", "check rules alerts.yml", "test rules alerts_test.yml"]
)
def test_promtool_is_content(command: str) -> None:
    result = subprocess.run(["promtool", *command.split()], cwd=DEPLOY, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr


def test_prometheus_scrapes_the_gateway_with_the_key_that_it_is_given() -> None:
    scrape = yaml.safe_load((DEPLOY / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"][0]
    discovery = scrape["dns_sd_configs"][0]
    assert (discovery["names"], discovery["port"]) == (["gateway"], GATEWAY.gateway.port)
    secret = Path(scrape["authorization"]["credentials_file"])
    assert SERVICES["prometheus"]["secrets"] == [secret.name]
    assert set(SERVICES["prometheus"]["networks"]) <= set(SERVICES["gateway"]["networks"])


def test_the_dashboard_reads_the_data_source_that_is_there() -> None:
    sources = yaml.safe_load((DEPLOY / "grafana/datasource.yaml").read_text(encoding="utf-8"))["datasources"]
    used = [part["datasource"] for panel in DASHBOARD["panels"] for part in (panel, *panel["targets"])]
    assert {(s["type"], s["uid"]) for s in used} == {(s["type"], s["uid"]) for s in sources}
    [provider] = yaml.safe_load((DEPLOY / "grafana/dashboards.yaml").read_text(encoding="utf-8"))["providers"]
    assert any(f":{provider['options']['path']}:" in volume for volume in SERVICES["grafana"]["volumes"])


def test_the_panels_of_the_dashboard_do_not_cover_each_other() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    assert max(x for x, _ in taken) == 23

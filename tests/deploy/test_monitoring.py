"""Alerts, their runbooks and the dashboard speak of metrics that there are."""

import json
import re
import subprocess

import pytest
import yaml

from scripts.metrics_reference import names
from tests.conftest import ROOT

PROMETHEUS = ROOT / "deploy" / "prometheus"
RUNBOOKS = ROOT / "docs" / "runbooks"
DASHBOARD = ROOT / "deploy" / "grafana" / "manna-sync.json"


def alerts():
    (group,) = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def metrics_in(expression):
    return set(re.findall(r"\bmanna_\w+", expression))


def queries():
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


def test_every_alert_asks_for_metrics_that_there_are():
    known = names()
    for name, rule in alerts().items():
        assert metrics_in(rule["expr"]), name
        assert metrics_in(rule["expr"]) <= known, name


def test_the_dashboard_is_whole():
    """As far as can be told without Grafana, which is not to be had where this was written."""
    dashboard = json.loads(DASHBOARD.read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = [tuple(panel["gridPos"][key] for key in "xywh") for panel in panels]
    cells = [(x + dx, y + dy) for x, y, w, h in taken for dx in range(w) for dy in range(h)]
    assert len(set(cells)) == len(cells), "panels lie on each other"
    assert max(x for x, _ in cells) < 24
    for panel in panels:
        assert panel["title"]
        assert panel["type"] in {"row", "stat", "timeseries"}
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert panel["fieldConfig"]["defaults"]["unit"]
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0


def test_the_dashboard_asks_for_metrics_that_there_are():
    assert set().union(*map(metrics_in, queries())) <= names()
    assert len(queries()) > 20


def test_the_dashboard_shows_every_family_of_the_fleet():
    shown = set().union(*map(metrics_in, queries()))
    assert {name for name in names() if re.match(r"manna_(items|queue|audit_outbox|breaker|replay)", name)} <= shown


def test_every_alert_has_a_runbook_and_every_runbook_an_alert():
    pages = {f"docs/runbooks/{page.name}" for page in RUNBOOKS.glob("*.md")} - {"docs/runbooks/index.md"}
    assert pages == {rule["annotations"]["runbook"] for rule in alerts().values()}
    index = (RUNBOOKS / "index.md").read_text()
    for name, rule in alerts().items():
        page = ROOT / rule["annotations"]["runbook"]
        assert page.read_text().startswith(f"# {name}\n")
        assert f"[{name}]({page.name})" in index
        # What `make docs` makes of that page, below wherever it is served.
        assert rule["annotations"]["runbook_url"] == f"{{{{ $externalLabels.docs_url }}}}/runbooks/{page.stem}.html"


def test_every_command_of_a_runbook_is_one_that_there_is():
    for page in RUNBOOKS.glob("*.md"):
        for group, command in re.findall(r"`manna (\w+)(?: (\w+))?", page.read_text()):
            assert group in {"audit", "doctor", "items", "keys", "syncs", "web"}, page
            if group == "syncs":
                assert command in {"list", "show", "replay", "replays"}, page


@pytest.mark.extras("promtool")
@pytest.mark.parametrize(
    "arguments",
    [("check", "rules", "alerts.yml"), ("check", "config", "prometheus.yml"), ("test", "rules", "alerts_test.yml")],
)
def test_prometheus_takes_them(arguments):
    done = subprocess.run(["promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


def test_every_alert_is_tried_firing_and_quiet():
    tried = [test["name"] for test in yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]]
    assert tried == [f"{name} {what}" for name in alerts() for what in ("fires", "is quiet")]

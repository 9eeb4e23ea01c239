import os
import re
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from core.broker.messages import Queue
from core.settings import Settings, variable_name
from tests.conftest import ROOT
from tests.docs.blocks import words
from tests.docs.ledger import KUBECTL, blocks_of

BASE = ROOT / "deploy" / "kubernetes" / "base"
PRODUCTION = ROOT / "deploy" / "kubernetes" / "overlays" / "production" / "kustomization.yaml"
OF_KEDA = {"ScaledObject", "TriggerAuthentication"}
CONTRACT = {
    "web": "manna web --host 0.0.0.0 --port 8000",
    "worker": "celery -A worker worker -Q sync.webhook,sync.scheduled,sync.backfill,sync.replay,maintenance -n sync@%h",
    "audit": "celery -A worker worker -Q audit -n audit@%h",
    "beat": "celery -A worker beat",
    "flower": "celery -A worker flower --address=0.0.0.0 --port=5555 --conf=/app/deploy/flowerconfig.py",
    "migrate": "alembic upgrade head",
}
KUSTOMIZATION = yaml.safe_load((BASE / "kustomization.yaml").read_text())
OBJECTS = [one for name in KUSTOMIZATION["resources"] for one in yaml.safe_load_all((BASE / name).read_text())]
PODS = {
    one["metadata"]["name"]: one["spec"]["template"]["spec"] for one in OBJECTS if "template" in one.get("spec", {})
}


def of_kind(kind):
    return {one["metadata"]["name"]: one["spec"] for one in OBJECTS if one["kind"] == kind}


def container(name):
    (found,) = PODS[name]["containers"]
    return found


@pytest.mark.parametrize("given", OBJECTS, ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_every_object_fits_kubernetes_own_schema(given):
    if given["kind"] in OF_KEDA:
        assert given["apiVersion"] == "keda.sh/v1alpha1"
        return
    for version in ("1.33", kubernetes_validate.latest_version()):
        kubernetes_validate.validate(given, version, strict=True)


def test_a_field_that_does_not_exist_would_be_found():
    wrong = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"port": 80}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.extras("kubectl")
def test_kubectl_renders_the_example_and_all_of_it_is_valid():
    command = ["kubectl", "kustomize", str(PRODUCTION.parent)]
    rendered = list(yaml.safe_load_all(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    # The ConfigMap is made by the kustomization itself.
    assert len(rendered) == len(OBJECTS) + 1
    for one in rendered:
        if one["kind"] not in OF_KEDA:
            kubernetes_validate.validate(one, kubernetes_validate.latest_version(), strict=True)
        if one["kind"] == "Deployment":
            labels = one["spec"]["template"]["metadata"]["labels"]
            assert labels["app.kubernetes.io/part-of"] == "manna-sync"


def test_every_file_is_part_of_the_base():
    assert {path.name for path in BASE.glob("*.yaml")} == {*KUSTOMIZATION["resources"], "kustomization.yaml"}


def test_every_process_is_one_of_the_contract():
    assert {name: " ".join(container(name)["command"]) for name in PODS} == CONTRACT


@pytest.mark.parametrize("name", CONTRACT)
def test_a_process_can_write_nothing_and_become_nobody_else(name):
    pod, own = PODS[name]["securityContext"], container(name)["securityContext"]
    assert pod["runAsNonRoot"]
    assert pod["runAsUser"] == 10001
    assert own == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert PODS[name]["automountServiceAccountToken"] is False


@pytest.mark.parametrize("name", CONTRACT)
def test_secrets_are_files_that_only_the_process_reads(name):
    volume = next(one["secret"] for one in PODS[name]["volumes"] if one["name"] == "secrets")
    assert volume["defaultMode"] == 0o440
    assert PODS[name]["securityContext"]["fsGroup"] == 10001
    # Redis' address is the one exception: it holds its password.
    from_secrets = [one for one in container(name)["env"] if "secretKeyRef" in one.get("valueFrom", {})]
    assert [one["name"] for one in from_secrets] == ["REDIS_URL"]


def test_flower_holds_no_key_and_only_migrations_the_owner_s_password():
    secrets = {name: pod["volumes"][0]["secret"]["secretName"] for name, pod in PODS.items()}
    assert secrets["flower"] == "manna-flower"
    assert [name for name, secret in secrets.items() if secret == "manna-owner-secrets"] == ["migrate"]


def test_settings_are_ones_that_the_service_knows():
    known = {variable_name(field) for field in Settings.model_fields} | {"OWNER_DATABASE_URL"}
    overlay = yaml.safe_load(PRODUCTION.read_text())["configMapGenerator"][0]["literals"]
    given = {line.partition("=")[0] for line in [*(BASE / "settings.env").read_text().split(), *overlay]}
    assert given <= known


def test_what_serves_is_probed_and_what_may_move_keeps_one_running():
    probed = {name for name in PODS if "livenessProbe" in container(name)}
    assert probed == {"web", "worker", "audit", "flower"}
    assert container("web")["readinessProbe"]["httpGet"]["path"] == "/health/ready"
    assert set(of_kind("PodDisruptionBudget")) == {"web", "worker", "audit"}


def test_workers_are_probed_by_what_compose_runs():
    """There it is run: tests/acceptance/test_compose.py."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    for name in ("worker", "audit"):
        _, line = services[name]["healthcheck"]["test"]
        assert container(name)["livenessProbe"]["exec"]["command"] == ["sh", "-c", line.replace("$$", "$")]


def test_selectors_find_their_pods():
    for kind in ("Service", "PodDisruptionBudget"):
        for name, spec in of_kind(kind).items():
            selector = spec["selector"].get("matchLabels", spec["selector"])
            assert selector == {"app.kubernetes.io/name": name}
            assert name in PODS


def test_workers_scale_on_the_queues_that_they_serve():
    (spec,) = of_kind("ScaledObject").values()
    assert "replicas" not in of_kind("Deployment")[spec["scaleTargetRef"]["name"]]
    scaled = {trigger["metadata"]["listName"] for trigger in spec["triggers"]}
    assert scaled == {queue.value for queue in Queue if queue.value.startswith("sync.")}
    assert all(trigger["authenticationRef"]["name"] in of_kind("TriggerAuthentication") for trigger in spec["triggers"])


def test_nothing_goes_in_or_out_unnamed():
    policies = of_kind("NetworkPolicy")
    assert policies["nothing"] == {
        "podSelector": {"matchLabels": {"app.kubernetes.io/part-of": "manna-sync"}},
        "policyTypes": ["Ingress", "Egress"],
    }
    # The label that it selects by comes from the kustomization, and has to reach the pods.
    assert KUSTOMIZATION["labels"] == [{"pairs": {"app.kubernetes.io/part-of": "manna-sync"}, "includeTemplates": True}]


def test_workers_serve_their_metrics_where_prometheus_may_read_them():
    (allowed,) = of_kind("NetworkPolicy")["in-to-metrics"]["ingress"]
    for name in ("worker", "audit"):
        env = {one["name"]: one.get("value") for one in container(name)["env"]}
        assert env["METRICS_PORT"] == str(container(name)["ports"][0]["containerPort"])
        assert {"protocol": "TCP", "port": int(env["METRICS_PORT"])} in allowed["ports"]


MONITORING = ROOT / "deploy" / "kubernetes" / "components" / "monitoring"


def test_every_process_that_counts_is_found_by_its_annotations_and_by_the_operators_monitors():
    templates = {
        one["metadata"]["name"]: one["spec"]["template"]["metadata"] for one in OBJECTS if one["kind"] == "Deployment"
    }
    ports = {name: container(name)["ports"][0] for name in ("web", "worker", "audit")}
    for name, port in ports.items():
        assert templates[name]["annotations"]["prometheus.io/port"] == str(port["containerPort"])
    monitors = list(yaml.safe_load_all((MONITORING / "pod-monitors.yaml").read_text()))
    found = {}
    for spec in (one["spec"] for one in monitors if one["kind"] == "PodMonitor"):
        (endpoint,) = spec["podMetricsEndpoints"]
        selector = spec["selector"]
        named = selector["matchLabels"].get("app.kubernetes.io/name")
        for name in [named] if named else selector["matchExpressions"][0]["values"]:
            found[name] = endpoint["port"]
    assert found == {name: port["name"] for name, port in ports.items()}


@pytest.mark.extras("kubectl")
def test_kubectl_renders_the_example_with_the_monitors(tmp_path):
    # Beside the others: Kustomize loads nothing from outside its root's parents.
    shutil.copytree(ROOT / "deploy" / "kubernetes", tmp_path / "kubernetes")
    own = tmp_path / "kubernetes" / "overlays" / "production" / "kustomization.yaml"
    own.write_text(own.read_text() + "components: [../../components/monitoring]\n")
    command = ["kubectl", "kustomize", str(own.parent)]
    rendered = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert [one["metadata"]["name"] for one in yaml.safe_load_all(rendered) if one["kind"] == "PodMonitor"] == [
        "manna-web",
        "manna-worker",
    ]


def test_the_how_to_names_every_secret():
    page = (ROOT / "docs" / "how-to" / "deploy-on-kubernetes.md").read_text("utf-8")
    text = "".join(path.read_text() for path in Path(BASE).glob("*.yaml"))
    named = set(re.findall(r"secretName: ([a-z-]+)|secretKeyRef: {name: ([a-z-]+)", text))
    assert all(f"`{name}`" in page for pair in named for name in pair if name)


NOBODY = "http://127.0.0.1:1"
PATH = {"PATH": os.environ["PATH"]}


def kubectl_lines():
    return [line for block in blocks_of(KUBECTL) for line in block.lines]


def test_the_commands_name_objects_that_there_are():
    there = {(one["kind"].lower(), one["metadata"]["name"]) for one in OBJECTS} | {("namespace", "manna-sync")}
    there |= {("secret", name) for name in ("manna-secrets", "manna-owner-secrets", "manna-flower", "manna-redis")}
    text = "\n".join(kubectl_lines())
    named = re.findall(r"\b(job|deployment)/(\w+)|\b(job|scaledobject|namespace) ([a-z-]+)", text)
    named = {(kind or other, name or own) for kind, name, other, own in named}
    assert len(named) == 5
    assert named <= there
    assert set(re.findall(r"-k (\S+)", text)) == {PRODUCTION.parent.relative_to(ROOT).as_posix()}
    assert set(re.findall(r"-n (\S+)", text)) == {"manna-sync"} == {yaml.safe_load(PRODUCTION.read_text())["namespace"]}


@pytest.mark.extras("kubectl")
@pytest.mark.parametrize("line", kubectl_lines())
def test_kubectl_takes_the_commands_and_gets_as_far_as_the_cluster(line, tmp_path):
    """No cluster is to be had: what needs none is done, the rest fails at the connection and not before."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "encryption_key").write_text("a key")
    argv = [word.replace("/etc/manna/secrets", str(secrets)) for word in words(line)]
    argv += ["--dry-run=client", "--output=yaml"] if argv[3:5] == ["create", "secret"] or argv[1] == "create" else []
    command = [argv[0], f"--server={NOBODY}", *argv[1:]]
    done = subprocess.run(
        command, cwd=ROOT, env={"HOME": str(tmp_path)} | PATH, capture_output=True, text=True, check=False
    )
    if "--dry-run=client" in argv:
        made = yaml.safe_load(done.stdout)
        assert made["kind"] in {"Namespace", "Secret"}, done.stderr
        assert "encryption_key" in made.get("data", {"encryption_key": ""})
    else:
        assert "127.0.0.1:1" in done.stderr
        assert "refused" in done.stderr


@pytest.mark.extras("kubectl")
def test_kubectl_refuses_a_wrong_one_before_it_asks_the_cluster(tmp_path):
    command = ["kubectl", f"--server={NOBODY}", "rollout", "status", "deployment/web", "--tmeout=1m"]
    done = subprocess.run(command, env={"HOME": str(tmp_path)} | PATH, capture_output=True, text=True, check=False)
    assert "unknown flag" in done.stderr

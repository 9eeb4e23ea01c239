"""Who runs what the pages show: page, block, test.

`console` blocks are run by `test_console_blocks.py` and stand in no list. Every other block is here, by its first line,
with the tests that take it from the page; `test_ledger.py` fails for one that is not.
"""

from tests.docs.blocks import Block, find_block

PROCESSES = "tests/docs/test_processes.py::test_every_process_that_a_page_starts_gets_ready"
SETTINGS = "tests/docs/test_settings_blocks.py::test_production_starts_with_what_a_page_sets"
MAKE = "tests/docs/test_command_lines.py::test_make_knows_the_target"
COMPOSE = "tests/docs/test_command_lines.py::test_compose_finds_what_it_is_asked_for"
KUBECTL = "tests/docs/test_kubernetes.py::test_kubectl_takes_the_commands_and_gets_as_far_as_the_cluster"
OBJECTS = "tests/docs/test_kubernetes.py::test_the_commands_name_objects_that_there_are"
SQL = "tests/docs/test_statements.py::test_postgresql_plans_every_statement"
PROMQL = "tests/docs/test_statements.py::test_prometheus_parses_every_expression"

IMAGE = "tests/deploy/test_image.py::test_the_how_to_builds_what_there_is"

LEDGER: dict[str, dict[str, tuple[str, ...]]] = {
    "README.md": {
        "make demo      # 60 Items through the whole service, every row compared with the bank's ledger at the end": (
            MAKE,
            "tests/acceptance/test_demo.py::test_the_demo_tells_its_story_and_ends_well",
        ),
        "python -m scripts.setup_security --environment production    # docs/how-to/set-up-production.md": (
            "tests/docs/test_readme.py::test_run_it_from_the_first_line_to_a_synced_item",
        ),
    },
    "docs/tutorial/first-sync.md": {
        "make demo": (MAKE, "tests/acceptance/test_demo.py::test_the_demo_tells_its_story_and_ends_well"),
        "make up": (MAKE, "tests/devstack/test_up.py::test_up_uses_the_given_servers_and_a_wrong_row_is_named"),
        "set -a; . /tmp/manna-…/stack.env; set +a     # the file that `make up` has named": (
            "tests/devstack/test_up.py::test_up_uses_the_given_servers_and_a_wrong_row_is_named",
        ),
    },
    "docs/how-to/alert-on-audit-events.md": {
        "[[rule]]": ("tests/docs/test_settings_blocks.py::test_the_example_of_a_rule_is_one",),
    },
    "docs/how-to/build-the-image.md": {
        "docker build --build-arg PYTHON_IMAGE=python@sha256:DIGEST --tag manna-sync .": (IMAGE,),
        "buildah bud --isolation chroot --storage-driver vfs"
        " --build-arg PYTHON_IMAGE=docker.io/library/python:3.13-slim-trixie --tag manna-sync .": (IMAGE,),
        "debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates trixie base": (IMAGE,),
    },
    "docs/how-to/deploy-on-kubernetes.md": {
        "kubectl create namespace manna-sync": (KUBECTL, OBJECTS),
        "kubectl -n manna-sync delete job migrate --ignore-not-found": (KUBECTL, OBJECTS),
    },
    "docs/how-to/deploy-with-compose.md": {
        "sudo chown 10001 secrets/*": ("tests/docs/test_command_lines.py::test_files_are_given_to_the_image_s_user",),
        "PLAID_BASE_URL=http://simulator:8099 docker compose --profile simulator up --build": (COMPOSE,),
        "docker compose up --build --detach": (COMPOSE,),
        "docker compose --profile monitoring up --detach": (COMPOSE,),
        "MANNA_ENVIRONMENT=production": (SETTINGS,),
    },
    "docs/how-to/monitor.md": {
        "METRICS_PORT=9464 METRICS_HOST=0.0.0.0 celery -A worker worker -Q sync.webhook,sync.scheduled": (PROCESSES,),
    },
    "docs/how-to/run-behind-pgbouncer-and-sentinel.md": {
        "[pgbouncer]": ("tests/docs/test_settings_blocks.py::test_pgbouncer_takes_the_example",),
        "DATABASE_URL=postgresql://manna_writer@pgbouncer.example:6432/manna"
        "?sslmode=verify-full&sslrootcert=/etc/manna/ca.pem": (SETTINGS,),
        "REDIS_URL=rediss-sentinel://:password@sentinel1:26379,sentinel2:26379,sentinel3:26379/0"
        "?master=mymaster&ssl_ca_certs=/etc/manna/ca.pem": (SETTINGS,),
    },
    "docs/how-to/scale.md": {
        "celery -A worker worker -Q sync.webhook,sync.scheduled,sync.backfill,sync.replay,maintenance -n sync2@%h": (
            PROCESSES,
        ),
        "docker compose up --detach --scale worker=4": (COMPOSE,),
        'kubectl -n manna-sync patch scaledobject worker --type=merge -p \'{"spec": {"maxReplicaCount": 24}}\'': (
            KUBECTL,
            OBJECTS,
        ),
        "celery -A worker worker -Q sync.webhook -n webhook@%h": (PROCESSES,),
    },
    "docs/how-to/set-up-production.md": {
        "MANNA_ENVIRONMENT=production": (SETTINGS,),
        "DATABASE_URL=postgresql://manna_writer@db.example/manna?sslmode=verify-full&sslrootcert=/etc/manna/ca.pem": (
            SETTINGS,
        ),
        "python -m scripts.validate_security": (PROCESSES,),
    },
    "docs/how-to/trace.md": {
        "pip install '.[otel]'     # in the checkout": ("tests/docs/test_command_lines.py::test_an_extra_is_one",),
        "OTEL_TRACES_EXPORTER=otlp": (SETTINGS,),
    },
    "docs/how-to/use-rabbitmq.md": {
        "BROKER_URL=amqps://manna:password@rabbitmq.example:5671/manna?ca_certs=/etc/manna/ca.pem": (SETTINGS,),
        "rabbitmqctl add_vhost manna": ("tests/availability/test_rabbitmq.py::test_the_how_to_s_user_may_work",),
    },
    "docs/how-to/watch-with-flower.md": {
        "celery -A worker flower --address=127.0.0.1 --port=5555 --basic_auth=operator:PASSWORD": (PROCESSES,),
    },
}


def blocks_of(test: str) -> list[Block]:
    """Return the blocks that a test answers for."""
    return [
        find_block(page, first_line)
        for page, given in LEDGER.items()
        for first_line, tests in given.items()
        if test in tests
    ]

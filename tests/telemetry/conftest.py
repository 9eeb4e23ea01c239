"""Metrics of a process of the test's own, and a reader of what is exposed."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from core.audit import counting
from core.telemetry import metrics as process_metrics


@pytest.fixture
def metrics():
    """This process counts until the test's end."""
    before = list(process_metrics._installed), list(counting._installed)
    process_metrics._installed.clear()
    yield process_metrics.install_metrics()
    process_metrics._installed[:], counting._installed[:] = before


@pytest.fixture
def read():
    """Return the samples of an exposition by name and labels."""

    def parse(text):
        families = text_string_to_metric_families(text)
        return {
            (sample.name, *(f"{name}={value}" for name, value in sorted(sample.labels.items()))): sample.value
            for family in families
            for sample in family.samples
        }

    return parse

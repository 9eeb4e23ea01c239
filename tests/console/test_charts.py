"""The plots say what their tables say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.items.overview import FRESHNESS_BOUNDS, Minute
from web.console import charts


@given(st.integers(0, 10**9))
def test_a_scale_reaches_the_highest_figure_in_a_few_round_steps(highest):
    scale = charts.scale_of(highest)
    assert scale[-1] >= highest
    assert 1 <= len(scale) <= 4
    assert all(value == int(value) and value > 0 for value in scale)


@given(st.lists(st.integers(0, 10**7), min_size=len(FRESHNESS_BOUNDS) + 2, max_size=len(FRESHNESS_BOUNDS) + 2))
def test_columns_are_as_high_as_their_figures_and_stay_inside(counts):
    plot = charts.freshness(counts)
    assert [row[1] for row in plot.rows] == [f"{count:,}" for count in counts]
    assert len(plot.bars) == sum(count > 0 for count in counts)
    highest = charts.scale_of(max(counts))[-1]
    room = plot.height - charts.TOP - charts.BOTTOM
    for bar, count in zip(plot.bars, [count for count in counts if count], strict=True):
        assert bar.height == pytest.approx(room * count / highest, abs=0.01)
        assert plot.left <= bar.x
        assert bar.x + bar.width <= plot.right
        assert bar.y >= charts.TOP - 0.02
        assert bar.y + bar.height <= plot.height - charts.BOTTOM + 0.02


def test_failed_runs_stand_on_the_succeeded_ones_of_their_minute():
    ended = [Minute(ago) for ago in range(59, 0, -1)] + [Minute(0, succeeded=3, failed=1)]
    succeeded, failed = charts.minutes(ended).bars
    assert failed.y + failed.height == pytest.approx(succeeded.y, abs=0.02)
    assert succeeded.height == pytest.approx(3 * failed.height, abs=0.05)
    assert charts.minutes(ended).rows == (("0 min ago", "3", "1"),)
    assert charts.minutes([Minute(ago) for ago in range(60)]).bars == ()

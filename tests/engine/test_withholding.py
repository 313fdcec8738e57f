"""No score of ours may be raised by keeping tokens back. The two older QoE forms can: why they are not the headline."""

from __future__ import annotations

import numpy as np
import pytest

from andes_engine.qoe import headline_qoe, qoe_area, qoe_authors_code
from andes_engine.sim.simulator import simulate
from tests.builders import make_engine

LATE = 60.0 + 0.02 * np.arange(50)
"""A response a minute late at 50 tokens/s; what is withheld beyond the reader's buffer of 9 s costs."""


def withhold_last(delivery_s: np.ndarray, seconds: float) -> np.ndarray:
    return np.append(delivery_s[:-1], delivery_s[-1] + seconds)


def test_older_forms_pay_for_withholding_the_last_token() -> None:
    held = withhold_last(LATE, 10_000.0)
    for older in (qoe_area, qoe_authors_code):
        assert older(held, 1.0, 0.2) > older(LATE, 1.0, 0.2) + 0.5
    assert headline_qoe(held, 1.0, 0.2) < headline_qoe(LATE, 1.0, 0.2)


@pytest.mark.parametrize("seconds", [20.0, 100.0, 1000.0])
def test_headline_falls_the_longer_it_is_withheld(seconds: float) -> None:
    assert headline_qoe(withhold_last(LATE, 2 * seconds), 1.0, 0.2) < headline_qoe(
        withhold_last(LATE, seconds), 1.0, 0.2
    )


def test_withholding_in_an_overloaded_run(overload) -> None:
    record = simulate(make_engine(), overload, "fcfs", token_log=True)
    honest, held = {}, {}
    for form in (headline_qoe, qoe_area, qoe_authors_code):
        for scores, seconds in ((honest, 0.0), (held, 10_000.0)):
            values = []
            for row, token_s in enumerate(record.token_s):
                delivery = token_s - overload.arrival_s[row]
                late = record.qoe[row] < 0.5 and len(delivery) > 1
                timeline = withhold_last(delivery, seconds) if late else delivery
                values.append(form(timeline, overload.ttft_s[row], overload.latency_s[row]))
            scores[form] = np.mean(values)
    assert honest[headline_qoe] == pytest.approx(record.qoe.mean(), abs=1e-9)
    assert honest[headline_qoe] < 0.6  # an overload, or there is nothing to exploit
    assert held[qoe_area] > honest[qoe_area] + 0.2
    assert held[qoe_authors_code] > honest[qoe_authors_code] + 0.2
    assert held[headline_qoe] < honest[headline_qoe]

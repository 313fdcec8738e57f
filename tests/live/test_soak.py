"""The soak itself, for less than a minute, on the server that the other tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live.stubs import NEEDS_VLLM

pytest.importorskip("psutil", reason="comes with vLLM")

from agents.cli import compose
from agents.schema import from_mapping
from agents.soak import SoakConfig, soak_server
from agents.soak_policies import APPLIED, POLICIES, RAISES, swaps
from tests.live.running_server import RunningServer, wait_until

pytestmark = [pytest.mark.slow, *NEEDS_VLLM]

WITHOUT_HELP = tuple(name for name in POLICIES if name != RAISES)
"""What needs no scheduler class of its own."""
SHORT = ("minutes=0.6", "vandals_per_s=2", "swap_every_s=1", "sample_every_s=0.5", "workload.patience.share=0.2")


@pytest.fixture
def lent(served: RunningServer) -> Iterator[RunningServer]:
    """The server, which has its own policy back afterwards."""
    before = served.policy.read_text()
    yield served
    applied = swaps(served, APPLIED)
    served.policy.write_text(before)
    wait_until(lambda: served.complete(1) == 1 and swaps(served, APPLIED) > applied, "the policy's return")


def test_a_short_soak_is_survived(lent: RunningServer) -> None:
    config = from_mapping(SoakConfig, compose("soak", *SHORT, "growth_mib=100"))
    ordeal = soak_server(lent, config, WITHOUT_HELP)
    assert ordeal.passed, [verdict for verdict in ordeal.verdicts if not verdict.ok]
    assert {entry.policy for entry in ordeal.exchanges} == set(WITHOUT_HELP)
    stayed = ordeal.record.finished
    assert (ordeal.record.emitted_tokens == ordeal.record.workload.output_tokens)[stayed].all()
    assert (~stayed).sum() == ordeal.record.notes["aborted"] > 0

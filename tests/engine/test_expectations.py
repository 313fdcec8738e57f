"""What a request may say of its reader, and what it gets when it says nothing."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from andes_engine.errors import AndesError, ExpectationError, UnknownNameError
from andes_engine.expectations import Expectations
from andes_engine.planner import Planner, PlannerConfig
from tests.engine.test_planner import SHAPE, make_planner, row_of

CLASSES = {"chat": {"ttft_s": 0.5, "tds": 8.0}, "reader": {"tds": 4.0}}
EXPECTATIONS = Expectations(2.0, 5.0, classes=CLASSES)


@pytest.mark.parametrize(
    ("asked", "ttft_s", "tds"),
    [
        ({}, 2.0, 5.0),
        ({"qoe_ttft": 0.25}, 0.25, 5.0),
        ({"qoe_tds": 10}, 2.0, 10.0),
        ({"qoe_class": "chat"}, 0.5, 8.0),
        ({"qoe_class": "reader"}, 2.0, 4.0),
        ({"qoe_class": "chat", "qoe_tds": 3}, 0.5, 3.0),
    ],
)
def test_request_wins_over_class_and_class_over_default(asked: dict[str, Any], ttft_s: float, tds: float) -> None:
    EXPECTATIONS.check(asked)
    assert EXPECTATIONS.of(asked, 9000) == (ttft_s, pytest.approx(1 / tds))


def test_long_prompts_excuse_a_later_first_token_where_the_server_says_so() -> None:
    by_prompt = Expectations(ttft_per_prompt=True, classes=CLASSES)
    assert [by_prompt.of({}, tokens).ttft_s for tokens in (10, 5000, 20_000)] == [1.0, 1.0, 4.0]
    assert by_prompt.of({"qoe_ttft": 0.5}, 20_000).ttft_s == 0.5
    assert by_prompt.of({"qoe_class": "chat"}, 20_000).ttft_s == 0.5
    assert by_prompt.of({"qoe_class": "reader"}, 20_000).ttft_s == 4.0


BAD = [
    ({"qoe_ttft": "soon"}, r"qoe_ttft = 'soon': must be a number of seconds > 0"),
    ({"qoe_ttft": float("nan")}, r"qoe_ttft = nan: must"),
    ({"qoe_ttft": None}, r"qoe_ttft = None: must"),
    ({"qoe_ttft": -1}, r"qoe_ttft = -1: must"),
    ({"qoe_tds": 0}, r"qoe_tds = 0: must be a number of tokens/s > 0"),
    ({"qoe_tds": float("inf")}, r"qoe_tds = inf: must"),
    ({"qoe_tds": True}, r"qoe_tds = True: must"),
    ({"qoe_tds": [4.0]}, r"qoe_tds = \[4.0\]: must"),
    ({"qoe_tds": 10**5000}, r"qoe_tds = a int too long to show: must"),
    ({"qoe_class": "vip"}, r"qoe_class = 'vip': must be one of the server's classes: chat, reader"),
    ({"qoe_class": ["chat"]}, r"qoe_class = \['chat'\]: must be one of"),
]
ONLY_AT_THE_DOOR = [
    ({"qoe_ttft": 0}, r"qoe_ttft = 0: must be a number of seconds > 0"),
    ({"qoe_tts": 4}, r"qoe_tts = 4: unknown key 'qoe_tts'. Did you mean 'qoe_tds'\?"),
    ({"qoe_user": ["ada"]}, r"qoe_user = \['ada'\]: must be text or a number"),
]


@pytest.mark.parametrize(("asked", "message"), BAD + ONLY_AT_THE_DOOR)
def test_nonsense_is_refused_with_key_value_and_rule(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(ExpectationError, match=message) as caught:
        EXPECTATIONS.check(asked)
    assert caught.value.key == next(iter(asked))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("asked", [asked for asked, _ in BAD])
def test_nonsense_that_reaches_the_scheduler_is_counted_and_replaced(
    asked: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    planner = make_planner(qoe_ttft=2.0, qoe_tds=4.0, classes=CLASSES)
    for name in ("a", "b"):
        planner.add(name, 0.0, 10, asked)
        assert (row_of(planner, name).ttft_s, row_of(planner, name).latency_s) == (2.0, 0.25)
    assert planner.bad_expectations == 2
    assert len(caplog.records) == 1


def test_a_server_reads_classes_from_its_configuration() -> None:
    planner = Planner(PlannerConfig.from_mapping({"classes": CLASSES, "ttft_per_prompt": True}), SHAPE)
    planner.add("a", 0.0, 20_000, {"qoe_class": "reader"})
    assert (row_of(planner, "a").ttft_s, row_of(planner, "a").latency_s) == (4.0, 0.25)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (
            {"classes": {"chat": {"ttft": 1}}},
            UnknownNameError,
            "unknown key of classes.chat 'ttft'. Did you mean 'ttft_s'",
        ),
        ({"classes": {"chat": {}}}, AndesError, "classes.chat = {} must have 'ttft_s'"),
        ({"classes": {"chat": 3}}, AndesError, "classes.chat = 3 must have"),
        ({"classes": {"chat": {"tds": -1}}}, AndesError, "classes.chat.tds = -1 must be a number of tokens/s > 0"),
        ({"classes": {"chat": {"ttft_s": "x"}}}, AndesError, "classes.chat.ttft_s = 'x' must be a number of seconds"),
        ({"classes": ["chat"]}, AndesError, "must map names to"),
        ({"ttft_per_prompt": "yes"}, AndesError, "ttft_per_prompt = 'yes' must be true or false"),
    ],
)
def test_a_wrong_configuration_is_refused_at_start(settings: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        PlannerConfig.from_mapping(settings)

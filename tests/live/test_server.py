"""What a client of a real server gets: an unmodified `openai` client, vLLM's HTTP server and engine core, our scheduler."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from andes_engine.decision_trace.replay import replay_trace
from andes_engine.policy.bundle import Bundle
from andes_engine.service.metrics import METRICS
from tests.engine.test_policy import make_bundle
from tests.live.running_server import MAX_BATCHED_TOKENS, MODEL, RunningServer, wait_until
from tests.live.stubs import NEEDS_VLLM

openai = pytest.importorskip("openai", reason="comes with vLLM")

pytestmark = [pytest.mark.slow, *NEEDS_VLLM]

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
READER = {"qoe_ttft": 0.5, "qoe_tds": 10}


@pytest.fixture(scope="module")
def client(served: RunningServer) -> Iterator[Any]:
    with openai.OpenAI(base_url=served.url, api_key="none", max_retries=0, timeout=300) as made:
        yield made


def words(first: int, count: int) -> str:
    return " ".join(f"w{first + index}" for index in range(count))


def settings(tokens: int, **xargs: object) -> dict[str, Any]:
    return {
        "model": MODEL,
        "max_tokens": tokens,
        "temperature": 0.0,
        "extra_body": {"ignore_eos": True, "vllm_xargs": xargs or READER},
    }


def complete(client: Any, prompt: str, tokens: int, **xargs: object) -> str:
    return str(client.completions.create(prompt=prompt, **settings(tokens, **xargs)).choices[0].text)


def complete_streamed(client: Any, prompt: str, tokens: int, **xargs: object) -> str:
    chunks = client.completions.create(prompt=prompt, stream=True, **settings(tokens, **xargs))
    return "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)


def chat(client: Any, prompt: str, tokens: int, **xargs: object) -> str:
    messages = [{"role": "user", "content": prompt}]
    return str(
        client.chat.completions.create(messages=messages, **settings(tokens, **xargs)).choices[0].message.content
    )


def chat_streamed(client: Any, prompt: str, tokens: int, **xargs: object) -> str:
    messages = [{"role": "user", "content": prompt}]
    chunks = client.chat.completions.create(messages=messages, stream=True, **settings(tokens, **xargs))
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


WAYS = [complete, complete_streamed, chat, chat_streamed]
ways = pytest.mark.parametrize("ask", WAYS, ids=lambda way: way.__name__)


@ways
def test_every_way_of_asking_gives_the_same_tokens(client: Any, ask: Any) -> None:
    text = ask(client, words(10, 8), 12, qoe_class="chat")
    assert len(text.split()) == 12
    assert text.split() == complete(client, words(10, 8), 12).split()


@ways
@pytest.mark.parametrize(
    ("xargs", "message"),
    [
        ({"qoe_tds": -1}, "qoe_tds = -1: must be a number of tokens/s > 0"),
        ({"qoe_ttft": "soon"}, "qoe_ttft = 'soon': must be a number of seconds > 0"),
        ({"qoe_class": "vip"}, "qoe_class = 'vip': must be one of the server's classes: chat"),
        ({"qoe_speed": 3}, "unknown key 'qoe_speed'"),
    ],
)
def test_nonsense_is_refused_with_400(client: Any, served: RunningServer, ask: Any, xargs: Any, message: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, words(10, 3), 4, **xargs)
    assert caught.value.status_code == 400
    assert message in caught.value.message
    assert caught.value.param == next(iter(xargs))


def test_not_a_number_is_refused_although_no_client_sends_it(served: RunningServer) -> None:
    status, text = served.post(
        "/v1/completions", b'{"model": "tiny", "prompt": "w10", "vllm_xargs": {"qoe_ttft": NaN}}'
    )
    assert (status, "qoe_ttft = nan: must be" in json.loads(text)["error"]["message"]) == (400, True)


def test_nothing_that_was_refused_reached_the_scheduler(served: RunningServer) -> None:
    assert served.metric("andes_fallbacks_total", cause="bad_expectation") == 0


def test_several_choices(client: Any) -> None:
    answer = client.completions.create(
        model=MODEL,
        prompt=words(20, 5),
        n=3,
        max_tokens=9,
        temperature=1.0,
        seed=1,
        extra_body={"ignore_eos": True, "vllm_xargs": READER},
    )
    texts = [choice.text for choice in answer.choices]
    assert [len(text.split()) for text in texts] == [9, 9, 9]
    assert len(set(texts)) > 1


def test_the_readme_s_request_is_answered(served: RunningServer) -> None:
    (line,) = re.findall(r"^(curl .*?)\n```", README, re.S | re.M)
    _, url, *_, body = shlex.split(line.replace("\\\n", " "))
    status, text = served.post(urlsplit(url).path, json.dumps({**json.loads(body), "model": MODEL}).encode())
    assert status == 200, text
    assert json.loads(text)["usage"]["completion_tokens"] > 0


def test_structured_output(client: Any) -> None:
    allowed = ["w10", "w20"]  # no word of the vocabulary is the beginning of one of them
    for prompt in (words(30, 4), words(40, 4)):
        answer = client.completions.create(
            model=MODEL,
            prompt=prompt,
            max_tokens=4,
            temperature=0.0,
            extra_body={"structured_outputs": {"choice": allowed}, "vllm_xargs": READER},
        )
        assert answer.choices[0].text.strip() in allowed


def test_a_long_prompt_is_prefilled_in_chunks_and_found_in_the_prefix_cache_again(client: Any) -> None:
    prompt = words(500, 3 * MAX_BATCHED_TOKENS)
    first, second = (client.completions.create(prompt=prompt, **settings(8)) for _ in range(2))
    assert first.usage.prompt_tokens == 3 * MAX_BATCHED_TOKENS
    assert first.choices[0].text == second.choices[0].text
    assert not first.usage.prompt_tokens_details or not first.usage.prompt_tokens_details.cached_tokens
    assert second.usage.prompt_tokens_details.cached_tokens >= 2 * MAX_BATCHED_TOKENS


def idle(served: RunningServer) -> bool:
    return served.metric("vllm:num_requests_running") + served.metric("vllm:num_requests_waiting") == 0


def test_a_reader_who_leaves_frees_the_engine(client: Any, served: RunningServer) -> None:
    before = {name: served.metric(name) for name in ("vllm:generation_tokens_total", "andes_request_qoe_ratio_count")}
    for _ in range(3):
        stream = client.completions.create(prompt=words(60, 20), stream=True, **settings(480))
        next(iter(stream))
        stream.close()
    wait_until(lambda: idle(served), "an idle engine")
    assert served.metric("vllm:generation_tokens_total") < before["vllm:generation_tokens_total"] + 3 * 480
    assert served.metric("andes_request_qoe_ratio_count") == before["andes_request_qoe_ratio_count"]
    assert len(complete(client, words(60, 20), 5).split()) == 5


def ask_many(client: Any, requests: int) -> list[int]:
    """More than memory holds, all at once; how many tokens each got, in the order of asking."""

    def one(number: int) -> int:
        ask = WAYS[number % len(WAYS)]
        return len(ask(client, words(1000 + 50 * number, 40), 60 + number, **READER).split())

    with ThreadPoolExecutor(requests) as pool:
        return list(pool.map(one, range(requests)))


def test_more_requests_than_memory_all_get_their_tokens(client: Any, served: RunningServer) -> None:
    before = {name: served.metric(name) for name in ("andes_request_qoe_ratio_count", "andes_plans_total")}
    assert ask_many(client, 40) == [60 + number for number in range(40)]
    wait_until(
        lambda: served.metric("andes_request_qoe_ratio_count") == before["andes_request_qoe_ratio_count"] + 40, "QoE"
    )
    assert served.metric("andes_plans_total") > before["andes_plans_total"]
    assert served.metric("andes_fallbacks_total", cause="planner_failure") == 0
    assert served.metric("andes_fallbacks_total", cause="service_failure") == 0


def named(name: str, folder: Path) -> Bundle:
    made = make_bundle()
    bundle = Bundle(name, made.layers, made.action, made.decision_interval_s)
    bundle.save(folder / name)
    return bundle


def test_the_policy_is_exchanged_under_load_and_a_bad_one_refused(client: Any, served: RunningServer) -> None:
    named("second", served.folder)
    before = {result: served.metric("andes_policy_swaps_total", result=result) for result in ("refused", "applied")}
    with ThreadPoolExecutor(1) as pool:
        answers = pool.submit(ask_many, client, 24)
        served.policy.write_text("nowhere\n")
        wait_until(lambda: served.metric("andes_policy_swaps_total", result="refused") > before["refused"], "a refusal")
        assert served.metric("andes_policy_info", policy="test") == 1
        served.policy.write_text("second\n")
        # should the load be over before the thread looks, one more request takes the new policy in
        while not served.metric("andes_policy_info", policy="second"):
            complete(client, words(70, 5), 5)
        assert answers.result() == [60 + number for number in range(24)]
    assert served.metric("andes_policy_info", policy="test") == 0
    assert served.metric("andes_policy_swaps_total", result="applied") == before["applied"] + 1
    assert served.metric("andes_policy_swaps_total", result="refused") == before["refused"] + 1


def test_every_metric_is_in_vllms_own_page(served: RunningServer) -> None:
    status, text = served.get("/metrics")
    assert status == 200
    assert "vllm:num_requests_running" in text
    missing = {metric.name for metric in METRICS if f"\n{metric.name}" not in text}
    assert missing == set()
    assert served.metric("andes_knob_value", knob="horizon_s", model_name=MODEL, engine="0") > 0
    assert served.metric("andes_decision_duration_seconds_count") >= served.metric("andes_plans_total")


def test_the_log_tells_events_as_json(served: RunningServer) -> None:
    found = [json.loads(line[line.index("{") :]) for line in served.log.splitlines() if '"event": "' in line]
    events = {entry["event"] for entry in found}
    assert {"planner_ready", "policy_swapped", "policy_refused", "knobs_changed"} <= events


def test_the_recorded_decisions_replay_to_the_bit(served: RunningServer) -> None:
    found = replay_trace(served.trace)
    assert found.decisions > 100
    assert found.plans > 0
    assert found.differing == [], found.first_difference
    assert served.metric("andes_traced_decisions_total", result="dropped") == 0

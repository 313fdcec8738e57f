"""The report of a comparison: its figures, which workload it looks at, and what a browser makes of the page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from agents.compare_report import file_stem, overview_figures, write_comparison
from agents.showcase import Showcase, choose_showcase, showcase_figures
from andes_engine.action import ActionSpec
from andes_engine.contender import Contender
from andes_engine.metrics import summarize
from andes_engine.observation import OBSERVATION_SIZE
from andes_engine.policy.bundle import Bundle
from andes_engine.report.differences import Difference, difference_grid
from andes_engine.report.engine_over_time import engine_over_time, knobs_over_time
from andes_engine.report.html import write_report
from andes_engine.report.load_panels import qoe_load_panels
from andes_engine.report.shown_run import ShownRun, by_setting
from andes_engine.report.style import styles_for
from andes_engine.report.svg import inline_svg
from andes_engine.report.tails import TAILS, tail_bars
from andes_engine.sim.run import run_simulated
from andes_engine.sim.sampled import run_sampled
from tests.browser import showing
from tests.builders import make_engine, make_workload

ENGINE = make_engine(300)
LONG = "andes:horizon_s=30,kv_watermark=0.95,preemption_gate=2"


def policy() -> Bundle:
    spec = ActionSpec()
    weight = np.random.default_rng(0).normal(0.0, 0.3, (spec.size, OBSERVATION_SIZE)).astype(np.float32)
    return Bundle("learned", ((weight, np.zeros(spec.size, np.float32)),), spec, 2.0)


CONTENDERS = [
    Contender("fcfs", "fcfs"),
    Contender("andes"),
    Contender("learned", bundle=policy()),
    Contender(LONG, knobs={"horizon_s": 30.0}),
    Contender("srpt", "srpt", lengths="exact"),
]


@pytest.fixture(scope="module")
def runs() -> list[ShownRun]:
    return [
        ShownRun(setting, load, run_simulated(ENGINE, make_workload(seed + 10 * place, 60, 10.0 * load), contender))
        for place, setting in enumerate(("a100, sharegpt", "h100, arxiv"))
        for load in (0.8, 1.2)
        for seed in range(3)
        for contender in CONTENDERS
    ]


@pytest.fixture(scope="module")
def showcase(runs: list[ShownRun]) -> Showcase:
    chosen = choose_showcase(runs, dict.fromkeys(by_setting(runs), ENGINE), CONTENDERS, "andes", "fcfs")
    assert chosen is not None
    return chosen


@pytest.fixture(scope="module")
def written(runs: list[ShownRun], showcase: Showcase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("comparison")
    grid = difference_grid([Difference("andes", "fcfs", "qoe_mean", 0.2, 0.1, 0.3, 0.9, 6)], "Paired")
    write_comparison(
        folder, "Schedulers compared", ["Andes wins."], [grid], runs, showcase, {"commit": "abc"}, "load, share"
    )
    return folder


def texts_overlap(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of visible texts that lie on each other, and texts that leave the figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    from andes_engine.report.style import house_style

    with house_style():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        renderer = canvas.get_renderer()
        beyond = {
            tick.label1
            for axes in figure.axes
            for axis in (axes.xaxis, axes.yaxis)
            for tick in axis.get_major_ticks()
            if not (min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval()))
        }  # matplotlib makes labels of ticks outside the axis, and does not draw them
        shown = [
            (text.get_text(), text.get_window_extent(renderer))
            for text in figure.findobj(Text)
            if text.get_text().strip()
            and text.get_visible()
            and (text.axes is None or text.axes.get_visible())
            and text not in beyond
        ]
        shown = [(text, box) for text, box in shown if box.width > 0]
    page = figure.bbox.padded(2.0)
    bad = [(text, "outside") for text, box in shown if not (page.x0 <= box.x0 and box.x1 <= page.x1)]
    for place, (text, box) in enumerate(shown):
        bad += [(text, other) for other, there in shown[place + 1 :] if box.padded(-1.0).overlaps(there.padded(-1.0))]
    return bad


def test_showcase_is_the_median_at_the_highest_load_of_the_first_setting(
    runs: list[ShownRun], showcase: Showcase
) -> None:
    def qoe(name: str, fingerprint: str) -> float:
        return next(
            float(run.record.qoe.mean())
            for run in runs
            if run.record.scheduler == name and run.record.workload.fingerprint == fingerprint
        )

    candidates = [run.record.workload.fingerprint for run in runs if run[:2] == ("a100, sharegpt", 1.2)]
    gains = {print_: qoe("andes", print_) - qoe("fcfs", print_) for print_ in candidates}
    assert len(gains) == 3
    assert gains[showcase.workload.fingerprint] == np.median(list(gains.values()))
    assert showcase.workload.fingerprint in showcase.rule and "by rule" in showcase.rule
    assert [entry.name for entry in showcase.contenders] == [entry.name for entry in CONTENDERS]


def test_no_showcase_without_a_common_workload(runs: list[ShownRun]) -> None:
    engines = dict.fromkeys(by_setting(runs), ENGINE)
    assert choose_showcase(runs, engines, CONTENDERS, "andes", "nobody") is None


def test_page_says_whether_the_second_run_gave_the_same(showcase: Showcase) -> None:
    assert all("with the same QoE of every request" in entry.caption for entry in showcase_figures(showcase))
    moved = dict(showcase.records)
    moved["andes"] = replace(moved["andes"], qoe=moved["andes"].qoe * 0.5)
    figures = showcase_figures(showcase._replace(records=moved))
    assert all("not with the same outcome under andes" in entry.caption for entry in figures)


def test_knobs_are_shown_only_where_a_policy_takes_part(showcase: Showcase) -> None:
    titles = [entry.title for entry in showcase_figures(showcase)]
    assert titles == ["Token timelines", "Memory, queue and preemptions over time", "Knobs over time"]
    plain = showcase._replace(contenders=showcase.contenders[:2])
    assert [entry.title for entry in showcase_figures(plain)] == titles[:2]


def test_over_time_draws_what_was_sampled(showcase: Showcase) -> None:
    _, samples = run_sampled(ENGINE, showcase.workload, CONTENDERS[2], 0.5)
    memory, queue, preemptions = engine_over_time({"learned": samples}).axes
    for axes, values in ((memory, samples.kv_used), (queue, samples.waiting), (preemptions, samples.preemptions)):
        np.testing.assert_array_equal(axes.lines[0].get_xydata(), np.stack([samples.at_s, values], axis=1))
    assert [axes.get_ylabel().replace("\n", " ") for axes in (memory, queue)] == [
        "KV blocks in use, share",
        "waiting, requests",
    ]
    panels = [
        axes for axes in knobs_over_time({"learned": samples}, {"learned": ActionSpec()}).axes if axes.get_visible()
    ]
    assert [axes.get_title("left").split(",")[0] for axes in panels] == list(ActionSpec().names)
    for axes, name in zip(panels, ActionSpec().names, strict=True):
        np.testing.assert_array_equal(axes.lines[1].get_ydata(), samples.knob(name))


def test_tail_bars_show_the_metrics(runs: list[ShownRun]) -> None:
    """Of one run, pooled and single numbers are the same."""
    record = runs[0].record
    drawn = {axes.get_title("left"): axes.patches[0].get_width() for axes in tail_bars([record]).axes}
    numbers = summarize(record)
    keys = {"> 60 s late": "late_share", "QoE p5": "qoe_p5", "QoE p10": "qoe_p10", "QoE ≥ .95": "qoe_share_95"}
    assert len(drawn) == len(TAILS)
    for title, key in keys.items():
        assert drawn[title] == pytest.approx(numbers[key])
    assert drawn["QoE ≥ .9"] == (record.qoe >= 0.9).mean()
    assert drawn["QoE = 1"] == pytest.approx((record.qoe > 1.0 - 1e-9).mean())


def test_numbers_keep_their_digits_on_the_page(runs: list[ShownRun]) -> None:
    figure = tail_bars([runs[0].record])
    page = inline_svg(figure, "Tails", "f-")
    labels = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert len(labels) == len(TAILS)
    assert all(f">{label}</text>" in page for label in labels)


def test_a_panel_for_each_setting(runs: list[ShownRun]) -> None:
    settings = by_setting(runs)
    axes = qoe_load_panels(settings).axes
    assert [panel.get_title("left") for panel in axes] == list(settings)
    for panel, by_load in zip(axes, settings.values(), strict=True):
        assert len(panel.lines) == len(CONTENDERS)
        medians = [
            np.median([run.qoe.mean() for run in records if run.scheduler == "fcfs"]) for records in by_load.values()
        ]
        np.testing.assert_allclose(panel.lines[0].get_ydata(), medians)


def test_looks_in_one_figure_differ() -> None:
    names = ["andes", LONG, "andes:b", "learned", "learned_2", "learned_3", "mine", "yours", "vtc", "fcfs"]
    looks = styles_for(names)
    assert len(set(looks.values())) == len(names)
    assert looks["andes"].color == "#0072b2" and looks["learned"].color == "#d55e00"
    assert len(styles_for([f"scheduler {number}" for number in range(20)])) == 20


def many(runs: list[ShownRun], settings: int, contenders: int) -> list[ShownRun]:
    """The runs of one setting under more names and in more settings."""
    base = [run for run in runs if run.setting == "a100, sharegpt" and run.record.scheduler == "andes"]
    names = ["fcfs", "andes", "learned", "tuned_andes", LONG, "srpt (clairvoyant)", "vtc", "round_robin"][:contenders]
    return [
        ShownRun(
            f"llama3_8b on a100, multi-round sharegpt, burst {place}", run.load, replace(run.record, scheduler=name)
        )
        for place in range(settings)
        for name in names
        for run in base
    ]


@pytest.mark.parametrize(("settings", "contenders"), [(1, 2), (1, 8), (3, 5), (20, 8)])
def test_no_text_lies_on_another(runs: list[ShownRun], settings: int, contenders: int) -> None:
    for entry in overview_figures(many(runs, settings, contenders), "load, requests/s"):
        assert texts_overlap(entry.figure) == [], entry.title


def test_no_text_lies_on_another_over_time(showcase: Showcase) -> None:
    for entry in showcase_figures(showcase):
        assert texts_overlap(entry.figure) == [], entry.title


def test_files_have_plain_names_and_the_page_stays_small(written: Path) -> None:
    stems = ["knobs_over_time", "memory_queue_and_preemptions_over_time", "qoe_against_load", "qoe_of_single_requests"]
    stems += ["tails", "time_to_first_token", "token_timelines"]
    assert file_stem("Memory, queue and preemptions over time") == stems[1]
    files = sorted(path.name for path in (written / "figures").iterdir())
    assert files == sorted(f"{stem}.{ending}" for stem in stems for ending in ("png", "svg"))
    assert (written / "report.html").stat().st_size < 1_500_000


def test_the_largest_page_stays_below_its_limit(runs: list[ShownRun], showcase: Showcase, tmp_path: Path) -> None:
    figures = [*overview_figures(many(runs, 20, 8), "load, requests/s"), *showcase_figures(showcase)]
    page = write_report(tmp_path / "report.html", "Large", ["A."], [], figures, {})
    assert page.stat().st_size < 1_500_000


LOOK = """
JSON.stringify({
  pictures: [...document.querySelectorAll('figure svg')].map(
    svg => svg.getBoundingClientRect()).map(box => [box.width, box.height]),
  drawn: [...document.querySelectorAll('figure svg')].map(svg => svg.querySelectorAll('path').length),
  wide: [...document.querySelectorAll('body *')].filter(
    one => !one.closest('.scroll > *') && one.getBoundingClientRect().right > window.innerWidth + 1).map(one => one.tagName),
  page: document.documentElement.scrollWidth <= window.innerWidth,
})
"""


@pytest.mark.parametrize("width", [1240, 600])
def test_a_browser_shows_every_picture_without_complaint(
    chromium: str, written: Path, tmp_path: Path, width: int
) -> None:
    async def look() -> tuple[dict[str, list[object]], list[str]]:
        async with showing(chromium, (written / "report.html").as_uri(), tmp_path, width) as tab:
            await tab.until(
                "document.readyState === 'complete' && document.querySelectorAll('figure svg').length === 7"
            )
            return json.loads(await tab.value(LOOK)), tab.complaints

    seen, complaints = asyncio.run(look())
    assert complaints == []
    assert len(seen["pictures"]) == 7
    assert all(wide > 300 and high > 100 for wide, high in seen["pictures"])  # type: ignore[misc, attr-defined]
    assert all(paths > 10 for paths in seen["drawn"])  # type: ignore[operator]
    assert seen["wide"] == [] and seen["page"]


Drawing = Callable[[], object]


@pytest.mark.parametrize(
    "draw",
    [lambda: engine_over_time({}), lambda: knobs_over_time({}, {}), lambda: tail_bars([]), lambda: qoe_load_panels({})],
)
def test_nothing_to_draw_is_said_so(draw: Drawing) -> None:
    with pytest.raises(ValueError, match="at least one"):
        draw()

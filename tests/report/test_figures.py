import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from matplotlib import rcParams
from matplotlib.colors import to_hex

from andes_engine.metrics import summarize
from andes_engine.qoe import headline_qoe
from andes_engine.report.figures import learning_curve, qoe_against_load, save, ttft_distribution
from andes_engine.report.style import SPARE, STYLES, style_of
from andes_engine.report.svg import compact, inline_svg, short_path, without_names
from andes_engine.report.timelines import STALL_S, timeline, token_timelines, typical_requests


@pytest.fixture(params=["load", "ttft", "timelines", "learning"])
def draw(request, runs_by_load, busy):
    return {
        "load": lambda: qoe_against_load(runs_by_load),
        "ttft": lambda: ttft_distribution(busy),
        "timelines": lambda: token_timelines(busy[:2], typical_requests(busy[1], busy[0])),
        "learning": lambda: learning_curve([0, 1000, 2000], [[0.5, 0.6, 0.7], [0.4, 0.6, 0.8]], {"andes": 0.65}),
    }[request.param]


@pytest.fixture
def figure(draw):
    return draw()


def test_what_nothing_refers_to_has_no_name():
    drawing = (
        '<g id="a">\n<g clip-path="url(#c)" id="b">\n<use href="#m"/>\n</g>\n<g id="m"/>\n<clipPath id="c"/>\n</g>'
    )
    bare = '<g clip-path="url(#c)">\n<use href="#m"/>\n</g>\n<g id="m"/>\n<clipPath id="c"/>'
    assert without_names(drawing).strip() == bare


def test_a_compact_drawing_has_short_names_and_numbers_and_the_same_texts():
    drawing = (
        '<clipPath id="p1b2c"/>\n<path d="M 101.2345 4.5678 \nL 101.2345 9 \n" clip-path="url(#p1b2c)"/>\n'
        '<text x="1.239" transform="rotate(-0 1.239 5)">1.23456</text>\n<text transform="rotate(-90 1 2)">p1b2c</text>'
    )
    assert compact(drawing) == (
        '<clipPath id="n0"/>\n<path d="M101.2 4.56V9" clip-path="url(#n0)"/>\n'
        '<text x="1.23">1.23456</text>\n<text transform="rotate(-90 1 2)">p1b2c</text>'
    )


def test_saved_files_are_small_and_repeatable(draw, tmp_path):
    svg, png = save(draw(), tmp_path / "deep" / "figure")
    assert png.read_bytes().startswith(b"\x89PNG")
    first = svg.read_bytes()
    assert len(first) < 150_000
    assert b"<metadata>" not in first
    again = save(draw(), tmp_path / "again")
    assert (again[0].read_bytes(), again[1].read_bytes()) == (first, png.read_bytes())


def test_every_axis_is_labelled_with_its_unit(figure):
    labels = [axes.get_xlabel() for axes in figure.axes if axes.get_xlabel()]
    assert labels
    assert all(", " in label or label == "training steps" for label in labels)


def test_drawing_leaves_the_users_settings_alone(figure, tmp_path):
    before = dict(rcParams)
    save(figure, tmp_path / "figure")
    assert dict(rcParams) == before


def test_load_figure_shows_the_median_run(runs_by_load):
    axes = qoe_against_load(runs_by_load).axes[0]
    for line, name in zip(axes.lines, ("fcfs", "andes"), strict=True):
        values = [[summarize(r)["qoe_mean"] for r in runs if r.scheduler == name] for runs in runs_by_load.values()]
        np.testing.assert_allclose(line.get_ydata(), np.median(values, axis=1))
        np.testing.assert_allclose(line.get_xdata(), list(runs_by_load))
        assert to_hex(line.get_color()) == STYLES[name].color


def test_load_figure_takes_a_scheduler_that_missed_a_load(runs_by_load):
    low, high = runs_by_load
    lines = qoe_against_load({low: runs_by_load[low], high: runs_by_load[high][:1]}).axes[0].lines
    assert [len(line.get_xdata()) for line in lines] == [2, 1]


def test_load_figure_says_when_qoe_is_only_a_bound(runs_by_load, cut_short):
    assert not qoe_against_load(runs_by_load).axes[0].texts
    (note,) = qoe_against_load({6.0: [cut_short]}).axes[0].texts
    assert note.get_text() == f"upper bounds: {(~cut_short.finished).sum()} requests unfinished"


def test_nothing_to_draw_is_said_so():
    for draw_nothing in (lambda: qoe_against_load({}), lambda: ttft_distribution([])):
        with pytest.raises(ValueError, match="at least one run"):
            draw_nothing()


def test_ttft_counts_requests_that_never_started(busy, cut_short):
    drained, cut = (ttft_distribution([run]).axes[0].lines[0].get_ydata()[-1] for run in (busy[0], cut_short))
    assert drained == 1.0
    assert cut == pytest.approx(np.isfinite(cut_short.ttft_s).mean())


def test_timeline_agrees_with_qoe(busy):
    run = busy[0]
    for request in range(len(run.workload)):
        expected, delivered, consumed = timeline(run, request)
        latency_s = run.workload.latency_s[request]
        assert (consumed >= np.maximum(delivered, expected) - 1e-9).all()
        assert (np.diff(consumed) >= latency_s - 1e-9).all()
        whole_s = len(expected) * latency_s / 2
        assert whole_s / (whole_s + (consumed - expected).mean()) == pytest.approx(run.qoe[request])
        assert headline_qoe(delivered, run.workload.ttft_s[request], latency_s) == pytest.approx(run.qoe[request])


def test_timelines_keep_the_corners_of_every_stall(busy):
    run = busy[1]
    request = int(np.argmax([np.diff(times).max() for times in run.token_s]))
    _, delivered, _ = timeline(run, request)
    stalls = np.flatnonzero(np.diff(delivered) > STALL_S)
    assert len(stalls)
    drawn = token_timelines([run], [request]).axes[0].lines[1].get_xdata()
    assert {*delivered[stalls], *delivered[stalls + 1]} <= {*drawn}


def test_timelines_cover_all_they_draw(busy):
    for axes in token_timelines(busy[:2], typical_requests(busy[1], busy[0])).axes:
        assert max(line.get_xdata().max() for line in axes.lines) <= axes.get_xlim()[1]
        assert max(line.get_ydata().max() for line in axes.lines) <= axes.get_ylim()[1]


def test_timelines_of_a_request_without_a_token(cut_short):
    silent = int(np.flatnonzero(cut_short.emitted_tokens == 0)[0])
    assert token_timelines([cut_short], [silent]).axes


def test_typical_requests_are_quantiles_of_the_difference(busy):
    worst, _, best = typical_requests(busy[1], busy[0], (0.0, 0.5, 1.0))
    gain = busy[1].qoe - busy[0].qoe
    assert gain[worst] == gain.min()
    assert gain[best] == gain.max()


@pytest.mark.parametrize(
    ("change", "message"),
    [("no tokens", "token_log=True"), ("other workload", "same workload"), ("no request", "at least one")],
)
def test_timelines_refuse_what_they_cannot_draw(busy, change, message):
    runs, requests = {
        "no tokens": ([replace(busy[0], token_s=())], [0]),
        "other workload": ([busy[0], busy[2]], [0]),
        "no request": (busy[:1], []),
    }[change]
    with pytest.raises(ValueError, match=message):
        token_timelines(runs, requests)


def test_looks_are_fixed_and_distinct():
    assert len({look.color for look in (*STYLES.values(), *SPARE)}) == len(STYLES) + len(SPARE)
    assert style_of("Tuned-Andes") == STYLES["tuned_andes"]
    assert style_of("learned:ppo-3") == STYLES["learned"]
    assert style_of("something else") in SPARE


def test_styles_are_written_once_and_stay_apart_in_a_page() -> None:
    """Every class of a drawing has its rule, and two drawings of a page do not share one."""
    pages = [
        inline_svg(learning_curve([0, 1, 2], [0.5, 0.6, 0.7], {"fcfs": 0.4}, "mine"), "t", f"f{n}-") for n in (0, 1)
    ]
    used = [{name for names in re.findall(r'class="([^"]*)"', page) for name in names.split()} for page in pages]
    ruled = [set(re.findall(r"\.([\w-]+)\{", page)) for page in pages]
    assert all(len(names) > 3 for names in used) and not used[0] & used[1]
    assert used == ruled
    assert max(Counter(re.findall(r' style="([^"]*)"', pages[0])).values()) <= 2


def test_a_staircase_is_half_as_long_and_the_same() -> None:
    assert (
        short_path(
            "M 0 0 \nL 0 3.5 \nL 2 3.5 \nL 2 3.5 \nL 3 4 \nL 4.1 3.7 \nL 3.1 4.7 \nQ 1 2 3 5 \nL 3 6 \nz\nL 1 1\n"
        )
        == "M0 0V3.5H2L3 4l1.1-.3-1 1Q1 2 3 5V6zL1 1"
    )


def test_corners_that_nobody_would_see_are_left_out() -> None:
    straight = "".join(f"L {step} {2 * step} \n" for step in range(1, 50))
    assert short_path(f"M 0 0 \n{straight}") == "M0 0L49 98"
    bent = [f"L {step} {30 * np.sin(step / 40):.1f}" for step in range(200)]
    assert 10 < len(re.findall(r"[Ll ]", short_path(f"M 0 0 {' '.join(bent)}"))) < 80
    assert short_path("M 0 0 L 1 .1 L 2 0 L 2 5") == "M0 0H2V5"

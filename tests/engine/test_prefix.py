"""Block hashes of prompts, and the other columns that a workload may have or not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from andes_engine.errors import InvalidWorkloadError
from andes_engine.workload import Workload
from andes_engine.workload.prefix import PrefixHashes
from andes_engine.workload.workload import workload_of
from tests.builders import make_engine, make_workload, tiny_workload

HASHES = PrefixHashes([0, 1, 2, 0, 3, 7], [0, 3, 3, 5, 6])
PROMPTS = [1025, 80, 1024, 1]


def rich_workload(**columns: object) -> Workload:
    """Four requests of three users: two prompts share their first block, one reader leaves."""
    fine = {
        "arrival_s": [0.0, 1.0, 2.0, 4.0],
        "prompt_tokens": PROMPTS,
        "output_tokens": [3] * 4,
        "ttft_s": [1.0] * 4,
        "latency_s": [0.2] * 4,
        "user": [5, 0, 5, 2],
        "abort_s": [9.0, np.inf, 2.5, np.inf],
        "block_hashes": HASHES,
    }
    return Workload("rich", **{**fine, **columns})


def ids(workload: Workload) -> list[list[int]]:
    return [workload.block_hashes.of(row).tolist() for row in range(len(workload))]


def test_left_out_they_say_nothing_and_fingerprints_stay_what_they_were() -> None:
    """The pinned values are those of the workload before it had optional columns."""
    workload = tiny_workload()
    assert workload.user.tolist() == [0, 0]
    assert workload.abort_s.tolist() == workload.patience_s.tolist() == [np.inf, np.inf]
    assert workload.block_hashes is None
    assert workload.fingerprint == "7ded231dbb33b153"
    assert make_workload(3, 600, 20.0).fingerprint == "97a69c74f48e3f43"
    given_defaults = tiny_workload(user=0, abort_s=[np.inf] * 2, block_hashes=PrefixHashes([], [0, 0, 0]))
    assert given_defaults == workload


@pytest.mark.parametrize(
    "columns",
    [
        {"user": [0, 1]},
        {"user": 1},
        {"abort_s": [np.inf, 2.0]},
        {"block_hashes": PrefixHashes([4, 4], [0, 1, 2])},
        {"block_hashes": PrefixHashes([4], [0, 1, 1])},
    ],
)
def test_each_optional_column_is_in_the_fingerprint(columns: dict) -> None:
    assert tiny_workload(**columns) != tiny_workload()
    assert tiny_workload(**columns) == tiny_workload(**columns)


def test_one_number_is_everybodys() -> None:
    workload = tiny_workload(user=3, abort_s=50.0)
    assert workload.user.tolist() == [3, 3]
    assert workload.patience_s.tolist() == [50.0, 49.0]
    with pytest.raises(ValueError, match="read-only"):
        workload.user[0] = 1


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ({"user": [0, -1]}, "request 1: user = -1 must be >= 0"),
        ({"user": [0.5, 0]}, "request 0: user = 0.5 must be a whole number"),
        ({"user": [0, float("nan")]}, "request 1: user = nan must be finite"),
        ({"user": [0]}, "user has shape"),
        ({"abort_s": [0.0, 0.9]}, "request 1: abort_s = 0.9 must be a time at or after the arrival"),
        ({"abort_s": [0.0, float("nan")]}, "request 1: abort_s = nan"),
        ({"abort_s": [-np.inf, 3.0]}, "request 0: abort_s = -inf"),
        ({"abort_s": [3.0]}, "abort_s has shape"),
        ({"block_hashes": PrefixHashes([1], [0, 1])}, "of 1 requests, the workload has 2"),
        ({"block_hashes": PrefixHashes([1, 2], [0, 0, 2])}, "request 1: 2 block hashes for 5 prompt tokens; give 1"),
    ],
)
def test_impossible_columns_are_refused(columns: dict, match: str) -> None:
    with pytest.raises(InvalidWorkloadError, match=match):
        tiny_workload(**columns)


@pytest.mark.parametrize(
    ("hash_ids", "hash_offsets", "match"),
    [
        ([1, 2], [0, 1], "from 0 to 1; it must go from 0 to the number of ids, 2"),
        ([1, 2], [1, 2], "from 1 to 2"),
        ([], [], "empty"),
        ([1, 2], [0, 2, 1, 2], "request 1: hash_offsets falls from 2 to 1"),
        ([1, -2], [0, 0, 2], "request 1: id -2 must be >= 0"),
        ([1.5, 2.0], [0, 2], "hash_ids has shape"),
        ([[1, 2]], [0, 2], "hash_ids has shape"),
    ],
)
def test_impossible_hashes_are_refused(hash_ids: list, hash_offsets: list, match: str) -> None:
    with pytest.raises(InvalidWorkloadError, match=match):
        PrefixHashes(hash_ids, hash_offsets)
    with pytest.raises(InvalidWorkloadError, match="block_tokens = 0"):
        PrefixHashes([1], [0, 1], block_tokens=0)


def test_every_view_carries_every_column() -> None:
    workload = rich_workload()
    head = workload.head(2)
    assert (head.user.tolist(), head.abort_s.tolist(), ids(head)) == ([5, 0], [9.0, np.inf], [[0, 1, 2], []])
    later = workload.between(1.5, 5.0)
    assert (later.user.tolist(), later.abort_s.tolist(), ids(later)) == ([5, 2], [1.0, np.inf], [[0, 3], [7]])
    slow = workload.at_rate(0.1)
    assert slow.arrival_s == pytest.approx([0.0, 10.0, 20.0, 40.0])
    assert slow.patience_s == pytest.approx(workload.patience_s)
    assert (slow.user.tolist(), slow.block_hashes) == (workload.user.tolist(), HASHES)
    short, dropped = workload.fitting(make_engine(max_model_len_tokens=1027))
    assert (dropped, short.user.tolist(), ids(short)) == (1, [0, 5, 2], [[], [0, 3], [7]])


def test_columns_in_any_order_are_sorted_with_their_hashes() -> None:
    workload = rich_workload()
    order = [2, 0, 3, 1]
    names = ("arrival_s", "prompt_tokens", "output_tokens", "ttft_s", "latency_s", "user", "abort_s")
    columns = {name: getattr(workload, name)[order] for name in names}
    assert workload_of("rich", columns, HASHES.select(np.array(order))) == workload
    assert workload_of("rich", {**columns, "user": 4}).user.tolist() == [4] * 4


@given(st.lists(st.lists(st.integers(0, 99), max_size=4), min_size=1, max_size=8), st.data())
def test_selecting_rows_is_selecting_lists(lists: list[list[int]], data: st.DataObject) -> None:
    hashes = PrefixHashes([one for each in lists for one in each], np.cumsum([0, *map(len, lists)]))
    rows = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=10))
    chosen = hashes.select(np.array(rows, dtype=np.int64))
    assert [chosen.of(row).tolist() for row in range(len(chosen))] == [lists[row] for row in rows]
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(lists), max_size=len(lists))))
    assert hashes.select(mask) == hashes.select(np.flatnonzero(mask))
    assert hashes.select(slice(None)) == hashes
    assert hash(hashes.select(slice(None))) == hash(hashes)

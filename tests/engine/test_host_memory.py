"""Who has which block of host memory, its settings, and the copies themselves on KV caches of several layouts."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from andes_engine.errors import AndesError, CapacityError, UnknownNameError
from andes_engine.vllm.block_copier import BlockCopier
from andes_engine.vllm.host_memory import HostMemory
from andes_engine.vllm.keep_kv import CONNECTOR, MODULE, KeepKv

SIZE = 32
BLOCKS = 12


def test_a_request_leaves_and_takes_back_what_the_prefix_cache_lacks() -> None:
    memory = HostMemory(4, SIZE)
    assert memory.keep("a", [7, 8, 9])
    assert (memory.tokens("a"), memory.free_blocks) == (96, 1)
    out = dict(memory.take_copies().out)
    assert out.keys() == {7, 8, 9}
    memory.take_back("a", [20, 21, 22, 23], 64)  # the prefix cache has block 20
    assert memory.tokens("a") == 0
    assert memory.take_copies().back == ((21, out[8]), (22, out[9]))
    assert (memory.used_blocks, memory.copied_blocks) == (0, 5)


def test_who_does_not_fit_is_not_kept_at_all() -> None:
    memory = HostMemory(2, SIZE)
    assert not memory.keep("a", [1, 2, 3])
    assert memory.tokens("a") == memory.used_blocks == 0
    assert memory.take_copies() == ((), ())


def test_room_that_is_copied_back_is_not_given_away_in_the_same_step() -> None:
    memory = HostMemory(1, SIZE)
    memory.keep("a", [1])
    memory.take_copies()
    memory.take_back("a", [2], SIZE)
    assert not memory.keep("b", [3])
    memory.take_copies()
    assert memory.keep("b", [3])


def test_the_copy_of_a_request_that_left_is_not_made() -> None:
    memory = HostMemory(1, SIZE)
    memory.keep("a", [1])
    memory.forget("a")
    memory.keep("b", [2])
    assert [block for block, _ in memory.take_copies().out] == [2]
    memory.clear()
    assert memory.free_blocks == 1 and memory.tokens("b") == 0


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 5), st.sampled_from("kbfs")), max_size=60))
def test_no_block_is_ever_lost_or_held_twice(steps: list[tuple[str, int, str]]) -> None:
    memory, held, leaving = HostMemory(8, SIZE), dict.fromkeys("abcd", 0), 0
    for name, blocks, what in steps:
        if what == "k":
            fits = blocks <= memory.free_blocks + held[name]
            assert memory.keep(name, range(100, 100 + blocks)) == fits
            held[name] = blocks if fits else 0
        elif what == "b":
            memory.take_back(name, range(200, 210), SIZE * min(blocks, held[name]))
            leaving, held[name] = leaving + held[name], 0
        elif what == "f":
            memory.forget(name)
            held[name] = 0
        else:
            copies = memory.take_copies()
            for pairs in copies:
                assert len({host for _, host in pairs}) == len(pairs)
            leaving = 0
        assert memory.used_blocks == sum(held.values()) + leaving <= memory.blocks
        assert all(memory.tokens(one) == SIZE * count for one, count in held.items())


def test_settings_say_what_is_wrong() -> None:
    for wrong in ({}, {"host_gib": 1.0, "host_blocks": 3}):
        with pytest.raises(AndesError, match="one of the two"):
            KeepKv.from_extra(wrong)
    with pytest.raises(AndesError, match=r"host_gib = 0\.0 must be a number of GiB above 0"):
        KeepKv(host_gib=0.0)
    with pytest.raises(AndesError, match=r"host_blocks = 2\.5 must be a whole number"):
        KeepKv(host_blocks=2.5)  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="Did you mean 'host_gib'"):
        KeepKv.from_extra({"host_gb": 1.0})
    with pytest.raises(CapacityError, match=r"holds no KV block of 2147483648 bytes; give at least 2"):
        KeepKv(host_gib=1.0).blocks(2 << 30)


def test_settings_become_what_vllm_takes() -> None:
    made = KeepKv(host_gib=1.0).transfer_config()
    assert (made["kv_connector"], made["kv_connector_module_path"]) == (CONNECTOR, MODULE)
    assert KeepKv.from_extra(made["kv_connector_extra_config"]).blocks(1 << 20) == 1024


LAYOUTS = {
    "blocks first": lambda: torch.rand(BLOCKS, 2, 4, 6),
    "tokens before heads": lambda: torch.rand(BLOCKS, 4, 2, 6).transpose(1, 2),
    "keys and values first": lambda: torch.rand(2, BLOCKS, 4, 6),
    "keys and values apart, in each block": lambda: torch.rand(BLOCKS, 4, 2, 6).transpose(1, 2)[:, :, :3],
    "layers inside blocks": lambda: torch.rand(BLOCKS, 3, 2, 4, 6)[:, 1],
    "one head": lambda: torch.rand(2, BLOCKS, 4, 1, 6).transpose(2, 3),
}
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"))]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_blocks_go_out_and_come_back_elsewhere(layout: str, device: str) -> None:
    made = LAYOUTS[layout]()
    cache = torch.empty_strided(made.shape, made.stride(), device=device).copy_(made)  # as it lies in memory
    other = torch.rand(BLOCKS, 5, device=device)
    by_block = cache if cache.shape[0] == BLOCKS else cache.movedim(1, 0)
    before, other_before = by_block.clone(), other.clone()
    copier = BlockCopier({"layer": cache, "shares it": cache, "other": other}, BLOCKS, host_blocks=3)
    assert copier.bytes_per_block == 4 * (before[0].numel() + 5)
    assert copier.measure_s() > 0.0
    assert torch.equal(by_block, before) and torch.equal(other, other_before)
    copier.out([(1, 2), (4, 0)])
    cache.zero_()
    other.zero_()
    copier.back([(7, 2), (8, 0)])
    for mine, was in ((by_block, before), (other, other_before)):
        assert torch.equal(mine[7], was[1]) and torch.equal(mine[8], was[4])
        assert mine.count_nonzero() == 2 * was[0].numel()


def test_a_cache_without_blocks_is_refused() -> None:
    with pytest.raises(CapacityError, match=r"KV cache of layer \(\(5, 7\)\) is not laid out in its 12 blocks"):
        BlockCopier({"layer": torch.zeros(5, 7)}, BLOCKS, 1)

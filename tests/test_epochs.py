"""Epochs that advance by themselves: other patches in each, the same ones in every run and with every worker."""

from __future__ import annotations

import importlib.util
import sys
import types
import warnings

import numpy as np
import pytest
from training_inputs import make_run

from hilum.errors import InputError
from hilum.train.dataset import PatchDataset
from hilum.train.epochs import EpochSampler


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("epochs") / "run")


def test_each_loop_is_an_epoch_with_every_index_once():
    sampler = EpochSampler(20, seed=3)
    first, second = list(sampler), list(sampler)
    assert [epoch for epoch, _ in first] == [0] * 20
    assert [epoch for epoch, _ in second] == [1] * 20
    for order in (first, second):
        assert sorted(index for _, index in order) == list(range(20))
    assert [index for _, index in first] != [index for _, index in second]
    assert list(EpochSampler(20, seed=3)) == first
    assert list(EpochSampler(20, seed=4)) != first
    plain = EpochSampler(4, seed=3, shuffle=False)
    assert list(plain) == [(0, 0), (0, 1), (0, 2), (0, 3)]
    assert list(plain) == [(1, 0), (1, 1), (1, 2), (1, 3)]


@pytest.mark.parametrize(("length", "ranks"), [(12, 3), (10, 4), (1, 3), (7, 7)])
def test_ranks_share_an_epoch(length, ranks):
    samplers = [EpochSampler(length, seed=1, rank=rank, ranks=ranks) for rank in range(ranks)]
    parts = [[index for _, index in sampler] for sampler in samplers]
    assert {len(part) for part in parts} == {len(samplers[0])} == {-(-length // ranks)}
    assert set().union(*parts) == set(range(length))
    for rank in (-1, ranks):
        with pytest.raises(InputError, match="out of range"):
            EpochSampler(length, seed=1, rank=rank, ranks=ranks)


def test_an_index_with_its_epoch_is_the_item_of_that_epoch(run):
    data = PatchDataset(run, size=12, length=6, jitter_mm=2.0)
    with_epoch = [data[2, k] for k in range(6)]
    data.set_epoch(2)
    for k, item in enumerate(with_epoch):
        assert np.array_equal(data[k]["image"], item["image"])
        assert np.array_equal(data[2, k]["start"], item["start"])
    assert any(not np.array_equal(data[0, k]["start"], item["start"]) for k, item in enumerate(with_epoch))
    with pytest.raises(IndexError):
        data[0, 6]


def test_a_worker_warns_once_that_every_epoch_will_be_the_same(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.data", types.SimpleNamespace(get_worker_info=lambda: 1))
    data = PatchDataset(run, size=12)
    data[0, 0]  # has its epoch
    with pytest.warns(UserWarning, match=r"sampler=data\.sampler\(\)"):
        data[0]
    chosen = PatchDataset(run, size=12)
    chosen.set_epoch(0)
    monkeypatch.setitem(sys.modules, "torch.utils.data", types.SimpleNamespace(get_worker_info=lambda: None))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data[0]
        chosen[0]
        PatchDataset(run, size=12)[0]


def epochs_of(data, **options):
    from torch.utils.data import DataLoader

    loader = DataLoader(data, batch_size=3, sampler=data.sampler(), **options)
    return [np.concatenate([batch["start"].numpy() for batch in loader]) for _ in range(3)]


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("persistent", [False, True])
def test_two_epochs_differ_and_two_runs_agree(run, start, persistent):
    data = PatchDataset(run, size=12, length=9, jitter_mm=2.0, seed=5)
    expected = epochs_of(data)
    for one, other in ((0, 1), (1, 2)):
        assert not np.array_equal(np.sort(expected[one], axis=0), np.sort(expected[other], axis=0))
    for workers in (1, 2):
        got = epochs_of(data, num_workers=workers, persistent_workers=persistent, multiprocessing_context=start)
        assert all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True))

"""What of the benchmark needs neither transformers nor peft."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from arg_utils.data.proteins import Record
from arg_utils.esm2 import fastest, weights
from benchmarks import contenders, esm_cpp, hugging_face, measure, memory, report, scenarios, speed


def records(lengths) -> list[Record]:
    return [Record(str(i), str(i), "M" * n, 0) for i, n in enumerate(lengths)]


def test_operations_of_one_block_counted_by_hand():
    # width 2, one sequence of 3 tokens; a product of [n, k] and [k, m] takes 2 n k m operations.
    projections = 4 * (2 * 3 * 2 * 2)
    feed_forward = 2 * 3 * 2 * 8 + 2 * 3 * 8 * 2
    scores, mixing = 2 * 3 * 2 * 3, 2 * 3 * 3 * 2
    by_hand = projections + feed_forward + scores + mixing
    assert measure.forward_flops([3], layers=1, width=2) == by_hand
    assert measure.forward_flops([3, 3], layers=6, width=2) == 12 * by_hand
    back = 3 * (24 * 4 - 6 * 4) + 5 * 2 * 9 * 2  # layers but q, k, v of the first block; attention
    assert measure.training_flops([3], layers=1, width=2) == by_hand + back


def test_names_go_to_hugging_face_and_back():
    fair = list(weights.parameter_shapes())
    there = [hugging_face.hugging_face_name(name) for name in fair]
    assert "esm.encoder.layer.5.attention.output.dense.bias" in there
    assert "esm.encoder.layer.0.LayerNorm.weight" in there
    assert len(set(there)) == len(fair)
    assert not set(there) & set(fair)
    assert [weights._fair_name(name) for name in there] == fair


def test_ratios_and_rates_are_medians_over_repeats():
    assert measure.ratio([1.0, 2.0, 4.0], [10.0, 40.0, 60.0]) == 15.0
    assert measure.ratio([1.0, 2.0, 4.0], [7.0]) == 7.0  # measured in the first repeat alone
    spent = {"a": [1.0, 1.0, 1.0], "b": [2.0]}
    assert measure.rates([100, 200, 300], spent) == {"a": 200.0, "b": 50.0}


def test_the_sample_has_the_lengths_of_the_data():
    few = measure.representative(records(range(1, 1001)), 100, seed=1)
    lengths = sorted(len(r.sequence) for r in few)
    assert len({r.id for r in few}) == 100
    assert all(10 * i < n <= 10 * (i + 1) for i, n in enumerate(lengths))
    assert few == measure.representative(records(range(1, 1001)), 100, seed=1)
    assert [len(r.sequence) for r in few] != lengths
    assert max(len(r.sequence) for r in measure.representative(records([2000] * 3), 3)) == 1022


def test_batches_hold_every_sequence_once():
    lengths = [5, 900, 30, 30, 7, 400, 12, 8, 1, 60]
    for batches in (contenders.file_order, contenders.by_length):
        assert sorted(np.concatenate(list(batches(lengths))).tolist()) == list(range(10))
    assert next(contenders.by_length(lengths))[0] == 1
    assert next(contenders.file_order(lengths)).tolist() == [0, 1, 2, 3]


@pytest.fixture(scope="module")
def some_proteins() -> list[Record]:
    sequence = "MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQAPILSRVGDGTQDNLSGAEKAVQVKVKALPDAQ"
    return [Record(str(n), str(n), sequence[:n], n % 15) for n in (9, 40, 66, 21, 33)]


def test_contenders_compute_the_same_features(weights, some_proteins):
    made = [contenders.features_contender(n, weights) for n in ("naive", "ours_float32", "ours")]
    largest = scenarios.differences(made, some_proteins)
    assert largest["naive"] == 0
    assert largest["ours_float32"] < 1e-3
    wrong = contenders.Contender("wrong", "", "float32", made[0].batches,
                                 lambda s, labels: torch.ones(len(s), 320))  # fmt: skip
    with pytest.raises(RuntimeError, match="wrong differs"):
        scenarios.differences([made[0], wrong], some_proteins)


def test_esm_cpp_gets_every_parameter_and_what_else_it_insists_on(weights):
    there = esm_cpp.its_file(weights)
    assert len(there) == len(weights.state) + 6
    assert there[esm_cpp.FREQUENCIES].shape == (8,)
    query = there["esm.encoder.layer.5.attention.self.query.weight"]
    assert torch.equal(query, weights.state["layers.5.self_attn.q_proj.weight"])


def test_esm_cpp_computes_the_same_where_its_gelu_is_finite(weights, some_proteins):
    pytest.importorskip("esm_cpp")
    halved = {n: v / 2 if ".fc1." in n else v for n, v in weights.state.items()}
    tame = replace(weights, state=halved)
    out = [contenders.features_contender(n, tame).run(*scenarios.columns(some_proteins))
           for n in ("naive", "esm_cpp")]  # fmt: skip
    np.testing.assert_allclose(*out, atol=1e-4)


@pytest.mark.parametrize("name", ["naive", "ours", "ours_sdpa", "ours_top3"])
def test_training_steps_lower_the_loss(weights, some_proteins, name):
    contender = contenders.training_contender(name, weights)
    sequences, labels = scenarios.columns(some_proteins)
    first = contender.work(sequences, torch.from_numpy(labels))
    later = [contender.work(sequences, torch.from_numpy(labels)) for _ in range(5)][-1]
    assert later < first
    assert contender.run(sequences, labels) is None


def test_the_kernel_is_back_after_batches_side_by_side_without_it(some_proteins):
    """Each thread for itself would restore what another had taken away."""
    before, seen = fastest.kernel_for, []

    def work(sequences, labels):
        time.sleep(0.01)  # so that batches overlap
        seen.append(fastest.kernel_for(torch.device("cpu"), torch.float32))
        return torch.zeros(len(sequences), 320)

    one_each = lambda lengths: [np.array([i]) for i in range(len(lengths))]  # noqa: E731
    contender = contenders.Contender("ours_sdpa", "", "float32", one_each, work, side_by_side=True)
    contender.run(*scenarios.columns(some_proteins))
    assert seen == [None] * len(some_proteins)
    assert fastest.kernel_for is before


def test_timed_scaling_protocol_and_reports(weights, some_proteins, monkeypatch):
    monkeypatch.setattr(scenarios, "product_rate", lambda *_: 1e12)
    monkeypatch.setattr(scenarios, "ROW_TOKENS", 40)
    names = ("naive", "ours", "ours_sdpa")
    made = [contenders.features_contender(n, weights) for n in names]
    found = scenarios.timed(made, some_proteins, 2, lambda tokens: sum(tokens))
    assert {n: len(s) for n, s in found["seconds"].items()} == {"naive": 2, "ours": 2,
                                                               "ours_sdpa": 1}  # fmt: skip
    assert found["residues"] == [sum(len(r.sequence) for r in some_proteins)] * 2
    assert found["proteins"] == [len(some_proteins)] * 2
    tasks = {"features": found, "training": found}
    assert set(report.ratios(tasks)) == {"features_vs_naive", "lora_vs_naive"}
    share = report.product_fraction(found)
    assert share["gemm_fraction"] == pytest.approx(share["forward_gflops"] / 1000)

    scaled = scenarios.scaling(made, some_proteins, (1,), (8, 20))
    assert set(scaled["count"]["seconds"]) == {"naive", "ours"}
    assert len(scaled["length"]["microseconds_a_residue"]["ours"]) == 2
    panels = report.scaling_figure(scaled).axes
    assert [p.get_xlabel() for p in panels] == ["proteins", "residues per protein"]
    assert [p.get_ylabel() for p in panels] == ["seconds", "microseconds per residue"]

    course = scenarios.protocol(some_proteins, some_proteins[:2], weights)
    assert course["epochs"] == 45
    assert course["naive_seconds"] > course["naive_measured_seconds"] * 45
    assert "multiplied" in course["note"]


def test_a_child_reports_its_memory(capsys, monkeypatch):
    monkeypatch.setattr(scenarios, "remembered", lambda job, quick: None)
    assert speed.child("features:ours", quick=True) == 0
    found = json.loads(capsys.readouterr().out)
    assert 0 < found["import_rss_mb"] <= found["peak_rss_mb"] == memory.peak_rss_mb()

"""Core-hours and money follow from measured rates."""

import pytest

from benchmarks.documents import costs

SPEED = {"forms": {"avx2": {"residues_per_second": {"features": 7000.0}, "cores": 2}}}
GENOME = {"forms": {"amx": {"cores": 4, "genome": {"residues_per_second": 14000.0}}}}


@pytest.fixture(autouse=True)
def assumed(monkeypatch):
    monkeypatch.setattr(costs, "RESIDUES", 360)
    monkeypatch.setattr(costs, "PRICE", 0.1)


def cells(text):
    return [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")][2:]


def test_a_rate_of_cores_is_that_of_one_core_and_a_protein_is_its_residues():
    (row,) = cells(costs.costs_table(SPEED))
    hours = 1e6 * 360 / 3500 / 3600  # 28.6
    assert row[:3] == ["ESM-2 alone, avx2", "3,500", f"29 core-h, ${hours / 10:.2f}"]
    assert row[4] == "28,571 core-h, $2,857.14"


def test_what_a_whole_genome_took_comes_first_where_it_was_measured():
    first, second = cells(costs.costs_table(SPEED | {"predict": GENOME}))
    assert first[:2] == ["contigs to report, amx", "3,500"]
    assert first[2:] == second[2:]


def test_a_genome_not_measured_yet_gives_no_rate():
    predict = {"forms": {"amx": {"cores": 2}}}
    assert costs.costs_table(SPEED | {"predict": predict}) == costs.costs_table(SPEED)


def test_what_predicting_takes_has_a_row_for_each_part_measured():
    many = {"extrapolated_from_proteins": 8000, "extrapolated_seconds": 900.5, "peak_mb": 1200}
    many |= {"residues_per_second": 20000, "share_of_features_rate": 0.813}
    many |= {"measured_seconds": 85, "start_seconds": 5, "searches_seconds": 20}
    parts = {"cores": 2, "many": many, "ten": {"seconds": 9.5, "peak_mb": 900.4}}
    proof = {"together": 50, "compared": {"a": 4, "b": 50}, "differing": {"a": 0, "b": 1}}
    other = {"cores": 2, "ten": {"seconds": 12.0, "peak_mb": 800}}
    forms = {"amx": parts | {"independence": proof}, "avx2": other}
    text = costs.predict_table({"forms": forms})
    assert cells(text) == [
        ["amx", "10 proteins, starting included", "9.5", "900", "–"],
        ["amx", "10⁵ proteins, extrapolated from 8,000", "900.5", "1,200", "20,000"],
        ["avx2", "10 proteins, starting included", "12.0", "800", "–"],
    ]
    assert "amx, 2 cores: 10⁵ proteins go at 81% of the rate" in text
    assert "Of their time, 25% goes into searching" in text
    assert "avx2, 2 cores" not in text
    assert "Of 54 rows" in text
    assert "1 differ from those of one file of 50" in text

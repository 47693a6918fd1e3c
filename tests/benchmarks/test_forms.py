"""The benchmark of the kernel's forms: what it measures, and which rows it keeps."""

import os
import time

import pytest

from arg_utils.esm2.kernel import FORMS
from benchmarks import forms
from benchmarks.documents.costs import forms_table, load_table

FIELDS = ("cpu", "precision", "features_vs_naive", "features_vs_hf", "features_vs_torch_attention",
          "lora_vs_naive", "lora_vs_hf", "gemm_fraction", "lora_gemm_fraction")  # fmt: skip


def row(form: str, cpu: str, **changes: object) -> dict:
    """A row as `form_row` makes it."""
    numbers = {name: 2.0 for name in FIELDS if "_vs_" in name}
    return {
        "form": form, "cpu": cpu, "cpu_flags": ["avx2"], "precision": "float32",
        "date": "2026-01-01", "gemm_fraction": 0.6, "lora_gemm_fraction": 0.5,
        "kept_under_load": 0.7,
        "residues_per_second": {"features": 9000.0, "training": 3000.0},
        "limits": {"ARG_ATTENTION": form, "ATEN_CPU_CAPABILITY": form}, **numbers, **changes,
    }  # fmt: skip


def test_every_form_has_its_limits():
    assert set(forms.LIMITS) == set(FORMS)


def test_rows_of_other_processors_are_kept_and_those_of_this_one_replaced():
    first = forms.with_earlier({"avx2": row("avx2", "A")}, {})
    second = forms.with_earlier({"avx2": row("avx2", "B")}, first)
    third = forms.with_earlier({"avx2": row("avx2", "B", gemm_fraction=0.9)}, second)
    assert first["forms_earlier"] == []
    assert [r["cpu"] for r in second["forms_earlier"]] == ["A"]
    assert [r["cpu"] for r in third["forms_earlier"]] == ["A"]
    assert third["forms"]["avx2"]["gemm_fraction"] == 0.9


def test_a_form_measured_alone_leaves_the_others_of_this_processor():
    both = forms.with_earlier({"avx2": row("avx2", "A"), "amx": row("amx", "A")}, {})
    again = forms.with_earlier({"avx2": row("avx2", "A", gemm_fraction=0.9)}, both)
    assert list(again["forms"]) == ["amx", "avx2"]
    assert again["forms"]["avx2"]["gemm_fraction"] == 0.9
    assert again["forms_earlier"] == []


def test_tables_name_the_processor_and_its_limits_beside_each_ratio():
    speed = forms.with_earlier({"avx2": row("avx2", "B")}, {"forms": {"amx": row("amx", "A")}})
    lines = forms_table(speed).splitlines()
    assert len(lines) == 4
    assert "B (avx2), limited to the form's instructions, 2026-01-01" in lines[2]
    assert "A (avx2)" in lines[3]
    assert lines[2].count("2.0×") == 5
    assert "| 9,000 | 3,000 | 70% |" in load_table(speed)
    assert "avx2" in forms.text(speed["forms"])


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_the_other_program_runs_as_long_as_it_is_needed_only():
    with forms.another_program():
        time.sleep(0.3)
    ratio = forms.under_load(lambda: time.sleep(0.05), 1)
    assert 0.5 < ratio <= 1.1  # sleeping needs no core

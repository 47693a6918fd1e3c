import json
from dataclasses import replace

import numpy as np
import pytest
import workspaces

from arg_utils.errors import UserError
from arg_utils.experiments import workspace
from arg_utils.experiments.workspace import open_workspace, suitable_profile
from arg_utils.settings import load_profile


@pytest.fixture(scope="module", autouse=True)
def patch(tmp_path_factory, weights):
    with workspaces.settings(tmp_path_factory.mktemp("work")) as patch:
        yield patch


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def work(root, patch):
    return workspaces.workspace(root, patch)


@pytest.fixture(scope="module")
def unlabelled(root, patch):
    return workspaces.workspace(root, patch, with_key=False)


def test_the_parts_are_the_files(work):
    everything = replace(work, profile=load_profile("laptop"))
    for part, expected in workspaces.proteins().items():
        found = getattr(everything, part)
        assert found.sequences == [sequence for _, _, sequence in expected]
        assert found.labels.tolist() == [label for _, label, _ in expected]
        assert found.labels.dtype == np.int64


def test_a_profile_for_trying_out_caps_every_class(work):
    most = work.profile.max_records
    whole = np.bincount([label for _, label, _ in workspaces.proteins()["train"]], minlength=15)
    assert whole.max() > most
    assert np.bincount(work.train.labels, minlength=15).tolist() == np.minimum(whole, most).tolist()
    assert len(work.data.train) == whole.sum()


def test_final_scores_are_of_the_test_part_if_its_labels_are_known(work, unlabelled):
    assert work.scored_part == "test"
    assert work.scored is work.test
    assert unlabelled.test is None
    assert unlabelled.scored_part == "val"
    assert unlabelled.scored is unlabelled.val


def test_what_is_scored_is_no_reference(work, unlabelled):
    assert work.references.sequences == work.train.sequences + work.val.sequences
    assert len(work.references.labels) == len(work.references.sequences)
    assert unlabelled.references is unlabelled.train


def test_all_labelled_proteins_are_split(work, unlabelled):
    records, table = work.labelled
    assert len(records) == len(table) == sum(map(len, workspaces.proteins().values()))
    records, table = unlabelled.labelled
    assert len(records) == len(table) == len(unlabelled.data.train) + len(unlabelled.data.val)
    assert None not in {record.label for record in records}


def test_only_folds_that_exist_are_tested(work):
    assert work.tested_folds == [0]
    all_folds = replace(work, profile=load_profile("laptop"))
    assert all_folds.tested_folds == [0, 1, 2, 3, 4]
    records, table = all_folds.labelled
    all_folds.__dict__["labelled"] = records, table.assign(fold=table["fold"] % 2)
    assert all_folds.tested_folds == [0, 1]


def test_results_say_what_they_are_of(work, unlabelled, weights):
    lines = work.describe().splitlines()
    sizes = [len(entries) for entries in workspaces.proteins().values()]
    assert lines == [
        f"data:    labelled [{work.data.identity[:8]}]: {sizes[0]} train, {sizes[1]} val, "
        f"{sizes[2]} test proteins",
        f"weights: ESM-2 8M, {weights.name}",
        "profile: smoke, seed 0",
        "         (only 12 proteins per class are used)",
    ]
    assert f"{sizes[2]} test proteins" in unlabelled.describe()
    everything = replace(work, profile=replace(load_profile("laptop"), seed=3))
    assert everything.describe().splitlines()[-1] == "profile: laptop, seed 3"


def test_a_notebook_that_ends_a_cell_with_it_stays_small(work):
    assert len(repr(work)) < 2000
    assert repr(work.train) == f"Proteins({len(work.train.sequences)} sequences)"


def test_leaks_are_noted(work):
    leaking = replace(work, data=replace(work.data, val=work.data.train[:2]))
    assert "note:    2 of 2 validation proteins are also in train" in leaking.describe()


def test_opening_prints_the_description_and_takes_a_seed(work, root, patch, capsys):
    patch.setenv("ARG_DATA", str(root / "labelled"))
    patch.setenv("ARG_OUTPUT", str(root / "other"))
    found = open_workspace(seed=7)
    assert capsys.readouterr().out == found.describe() + "\n"
    assert found.profile == replace(work.profile, seed=7)
    assert found.folder == root / "other"
    assert found.data.identity == work.data.identity


@pytest.mark.parametrize(("quickly", "name"), [(True, "laptop"), (False, "short")])
def test_a_slow_machine_gets_a_short_profile_unless_one_is_named(monkeypatch, quickly, name):
    monkeypatch.setattr(workspace, "trains_quickly", lambda: quickly)
    monkeypatch.delenv("ARG_PROFILE")
    assert suitable_profile().name == name
    assert suitable_profile("full").name == "full"
    monkeypatch.setenv("ARG_PROFILE", "longer")
    assert suitable_profile().name == "longer"


def test_the_short_profile_says_what_it_leaves_out(work):
    said = replace(work, profile=load_profile("short")).describe()
    assert "32 proteins per class at most, not 128" in said
    assert "ARG_PROFILE=laptop" in said
    assert "at most, not" not in replace(work, profile=load_profile("laptop")).describe()


def test_what_cannot_be_had_is_named(patch, root):
    with pytest.MonkeyPatch.context() as inner:
        inner.setenv("ARG_PROFILE", "huge")
        with pytest.raises(UserError, match="no profile 'huge'"):
            open_workspace()
        inner.setenv("ARG_PROFILE", "smoke")
        inner.setenv("ARG_DATA", str(root / "absent"))
        with pytest.raises(UserError, match="absent is no folder"):
            open_workspace()


def test_json_is_kept_in_the_folder_of_results(work):
    work.save_json("scores.json", {"val_macro_f1": 0.5, "folds": [0, 1]})
    text = (work.folder / "scores.json").read_text()
    assert json.loads(text) == {"val_macro_f1": 0.5, "folds": [0, 1]}
    assert text.endswith("}\n")

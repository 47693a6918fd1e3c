import dataclasses

import pytest

from arg_utils import files, settings
from arg_utils.errors import UserError
from arg_utils.esm2.weights import LAYERS
from arg_utils.homology.splits import FOLDS
from arg_utils.settings import PROFILES, LoraBlocks, LoraClassifier, StagedTraining, load_profile


def test_the_defaults_are_the_courses_protocol():
    staged, lora = StagedTraining(), LoraClassifier()
    assert staged.learning_rates == (1e-3, 1e-4, 1e-5)
    assert (staged.epochs, staged.batch_size, staged.max_per_class) == (15, 4, None)
    assert (lora.r, lora.alpha, lora.dropout) == (8, 32, 0.1)
    for name in ("laptop", "longer", "full"):
        assert PROFILES[name].staged == staged
        assert PROFILES[name].max_records is None
    assert all(profile.lora_classifier == lora for profile in PROFILES.values())


@pytest.mark.parametrize("named", [None, "", "full"])
def test_the_environment_chooses_the_profile_unless_named(monkeypatch, named):
    if named is None:
        monkeypatch.delenv("ARG_PROFILE", raising=False)
    else:
        monkeypatch.setenv("ARG_PROFILE", named)
    assert load_profile().name == (named or "laptop")
    assert [load_profile(name).name for name in PROFILES] == [
        "smoke",
        "short",
        "laptop",
        "longer",
        "full",
    ]


def test_an_unknown_profile_is_refused_with_the_known_ones(monkeypatch):
    monkeypatch.setenv("ARG_PROFILE", "Laptop")
    with pytest.raises(
        UserError, match="no profile 'Laptop'; choose one of smoke, short, laptop, lo"
    ):
        load_profile()


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_every_profile_can_be_run(profile):
    blocks = profile.lora_blocks
    assert 1 <= blocks.top_blocks <= LAYERS
    assert set(blocks.modules) <= set(LoraBlocks().modules)
    assert set(blocks.folds) <= set(profile.homology_folds) <= set(range(FOLDS))
    assert profile.seed in profile.seeds
    assert list(profile.staged.learning_rates) == sorted(profile.staged.learning_rates)[::-1]


def test_longer_trains_blocks_longer_and_compares_on_the_same_proteins():
    laptop, longer = PROFILES["laptop"], PROFILES["longer"]
    for name in ("lora_blocks", "full_finetuning"):
        before, after = getattr(laptop, name), getattr(longer, name)
        assert after.epochs > before.epochs
        assert after.max_per_class > before.max_per_class
        assert after.folds == longer.homology_folds
        same = {"epochs": 0, "max_per_class": 0, "watch_per_class": 0}
        assert dataclasses.replace(before, **same) == dataclasses.replace(after, **same)


def test_settings_cannot_be_changed_by_accident():
    profile = load_profile("laptop")
    for owner, name in ((profile, "seed"), (profile.staged, "epochs"), (profile.lora_blocks, "r")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(owner, name, 1)
    assert hash(profile) == hash(load_profile("laptop"))


@pytest.mark.parametrize("named", [True, False])
def test_results_go_where_data_and_profile_or_the_environment_say(monkeypatch, tmp_path, named):
    monkeypatch.setenv("ARG_OUTPUT", str(tmp_path / "my run") if named else "")
    monkeypatch.setattr(files, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(files, "SUBMISSIONS", tmp_path / "submissions")
    output, submission = settings.output_dir("open", "laptop"), settings.submission_path()
    assert output == tmp_path / ("my run" if named else "runs/open-laptop")
    assert submission == tmp_path / ("my run" if named else "submissions") / "submission.csv"
    assert output.is_dir()
    assert submission.parent.is_dir()

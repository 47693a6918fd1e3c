"""Fixtures shared by all test modules."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def open_data() -> Path:
    """The folder of the open data set; built if need be, else found within milliseconds."""
    from arg_utils.data.open_data import ensure_open_data

    return ensure_open_data()


@pytest.fixture
def own_cache(tmp_path, monkeypatch) -> Path:
    """An empty cache for one test, so that nothing found there was left by another."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("ARG_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def weights():
    """The weights of ESM-2; the attention kernel is built and proven too.

    From then on a test with an empty cache neither fetches nor compiles in this process. And
    PyTorch keeps to one thread: the examples are so small that two only wait for each other.
    """
    import torch

    from arg_utils.esm2.fastest import BOUNDS, kernel_for
    from arg_utils.esm2.weights import load_weights

    torch.set_num_threads(1)
    for dtype in BOUNDS:
        kernel_for(torch.device("cpu"), dtype)
    return load_weights()


@pytest.fixture(scope="session")
def weights_file(weights, tmp_path_factory) -> Path:
    """The weights in a file, for other processes to find by ``ARG_ESM2_WEIGHTS``."""
    import torch

    path = tmp_path_factory.mktemp("weights") / "named.pt"
    torch.save(weights.state, path)
    return path


@pytest.fixture(scope="session")
def answers(tmp_path_factory) -> Path:
    """What MMseqs2 answered in any module, for all of them: their small data are the same."""
    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    (shared / "answers").mkdir(exist_ok=True)
    return shared / "answers"


@pytest.fixture(scope="module")
def module_cache(tmp_path_factory, answers):
    """A cache for all tests of a module, empty but for what MMseqs2 answered in any."""
    import workspaces

    folder = workspaces.share_answers(tmp_path_factory.mktemp("cache"), answers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARG_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def settings(tmp_path_factory, weights, answers):
    """Cache, results and derived data in folders of the module's own, for all its tests."""
    import workspaces

    with workspaces.settings(tmp_path_factory.mktemp("work"), answers) as patch:
        yield patch


@pytest.fixture(scope="module")
def work(tmp_path_factory, settings):
    """A small workspace whose test labels are known."""
    import workspaces

    return workspaces.workspace(tmp_path_factory.mktemp("data"), settings)


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory, settings):
    """The same without test labels, as the competition's data come."""
    import workspaces

    return workspaces.workspace(tmp_path_factory.mktemp("data"), settings, with_key=False)


@pytest.fixture(
    scope="session", params=["amx", "avx512_bf16", "avx512", "avx2", "neon", "portable"]
)
def kernel(request):
    """The kernel, in every form that this processor can run."""
    import kernels

    return kernels.built(request.param)


@pytest.fixture(scope="session", autouse=True)
def quick_searches():
    """MMseqs2 aligns all pairs of few proteins, and clusters in one step, not three.

    To look for candidates it first tabulates similar words, which takes a second whatever it is
    given. Tests look at hits that it would find, too; those of `mmseqs` itself let it look, and
    cluster in its three steps.
    """
    import searches

    from arg_utils.homology import mmseqs

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmseqs, "run_mmseqs", searches.run_quickly)
        yield

"""Two processes train what one trains, and one of them writes."""

import json
import os
import subprocess
import sys

import workspaces

from arg_utils.files import ROOT

FIT = ("-m", "arg_utils", "fit", "--profile", "smoke", "--method")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def test_two_processes_fit_what_one_fits(tmp_path, weights_file, monkeypatch):
    data = workspaces.write_folder(tmp_path / "data")
    monkeypatch.setenv("ARG_ESM2_WEIGHTS", str(weights_file))
    monkeypatch.setenv("ARG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ARG_ATTENTION", "torch")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    fit = [*FIT, "lora_blocks", "--data", data, "--out"]
    one, two = tmp_path / "one", tmp_path / "two"
    subprocess.run([sys.executable, *fit, one], check=True, timeout=240)
    subprocess.run([sys.executable, *TORCHRUN, *fit, two], check=True, timeout=240)
    alone, together = (json.loads((run / "metrics.json").read_text()) for run in (one, two))
    assert together["val_macro_f1"] == alone["val_macro_f1"]
    assert together["test_macro_f1"] == alone["test_macro_f1"]
    assert (two / "model.safetensors").read_bytes() == (one / "model.safetensors").read_bytes()

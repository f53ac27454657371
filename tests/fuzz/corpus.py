"""The inputs that are changed: models, archives and samples made here, and bad ones if they are there."""

import importlib.util
import io
import json
import multiprocessing
import os
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tests.fuzz import models_made
from tests.fuzz.models_made import Files
from tests.fuzz.zips import Member, written
from tests.shared import FOLDER

LARGEST = 1 << 15
"""Larger files are left out: what is small is read often."""

MAKER = FOLDER / "tools" / "badmodels.py"
BAD_MODELS = ("ok_", "t_", "n_", "g_", "x_", "e_")
BAD_ARCHIVES = ("s_",)
BAD_SAMPLES = ("c_",)


def models() -> list[Files]:
    """Make models that are sound."""
    return [files for _, files in models_made.models()]


def bad_files(prefixes: tuple[str, ...]) -> list[Files]:
    """Make hostile files in a folder for the time being, if the tool for them is there."""
    if not MAKER.exists():
        return []
    with tempfile.TemporaryDirectory() as folder:
        _in_child(_make_bad, folder, prefixes)
        found = []
        for prefix in prefixes:
            manifest = json.loads(Path(folder, prefix, "manifest.json").read_text())
            for case in manifest:
                files = _plain_files(Path(folder, prefix, case["id"]), case["entry"])
                if files:
                    found.append(files)
    return found


def _make_bad(folder: str, prefixes: tuple[str, ...]) -> None:
    spec = importlib.util.spec_from_file_location("badmodels", MAKER)
    assert spec is not None
    assert spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    sys.modules["badmodels"] = maker  # its classes are pickled by name
    spec.loader.exec_module(maker)
    for prefix in prefixes:
        maker.main([str(Path(folder, prefix)), "--only", prefix])


def _plain_files(folder: Path, entry: str) -> Files:
    """Read the files of a case, the one that is opened first; links and the like are left out."""
    files: Files = {}
    for path in sorted(folder.rglob("*"), key=lambda each: (each.name != entry, str(each))):
        if path.is_file() and not path.is_symlink() and path.stat().st_size <= LARGEST:
            files[str(path.relative_to(folder))] = path.read_bytes()
    return files if entry in files else {}


def _in_child(function: Callable[..., None], *arguments: object) -> None:
    """Run what loads large libraries, which no worker needs, in a process of its own."""
    child = multiprocessing.get_context("fork").Process(
        target=_quietly, args=(function, *arguments)
    )
    child.start()
    child.join()
    if child.exitcode:
        raise RuntimeError(f"{function.__name__} failed with code {child.exitcode}")


def _quietly(function: Callable[..., None], *arguments: object) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    function(*arguments)


def archives(real: bool) -> list[Files]:
    """Make archives as torch writes them; real ones, if wanted, by torch itself."""
    found = [{"model.pt": written(list(members))} for members in _scripts()]
    if real:
        with tempfile.TemporaryDirectory() as folder:
            _in_child(_by_torch, folder)
            found += [
                {path.name: path.read_bytes()} for path in sorted(Path(folder).iterdir())
            ]
    return found


def _scripts() -> Iterator[list[Member]]:
    """Write by hand what a small script, an exported program and a checkpoint consist of."""
    storage = b"((X\x07\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0000X\3\0\0\0cpuK\x06tQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n" + storage
    tensor += b"K\0K\2K\3\x86K\3K\1\x86\x89ccollections\nOrderedDict\n)RtR"
    module = b"c__torch__.Module\nq\0)\x81}(X\1\0\0\0w" + tensor + b"X\2\0\0\0noNub"
    pickle, empty = b"\x80\2" + module + b".", b"\x80\2)."
    values = np.arange(6, dtype="<f4").tobytes()
    script = {"data.pkl": pickle, "constants.pkl": empty, "code/__torch__.py": b"#"}
    script |= {"data/0": values, "version": b"3\n", "byteorder": b"little"}
    yield [Member(f"model/{name}", data) for name, data in script.items()]
    yield [Member(f"model/{n}", script[n], 8) for n in ("data.pkl", "data/0", "version")]
    one = {"as_int": 1}
    sizes = [{"as_int": 2}, {"as_int": 3}]
    meta = {"dtype": 7, "sizes": sizes, "strides": [{"as_int": 3}, one]}
    meta |= {"storage_offset": {"as_int": 0}, "requires_grad": True, "layout": 7}
    entry = {
        "path_name": "weight_0",
        "is_param": True,
        "use_pickle": False,
        "tensor_meta": meta,
    }
    table = json.dumps({"config": {"w": entry, "v": {**entry, "use_pickle": True}}}).encode()
    program = {"archive_format": b"pt2", "data/weights/model_weights_config.json": table}
    program |= {"data/weights/weight_0": values, "byteorder": b"little"}
    yield [Member(f"model/{name}", data) for name, data in program.items()]


def _by_torch(folder: str) -> None:
    import torch

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Linear(4, 3)
            self.tied = torch.nn.Linear(4, 3)
            self.tied.weight = self.first.weight
            self.register_buffer("small", torch.ones(3).half())
            self.number = 4

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.first(x) + self.tied(x) * self.number

    torch.jit.save(torch.jit.script(Net()), Path(folder, "script.pt"))
    torch.jit.save(torch.jit.freeze(torch.jit.script(Net().eval())), Path(folder, "frozen.pt"))
    torch.save(Net().state_dict(), Path(folder, "checkpoint.pt"))
    torch.export.save(
        torch.export.export(Net(), (torch.zeros(1, 4),)), Path(folder, "net.pt2")
    )


def samples() -> list[Files]:
    """Make sets of samples: archives, single arrays, and the test data that models come with."""
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    labels = np.array([0, 2, 1])
    kinds = [x, x.astype(">f4"), np.asfortranarray(x), x.astype(np.float16), x[:0], x > 3]
    kinds += [x.astype("U3"), np.float32(4), x.astype([("a", "<f4")]), x.astype(np.int64)]
    found: list[Files] = [{"set.npy": _npy(array)} for array in kinds]
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        for array in kinds:
            members = {"x.npy": _npy(array), "labels.npy": _npy(labels)}
            made = written([Member(name, data, method) for name, data in members.items()])
            found.append({"set.npz": made})
    real = io.BytesIO()
    np.savez_compressed(real, x=x, labels=labels, scale=np.float32(2))
    found.append({"set.npz": real.getvalue()})
    found += [_feed(array) for array in (x, x[:1], x.astype(np.int64), x.astype(np.float16))]
    return found


def _npy(array: object) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asanyarray(array))
    return stream.getvalue()


def _feed(array: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]") -> Files:
    from onnx import numpy_helper

    tensor = numpy_helper.from_array(array, "x").SerializeToString()
    return {"test_data_set_0/input_0.pb": tensor, "test_data_set_0/output_0.pb": tensor}

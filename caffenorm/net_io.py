"""What a Net does with weights files: load, save, share."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

from caffenorm import schema, weights
from caffenorm.errors import CaffenormWarning, ConfigError, ShapeError, WeightsError, Where

if TYPE_CHECKING:
    from caffenorm.blob import Blob
    from caffenorm.net import Net
    from caffenorm.net_build import BuiltNet
    from caffenorm.plan import LayerStep

Pathish = str | os.PathLike[str]


class NetFiles:
    """The part of Net that knows files."""

    net_param: schema.NetParameter
    file: str
    params: Any  # OrderedDict[str, list[Blob]], declared by Net
    _built: BuiltNet
    _steps: list[LayerStep]

    def copy_from(
        self, source: Pathish | weights.ModelWeights, *, allow_nan: bool = False
    ) -> weights.LoadReport:
        """Load weights, matched by layer name.

        Args:
            source: path of a .caffemodel (V0, V1, V2), .caffemodel.h5, .npz or .safetensors, which its
                content tells, or weights that were read already.
            allow_nan: accept NaN and infinity in BatchNorm statistics.

        Returns:
            What was loaded, what the file lacks (missing), what the net lacks (unused), and notes on
            dialects.

        Raises:
            WeightsError: the file does not read, or a shape does not fit; all such layers are listed.
            Nothing is changed then.

        Caffe: layers match by name, those on one side only are passed over; old 4-D shapes fit 1-D and 2-D
            parameters.
        """
        model = source if isinstance(source, weights.ModelWeights) else weights.read_weights(source)
        targets = {step.layer.name: step.layer.blobs for step in self._steps}
        try:
            report, arrays = weights.match(
                model, targets, followers=self._scale_followers(), allow_nan=allow_nan
            )
        except WeightsError as error:
            if error.where is None:
                error.where = Where(model.file)
            raise
        for name, index, array in arrays:
            blob = targets[name][index]
            blob.write()[...] = array.reshape(blob.shape)
        for note in report.doubts:
            warnings.warn(f"{model.file}: {note}", CaffenormWarning, stacklevel=2)
        if not report.loaded and any(targets.values()):
            warnings.warn(
                f"{model.file}: no layer of this file has the name of a layer of {self.file}, "
                "so nothing was loaded",
                CaffenormWarning,
                stacklevel=2,
            )
        return report

    def _scale_followers(self) -> dict[str, str]:
        """BatchNorm layer name -> name of the Scale layer that alone reads its top."""
        followers = {}
        for before, after in zip(self._steps, self._steps[1:], strict=False):
            if (
                before.layer.type == "BatchNorm"
                and after.layer.type == "Scale"
                and after.bottom == before.top
            ):
                followers[before.layer.name] = after.layer.name
        return followers

    def _owned(self) -> dict[str, list[bool]]:
        """For each layer, which of its parameters are its own, and not another layer's shared by name."""
        return {step.layer.name: own for step, own in zip(self._steps, self._built.owners, strict=True)}

    def share_with(self, other: Net) -> None:
        """Use the parameters of `other` wherever layers have the same name.

        A change on one side then shows on the other.

        Raises:
            ShapeError: layers of the same name have other numbers or shapes of parameters; nothing is
            changed then.
        """
        pairs: list[tuple[Blob, Blob]] = []
        for name, blobs in self.params.items():
            theirs = other.params.get(name)
            if theirs is None:
                continue
            if [b.shape for b in theirs] != [b.shape for b in blobs]:
                ours, found = [list(b.shape) for b in blobs], [list(b.shape) for b in theirs]
                raise ShapeError(
                    f'layer "{name}" has parameters {ours} here and {found} there', Where(self.file)
                )
            pairs += zip(blobs, theirs, strict=True)
        for mine, theirs_blob in pairs:
            if mine.dtype != theirs_blob.dtype:
                raise ConfigError(f"nets of {mine.dtype} and {theirs_blob.dtype} cannot share parameters")
            mine.share_data(theirs_blob)

    def to_proto(self) -> schema.NetParameter:
        """The net as a message without values: upgraded, filtered, with Split layers and phases.

        Caffe: `force_backward` and the state are not part of it.
        """
        message = schema.NetParameter()
        message.name = self.net_param.name
        message.layer.extend(self.net_param.layer)
        return message

    def save(self, path: Pathish, *, diffs: bool = False) -> None:
        """Write a .caffemodel that Caffe reads; the file appears whole or not at all.

        Args:
            path: of the file; one that ends in .npz or .safetensors gets the parameters alone, under the
                plain names that `copy_from` knows (conv1.weight, conv1.bias, bn1.mean_sum ...).
            diffs: write gradients too; a .caffemodel alone has room for them.

        Raises:
            ConfigError: the file cannot be written.

        Caffe: a parameter shared by name is written with every layer that uses it.
        """
        suffix = os.path.splitext(os.fspath(path))[1].lower()
        if suffix in (".npz", ".safetensors"):
            if diffs:
                raise ConfigError(f"{suffix} files hold no gradients; save a .caffemodel")
            write = weights.write_npz if suffix == ".npz" else weights.write_safetensors
            write(path, self.named_parameters())
            return
        data = {step.layer.name: [b.read() for b in step.layer.blobs] for step in self._steps}
        grads = {step.layer.name: [b.read_diff() for b in step.layer.blobs] for step in self._steps}
        weights.write_caffemodel(path, self.to_proto(), data, grads if diffs else None)

    def named_parameters(self) -> dict[str, Any]:  # Any: floats
        """The parameters of all layers, as they are stored, under plain names such as conv1.weight."""
        layers = [step.layer for step in self._steps]
        return weights.named_arrays(
            weights.LayerWeights(
                layer.name,
                layer.type,
                [blob.read() for blob in layer.blobs],
                legacy=[False] * len(layer.blobs),
                indices=list(range(len(layer.blobs))),
            )
            for layer in layers
        )

    def save_hdf5(self, path: Pathish, *, diffs: bool = False) -> None:
        """Write a .caffemodel.h5 that Caffe reads (extra `data`); the file appears whole or not at all.

        Caffe: a parameter shared by name is written once, with the layer that owns it.
        """
        data = {step.layer.name: [b.read() for b in step.layer.blobs] for step in self._steps}
        grads = {step.layer.name: [b.read_diff() for b in step.layer.blobs] for step in self._steps}
        weights.write_hdf5(path, data, self._owned(), grads if diffs else None)

    def load_hdf5(self, path: Pathish) -> weights.LoadReport:
        """Load a .caffemodel.h5; see `copy_from`."""
        return self.copy_from(weights.read_hdf5(path))

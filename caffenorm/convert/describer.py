"""Describer: goes through a net and has the rules say what becomes of its layers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from caffenorm import schema
from caffenorm.blob import Blob
from caffenorm.convert.apply_options import begin, finish
from caffenorm.convert.chain import Chain, Rule, converted_types, longest_chain, refused_types, rule_for
from caffenorm.convert.options import PLAIN, ConvertOptions
from caffenorm.convert.parts import Param, Program
from caffenorm.convert.text import OF_MODULE, RESERVED, Names, number
from caffenorm.errors import ConversionError, Where
from caffenorm.graph import near
from caffenorm.net import Net
from caffenorm.net_build import AUTOMATIC_TOP
from caffenorm.plan import LayerStep


class Describer:
    """Turns a net into a Program.

    Args:
        net: stays as it is. options: of the conversion.

    Attributes:
        names: of the blobs, by their identity; automatic tops of losses have one here too.
        homes: memory of a Caffe parameter -> the full name and value of the one that PyTorch has.
    """

    def __init__(self, net: Net, options: ConvertOptions = PLAIN) -> None:
        self.net = net
        self.options = options
        training = net.phase == schema.TRAIN
        self.program = Program(net.name, list(net.inputs), list(net.outputs), training, options)
        self.module_names = Names(OF_MODULE, "layer")
        self.blob_names = Names(RESERVED, "blob")
        self.homes: dict[int, tuple[str, Param]] = {}
        self.names = {id(blob): name for name, blob in net.blobs.items() if name != AUTOMATIC_TOP}
        self._variables = self.program.variables
        self._name_automatic_tops()

    def _name_automatic_tops(self) -> None:
        """Losses without a top have one all the same; it is an output, and called like its layer."""
        for step in self.net.steps:
            for blob in step.top:
                if id(blob) not in self.names:
                    name = step.layer.name
                    self.names[id(blob)] = f"{name} (loss)" if name in self.names.values() else name
                    self.program.outputs.append(self.names[id(blob)])

    def variable(self, blob: Blob) -> str:
        """The variable that holds a blob."""
        return self._variables[self.names[id(blob)]]

    def assign(self, blob: Blob) -> str:
        """The variable to hold a blob from now on."""
        name = self.names[id(blob)]
        self._variables[name] = self.blob_names.of(name)
        return self._variables[name]

    def alias(self, blob: Blob, original: Blob) -> None:
        """A blob that is another one under a new name (Split)."""
        self._variables[self.names[id(blob)]] = self.variable(original)

    def run(self) -> Program:
        """Describe the whole net.

        Raises:
            ConversionError: lists every layer that no rule covers, with its line and the reason.
        """
        for name in self.net.inputs:
            self.assign(self.net.blobs[name])
        self.program.arguments = [self._variables[name] for name in self.net.inputs]
        begin(self)
        for name in self.names.values():
            self._variables.setdefault(name, self.blob_names.of(name))
        faults: list[ConversionError] = []
        steps = self.net.steps
        index = 0
        while index < len(steps):
            covered, function = self._match(steps, index)
            chain = Chain(self, steps[index : index + covered])
            try:
                if function is None:
                    raise chain.fail(self._why_not(chain.layer.type))
                function(chain)
            except ConversionError as error:
                faults.append(error)
            self._note_folded(chain)
            self._note_weights(chain)
            index += covered
            self._overwrite(chain, steps[index:])
        if len(faults) == 1:
            raise faults[0]
        if faults:
            rows = "\n".join(f"  {fault}" for fault in faults)
            raise ConversionError(
                f"{len(faults)} layers cannot be converted:\n{rows}", Where(file=self.net.file)
            )
        finish(self)
        return self.program

    def _match(self, steps: Sequence[LayerStep], index: int) -> tuple[int, Rule | None]:
        """The longest chain of types with a rule that begins here."""
        for length in range(longest_chain(), 0, -1):
            part = steps[index : index + length]
            if not all(_is_row(before, after) for before, after in pairwise(part)):
                continue
            function = rule_for(part, self.net, self.options)
            if function is not None:
                return len(part), function
        return 1, None

    @staticmethod
    def _why_not(kind: str) -> str:
        refused = refused_types()
        if kind in refused:
            return f"cannot be converted: {refused[kind]}"
        return f"there is no conversion rule for this type{near(kind, converted_types())}"

    def _note_folded(self, chain: Chain) -> None:
        """Blobs within a chain do not exist, unless the chain writes in place over them."""
        final = {id(blob) for blob in chain.top}
        for step in chain.steps[:-1]:
            for blob in step.top:
                if id(blob) not in final:
                    joined = " and ".join(s.layer.type for s in chain.steps)
                    self._drop(blob, f"{joined} are one module")

    def _note_weights(self, chain: Chain) -> None:
        """PyTorch's losses come out as they are."""
        for blob, weight in zip(chain.top, chain.steps[-1].loss_weights, strict=False):
            if weight not in (0, 1):
                name = self.names[id(blob)]
                chain.note(f'multiply "{name}" by its loss_weight {number(weight)} when you add up the loss')

    def _overwrite(self, chain: Chain, later: Sequence[LayerStep]) -> None:
        """What shares its memory with a blob that was worked over in place has changed as well."""
        for step in chain.steps:
            for blob in step.top:
                if blob not in step.bottom:
                    continue
                for other in self._sharing(blob):
                    self._follow(other, blob, any(other in reader.bottom for reader in later))

    def _sharing(self, blob: Blob) -> list[Blob]:
        made = self.net.blobs.values()
        return [other for other in made if other is not blob and other.data_memory is blob.data_memory]

    def _follow(self, other: Blob, blob: Blob, is_read: bool) -> None:
        name = self.names[id(other)]
        if other.shape == blob.shape:
            self._variables[name] = self.variable(blob)
        elif is_read or name in self.program.outputs:
            shape = ", ".join(["-1", *map(str, other.shape[1:])])
            value = self.variable(blob)
            self.program.lines.append(f"{self.assign(other)} = {value}.reshape({shape})")
        else:
            self._drop(
                other, f'it shares memory with "{self.names[id(blob)]}", which is worked over in place'
            )

    def _drop(self, blob: Blob, why: str) -> None:
        name = self.names[id(blob)]
        self.program.folded[name] = why


def _is_row(before: LayerStep, after: LayerStep) -> bool:
    return (
        len(after.bottom) == 1
        and len(before.top) == 1
        and after.bottom[0] is before.top[0]
        and not any(before.loss_weights)
    )

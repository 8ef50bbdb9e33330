"""The recorder: hears a model while it trains and writes what it measures, without changing the training."""

import atexit
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from diag.board import Board
from diag.board_histograms import histogram_values, without_densities
from diag.capture import Capture, open_capture
from diag.columns import non_finite
from diag.events import Event, Happening, Histogram, Model, Reading, Readings
from diag.guard import Guard, warn
from diag.histograms import Histograms
from diag.log import LogWriter, describe_run, rank_and_world_size, write_run
from diag.measure import Measure, recordable
from diag.on_probe_batch import Curvature, Look, Noise, Regularly, Representation
from diag.plan import Taken, as_they_are
from diag.steps import Ended, EndedSteps
from diag.watched import Watched
from probes import histogram_bins, histogram_edges


class Recorder:
    """Records a training run into a folder: an HDF5 log, TensorBoard events, and ``run.json``.

    Attach it once, train as before. The constructor, `watch`, `curvature`, `representation` and `noise` raise on
    bad arguments; from then on a fault inside diag, or a full disk, is told once as a `DiagWarning` and in the log, and
    training goes on. Recording never changes what is computed.

    Args:
        folder: Where the run is written; created if it is not there.
        config: The run's configuration, for ``run.json`` and for TensorBoard's table of hyperparameters.
        every: Step s is recorded if s % every == 0; steps count from 0.
        histograms_every: A recorded step s also gets histograms of activations, gradients and weights, by powers of
            two, if s % histograms_every == 0. None are made where it is left out: they cost more than all the
            rest together.
        probes: Probes of your own, each made by `probes.probe` to eat one array, recorded beside the rest.
        omit: Names of standard readings to leave out.
        rank: This process's rank where several train together; each writes its own file, and only rank 0 writes
            ``run.json`` and warns. If None, as ``torch.distributed`` says, or else ``RANK`` in the environment.

    Raises:
        FileExistsError: If the folder holds a log already.
        ValueError: If ``every`` is below 1, or a probe is not of the kind that can be recorded.
        TypeError: If ``omit`` is a text instead of a collection of them.

    Example:
        >>> import tempfile, diag, scratchnet as sn
        >>> model = sn.nn.Sequential(sn.nn.Linear(2, 8, rng=0), sn.nn.ReLU(), sn.nn.Linear(8, 2, rng=1))
        >>> optimizer = sn.optim.SGD(model.parameters(), lr=0.1)
        >>> criterion = sn.nn.CrossEntropyLoss()
        >>> folder = tempfile.mkdtemp()
        >>> with diag.Recorder(folder, every=1) as recorder:
        ...     recorder.watch(model, optimizer, criterion=criterion)
        ...     for step in range(3):
        ...         loss = criterion(model(np.ones((4, 2))), np.array([0, 1, 0, 1]))
        ...         optimizer.zero_grad()
        ...         loss.backward()
        ...         optimizer.step()
        >>> diag.Log(folder).series("dead_unit_rate").columns
        ('0', '1', '2')
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        config: Mapping[str, Any] | None = None,
        every: int = 10,
        histograms_every: int | None = None,
        probes: Sequence[Callable[..., Any]] = (),
        omit: Collection[str] = (),
        rank: int | None = None,
    ) -> None:
        for label, number in (("every", every), ("histograms_every", histograms_every)):
            if number is not None and number < 1:
                raise ValueError(f"Recorder needs {label} >= 1, got {number}")
        if isinstance(omit, str):
            raise TypeError(
                f"Recorder needs a collection of names to omit, got the text {omit!r}; pass [{omit!r}]"
            )
        self.folder = Path(folder)
        self._every = every
        self._histograms_every, self._histograms = histograms_every, Histograms()
        self._own = [recordable(function) for function in probes]
        self._omit = omit
        self._watched: list[Watched] = []
        self._looks: list[Regularly] = []
        self._readings: list[Reading] = []
        self._ended = EndedSteps()
        self._unwritten: list[Ended] = []
        self._step = 0
        self._start = time.perf_counter()
        own_rank, self._world_size = rank_and_world_size()
        rank = own_rank if rank is None else rank
        self._warn = warn if rank == 0 else _keep_silent
        self._guard = Guard(self._tell_failure, self._warn)
        self._told_non_finite: set[tuple[str, str]] = set()
        self._is_open = True
        self._log = LogWriter(self.folder, describe=self._describe, rank=rank, bins=histogram_bins())
        run = write_run(self.folder, config or {}) if rank == 0 else describe_run(config or {})
        # The run's own account of the configuration, in which secrets are masked.
        board_folder = self.folder if rank == 0 else self.folder / f"rank{rank}"
        self._board = Board(board_folder, config=run["config"])
        atexit.register(self.close, "interpreter exit")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close("finished" if kind is None else f"{kind.__name__}: {error}")

    # ----------------------------------------------------------------------------- setting up

    def watch(self, model: Any, optimizer: Any, *, criterion: Any = None, name: str = "") -> None:
        """Listens to a model and its optimiser from the step in progress on.

        Args:
            model: A scratchnet or a PyTorch module.
            optimizer: Moves the model's parameters. Each step of the first watched optimiser ends a step.
            criterion: The loss module, if its loss, predictions and targets are to be recorded too.
            name: Tells several pairs apart; goes before the names of layers and readings.

        Raises:
            TypeError: If they are not of one supported framework.
            ValueError: If the model has no parameters, the optimiser moves none of them, the model is watched
                already, or the name is taken or has a "/".
            RuntimeError: If the recorder is closed.
        """
        self._check_open("watch")
        if any(watched.capture.model is model for watched in self._watched):
            raise ValueError("watch needs a model that is not watched yet, got one a second time")
        if "/" in name or "\0" in name:
            raise ValueError(
                f"watch needs a name that can be part of a data set's, without '/', got {name!r}"
            )
        if name in (watched.capture.name for watched in self._watched):
            raise ValueError(
                f"watch needs a name of its own for each pair, got {name!r} a second time; pass name="
            )
        measure = Measure(self._own, self._omit, self._guard.attempt, f"{name}." if name else "")

        def hear(event: Event) -> None:
            subject = "" if isinstance(event.subject, tuple) else event.subject
            self._guard.attempt(f"measure of {event.kind}", subject, measure.hear, event)
            if self._wants_histograms():
                self._guard.attempt(f"histogram of {event.kind}", subject, self._histograms.hear, event)

        capture = open_capture(
            model,
            optimizer,
            criterion,
            name=name,
            hear=hear,
            before_step=self._on_before_step,
            after_step=self._on_after_step,
            tell=self._tell_of_capture,
            work=self._guard,
            wants=measure.wants,
        )
        measure.learn(capture.layers)
        measure.has_copies = self._has_copies(capture)
        self._watched.append(Watched(capture, measure))
        capture.listening = self._is_recorded()

    def curvature(
        self,
        closure: Callable[[], Any],
        *,
        every: int = 200,
        k: int = 5,
        samples: int = 10,
        name: str = "",
        seed: int = 0,
        density: bool = False,
    ) -> None:
        """Records the Hessian's largest eigenvalues and its trace on a fixed batch, before every so many steps.

        It costs about 2 × (products + samples) gradients of the closure each time; the readings say how many. Of
        Adam, AdamW and RMSprop also the largest eigenvalue as they see it is read, for which their threshold is.

        Args:
            closure: Computes the loss of the watched model on a fixed batch of examples; takes no arguments.
            every: Computed before step s if s % every == 0.
            k: How many of the largest eigenvalues.
            samples: Random vectors for the trace.
            name: Of the watched pair.
            seed: Of the random vectors, the same at every step so that the readings can be compared.
            density: Also how all the eigenvalues are spread, for 160 products more.

        Raises:
            TypeError: If the closure is not callable.
            ValueError: If no pair of that name is watched, or a number is below 1.
            RuntimeError: If the recorder is closed.
        """
        self._look(Curvature(closure, k, samples, seed, density), name, every)

    def representation(self, closure: Callable[[], Any], *, every: int = 200, name: str = "") -> None:
        """Records how the layers represent a fixed batch, at a recorded step every so many steps.

        Of each layer: `activation_effective_rank`, `activation_stable_rank`, `dormant_unit_rate` (rectifying
        layers), `debiased_linear_cka` with the layer before (those with a weight matrix) and, of attention, the
        middle head's `attention_entropy` and the `largest_attention_logit`. Of the network ``probe_loss``, beside
        ``probe_loss_as_trained`` where training and evaluation differ; where the watched criterion runs in the
        closure on class numbers, the marks of neural collapse and how unevenly the classes come.

        It costs an evaluation of the closure, a second one where the model has dropout or batch
        normalisation, and a singular value decomposition a layer, over at most 2,048 of its positions.

        Args:
            closure: Computes the loss of the watched model on a fixed batch of examples; takes no arguments. A
                few hundred examples, of every class at least five.
            every: Steps between two looks, at least.
            name: Of the watched pair.

        Raises:
            TypeError: If the closure is not callable.
            ValueError: If no pair of that name is watched, or ``every`` is below 1.
            RuntimeError: If the recorder is closed.
        """
        self._look(Representation(closure), name, every)

    def noise(
        self, closures: Sequence[Callable[[], Any]], *, examples: int, every: int = 200, name: str = ""
    ) -> None:
        """Records the gradient noise scale on a fixed batch, at a recorded step every so many steps.

        The noise scale is the batch size at which noise and signal in a gradient are as large as each other. One
        look is a rough estimate, and knows no more than all chunks together can tell.

        Args:
            closures: Each computes the mean loss of the watched model on its own chunk of a fixed batch; two at
                least, eight or more for a steady estimate. One gradient each.
            examples: In each chunk.
            every: Steps between two looks, at least.
            name: Of the watched pair.

        Raises:
            TypeError: If a closure is not callable.
            ValueError: If there are fewer than two closures, no pair of that name is watched, or a number is
                below 1.
            RuntimeError: If the recorder is closed.
        """
        self._look(Noise(tuple(closures), examples), name, every)

    def _look(self, look: Look, name: str, every: int) -> None:
        self._check_open(look.work)
        found = [watched.capture for watched in self._watched if watched.capture.name == name]
        if not found:
            names = [watched.capture.name for watched in self._watched]
            raise ValueError(
                f"{look.work} needs the name of a watched pair, got {name!r} while {names or 'nothing'} is watched; "
                f"call watch first"
            )
        self._looks.append(Regularly(look, found[0], every))

    def _has_copies(self, capture: Capture) -> bool:
        """Whether other ranks hold the same parameters, so that they can be compared."""
        if self._world_size == 1:
            return False
        if any(parameter.shards > 1 for parameter in capture.parameters):
            why = "parameters are spread over the ranks: there are no two copies of them to compare"
            self._tell_of_capture("unseen", f"{capture.name}.parameter_checksum".lstrip("."), why)
            return False
        return True

    def _check_open(self, caller: str) -> None:
        if not self._is_open:
            raise RuntimeError(f"{caller} needs an open recorder, this one is closed; make a new Recorder")

    # ------------------------------------------------------------------------ while training

    def log(
        self, values: Mapping[str, float] | None = None, /, *, step: int | None = None, **more: float
    ) -> None:
        """Records scalars of your own, such as ``val_loss``; a new name may come at any time.

        Args:
            values: Numbers by name, for names that are no Python identifiers.
            step: The step they belong to; the last that has ended if None.
            more: Numbers by name.
        """
        with self._guard("log", ""):
            if not self._is_open:
                raise RuntimeError("log needs an open recorder, this one is closed")
            scalars = {name: float(value) for name, value in {**(values or {}), **more}.items()}
            if self._ended.are_due:
                # What scalars bring to the file by a flush should not be ahead of the steps that they belong to.
                self._write_ended(self._ended.take())
            when = max(self._step - 1, 0) if step is None else step
            self._write("the HDF5 log", lambda: self._log.write_scalars(when, scalars))
            self._write("TensorBoard", lambda: self._board.write_scalars(when, scalars))

    def _is_recorded(self) -> bool:
        return self._is_open and self._step % self._every == 0

    def _wants_histograms(self) -> bool:
        return self._histograms_every is not None and self._step % self._histograms_every == 0

    # Between recorded steps these two run at every step: there they do nothing but ask.

    def _on_before_step(self, capture: Capture) -> None:
        is_recorded = self._is_recorded()
        if not (is_recorded or self._looks):
            return
        due = [look for look in self._looks if look.is_due(self._step, is_recorded)]
        if not (is_recorded or due):
            return
        with self._guard("start of a step", capture.name):
            watched = next(watched for watched in self._watched if watched.capture is capture)
            watched.learning_rates = capture.learning_rates()
            if is_recorded:
                modes = [module.training for module in capture.modules.values()]
                watched.evaluation_mode_rate = modes.count(False) / len(modes)
            for look in due:
                if look.capture is capture:
                    self._readings += look.take(self._step, self._guard)

    def _on_after_step(self, capture: Capture) -> None:
        if not self._watched or capture is not self._watched[0].capture:
            return
        if self._readings or self._is_recorded():
            # What a network overflows or divides by zero is a finding, not a warning out of NumPy.
            with self._guard("end of a step", capture.name), np.errstate(all="ignore"):
                self._end_step()
        self._step += 1
        listening = self._is_recorded()
        for watched in self._watched:
            if watched.capture.listening != listening:
                with self._guard("change of listening", capture.name):
                    watched.capture.listening = listening
                    if not listening:
                        watched.measure.rest()

    def _end_step(self) -> None:
        of_looks, self._readings = self._readings, []
        if of_looks:
            self._write_ended(self._ended.take())
            scalars, densities = without_densities(of_looks)
            self._write("the HDF5 log", lambda: self._log.write(self._step, of_looks))
            self._write("TensorBoard", lambda: self._board.write(self._step, scalars))
            self._write("TensorBoard", lambda: self._board.write_values(self._step, densities))
        if self._is_recorded():
            parts = [part for watched in self._watched for part in (watched.measure.take(), watched.rates())]
            seconds = time.perf_counter() - self._start, self._guard.take_seconds()
            parts.append(Taken(as_they_are(("wall_time", "recording_seconds")), np.array(seconds)))
            self._write_ended(self._ended.add(self._step, parts))
            if histograms := self._histograms.take():
                self._write_ended(self._ended.take())
                self._write_histograms(histograms)

    def _write_ended(self, steps: Sequence[Ended]) -> None:
        # Whoever interrupts this finds the rest where `close` does.
        self._unwritten += steps
        while self._unwritten:
            step, wall_time, readings = self._unwritten.pop(0)
            self._tell_non_finite(step, readings)
            self._write("the HDF5 log", partial(self._log.write, step, readings))
            self._write("TensorBoard", partial(self._board.write, step, readings, wall_time))

    def _write_histograms(self, histograms: Sequence[Histogram]) -> None:
        values = list(histogram_values(histograms, histogram_edges()))
        self._write("the HDF5 log", lambda: self._log.write_histograms(self._step, histograms))
        self._write("TensorBoard", lambda: self._board.write_values(self._step, values))

    def _write(self, sink: str, write: Callable[[], None]) -> None:
        with self._guard("writing", sink):
            write()

    def _tell_non_finite(self, step: int, readings: Readings) -> None:
        for name, subject, value, _ in non_finite(readings):
            if (name, subject) not in self._told_non_finite:
                self._told_non_finite.add((name, subject))
                message = f"{name.removesuffix('_count')}: {value:g}"
                self._tell(Happening(step, "non_finite", subject, message))

    # ------------------------------------------------------------------------------ the rest

    def _tell_of_capture(self, kind: str, subject: str, message: str) -> None:
        if kind == "unseen" and not subject:
            # A whole forward pass unheard is what a user should know while it can still be put right.
            self._warn(message)
        self._tell(Happening(self._step, kind, subject, message))

    def _tell_failure(self, work: str, subject: str, message: str) -> None:
        self._tell(Happening(self._step, "failure", subject or work, message))

    def _tell(self, happening: Happening) -> None:
        with suppress(OSError, ValueError):
            # A log that cannot be written cannot be told of it either.
            self._log.write_happening(happening)

    def _describe(self) -> Model:
        layers = [layer for w in self._watched for layer in w.measure.in_order(w.capture.layers)]
        parameters = [parameter for w in self._watched for parameter in w.capture.parameters]
        optimizers = [watched.capture.optimizer for watched in self._watched]
        criteria = [watched.capture.criterion for watched in self._watched]
        return Model(tuple(layers), tuple(parameters), tuple(optimizers), tuple(filter(None, criteria)))

    def close(self, reason: str = "finished") -> None:
        """Writes what is left and lets go of the models; a second call does nothing.

        Args:
            reason: How the run ended, for the log.
        """
        if not self._is_open:
            return
        atexit.unregister(self.close)
        for watched in self._watched:
            with self._guard("removal of hooks", watched.capture.name):
                watched.capture.close()
        with self._guard("end of the run"), np.errstate(all="ignore"):
            self._write_ended(self._ended.take())
        if self._readings:
            self._write("the HDF5 log", lambda: self._log.write(self._step, self._readings))
        self._is_open = False
        self._write("the HDF5 log", lambda: self._log.close(reason))
        self._write("TensorBoard", lambda: self._board.close(reason))
        self._watched, self._looks = [], []


def _keep_silent(_message: str) -> None:
    """On every rank but the first: what one says, all would say."""

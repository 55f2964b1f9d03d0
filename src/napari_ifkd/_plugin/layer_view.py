"""The session as layers: listens, and keeps napari's layers of our making as the session says."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from . import layers as made
from .appearance import APART, Appearance
from .deleted import DeletedLayers
from .masks import Masks
from .measure import same_grid
from .side_by_side import SideBySide
from .steps import Steps

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from napari_ifkd.session import Session
    from napari_ifkd.session_records import Candidate, Job
    from napari_ifkd.slides import Slide


_SPARES = {"heat": 1, "mask": 2}
"""Layers made while a run begins: of rounds a mask to look at and one to compare it with; whatever comes is shown in them."""


def _now(act: Callable[[], None]) -> None:
    act()


def _draw_on(held: bool) -> None:
    return


class LayerView:
    """Keep the layers of slides, tissue and predictions in step with a session.

    Parameters
    ----------
    viewer : napari's viewer
    session : what to show
    later : calls what it is given, in a later turn of the event loop
    hold : called with True to keep the picture as it is, with False to draw it anew
    """

    seen_again = Signal()  # predictions were hidden, and are no more

    def __init__(
        self, viewer: Any, session: Session, later: Callable[[Callable[[], None]], None] = _now, hold: Callable[[bool], None] = _draw_on
    ) -> None:
        self.viewer, self.session, self.masks = viewer, session, Masks(session)
        self._known: set[str] = set()  # paths of the predictions that were in the session
        self._looked_at: str | None = None  # path of the slide that was active last
        self.steps = Steps(self._changes, later, hold)
        self.adding = self.removing = False  # whether a layer is being added, or removed, by this view
        self._blind = False
        self._hidden: list[Any] = []  # layers that are hidden meanwhile
        self._sides = SideBySide(viewer)
        events = session.events
        events.slide.connect(self._slide_changed)
        events.slides.connect(lambda _, before: later(partial(self._let_brought_go, before)))  # napari is removing layers now
        for name in ("candidates", "files", "shown", "a", "b", "compare", "heat"):
            events[name].connect(self.refresh)
        self._at_work: str | None = None  # act of the run that is
        events.job.connect(self._job_changed)
        for name in ("threshold", "sigma_px"):
            events[name].connect(lambda _: self._remask())
        self.masks.changed.connect(self._leave_out)
        viewer.layers.events.inserted.connect(self._inserted)
        viewer.layers.events.removed.connect(self._removed)
        self._appearance = Appearance(viewer, session, self)
        self._deleted = DeletedLayers(session, self, later)

    # --- finding

    def ours(self, *kinds: str) -> Iterator[Any]:
        """Yield our layers of these kinds."""
        for layer in list(self.viewer.layers):
            if made.tag(layer).get("kind") in kinds:
                yield layer

    def find(self, kind: str, path: object) -> Any | None:
        """Return our layer of a kind that shows a path, None if there is none."""
        return next((layer for layer in self.ours(kind) if made.tag(layer)["path"] == str(path)), None)

    @property
    def blind(self) -> bool:
        """Whether predictions are hidden from whoever judges the tissue."""
        return self._blind

    @property
    def settled(self) -> bool:
        """Whether all layers are as the session says."""
        return self.steps.settled

    # --- slides

    def show_slide(self, slide: Slide) -> Any:
        """Make sure a slide has its layer, below all others and with the resolution the session knows."""
        layer = self.find("slide", slide.path)
        data, options, _ = made.slide_layer(slide)
        if layer is None:
            layer = self.viewer.add_image(data, **options)
        elif made.tag(layer).get("mpp") != options["metadata"][made.KEY]["mpp"] and slide.mpp is not None:
            layer.data = data
            layer.metadata = {**layer.metadata, **options["metadata"]}
            grown = options["scale"][0] / layer.scale[0]
            made.put(layer, options)
            camera = self.viewer.scene.camera  # on the same field
            camera.zoom, camera.center = camera.zoom / grown, tuple(grown * at for at in camera.center)
        at = self.viewer.layers.index(layer)
        below = next((index for index, other in enumerate(self.viewer.layers) if made.tag(other).get("kind") != "slide"), at)
        if below < at:  # among slides its place stays: who clicks on it in the list has it under the mouse
            self.viewer.layers.move(at, below)
        return layer

    def show_tissue(self, visible: bool) -> None:
        """Show or hide the outline of the active slide's tissue."""
        slide, tissue = self.session.slide, self.session.tissue
        for layer in self.ours("tissue"):
            layer.visible = False
        if not visible or slide is None or tissue is None or not tissue.found:
            return
        layer = self.find("tissue", slide.path)
        if layer is not None:
            self.viewer.layers.remove(layer)
        data, options, _ = made.tissue_layer(slide, tissue)
        self._add(self.viewer.add_labels, data, options).contour = made.OUTLINE

    def _slide_changed(self, slide: Slide | None) -> None:
        if slide is not None:
            self._agree_on_units(made.PIXELS if slide.mpp is None else made.MICROMETRES)
            self.show_slide(slide)
        for layer in self.ours("slide"):
            layer.visible = slide is not None and made.tag(layer)["path"] == str(slide.path)
        for layer in self.ours("tissue"):
            layer.visible = False
        known = None if slide is None else str(slide.path)
        if known != self._looked_at:
            self._looked_at = known
            if not self.viewer.canvas.grid.enabled:  # whose other half is still of the former
                self._draw_bare()
        for layer in self.ours("brought", "correcting", "own"):
            if "of" in made.tag(layer):  # of one slide: on another it would look as if it were of that
                self._come_or_go(layer, here=slide is not None and made.tag(layer)["of"] == str(slide.path))
                if slide is not None and layer.visible and made.tag(layer).get("mpp", slide.mpp) != slide.mpp:
                    made.follow_mpp(layer, slide)
                if not layer.visible:  # nor is anything to be painted there
                    layer.mode = "pan_zoom"
        self.refresh()

    def _let_brought_go(self, before: Collection[Slide]) -> None:
        """Let what was brought in for slides that were closed go with them: it comes back with them."""
        closed = {str(slide.path) for slide in before} - {str(slide.path) for slide in self.session.slides}
        for layer in self.ours("brought"):
            if made.tag(layer).get("of") in closed:
                self.remove(layer)

    def _draw_bare(self) -> None:
        """Let a slide be seen before what lies on it comes, which takes long: till then the picture would be that of the former."""
        for layer in self.ours("mask", "heat"):
            layer.visible = False
        for layer in self.ours("disagreement", "uncertainty", "corrections"):  # those of this slide are made anew, or read
            self.remove(layer)
        self.steps.draw_first()

    def _come_or_go(self, layer: Any, *, here: bool) -> None:
        """Show a layer of the active slide, if it was seen when another became active, or hide it."""
        known = made.tag(layer)
        if here and "seen" in known:
            layer.visible = known.pop("seen")
        elif not here and "seen" not in known:
            known["seen"] = layer.visible
            layer.visible = False
        layer.metadata = {**layer.metadata, made.KEY: known}

    def _agree_on_units(self, units: Sequence[Any]) -> None:
        """Let all our layers have the units of the active slide: where some differ, napari draws without any, and warns of it."""
        for layer in self.viewer.layers:
            if made.tag(layer):
                layer.units = units

    # --- predictions

    def _inserted(self, event: Any) -> None:
        self._appearance.follow(event.value)
        self._count_layers(event)

    def _count_layers(self, event: Any) -> None:
        # which picture a layer is in depends on how many there are; what is painted on is outlined
        if self.session.compare == "side by side" or made.tag(event.value).get("kind") in APART:
            self.refresh()

    def _removed(self, event: Any) -> None:
        self._count_layers(event)
        if not self.removing:
            self._deleted.tell(event.value)

    def _job_changed(self, job: Job | None) -> None:
        at_work = job.act if job is not None and job.alive else None
        if at_work != self._at_work:  # not at every step of its progress: what the user set of a layer stays
            self._at_work = at_work
            self.refresh()

    def hide_predictions(self, hidden: bool) -> None:
        """Hide all predictions, so that whoever judges the tissue does not see what they say, or show them again."""
        if hidden:
            said = "corrections", "verdicts", "rejected", "brought", "drawn tumour", "drawn normal"  # nor what a person said of it
            seen = [layer for layer in self.ours(*said, "preview heat", "preview mask") if layer.visible]
            self._hidden += seen
        else:
            seen, self._hidden = [layer for layer in self._hidden if layer in self.viewer.layers and self._of_active(layer)], []
        self._blind = self._blind or hidden  # while they go and come: it is no wish of the user's
        for layer in seen:
            layer.visible = not hidden
        self._blind = hidden
        self.refresh()
        if not hidden:
            self.seen_again.emit()

    def hide_meanwhile(self, layer: Any) -> None:
        """Hide a layer that came while predictions are hidden, till they are seen again."""
        if self._blind and layer.visible:
            layer.visible = False
            self._hidden.append(layer)

    def _of_active(self, layer: Any) -> bool:
        """Return whether a layer is of the active slide: those of files go when another becomes active, those of slides stay."""
        known, slide = made.tag(layer), self.session.slide
        if known["kind"] == "corrections" or (known["kind"] == "brought" and "of" not in known):
            return True
        return slide is not None and known.get("of", known["path"]) == str(slide.path)

    def refresh(self) -> None:
        """Make the layers of predictions as the session says, a change a turn of the event loop, and then draw them."""
        self.steps.begin()

    def _changes(self) -> Iterator[Callable[[], object]]:
        """Yield what is to be done, by what matters most: napari needs a tenth of a second for some of them."""
        session = self.session
        wanted, heat, compared = self.masked(), self._heated(), self._compared()
        for candidate in wanted:
            if self.find("mask", candidate.path) is None:
                yield from self._show_mask(candidate, wanted)
        if heat is not None and self.find("heat", heat.path) is None:
            yield from self._show_heat(heat)
        for layer in self._gone():
            yield from self._let_go(layer)
        for layer in self.ours("disagreement", "uncertainty"):
            if compared is None or (made.tag(layer)["kind"], made.tag(layer)["path"]) != (session.compare, compared[0]):
                yield partial(self.remove, layer)
        if compared is not None and self.find(session.compare, compared[0]) is None:
            yield partial(self._show_compared, compared[1])
        right = self.find("mask", session.b.path) if session.b is not None else None
        if session.compare == "side by side" and len(wanted) == 2 and right is not None and session.slide is not None:
            yield from self._sides.changes(session.slide, right)
        else:
            yield from self._sides.undo()
            yield from self._appearance.in_order()
        yield from self._appearance.changes(wanted, heat)
        job = session.job
        if session.slide is not None and job is not None and self._waits(job, session.slide):  # while nobody waits for a map
            for kind, number in _SPARES.items():
                if kind == "heat" and not session.heat:
                    continue
                there = list(self.ours(kind))
                if len(there) < (1 if job.act == "predict" and all(map(made.is_spare, there)) else number):
                    yield partial(self._add_spare, kind, session.slide)
        else:
            for layer in self.ours(*_SPARES):
                if made.is_spare(layer):
                    yield partial(self.remove, layer)

    def _waits(self, job: Job, slide: Slide) -> bool:
        """Return whether maps of a slide are to come."""
        return job.alive and job.act != "train" and (not job.slides or slide.name in job.slides)

    def _compared(self) -> tuple[str, Callable[[], made.LayerData]] | None:
        """Return the layer that tells more than masks, in modes that have one: the path it is known by, and what makes it."""
        session = self.session
        a, b, unsure = session.a, session.b, session.unsure
        if self._blind:
            return None
        if session.compare == "disagreement" and a is not None and b is not None and same_grid(a.found, b.found):
            return f"{a.path}|{b.path}", lambda: made.disagreement_layer(a, b, self.masks.disagreement(a, b), session.opacity)
        if session.compare == "uncertainty" and unsure is not None:
            return str(unsure.path), lambda: made.uncertainty_layer(unsure, self.masks.uncertainty(unsure), session.opacity)
        return None

    def _show_compared(self, make: Callable[[], made.LayerData]) -> None:
        data, options, kind = make()
        self._add(self.viewer.add_labels if kind == "labels" else self.viewer.add_image, data, options)

    def _heated(self) -> Candidate | None:
        session = self.session
        if self._blind:
            return None
        return session.shown if session.heat and not self.session.comparing and session.shown in session.here() else None

    def masked(self) -> list[Candidate]:
        """Return whose masks are to be seen."""
        session = self.session
        if self._blind:
            return []
        if self.session.comparing:
            seen = {"a": (session.a,), "b": (session.b,), "disagreement": (), "uncertainty": ()}.get(
                session.compare, (session.a, session.b)
            )
            return [c for c in seen if c is not None]
        return [session.shown] if session.shown is not None and session.shown in session.here() else []

    def _gone(self) -> list[Any]:
        """Return layers of predictions that are none of the active slide by now, but not what napari's reader brought and still reads."""
        wanted = {str(c.path) for c in self.session.comparable()}
        known = {str(c.path) for c in (*self.session.predictions(), *self.session.files)}
        layers = [(layer, made.tag(layer)["path"]) for layer in self.ours("mask", "heat") if not made.is_spare(layer)]
        self._known = known | {path for _, path in layers if path in self._known}
        return [layer for layer, path in layers if path in self._known - wanted]

    def _show_mask(self, candidate: Candidate, wanted: Sequence[Candidate]) -> Iterator[Callable[[], object]]:
        """Yield the steps that show a mask: in a layer that waits for one, or whose mask nobody looks at."""
        seen, options = {str(c.path) for c in wanted}, made.mask_options(candidate, self.session.opacity)
        data = self.masks.of(candidate)
        gone = self._gone()
        free = [layer for layer in self.ours("mask") if layer.multiscale and made.tag(layer)["path"] not in seen]
        free.sort(key=lambda layer: (not made.is_spare(layer), layer not in gone))
        if free and (made.is_spare(free[0]) or len(list(self.ours("mask"))) >= _SPARES["mask"]):
            yield from made.refill(free[0], data, options)
        else:
            yield partial(self._add, self.viewer.add_labels, data, {**options, "visible": False})

    def _show_heat(self, candidate: Candidate) -> Iterator[Callable[[], object]]:
        """Yield the steps that show a heat map, in the one layer there is for it."""
        _, options, _ = made.heat_layer(candidate, self.session.opacity)
        data = self.masks.heat(candidate)
        layer = next((layer for layer in self.ours("heat") if layer.multiscale), None)
        if layer is not None:
            yield from made.refill(layer, data, options)
        else:
            yield partial(self._add_heat, data, {**options, "visible": False})

    def _let_go(self, layer: Any) -> Iterator[Callable[[], object]]:
        """Yield the steps that empty a layer whose prediction is gone; of more than there need be, those that remove it."""
        kind, slide = made.tag(layer)["kind"], self.session.slide
        if slide is None or not layer.multiscale or len(list(self.ours(kind))) > _SPARES[kind]:
            yield partial(self.remove, layer)
        else:
            data, options, _ = made.spare_layer(kind, slide, self.session.opacity)
            yield from made.refill(layer, data, options)

    def _add_heat(self, data: Any, options: dict[str, Any]) -> None:
        """Add a heat map below the masks."""
        layers = self.viewer.layers
        layer = self._add(self.viewer.add_image, data, options)
        layers.move(layers.index(layer), min((layers.index(mask) for mask in self.ours("mask")), default=len(layers) - 1))

    def _add_spare(self, kind: str, slide: Slide) -> None:
        data, options, _ = made.spare_layer(kind, slide, self.session.opacity)
        if any(layer.name == options["name"] for layer in self.ours(kind)):
            options["name"] = made.SECOND_SPARE
        if kind == "heat":
            self._add_heat(data, options)
        else:
            self._add(self.viewer.add_labels, data, options)

    def _add(self, add: Callable[..., Any], data: Any, options: dict[str, Any]) -> Any:
        # napari would select it: take the layer from under the user's hands, and arrange the window anew for its controls
        selection = self.viewer.layers.selection
        before, active = set(selection), selection.active
        self.adding = True
        try:
            with selection.events.blocker_all():
                layer = add(data, **options)
                selection.active = active
                selection.update(before)
        finally:
            self.adding = False
        return layer

    def remove(self, layer: Any) -> None:
        """Remove a layer of ours; one that somebody else removes is told of."""
        layers = self.viewer.layers
        self.removing = True
        try:
            if layer in layers.selection:
                layers.remove(layer)
            else:
                with layers.selection.events.blocker_all():  # nothing changes there, yet napari would polish its buttons anew
                    layers.remove(layer)
        finally:
            self.removing = False

    def _remask(self, paths: Collection[str] | None = None) -> None:
        """Show masks as they are by now: all, or those of predictions known by their paths."""
        session = self.session
        for candidate in session.comparable():
            layer = self.find("mask", candidate.path)
            if layer is not None and (paths is None or str(candidate.path) in paths):
                layer.data = self.masks.of(candidate)  # a new array: refresh() alone leaves the coarsest level stale
        a, b = session.a, session.b
        for layer in self.ours("disagreement"):
            if a is not None and b is not None and same_grid(a.found, b.found):
                layer.data = self.masks.disagreement(a, b)
        for layer in self.ours("uncertainty"):
            if session.unsure is not None:
                layer.data = self.masks.uncertainty(session.unsure)

    def _leave_out(self, paths: Collection[str] | None) -> None:
        self._remask(paths)
        for candidate in self.session.here() if paths is None else ():
            layer = self.find("heat", candidate.path)
            if layer is not None:
                layer.data = self.masks.heat(candidate)

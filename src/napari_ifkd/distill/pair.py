"""Teacher and student, and how their roles change hands."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from .fixed import FixedTeacher
from .training import snapshot

if TYPE_CHECKING:
    from napari_ifkd.models import MILModel

    from .training import State


class TeacherStudent:
    """A frozen teacher and the student it teaches. Roles swap as modules, so the two may be networks of different kinds.

    A teacher that cannot learn (maps, class activation maps) gives its role away for good: the student that takes it gets a copy of
    itself as its own student.

    Parameters
    ----------
    teacher, student : two different modules, or maps and a module

    Raises
    ------
    ValueError
        If they are one and the same module.
    """

    def __init__(self, teacher: MILModel | FixedTeacher, student: MILModel) -> None:
        if teacher is student:
            raise ValueError("teacher and student must be two modules: a student that is its own teacher learns nothing")
        self.teacher, self.student = teacher, student
        self.swapped = False
        """Whether the roles are the reverse of those at the start (of a teacher that cannot learn: whether it is gone)."""
        self.start: State = {}
        """The student's weights at the start of the round."""
        self._lasting = only_teaches(teacher)
        self._initial: State = snapshot(student.state_dict()) if self._lasting else {}
        self._freeze()

    @property
    def same_kind(self) -> bool:
        """Whether the weights of one fit the other."""
        return not isinstance(self.teacher, FixedTeacher) and same_kind(self.teacher, self.student)

    def begin(self, *, warm_start: bool) -> None:
        """Begin a round: the student starts from a copy of the teacher where wanted and the kinds agree, else from its own weights."""
        if warm_start:
            self._copy_teacher()
        self.start = snapshot(self.student.state_dict())
        self._freeze()

    def switch(self, *, aliased: bool = False) -> None:
        """Let the student take the teacher's role, and the teacher the student's, each with its own weights.

        Parameters
        ----------
        aliased : repeat the released program's slip, after which both hold the student's weights (where the kinds agree)
        """
        if isinstance(self.teacher, FixedTeacher) or only_teaches(self.teacher):
            self.teacher, self.student = self.student, copy.deepcopy(self.student)
            self.student.load_state_dict(self._initial)
            self.swapped = True
        else:
            self.teacher, self.student = self.student, self.teacher
            self.swapped = not self.swapped or self._lasting
        if aliased:
            self._copy_teacher()
        self._freeze()

    def keep(self) -> None:
        """Leave the roles: the student goes back to a copy of the teacher, or to its start of the round where the kinds differ."""
        if not self._copy_teacher():
            self.student.load_state_dict(self.start)
        self._freeze()

    def _copy_teacher(self) -> bool:
        """Give the student the teacher's weights where they fit; tell whether they did."""
        if isinstance(self.teacher, FixedTeacher) or not self.same_kind:
            return False
        self.student.load_state_dict(snapshot(self.teacher.state_dict()))
        return True

    def _freeze(self) -> None:
        if not isinstance(self.teacher, FixedTeacher):
            self.teacher.eval().zero_grad(set_to_none=True)  # it only ever runs without gradients

    def state(self) -> State:
        """Return all of it as tensors and plain containers, copied to the CPU."""
        return {
            "teacher": None if isinstance(self.teacher, FixedTeacher) else snapshot(self.teacher.state_dict()),
            "student": snapshot(self.student.state_dict()),
            "start": self.start,
            "initial": self._initial,
            "swapped": self.swapped,
        }

    def restore(self, state: State) -> None:
        """Go back to what :meth:`state` returned; the modules must be those of then, in their first roles."""
        self._initial = state["initial"]
        if state["swapped"] != self.swapped:
            self.switch()
        if not isinstance(self.teacher, FixedTeacher):
            self.teacher.load_state_dict(state["teacher"])
        self.student.load_state_dict(state["student"])
        self.start = state["start"]
        self._freeze()


def same_kind(one: MILModel, other: MILModel) -> bool:
    """Tell whether the weights of one network fit another."""
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(ours[key].shape == theirs[key].shape for key in ours)


def only_teaches(teacher: MILModel | FixedTeacher) -> bool:
    """Tell whether a teacher cannot become a student: maps, and a network read out by class activation maps."""
    return isinstance(teacher, FixedTeacher) or bool(getattr(teacher, "only_teaches", False))

"""Undo and redo: each brings back exactly what was."""

from __future__ import annotations

import pytest
from AnomaLabelLib.errors import ActError
from AnomaLabelLib.review import acts
from AnomaLabelLib.review.case import fold
from AnomaLabelLib.review.history import History
from AnomaLabelLib.review.matching import shown_findings
from hypothesis import given, settings
from hypothesis import strategies as st
from review_examples import context, event, finding, row, shown

from monailabel_app.reviews.event import Review

RUN = (finding("a"), finding("b", (60, 60, 60), (69, 69, 69)), finding("c", (90, 90, 60), (99, 99, 69)))


def visible(case):
    """What a reader sees of a case: findings with box and status, verdict, and whether a second reader is asked for."""
    table = {
        each.finding.id: (each.status, each.finding, each.reason, each.user_made, each.method)
        for each in shown_findings(case, RUN, "clap")
    }
    return table, case.verdict, {(each.reviewer, each.verdict) for each in case.standing}, case.second_reader


class Reader:
    """Acts as the panel does: on the finding as it is shown, each event kept before the next."""

    def __init__(self, events=()):
        self.events = list(events)
        self.history = History()
        self.drawn = 0

    @property
    def case(self):
        return fold(self.events)

    def act(self, name, number):
        """One act, or none where it makes no sense; returns whether undo can take it back."""
        case = self.case
        table = shown_findings(case, RUN, "clap")
        chosen = table[number % len(table)]
        low = list(chosen.finding.index_min)
        moved = row(chosen.finding.id, (low[0] - 1, *low[1:]), chosen.finding.index_max)
        choices = {
            "accept": lambda: acts.accept(case, chosen, context()),
            "reject": lambda: acts.reject(case, chosen, ["", "vessel"][number % 2], context()),
            "edit": lambda: acts.edit(case, chosen, moved, context()),
            "add": lambda: acts.add(case, row(f"new {self.drawn}", (40, 0, 0), (43, 3, 3), origin="box"), context()),
            "reopen": lambda: acts.reopen(case, chosen, context()),
            "withdraw": lambda: acts.withdraw(case, chosen, context()),
            "normal": lambda: acts.case_normal(case, context()),
            "abnormal": lambda: acts.case_abnormal(case, context()),
            "reopen case": lambda: acts.case_reopen(case, context()),
            "second reader": lambda: acts.second_reader(case, context()),
            "read": lambda: acts.read_first(case, "normal", context()),
        }
        try:
            made = choices[name]()
        except ActError:
            return False
        self.drawn += name == "add"
        self.history.note(made, case)
        self.keep(made)
        return name != "read"

    def keep(self, made):
        Review.model_validate(made.to_body())
        self.events.append(made)

    def undo(self):
        made = self.history.undo(self.case, context())
        if made is not None:
            self.keep(made)
        return made

    def redo(self):
        made = self.history.redo(self.case, context())
        if made is not None:
            self.keep(made)
        return made


names = st.sampled_from(
    [
        *("accept", "reject", "edit", "add", "reopen", "normal", "abnormal", "reopen case", "second reader", "read"),
    ]
)
scripts = st.lists(st.tuples(names, st.integers(0, 5)), max_size=12)


@settings(max_examples=120, deadline=None)
@given(scripts, st.booleans())
def test_as_many_undos_as_acts_bring_back_the_beginning_and_redos_the_end(script, restarted):
    reader = Reader()
    states, own = [visible(reader.case)], None
    for name, number in script:
        if reader.act(name, number):
            states.append(visible(reader.case))
        own = reader.case.own_verdict
    for wanted in states[-2::-1]:
        reader.undo()
        assert visible(reader.case) == wanted
        if restarted:
            reader.history = History.rebuilt(reader.events)
    assert reader.undo() is None
    assert reader.case.own_verdict == own
    for wanted in states[1:]:
        reader.redo()
        assert visible(reader.case) == wanted
        if restarted:
            reader.history = History.rebuilt(reader.events)
    assert reader.redo() is None
    assert not reader.history.can_redo


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(names | st.sampled_from(["undo", "redo"]), st.integers(0, 5)), max_size=14))
def test_a_history_rebuilt_from_the_events_goes_on_as_the_one_before(script):
    reader = Reader()
    for name, number in script:
        if name == "undo":
            reader.undo()
        elif name == "redo":
            reader.redo()
        else:
            reader.act(name, number)
    rebuilt = History.rebuilt(reader.events)
    assert (rebuilt.undo_text, rebuilt.redo_text) == (reader.history.undo_text, reader.history.redo_text)
    steps = [(history.undo(reader.case, context()), history) for history in (rebuilt, reader.history)]
    assert len({step and (step.action, step.finding_id, step.undoes) for step, _history in steps}) == 1


def test_undo_names_what_it_takes_back_and_redo_what_that_took_back():
    reader = Reader()
    reader.act("reject", 1)
    undone = reader.undo()
    assert (undone.action, undone.finding_id, undone.undoes) == ("reopened", "b", reader.events[0].event_id)
    done = reader.redo()
    assert (done.action, done.reason, done.undoes) == ("rejected", "vessel", undone.event_id)
    assert len({each.event_id for each in reader.events}) == 3


def test_the_texts_say_what_comes_next():
    reader = Reader()
    assert (reader.history.undo_text, reader.history.redo_text) == ("", "")
    reader.act("accept", 0)
    reader.act("abnormal", 0)
    assert reader.history.undo_text == "call the case abnormal"
    reader.undo()
    assert (reader.history.undo_text, reader.history.redo_text) == ("accept anomaly a", "call the case abnormal")


def test_a_new_act_forgets_what_was_taken_back():
    reader = Reader()
    reader.act("accept", 0)
    reader.undo()
    reader.act("second reader", 0)
    assert not reader.history.can_redo


def test_a_finding_drawn_and_taken_away_comes_back():
    reader = Reader()
    reader.act("add", 0)
    (drawn,) = reader.case.findings
    made = acts.withdraw(reader.case, shown("new 0"), context())
    reader.history.note(made, reader.case)
    reader.keep(made)
    assert reader.case.findings == ()
    reader.undo()
    assert reader.case.find("new 0").finding == drawn.finding
    assert reader.case.find("new 0").user_made


def test_what_somebody_else_changed_since_is_not_taken_back_and_the_next_undo_goes_on():
    reader = Reader()
    reader.act("accept", 1)
    reader.act("accept", 1)
    assert [each.finding_id for each in reader.events] == ["b", "a"]
    reader.events.append(event("rejected", "a", reviewer="ben", reason="vessel"))
    with pytest.raises(ActError, match="somebody has changed"):
        reader.undo()
    assert reader.case.find("a").status == "rejected"
    assert reader.undo().finding_id == "b"


def test_after_a_restart_only_ones_own_acts_are_taken_back():
    events = [
        event("accepted", "a", before=row("a")),
        event("accepted", "b", reviewer="ben", before=row("b")),
        event("accepted", "c", before=row("c")),
        event("rejected", "c", reviewer="ben"),
    ]
    own = [each for each in events if each.reviewer == "anna"]
    history = History.rebuilt(own, events)
    undone = history.undo(fold(events), context())
    assert (undone.action, undone.finding_id) == ("reopened", "a")
    assert not history.can_undo


@pytest.mark.parametrize(
    ("before", "act"),
    [
        ([event("case_normal", reviewer="ben")], acts.case_abnormal),
        ([event("case_normal", reviewer="ben")], acts.case_reopen),
        ([event("case_normal", reviewer="ben"), event("second_reader", reviewer="ben")], acts.second_reader),
    ],
)
def test_nobody_speaks_for_another_reader(before, act):
    reader = Reader(before)
    made = act(reader.case, context())
    reader.history.note(made, reader.case)
    reader.keep(made)
    with pytest.raises(ActError, match="other readers"):
        reader.undo()
    assert reader.events[-1] == made


def test_undo_never_accepts_a_finding_of_a_case_that_is_called_normal():
    reader = Reader()
    reader.act("accept", 0)
    reader.act("reject", 0)
    reader.events.append(event("case_normal", reviewer="ben"))
    with pytest.raises(ActError, match="changed"):
        reader.undo()
    assert reader.case.find("a").status == "rejected"


def test_ones_own_verdict_comes_back_beside_that_of_another():
    reader = Reader([event("case_abnormal", reviewer="ben")])
    reader.act("abnormal", 0)
    reader.act("normal", 0)
    reader.undo()
    assert reader.case.verdict_of("anna") == "abnormal"
    assert reader.case.verdict_of("ben") == "abnormal"


def test_a_mask_and_a_first_reading_are_not_taken_back():
    reader = Reader()
    for made in (
        acts.read_first(reader.case, "abnormal", context()),
        acts.segmented(reader.case, "1" * 64, ("a",), ("Lesion",), context()),
    ):
        reader.history.note(made, reader.case)
        reader.keep(made)
    assert not reader.history.can_undo
    assert reader.undo() is None

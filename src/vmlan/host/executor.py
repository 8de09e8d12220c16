"""Carrying out a plan, and undoing what was carried out: `up`, `down`, rollback and recovery.

There is one way to undo: unwinding the journal. `down` unwinds all of it, a failed `up` what it began
itself, and the first command after a crash what the crash left behind.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from vmlan.errors import CommandFailed, KeeperGone, LabChanged, VmlanError
from vmlan.host import journal, leftovers
from vmlan.host.effects import Effects
from vmlan.host.journal import Entry, Journal, Story
from vmlan.plan import steps as plan_steps
from vmlan.plan.layout import Layout
from vmlan.plan.steps import (
    BridgeNic,
    Interfaces,
    MakeFolder,
    MakeTemplate,
    Plan,
    Run,
    Space,
    Start,
    StartKeeper,
    Step,
    Switch,
    WriteFile,
)

#: Told before each group of steps that runs.
Listener = Callable[[tuple[Step, ...]], None]


@dataclass
class Outcome:
    """What a bring-up did: `started` machines are new, the others ran already."""

    started: list[str] = field(default_factory=list)
    running: list[str] = field(default_factory=list)


class Executor:
    """Runs plans for the lab at `layout`, through `effects`. The caller holds the lab's lock."""

    def __init__(self, effects: Effects, layout: Layout) -> None:
        self._effects = effects
        self._layout = layout
        self._outlives = False  #: whether what was done on the host side is there without the keeper
        self.notes: list[str] = []  #: what was left as it is, and why
        self.known: dict[str, frozenset[str]] = {}  #: machines' cards that have addresses (`Started`)
        self.gave_up = False  #: whether something could not be undone, and was forgotten

    def bring_up(self, plan: Plan, lab: str, file: Path, listener: Listener = lambda _: None) -> Outcome:
        """Do every step of the plan that is not in effect yet; on the first failure undo what was begun.

        Raises `LabChanged` if something that is in effect differs from the plan: nothing is recreated.
        """
        self.recover()
        outcome = Outcome()
        before = self._in_effect()
        missing = self._missing(plan, before, outcome)
        if not missing:
            return outcome
        self._effects.make_folder(self._layout.run)
        if self._layout.book is not None:
            self._effects.make_folder(self._layout.book)
        world = self._effects.world()
        self._outlives = world != ""
        book = Journal(self._layout.journal, lab, file, world)
        begun: list[Step] = []
        try:
            for group in plan_steps.batches(tuple(missing), machines=True):
                listener(group)
                begun += group
                book.begin(group)
                self._do(group)
                # Those with a state stand still until all of them do (`go_on`).
                book.done([step for step in group if not _stands_still(step)])
                outcome.started += [
                    step.machine for step in group if isinstance(step, Start) and step.machine
                ]
        except BaseException as error:
            self._roll_back(begun, before, book, error)
            raise
        finally:
            book.close()
        return outcome

    def recover(self) -> bool:
        """Undo what a crash left: all of a lab that is not whole, or the steps that never finished.

        Whole is a lab whose keeper answers and whose journal can be read. Returns whether there was
        anything to undo.
        """
        story = journal.read(self._layout.journal)
        alive = self._effects.keeper_answers()
        knows_its_keeper = story is not None and any(
            isinstance(entry.step, StartKeeper) for entry in story.entries
        )
        if story is None or story.damaged or not alive or not knows_its_keeper:
            self.take_down()
            return alive or bool(story and story.entries)
        cut_short = [entry.step for entry in story.entries if not entry.done]
        if any(isinstance(step, StartKeeper) for step in cut_short):
            self.take_down()
        elif cut_short:
            with self._book(story) as book:
                self._undo_all(cut_short, book, fresh=cut_short)
        return bool(cut_short)

    def go_on(self, let_go_on: Callable[[], None]) -> None:
        """Let machines that were started with a state go on. Until they have, whoever recovers ends them."""
        let_go_on()
        if (story := journal.read(self._layout.journal)) is not None:
            with self._book(story) as book:
                book.done([entry.step for entry in story.entries if not entry.done])

    def end_machines(self) -> None:
        """End every machine that runs, at once; the rest of the lab stays as it is."""
        story = journal.read(self._layout.journal)
        if story is None:
            return
        with self._book(story) as book:
            for entry in story.entries:
                if isinstance(entry.step, Start) and entry.step.machine is not None:
                    self._effects.stop(entry.step)
                    book.undone(entry.step)

    def missing(self, plan: Plan) -> list[Step]:
        """The steps of a plan that are not in effect. Raises `LabChanged` as `bring_up` does."""
        return self._missing(plan, self._in_effect(), Outcome())

    def take_down(self, *, force: bool = False) -> None:
        """Undo everything, and forget the lab. What is gone already is a success.

        The keeper ends whatever the journal says: nothing of a lab outlives what we know of it. `force`: what
        cannot be undone becomes a note, and is forgotten too.
        """
        try:
            self._take_down()
        except (VmlanError, OSError) as error:
            if not force:
                raise
            self.gave_up = True
            self.notes.append(f"this could not be undone: {error}")
            if self._effects.keeper_answers():
                self._effects.end_keeper()
            self._forget()

    def _take_down(self) -> None:
        story = journal.read(self._layout.journal)
        if story is not None:
            with self._book(story) as book:
                unfinished = [entry.step for entry in story.entries if not entry.done]
                self._undo_all([entry.step for entry in story.entries], book, fresh=unfinished)
        if self._effects.keeper_answers():
            self._effects.end_keeper()
        if self._layout.on_host:
            # Before the bridge goes by its mark: the journal may be damaged, and not know of the NIC.
            self.notes += self._effects.unbridge_nic()
            steps = [entry.step for entry in story.entries] if story is not None else []
            self.notes += leftovers.sweep(self._effects, self._layout, steps)
        self._forget()

    def _forget(self) -> None:
        """Nothing of the lab is left but its disks: let there be no word of it. The journal goes last."""
        self._effects.empty_folder(self._layout.run)
        if self._layout.book is not None:
            self._effects.remove_folder(self._layout.book)

    @contextlib.contextmanager
    def _book(self, story: Story) -> Iterator[Journal]:
        self._outlives = self._layout.on_host and story.world == self._effects.world()
        book = Journal(self._layout.journal, story.lab, Path(story.file))
        try:
            yield book
        finally:
            book.close()

    # What is there, and what is missing

    def _in_effect(self) -> dict[str, Entry]:
        story = journal.read(self._layout.journal)
        return {entry.step.id: entry for entry in story.entries} if story else {}

    def _missing(self, plan: Plan, before: dict[str, Entry], outcome: Outcome) -> list[Step]:
        running = self._effects.running() if before else frozenset()
        missing: list[Step] = []
        changed: list[Step] = []
        for step in plan.steps:
            entry = before.get(step.id)
            if isinstance(step, MakeTemplate):
                missing.append(step)  # whether it is needed is known below
                continue
            stays = not isinstance(step, Start) or step.name in running
            if isinstance(step, Run) and step.creates and self._effects.exists(step.creates):
                continue  # never begun, so never undone: it is the user's disk from an earlier time
            if entry is None or not stays:
                missing.append(step)
            elif isinstance(step, Switch):
                continue  # how it was before is known, and `vmlan set` may have changed it
            elif not _is_same(entry.step, step):
                (missing if isinstance(step, WriteFile) and step.live else changed).append(step)
            elif isinstance(step, Start) and step.machine:
                outcome.running.append(step.machine)
        if changed:
            raise LabChanged(
                "the lab that runs is not what its file says now; this would change:"
                + "".join(f"\n    {step.reason}" for step in changed),
                hint="vmlan down, then vmlan up; the disks are kept",
            )
        return [
            step for step in missing if not isinstance(step, MakeTemplate) or self._is_wanted(step, missing)
        ]

    def _is_wanted(self, step: MakeTemplate, missing: Sequence[Step]) -> bool:
        """Whether a template has to be made: it is not there, and a machine is to go on from it."""
        keys = {each.warm.template for each in missing if isinstance(each, Start) and each.warm is not None}
        return step.key in keys and not self._effects.template_is_whole(step)

    # Doing

    def _do(self, group: tuple[Step, ...]) -> None:
        match group[0]:
            case MakeFolder(path=path, owner=owner, pipes=pipes):
                self._effects.make_folder(path, owner, pipes)
            case WriteFile(path=path, text=text):
                self._effects.write_file(path, text)
            case StartKeeper() as step:
                self._effects.start_keeper(step)
            case Run(command=command):
                self._effects.run(command)
            case Interfaces():
                self._effects.run(plan_steps.ip_batch(tuple(_interfaces(group))))
            case Switch() as step:
                self._effects.run(plan_steps.switch_command(step))
            case BridgeNic() as step:
                self._effects.bridge_nic(step)
            case MakeTemplate() as step:
                if note := self._effects.make_template(step):
                    self.notes.append(note)
            case Start(machine=None) as step:
                self._effects.start(step)
            case Start():
                found = self._effects.start_machines(tuple(_starts(group)))
                self.notes += found.notes
                self.known |= found.known
                self._meet(group, found.known)

    def _meet(self, group: tuple[Step, ...], known: Mapping[str, frozenset[str]]) -> None:
        """Let the host side and the cards that have their leased addresses know each other."""
        cards = [
            card
            for step in _starts(group)
            if step.warm is not None and isinstance(told := step.warm.told, plan_steps.Told)
            for card in told.cards
            if card.mac in known.get(step.machine or "", ())
        ]
        if (command := plan_steps.meeting(cards)) is not None:
            with contextlib.suppress(CommandFailed):  # else they ask when they want to know
                self._effects.run(command)

    # Undoing

    def _roll_back(
        self, begun: list[Step], before: dict[str, Entry], book: Journal, error: BaseException
    ) -> None:
        """Undo what this bring-up began. What cannot be undone is told with the error, not instead of it.

        A live file that it wrote anew gets its earlier text back.
        """
        try:
            self._undo_all(begun, book, fresh=begun)
            for step in begun:
                if isinstance(step, WriteFile) and step.id in before:
                    earlier = before[step.id].step
                    book.begin([earlier])
                    self._do((earlier,))
                    book.done([earlier])
            if any(isinstance(step, StartKeeper) for step in begun) or not self._in_effect():
                self._forget()
        except (VmlanError, OSError) as residue:
            error.add_note(f"and it could not all be undone: {residue}; `vmlan down` tries again")

    def _undo_all(self, steps: Sequence[Step], book: Journal, fresh: Sequence[Step]) -> None:
        """Undo steps, last first. `fresh` ones never worked for anybody, so what they made can go too.

        One that cannot be undone does not keep the others from it; the first such error is raised at the end.
        """
        errors: list[Exception] = []
        if fresh:
            self._effects.settle()  # what was begun may not have ended with whoever began it
        for step in _undo_order(steps, keeper_first=not self._layout.on_host):
            try:
                self._undo(step, fresh=step in fresh and not _was_used(step, steps))
                with contextlib.suppress(OSError):  # a full disk: undoing twice does no harm
                    book.undone(step)
            except (VmlanError, OSError) as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def _undo(self, step: Step, *, fresh: bool) -> None:
        match step:
            case MakeFolder(path=path, keep=keep):
                if path != self._layout.run:  # the journal is in there: it goes last
                    self._effects.remove_folder(path, if_empty=keep)
            case WriteFile(path=path, live=live):
                if not live:  # one that is live may be mounted somewhere: it goes with the lab's folder
                    self._effects.remove_file(path)
            case StartKeeper():
                self._effects.end_keeper()
            case Run(creates=path):
                if path is not None and fresh:
                    self._effects.remove_file(path)
                self._undo_commands(step.undo)
            case Interfaces():
                undo = plan_steps.ip_undo(step)
                self._undo_commands((undo,) if undo else ())
            case Switch():
                self._put_back(step)
            case BridgeNic():
                self.notes += self._effects.unbridge_nic()
            case MakeTemplate() | Start():
                # A template is no lab's, and stays, and half of one is none (`host.templates`): but a machine
                # may be left that somebody was about to make one of.
                self._effects.stop(step)

    def _put_back(self, step: Switch) -> None:
        """A switch of the host's, as it was before: unless somebody else has set it, or needs it, by now."""
        if not self._outlives:
            return
        now = self._effects.switch(step.name)
        if now not in {step.value, step.before}:
            self.notes.append(f"{step.name} is {now} by now: somebody else has set it, and it was left so")
        elif now != step.value:
            self.notes.append(f"{step.name} was set to {now} by somebody meanwhile, as it was before")
        elif self._effects.others_hold(step.name):
            self.notes.append(f"{step.name} is left at {now}: another lab needs it")
        else:
            for name, value in ((step.name, step.before), *step.also):
                self._undo_commands((plan_steps.Command(("sysctl", "-q", "-w", f"{name}={value}")),))

    def _undo_commands(self, commands: Sequence[plan_steps.Command]) -> None:
        """Run undo commands inside the lab. If the lab is gone, or the thing, then so is the effect."""
        for command in commands:
            stays = command.space is Space.HERE or (command.space is Space.HOST and self._outlives)
            if not stays and not self._effects.keeper_answers():
                return
            with contextlib.suppress(CommandFailed, KeeperGone):
                self._effects.run(command)


def _is_same(done: Step, step: Step) -> bool:
    """Whether what is in effect is what is planned; how a machine came to run makes no difference."""
    if isinstance(done, Start) and isinstance(step, Start):
        one, other = (msgspec.structs.replace(each, warm=None, saved=None) for each in (done, step))
        return one == other
    return done == step


def _interfaces(group: tuple[Step, ...]) -> Iterator[Interfaces]:
    for step in group:
        assert isinstance(step, Interfaces)
        yield step


def _starts(group: tuple[Step, ...]) -> Iterator[Start]:
    for step in group:
        assert isinstance(step, Start)
        yield step


def _stands_still(step: Step) -> bool:
    return isinstance(step, Start) and step.saved is not None


def _undo_order(steps: Sequence[Step], *, keeper_first: bool) -> list[Step]:
    """Last first; but programs stop, and the keeper ends, before all else: what lived in it is then gone.

    On a real host nothing goes with the keeper, which then has its own place in the order.
    """

    def rank(step: Step) -> int:
        return 0 if isinstance(step, Start) else 1 if keeper_first and isinstance(step, StartKeeper) else 2

    ordered = list(reversed(steps))
    ordered.sort(key=rank)  # a stable sort: within a rank it stays last first
    return ordered


def _was_used(step: Step, steps: Sequence[Step]) -> bool:
    """Whether a disk may have been written to: then it is the user's, even if `up` failed later."""
    if not isinstance(step, Run) or step.creates is None:
        return False
    owner = step.creates.parent.name
    return any(isinstance(other, Start) and other.machine == owner for other in steps)

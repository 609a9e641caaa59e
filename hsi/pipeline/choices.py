"""What the settings say of compression, in the terms of results.csv, checked before any work.

Criterion, granularity, scope and schedule are four choices that combine. `--prune_method` names two
usual combinations; each choice that is given besides takes the place of the method's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from hsi.compress.criteria import CRITERIA, check_weight_criterion
from hsi.compress.granularity import parse_granularity
from hsi.compress.lowrank.ranks import WORDS, Budget, Energy, Ratio, Rule
from hsi.compress.plan.budget import Target, parse_target
from hsi.compress.schedule import SCOPES
from hsi.errors import SettingsError, one_of
from hsi.models import network
from hsi.settings import Settings, percent_name

ONE_SHOT = "one_shot"
SCHEDULES: dict[str, str] = {
    ONE_SHOT: "from the trained network to the target at once, then fine-tuning",
    "iterative": "from each target to the next, fine-tuning after each",
    "layerwise": "from the trained network, layer after layer, fine-tuning after each",
}
CHANNEL = "channel"
OWN_TEACHER = "trained"
"""`--teacher trained`: the run's own trained network."""
STUDENTS_TEACHERS: dict[str, str] = {
    OWN_TEACHER: "the run's own trained network",
    "best": "of the trained and the pruned networks the one of the least validation loss",
}
LOW_RANK_METHODS: dict[str, str] = {
    "tucker2": "1x1, own taps on fewer channels, 1x1",
    "spatial": "a column and a row of taps",
    "svd": "dense layers and 1x1 convolutions alone",
}


@dataclass(frozen=True)
class Pruning:
    """How a network is pruned."""

    criterion: str
    granularity: str
    scope: str
    schedule: str

    @property
    def of_channels(self) -> bool:
        """Whether channels go (else weights become zero)."""
        return self.granularity == CHANNEL

    def columns(self) -> dict[str, str]:
        """As results.csv has it."""
        return asdict(self)


PRUNE_METHODS: dict[str, Pruning] = {
    "apoz": Pruning("apoz", CHANNEL, "global", "iterative"),
    "magnitude": Pruning("l1", "weight", "layer", ONE_SHOT),
}
"""Name -> the choices that it stands for."""


@dataclass(frozen=True)
class Goal:
    """What a pruned model is to reach.

    Attributes:
        name: in file names and variants: 20, 62.5, parameters-25%.
        percent: of the channels, or weights, that go; None where a budget or a plan says it.
        target: a budget of what may be left.
        plan: path of a plan to carry out.
    """

    name: str
    percent: float | None = None
    target: Target | None = None
    plan: str | None = None

    @property
    def column(self) -> float | str:
        """As results.csv has it: a percentage, a budget, or the name of a plan."""
        if self.percent is not None:
            return self.percent
        return self.target.text if self.target else f"plan {self.name}"


def pruning_of(settings: Settings) -> Pruning:
    """The four choices that the settings make."""
    weights = settings.granularity not in (None, CHANNEL)
    by_rate = bool(settings.compression_rates) and settings.granularity is None
    method = settings.prune_method or ("magnitude" if weights or by_rate else "apoz")
    given = {
        name: value
        for name in ("criterion", "granularity", "scope", "schedule")
        if (value := getattr(settings, name)) is not None
    }
    return replace(PRUNE_METHODS[one_of(method, PRUNE_METHODS, what="prune_method")], **given)


def goals_of(settings: Settings) -> list[Goal]:
    """The pruned models that the settings ask for, in the order in which they are made."""
    if settings.plan:
        stem = settings.plan.replace("\\", "/").rpartition("/")[2].rpartition(".")[0]
        return [Goal(f"plan-{stem or 'file'}", plan=settings.plan)]
    if settings.target:
        targets = [parse_target(text) for text in settings.target]
        if len({(target.quantity, target.relative) for target in targets}) == 1:
            # As percentages are: from the largest network to the smallest.
            targets.sort(key=lambda target: -target.amount)
        return [Goal(target.text.replace("=", "-"), target=target) for target in targets]
    choice = pruning_of(settings)
    if not choice.of_channels:
        unit = parse_granularity(choice.granularity)
        if unit.kind == "n:m":
            stay, of = unit.size
            return [Goal(f"{stay}of{of}", percent=100 * (1 - stay / of))]
    # Steps finer than a tenth of a percent have one name, and the first of them the file.
    named = {percent_name(percent): percent for percent in reversed(settings.prune_targets)}
    return [Goal(name, percent=percent) for name, percent in reversed(named.items())]


@dataclass(frozen=True)
class Student:
    """A network that learns from the trained one.

    Attributes:
        name: in file names: the network, with its width where it has another than 1.
        network: as on the command line.
        width: factor of its channels.
    """

    name: str
    network: str
    width: float = 1.0


def students_of(settings: Settings) -> list[Student]:
    """The networks of `--distill`: NAME or NAME:WIDTH.

    Raises:
        SettingsError: no such network, or a width that is none.
    """
    found = []
    for text in settings.distill:
        name, _, width = text.partition(":")
        chosen = network(name)
        try:
            factor = float(width) if width else 1.0
        except ValueError:
            factor = 0.0
        if not factor > 0:
            raise SettingsError(f"distill {text!r}: expected NETWORK or NETWORK:WIDTH above 0.")
        if factor != 1 and not chosen.has_width:
            raise SettingsError(f"distill {text!r}: {name} has one width alone; expected {name}.")
        found.append(Student(text.replace(":", "-"), name, factor))
    return found


def low_rank_rule(text: str) -> Rule:
    """A rule of `--low_rank`: energy=0.9, ratio=0.5, parameters=30% or macs=30%.

    Raises:
        SettingsError: another word, or a share that is none.
    """
    name, _, amount = (part.strip() for part in text.partition("="))
    one_of(name, (*_RANKS, *WORDS), what="rule of low_rank")
    try:
        share = float(amount.removesuffix("%")) / (100 if amount.endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise SettingsError(f"low_rank {text!r}: expected a share above 0 and up to 1, or 100 %.")
    return Budget(share, name) if name in WORDS else _RANKS[name](share)


_RANKS: dict[str, type[Energy] | type[Ratio]] = {"energy": Energy, "ratio": Ratio}


def shared_epochs(settings: Settings, count: int) -> list[int | None]:
    """Epochs of each of `count` fine-tunings; None means the usual number.

    `--epochs_total` is what the whole way to a target costs, so that schedules can be compared:
    the steps share it evenly, the first ones have one more where it does not divide.
    """
    if settings.epochs_total is None or not count:
        return [None] * count
    each, more = divmod(settings.epochs_total, count)
    return [each + (place < more) for place in range(count)]


def check_compression(settings: Settings) -> Settings:
    """Return the settings if nothing in them of pruning contradicts itself.

    Raises:
        SettingsError: an unknown name (the closest is offered), or choices that do not combine.
    """
    choice = pruning_of(settings)
    if not settings.prune:
        _only_with(settings, "--prune", _OF_PRUNING)
    quantizes = settings.quantize or settings.quantize_pruned_models or settings.quantize_folder
    if settings.quantization != Settings.quantization and not quantizes:
        raise SettingsError(
            "quantization: expected together with --quantize (the trained network) or "
            "--quantize_pruned_models; it says in which modes."
        )
    _check_amounts(settings, choice)
    _check_names(settings, choice)
    _check_derived(settings)
    for name, least in (("round_to", 1), ("min_channels", 1), ("epochs_total", 1)):
        value = getattr(settings, name)
        if value is not None and value < least:
            raise SettingsError(f"{name}: expected {least} or more, got {value}.")
    if settings.epochs_total is not None and settings.until_convergence:
        raise SettingsError(
            "epochs_total and until_convergence: expected one of them; the first fixes the number "
            "of epochs, the second leaves it open."
        )
    if settings.prune and not settings.plan:
        names = [goal.name for goal in goals_of(settings)]
        if not names:
            raise SettingsError(
                f"prune_start {settings.prune_start:g}, prune_increment "
                f"{settings.prune_increment:g} and prune_end {settings.prune_end:g} leave no step."
            )
        if len(set(names)) < len(names):
            raise SettingsError(f"Two targets have one name: {', '.join(names)}.")
    return settings


_OF_CHANNELS = ("target", "prune_dense", "no_compensation", "round_to", "min_channels")
_OF_PRUNING = (
    "prune_method", "criterion", "granularity", "scope", "schedule", "compression_rates", "keep",
    "plan", "epochs_total", "plan_only", *_OF_CHANNELS,
)  # fmt: skip
_OF_LADDERS = ("prune_start", "prune_increment", "prune_end")
_SAID_BY_PLANS = ("prune_method", "keep", "round_to", "min_channels", "prune_dense")


def _check_names(settings: Settings, choice: Pruning) -> None:
    one_of(choice.criterion, CRITERIA, what="criterion")
    one_of(choice.scope, SCOPES, what="scope")
    one_of(choice.schedule, SCHEDULES, what="schedule")
    if choice.of_channels:
        return
    parse_granularity(choice.granularity)
    check_weight_criterion(choice.criterion)
    _only_with(settings, "--granularity channel", _OF_CHANNELS)


def _check_derived(settings: Settings) -> None:
    students_of(settings)
    for text in settings.low_rank:
        low_rank_rule(text)
    one_of(settings.low_rank_method, LOW_RANK_METHODS, what="low_rank_method")
    for clusters in settings.clusters:
        if clusters < 2:
            raise SettingsError(f"clusters: expected 2 or more, got {clusters}.")
    if not settings.temperature > 0:
        raise SettingsError(f"temperature: expected above 0, got {settings.temperature:g}.")
    if not 0 <= settings.teacher_share <= 1:
        raise SettingsError(f"teacher_share: expected 0 to 1, got {settings.teacher_share:g}.")
    if settings.distill_from is not None:
        one_of(settings.distill_from, STUDENTS_TEACHERS, what="distill_from")
    if settings.distill_epochs < 1:
        raise SettingsError(f"distill_epochs: expected 1 or more, got {settings.distill_epochs}.")
    teacher = settings.teacher
    if teacher not in (None, OWN_TEACHER) and not Path(teacher or "").exists():
        raise SettingsError(f"teacher {teacher}: expected `{OWN_TEACHER}` or a model file.")


def _only_with(settings: Settings, what: str, names: Sequence[str]) -> None:
    if given := _given(settings, names):
        raise SettingsError(f"{given}: expected together with {what}.")


def _given(settings: Settings, names: Sequence[str]) -> str:
    """Those of these settings that are not by default."""
    return ", ".join(n for n in names if getattr(settings, n) != getattr(Settings, n))


def _check_amounts(settings: Settings, choice: Pruning) -> None:
    said = [name for name in ("compression_rates", "target", "plan") if getattr(settings, name)]
    if ":" in choice.granularity and not settings.plan:
        said.append(f"granularity {choice.granularity}")
    if len(said) > 1:
        raise SettingsError(f"{' and '.join(said)}: expected one of them.")
    if said and (ladder := _given(settings, _OF_LADDERS)):
        raise SettingsError(f"{ladder}: expected without {said[0]}, which says how much goes.")
    if settings.plan and (more := _given(settings, _SAID_BY_PLANS)):
        raise SettingsError(f"{more}: expected without plan, which says what goes.")
    if settings.plan and settings.schedule not in (None, ONE_SHOT):
        raise SettingsError(f"plan: is carried out at once; omit --schedule {settings.schedule}.")
    for rate in settings.compression_rates:
        if not rate > 1:
            raise SettingsError(f"compression_rates: expected factors above 1, got {rate:g}.")
    if not 0 <= settings.prune_start < 100 or not 0 < settings.prune_end < 100:
        raise SettingsError(
            f"prune_start and prune_end: expected percentages from 0 to below 100, got "
            f"{settings.prune_start:g} and {settings.prune_end:g}."
        )
    if not settings.prune_increment > 0:
        raise SettingsError(
            f"prune_increment: expected a percentage above 0, got {settings.prune_increment:g}."
        )

"""Sums of the store as the learner's arrays."""

from dataclasses import fields
from decimal import Decimal

from bandit.evidence import Sums
from service.domain.arm import Arm, ArmSums
from service.routing.arrays import sums_of

ARMS = [Arm(arm_id, "simulator", arm_id) for arm_id in ("small", "large")]


def test_every_sum_of_an_arm_comes_under_its_name_and_in_its_place() -> None:
    known = {"large": ArmSums(*(Decimal(i + 1) / 4 for i in range(len(fields(ArmSums)))))}  # type: ignore[arg-type]

    sums = sums_of(ARMS, known)

    expected = {field.name: [0.0, float(getattr(known["large"], field.name))] for field in fields(ArmSums)}
    assert {field.name: getattr(sums, field.name).tolist() for field in fields(Sums)} == expected
    assert len({values[1] for values in expected.values()}) == len(fields(Sums))

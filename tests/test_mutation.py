"""The report of the mutation tests; mutmut itself runs by `make mutation`."""

import pytest

from tests.mutation import drawn, report


def test_a_module_shows_the_share_of_its_mutants_that_tests_noticed_and_the_others_names() -> None:
    codes = {"bandit.a.x_f__mutmut_1": 1, "bandit.a.x_f__mutmut_2": 0, "bandit.b.x_g__mutmut_1": 36}

    text, share = report(codes)

    assert share == pytest.approx(2 / 3)
    assert [line.split() for line in text.splitlines()] == [
        ["module", "mutants", "noticed"],
        ["bandit.a", "2", "50%"],
        ["bandit.a.x_f__mutmut_2"],
        ["bandit.b", "1", "100%"],
        ["all", "3", "66.7%"],
    ]


@pytest.mark.parametrize("code", [None, 2, 34])
def test_a_mutant_whose_tests_did_not_finish_is_no_result(code: int | None) -> None:
    with pytest.raises(SystemExit, match="bandit"):
        report({"bandit.a.x_f__mutmut_1": code})


def test_the_sample_is_the_same_in_any_order_and_never_larger_than_all() -> None:
    names = [f"m{i}" for i in range(50)]

    assert drawn(names, 10) == drawn(names[::-1], 10)
    assert len(set(drawn(names, 10))) == 10
    assert sorted(drawn(names, 400)) == sorted(names)

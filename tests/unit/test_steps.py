"""What a command says while it takes its time."""

import pytest

from cellplane.cli.steps import Steps


def test_only_long_steps_are_told_of_and_never_among_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    times = iter([0.0, 0.4, 1.0, 3.5])
    steps = Steps("cell-4", clock=lambda: next(times))
    with steps.step("registered"):
        pass
    with steps.step("provisioned"):
        print("the answer")
    said = capsys.readouterr()
    assert said.out == "the answer\n"
    assert said.err == "cell-4: provisioned, 2.5 s\n"


def test_a_step_that_fails_says_nothing_of_itself(capsys: pytest.CaptureFixture[str]) -> None:
    times = iter([0.0, 5.0])
    with pytest.raises(ValueError, match="no"), Steps("cell-4", clock=lambda: next(times)).step("provisioned"):
        raise ValueError("no")
    assert capsys.readouterr().err == ""

import numpy as np
import pytest
from hypothesis import given
from scipy import stats

from bandit.arrays import Floats
from bandit.beta import Beta, cdf_and_pdf
from tests.bandit.worlds import arm_counts, seeds


@given(n_arms=arm_counts, seed=seeds)
def test_mean_mass_and_spread_are_those_of_the_distribution(n_arms: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mean, mass = rng.uniform(0.01, 0.99, n_arms), rng.uniform(0.1, 1000.0, n_arms)

    beta = Beta(mean, mass)

    reference = stats.beta(beta.alpha, beta.beta)
    assert np.allclose(beta.mean, mean)
    assert np.allclose(beta.mass, mass)
    assert np.allclose(beta.mean, reference.mean())
    assert np.allclose(beta.standard_deviation, reference.std())


def test_cdf_of_a_uniform_belief_is_the_grid_itself_and_stops_at_the_ends() -> None:
    beta = Beta.of_counts(np.array([1.0, 1.0]), np.array([1.0, 1.0]))

    below, _ = cdf_and_pdf(beta.alpha, beta.beta, np.array([[-0.5, 0.25, 0.5], [0.1, 1.0, 1.5]]))

    assert np.allclose(below, [[0.0, 0.25, 0.5], [0.1, 1.0, 1.0]])


@given(mean=seeds.map(lambda seed: np.random.default_rng(seed).uniform(0.01, 0.99, 5)))
def test_more_evidence_narrows(mean: Floats) -> None:
    earlier, later = Beta(mean, np.full(5, 10.0)), Beta(mean, np.full(5, 11.0))

    assert np.all(later.standard_deviation < earlier.standard_deviation)


@given(n_arms=arm_counts, seed=seeds)
def test_cdf_and_pdf_are_those_of_the_distribution(n_arms: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    beta = Beta(rng.uniform(0.01, 0.99, n_arms), rng.uniform(0.1, 1000.0, n_arms))
    grid = rng.uniform(0.001, 0.999, size=(n_arms, 7))

    reference = stats.beta(beta.alpha[:, None], beta.beta[:, None])
    below, density = cdf_and_pdf(beta.alpha, beta.beta, grid)
    assert np.allclose(below, reference.cdf(grid), atol=1e-4)
    assert np.allclose(density, reference.pdf(grid))


def test_densities_at_the_ends_are_finite() -> None:
    piled = Beta.of_counts(np.array([0.1]), np.array([0.1]))

    _, density = cdf_and_pdf(piled.alpha, piled.beta, np.array([[-1.0, 0.0, 1.0, 2.0]]))

    assert np.all(np.isfinite(density))


def test_a_widened_belief_has_its_mean_and_both_variances() -> None:
    belief = Beta(np.array([0.7, 0.2]), np.array([40.0, 90.0]))

    wider = belief.widened(np.array([0.1, 0.05]))

    assert wider.mean.tolist() == pytest.approx(belief.mean.tolist())
    assert (wider.standard_deviation**2).tolist() == pytest.approx(
        (belief.standard_deviation**2 + np.array([0.1, 0.05]) ** 2).tolist()
    )


def test_no_doubt_widens_nothing_and_any_doubt_leaves_a_belief() -> None:
    belief = Beta(np.array([0.5, 0.995]), np.array([10.0, 5.0]))

    assert belief.widened(np.zeros(2)).mass.tolist() == pytest.approx(belief.mass.tolist())
    assert (belief.widened(np.full(2, 100.0)).mass > 0).all()

import numpy as np
from hypothesis import given
from scipy import stats

from bandit.arrays import Floats
from bandit.beta import Beta
from tests.bandit.worlds import arm_counts, seeds


@given(n_arms=arm_counts, seed=seeds)
def test_mean_mass_and_spread_are_those_of_the_distribution(n_arms: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mean, mass = rng.uniform(0.01, 0.99, n_arms), rng.uniform(0.1, 1000.0, n_arms)

    beta = Beta.from_mean(mean, mass)

    reference = stats.beta(beta.alpha, beta.beta)
    assert np.allclose(beta.mean, mean)
    assert np.allclose(beta.mass, mass)
    assert np.allclose(beta.mean, reference.mean())
    assert np.allclose(beta.standard_deviation, reference.std())


def test_cdf_of_a_uniform_belief_is_the_grid_itself_and_stops_at_the_ends() -> None:
    beta = Beta(np.array([1.0, 1.0]), np.array([1.0, 1.0]))

    below = beta.cdf(np.array([[-0.5, 0.25, 0.5], [0.1, 1.0, 1.5]]))

    assert np.allclose(below, [[0.0, 0.25, 0.5], [0.1, 1.0, 1.0]])


@given(mean=seeds.map(lambda seed: np.random.default_rng(seed).uniform(0.01, 0.99, 5)))
def test_more_evidence_narrows(mean: Floats) -> None:
    earlier, later = Beta.from_mean(mean, np.full(5, 10.0)), Beta.from_mean(mean, np.full(5, 11.0))

    assert np.all(later.standard_deviation < earlier.standard_deviation)


@given(n_arms=arm_counts, seed=seeds)
def test_cdf_and_pdf_are_those_of_the_distribution(n_arms: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    beta = Beta.from_mean(rng.uniform(0.01, 0.99, n_arms), rng.uniform(0.1, 1000.0, n_arms))
    grid = rng.uniform(0.001, 0.999, size=(n_arms, 7))

    reference = stats.beta(beta.alpha[:, None], beta.beta[:, None])
    assert np.allclose(beta.cdf(grid), reference.cdf(grid), atol=1e-4)
    assert np.allclose(beta.pdf(grid), reference.pdf(grid))


def test_densities_at_the_ends_are_finite() -> None:
    piled = Beta(np.array([0.1]), np.array([0.1]))

    assert np.all(np.isfinite(piled.pdf(np.array([[-1.0, 0.0, 1.0, 2.0]]))))

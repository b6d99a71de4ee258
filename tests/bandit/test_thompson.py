import numpy as np
import pytest
from hypothesis import given
from scipy import special

from bandit.arrays import Floats
from bandit.beta import Beta
from bandit.thompson import _cubic, probabilities, sample
from tests.bandit.worlds import arm_counts, seeds

N_DRAWS = 200_000


def drawn_probabilities(posterior: Beta, weight: float, offset: Floats, seed: int = 0) -> Floats:
    """Monte Carlo, draws within 1e-9 of the largest sharing it; standard error at most 0.0011."""
    rng = np.random.default_rng(seed)
    thetas = rng.beta(posterior.alpha, posterior.beta, size=(N_DRAWS, offset.size))
    utilities = weight * thetas + offset
    largest = utilities >= utilities.max(axis=1, keepdims=True) - 1e-9
    shares: Floats = (largest / largest.sum(axis=1, keepdims=True)).mean(axis=0)
    return shares


def integrated_probabilities(posterior: Beta, weight: float, offset: Floats) -> Floats:
    """P_a as an integral over a's quantiles u, at 250 nodes that crowd at u = 0 and u = 1."""
    nodes, shares = np.polynomial.legendre.leggauss(250)
    t = (nodes + 1) / 2
    u = (t**3 * (10 - 15 * t + 6 * t**2)).clip(1e-16, 1 - 1e-16)
    alpha, beta = posterior.alpha[:, None], posterior.beta[:, None]
    result = np.zeros(offset.size)
    for arm, quantiles in enumerate(special.betaincinv(alpha, beta, u)):
        theirs = (quantiles + (offset[arm] - offset[:, None]) / weight).clip(0, 1)
        below = special.betainc(alpha, beta, theirs)
        below[arm] = 1.0
        result[arm] = below.prod(axis=0) @ (shares / 2 * 30 * t**2 * (1 - t) ** 2)
    return result


def random_posterior(n_arms: int, rng: np.random.Generator, least_mass: float = 0.01) -> Beta:
    mass = least_mass * (1e5 / least_mass) ** rng.uniform(size=n_arms)
    return Beta(rng.uniform(0.001, 0.999, n_arms), mass)


@pytest.mark.parametrize("seed", range(12))
def test_quadrature_agrees_with_monte_carlo_within_five_thousandths(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_arms = [2, 3, 5, 10, 14, 20][seed % 6]
    posterior = random_posterior(n_arms, rng, least_mass=3.0)
    offset = rng.normal(0, 0.05, n_arms)

    exact = probabilities(posterior, 0.6, offset)

    assert exact == pytest.approx(drawn_probabilities(posterior, 0.6, offset), abs=0.005)


@pytest.mark.parametrize(
    ("least_mass", "means", "usual", "largest"),
    [(10.0, (0.4, 0.95), 1e-4, 2e-3), (0.2, (0.001, 0.999), 2e-3, 8e-3)],
    ids=["as beliefs are", "piled up at the ends"],
)
def test_the_error_is_mostly_small_and_never_large(
    least_mass: float, means: tuple[float, float], usual: float, largest: float
) -> None:
    rng = np.random.default_rng(7)
    errors = []
    for _ in range(40):
        n_arms = int(rng.integers(2, 9))
        mass = least_mass * (3e3 / least_mass) ** rng.uniform(size=n_arms)
        posterior, offset = Beta(rng.uniform(*means, n_arms), mass), rng.normal(0, 0.08, n_arms)
        error = probabilities(posterior, 0.6, offset) - integrated_probabilities(posterior, 0.6, offset)
        errors.append(np.abs(error).max())

    assert np.quantile(errors, 0.9) < usual
    assert max(errors) < largest


@pytest.mark.parametrize("seed", range(12))
def test_beliefs_that_pile_up_at_zero_or_one_agree_too(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_arms = [2, 5, 14][seed % 3]
    posterior = Beta(rng.uniform(0.05, 0.95, n_arms), 10 ** rng.uniform(-2, 0.5, n_arms))
    offset = rng.normal(0, 0.05, n_arms)

    exact = probabilities(posterior, 1.0, offset)

    assert exact == pytest.approx(drawn_probabilities(posterior, 1.0, offset), abs=0.005)


def test_two_uniform_beliefs_a_tenth_apart_give_the_closed_form() -> None:
    flat = Beta.of_counts(np.ones(2), np.ones(2))

    exact = probabilities(flat, 1.0, np.array([0.1, 0.0]))

    assert exact[1] == pytest.approx(0.9**2 / 2, abs=1e-3)


@given(n_arms=arm_counts, seed=seeds)
def test_probabilities_sum_to_one(n_arms: int, seed: int) -> None:
    rng = np.random.default_rng(seed)

    chances = probabilities(random_posterior(n_arms, rng), rng.uniform(), rng.normal(0, 0.2, n_arms))

    assert np.all(chances >= 0)
    assert chances.sum() == pytest.approx(1.0, abs=1e-12)


@given(n_arms=arm_counts, seed=seeds)
def test_permuting_arms_permutes_probabilities(n_arms: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    posterior, offset = random_posterior(n_arms, rng), rng.normal(0, 0.1, n_arms)
    order = rng.permutation(n_arms)

    chances = probabilities(Beta.of_counts(posterior.alpha[order], posterior.beta[order]), 0.6, offset[order])

    assert chances == pytest.approx(probabilities(posterior, 0.6, offset)[order], abs=1e-9)


@pytest.mark.parametrize("mass", [0.001, 2.0, 1e9])
def test_equal_arms_share_evenly_however_sharp_or_flat(mass: float) -> None:
    posterior = Beta(np.full(14, 0.7), np.full(14, mass))

    assert probabilities(posterior, 0.6, np.zeros(14)) == pytest.approx(1 / 14, abs=1e-6)


def test_a_clear_winner_takes_everything() -> None:
    posterior = Beta(np.array([0.9, 0.5, 0.2]), np.full(3, 1e4))

    assert probabilities(posterior, 0.6, np.zeros(3)).tolist() == [1.0, 0.0, 0.0]


def test_without_weight_on_quality_the_largest_offsets_share() -> None:
    posterior = Beta(np.array([0.1, 0.9, 0.5]), np.full(3, 10.0))

    assert probabilities(posterior, 0.0, np.array([0.2, 0.1, 0.2])).tolist() == [0.5, 0.0, 0.5]


def test_an_arm_ruled_out_gets_nothing() -> None:
    posterior = Beta(np.array([0.9, 0.5, 0.5]), np.full(3, 2.0))

    chances = probabilities(posterior, 1.0, np.array([-np.inf, 0.0, 0.0]))

    assert chances == pytest.approx([0.0, 0.5, 0.5])


def test_ruling_out_every_arm_is_refused() -> None:
    with pytest.raises(ValueError, match="every arm is ruled out"):
        probabilities(Beta.of_counts(np.ones(2), np.ones(2)), 1.0, np.full(2, -np.inf))


def test_samples_follow_the_same_utilities() -> None:
    posterior, offset = Beta(np.array([0.5, 0.6]), np.full(2, 10.0)), np.array([0.05, 0.0])
    rng = np.random.default_rng(3)

    wins = np.bincount([sample(posterior, 0.6, offset, rng).argmax() for _ in range(10_000)])

    assert wins / 10_000 == pytest.approx(probabilities(posterior, 0.6, offset), abs=0.02)


def test_the_matrix_of_cubics_gives_values_and_slopes_of_any_cubic() -> None:
    nodes = np.array([0.0, 0.2, 0.7, 1.0])
    cubic = np.polynomial.Polynomial([0.3, -1.2, 2.5, -0.8])
    slope = cubic.deriv()

    found = _cubic(nodes) @ [cubic(0), cubic(1) - cubic(0), slope(0), slope(1)]

    np.testing.assert_allclose(found, np.concatenate([cubic(nodes), slope(nodes)]), atol=1e-12)

"""The comparison of peers: a batch, a run, what is kept of it, and what the records say."""

import itertools
import math
from dataclasses import asdict, replace
from functools import partial
from importlib.util import find_spec

import pytest
import torch
from examples import generator

from enn_book.models.catalogue import PEERS, build_peer
from enn_book.models.edges import CUTOFF, radial_features
from enn_book.studies.peers import study as peers
from enn_book.studies.peers.study import (
    BEYOND,
    COMPARISON,
    EFFICIENCY,
    FIRST,
    RATES,
    RIVALS,
    SECONDS,
    SIZES,
    STUDY,
    TRIALS,
    longer,
    trained,
)
from enn_book.studies.study import Outcome, load
from enn_book.studies.timed import ahead, equivariance_errors, mean_error, ratio
from enn_lib.argon import ARGON, Configurations, Scales, generate_data, sample_positions
from enn_lib.evaluation import rmsd
from enn_lib.graph import GaussianRadial, VectorGraphLayer

small = partial(peers.PeerConfig, n_configurations=100, n_train=60)


# A batch

every_kind = pytest.mark.parametrize("kind", ["rotate", "relabel"])


@every_kind
def test_an_augmented_batch_still_obeys_the_true_forces(kind):
    positions = sample_positions(50, seed=1)
    r, f = peers.augmented(kind, positions.float(), ARGON.forces(positions).float(), generator())
    assert not torch.allclose(r, positions.float())
    torch.testing.assert_close(f, ARGON.forces(r.double()).float(), rtol=1e-3, atol=1e-5)


@every_kind
def test_every_configuration_is_augmented_by_its_own_member(kind):
    same = sample_positions(1, seed=1).float().expand(30, -1, -1)
    r, _ = peers.augmented(kind, same, same, generator())
    assert len(r.unique(dim=0)) > 10


def test_rotations_are_orthogonal_and_half_of_them_reflect():
    q = peers.random_orthogonal(400, generator())
    torch.testing.assert_close(q @ q.mT, torch.eye(3).expand_as(q), atol=1e-5, rtol=0)
    assert 150 < (torch.linalg.det(q) > 0).sum() < 250


def test_an_unknown_augmentation_is_refused():
    with pytest.raises(ValueError, match="augment: got 'stretch'"):
        peers.augmented("stretch", torch.zeros(1, 4, 3), torch.zeros(1, 4, 3), generator())


# A run


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("optimiser", ["adam", "soap"])
def test_every_peer_takes_a_step_with_either_optimiser(name, optimiser, clock):
    if PEERS[name].extra and not find_spec(PEERS[name].extra):
        pytest.skip("the optional extra 'peers' is not installed")
    measured = peers.run_peer(small(name, optimiser, 0.003, 2.0)).measured
    assert measured["steps"] == 2
    first, second = (row[-1] for row in measured["history"])
    assert first != second, "the first step of SOAP only sets up its basis"
    assert 0 < measured["test_rmsd"] < 1
    assert measured["equivariance_error"]["T"] < 1e-6
    for group in "OS":
        assert (measured["equivariance_error"][group] < 1e-4) == (group in PEERS[name].groups)


def test_a_run_learns_in_its_time():
    measured = peers.run_peer(small("pair-radial", "adam", 0.01, 1.0)).measured
    assert 1.0 <= measured["seconds"] < 3
    assert measured["history"][-1][-1] < measured["history"][0][-1]
    assert measured["inference_seconds"] > 0


def test_a_run_that_diverges_says_so():
    measured = peers.run_peer(small("vector-neurons", "adam", 1e30, 60.0)).measured
    assert measured["test_rmsd"] is measured["validation_rmsd"] is None


def test_every_batch_is_augmented_and_the_data_are_those_of_the_seed(monkeypatch, clock):
    seen = []

    def watched(kind, positions, forces, generator):
        seen.append((kind, positions.clone()))
        return positions, forces

    monkeypatch.setattr(peers, "augmented", watched)
    for seed in (0, 1):
        peers.run_peer(small("enn-s4", "adam", 0.0, 1.0, seed=seed, n_train=7))
        data = generate_data(100, 2208 + seed)
        wanted = (data.train.positions[:7] / data.scales.position).float()
        kind, batch = seen[seed]
        assert kind == "relabel"
        assert torch.equal(batch.flatten(1).sort(dim=0).values, wanted.flatten(1).sort(dim=0).values)


def test_the_seed_decides_the_weights(clock):
    for seed in (0, 3):
        weights = peers.run_peer(small("egnn", "adam", 0.0, 1.0, seed=seed)).weights
        assert weights["embedding"].equal(build_peer("egnn", seed).embedding)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_train": 61}, "seconds, n_train: got 1.0, 61, wanted a positive time and 1 to 60"),
        ({"model": "schnet"}, "peer: got 'schnet'"),
    ],
)
def test_a_bad_setting_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        peers.run_peer(replace(small("egnn", "adam", 0.01, 1.0), **change))


# What is kept


def test_the_weights_of_the_chosen_trials_are_kept_and_loaded_with_their_scales(tmp_path, monkeypatch):
    made = {}

    def run(config):
        made[config.name] = build_peer(config.model, seed=len(made))
        error = 0.9 - TRIALS.index((config.optimiser, config.rate)) / 10
        measured = {"validation_rmsd": error, "scales": {"position": 5.0, "force": 0.2}}
        return Outcome(measured, weights=made[config.name].state_dict())

    two = replace(COMPARISON, models=("perceptron", "enn-s4"), seeds=(0, 1), fewer={"perceptron": (100,)})
    monkeypatch.setattr(peers, "COMPARISON", two)
    records = replace(STUDY, plan=two.plan, run=run).repeat(tmp_path)
    chosen = {model: peers.PeerConfig(model, *TRIALS[-1], SECONDS).name for model in two.models}
    assert len(records) == 8 + 2 + 2
    assert {file.stem for file in tmp_path.glob("*.safetensors")} == set(chosen.values())
    positions = sample_positions(3, seed=0)
    for model, name in chosen.items():
        wanted = peers.force_field(model, made[name].double(), Scales(5.0, 0.2)).forces(positions)
        torch.testing.assert_close(trained(model, records).forces(positions), wanted)


def test_before_a_choice_the_weights_of_all_trials_are_kept(tmp_path):
    trials = [peers.PeerConfig("egnn", *trial, SECONDS).name for trial in TRIALS]

    def run(config):
        return Outcome({"validation_rmsd": config.rate}, weights={"w": torch.ones(1)})

    replace(STUDY, run=run).repeat(tmp_path, names=trials[:3])
    assert len(list(tmp_path.glob("*.safetensors"))) == 3


# The records


@pytest.fixture(scope="module")
def runs():
    return COMPARISON.runs(load("peers"), SECONDS)


@pytest.fixture(scope="module")
def full(runs):
    return {model: sizes[SIZES[-1]] for model, sizes in runs.items()}


@pytest.mark.parametrize("model", FIRST)
def test_a_chosen_model_has_the_error_of_its_record(model, full):
    """The weights of the chosen trial, on test configurations drawn again."""
    record = full[model][0]
    data = generate_data(record.config["n_configurations"], 2208)
    assert record["scales"] == asdict(data.scales)
    test = Configurations(data.test.positions[:5000], data.test.forces[:5000])
    assert rmsd(trained(model), test) == pytest.approx(record["test_rmsd"], rel=1e-3)


def test_the_records_are_whole(runs):
    """Every choice for every model, every seed, and every size for the models of the sweep."""
    for model in FIRST:
        assert set(runs[model]) == set(SIZES if model in EFFICIENCY else SIZES[-1:])
        for n, found in runs[model].items():
            assert tuple(record.config["seed"] for record in found) == COMPARISON.seeds, (model, n)


def test_every_run_had_its_time_and_what_was_kept_is_its_best():
    for record in load("peers").values():
        if record["test_rmsd"] is not None:
            assert 0 <= record["seconds"] - record.config["seconds"] < 1.5, "no step is longer"
            if not PEERS[record.config["model"]].average:
                assert record["validation_rmsd"] == min(row[-1] for row in record["history"])


def test_the_verdict_of_the_readme_holds(runs, full):
    error = {model: mean_error(found) for model, found in full.items()}
    others = set(FIRST) - {"enn"}
    behind = {"perceptron", "perceptron-rotated", "vector-neurons"}
    assert error["enn"] == pytest.approx(0.0064, rel=0.01)
    assert {model: ahead(full["enn"], full[model]) for model in others} == {m: m in behind for m in others}
    three = [error[model] for model in ("enn-graph", "egnn", "pair-radial")]
    assert three == pytest.approx([5.7e-4, 3.0e-4, 2.0e-4], rel=0.03)
    best = {model for model in FIRST if ahead(full[model], full["enn-graph"])}
    assert best == {"egnn", "pair-radial"}
    assert all(ahead(full["enn-graph"], full[model]) for model in set(FIRST) - best - {"enn-graph"})
    assert ahead(full["egnn"], full["pair-radial"]) is None
    for n in SIZES:
        assert all(ahead(runs["egnn"][n], runs[model][n]) for model in EFFICIENCY[:-1])
        assert ahead(runs["enn"][n], runs["perceptron"][n])
        assert ahead(runs["enn"][n], runs["perceptron-rotated"][n]) is (n != 1000)
    factors = [mean_error(runs["perceptron"][n]) / mean_error(runs["enn"][n]) for n in SIZES]
    assert [factors[0], *factors[2:]] == pytest.approx([1.2, 7.9, 3.8], rel=0.05)
    zero = generate_data().test.forces.square().mean().sqrt().item()
    assert zero == pytest.approx(0.127, abs=1e-3)
    assert all(mean_error(runs[m][100]) > 0.9 * zero for m in ("enn", "perceptron"))


def test_what_the_readme_says_did_not_work_did_not(full):
    assert mean_error(full["vector-neurons"]) == pytest.approx(0.114, abs=1e-3)
    assert max(record["equivariance_error"]["S"] for record in full["enn"]) == pytest.approx(0.14, abs=0.005)
    greatest = {"soap": 0.01, "adam": 0.003}
    configs = [found[0].config for found in full.values()]
    assert (len(configs), sum(c["rate"] == greatest[c["optimiser"]] for c in configs)) == (11, 8)
    records = [*itertools.chain(*full.values())]
    histories = [[row[-1] for row in record["history"]] for record in records]
    assert (len(histories), sum(history[-1] == min(history) for history in histories)) == (33, 32)
    assert 2 / math.comb(6, 3) == 0.1
    assert math.comb(len(FIRST), 2) == 55
    assert all(51_000 <= record["parameters"] <= 53_100 for record in records)


def test_the_broken_symmetry_of_one_graph_enn_was_the_rounding_of_its_cutoff(full):
    broken = {
        (model, record.config["seed"]): record["equivariance_error"]["O"]
        for model, found in full.items()
        for record in found
        if "O" in PEERS[model].groups
    }
    assert broken.pop(("enn-graph", 0)) == pytest.approx(3.2e-4, rel=0.02)
    assert max(broken.values()) < 6e-6
    record, positions = full["enn-graph"][0], generate_data().test.positions[:200]
    model = build_peer("enn-graph")
    model.load_state_dict(record.weights())
    assert model.scales.min() < 5e-4, "its outermost descriptor is divided by little"
    field, options = peers.force_field("enn-graph", model, Scales(**record["scales"])), {"output_actions": {}}
    assert equivariance_errors(field.forces, positions, actions={"O": "rows"}, **options)["O"] < 6e-6


# The second comparison


@pytest.fixture(scope="module")
def second():
    return longer(load("peers"))


def test_the_second_comparison_is_whole(second):
    for model in RIVALS:
        seeds = {seconds: [r.config["seed"] for r in found] for seconds, found in second[model].items()}
        assert seeds == {SECONDS: [3, 4, 5], 4 * SECONDS: [3, 4]}, model


def test_every_rate_of_the_second_comparison_lies_between_two_that_are_worse(second):
    for model, times in second.items():
        tried = sorted({rate for _, rate in (*RATES, *BEYOND[model])})
        chosen = {found[0].config["rate"] for found in times.values()}
        assert chosen <= {*tried[1:-1]}, model


@pytest.mark.parametrize(
    ("larger", "smaller", "short", "long"),
    [
        ("enn", "tensor-products", (2.8, 1.6, 4.7), (22, 14, 33)),
        ("tensor-products", "enn-graph", (4.2, 2.3, 7.8), (2.0, 1.3, 3.1)),
        ("tensor-products", "egnn", (4.2, 2.0, 9.1), (1.5, 0.50, 4.7)),
        ("frames", "enn", (3.0, 2.6, 3.5), (1.9, 1.4, 2.7)),
        ("egnn", "enn-graph", (1.0, 0.52, 1.95), (1.3, 0.46, 3.7)),
    ],
)
def test_the_factors_of_the_readme_are_those_of_the_records(larger, smaller, short, long, second):
    for seconds, wanted in ((SECONDS, short), (4 * SECONDS, long)):
        found = ratio(second[smaller][seconds], second[larger][seconds])
        assert found == pytest.approx(wanted, rel=0.04)


def test_a_step_of_tensor_products_costs_ten_of_the_enn(second):
    cost = {}
    for model in ("enn", "tensor-products"):
        runs = [record for found in second[model].values() for record in found]
        for key, per in (("seconds", "steps"), ("inference_seconds", None)):
            cost[model, key] = sum(r[key] / (r[per] if per else 1) for r in runs)
    for key, wanted in (("seconds", 10), ("inference_seconds", 13)):
        assert cost["tensor-products", key] / cost["enn", key] == pytest.approx(wanted, rel=0.05)


def equally_spaced(count=32):
    width = CUTOFF / (count - 1)
    return GaussianRadial([0.5 / width**2] * count, [k * width for k in range(count)], CUTOFF)


@pytest.mark.parametrize(("radial", "wanted"), [(radial_features(32), 1.2e-4), (equally_spaced(), 3.6e-6)])
def test_least_squares_on_the_sums_has_the_error_of_the_readme(radial, wanted):
    layer = VectorGraphLayer(radial).double()
    found = []
    for seed in (3, 4, 5):
        data = generate_data(100_000, 2208 + seed)
        train, test = (
            layer(part.positions[:5000] / data.scales.position) for part in (data.train, data.test)
        )
        few = train[:1000].flatten(0, 2)
        coefficients = torch.linalg.lstsq(few, data.train.forces[:1000].flatten(), driver="gelsd").solution
        found.append((test @ coefficients - data.test.forces[:5000]).square().mean().sqrt().item())
    assert sum(found) / 3 == pytest.approx(wanted, rel=0.05)


def test_its_runs_are_of_one_processor(second):
    runs = [record for times in second.values() for found in times.values() for record in found]
    assert {record["provenance"]["hardware"]["processor"] for record in runs} == {"AMD EPYC"}


@pytest.mark.parametrize("model", [model for model in RIVALS if model not in FIRST])
def test_a_longer_run_has_the_error_of_its_record(model, second):
    if PEERS[model].extra and not find_spec(PEERS[model].extra):
        pytest.skip("the optional extra 'peers' is not installed")
    record = second[model][max(second[model])][0]
    data = generate_data(record.config["n_configurations"], 2208 + record.config["seed"])
    made = build_peer(model)
    made.load_state_dict(record.weights())
    test = Configurations(data.test.positions[:5000], data.test.forces[:5000])
    found = rmsd(peers.force_field(model, made, data.scales), test)
    assert found == pytest.approx(record["test_rmsd"], rel=1e-3)

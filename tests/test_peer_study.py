"""The comparison of peers: what is done to a batch, what is measured, what is chosen, and that it goes on."""

from dataclasses import asdict, replace

import pytest
import torch

from enn_lib.argon import ARGON, Configurations, generate_data, sample_positions
from enn_lib.peers.catalogue import PEERS, build_peer
from enn_lib.peers.study import (
    EFFICIENCY,
    SEEDS,
    SHIPPED_PEERS,
    SIZES,
    TRIALS,
    best_trial,
    load_peers,
    longest_time,
    plan,
    read_records,
    run_peers,
)
from enn_lib.peers.training import (
    N_TEST,
    PeerConfig,
    augmented,
    force_field,
    random_orthogonal,
    rmsd,
    train_peer,
)
from enn_lib.storage import load_tensors

SMALL = {"n_configurations": 100, "n_train": 60}


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


# A batch


@pytest.mark.parametrize("kind", ["rotate", "relabel"])
def test_an_augmented_batch_still_obeys_the_true_forces(kind, generator):
    positions = sample_positions(50, seed=1)
    r, f = augmented(kind, positions.float(), ARGON.forces(positions).float(), generator)
    assert not torch.allclose(r, positions.float())
    torch.testing.assert_close(f, ARGON.forces(r.double()).float(), rtol=1e-3, atol=1e-5)


def test_every_configuration_is_augmented_by_its_own_member(generator):
    same = sample_positions(1, seed=1).float().expand(30, -1, -1)
    for kind in ("rotate", "relabel"):
        r, _ = augmented(kind, same, same, generator)
        assert len({tuple(p.flatten().tolist()) for p in r}) > 10


def test_rotations_are_orthogonal_and_half_of_them_reflect(generator):
    q = random_orthogonal(400, generator)
    torch.testing.assert_close(q @ q.mT, torch.eye(3).expand_as(q), atol=1e-5, rtol=0)
    assert 150 < (torch.linalg.det(q) > 0).sum() < 250


def test_an_unknown_augmentation_is_refused(generator):
    with pytest.raises(ValueError, match="augment: got 'stretch'"):
        augmented("stretch", torch.zeros(1, 4, 3), torch.zeros(1, 4, 3), generator)


# A run


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("optimiser", ["adam", "soap"])
def test_every_peer_takes_a_step_with_either_optimiser(name, optimiser):
    model, measured = train_peer(PeerConfig(name, optimiser, 0.003, 60.0, **SMALL), max_steps=2)
    assert measured["steps"] == 2
    start = build_peer(name)
    assert any(not torch.equal(a, b) for a, b in zip(model.parameters(), start.parameters(), strict=True))
    assert 0 < measured["test_rmsd"] < 1
    assert measured["equivariance_error"]["T"] < 1e-6
    assert (measured["equivariance_error"]["O"] < 1e-4) == ("O" in PEERS[name].groups)
    assert (measured["equivariance_error"]["S"] < 1e-4) == ("S" in PEERS[name].groups)


def test_a_run_ends_when_its_time_is_over_and_has_learned():
    _, measured = train_peer(PeerConfig("pair-radial", "adam", 0.01, 1.0, **SMALL))
    assert 1.0 <= measured["seconds"] < 3
    times, steps, errors = zip(*measured["history"], strict=True)
    assert list(times) == sorted(times)
    assert steps[-1] <= measured["steps"]
    assert errors[-1] < errors[0]
    assert measured["epochs"] == measured["steps"]


def test_a_run_that_diverges_says_so():
    _, measured = train_peer(PeerConfig("vector-neurons", "adam", 1e30, 60.0, **SMALL), max_steps=50)
    assert measured["test_rmsd"] is None


def test_the_error_is_the_root_mean_square_of_a_component():
    class Off:
        def forces(self, positions):
            return ARGON.forces(positions) + torch.tensor([0.3, 0.0, 0.0], dtype=torch.float64)

    positions = sample_positions(10, seed=0)
    assert rmsd(Off(), Configurations(positions, ARGON.forces(positions))) == pytest.approx(0.3 / 3**0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seconds": 0.0}, "seconds, n_train: got 0.0, 60"),
        ({"n_train": 61}, "seconds, n_train: got 1.0, 61"),
        ({"peer": "schnet"}, "peer: got 'schnet'"),
        ({"optimiser": "sgd"}, "optimiser: got 'sgd', wanted one of fire, adam"),
    ],
)
def test_a_bad_setting_is_named(change, message):
    settings = {"peer": "egnn", "optimiser": "adam", "rate": 0.01, "seconds": 1.0, **SMALL} | change
    with pytest.raises(ValueError, match=message):
        train_peer(PeerConfig(**settings))


# The study


def fake(done):
    """A training that takes no time; the last trial is the best."""

    def train(config):
        done.append(config)
        error = {"soap": 0.2, "adam": 0.1}[config.optimiser]
        return build_peer(config.peer), {"validation_rmsd": error, "test_rmsd": error}

    return train


def test_a_study_tries_every_model_before_it_tries_one_again(tmp_path):
    first = plan(tmp_path)
    assert [config.peer for config in first] == list(PEERS) * len(TRIALS)
    assert all((config.seed, config.n_train) == (0, SIZES[-1]) for config in first)


def test_a_study_chooses_on_validation_and_goes_on_with_what_is_missing(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr("enn_lib.peers.study.train_peer", fake(done))
    run_peers(tmp_path, seconds=2.0)
    later = done[len(PEERS) * len(TRIALS) :]
    assert {config.optimiser for config in later} == {"adam"}
    assert {config.seed for config in later if config.n_train == SIZES[-1]} == set(SEEDS) - {0}
    assert len(later) == len(PEERS) * (len(SEEDS) - 1) + len(EFFICIENCY) * len(SEEDS) * (len(SIZES) - 1)
    (tmp_path / f"{later[-1].file}.json").unlink()
    done.clear()
    run_peers(tmp_path, seconds=2.0)
    assert done == [later[-1]]
    kept = {file.name for file in tmp_path.glob("*.safetensors")}
    assert kept == {f"{PeerConfig(peer, *TRIALS[-1], 2.0).file}.safetensors" for peer in PEERS}
    study = load_peers(tmp_path)
    assert list(study) == list(PEERS)
    assert len(study["enn"][SIZES[-1]]) == len(SEEDS)
    assert set(study["painn"]) == {SIZES[-1]}
    assert set(study["egnn"]) == set(SIZES)


def test_a_budget_that_is_spent_begins_nothing(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr("enn_lib.peers.study.train_peer", fake(done))
    run_peers(tmp_path, budget=-1.0)
    assert not done


def test_a_run_that_diverged_is_never_chosen():
    base = asdict(PeerConfig("enn", "adam", 0.003, 2.0))
    records = [
        {"config": base, "validation_rmsd": 0.5},
        {"config": base | {"rate": 0.01}, "validation_rmsd": None},
        {"config": base | {"rate": 0.02, "seed": 1}, "validation_rmsd": 0.1},
        {"config": base | {"rate": 0.02, "n_train": 100}, "validation_rmsd": 0.1},
    ]
    assert best_trial(records, "enn", 2.0)["config"]["rate"] == 0.003
    assert best_trial(records, "enn", 3.0) is None
    assert best_trial(records, "egnn", 2.0) is None


def test_the_longest_time_that_all_models_have_is_taken():
    records = [
        {"config": asdict(PeerConfig(peer, "adam", 0.003, t)), "validation_rmsd": 1.0}
        for peer in PEERS
        for t in (1.0, 5.0)
    ]
    records.append({"config": asdict(PeerConfig("enn", "adam", 0.003, 9.0)), "validation_rmsd": 1.0})
    assert longest_time(records) == 5.0
    with pytest.raises(ValueError, match="wanted a trial of every model"):
        longest_time(records[-1:])


# The shipped study


@pytest.fixture(scope="module")
def study():
    return load_peers()


@pytest.mark.parametrize("peer", PEERS)
def test_a_shipped_model_has_the_error_of_its_record(peer, study):
    """The weights of the chosen trial, on test configurations drawn again."""
    (record,) = [r for r in study[peer][SIZES[-1]] if r["config"]["seed"] == 0]
    config = PeerConfig(**record["config"])
    model = build_peer(peer)
    model.load_state_dict(load_tensors(SHIPPED_PEERS / f"{config.file}.safetensors")[0])
    data = generate_data(config.n_configurations, 2208)
    test = Configurations(data.test.positions[:N_TEST], data.test.forces[:N_TEST])
    assert rmsd(force_field(peer, model, data), test) == pytest.approx(record["test_rmsd"], rel=1e-3)


def test_the_shipped_models_had_the_same_choices_and_the_same_time():
    records = read_records()
    seconds = longest_time(records)
    tried = {
        peer: {
            (r["config"]["optimiser"], r["config"]["rate"])
            for r in records
            if (r["config"]["peer"], r["config"]["seconds"]) == (peer, seconds)
        }
        for peer in PEERS
    }
    assert all(choices == tried["enn"] for choices in tried.values())
    for record in records:
        assert record["seconds"] >= record["config"]["seconds"]
        assert record["seconds"] < record["config"]["seconds"] + 1.5, "no step is longer"


def test_the_shipped_study_is_small():
    assert sum(file.stat().st_size for file in SHIPPED_PEERS.iterdir()) < 4_000_000


def test_a_configuration_names_its_files_apart():
    config = PeerConfig("enn", "adam", 0.003, 2.0)
    others = [replace(config, seed=1), replace(config, n_train=100), replace(config, seconds=3.0)]
    assert len({c.file for c in (config, *others)}) == 4

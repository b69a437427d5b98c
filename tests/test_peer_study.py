"""The comparison of peers: what is done to a batch, what is measured, what is chosen, and that it goes on."""

from dataclasses import asdict, replace

import pytest
import torch

from enn_lib.argon import ARGON, Configurations, Scales, generate_data, sample_positions
from enn_lib.peers.catalogue import PEERS, build_peer
from enn_lib.peers.study import (
    EFFICIENCY,
    SECONDS,
    SEEDS,
    SHIPPED_PEERS,
    SIZES,
    TRIALS,
    best_trial,
    load_peer,
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
    assert measured["validation_rmsd"] is None


def test_the_weights_of_the_least_validation_error_are_kept(monkeypatch):
    """The error is made to rise after the second check; it is asked twice more when all is over."""
    errors = iter([0.3, 0.1, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8])
    copies = []

    def scripted(field, configurations):
        copies.append([p.detach().clone() for p in field.model.parameters()])
        return next(errors, 0.9)

    monkeypatch.setattr("enn_lib.peers.training.rmsd", scripted)
    model, measured = train_peer(PeerConfig("perceptron", "adam", 0.01, 0.5, **SMALL))
    assert [row[-1] for row in measured["history"]] == [0.3, 0.1, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8]
    for mine, second, last in zip(model.parameters(), copies[1], copies[7], strict=True):
        assert torch.equal(mine, second)
        assert not torch.equal(mine, last)


def test_a_run_whose_validation_error_is_no_number_says_so(monkeypatch):
    monkeypatch.setattr("enn_lib.peers.training.rmsd", lambda field, configurations: float("nan"))
    _, measured = train_peer(PeerConfig("perceptron", "adam", 0.01, 0.1, **SMALL))
    assert measured["validation_rmsd"] is None
    assert measured["history"] == []


def batches(monkeypatch, **change):
    """The positions of each batch of a short run, and the first weights."""
    seen, made = [], []

    def watched(kind, positions, forces, generator):
        seen.append(positions.clone())
        return positions, forces

    def build(name, seed):
        made.append(build_peer(name, seed))
        return made[0]

    monkeypatch.setattr("enn_lib.peers.training.augmented", watched)
    monkeypatch.setattr("enn_lib.peers.training.build_peer", build)
    settings = {"peer": "perceptron", "optimiser": "adam", "rate": 0.0, "seconds": 60.0, **SMALL} | change
    train_peer(PeerConfig(**settings), max_steps=4)
    return torch.stack(seen), next(made[0].parameters())


def test_a_run_sees_as_many_configurations_as_it_is_told(monkeypatch):
    seen, _ = batches(monkeypatch, n_train=7)
    data = generate_data(100, 2208)
    first = (data.train.positions[:7] / data.scales.position).float()
    for batch in seen:
        assert {tuple(p.flatten().tolist()) for p in batch} == {tuple(p.flatten().tolist()) for p in first}


def test_the_seed_decides_the_data_the_weights_and_the_order(monkeypatch):
    one, weights = batches(monkeypatch)
    again, same = batches(monkeypatch)
    other, others = batches(monkeypatch, seed=1)
    assert torch.equal(one, again)
    assert torch.equal(weights, same)
    assert not torch.equal(weights, others)
    data = generate_data(100, 2209)
    wanted = (data.train.positions / data.scales.position).float()
    assert torch.equal(other[0].flatten(1).sort(dim=0).values, wanted.flatten(1).sort(dim=0).values)
    monkeypatch.setattr("enn_lib.peers.training.generate_data", lambda n, seed: generate_data(n, 2208))
    reordered, _ = batches(monkeypatch, seed=1)
    assert not torch.equal(reordered, one), "the same data in the same order"
    assert torch.equal(reordered[0].flatten(1).sort(dim=0).values, one[0].flatten(1).sort(dim=0).values)


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
    """A training that takes no time; the last trial is the best on validation, and the worst on test."""

    def train(config):
        done.append(config)
        order = TRIALS.index((config.optimiser, config.rate))
        return build_peer(config.peer), {"validation_rmsd": 0.9 - order / 10, "test_rmsd": 0.1 + order / 10}

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
    assert {(config.optimiser, config.rate) for config in later} == {TRIALS[-1]}
    mains = len(PEERS) * (len(SEEDS) - 1)
    assert all(config.n_train == SIZES[-1] for config in later[:mains]), "the sizes come last"
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


def test_a_seed_that_diverged_stays_in_the_study(tmp_path, monkeypatch):
    """Its record says so, and is loaded with those of the other seeds."""
    trained = fake([])

    def train(config):
        model, measured = trained(config)
        if (config.peer, config.seed, config.n_train) == ("egnn", 1, SIZES[-1]):
            measured = {"validation_rmsd": None, "test_rmsd": None}
        return model, measured

    monkeypatch.setattr("enn_lib.peers.study.train_peer", train)
    run_peers(tmp_path, seconds=2.0)
    found = load_peers(tmp_path)["egnn"][SIZES[-1]]
    assert [record["config"]["seed"] for record in found] == list(SEEDS)
    assert [record["test_rmsd"] is None for record in found] == [False, True, False]


def test_a_chosen_model_is_loaded_with_its_weights_and_scales(tmp_path, monkeypatch):
    made = {}

    def train(config):
        model = build_peer(config.peer, seed=len(made))
        made[config.file] = model
        measured = {"validation_rmsd": 0.9 - TRIALS.index((config.optimiser, config.rate)) / 10}
        return model, measured | {"test_rmsd": 0.1, "scales": {"position": 5.0, "force": 0.2}}

    monkeypatch.setattr("enn_lib.peers.study.train_peer", train)
    monkeypatch.setattr("enn_lib.peers.study.SEEDS", (0,))
    monkeypatch.setattr("enn_lib.peers.study.EFFICIENCY", ())
    run_peers(tmp_path, seconds=2.0)
    positions = sample_positions(3, seed=0)
    for peer in ("perceptron", "enn-s4"):
        model = made[PeerConfig(peer, *TRIALS[-1], 2.0).file].double()
        wanted = force_field(peer, model, Scales(5.0, 0.2)).forces(positions)
        torch.testing.assert_close(load_peer(peer, tmp_path).forces(positions), wanted)


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
    data = generate_data(record["config"]["n_configurations"], 2208)
    assert record["scales"] == asdict(data.scales)
    test = Configurations(data.test.positions[:N_TEST], data.test.forces[:N_TEST])
    assert rmsd(load_peer(peer), test) == pytest.approx(record["test_rmsd"], rel=1e-3)


def test_the_shipped_study_is_whole(study):
    """Every choice for every model, every seed, and every size for the models of the sweep."""
    records = read_records()
    seconds = longest_time(records)
    assert seconds == SECONDS
    for peer in PEERS:
        mine = [PeerConfig(**r["config"]) for r in records if r["config"]["peer"] == peer]
        assert {c.seconds for c in mine} == {seconds}
        trials = [c for c in mine if (c.seed, c.n_train) == (0, SIZES[-1])]
        assert {(c.optimiser, c.rate) for c in trials} == set(TRIALS)
        assert set(study[peer]) == set(SIZES if peer in EFFICIENCY else SIZES[-1:])
        for n_train, found in study[peer].items():
            assert tuple(r["config"]["seed"] for r in found) == SEEDS, (peer, n_train)


def test_every_shipped_run_had_its_time_and_what_was_kept_is_its_best():
    for record in read_records():
        if record["test_rmsd"] is not None:
            assert 0 <= record["seconds"] - record["config"]["seconds"] < 1.5, "no step is longer"
            if not PEERS[record["config"]["peer"]].average:
                assert record["validation_rmsd"] == min(row[-1] for row in record["history"])


def test_the_shipped_study_is_small():
    assert sum(file.stat().st_size for file in SHIPPED_PEERS.iterdir()) < 3_000_000


def test_a_configuration_names_its_files_apart():
    config = PeerConfig("enn", "adam", 0.003, 2.0)
    others = [replace(config, seed=1), replace(config, n_train=100), replace(config, seconds=3.0)]
    assert len({c.file for c in (config, *others)}) == 4

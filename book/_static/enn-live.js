// The page "live": the trained network moves atoms beside the potential it has learned from.
"use strict";
(() => {
  const ENN = window.ENN || (window.ENN = {});
  ENN.widgets ??= {};

  const RECORD = 5; // steps between two points of a curve or trail, at first
  const MOST = 600; // points of a curve; above, every second one goes
  const TRAIL = 120; // points
  const BUDGET = 12; // ms of computing a frame

  /** What was recorded of two motions: the energies, and the last places of the atoms. */
  class Record {
    constructor() {
      Object.assign(this, { every: RECORD, energies: [[], []], trails: [[], []] });
    }

    add(motions, potential) {
      const steps = motions[0].steps;
      if (steps % this.every === 0) {
        motions.forEach((motion, k) => this.energies[k].push([steps, 1000 * motion.energy(potential)]));
      }
      if (this.energies[0].length > MOST) {
        this.energies = this.energies.map((curve) => curve.filter((_, k) => k % 2 === 0));
        this.every *= 2;
      }
      if (steps % RECORD === 0) {
        motions.forEach((motion, k) => {
          this.trails[k].push(motion.positions.slice());
          if (this.trails[k].length > TRAIL) this.trails[k].shift();
        });
      }
    }
  }

  /** The model behind the page: two motions from one start, and which network makes the second. */
  class Comparison {
    constructor(data) {
      this.data = data;
      this.potential = new ENN.LennardJones(data.potential);
      this.fields = Object.fromEntries(Object.entries(data.networks).map(([n, d]) => [n, ENN.networkField(d)]));
      this.name = Object.keys(data.networks)[0];
      this.average = true;
      this.sample = 0;
      this.restart();
    }

    /** The forces of a network, averaged over S4 or not. */
    field(name, average) {
      return average ? ENN.averaged(this.fields[name]) : this.fields[name];
    }

    /** The network as chosen now. */
    get chosen() {
      return this.field(this.name, this.average);
    }

    begin(positions, velocities) {
      const options = this.data.motion;
      this.motions = [this.potential.forces, this.chosen].map(
        (field) => new ENN.Motion(field, positions, velocities, options),
      );
      this.record = new Record();
      this.record.add(this.motions, this.potential);
    }

    /** The start of the chosen sample; without one, at rest. */
    restart() {
      const velocities = this.data.velocities[this.sample] || new Float64Array(this.data.positions.length);
      this.begin(this.data.positions, velocities);
    }

    /** Move atom a of one of the two motions by [x, y, z]; both go on from there. */
    drag(which, a, by) {
      const { positions, velocities } = this.motions[which];
      const moved = positions.slice();
      by.forEach((x, c) => (moved[3 * a + c] += x));
      this.begin(moved, velocities);
    }

    step() {
      this.motions.forEach((motion) => motion.step());
      this.record.add(this.motions, this.potential);
    }

    /** Root mean square over the atoms of the distance between the two motions (Eq. 48 for one sample), Å. */
    rmsd() {
      const [a, b] = this.motions.map((motion) => motion.positions);
      return Math.sqrt(a.reduce((sum, x, c) => sum + (x - b[c]) ** 2, 0) / (a.length / 3));
    }
  }

  ENN.widgets.live = (root, data) => {
    const model = new Comparison(data);
    const atoms = [...Array(data.positions.length / 3).keys()];
    const camera = { turn: ENN.turn(0.5, -0.4) };
    const [colors, names] = [["analytic", "predicted"], ["Analytic", "Network"]];
    let held = null;
    let shown = { analytic: null, predicted: null };

    const norm = (v) => Math.hypot(...v);
    const arrowUnit = () => {
      const longest = Math.max(1e-9, ...atoms.map((a) => norm(ENN.atom(shown.analytic, a))));
      return ENN.ticks(0, longest, 2.5)[1]; // eV/Å for an arrow of 1 Å
    };

    const scene = (which) => (painter) => {
      const here = model.motions[which].positions;
      for (const a of atoms) {
        const trail = model.record.trails[which].map((p) => ENN.atom(p, a));
        painter.path([...trail, ENN.atom(here, a)], { stroke: colors[which], width: 1.3, alpha: 0.6 });
      }
      const unit = arrowUnit();
      for (const a of atoms) {
        const place = ENN.atom(here, a);
        painter.ball(place, { fill: a === held ? "held" : "atom", radius: 0.6, text: a + 1 });
        if (which === 1) painter.ball(ENN.atom(model.motions[0].positions, a), { radius: 0.75, ring: "analytic" });
        const forces = which ? shown.at_network : shown.analytic;
        const arrow = (flat, style) => painter.arrow(place, ENN.atom(flat, a).map((f) => f / unit), style);
        arrow(forces, { stroke: "analytic", width: 6, alpha: which ? 0.35 : 1 });
        if (which === 1) arrow(shown.predicted, { stroke: "predicted", width: 2.2 });
      }
    };

    const controls = ENN.make("div", { class: "enn-controls" });
    const panels = ENN.make("div", { class: "enn-panels" });
    const spaces = names.map((name, which) => {
      const panel = ENN.make("div", {}, ENN.make("p", { class: "enn-title" }, name));
      panels.append(panel);
      return new ENN.Space(panel, {
        label: `${name}: four atoms with their forces. Arrow keys move what the choice "Arrow keys move" says.`,
        radius: 4.6,
        camera,
        scene: scene(which),
        changed: () => spaces.forEach((space) => space.draw()),
        held: () => held,
        grab(x, y) {
          return this.under(atoms.map((a) => ENN.atom(model.motions[which].positions, a)), x, y);
        },
        move(a, by) {
          player.stop();
          model.drag(which, a, by);
          show();
        },
      });
    });

    const legend = ENN.legend([
      ["analytic", "solid", "analytic"],
      ["predicted", "solid", "network; the ring is the analytic place"],
    ]);
    const scale = ENN.make("span", { class: "enn-scale" });
    legend.append(scale);
    const readout = ENN.make("p", { class: "enn-readout", "aria-live": "off" });
    const table = ENN.table(
      "Forces where the network's atoms are, eV/Å: lengths, and the length of the difference.",
      ["atom", "analytic", "network", "difference"],
      atoms.map((a) => a + 1),
    );

    const show = () => {
      const [analytic, network] = model.motions;
      shown = { analytic: analytic.forces, predicted: network.forces, at_network: model.potential.forces(network.positions) };
      const differences = atoms.map((a) => {
        const p = ENN.atom(shown.predicted, a);
        return norm(ENN.atom(shown.at_network, a).map((f, c) => f - p[c]));
      });
      table.fill(
        atoms.map((a) => [
          ENN.words(norm(ENN.atom(shown.at_network, a)), 4),
          ENN.words(norm(ENN.atom(shown.predicted, a)), 4),
          ENN.words(differences[a]),
        ]),
      );
      const closest = Math.min(...[...model.potential.pairs(network.positions)].map(({ square }) => Math.sqrt(square)));
      readout.textContent =
        `${analytic.steps} fs. Energy: analytic ${(1000 * analytic.energy(model.potential)).toFixed(3)}, ` +
        `network ${(1000 * network.energy(model.potential)).toFixed(3)} meV. ` +
        `Atoms apart by ${model.rmsd().toFixed(4)} Å. ` +
        (closest < data.r_min ? `Two atoms are ${closest.toFixed(2)} Å apart: no such case was in the training data.` : "");
      readout.textContent = readout.textContent.replaceAll("-", "−");
      scale.textContent = `an arrow of 1 Å: ${ENN.words(arrowUnit(), 1)} eV/Å`;
      spaces.forEach((space) => {
        const reach = Math.max(...model.motions.flatMap(({ positions }) => atoms.map((a) => norm(ENN.atom(positions, a)))));
        space.radius = Math.max(4.6, 1.25 * reach);
        space.draw();
      });
      drawEnergies();
    };

    let pace = 4; // steps a frame, if there is time
    const player = ENN.player(root, (jump) => {
      const until = performance.now() + (jump ? 250 : BUDGET);
      const steps = jump ? 30 * pace : pace;
      for (let k = 0; k < steps && performance.now() < until; k++) model.step();
      show();
      return model.motions.every((motion) => Number.isFinite(motion.energy(model.potential)));
    });
    const restart = () => {
      player.stop();
      model.restart();
      show();
    };
    const renew = () => {
      const { positions, velocities } = model.motions[0];
      player.stop();
      model.begin(positions, velocities);
      show();
    };

    const network = ENN.choice("Network", Object.entries(data.networks).map(([n, d]) => [n, d.words]), (name) => {
      model.name = name;
      renew();
    });
    const average = ENN.tick("average over S4", model.average, (ticked) => {
      model.average = ticked;
      renew();
    });
    const starts = [...data.velocities.keys()].map((k) => [k, `sample ${k + 1}`]);
    const start = ENN.choice("Start", [...starts, ["rest", "at rest"]], (sample) => {
      model.sample = sample;
      restart();
    });
    const speed = ENN.choice("Speed", [[4, "normal"], [1, "slow"], [1000, "as fast as it goes"]], (steps) => (pace = Number(steps)));
    const keys = ENN.choice("Arrow keys move", [["", "the view"], ...atoms.map((a) => [a, `atom ${a + 1}`])], (a) => {
      held = a === "" ? null : Number(a);
      show();
    });
    const once = ENN.button("Step", () => {
      player.stop();
      for (let k = 0; k < 10; k++) model.step();
      show();
    });
    controls.append(
      player.button, once, ENN.button("Back to the start", restart),
      network, average, start, speed, keys,
    );
    root.append(controls, panels, legend, readout);
    const drawEnergies = ENN.plot(root, "The total energies of both motions over time; the numbers stand above.", () => ({
      x: "time (fs)",
      y: "total energy (meV)",
      least: 0.02,
      curves: [
        { points: model.record.energies[0], stroke: "analytic", width: 3 },
        { points: model.record.energies[1], stroke: "predicted", dash: [6, 4] },
      ],
    }));
    root.append(table.element);
    show();
    return { model, spaces };
  };
})();

// The page "live": atoms are pushed together and pulled apart, and the network moves them beside the potential
// that it has learned from.
"use strict";
(() => {
  const ENN = window.ENN || (window.ENN = {});
  ENN.widgets ??= {};

  const RECORD = 5; // steps between two points of a curve or trail, at first
  const MOST = 600; // points of a curve; above, every second one goes
  const TRAIL = 120; // points
  const BUDGET = 12; // ms of computing a frame
  const PAIR = [0, 2]; // the slider moves the first of these atoms on the line through both
  const [NEAREST, FARTHEST, STOPS] = [2, 20, 400]; // of the slider, Å, on a logarithmic scale
  const FIRST = 2.7; // Å
  const POINTS = 120; // of the curve

  const along = (share) => NEAREST * (FARTHEST / NEAREST) ** share;
  const norm = (v) => Math.hypot(...v);

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
      this.average = false;
      this.sample = "none";
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
      this.course = null;
    }

    /** The distance of the pair where the network's atoms are, Å. */
    get distance() {
      const [a, b] = PAIR.map((k) => ENN.atom(this.motions[1].positions, k));
      return norm(a.map((x, c) => x - b[c]));
    }

    /** Those positions, with the pair so far apart, Å. */
    at(distance) {
      const positions = this.motions[1].positions.slice();
      const [a, b] = PAIR.map((k) => ENN.atom(positions, k));
      const factor = distance / this.distance;
      a.forEach((x, c) => (positions[3 * PAIR[0] + c] = b[c] + factor * (x - b[c])));
      return positions;
    }

    /** Both motions begin again with the pair so far apart. */
    push(distance) {
      const { course } = this;
      this.begin(this.at(distance), this.motions[1].velocities);
      this.course = course; // the line is the same
    }

    /** The size of the error of all forces over the size of the true ones. */
    off(positions) {
      const [true_forces, forces] = [this.potential.forces(positions), this.chosen(positions)];
      return norm(forces.map((f, c) => f - true_forces[c])) / norm(true_forces);
    }

    /** How far off the forces are, in %, wherever the slider can put the atom: [[Å, %], ...]. */
    get curve() {
      this.course ??= [...Array(POINTS).keys()].map((k) => {
        const distance = along(k / (POINTS - 1));
        return [distance, 100 * this.off(this.at(distance))];
      });
      return this.course;
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

    get steps() {
      return this.motions[1].steps;
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
    const [one, other] = PAIR.map((a) => a + 1);
    let held = null;
    let shown = null;
    let unit = 1; // eV/Å for an arrow of 1 Å

    const scene = (painter) => {
      const [analytic, network] = model.motions;
      for (const a of atoms) {
        model.motions.forEach((motion, k) => {
          const trail = model.record.trails[k].map((p) => ENN.atom(p, a));
          const stroke = k ? "predicted" : "analytic";
          painter.path([...trail, ENN.atom(motion.positions, a)], { stroke, width: 1.3, alpha: 0.6 });
        });
      }
      for (const a of atoms) {
        const place = ENN.atom(network.positions, a);
        painter.ball(place, { fill: a === held ? "held" : "atom", radius: 0.6, text: a + 1 });
        if (model.steps) painter.ball(ENN.atom(analytic.positions, a), { radius: 0.75, ring: "analytic" });
        const arrow = (flat, style) => painter.arrow(place, ENN.atom(flat, a).map((f) => f / unit), style);
        arrow(shown.analytic, { stroke: "analytic", width: 6, alpha: 0.45 });
        arrow(shown.predicted, { stroke: "predicted", width: 2.2 });
      }
    };

    const view = ENN.make("div");
    const panels = ENN.make("div", { class: "enn-panels" }, view);
    const space = new ENN.Space(view, {
      label: `Four atoms with the forces on them. Arrow keys move what the choice "Arrow keys move" says.`,
      radius: 1,
      camera: { turn: ENN.turn(0.12, -0.2) },
      scene,
      held: () => held,
      grab(x, y) {
        return this.under(atoms.map((a) => ENN.atom(model.motions[1].positions, a)), x, y);
      },
      move(a, by) {
        player.stop();
        model.drag(1, a, by);
        show();
      },
    });
    const slider = ENN.slider(`Atoms ${one} and ${other}`, STOPS, (stop) => {
      player.stop();
      model.push(along(stop / STOPS));
      show();
    });
    const readout = ENN.make("p", { class: "enn-readout", "aria-live": "off" });
    view.append(ENN.make("div", { class: "enn-controls" }, slider.element), readout);

    const percent = (share) => (share < 0.1 ? ENN.words(100 * share, 2) : Math.round(100 * share));
    const energy = (motion) => (1000 * motion.energy(model.potential)).toFixed(2).replace("-", "−");
    const words = () => {
      const [analytic, network] = model.motions;
      if (model.steps) {
        return (
          `${model.steps} fs. Energy: true ${energy(analytic)}, network ${energy(network)} meV. ` +
          `The two motions are ${model.rmsd().toFixed(4)} Å apart.`
        );
      }
      const squares = [...model.potential.pairs(network.positions)].map(({ square }) => square);
      const beyond = Math.min(...squares) < data.r_min ** 2 * (1 - 1e-9);
      return (
        `Atoms ${one} and ${other} are ${model.distance.toFixed(2)} Å apart. ` +
        `The forces are off by ${percent(model.off(network.positions))} %.` +
        (beyond ? " No two atoms were so near in the training data." : "")
      );
    };
    const show = () => {
      const { positions } = model.motions[1];
      shown = { analytic: model.potential.forces(positions), predicted: model.chosen(positions) };
      const everywhere = model.motions.flatMap((motion) => atoms.map((a) => norm(ENN.atom(motion.positions, a))));
      space.radius = Math.max(4.7, 1.25 * Math.max(...everywhere));
      const longest = Math.max(...atoms.map((a) => norm(ENN.atom(shown.analytic, a))));
      unit = ENN.ticks(0, Math.max(1e-9, longest), 0.55 * space.radius)[1];
      readout.textContent = words();
      scale.textContent = `an arrow of 1 Å: ${ENN.words(unit, 1)} eV/Å`;
      slider.input.value = Math.round((STOPS * Math.log(model.distance / NEAREST)) / Math.log(FARTHEST / NEAREST));
      space.draw();
      draw();
    };

    let pace = 1; // steps a frame, if there is time
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
    const starts = data.velocities.map((_, k) => [k, `as in the paper, ${k + 1}`]);
    const start = ENN.choice("Velocities", [["none", "none"], ...starts], (sample) => {
      model.sample = sample;
      restart();
    });
    const speeds = [[1, "1 fs a frame"], [4, "4 fs a frame"], [1000, "as fast as it goes"]];
    const speed = ENN.choice("Speed", speeds, (steps) => (pace = Number(steps)));
    const keys = ENN.choice("Arrow keys move", [["", "the view"], ...atoms.map((a) => [a, `atom ${a + 1}`])], (a) => {
      held = a === "" ? null : Number(a);
      show();
    });
    const once = ENN.button("Step", () => {
      player.stop();
      for (let k = 0; k < 10; k++) model.step();
      show();
    });
    const scale = ENN.make("span");
    const legend = ENN.legend([
      ["analytic", "solid", "true forces (wide)"],
      ["predicted", "solid", "network (narrow)"],
    ]);
    legend.append(scale);
    const graph = ENN.make("div");
    panels.append(graph);
    root.append(
      panels,
      ENN.make("div", { class: "enn-controls" }, player.button, once, ENN.button("Back to the start", restart)),
      ENN.make("div", { class: "enn-controls enn-choices" }, network, average, start, speed, keys),
    );
    const label =
      "How far the forces are off at each distance; while time runs, the total energies of both motions. " +
      "The numbers stand beside.";
    const draw = ENN.plot(graph, label, () =>
      model.steps
        ? {
            x: "time (fs)",
            y: "total energy (meV)",
            least: 0.02,
            curves: [
              { points: model.record.energies[0], stroke: "analytic", width: 3 },
              { points: model.record.energies[1], stroke: "predicted", dash: [6, 4] },
            ],
          }
        : {
            x: `distance of atoms ${one} and ${other} (Å)`,
            y: "forces off by (%)",
            span: [[NEAREST, FARTHEST], [0, 100]],
            across: Math.log,
            ticks: [2, data.r_min, 5, 10, 20],
            at: data.r_min,
            words: "training data →",
            curves: [
              { points: model.curve, stroke: "predicted", width: 2.5 },
              { points: [[model.distance, 100 * model.off(model.motions[1].positions)]], stroke: "predicted" },
            ],
          },
    );
    graph.append(legend);
    model.push(FIRST);
    show();
    return { model, spaces: [space] };
  };
})();

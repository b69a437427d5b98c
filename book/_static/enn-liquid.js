// The liquid: one box of argon that Lennard-Jones drives and one that a network drives, and the structure of both.
// Positions are flat and leave the box; only their nearest images matter.
"use strict";
(() => {
  const ENN = window.ENN || (window.ENN = {});
  ENN.widgets ??= {};

  const BUDGET = 12; // ms of computing a frame
  const RECORD = 5; // steps between two that are averaged
  const BIN = 0.1; // Å
  const HEAT = 1.25; // of the kinetic energy
  const SLAB = 1 / 3; // of the box is drawn
  const RADIUS = 1.7; // Å
  const MARKED = 4; // atoms
  const NEAREST = 2; // Å, of the curves

  /** Calls visit(i, j, [x, y, z], square) for every pair nearer than the cutoff; i < j count coordinates. */
  const visitPairs = (positions, side, cutoff, visit) => {
    const d = [0, 0, 0];
    for (let i = 0; i < positions.length; i += 3) {
      for (let j = i + 3; j < positions.length; j += 3) {
        for (let c = 0; c < 3; c++) {
          d[c] = positions[j + c] - positions[i + c];
          d[c] -= side * Math.round(d[c] / side);
        }
        const square = d[0] * d[0] + d[1] * d[1] + d[2] * d[2];
        if (square < cutoff * cutoff) visit(i, j, d, square);
      }
    }
  };

  /** Lennard-Jones, switched off smoothly before a cutoff: energy, eV, and forces, eV/Å. */
  ENN.truncatedLennardJones = ({ epsilon, r0, cutoff, onset }, side) => {
    const width = cutoff ** 2 - onset ** 2;
    /** Of a pair: its energy, and the slope of that in the squared distance. */
    const pair = (square) => {
      const x = Math.max((square - onset ** 2) / width, 0);
      const s = 1 - x * x * (3 - 2 * x);
      const s6 = (r0 ** 2 / square) ** 3;
      const energy = 4 * epsilon * (s6 * s6 - s6);
      const slope = (-6 * x * (1 - x) * energy) / width - (s * 12 * epsilon * (2 * s6 * s6 - s6)) / square;
      return [s * energy, slope];
    };
    return {
      energy(positions) {
        let sum = 0;
        visitPairs(positions, side, cutoff, (i, j, d, square) => (sum += pair(square)[0]));
        return sum;
      },
      forces(positions) {
        const forces = new Float64Array(positions.length);
        visitPairs(positions, side, cutoff, (i, j, d, square) => {
          const size = 2 * pair(square)[1];
          for (let c = 0; c < 3; c++) {
            forces[i + c] += size * d[c];
            forces[j + c] -= size * d[c];
          }
        });
        return forces;
      },
    };
  };

  /**
   * A network of vectors and scalars beside forces of pairs, as a force field in a box: positions -> forces.
   * data: widths, a, softening, eta, centres, cutoff, descriptor_scales, force_scale, and the weights: what
   * ENN.layers takes, the scalars' biases of all layers, and of what comes in readout, means and scales.
   */
  ENN.liquidField = (data, side) => {
    const { take, end } = ENN.reader(data.weights);
    const layers = ENN.layers(data, take);
    for (const layer of layers) Object.assign(layer, { bias: take(layer.n), scalars: new Float64Array(layer.n) });
    const count = data.widths[0];
    const [readout, means, scales] = [take(count), take(count), take(count)];
    end();
    const input = { vectors: new Float64Array(3 * count), scalars: new Float64Array(count) };

    /** Eq. 33 and 34 of all atoms, before they are scaled. */
    const descriptors = (positions) => {
      const vectors = new Float64Array(count * positions.length);
      const scalars = new Float64Array((count * positions.length) / 3);
      visitPairs(positions, side, data.cutoff, (i, j, [x, y, z], square) => {
        const distance = Math.sqrt(square);
        const t = distance / data.cutoff;
        const smooth = 1 + t ** 3 * (-10 + 15 * t - 6 * t * t);
        for (let k = 0; k < count; k++) {
          const feature = Math.exp(-data.eta[k] * (distance - data.centres[k]) ** 2) * smooth;
          const size = feature / distance;
          const [a, b] = [count * i + 3 * k, count * j + 3 * k];
          vectors[a] += size * x;
          vectors[a + 1] += size * y;
          vectors[a + 2] += size * z;
          vectors[b] -= size * x;
          vectors[b + 1] -= size * y;
          vectors[b + 2] -= size * z;
          scalars[(count * i) / 3 + k] += feature;
          scalars[(count * j) / 3 + k] += feature;
        }
      });
      return { vectors, scalars };
    };

    /** The scalars' part of a layer (Eq. 17). */
    const linear = ({ m, n, W, bias, scalars }, h) => {
      for (let j = 0; j < n; j++) {
        let sum = bias[j];
        for (let k = 0, r = j * m; k < m; k++, r++) sum += W[r] * h[k];
        scalars[j] = sum;
      }
      return scalars;
    };

    return (positions) => {
      const all = descriptors(positions);
      const forces = new Float64Array(positions.length);
      for (let i = 0; i < positions.length; i += 3) {
        for (let k = 0; k < count; k++) {
          const scale = data.descriptor_scales[k];
          for (let c = 0; c < 3; c++) {
            input.vectors[3 * k + c] = all.vectors[count * i + 3 * k + c] / scale;
            forces[i + c] += data.force_scale * readout[k] * input.vectors[3 * k + c];
          }
          input.scalars[k] = (all.scalars[(count * i) / 3 + k] / scale - means[k]) / scales[k];
        }
        let { vectors, scalars } = input;
        layers.forEach((layer, l) => {
          scalars = linear(layer, scalars);
          vectors = ENN.linear(layer, vectors);
          if (l + 1 < layers.length) ENN.softsign(vectors, data.a, scalars);
        });
        for (let c = 0; c < 3; c++) forces[i + c] += data.force_scale * vectors[c];
      }
      return forces;
    };
  };

  /** Of a box, averaged over its records: the radial distribution function and the temperature. */
  class Averages {
    constructor({ side, boltzmann }) {
      Object.assign(this, { side, boltzmann, records: 0, kelvin: 0, counts: new Float64Array(Math.floor(side / 2 / BIN)) });
    }

    add(motion) {
      const { counts, side } = this;
      this.atoms = motion.positions.length / 3;
      visitPairs(motion.positions, side, BIN * counts.length, (i, j, d, square) => {
        counts[Math.floor(Math.sqrt(square) / BIN)]++;
      });
      // The three degrees of freedom of the momentum do not count.
      this.kelvin += motion.kinetic() / (1.5 * (this.atoms - 1) * this.boltzmann);
      this.records++;
    }

    get temperature() {
      return this.kelvin / this.records;
    }

    /** [[r, g], ...] */
    get curve() {
      const ideal = (k) => ((4 / 3) * Math.PI * BIN ** 3 * ((k + 1) ** 3 - k ** 3) * this.atoms ** 2) / this.side ** 3;
      return [...this.counts].map((count, k) => [BIN * (k + 0.5), (2 * count) / this.records / ideal(k)]);
    }
  }

  /** The model behind the part: two boxes from one start. */
  class Boxes {
    constructor(data) {
      this.data = data;
      this.start = [ENN.decode(data.positions), ENN.decode(data.velocities)];
      this.potential = ENN.truncatedLennardJones(data.potential, data.side);
      this.fields = [this.potential.forces, ENN.liquidField(data.network, data.side)];
      this.restart();
    }

    restart() {
      this.motions = this.fields.map((field) => new ENN.Motion(field, ...this.start, this.data.motion));
      this.average();
    }

    /** Begin the averages anew. */
    average() {
      this.averages = this.motions.map(() => new Averages(this.data));
      this.since = this.motions[0].steps;
      this.record();
    }

    record() {
      this.motions.forEach((motion, k) => this.averages[k].add(motion));
    }

    step() {
      for (const motion of this.motions) motion.step();
      if (this.motions[0].steps % RECORD === 0) this.record();
    }

    /** Multiply the kinetic energy of both boxes. */
    heat(factor) {
      for (const { velocities } of this.motions) velocities.forEach((v, c) => (velocities[c] = Math.sqrt(factor) * v));
      this.average();
    }

    /** ps of some steps. */
    time(steps) {
      return (steps * this.data.motion.dt) / 1000;
    }

    /** Root mean square over the atoms of the distance between their places in the two boxes, Å. */
    get apart() {
      const [a, b] = this.motions.map((motion) => motion.positions);
      return Math.sqrt(a.reduce((sum, x, c) => sum + (x - b[c]) ** 2, 0) / (a.length / 3));
    }
  }

  ENN.widgets.liquid = (root, data) => {
    const model = new Boxes(data);
    const { side } = data;
    const inside = (x) => x - side * Math.floor(x / side);
    const atoms = [...Array(model.start[0].length / 3).keys()];
    const away = (a) => Math.hypot(...ENN.atom(model.start[0], a).map((x) => inside(x) - side / 2));
    const marked = new Set(atoms.toSorted((a, b) => away(a) - away(b)).slice(0, MARKED));

    const paint = (canvas, { positions }) => {
      const { context, width, height, color } = ENN.begin(canvas);
      const scale = (Math.min(width, height) - 4) / side;
      context.translate((width - scale * side) / 2, (height - scale * side) / 2);
      context.scale(scale, scale);
      context.save();
      context.beginPath();
      context.rect(0, 0, side, side);
      context.clip();
      const seen = atoms.map((a) => {
        const [x, y, z] = ENN.atom(positions, a).map(inside);
        return { a, x, y, depth: 0.5 + (z / side - 0.5) / SLAB };
      });
      const circles = ({ x, y }, radius, draw) => {
        for (const left of [x - side, x, x + side]) {
          for (const top of [y - side, y, y + side]) {
            context.beginPath();
            context.arc(left, side - top, radius, 0, 2 * Math.PI);
            draw();
          }
        }
      };
      const isWithin = ({ depth }) => depth >= 0 && depth < 1;
      const [ground, atom, held, edge] = ["ground", "atom", "held", "edge"].map(color);
      for (const place of seen.filter(isWithin).sort((p, q) => p.depth - q.depth)) {
        circles(place, RADIUS * (0.75 + 0.25 * place.depth), () => {
          Object.assign(context, { globalAlpha: 1, fillStyle: ground, strokeStyle: edge, lineWidth: 1 / scale });
          context.fill();
          Object.assign(context, { globalAlpha: 0.3 + 0.7 * place.depth, fillStyle: marked.has(place.a) ? held : atom });
          context.fill();
          context.stroke();
        });
      }
      context.globalAlpha = 1;
      for (const place of seen.filter((p) => marked.has(p.a) && !isWithin(p))) {
        for (const [strokeStyle, width] of [[edge, 5], [held, 3]]) {
          Object.assign(context, { strokeStyle, lineWidth: width / scale });
          circles(place, 0.75 * RADIUS, () => context.stroke());
        }
      }
      context.restore();
      Object.assign(context, { strokeStyle: color("edge"), lineWidth: 1.5 / scale });
      context.strokeRect(0, 0, side, side);
    };

    const panels = ENN.make("div", { class: "enn-panels" });
    const names = ["Lennard-Jones", "Network"];
    const titles = names.map(() => ENN.make("p", { class: "enn-title" }));
    const draws = names.map((name, k) => {
      const panel = ENN.make("div", {}, titles[k]);
      panels.append(panel);
      const draw = ENN.soon(() => paint(canvas, model.motions[k]));
      const label = `A slab of a periodic box of ${atoms.length} argon atoms, moved by the forces of: ${name}.`;
      const canvas = ENN.makeCanvas(panel, { class: "enn-box", role: "img", "aria-label": label }, draw);
      return draw;
    });
    const readout = ENN.make("p", { class: "enn-readout", "aria-live": "off" });

    const show = () => {
      const { steps } = model.motions[0];
      titles.forEach((title, k) => (title.textContent = `${names[k]}: ${model.averages[k].temperature.toFixed(1)} K`));
      readout.textContent =
        `${model.time(steps).toFixed(2)} ps. Temperatures and g(r) are averages of the last ` +
        `${model.time(steps - model.since).toFixed(2)} ps. An atom and its twin in the other box are ` +
        `${model.apart.toFixed(2)} Å apart (root mean square).`;
      for (const draw of draws) draw();
    };
    const stay = (change) => () => {
      change();
      show();
    };
    let pace = 1; // steps a frame, if there is time
    const player = ENN.player(root, (jump) => {
      const until = performance.now() + (jump ? 250 : BUDGET);
      const steps = jump ? 30 * pace : pace;
      for (let k = 0; k < steps && performance.now() < until; k++) model.step();
      show();
      return Number.isFinite(model.apart);
    });
    const reset = ENN.button("Back to the start", stay(() => {
      player.stop();
      model.restart();
    }));
    const cool = ENN.button("Cool", stay(() => model.heat(1 / HEAT)));
    const heat = ENN.button("Heat", stay(() => model.heat(HEAT)));
    const speeds = [pace, 4].map((steps) => [steps, `${steps * data.motion.dt} fs a frame`]);
    const speed = ENN.choice("Speed", speeds, (steps) => (pace = Number(steps)));
    root.append(ENN.make("div", { class: "enn-controls" }, player.button, reset, cool, heat, speed), panels, readout);
    const label = "The radial distribution functions of both boxes, which build up while time runs.";
    draws.push(ENN.plot(root, label, () => {
      const [analytic, predicted] = model.averages.map(({ curve }) => curve.filter(([r]) => r > NEAREST));
      return {
        x: "distance r (Å)",
        y: "g(r)",
        span: [[NEAREST, side / 2], [0, Math.max(3, ...[...analytic, ...predicted].map(([, g]) => Math.ceil(g)))]],
        ticks: ENN.ticks(NEAREST, side / 2, 6),
        curves: [
          { points: analytic, stroke: "analytic", width: 3 },
          { points: predicted, stroke: "predicted", dash: [6, 4] },
        ],
      };
    }));
    root.append(ENN.legend([
      ["analytic", "solid", names[0]], ["predicted", "dashed", names[1]],
      ["held", "dot", `the same ${MARKED} atoms in both boxes; rings where they have left the slab`],
    ]));
    show();
    return { model };
  };
})();

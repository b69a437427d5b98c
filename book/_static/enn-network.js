// The network and the potential in plain arithmetic, float64: what enn_lib computes, and nothing of the page.
// Positions, velocities and forces of the atoms are flat Float64Arrays, [x1, y1, z1, x2, ...].
"use strict";
(() => {
  const ENN = (window.ENN = window.ENN || {});

  const PAIRS = [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]; // Eq. 41
  const SMALLEST_SQUARE = 1e-200; // enn_lib.layers: a shorter vector has no direction

  /** Numbers from base64 of little-endian float32. Every float32 is a float64 exactly. */
  ENN.decode = (text) => {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    return Float64Array.from({ length: bytes.length / 4 }, (_, k) => view.getFloat32(4 * k, true));
  };

  /** All orders of the numbers below n, in lexicographic order. */
  ENN.permutations = (n) => {
    const extend = (start, rest) =>
      rest.length ? rest.flatMap((k) => extend([...start, k], rest.filter((r) => r !== k))) : [start];
    return extend([], [...Array(n).keys()]);
  };

  /** Numbers from base64, so many at a time: take(count) gives the next ones, end() throws unless all are taken. */
  ENN.reader = (text) => {
    const numbers = ENN.decode(text);
    let from = 0;
    const take = (count) => numbers.subarray(from, (from += count));
    const end = () => {
      if (from !== numbers.length) throw new Error(`weights: got ${numbers.length} numbers, wanted ${from}`);
    };
    return { take, end };
  };

  /** The layers of an equivariant network; take gives for each first W and then b (Eq. 7, 8), each [in][out]. */
  ENN.layers = ({ widths, softening }, take) =>
    widths.slice(1).map((n, l) => {
      const m = widths[l];
      // Kept by outputs, so that the innermost loop reads one after the other.
      const [W, b] = [take(m * n), take(m * n)].map((rows) => rows.map((_, r) => rows[(r % m) * n + Math.floor(r / m)]));
      return { m, n, W, b, softening, inverse: new Float64Array(m), out: new Float64Array(3 * n) };
    });

  /** y = x W + e b (Eq. 6), as y_j = sum over k of (W_kj + b_kj / |x_k|) x_k: the unit vectors are never stored. */
  ENN.linear = ({ m, n, W, b, softening, inverse, out }, x) => {
    for (let k = 0; k < m; k++) {
      const square = x[3 * k] ** 2 + x[3 * k + 1] ** 2 + x[3 * k + 2] ** 2 + softening ** 2;
      inverse[k] = square < SMALLEST_SQUARE ? 0 : 1 / Math.sqrt(square);
    }
    for (let j = 0; j < n; j++) {
      let [u, v, w] = [0, 0, 0];
      for (let k = 0, c = 0, r = j * m; k < m; k++, c += 3, r++) {
        const factor = W[r] + b[r] * inverse[k];
        u += factor * x[c];
        v += factor * x[c + 1];
        w += factor * x[c + 2];
      }
      out[3 * j] = u;
      out[3 * j + 1] = v;
      out[3 * j + 2] = w;
    }
    return out;
  };

  /** The vector softsign with residue (Eq. 14), in place; h are scalars of the vectors (sec. 3.3), if there are any. */
  ENN.softsign = (u, a, h = null) => {
    for (let k = 0, c = 0; c < u.length; k++, c += 3) {
      const square = u[c] ** 2 + u[c + 1] ** 2 + u[c + 2] ** 2 + (h ? h[k] ** 2 : 0);
      const gate = 1 / (1 + Math.sqrt(square)) + a;
      u[c] *= gate;
      u[c + 1] *= gate;
      u[c + 2] *= gate;
      if (h) h[k] *= gate;
    }
    return u;
  };

  /**
   * The equivariant network (sec. 3.2) as a force field of four atoms: positions, Å -> forces, eV/Å.
   * data: widths, a, softening, position_scale, force_scale, and the weights, as ENN.layers takes them.
   */
  ENN.networkField = (data) => {
    const { take, end } = ENN.reader(data.weights);
    const layers = ENN.layers(data, take);
    end();
    const input = new Float64Array(3 * data.widths[0]);

    return (positions) => {
      PAIRS.forEach(([i, j], k) => {
        for (let c = 0; c < 3; c++) {
          input[3 * k + c] = (positions[3 * j + c] - positions[3 * i + c]) / data.position_scale;
        }
      });
      let x = input;
      layers.forEach((layer, l) => {
        x = ENN.linear(layer, x);
        if (l + 1 < layers.length) x = ENN.softsign(x, data.a);
      });
      return x.map((f) => f * data.force_scale);
    };
  };

  /**
   * An ordinary network as a force field of four atoms: it sees the coordinates of the relative vectors as
   * plain numbers, first all x, with SiLU between its layers. data: widths, position_scale, force_scale, and
   * the weights: for each layer a matrix [out][in] and then the biases.
   */
  ENN.ordinaryField = (data) => {
    const { take, end } = ENN.reader(data.weights);
    const layers = data.widths.slice(1).map((n, l) => [take(n * data.widths[l]), take(n)]);
    end();
    return (positions) => {
      let x = Float64Array.from([0, 1, 2].flatMap((c) =>
        PAIRS.map(([i, j]) => (positions[3 * j + c] - positions[3 * i + c]) / data.position_scale)));
      layers.forEach(([weight, bias], l) => {
        const y = bias.map((b, r) => x.reduce((sum, value, k) => sum + weight[r * x.length + k] * value, b));
        x = l + 1 < layers.length ? y.map((value) => value / (1 + Math.exp(-value))) : y;
      });
      return x.map((f) => f * data.force_scale);
    };
  };

  /** A force field averaged over all numberings of the atoms (sec. 3.5): the mean of g^-1 F(g r). */
  ENN.averaged = (field, atoms = 4) => {
    const orders = ENN.permutations(atoms);
    const relabelled = new Float64Array(3 * atoms);
    return (positions) => {
      const sum = new Float64Array(3 * atoms);
      for (const order of orders) {
        for (let a = 0; a < atoms; a++) {
          for (let c = 0; c < 3; c++) relabelled[3 * a + c] = positions[3 * order[a] + c];
        }
        const forces = field(relabelled);
        for (let a = 0; a < atoms; a++) for (let c = 0; c < 3; c++) sum[3 * order[a] + c] += forces[3 * a + c];
      }
      return sum.map((f) => f / orders.length);
    };
  };

  /** Lennard-Jones between all pairs (Eq. 38 to 40): energy, eV, and forces, eV/Å. */
  ENN.LennardJones = class {
    constructor({ epsilon, r0 }) {
      Object.assign(this, { epsilon, r0 });
      this.forces = this.forces.bind(this);
    }

    *pairs(positions) {
      for (let i = 0; i < positions.length; i += 3) {
        for (let j = i + 3; j < positions.length; j += 3) {
          const d = [0, 1, 2].map((c) => positions[j + c] - positions[i + c]);
          const square = d[0] ** 2 + d[1] ** 2 + d[2] ** 2;
          yield { i, j, d, square, s6: (this.r0 ** 2 / square) ** 3 };
        }
      }
    }

    energy(positions) {
      let sum = 0;
      for (const { s6 } of this.pairs(positions)) sum += 4 * this.epsilon * (s6 * s6 - s6);
      return sum;
    }

    forces(positions) {
      const forces = new Float64Array(positions.length);
      for (const { i, j, d, square, s6 } of this.pairs(positions)) {
        const size = (24 * this.epsilon * (2 * s6 * s6 - s6)) / square;
        for (let c = 0; c < 3; c++) {
          forces[j + c] += size * d[c];
          forces[i + c] -= size * d[c];
        }
      }
      return forces;
    }
  };

  /** Velocity Verlet (Eq. 44, 45), dt in fs; acceleration is that of 1 (eV/Å)/u, in Å/fs^2. */
  ENN.Motion = class {
    constructor(field, positions, velocities, { mass, acceleration, dt = 1 }) {
      Object.assign(this, { field, mass, acceleration, dt, steps: 0 });
      this.positions = Float64Array.from(positions);
      this.velocities = Float64Array.from(velocities);
      this.forces = field(this.positions);
    }

    step() {
      const kick = (0.5 * this.dt * this.acceleration) / this.mass;
      for (let c = 0; c < this.positions.length; c++) {
        this.velocities[c] += kick * this.forces[c];
        this.positions[c] += this.dt * this.velocities[c];
      }
      this.forces = this.field(this.positions);
      for (let c = 0; c < this.positions.length; c++) this.velocities[c] += kick * this.forces[c];
      this.steps++;
    }

    /** Sum of m v^2 / 2, eV. */
    kinetic() {
      return ((0.5 * this.mass) / this.acceleration) * this.velocities.reduce((sum, v) => sum + v * v, 0);
    }

    /** The Hamiltonian (Eq. 47) with the true potential, eV. */
    energy(potential) {
      return this.kinetic() + potential.energy(this.positions);
    }
  };
})();

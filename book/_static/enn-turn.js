// Turn, mirror and renumber four atoms, and the network's forces go with them, or not. With an ordinary network
// beside it, whose forces do not, nothing is renumbered, and what is said is how far off the two are.
"use strict";
(() => {
  const ENN = window.ENN || (window.ENN = {});
  ENN.widgets ??= {};

  const MIRROR = [[1, 0, 0], [0, 1, 0], [0, 0, -1]];
  const AXES = { x: [1, 0, 0], y: [0, 1, 0], z: [0, 0, 1] };

  ENN.widgets.turn = (root, data) => {
    const potential = new ENN.LennardJones(data.potential);
    const alone = ENN.networkField(data.network);
    const ordinary = data.ordinary && ENN.ordinaryField(data.ordinary);
    const atoms = [...Array(data.configurations[0].length / 3).keys()];
    const norm = (v) => Math.hypot(...v);
    let [field, start, operator, order, forces] = [alone, data.configurations[0], data.turn ?? ENN.identity, atoms, null];

    /** What was done to the atoms, done to any flat vectors of the atoms: g, and then the turn. */
    const act = (flat) =>
      Float64Array.from(order.flatMap((a) => ENN.apply(operator, ENN.atom(flat, a))));

    /** How far F(what was done to r) is from the same done to F(r): largest component, eV/Å. */
    const defect = () => {
      const wanted = act(field(start));
      return Math.max(...field(act(start)).map((f, c) => Math.abs(f - wanted[c])));
    };

    const scene = (painter) => {
      const positions = act(start);
      const unit = forces.unit;
      for (const [name, axis] of Object.entries(AXES)) {
        const corner = ENN.apply(ENN.transposed(camera.turn), [-0.78, -0.78, 0]).map((x) => x * space.radius);
        const long = 0.16 * space.radius;
        painter.arrow(corner, axis.map((x) => long * x), { stroke: "edge", width: 1.2 });
        painter.text(corner.map((x, c) => x + 1.3 * long * axis[c]), name, "text");
      }
      for (const a of atoms) {
        const place = ENN.atom(positions, a);
        painter.ball(place, { fill: "atom", radius: 0.6, text: a + 1 });
        const arrow = (flat, style) => painter.arrow(place, ENN.atom(flat, a).map((f) => f / unit), style);
        arrow(forces.analytic, { stroke: "analytic", width: 6, alpha: 0.45 });
        if (ordinary) arrow(forces.ordinary, { stroke: "average", width: 3 });
        arrow(forces.network, { stroke: "predicted", width: 2.2 });
      }
    };

    const controls = ENN.make("div", { class: "enn-controls" });
    const panel = ENN.make("div");
    const readout = ENN.make("p", { class: "enn-readout" });
    const table = ENN.table(
      "Lengths of the forces and of their difference, meV/Å.", ["atom", "true", "network", "difference"], atoms.map((a) => a + 1),
    );

    const show = () => {
      const positions = act(start);
      forces = { analytic: potential.forces(positions), network: field(positions), ordinary: ordinary?.(positions) };
      const longest = Math.max(...atoms.map((a) => norm(ENN.atom(forces.analytic, a))));
      forces.unit = ordinary ? longest / 1.5 : ENN.ticks(0, longest, 2.5)[1];
      // So that the arrows fit as the atoms do.
      const ends = positions.map((x, c) => x + forces.analytic[c] / forces.unit);
      const reach = Math.max(...[positions, ends].flatMap((flat) => atoms.map((a) => norm(ENN.atom(flat, a)))));
      space.radius = ordinary ? 1.65 * Math.max(...atoms.map((a) => norm(ENN.atom(positions, a)))) : 1.1 * reach;
      if (ordinary) {
        const far = (flat) => norm([...flat].map((f, c) => f - forces.analytic[c])) / norm(forces.analytic);
        const [arrows, numbers] = [forces.network, forces.ordinary].map((f) => `${Math.round(100 * far(f))} %`);
        readout.textContent = `Off by, as a share of the true forces: ordinary network ${numbers}, network of arrows ${arrows}.`;
        return space.draw();
      }
      const off = forces.network.map((f, c) => f - forces.analytic[c]);
      table.fill(
        atoms.map((a) =>
          [forces.analytic, forces.network, off].map((flat) => (1000 * norm(ENN.atom(flat, a))).toFixed(1)),
        ),
      );
      const rmsd = (1000 * norm(off)) / Math.sqrt(off.length);
      readout.textContent =
        `The error of this cloud is ${rmsd.toPrecision(rmsd < 1 ? 2 : 3)} meV/\u2060Å. ` +
        `An arrow of 1 Å is ${Number((1000 * forces.unit).toPrecision(1))} meV/\u2060Å.`;
      space.draw();
    };

    const camera = { turn: ordinary ? ENN.turn(-0.2, -0.15) : ENN.turn(-0.5, -0.35) };
    const space = new ENN.Space(panel, {
      label: "Four atoms with their forces, and three fixed axes. Arrow keys turn the atoms.",
      radius: 1,
      camera,
      scene,
      turned(turn) {
        // The turn is one of the screen; the atoms live in the space of the axes.
        const there = ENN.times(ENN.transposed(camera.turn), ENN.times(turn, camera.turn));
        operator = ENN.times(there, operator);
        show();
      },
    });
    const player = ENN.player(root, (jump) => {
      space.turned(ENN.turn(jump ? 0.2 : 0.012, 0));
      return true;
    });
    const back = () => {
      [operator, order] = [ENN.identity, atoms];
      show();
    };
    const mirror = () => {
      operator = ENN.times(MIRROR, operator);
      show();
    };
    const swap = () => {
      order = [order[1], order[0], ...order.slice(2)];
      show();
    };
    const average = (ticked) => {
      field = ticked ? ENN.averaged(alone) : alone;
      show();
    };
    controls.append(player.button, ENN.button("Mirror", mirror));
    if (ordinary) controls.append(ENN.button("As in the examples", back));
    else {
      controls.append(
        ENN.button("Swap atoms 1 and 2", swap),
        ENN.button("Back to the start", back),
        ENN.tick("average over S4", false, average),
      );
    }
    if (data.configurations.length > 1) {
      const choose = (k) => {
        start = data.configurations[k];
        back();
      };
      controls.append(ENN.choice("Configuration", data.configurations.map((_, k) => [k, k + 1]), choose));
    }
    const legend = ENN.legend([
      ["analytic", "solid", "true forces (wide)"],
      ...(ordinary ? [["average", "solid", "ordinary network"]] : []),
      ["predicted", "solid", ordinary ? "network of arrows" : "network (narrow)"],
    ]);
    root.append(panel, controls, legend, readout, ...(ordinary ? [] : [table.element]));
    show();
    return { defect, space, forces: () => forces, positions: () => act(start) };
  };
})();

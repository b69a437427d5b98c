// What was computed before and is played again: trajectories on "dynamics", a descent on "fire".
"use strict";
(() => {
  const ENN = window.ENN || (window.ENN = {});
  ENN.widgets ??= {};

  /** Rows of numbers from what enn_book.live.widgets packs: [[...width numbers], ...]. */
  const rows = (text, width) => {
    const flat = ENN.decode(text);
    return Array.from({ length: flat.length / width }, (_, k) => flat.subarray(k * width, (k + 1) * width));
  };

  /** Controls that choose one of last + 1 moments: play, one back, one on, a slider. show(moment) draws it. */
  const replay = (root, { last, label, pace, show }) => {
    let [now, exact] = [0, 0];
    const go = (moment) => {
      exact = Math.min(Math.max(moment, 0), last);
      now = Math.floor(exact);
      slider.input.value = now;
      show(now);
    };
    const stay = (moment) => {
      player.stop();
      go(moment);
    };
    const slider = ENN.slider(label, last, stay);
    const player = ENN.player(root, (jump) => {
      go(exact + (jump ? 30 * pace : pace));
      return now < last;
    });
    // Play at the end begins again.
    player.button.addEventListener("click", () => now === last && go(0), { capture: true });
    const buttons = [
      player.button, ENN.button("Previous", () => stay(now - 1)), ENN.button("Next", () => stay(now + 1)),
    ];
    return { buttons, slider: slider.element, go: stay, now: () => now };
  };

  ENN.widgets.trajectories = (root, data) => {
    const paths = Object.fromEntries(Object.entries(data.paths).map(([n, text]) => [n, rows(text, 3 * data.atoms)]));
    const names = Object.keys(paths);
    const atoms = [...Array(data.atoms).keys()];
    const camera = { turn: ENN.turn(0.5, -0.4) };
    let predicted = names[1];
    const stroke = (name) => ["analytic", "predicted", "average"][names.indexOf(name)];

    const panels = ENN.make("div", { class: "enn-panels" });
    const readout = ENN.make("p", { class: "enn-readout" });
    const scene = (which) => (painter) => {
      const name = which ? predicted : names[0];
      const [path, now] = [paths[name], control.now()];
      for (const a of atoms) {
        const course = path.slice(0, now + 1).map((r) => ENN.atom(r, a));
        painter.path(course, { stroke: stroke(name), width: 1.2, alpha: 0.65 });
        painter.path(course.slice(-data.recent), { stroke: stroke(name), width: 2.2 });
        painter.ball(ENN.atom(path[now], a), { fill: "atom", radius: 0.35, text: a + 1 });
        if (which) painter.ball(ENN.atom(paths[names[0]][now], a), { radius: 0.5, ring: "analytic" });
      }
    };
    const titles = [names[0], predicted].map((name) => ENN.make("p", { class: "enn-title" }, name));
    const reach = Math.max(...names.flatMap((n) => paths[n].map((r) => Math.max(...atoms.map((a) => Math.hypot(...ENN.atom(r, a)))))));
    const spaces = titles.map((title, which) => {
      const panel = ENN.make("div", {}, title);
      panels.append(panel);
      return new ENN.Space(panel, {
        label: `${which ? "Predicted" : "Analytic"} ways of four atoms in space. Arrow keys turn the view.`,
        radius: 1.2 * reach,
        camera,
        scene: scene(which),
        changed: () => spaces.forEach((space) => space.draw()),
      });
    });
    const show = (now) => {
      titles[1].textContent = predicted;
      const [a, b] = [paths[names[0]][now], paths[predicted][now]];
      const apart = atoms.map((k) => Math.hypot(...ENN.atom(a, k).map((x, c) => x - ENN.atom(b, k)[c])).toFixed(2));
      readout.textContent = `Step ${now * data.every}. The atoms are apart by ${apart.join(", ")} Å.`;
      spaces.forEach((space) => space.draw());
    };
    const control = replay(root, { last: paths[names[0]].length - 1, label: "Time", pace: 0.5, show });
    const choice = ENN.choice("Predicted by", names.slice(1).map((name) => [name, name]), (name) => {
      predicted = name;
      show(control.now());
    });
    const controls = ENN.make("div", { class: "enn-controls" }, ...control.buttons, choice, control.slider);
    const legend = ENN.legend([
      ["analytic", "solid", "analytic; the ring is its place"],
      ["predicted", "solid", names[1]],
      ...names.slice(2).map((name) => ["average", "solid", name]),
    ]);
    root.append(controls, panels, legend, readout);
    control.go(Infinity); // the whole ways first; play begins again
    return { paths };
  };

  ENN.widgets.descent = (root, data) => {
    const points = rows(data.positions, 2);
    const columns = Object.fromEntries(["energy", "dt", "power", "alpha"].map((n) => [n, ENN.decode(data[n])]));
    const lines = data.levels.map(({ height, line }) => ({ height, line: rows(line, 2) }));
    const top = Math.max(...lines.map(({ height }) => height));
    const [left, right, low, high] = data.extent;
    const middle = [(left + right) / 2, (low + high) / 2];
    // Heights are roots of the energy, as the levels are, so that a parabola looks like a cone.
    const lifted = ([x, y], height) => [x - middle[0], y - middle[1], (1.6 * height) / top - 0.6];
    const places = points.map((p, k) => lifted(p, Math.sqrt(Math.max(columns.energy[k], 0))));
    const isStop = (k) => columns.power[k] < 0;

    const panel = ENN.make("div");
    const readout = ENN.make("p", { class: "enn-readout" });
    const scene = (painter) => {
      const now = control.now();
      for (const { height, line } of lines) {
        painter.path(line.map((p) => lifted(p, height)), { stroke: "edge", width: 1, alpha: 0.45 });
      }
      // The whole path is there, faintly, before the ball moves.
      painter.path(places, { stroke: "average", width: 2, alpha: 0.7 });
      painter.path(places.slice(0, now + 1), { stroke: "average", width: 3 });
      places.forEach((place, k) => {
        if (isStop(k)) painter.ball(place, { fill: "predicted", radius: k < now ? 0.055 : 0.035 });
        else if (k < now) painter.ball(place, { fill: "average", radius: 0.02 });
      });
      painter.ball(places.at(-1), { radius: 0.13, ring: "analytic", text: data.end });
      painter.ball(places[now], { fill: isStop(now) ? "predicted" : "held", radius: 0.09 });
    };
    // Seen from above and from the side of small y, with the height upwards.
    const upright = [[1, 0, 0], [0, 0, 1], [0, -1, 0]];
    const space = new ENN.Space(panel, {
      label: "Level lines of a bent valley, lifted to their height, and the way of a ball. Arrow keys turn the view.",
      radius: 1.6,
      camera: { turn: ENN.times(ENN.turn(0, -0.95), upright) },
      scene,
    });
    const show = (now) => {
      const word = (name) => ENN.words(columns[name][now]);
      readout.textContent =
        `Step ${now}${isStop(now) ? ", stopped" : ""}. Energy ${word("energy")}. ` +
        `Δt = ${word("dt")}, P = ${word("power")}, α = ${word("alpha")}.`;
      space.draw();
      drawStep();
    };
    const control = replay(root, { last: points.length - 1, label: "Step", pace: 0.2, show });
    const stops = ENN.button("Next stop", () => {
      const next = points.findIndex((_, k) => k > control.now() && isStop(k));
      control.go(next < 0 ? points.length - 1 : next);
    });
    const controls = ENN.make("div", { class: "enn-controls" }, ...control.buttons, stops, control.slider);
    const legend = ENN.legend([
      ["average", "solid", "the path"], ["predicted", "dot", "a stop: P was negative"], ["held", "dot", "the ball"],
    ]);
    root.append(controls, panel, legend, readout);
    const drawStep = ENN.plot(root, "The time step Δt of every step; the numbers stand above.", () => ({
      x: "step",
      y: "time step Δt",
      curves: [{ points: [...columns.dt].map((dt, k) => [k, dt]), stroke: "average" }],
      at: control.now(),
    }));
    show(0);
    return { columns };
  };
})();

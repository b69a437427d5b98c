// What the live parts of the pages are made of: elements, a player, a plot; and what brings them to life.
"use strict";
(() => {
  const ENN = (window.ENN = window.ENN || {});

  /** An element with attributes and children. */
  ENN.make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };

  let named = 0;
  /** A control with its label before it. */
  ENN.field = (label, control, kind = "enn-field") => {
    control.id = `enn-control-${named++}`;
    return ENN.make("span", { class: kind }, ENN.make("label", { for: control.id }, label), control);
  };

  /** A labelled choice; choices are [value, words]. */
  ENN.choice = (label, choices, changed) => {
    const select = ENN.make("select", {}, ...choices.map(([value, words]) => ENN.make("option", { value }, words)));
    select.addEventListener("change", () => changed(select.value));
    return ENN.field(label, select);
  };

  ENN.button = (words, pressed) => {
    const button = ENN.make("button", { type: "button" }, words);
    button.addEventListener("click", pressed);
    return button;
  };

  /** A labelled box to tick. */
  ENN.tick = (label, ticked, changed) => {
    const input = ENN.make("input", { type: "checkbox" });
    input.checked = ticked;
    input.addEventListener("change", () => changed(input.checked));
    return ENN.make("label", { class: "enn-field" }, input, label);
  };

  /** A labelled slider from 0 to last. */
  ENN.slider = (label, last, changed) => {
    const input = ENN.make("input", { type: "range", min: 0, max: last, value: 0 });
    input.addEventListener("input", () => changed(Number(input.value)));
    return { element: ENN.field(label, input, "enn-field enn-wide"), input };
  };

  const LESS_MOTION = window.matchMedia("(prefers-reduced-motion: reduce)");

  /**
   * A button that plays and pauses; frame(jump) is called for every frame and returns whether to go on. For
   * readers who want less motion it is called twice a second with jump = true. Nothing plays out of sight.
   */
  ENN.player = (root, frame) => {
    let timer = 0;
    const stop = () => {
      cancelAnimationFrame(timer);
      clearTimeout(timer);
      timer = 0;
      button.textContent = "Play";
    };
    const next = () => {
      if (!frame(LESS_MOTION.matches)) stop();
      else timer = LESS_MOTION.matches ? setTimeout(next, 500) : requestAnimationFrame(next);
    };
    const button = ENN.button("Play", () => {
      if (timer) return stop();
      button.textContent = "Pause";
      return next();
    });
    const away = (entries) => entries.some((e) => !e.isIntersecting) && stop();
    new IntersectionObserver(away).observe(root);
    return { button, stop };
  };

  /** A number as a reader wants it: 0.0123, or 1.2 × 10⁻⁵ if it is small. */
  ENN.words = (x, digits = 3) => {
    if (x === 0) return "0";
    if (Math.abs(x) >= 1e-3 && Math.abs(x) < 1e5) return x.toPrecision(digits).replace("-", "−");
    const [factor, power] = x.toExponential(digits - 1).split("e");
    const raised = [...power.replace("+", "")].map((c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]).join("");
    return `${factor.replace("-", "−")} × 10${raised}`;
  };

  /** Round steps, 1, 2 or 5 times a power of ten, about count of them. */
  ENN.ticks = (low, high, count) => {
    const rough = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= rough * (1 - 1e-9));
    const first = Math.ceil(low / step - 1e-9);
    return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, k) => Number(((first + k) * step).toPrecision(12)));
  };

  /**
   * Curves, by default over time. what() gives {x: label, y: label, least (height of the vertical axis at
   * least), curves: [{points: [[x, y], ...], stroke, dash, width}], at: an x to mark or null, words: beside it},
   * and for other axes span: [[first, last], [low, high]], across: a scale such as Math.log, ticks: those of x.
   * What lies above the span is drawn at its edge, and a curve of one point as a dot.
   */
  ENN.plot = (parent, label, what) => {
    const draw = ENN.soon(() => {
      const { context, width, height, color } = ENN.begin(canvas);
      const { x, y, least = 0, curves, at = null, words = "", span = null, across = (v) => v, ticks = null } = what();
      const points = curves.flatMap((curve) => curve.points);
      if (!points.length) return;
      const [left, right, top, bottom] = [58, width - 18, 26, height - 34];
      const over_time = () => {
        const [low, high] = [Math.min(...points.map((p) => p[1])), Math.max(...points.map((p) => p[1]))];
        const missing = Math.max(least - (high - low), 0.1 * (high - low)) / 2;
        return [[0, Math.max(...points.map((p) => p[0]), 100)], [low - missing, high + missing]];
      };
      const [[first, last], [low, high]] = span ?? over_time();
      const to = ([px, py]) => [
        left + ((right - left) * (across(px) - across(first))) / (across(last) - across(first)),
        bottom - ((bottom - top) * (Math.min(py, high) - low)) / (high - low),
      ];
      Object.assign(context, { font: "12px sans-serif", fillStyle: color("text"), lineWidth: 1 });
      context.strokeStyle = color("line");
      context.textBaseline = "middle";
      context.textAlign = "right";
      for (const tick of ENN.ticks(low, high, 4)) {
        const [, py] = to([0, tick]);
        context.fillText(String(tick).replace("-", "−"), left - 6, py);
        context.strokeRect(left, py, right - left, 0);
      }
      context.textAlign = "center";
      const round = ticks ?? ENN.ticks(first, last, width < 450 ? 3 : 6);
      for (const tick of round) context.fillText(tick, to([tick, low])[0], bottom + 10);
      context.fillText(x, (left + right) / 2, height - 8);
      context.textAlign = "left";
      context.fillText(y, 4, 8);
      if (at !== null) {
        context.strokeRect(to([at, low])[0], top, 0, bottom - top);
        context.fillText(words, to([at, low])[0] + 5, top + 10);
      }
      for (const { points: course, stroke, dash = [], width: thick = 1.8 } of curves) {
        context.setLineDash(dash);
        Object.assign(context, { strokeStyle: color(stroke), fillStyle: color(stroke), lineWidth: thick });
        context.beginPath();
        if (course.length === 1 && span) {
          context.arc(...to(course[0]), 6, 0, 2 * Math.PI);
          context.fill();
        }
        course.forEach((p, k) => context[k ? "lineTo" : "moveTo"](...to(p)));
        context.stroke();
        context.setLineDash([]);
      }
    });
    const canvas = ENN.makeCanvas(parent, { class: "enn-plot", role: "img", "aria-label": label }, draw);
    return draw;
  };

  /** A legend: [stroke, dash, words], with a line of this dash or a "dot". */
  ENN.legend = (entries) =>
    ENN.make("p", { class: "enn-legend" }, ...entries.map(([stroke, dash, words]) => {
      const style = dash === "dot" ? `--dot: var(--enn-${stroke})` : `border-top: 3px ${dash} var(--enn-${stroke})`;
      const key = ENN.make("span", { class: dash === "dot" ? "enn-dot" : "enn-key", style });
      return ENN.make("span", {}, key, ` ${words}`);
    }));

  /** A table of numbers that is filled again and again: fill([[...], ...]). */
  ENN.table = (caption, head, rows) => {
    const cells = rows.map(() => head.slice(1).map(() => ENN.make("td")));
    const row = (name, k) => ENN.make("tr", {}, ENN.make("th", { scope: "row" }, name), ...cells[k]);
    const element = ENN.make(
      "table", {}, ENN.make("caption", {}, caption),
      ENN.make("thead", {}, ENN.make("tr", {}, ...head.map((h) => ENN.make("th", { scope: "col" }, h)))),
      ENN.make("tbody", {}, ...rows.map(row)),
    );
    const fill = (values) => values.forEach((r, k) => r.forEach((v, c) => (cells[k][c].textContent = v)));
    return { element, fill };
  };

  ENN.widgets ??= {};
  document.addEventListener("DOMContentLoaded", () => {
    for (const root of document.querySelectorAll(".enn-widget")) {
      const data = JSON.parse(root.querySelector("script").textContent);
      root.querySelector(".enn-fallback").remove();
      root.enn = ENN.widgets[root.dataset.enn](root, data);
    }
  });
})();

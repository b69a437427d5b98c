// A small space on a canvas: atoms, arrows and paths in perspective, turned by pointer or arrow keys.
"use strict";
(() => {
  const ENN = (window.ENN = window.ENN || {});

  // Turns are 3 x 3 matrices, as arrays of rows.
  ENN.identity = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];
  ENN.times = (a, b) => a.map((row) => [0, 1, 2].map((j) => row.reduce((s, x, k) => s + x * b[k][j], 0)));
  ENN.apply = (m, v) => m.map((row) => row[0] * v[0] + row[1] * v[1] + row[2] * v[2]);
  ENN.transposed = (m) => [0, 1, 2].map((j) => m.map((row) => row[j]));

  /** The turn of what is seen by a drag of (x, y) radians: to the right, and upwards. */
  ENN.turn = (x, y) => {
    const [cx, sx, cy, sy] = [Math.cos(x), Math.sin(x), Math.cos(y), Math.sin(y)];
    return ENN.times([[1, 0, 0], [0, cy, sy], [0, -sy, cy]], [[cx, 0, sx], [0, 1, 0], [-sx, 0, cx]]);
  };

  /** Atom a of flat coordinates. */
  ENN.atom = (flat, a) => [flat[3 * a], flat[3 * a + 1], flat[3 * a + 2]];

  const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  const KEY_TURN = Math.PI / 36;

  /** Draw again at the next frame, once, however often it is asked for. */
  ENN.soon = (draw) => {
    let asked = false;
    return () => {
      if (asked) return;
      asked = true;
      requestAnimationFrame(() => {
        asked = false;
        draw();
      });
    };
  };

  /** A canvas that knows its size on the screen and draws again when it or the colours of the page change. */
  ENN.makeCanvas = (parent, attributes, draw) => {
    const canvas = ENN.make("canvas", attributes);
    parent.append(canvas);
    const fit = () => {
      const scale = window.devicePixelRatio || 1;
      const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((n) => Math.round(n * scale));
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      draw();
    };
    new ResizeObserver(fit).observe(canvas);
    new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    return canvas;
  };

  /** Begin to draw: a cleared context in CSS pixels, its size, and the colours of the page by their names. */
  ENN.begin = (canvas) => {
    const context = canvas.getContext("2d");
    const scale = window.devicePixelRatio || 1;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    const [width, height] = [canvas.width / scale, canvas.height / scale];
    context.clearRect(0, 0, width, height);
    const style = getComputedStyle(canvas);
    return { context, width, height, color: (name) => style.getPropertyValue(`--enn-${name}`).trim() };
  };

  ENN.Space = class {
    /**
     * options: label (for those who do not see it), radius (Å from the middle to the edge), scene (gets a
     * painter, see below), camera ({turn}, may be shared), and what a drag or arrow key does: turned(turn)
     * instead of turning the camera; grab(x, y) says what is under the pointer, held() what the keys have;
     * move(what, [x, y, z]) moves that.
     */
    constructor(parent, options) {
      Object.assign(this, { camera: { turn: ENN.identity }, grab: () => null, held: () => null }, options);
      this.draw = ENN.soon(() => this.paint());
      this.turned ??= (turn) => {
        this.camera.turn = ENN.times(turn, this.camera.turn);
        this.changed();
      };
      this.changed ??= this.draw;
      this.canvas = ENN.makeCanvas(
        parent,
        { class: "enn-space", tabindex: 0, role: "application", "aria-label": this.label },
        this.draw,
      );
      this.listen();
    }

    listen() {
      const { canvas } = this;
      const place = (event) => {
        const box = canvas.getBoundingClientRect();
        return [event.clientX - box.left, event.clientY - box.top];
      };
      let [last, what] = [null, null];
      // A finger that does not take hold of anything still scrolls the page up and down.
      const hold = (event) => {
        if (this.grab(...place(event.touches[0])) !== null) event.preventDefault();
      };
      canvas.addEventListener("touchstart", hold, { passive: false });
      canvas.addEventListener("pointerdown", (event) => {
        last = place(event);
        what = this.grab(...last);
        canvas.setPointerCapture(event.pointerId);
      });
      canvas.addEventListener("pointermove", (event) => {
        if (!last) return;
        const now = place(event);
        this.push(what, now[0] - last[0], last[1] - now[1]);
        last = now;
      });
      for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (last = null));
      canvas.addEventListener("keydown", (event) => {
        if (!(event.key in KEYS) || event.ctrlKey || event.altKey || event.metaKey) return;
        event.preventDefault();
        const [x, y] = KEYS[event.key];
        const step = this.held() === null ? KEY_TURN * this.unit() : 0.1;
        const pixels = this.held() === null ? step : step * this.unit() / this.radius;
        this.push(this.held(), x * pixels, y * pixels);
      });
    }

    /** Pixels from the middle to the edge. */
    unit() {
      return Math.min(this.canvas.clientWidth, this.canvas.clientHeight) / 2;
    }

    /** A drag by so many pixels to the right and upwards: of a thing in the plane of the screen, or a turn. */
    push(what, x, y) {
      if (what === null) return this.turned(ENN.turn(x / this.unit(), y / this.unit()));
      const by = [(x * this.radius) / this.unit(), (y * this.radius) / this.unit(), 0];
      return this.move(what, ENN.apply(ENN.transposed(this.camera.turn), by));
    }

    /** Where a point is on the canvas, [x, y] in CSS pixels, how near, and how large 1 Å is there. */
    project(point) {
      const [x, y, z] = ENN.apply(this.camera.turn, point);
      const scale = (this.unit() / this.radius) * ((5 * this.radius) / Math.max(5 * this.radius - z, this.radius));
      return { x: this.canvas.clientWidth / 2 + scale * x, y: this.canvas.clientHeight / 2 - scale * y, z, scale };
    }

    /** The index of the nearest of some points under a place on the canvas, or null. */
    under(points, x, y, reach = 22) {
      const seen = points.map((point, index) => ({ index, ...this.project(point) }));
      const near = seen.filter((p) => Math.hypot(p.x - x, p.y - y) < reach).sort((a, b) => b.z - a.z);
      return near.length ? near[0].index : null;
    }

    paint() {
      const { context, color } = ENN.begin(this.canvas);
      const layers = [[], [], []];
      const line = (points, { stroke, width = 1.5, dash = [], alpha = 1 }) => {
        Object.assign(context, { strokeStyle: color(stroke), lineWidth: width, globalAlpha: alpha });
        context.lineJoin = "round";
        context.setLineDash(dash);
        context.beginPath();
        points.forEach((p, k) => context[k ? "lineTo" : "moveTo"](p.x, p.y));
        context.stroke();
        context.setLineDash([]);
        context.globalAlpha = 1;
      };
      const put = (layer, z, draw) => layers[layer].push({ z, draw });
      this.scene({
        path: (points, style) => {
          const seen = points.map((p) => this.project(p));
          put(0, 0, () => line(seen, style));
        },
        ball: (point, { fill, radius, ring = null, text = "" }) => {
          const { x, y, z, scale } = this.project(point);
          put(1, z, () => {
            context.beginPath();
            context.arc(x, y, radius * scale, 0, 2 * Math.PI);
            if (fill) {
              context.fillStyle = color(fill);
              context.fill();
            }
            context.strokeStyle = color(ring || "edge");
            context.lineWidth = ring ? 2 : 1;
            context.stroke();
            if (!text) return;
            // Beside the ball, where no arrow begins.
            Object.assign(context, { fillStyle: color("text"), font: "600 13px sans-serif" });
            Object.assign(context, { textAlign: "left", textBaseline: "bottom" });
            context.fillText(text, x + 1.05 * radius * scale, y - 0.95 * radius * scale);
          });
        },
        arrow: (point, vector, style) => {
          const [a, b] = [this.project(point), this.project(point.map((p, c) => p + vector[c]))];
          const [length, angle] = [Math.hypot(b.x - a.x, b.y - a.y), Math.atan2(b.y - a.y, b.x - a.x)];
          if (length < 1) return;
          const head = Math.min(6 + 1.5 * style.width, length);
          const back = (turn) => ({
            x: b.x - head * Math.cos(angle + turn),
            y: b.y - head * Math.sin(angle + turn),
          });
          put(2, 0, () => {
            line([a, b], style);
            line([back(0.45), b, back(-0.45)], { ...style, dash: [] });
          });
        },
        text: (point, words, fill) => {
          const { x, y } = this.project(point);
          put(2, 1, () => {
            Object.assign(context, { fillStyle: color(fill), font: "13px sans-serif", textAlign: "center" });
            context.fillText(words, x, y);
          });
        },
      });
      for (const layer of layers) layer.sort((a, b) => a.z - b.z).forEach(({ draw }) => draw());
    }
  };
})();

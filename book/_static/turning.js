// Lets the pictures of enn_book/live/turning.py turn: a button, a slider, and the forces predicted at each angle.
"use strict";

addEventListener("DOMContentLoaded", () => {
  const SECONDS = 12; // for a whole turn

  for (const picture of document.querySelectorAll(".turning")) {
    const { atoms, arrows } = JSON.parse(picture.querySelector("script").textContent);
    const controls = picture.querySelector(".turning-controls");
    const [button, slider, reading] = ["button", "input", "output"].map(name => controls.querySelector(name));
    const lines = picture.querySelectorAll(".predicted line");
    let before = null; // the time of the last frame; null while it stands still
    let degrees = Number(slider.value);

    function draw() {
      const step = Math.round((degrees * arrows.length) / 360) % arrows.length;
      const angle = (360 * step) / arrows.length;
      const [cosine, sine] = [Math.cos((angle * Math.PI) / 180), Math.sin((angle * Math.PI) / 180)];
      for (const group of picture.querySelectorAll(".turns")) group.setAttribute("transform", `rotate(${-angle})`);
      lines.forEach((line, i) => {
        const [x, y] = [cosine * atoms[i][0] + sine * atoms[i][1], cosine * atoms[i][1] - sine * atoms[i][0]];
        const [dx, dy] = arrows[step][i];
        Object.entries({ x1: x, y1: y, x2: x + dx, y2: y + dy }).forEach(([name, value]) => line.setAttribute(name, value));
      });
      reading.value = `${Math.round(angle)}°`;
    }

    function move(now) {
      if (before === null) return;
      degrees = (degrees + (360 * (now - before)) / 1000 / SECONDS) % 360;
      before = now;
      slider.value = degrees;
      draw();
      requestAnimationFrame(move);
    }

    function play(on) {
      button.textContent = on ? "Pause" : "Play";
      before = on ? performance.now() : null;
      if (on) requestAnimationFrame(move);
    }

    button.addEventListener("click", () => play(before === null));
    slider.addEventListener("input", () => {
      play(false);
      degrees = Number(slider.value);
      draw();
    });
    controls.hidden = false;
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) play(true);
  }
});

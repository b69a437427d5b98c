// What a style sheet cannot do for the reader.
"use strict";

(() => {
  // From disk a browser does not let the search read other pages for its excerpts; it finds them all the same.
  if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") {
    DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
  }

  const WIDE = "pre, div.math, .cell_output, .bd-article table, .bd-sidebar-secondary";

  // What is wider than the window scrolls by itself (enn.css). Then, and only then, the keyboard can reach it.
  function reachable() {
    for (const box of document.querySelectorAll(WIDE)) {
      const scrolls = box.scrollWidth > box.clientWidth + 1 || box.scrollHeight > box.clientHeight + 1;
      const overflow = getComputedStyle(box);
      const can = /auto|scroll/.test(overflow.overflowX + overflow.overflowY);
      if (scrolls && can) {
        box.tabIndex = 0;
      } else if (box.tabIndex === 0) {
        box.removeAttribute("tabindex");
      }
    }
  }

  addEventListener("load", () => {
    reachable();
    window.MathJax?.startup?.promise?.then(reachable); // formulas have their widths only now
  });
  addEventListener("resize", reachable);
  addEventListener("toggle", reachable, true); // code or a solution is unfolded

  // Paper is white: print in the light colours, then go back.
  const root = document.documentElement.dataset;
  let theme;
  addEventListener("beforeprint", () => {
    theme = root.theme;
    root.theme = "light";
  });
  addEventListener("afterprint", () => (root.theme = theme));
})();

(function () {
  "use strict";
  const svg = document.currentScript ? document.currentScript.closest("svg") : document.documentElement;
  const one = (selector) => svg.querySelector(selector);
  const MARGIN = 20, WIDTH = 1160, CHAR = 6.93, INSET = 4, EPSILON = 1e-4;

  // The frames as drawn: left and width are the unzoomed places.
  const frames = Array.from(svg.querySelectorAll(".f"), (g) => {
    const rect = g.querySelector("rect"), title = g.querySelector("title");
    const lines = title.textContent.split("\n");
    g.removeChild(title); // our own tooltip is quicker than the browser's
    const frame = {
      g, rect, text: g.querySelector("text"), name: lines[0], lines, layer: g.dataset.l,
      left: +rect.getAttribute("x"), width: +rect.getAttribute("width") + 0.6, top: +rect.getAttribute("y"),
    };
    frame.label = shorten(frame.name);
    g.frame = frame;
    return frame;
  });
  const root = frames[0];
  let focus = root, wanted = null;

  function shorten(name) {
    name = name.replace(/_\[k\]$/, ""); // the colour says it
    const bracket = name.indexOf("[");
    const head = bracket < 0 ? name : name.slice(0, bracket);
    return head.slice(head.lastIndexOf("/") + 1) + (bracket < 0 ? "" : name.slice(bracket));
  }

  function write(frame, x, width) {
    const room = Math.max(0, Math.floor((width - 2 * INSET) / CHAR));
    let label = room < 3 ? "" : frame.label;
    if (label.length > room) label = label.slice(0, room - 1) + "…";
    if (!label) {
      if (frame.text) frame.text.textContent = "";
      return;
    }
    if (!frame.text) {
      frame.text = document.createElementNS("http://www.w3.org/2000/svg", "text");
      frame.text.setAttribute("y", frame.top + 13);
      frame.g.appendChild(frame.text);
    }
    frame.text.setAttribute("x", x + INSET);
    frame.text.textContent = label;
  }

  // zoom gives a frame the whole width; its callers fill the row below it.
  function zoom(target) {
    focus = target;
    const scale = WIDTH / target.width, right = target.left + target.width;
    for (const f of frames) {
      const end = f.left + f.width;
      const above = f.top <= target.top && f.left >= target.left - EPSILON && end <= right + 1;
      const below = f.top > target.top && f.left <= target.left + EPSILON && end >= right - 1;
      if (!above && !below) {
        f.g.setAttribute("hidden", "hidden");
        continue;
      }
      f.g.removeAttribute("hidden");
      f.g.classList.toggle("dim", below);
      const x = below ? MARGIN : MARGIN + (f.left - target.left) * scale;
      const width = below ? WIDTH : f.width * scale;
      f.rect.setAttribute("x", x);
      f.rect.setAttribute("width", Math.max(width - 0.6, 0.2));
      write(f, x, width);
    }
    const reset = one(".reset");
    if (target === root) reset.setAttribute("hidden", "hidden");
    else reset.removeAttribute("hidden");
    tally();
  }

  // tally says which share of what is shown the marked frames cover; a marked
  // frame within another does not count twice.
  function tally() {
    const out = one(".matched");
    if (!wanted) {
      out.textContent = "";
      return;
    }
    const right = focus.left + focus.width;
    const hits = frames.filter((f) => f.g.classList.contains("hit") && !f.g.hasAttribute("hidden"));
    hits.sort((a, b) => a.left - b.left || b.width - a.width);
    let covered = 0, end = -1;
    for (const f of hits) {
      const from = Math.max(f.left, end, focus.left), to = Math.min(f.left + f.width, right);
      if (to > from) {
        covered += to - from;
        end = to;
      }
    }
    out.textContent = "matched " + (100 * covered / focus.width).toFixed(1) + " %";
  }

  function mark(test) {
    wanted = test;
    for (const f of frames) {
      const hit = !!test && f !== root && test(f);
      f.g.classList.toggle("hit", hit && !test.byLayer);
      f.g.classList.toggle("faded", !!(test && test.byLayer) && !hit);
    }
    if (test && test.byLayer) {
      one(".matched").textContent = "";
      wanted = null;
    }
    tally();
  }

  function search(text) {
    for (const key of svg.querySelectorAll(".key")) key.classList.remove("on");
    if (!text) return mark(null);
    let expression;
    try {
      expression = new RegExp(text, "i");
    } catch (e) {
      one(".matched").textContent = "not a regular expression";
      return;
    }
    mark((f) => expression.test(f.name));
  }

  function byLayer(key) {
    const on = !key.classList.contains("on");
    for (const other of svg.querySelectorAll(".key")) other.classList.remove("on");
    one(".search").value = "";
    if (!on) return mark(null);
    key.classList.add("on");
    const test = (f) => f.layer === key.dataset.layer;
    test.byLayer = true;
    mark(test);
  }

  const tip = one(".tip");
  function showTip(frame, event) {
    const text = tip.querySelector("text"), box = tip.querySelector("rect");
    const matrix = svg.getScreenCTM();
    if (!matrix) return;
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
    const limit = 96, lines = frame.lines.map((l) => l.length > limit ? l.slice(0, limit - 1) + "…" : l);
    text.textContent = "";
    let longest = 0;
    tip.removeAttribute("hidden");
    for (const line of lines) {
      const span = document.createElementNS("http://www.w3.org/2000/svg", "tspan");
      span.textContent = line;
      text.appendChild(span);
      longest = Math.max(longest, span.getComputedTextLength());
    }
    const width = longest + 20, height = lines.length * 17 + 12;
    const x = Math.max(4, Math.min(at.x + 14, 1200 - width - 4));
    const bottom = +svg.getAttribute("viewBox").split(" ")[3];
    const y = at.y + 18 + height > bottom ? at.y - height - 8 : at.y + 18;
    box.setAttribute("x", x);
    box.setAttribute("y", y);
    box.setAttribute("width", width);
    box.setAttribute("height", height);
    Array.from(text.children).forEach((span, i) => {
      span.setAttribute("x", x + 10);
      span.setAttribute("y", y + 18 + i * 17);
    });
  }

  const frameOf = (event) => {
    const g = event.target.closest ? event.target.closest(".f") : null;
    return g && g.frame;
  };
  svg.addEventListener("mousemove", (event) => {
    const frame = frameOf(event);
    if (frame) showTip(frame, event);
    else tip.setAttribute("hidden", "hidden");
  });
  svg.addEventListener("mouseleave", () => tip.setAttribute("hidden", "hidden"));
  svg.addEventListener("click", (event) => {
    const frame = frameOf(event), key = event.target.closest(".key");
    if (frame) zoom(frame);
    else if (key) byLayer(key);
    else if (event.target.closest(".reset")) zoom(root);
  });
  one(".search").addEventListener("input", (event) => search(event.target.value));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    one(".search").value = "";
    search("");
    zoom(root);
  });
})();

(function () {
  "use strict";
  const box = document.getElementById("tip");

  // A tip's lines are class, name and value, with tabs between.
  function show(target, x, y) {
    box.replaceChildren(...target.dataset.tip.split("\n").map((text) => {
      const [kind, name, value] = text.split("\t");
      const line = document.createElement("div"), left = document.createElement("span"), right = document.createElement("b");
      if (kind) {
        const swatch = document.createElement("i");
        swatch.className = kind;
        left.append(swatch);
      }
      left.append(name);
      right.textContent = value;
      line.append(left, right);
      return line;
    }));
    box.hidden = false;
    const { width, height } = box.getBoundingClientRect();
    const right = x + 16 + width > innerWidth - 8 ? x - 16 - width : x + 16;
    const top = Math.min(Math.max(y - height / 2, 8), innerHeight - height - 8);
    box.style.transform = "translate(" + Math.max(right, 8) + "px," + top + "px)";
  }

  function follow(event) {
    const target = event.target.closest ? event.target.closest("[data-tip]") : null;
    if (target) show(target, event.clientX, event.clientY);
    else box.hidden = true;
  }
  document.addEventListener("pointermove", follow);
  document.addEventListener("pointerdown", follow);
  addEventListener("scroll", () => { box.hidden = true; }, { passive: true });

  for (const button of document.querySelectorAll(".code button")) {
    button.addEventListener("click", () => {
      const pre = button.parentElement.querySelector("pre");
      const done = () => { button.textContent = "copied"; };
      const select = () => { getSelection().selectAllChildren(pre); button.textContent = "selected"; };
      if (navigator.clipboard) navigator.clipboard.writeText(pre.textContent).then(done, select);
      else select(); // pages opened from a file may have no clipboard
    });
  }
})();

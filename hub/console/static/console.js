/* Keeps marked parts of a page fresh. The page is complete without it. It never changes anything, stops while the tab is
   hidden or somebody is busy inside the part, and gives up when the session has ended. Buttons that print show themselves only where they work. */
"use strict";
for (const button of document.querySelectorAll("[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => window.print());
}
for (const part of document.querySelectorAll("[data-live]")) {
  const every = Math.max(2, Number(part.dataset.every) || 5) * 1000;
  let timer = 0;
  let stopped = false;
  const busy = () => {
    const chosen = document.getSelection();
    return part.contains(document.activeElement) || part.querySelector("details[open]") !== null ||
      (chosen !== null && !chosen.isCollapsed && part.contains(chosen.anchorNode));
  };
  const again = () => {
    window.clearTimeout(timer);
    if (!stopped && !document.hidden) timer = window.setTimeout(refresh, every);
  };
  const refresh = async () => {
    try {
      if (!busy()) {
        const answer = await fetch(part.dataset.live, { headers: { "X-Live": "1" }, redirect: "manual", credentials: "same-origin" });
        if (answer.status === 401 || answer.type === "opaqueredirect") { stopped = true; window.location.reload(); return; }
        if (answer.ok) {
          const text = await answer.text();
          if (!busy()) part.innerHTML = text;
        }
        part.classList.toggle("stale", !answer.ok);
      }
    } catch {
      part.classList.add("stale");
    }
    again();
  };
  document.addEventListener("visibilitychange", () => { if (document.hidden) window.clearTimeout(timer); else void refresh(); });
  again();
}

// Keeps the parts of a page that change fresh: asks for the same page again and puts the new parts in the old ones'
// places. Everything else works without a script.
"use strict";

(() => {
  const EVERY = 5000;
  const place = document.getElementById("live-control");
  const parts = () => [...document.querySelectorAll("[data-live][id]")];
  if (!place || parts().length === 0) return;

  const remembered = "manna-live-paused";
  let paused = sessionStorage.getItem(remembered) === "yes";
  let timer = 0;

  const said = document.createElement("span");
  said.className = "sub";
  said.setAttribute("role", "status");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet";
  place.append(said, " ", button);

  // A part that somebody is in the middle of is left alone until the next time.
  const inUse = (part) => {
    const selection = document.getSelection();
    const selected = selection && !selection.isCollapsed && part.contains(selection.anchorNode);
    return selected || part.contains(document.activeElement) || part.querySelector("details[open]");
  };

  const refresh = async () => {
    const answer = await fetch(location.href, {
      cache: "no-store",
      credentials: "same-origin",
      // Whoever only leaves a page open is idle.
      headers: { "X-Console-Live": "1" },
    });
    if (answer.redirected || answer.status === 401) {
      location.reload();
      return;
    }
    if (!answer.ok) throw new Error(String(answer.status));
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of parts()) {
      const next = fresh.getElementById(part.id);
      if (next && !inUse(part)) part.replaceWith(document.adoptNode(next));
    }
  };

  const tick = async () => {
    if (paused) return;
    if (!document.hidden) {
      try {
        await refresh();
        said.textContent = "";
      } catch {
        said.textContent = "The server does not answer; trying again.";
      }
    }
    clearTimeout(timer);
    timer = setTimeout(tick, EVERY);
  };

  const show = () => {
    button.textContent = paused ? "Resume updates" : "Pause updates";
  };
  button.addEventListener("click", () => {
    paused = !paused;
    sessionStorage.setItem(remembered, paused ? "yes" : "no");
    clearTimeout(timer);
    show();
    if (!paused) tick();
  });
  show();
  timer = setTimeout(tick, EVERY);
})();
